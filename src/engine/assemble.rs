//! Bots and their services out of a configuration.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::backends::Backends;
use super::config::{BotSection, Choice, Config, ConfigError};
use super::{EngineError, EngineVoices};
use crate::audio::Rate;
use crate::bot::AnyBot;
use crate::bot::agent::{Agent, AgentBot, Overrides};
use crate::bot::flow::{Flow, FlowBot, SearchPaths};
use crate::bot::realtime::RealtimeBot;
use crate::bot::remote::RemoteBot;
use crate::call::Journal;
use crate::policy::{Destination, Policy};
use crate::service::Web;
use crate::speech::{Recognizer, pocketsphinx};

/// What a call is made of besides its channels; see [`Engine::start`](super::Engine::start).
pub struct Services {
    /// The bots by name.
    pub bots: BTreeMap<String, AnyBot>,
    /// The recogniser, if there is one.
    pub recognizer: Option<Arc<dyn Recognizer>>,
    /// Who hears along while it is found out who answered a call of ours, where somebody does.
    pub answers: Option<Arc<dyn Recognizer>>,
    /// What can be said.
    pub voices: Arc<EngineVoices>,
    /// The bots that have others than these.
    pub own: BTreeMap<String, OwnSpeech>,
    /// What bots may do with a telephone.
    pub policy: Arc<Policy>,
    /// The way to services of the bots that ask any.
    pub(super) web: LateWeb,
    /// Somebody who wants every note of every call.
    pub watcher: Option<Arc<dyn Journal>>,
}

/// The way to services, made when the first one is asked for: who asks none reads no certificates at the start.
#[derive(Default)]
pub(super) struct LateWeb(OnceLock<Web>);

impl LateWeb {
    pub(super) fn get(&self) -> Result<Web, EngineError> {
        if let Some(web) = self.0.get() {
            return Ok(web.clone());
        }
        let web = Web::new(None).map_err(|error| ConfigError::new(error.to_string()))?;
        Ok(self.0.get_or_init(|| web).clone())
    }
}

/// A bot's own recogniser and voices.
pub struct OwnSpeech {
    /// The recogniser, if there is one.
    pub recognizer: Option<Arc<dyn Recognizer>>,
    /// What can be said.
    pub voices: Arc<EngineVoices>,
}

impl Services {
    /// The agent of that file, with its models, look-ups and MCP servers, beside the bots of the configuration.
    ///
    /// # Errors
    /// Whatever is wrong with it, in a sentence that says where.
    pub async fn agent(
        &self,
        config: &Config,
        file: &Path,
        overrides: &Overrides,
    ) -> Result<Agent, EngineError> {
        agent(config, file, self.policy.destinations(), &self.web.get()?, overrides).await
    }

    /// Who recognises on a bot's calls.
    #[must_use]
    pub fn recognizer(&self, bot: &str) -> Option<&Arc<dyn Recognizer>> {
        self.own.get(bot).map_or(&self.recognizer, |own| &own.recognizer).as_ref()
    }

    /// Who hears along while it is found out who answered a call of that bot: English is what is understood, so only for bots
    /// that the embedded recogniser hears.
    #[must_use]
    pub fn answers(&self, bot: &str, config: &Config) -> Option<&dyn Recognizer> {
        let english = config.recognizers(bot).iter().any(|name| name == pocketsphinx::NAME);
        self.answers.as_deref().filter(|_| english)
    }

    /// Who speaks on a bot's calls.
    #[must_use]
    pub fn voices(&self, bot: &str) -> &Arc<EngineVoices> {
        self.own.get(bot).map_or(&self.voices, |own| &own.voices)
    }

    /// Utterances that wait for a decoder now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        // Lists that have the same recogniser count the same utterances.
        let own = self.own.values().filter_map(|own| own.recognizer.as_ref());
        own.chain(&self.recognizer).map(|recognizer| recognizer.waiting()).max().unwrap_or(0)
    }

    /// The bot of that name.
    pub(super) fn bot(&self, name: &str) -> Result<&AnyBot, EngineError> {
        self.bots.get(name).ok_or_else(|| EngineError::NoBot {
            wanted: name.to_owned(),
            known: self.bots.keys().cloned().collect::<Vec<_>>().join(", "),
        })
    }

    /// The bot for a call that asks for `wanted`, where `default` is the configured one: the only bot needs no name.
    #[must_use]
    pub fn bot_for(&self, wanted: Option<&str>, default: Option<&str>) -> Option<&str> {
        let named = wanted.filter(|name| !name.is_empty()).or(default);
        let only = || self.bots.keys().next().filter(|_| self.bots.len() == 1);
        named
            .map_or_else(only, |name| self.bots.get_key_value(name).map(|(name, _)| name))
            .map(String::as_str)
    }

    /// Reads the bots of `config`, opens the recogniser and the synthesiser that they need, and makes ready what every
    /// call will want: grammars compiled, fixed sentences said once. `watcher` gets every note of every call.
    ///
    /// # Errors
    /// Whatever is wrong with a flow, a grammar, a prompt or a voice, in sentences that say where.
    pub async fn assemble(config: &Config, watcher: Option<Arc<dyn Journal>>) -> Result<Self, EngineError> {
        let search =
            SearchPaths { grammars: models_folders(config).map(|models| models.join("grammars")).collect() };
        let policy = Arc::new(config.policy().map_err(|what| EngineError::Config(ConfigError::new(what)))?);
        let web = LateWeb::default();
        let (mut flows, mut agents) = (Vec::new(), Vec::new());
        for (name, section) in &config.bots {
            let rate = rate(config, section);
            // Of a program's bot: the flow that goes on when it fails.
            let of_fallback = || section.remote.as_ref()?.0.fallback.flow.as_ref();
            if let Some(file) = section.flow.as_ref().or_else(of_fallback) {
                let flow =
                    Flow::load(file, &search).map_err(|errors| EngineError::Flow(errors.to_string()))?;
                if let Some(unknown) = flow.destinations().into_iter().find(|to| policy.find(to).is_err()) {
                    return Err(EngineError::Flow(format!(
                        "{}: there is no [destination.{unknown}] in the configuration, to which it transfers or writes",
                        file.display()
                    )));
                }
                flows.push((name, Arc::new(flow), section.voice.clone(), rate));
            }
            if let Some(file) = &section.agent {
                let agent =
                    agent(config, file, policy.destinations(), &web.get()?, &Overrides::default()).await?;
                agents.push((name, Arc::new(agent), section.voice.clone(), rate));
            }
        }
        let mut backends = Backends::new(config)?;
        let kept = backends.kept()?;
        let recognizer = backends.recognizer(&config.speech.recognizer)?;
        let voices = backends.voices(&config.speech.synthesizer, config.speech.voice.clone(), &kept)?;
        let mut services = Self {
            bots: BTreeMap::default(),
            recognizer,
            answers: backends.answers(),
            voices: Arc::new(voices),
            own: BTreeMap::default(),
            policy,
            web,
            watcher,
        };
        for (name, section) in &config.bots {
            if section.recognizer.is_some() || section.synthesizer.is_some() {
                // A voice of the house is one of the synthesiser of the house.
                let voice = config.speech.voice.clone().filter(|_| section.synthesizer.is_none());
                let recognizer = backends.recognizer(config.recognizers(name))?;
                let voices = Arc::new(backends.voices(config.synthesizers(name), voice, &kept)?);
                services.own.insert(name.clone(), OwnSpeech { recognizer, voices });
            }
        }
        for (name, flow, voice, rate) in flows {
            if let Some(recognizer) = services.recognizer(name) {
                flow.grammars().try_for_each(|(_, grammar)| recognizer.prepare(grammar))?;
            }
            let asks = flow.looks_up();
            let mut bot = FlowBot::new(flow, voice);
            if asks {
                bot = bot.with_web(services.web.get()?);
            }
            services.voices(name).warm(&bot.fixed_parts(), bot.voice(), rate).await?;
            services.bots.insert(name.clone(), AnyBot::new(bot));
        }
        for (name, agent, voice, rate) in agents {
            if let (Some(recognizer), Some(grammar)) = (services.recognizer(name), agent.grammar()) {
                recognizer.prepare(grammar)?;
            }
            let bot = AgentBot::new(agent, voice);
            services.voices(name).warm(&bot.fixed_parts(), bot.voice(), rate).await?;
            services.bots.insert(name.clone(), AnyBot::new(bot));
        }
        for (name, section) in &config.bots {
            let Some(remote) = &section.remote else { continue };
            let wrong = |what: String| EngineError::Bot { name: name.clone(), what };
            remote.0.fallback.check(services.policy.destinations()).map_err(wrong)?;
            let flow = services.bots.remove(name);
            let bot = RemoteBot::new(name, remote.0.clone(), section.voice.clone(), flow);
            let bot = bot.map_err(|error| wrong(error.to_string()))?;
            services.bots.insert(name.clone(), AnyBot::new(bot));
        }
        for (name, section) in &config.bots {
            let Some(file) = &section.realtime else { continue };
            let wrong = |what: String| EngineError::Bot { name: name.clone(), what };
            let web = services.web.get()?;
            let bot = RealtimeBot::load(file, services.policy.destinations(), &web).await;
            let bot = bot.map_err(|error| wrong(error.to_string()))?;
            services.bots.insert(name.clone(), AnyBot::new(bot));
        }
        Ok(services)
    }
}

/// The rate of a bot's voice. What no format is named for is carried at 8 kHz.
fn rate(config: &Config, section: &BotSection) -> Rate {
    match section.format.unwrap_or(config.media.format) {
        Choice::Named(format) => format.rate(),
        Choice::Auto => Rate::Hz8000,
    }
}

/// The agent of that file, with its models, look-ups and MCP servers.
///
/// # Errors
/// Whatever is wrong with it, in a sentence that says where.
async fn agent(
    config: &Config,
    file: &Path,
    destinations: &[Destination],
    web: &Web,
    overrides: &Overrides,
) -> Result<Agent, EngineError> {
    let grammars: Vec<PathBuf> = models_folders(config).map(|models| models.join("grammars")).collect();
    let agent = Agent::load(file, &grammars, destinations, web, overrides).await;
    agent.map_err(|error| EngineError::Flow(error.to_string()))
}

/// Where `models/` may be: the configured folder, beside the configuration file, in the current folder.
pub fn models_folders(config: &Config) -> impl Iterator<Item = PathBuf> {
    let named = config.speech.models.clone();
    let folder = config.path.as_deref().and_then(Path::parent).map(Path::to_path_buf);
    let beside_config =
        folder.into_iter().flat_map(|folder| [folder.join("models"), folder.join("../models")]);
    named.into_iter().chain(beside_config).chain([PathBuf::from("models")])
}

/// The recogniser that the configuration names, if it names one.
///
/// # Errors
/// When it is not in this build, or its data is not on this machine.
pub fn recognizer(config: &Config) -> Result<Option<Arc<dyn Recognizer>>, EngineError> {
    Backends::new(config)?.recognizer(&config.speech.recognizer)
}

#[cfg(test)]
mod tests {
    use super::super::voices::KeptSounds;
    use super::*;
    use crate::bot::{Bot, Outcome};
    use crate::call::{Call, CallError};
    use crate::speech::prompts::PromptCache;

    struct Mute;

    impl Bot for Mute {
        async fn run(&self, _: &mut Call) -> Result<Outcome, CallError> {
            Ok(Outcome::HangUp)
        }
    }

    fn services(names: &[&str]) -> Services {
        let bots = names.iter().map(|name| ((*name).to_owned(), AnyBot::new(Mute))).collect();
        let kept = KeptSounds::new(PromptCache::new(0), false);
        let voices = Arc::new(EngineVoices::new(None, None, kept));
        Services {
            bots,
            recognizer: None,
            answers: None,
            voices,
            own: BTreeMap::default(),
            policy: Arc::default(),
            web: LateWeb::default(),
            watcher: None,
        }
    }

    #[test]
    fn the_only_bot_needs_no_name_and_one_of_several_does() {
        let one = services(&["desk"]);
        assert_eq!(one.bot_for(None, None), Some("desk"));
        assert_eq!(one.bot_for(Some("desk"), None), Some("desk"));
        assert_eq!(
            one.bot_for(Some("other"), None),
            None,
            "a name that is wrong is not served by another bot"
        );
        let two = services(&["a", "b"]);
        assert_eq!(two.bot_for(None, None), None);
        assert_eq!(two.bot_for(Some(""), Some("b")), Some("b"));
    }
}
