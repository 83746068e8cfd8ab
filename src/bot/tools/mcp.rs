//! Servers of the Model Context Protocol as sources of tools, by the crate `rmcp`: a program beside us that speaks over its
//! standard input and output, or an address that speaks streamable HTTP.
//!
//! A server is started with the engine, and again when it has died: by the call that needs it, at most every few seconds.
//! Nothing that it says reaches a log or a caller but its answers, and those through a model.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::HeaderValue;
use rmcp::model::{CallToolRequestParams, ContentBlock};
use rmcp::service::RunningService;
use rmcp::transport::TokioChildProcess;
use rmcp::transport::streamable_http_client::{
    StreamableHttpClientTransport, StreamableHttpClientTransportConfig,
};
use rmcp::{RoleClient, ServiceExt as _};
use serde_json::{Map, Value};
use tokio::process::Command;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::{ToolError, ToolSpec, is_name};
use crate::service::{Breaker, BreakerConfig, Key, Web};
use crate::time::Moment;

/// The most tools of a server.
const MOST_TOOLS: usize = 64;

/// The most of a tool's description that a model is told, in characters.
const MOST_DESCRIPTION: usize = 1_000;

/// The largest event of a server over HTTP, in bytes.
const MOST_EVENT: usize = 256 * 1_024;

/// How a server is reached.
#[derive(Debug, Clone)]
pub(in crate::bot) enum Reach {
    /// A program, its arguments, and variables of its environment beside PATH and HOME.
    Program { command: Vec<String>, env: BTreeMap<String, String> },
    /// An address, and what is sent as authorization.
    Address { url: String, key: Option<Key> },
}

/// A server. Shared by all calls.
pub(in crate::bot) struct McpServer {
    name: &'static str,
    reach: Reach,
    start: Duration,
    web: Web,
    state: Mutex<State>,
}

struct State {
    running: Option<Arc<RunningService<RoleClient, ()>>>,
    breaker: Breaker,
}

impl McpServer {
    /// A server that is not started yet; `start` is how long that may take.
    pub fn new(name: &'static str, reach: Reach, start: Duration, web: Web) -> Arc<Self> {
        // One that dies at once is not started again and again: a minute at most, five seconds at least.
        let breaker = Breaker::new(BreakerConfig { failures: 2, ..BreakerConfig::default() });
        Arc::new(Self { name, reach, start, web, state: Mutex::new(State { running: None, breaker }) })
    }

    /// The tools that the server offers, those of `allow`; `*` allows all. Starts it.
    ///
    /// # Errors
    /// When it cannot be started, or lacks a tool that is allowed.
    pub async fn tools(&self, allow: &[String]) -> Result<Vec<ToolSpec>, String> {
        let fault = |what: String| format!("[mcp.{}]: {what}", self.name);
        let running = self.running().await.map_err(fault)?;
        let listed = timeout(self.start, running.list_all_tools()).await;
        let tools = match listed {
            Ok(Ok(tools)) => tools,
            Ok(Err(_)) => return Err(fault("the server does not tell its tools".into())),
            Err(_) => {
                return Err(fault(format!("the server did not tell its tools within {:?}", self.start)));
            }
        };
        let all = allow.iter().any(|name| name == "*");
        if let Some(missing) =
            allow.iter().find(|name| *name != "*" && !tools.iter().any(|tool| tool.name == name.as_str()))
        {
            let known: Vec<_> = tools.iter().map(|tool| tool.name.as_ref()).collect();
            return Err(fault(format!("the server has no tool `{missing}`: it has {}", known.join(", "))));
        }
        let allowed =
            tools.into_iter().filter(|tool| all || allow.iter().any(|name| tool.name == name.as_str()));
        let specs: Vec<ToolSpec> = allowed
            .map(|tool| ToolSpec {
                name: tool.name.to_string(),
                description: tool.description.unwrap_or_default().chars().take(MOST_DESCRIPTION).collect(),
                parameters: Value::Object((*tool.input_schema).clone()),
            })
            .collect();
        if specs.len() > MOST_TOOLS {
            return Err(fault(format!(
                "{} tools; expected at most {MOST_TOOLS}: name them in `allow`",
                specs.len()
            )));
        }
        match specs.iter().find(|spec| !is_name(&spec.name)) {
            Some(spec) => Err(fault(format!(
                "the tool `{}` has a name that models do not take: letters, digits, _ and -, at most 64",
                spec.name.escape_default()
            ))),
            None => Ok(specs),
        }
    }

    /// Uses a tool.
    ///
    /// # Errors
    /// One sentence for the model.
    pub async fn call(
        &self,
        tool: &str,
        arguments: Map<String, Value>,
        within: Duration,
    ) -> Result<String, ToolError> {
        let running = timeout(within, self.running()).await;
        let running = running.unwrap_or(Err("it was not there in time".into())).map_err(|error| {
            tracing::warn!(server = self.name, error, "an MCP server is not there");
            ToolError::new("This tool is out of order just now.")
        })?;
        let params = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
        let answered = timeout(within, running.call_tool(params)).await;
        let answer = match answered {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                tracing::warn!(server = self.name, tool, closed = running.is_closed(), "an MCP tool failed");
                let refused = matches!(error, rmcp::ServiceError::McpError(_));
                if !refused {
                    // It is told late that it is gone: the next call starts it again.
                    self.let_go(&running).await;
                }
                return Err(ToolError::new(if refused {
                    "The tool does not take these arguments."
                } else {
                    "The tool failed; it may work later."
                }));
            }
            Err(_) => return Err(ToolError::new("The tool took too long.")),
        };
        let texts = answer.content.iter().map(|block| match block {
            ContentBlock::Text(text) => text.text.as_str(),
            // On a telephone there is nothing to show.
            _ => "[not a text]",
        });
        let mut text = texts.collect::<Vec<_>>().join("\n");
        if text.is_empty()
            && let Some(structured) = &answer.structured_content
        {
            text = structured.to_string();
        }
        if answer.is_error == Some(true) { Err(ToolError::new(super::cut(text, 300))) } else { Ok(text) }
    }

    /// Asks this one no more.
    async fn let_go(&self, dead: &Arc<RunningService<RoleClient, ()>>) {
        let mut state = self.state.lock().await;
        state.running.take_if(|running| Arc::ptr_eq(running, dead));
    }

    /// The server, started if it is not there.
    async fn running(&self) -> Result<Arc<RunningService<RoleClient, ()>>, String> {
        let mut state = self.state.lock().await;
        if let Some(running) = state.running.as_ref().filter(|running| !running.is_closed()) {
            return Ok(Arc::clone(running));
        }
        state.running = None;
        if !state.breaker.ask(Moment::now()).is_yes() {
            return Err("it died a moment ago".into());
        }
        let started = timeout(self.start, self.begin()).await;
        let started = started.unwrap_or_else(|_| Err(format!("it was not ready within {:?}", self.start)));
        match started {
            Ok(running) => {
                let running = Arc::new(running);
                state.running = Some(Arc::clone(&running));
                // It counts as a failure until it has lived: one that starts and dies is one that fails.
                state.breaker.failed(Moment::now());
                Ok(running)
            }
            Err(error) => {
                state.breaker.failed(Moment::now());
                Err(error)
            }
        }
    }

    async fn begin(&self) -> Result<RunningService<RoleClient, ()>, String> {
        match &self.reach {
            Reach::Program { command, env } => {
                let Some((program, arguments)) = command.split_first() else {
                    return Err("`command` names no program".into());
                };
                let mut child = Command::new(program);
                child.args(arguments).env_clear().envs(env).kill_on_drop(true);
                for inherited in ["PATH", "HOME", "LANG"] {
                    if let (false, Some(value)) = (env.contains_key(inherited), std::env::var_os(inherited)) {
                        child.env(inherited, value);
                    }
                }
                let (transport, _) = TokioChildProcess::builder(child)
                    .stderr(Stdio::null())
                    .spawn()
                    .map_err(|error| format!("`{program}` cannot be started: {error}"))?;
                ().serve(transport).await.map_err(|_| format!("`{program}` does not speak MCP"))
            }
            Reach::Address { url, key } => {
                let mut config = StreamableHttpClientTransportConfig::with_uri(url.as_str())
                    .max_sse_event_size(MOST_EVENT);
                if let Some(value) = key.as_ref().and_then(|key| key.header("Bearer")) {
                    let value: HeaderValue = value;
                    config = config.custom_headers([(reqwest::header::AUTHORIZATION, value)].into());
                }
                let transport = StreamableHttpClientTransport::with_client(self.web.http().clone(), config);
                ().serve(transport)
                    .await
                    .map_err(|_| "the address does not speak MCP, or refuses the key".to_owned())
            }
        }
    }
}
