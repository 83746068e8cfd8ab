//! Speech to speech: a model that hears the caller and speaks itself, without a recogniser or a synthesiser between.
//!
//! The engine stays in charge of the conversation: its turn taking says when the caller has begun, has interrupted and is
//! done, and tells the service, whose own detection of voices is off. When the caller interrupts, the bot is silent within a frame as
//! ever, the answer is cancelled, and the service learns how much of it was heard.
//!
//! # Parts
//!
//! - [`config`]: the bot's file;
//! - `dialect`: what is said to a service and what it says, whichever it is; [`openai`](self) (OpenAI Realtime) and `gemini` (Gemini Live)
//!   speak it; deciding code without I/O;
//! - `link`: the WebSocket;
//! - `driver`: one call;
//! - `way`, `sound`, `errands`: the connection that is made again, audio between the two, and what the model wants done.
//!
//! What a model can do beside talking is what an [agent](super::agent) can, declared in the same way.
//!
//! # What it never does
//!
//! It leaves nobody in silence: a service that is away, answers late or fails is given up after the configured time, and its
//! caller goes by the fallback. It dials nothing that is no destination of the configuration.

use std::path::Path;

use super::remote::fallback::Fallback;
use super::template::Template;
use super::tools::Tools;
use super::tools::toolbox::Toolbox;
use super::tools::verbs::Place;
use super::{Bot, Outcome};
use crate::audio::Rate;
use crate::call::{Call, CallError, OwnEars};
use crate::policy::Destination;
use crate::service::{Key, Web};

pub mod config;
mod dialect;
mod driver;
mod errands;
mod gemini;
mod link;
mod openai;
mod sound;
mod way;

pub use config::{RealtimeError, RealtimeFile};

use config::Service;

/// The rules of the telephone, which stand before every model's own instructions.
const RULES: &str = include_str!("../../../prompts/realtime.md");

/// A bot that is a speech to speech model. See the [module](self).
pub struct RealtimeBot {
    file: RealtimeFile,
    key: Option<Key>,
    web: Web,
    prompt: Template,
    tools: Tools,
    places: Vec<Place>,
    fallback: Fallback,
    /// When a limit is reached.
    enough: Fallback,
}

impl RealtimeBot {
    /// The bot of the file at `path`, with its tools; MCP servers are started. `destinations` are those of the configuration.
    ///
    /// # Errors
    /// What is wrong, in one sentence that says where: with the file, its key, its tools or where its callers go.
    pub async fn load(path: &Path, destinations: &[Destination], web: &Web) -> Result<Self, RealtimeError> {
        let file = RealtimeFile::load(path)?;
        let told = |what: String| RealtimeError(format!("{}: {what}", path.display()));
        let section = &file.realtime;
        let variables: Vec<&str> =
            section.key_env.as_deref().into_iter().chain([section.service.key_variable()]).collect();
        let key = Key::find(section.key.as_ref(), section.key_file.as_deref(), &variables)
            .map_err(|error| told(format!("the key of the speech to speech service: {error}")))?;
        if key.is_none() && section.url.is_none() {
            return Err(told(format!(
                "the speech to speech service has no key: set the environment variable {}, or `key_file`",
                section.service.key_variable()
            )));
        }
        let instructions = section.instructions.as_deref().unwrap_or_default();
        let own = Template::parse(instructions).map_err(|what| told(format!("the prompt, {what}")))?;
        let rules = Template::parse(&format!("{}\n\n", RULES.trim())).map_err(told)?;
        file.fallback
            .check(destinations)
            .and_then(|()| file.limits.ending.check(destinations))
            .map_err(told)?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let toolbox = Toolbox { folder, destinations, web, stand_in: None };
        let (tools, places) = toolbox.fill(&file.tools, &file.lookup, &file.mcp).await.map_err(told)?;
        let fallback = Fallback::new(&file.fallback, section.apology_voice.clone(), None);
        let enough = Fallback::new(&file.limits.ending, section.apology_voice.clone(), None);
        let (prompt, web) = (rules.then(own), web.clone());
        Ok(Self { file, key, web, prompt, tools, places, fallback, enough })
    }
}

impl Bot for RealtimeBot {
    async fn run(&self, call: &mut Call) -> Result<Outcome, CallError> {
        driver::run(self, call).await
    }

    fn own_ears(&self) -> OwnEars {
        OwnEars::Utterances(match self.file.realtime.service {
            Service::Openai => Rate::Hz8000,
            Service::Gemini => Rate::Hz16000,
        })
    }
}
