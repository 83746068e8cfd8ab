//! An agent out of its file: everything that calls could run into is told at the start.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::AgentError;
use super::file::{Ending, File, Interrupt, Keys, Kind, ServiceSection};
use super::limits::{Limit, Limits};
use super::model::anthropic::Anthropic;
use super::model::chain::Chain;
use super::model::http::{HttpModel, HttpModelConfig};
use super::model::openai::OpenAi;
use super::model::{How, Model, Protocol};
use super::reply::{Maker, Manners};
use super::standin::{Pace, StandIn};
use crate::bot::template::Template;
use crate::bot::tools::toolbox::Toolbox;
use crate::bot::tools::verbs::Place;
use crate::call::KeyPlan;
use crate::policy::Destination;
use crate::secret::Secret;
use crate::service::{Deadlines, Key, Web, named};
use crate::speech::grammar::Grammar;
use crate::turn::{BargeIn, Listening};

/// The rules of the telephone, which stand before every agent's own prompt.
const RULES: &str = include_str!("../../../prompts/agent.md");

/// An agent that was read and checked, with its models and tools. Immutable; shared by all its calls.
pub struct Agent {
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) language: String,
    pub(super) voice: Option<String>,
    pub(super) prompt: Template,
    pub(super) greeting: Option<String>,
    pub(super) apology: String,
    pub(super) failure: Ending,
    pub(super) failures: u32,
    pub(super) goodbye: String,
    pub(super) speculate: bool,
    pub(super) barge_in: BargeIn,
    pub(super) grammar: Option<Arc<Grammar>>,
    pub(super) listening: Listening,
    pub(super) keys: KeyPlan,
    pub(super) no_input: Vec<String>,
    pub(super) no_match: Vec<String>,
    pub(super) tries: u32,
    pub(super) give_up: Ending,
    pub(super) limits: Limits,
    pub(super) endings: Endings,
    pub(super) places: Vec<Place>,
    pub(super) announce: Option<String>,
    pub(super) maker: Arc<Maker>,
    _stand_in: Option<StandIn>,
}

/// How a call ends at each limit.
pub(super) struct Endings {
    turns: Ending,
    tokens: Ending,
    cost: Ending,
    time: Ending,
}

impl Endings {
    pub fn of(&self, limit: Limit) -> &Ending {
        match limit {
            Limit::Turns => &self.turns,
            Limit::Tokens => &self.tokens,
            Limit::Cost => &self.cost,
            Limit::Time => &self.time,
        }
    }
}

/// What is otherwise than in the file, for whoever tries an agent.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// Another model in the place of all of the file's.
    pub model: Option<OtherModel>,
    /// What `http://stand-in` is in the addresses of look-ups: the stand-in of this process.
    pub stand_in: Option<String>,
}

/// A model that speaks OpenAI's protocol.
#[derive(Debug, Clone)]
pub struct OtherModel {
    /// Its base URL.
    pub url: String,
    /// Its name there.
    pub model: String,
    /// Its key.
    pub key: Option<Secret>,
}

impl Agent {
    /// Reads and checks an agent's file, opens its models and starts its MCP servers. Grammars are looked for beside the file and
    /// in `grammars`; `destinations` are those of the configuration.
    ///
    /// # Errors
    /// What is wrong, in one sentence that says where.
    pub async fn load(
        path: &Path,
        grammars: &[PathBuf],
        destinations: &[Destination],
        web: &Web,
        overrides: &Overrides,
    ) -> Result<Self, AgentError> {
        let file = File::load(path)?;
        Builder { path, grammars, destinations, web, overrides }.build(file).await
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is for.
    #[must_use]
    pub fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    /// Everything that it says in the same words on every call.
    pub(super) fn fixed_sentences(&self) -> Vec<&str> {
        let endings = [
            &self.failure,
            &self.give_up,
            &self.endings.turns,
            &self.endings.tokens,
            &self.endings.cost,
            &self.endings.time,
        ];
        let said = endings.into_iter().filter_map(|ending| ending.say.as_ref());
        let all = self.greeting.iter().chain(said).chain(&self.no_input).chain(&self.no_match);
        let all = all.chain(&self.maker.manners.fillers).chain([&self.apology, &self.goodbye]);
        let mut seen = std::collections::BTreeSet::new();
        all.map(String::as_str).filter(|text| !text.trim().is_empty() && seen.insert(*text)).collect()
    }
}

struct Builder<'a> {
    path: &'a Path,
    grammars: &'a [PathBuf],
    destinations: &'a [Destination],
    web: &'a Web,
    overrides: &'a Overrides,
}

impl Builder<'_> {
    async fn build(&self, file: File) -> Result<Agent, AgentError> {
        let mut stand_in = None;
        let chain = self.chain(&file, &mut stand_in).await?;
        let toolbox = Toolbox {
            folder: self.path.parent().unwrap_or(Path::new(".")),
            destinations: self.destinations,
            web: self.web,
            stand_in: self.overrides.stand_in.clone().or_else(|| stand_in.as_ref().map(StandIn::base)),
        };
        let tools = toolbox.fill(&file.tools, &file.lookup, &file.mcp).await;
        let (tools, places) = tools.map_err(|what| self.fault(what))?;
        let prompt = self.prompt(&file)?;
        let grammar = file.listen.understands.as_deref().map(|path| self.grammar(path)).transpose()?;
        let listen = &file.listen;
        let listening = listen.endpointing.listening();
        self.check_endings(&file)?;
        let millis = Duration::from_millis;
        let agent = file.agent;
        let limits = file.limits;
        let ending = |own: Option<Ending>| own.unwrap_or_else(|| limits.ending.clone());
        Ok(Agent {
            name: agent.name,
            description: agent.description,
            language: agent.language,
            voice: agent.voice,
            prompt,
            greeting: agent.greeting,
            apology: agent.apology,
            failure: agent.failure,
            failures: agent.failures.max(1),
            goodbye: agent.goodbye,
            speculate: agent.speculate,
            barge_in: barge_in(agent.barge_in, millis(agent.protected_ms)),
            grammar,
            listening: Listening {
                no_input: millis(listen.no_input_ms),
                max_speech: millis(listen.max_speech_ms),
                ..listening
            },
            keys: match listen.keys {
                Keys::Ignore => KeyPlan::Ignore,
                Keys::One => KeyPlan::One,
                Keys::Number => KeyPlan::Digits {
                    max: 32,
                    terminator: Some('#'),
                    inter_digit: millis(listen.inter_digit_ms),
                },
            },
            no_input: file.listen.no_input,
            no_match: file.listen.no_match,
            tries: file.listen.tries.max(1),
            give_up: file.listen.give_up,
            limits: Limits {
                turns: limits.turns,
                tokens: limits.tokens,
                cost: limits.cost.unwrap_or(f64::INFINITY),
                time: Duration::from_secs(limits.seconds),
            },
            endings: Endings {
                turns: ending(limits.turns_ending.clone()),
                tokens: ending(limits.tokens_ending.clone()),
                cost: ending(limits.cost_ending.clone()),
                time: ending(limits.seconds_ending.clone()),
            },
            places,
            announce: file.tools.announce,
            maker: Arc::new(Maker {
                chain,
                manners: Manners {
                    fillers: agent.fillers,
                    filler_after: millis(agent.filler_after_ms),
                    filler_again: millis(agent.filler_again_ms),
                    rounds: file.tools.rounds.min(20),
                    tool_timeout: millis(file.tools.timeout_ms),
                },
                tools,
            }),
            _stand_in: stand_in,
        })
    }

    fn fault(&self, what: impl std::fmt::Display) -> AgentError {
        AgentError::at(self.path, what)
    }

    fn beside(&self, path: &Path) -> PathBuf {
        self.path.parent().unwrap_or(Path::new(".")).join(path)
    }

    fn prompt(&self, file: &File) -> Result<Template, AgentError> {
        let own = match (&file.agent.prompt, &file.agent.instructions) {
            (Some(_), Some(_)) => {
                return Err(self.fault("`prompt` and `instructions` are two system prompts: leave one out"));
            }
            (None, None) => {
                return Err(
                    self.fault("there is no system prompt: set `prompt` to a file, or `instructions`")
                );
            }
            (None, Some(text)) => text.clone(),
            (Some(path), None) => {
                let path = self.beside(path);
                std::fs::read_to_string(&path).map_err(|error| {
                    self.fault(format!("the prompt {} cannot be read: {error}", path.display()))
                })?
            }
        };
        if own.len() > 64 * 1_024 {
            return Err(self.fault(format!("a prompt of {} bytes; expected at most 65536", own.len())));
        }
        let text = format!("{}\n\n{}", RULES.trim(), own.trim());
        let rules = RULES.trim().matches('\n').count() + 2;
        Template::parse(&own).map_err(|what| self.fault(format!("the prompt, {what}")))?;
        Template::parse(&text)
            .map_err(|what| self.fault(format!("the rules before the prompt ({rules} lines): {what}")))
    }

    fn grammar(&self, path: &Path) -> Result<Arc<Grammar>, AgentError> {
        let places =
            std::iter::once(self.beside(path)).chain(self.grammars.iter().map(|folder| folder.join(path)));
        let found = places.into_iter().find(|place| place.exists());
        let found = found.ok_or_else(|| {
            self.fault(format!(
                "the grammar {} is neither beside the file nor in models/grammars",
                path.display()
            ))
        })?;
        Grammar::load(&found).map(Arc::new).map_err(|error| self.fault(error))
    }

    async fn chain(&self, file: &File, stand_in: &mut Option<StandIn>) -> Result<Chain, AgentError> {
        if let Some(other) = &self.overrides.model {
            let config = HttpModelConfig {
                name: "model",
                url: other.url.clone(),
                key: other.key.clone().map(Key::new),
                protocol: Arc::new(OpenAi),
                how: How {
                    model: other.model.clone(),
                    temperature: None,
                    max_tokens: 400,
                    extra: serde_json::Map::new(),
                },
                deadlines: Deadlines { first: Duration::from_secs(10), ..Deadlines::USUAL },
                price: (0.0, 0.0),
            };
            return Ok(Chain::new([Arc::new(HttpModel::new(config, self.web.clone())) as Arc<dyn Model>]));
        }
        let mut models: Vec<Arc<dyn Model>> = Vec::new();
        for name in file.agent.models.names() {
            let section = file.service.get(name).ok_or_else(|| {
                let known: Vec<_> = file.service.keys().map(String::as_str).collect();
                self.fault(format!(
                    "`models` names `{name}`, but there is no [service.{name}]: there are {}",
                    known.join(", ")
                ))
            })?;
            models.push(Arc::new(self.model(name, section, stand_in).await?));
        }
        if models.is_empty() {
            return Err(self.fault("`models` names none"));
        }
        Ok(Chain::new(models))
    }

    async fn model(
        &self,
        name: &str,
        section: &ServiceSection,
        stand_in: &mut Option<StandIn>,
    ) -> Result<HttpModel, AgentError> {
        let here = |what: String| self.fault(format!("[service.{name}]: {what}"));
        let (protocol, usual, variable): (Arc<dyn Protocol>, &str, &str) = match section.kind {
            Kind::OpenAi => (Arc::new(OpenAi), "https://api.openai.com/v1", "OPENAI_API_KEY"),
            Kind::Anthropic => (Arc::new(Anthropic), "https://api.anthropic.com/v1", "ANTHROPIC_API_KEY"),
            Kind::StandIn => (Arc::new(OpenAi), "", ""),
        };
        let mut url = section.url.clone().unwrap_or_else(|| usual.to_owned());
        if let (Kind::StandIn, Some(base)) = (section.kind, &self.overrides.stand_in) {
            url = format!("{base}/v1");
        } else if section.kind == Kind::StandIn {
            let there = match stand_in {
                Some(there) => there,
                None => {
                    let begun = StandIn::start(Pace::default()).await;
                    stand_in
                        .insert(begun.map_err(|error| here(format!("the stand-in cannot listen: {error}")))?)
                }
            };
            url = there.url();
        }
        let parsed = reqwest::Url::parse(&url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        if parsed.is_none_or(|url| url.host_str().is_none()) {
            return Err(here(format!("`{url}` is no address: write https://HOST/v1")));
        }
        let model = match (&section.model, section.kind) {
            (Some(model), _) => model.clone(),
            (None, Kind::StandIn) => "stand-in".to_owned(),
            (None, _) => return Err(here("`model` is missing: the service's name of a model".into())),
        };
        let key = self
            .key(&section.key, &section.key_file, section.key_env.as_deref().unwrap_or(variable))
            .map_err(here)?;
        let official = section.url.is_none() && section.kind != Kind::StandIn;
        if official && key.is_none() {
            return Err(here(format!(
                "there is no key: set {variable} in the environment, `key_file` or `key`"
            )));
        }
        let extra = serde_json::to_value(&section.extra).map_err(|error| here(error.to_string()))?;
        let config = HttpModelConfig {
            name: named(name),
            url,
            key,
            protocol,
            how: How {
                model,
                temperature: section.temperature,
                max_tokens: section.max_tokens,
                extra: extra.as_object().cloned().unwrap_or_default(),
            },
            deadlines: Deadlines {
                first: Duration::from_millis(section.first_ms),
                stall: Duration::from_millis(section.stall_ms),
                whole: Duration::from_millis(section.whole_ms),
                ..Deadlines::USUAL
            },
            price: (section.price_in, section.price_out),
        };
        Ok(HttpModel::new(config, self.web.clone()))
    }

    fn key(
        &self,
        key: &Option<Secret>,
        file: &Option<PathBuf>,
        variable: &str,
    ) -> Result<Option<Key>, String> {
        let file = file.as_deref().map(|path| self.beside(path));
        let variables: &[&str] = if variable.is_empty() { &[] } else { &[variable] };
        Key::find(key.as_ref(), file.as_deref(), variables).map_err(|error| error.to_string())
    }

    /// An ending that transfers goes to a destination of the configuration.
    fn check_endings(&self, file: &File) -> Result<(), AgentError> {
        let limits = &file.limits;
        let own = [&limits.turns_ending, &limits.tokens_ending, &limits.cost_ending, &limits.seconds_ending];
        let all = [&file.agent.failure, &file.listen.give_up, &limits.ending].into_iter();
        for ending in all.chain(own.into_iter().flatten()) {
            let Some(name) = &ending.transfer else { continue };
            let known = self.destinations.iter().any(|known| &known.name == name);
            if !known {
                return Err(self.fault(format!(
                    "an ending transfers to `{name}`, which is no destination of the configuration"
                )));
            }
            if ending.leave {
                return Err(
                    self.fault("an ending has both `transfer` and `leave`: the call can take one way only")
                );
            }
        }
        Ok(())
    }
}

fn barge_in(by: Interrupt, protect: Duration) -> BargeIn {
    let (voice, keys) = match by {
        Interrupt::VoiceAndKeys => (true, true),
        Interrupt::Voice => (true, false),
        Interrupt::Keys => (false, true),
        Interrupt::Never => (false, false),
    };
    BargeIn { voice, keys, protect, ..BargeIn::ALLOWED }
}
