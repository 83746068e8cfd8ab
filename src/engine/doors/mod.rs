//! The doors beside ARI: AMI, by which Asterisk tells what our calls cost (`accounts`), and AGI, by which the dialplan asks
//! where a call goes.
//!
//! `AGI(agi://engine:4573/route)` runs the rules under `[[route]]` and sets OFFHOOK_ROUTE (`bot`, `queue`, `extension` or
//! `refuse`), OFFHOOK_TARGET, OFFHOOK_CONTEXT and OFFHOOK_RULE on the channel; the dialplan does the rest.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::AbortOnDropHandle;

use super::config::{Config, ConfigError};
use super::route::{self, Answer, Enquiry, LookUp, Refusal, Rule, Target};
use crate::asterisk::agi::{AgiError, AsyncAgi, Patience, Router, Server, Session};
use crate::asterisk::ami::Ami;
use crate::asterisk::number::Plain;
use crate::store::Store;
use crate::time::WallTime;

mod accounts;
pub mod sections;

/// What listens beside ARI. Dropping it closes all of it.
#[derive(Debug)]
pub struct Doors {
    fast_agi: Option<Server>,
    async_agi: Option<AsyncAgi>,
    ami: Option<Ami>,
    /// Keeps Asterisk's own records of our calls.
    accounts: Option<AbortOnDropHandle<()>>,
}

impl Doors {
    /// Opens what `config` asks for. `calls` tells how many calls are up.
    ///
    /// # Errors
    /// When a port cannot be had or a secret is missing, in a sentence that says what to do.
    pub async fn open(
        config: &Config,
        calls: impl Fn() -> usize + Send + Sync + 'static,
    ) -> Result<Self, ConfigError> {
        Self::open_with(config, calls, |router| router).await
    }

    /// As [`open`](Self::open), with the handlers that `more` adds.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_with(
        config: &Config,
        calls: impl Fn() -> usize + Send + Sync + 'static,
        more: impl FnOnce(Router) -> Router,
    ) -> Result<Self, ConfigError> {
        let refuse = |why: &dyn std::fmt::Display| ConfigError::new(why.to_string());
        let router = more(Self::router(config, calls)?);
        let ami = match config.ami.client()? {
            Some(client) => Some(Ami::new(client).map_err(|why| refuse(&why))?),
            None => None,
        };
        let async_agi = match &ami {
            Some(ami) if config.agi.over_ami => Some(AsyncAgi::start(
                ami.clone(),
                router.clone(),
                config.agi.max_sessions,
                Patience::default(),
            )),
            _ => None,
        };
        let fast_agi = match config.agi.server() {
            Some(server) => Some(Server::start(server, router).await.map_err(|why| refuse(&why))?),
            None => None,
        };
        Ok(Self { fast_agi, async_agi, ami, accounts: None })
    }

    /// Puts what Asterisk itself says of our calls into `store` from now on, where AMI is configured.
    pub fn keep_accounts(&mut self, store: &Store) {
        self.accounts = self.ami.as_ref().map(|ami| accounts::keep(ami, store.clone()));
    }

    /// The engine's own handlers: `route`. `calls` tells how many calls are up.
    ///
    /// # Errors
    /// When there can be no HTTP client for look-ups.
    pub fn router(
        config: &Config,
        calls: impl Fn() -> usize + Send + Sync + 'static,
    ) -> Result<Router, ConfigError> {
        let desk = Desk::new(config, calls)?;
        Ok(Router::new().on("route", move |session: Session| {
            let desk = desk.clone();
            async move { desk.answer(session).await }
        }))
    }

    /// The AMI client, where AMI is configured.
    #[must_use]
    pub fn ami(&self) -> Option<&Ami> {
        self.ami.as_ref()
    }

    /// The FastAGI server, where it is configured.
    #[must_use]
    pub fn fast_agi(&self) -> Option<&Server> {
        self.fast_agi.as_ref()
    }

    /// Asynchronous AGI, where it is configured.
    #[must_use]
    pub fn async_agi(&self) -> Option<&AsyncAgi> {
        self.async_agi.as_ref()
    }
}

/// Answers the question where a call goes.
#[derive(Clone)]
struct Desk {
    rules: Arc<[Rule]>,
    /// Where a call goes that no rule is for.
    otherwise: Target,
    bots: Arc<[String]>,
    most_calls: usize,
    calls: Arc<dyn Fn() -> usize + Send + Sync>,
    http: reqwest::Client,
}

/// The largest answer of a look-up that is read, in bytes.
const LARGEST_ANSWER: usize = 16 << 10;

impl Desk {
    fn new(config: &Config, calls: impl Fn() -> usize + Send + Sync + 'static) -> Result<Self, ConfigError> {
        let bots: Arc<[String]> = config.bots.keys().cloned().collect();
        let only = if bots.len() == 1 { bots.first() } else { None };
        let otherwise = config.engine.bot.as_ref().or(only).and_then(|name| name.parse().ok());
        crate::asterisk::tls::install();
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|why| ConfigError::new(format!("no HTTP client for look-ups: {why}")))?;
        Ok(Self {
            rules: config.route.clone().into(),
            otherwise: otherwise.map_or(Target::Refuse(Refusal::Congestion), Target::Bot),
            bots,
            most_calls: config.engine.max_calls,
            calls: Arc::new(calls),
            http,
        })
    }

    async fn answer(&self, session: Session) -> Result<(), AgiError> {
        let environment = session.environment();
        let query: HashMap<_, _> = environment.query().into_iter().collect();
        // A dialplan may name the number itself: agi://engine/route?called=100.
        let called = query.get("called").map_or(environment.extension(), String::as_str);
        let (target, rule) = match called.parse::<Plain>() {
            Ok(called) => {
                let caller = environment.caller().and_then(|number| number.parse().ok());
                let calls = (self.calls)();
                let call =
                    Enquiry { called, caller, now: WallTime::now(), calls, room: calls < self.most_calls };
                session.while_there(self.decide(&call, environment.uniqueid())).await?
            }
            Err(why) => {
                tracing::warn!(uniqueid = environment.uniqueid(), %why, "refused a call to a number that is none");
                (Target::Refuse(Refusal::Reject), "none".to_owned())
            }
        };
        for (name, value) in target.variables() {
            session.set_variable(name, &value).await?;
        }
        session.set_variable("OFFHOOK_RULE", &rule).await
    }

    /// Where a call goes, and the name of the rule that said it.
    async fn decide(&self, call: &Enquiry, uniqueid: &str) -> (Target, String) {
        let Some(rule) = route::first(&self.rules, call) else {
            let otherwise =
                if call.room { self.otherwise.clone() } else { Target::Refuse(Refusal::Congestion) };
            return (otherwise, "default".to_owned());
        };
        let index = self.rules.iter().position(|other| std::ptr::eq(other, rule)).unwrap_or(0) + 1;
        let name = rule.name.as_ref().map_or_else(|| index.to_string(), ToString::to_string);
        let Some(look_up) = &rule.look_up else { return (rule.to.clone(), name) };
        match self.look_up(look_up, call, uniqueid).await {
            Ok(Some(target)) => (target, name),
            Ok(None) => (rule.to.clone(), name),
            Err(why) => {
                tracing::warn!(
                    rule = name,
                    uniqueid,
                    why,
                    "the look-up failed: the call goes where its rule says"
                );
                (rule.to.clone(), name)
            }
        }
    }

    async fn look_up(
        &self,
        look_up: &LookUp,
        call: &Enquiry,
        uniqueid: &str,
    ) -> Result<Option<Target>, String> {
        let mut url = look_up.url.clone();
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("called", call.called.as_str()).append_pair("uniqueid", uniqueid);
            if let Some(caller) = &call.caller {
                query.append_pair("caller", caller.as_str());
            }
        }
        let ask = async {
            // Without the address: it has the caller's number in it.
            let told = |error: reqwest::Error| error.without_url().to_string();
            let mut response = self.http.get(url).send().await.map_err(told)?;
            if !response.status().is_success() {
                return Err(format!("it answered with HTTP status {}", response.status().as_u16()));
            }
            let mut body = Vec::new();
            while let Some(chunk) = response.chunk().await.map_err(told)? {
                if body.len() + chunk.len() > LARGEST_ANSWER {
                    return Err("its answer is larger than 16 KiB".to_owned());
                }
                body.extend_from_slice(&chunk);
            }
            let answer: Answer = serde_json::from_slice(&body).map_err(|_| {
                "its answer is not like {\"bot\": \"NAME\"}, {\"queue\": …}, {\"extension\": …, \"context\": …}".to_owned()
            })?;
            answer.target()
        };
        let limit = Duration::from_millis(look_up.timeout_ms);
        let target = tokio::time::timeout(limit, ask)
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {limit:?}")))?;
        match &target {
            Some(Target::Bot(_)) if !call.room => {
                Err("it names a bot, and the engine takes no more calls".into())
            }
            Some(Target::Bot(name)) if !self.bots.iter().any(|bot| bot == name.as_str()) => {
                Err("it names a bot that the configuration does not have".into())
            }
            _ => Ok(target),
        }
    }
}
