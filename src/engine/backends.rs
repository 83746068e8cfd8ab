//! The recognisers and synthesisers that the configuration names, each made once however many bots have it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::assemble::models_folders;
use super::config::{Config, Kind, Names, ServiceSection};
use super::voices::KeptSounds;
use super::{ConfigError, EngineError, EngineVoices};
use crate::service::{Key, Web, named};
use crate::speech::cartesia::{CartesiaConfig, CartesiaSynthesizer};
use crate::speech::command::{CommandConfig, CommandSynthesizer};
use crate::speech::deepgram::synthesizer::{DeepgramSpeech, DeepgramSpeechConfig};
use crate::speech::elevenlabs::{ElevenLabsConfig, ElevenLabsSynthesizer};
use crate::speech::fallback::{Backend, HearingList, Patience, SpeakingList};
use crate::speech::flite::{self, FliteConfig, FliteSynthesizer};
use crate::speech::openai::synthesizer::{OpenAiSpeech, OpenAiSpeechConfig};
use crate::speech::pocketsphinx::{PocketSphinxConfig, PocketSphinxRecognizer};
use crate::speech::prompts::PromptCache;
use crate::speech::prompts::disk::Disk;
use crate::speech::wyoming::synthesizer::{WyomingSpeech, WyomingSpeechConfig};
use crate::speech::{Recognizer, Synthesizer, deepgram, openai, sherpa, vosk, wyoming};

/// Programs that speak at once, where a service of the kind `command` says nothing else.
const PROGRAMS: usize = 8;

/// The deadline of a recogniser that is given whole utterances, where others stand behind it.
const WHOLE_UTTERANCE: Duration = Duration::from_millis(1_200);

/// Requests at once to a service that says nothing else.
const REQUESTS: usize = 200;

/// Makes backends as they are asked for.
pub(super) struct Backends<'a> {
    config: &'a Config,
    web: Option<Web>,
    recognizers: BTreeMap<String, Arc<Backend<dyn Recognizer>>>,
    synthesizers: BTreeMap<String, Arc<Backend<dyn Synthesizer>>>,
}

impl<'a> Backends<'a> {
    /// Makes none yet. The way to services is there when there are any. Blocks on the disk.
    pub fn new(config: &'a Config) -> Result<Self, EngineError> {
        let anywhere = config.service.values().any(|service| service.kind != Kind::Command);
        let web = anywhere.then(|| Web::new(None)).transpose();
        let web = web.map_err(|error| ConfigError::new(error.to_string()))?;
        Ok(Self { config, web, recognizers: BTreeMap::new(), synthesizers: BTreeMap::new() })
    }

    /// What is kept of sentences.
    pub fn kept(&self) -> Result<Arc<KeptSounds>, EngineError> {
        let speech = &self.config.speech;
        let mut cache = PromptCache::new(speech.prompt_cache_mb << 20);
        if let Some(folder) = &speech.prompt_cache {
            let disk = Disk::open(folder, speech.prompt_cache_disk_mb << 20).map_err(|error| {
                ConfigError::new(format!(
                    "cannot keep sentences in {}: {error}; name a folder that Offhook may write to as `prompt_cache` under [speech]",
                    folder.display()
                ))
            })?;
            cache = cache.with_disk(disk);
        }
        Ok(KeptSounds::new(cache, speech.prompt_cache_all))
    }

    /// The recogniser that `names` are.
    pub fn recognizer(&mut self, names: &Names) -> Result<Option<Arc<dyn Recognizer>>, EngineError> {
        let mut backends = Vec::new();
        for name in names.iter() {
            if !self.recognizers.contains_key(name) {
                let made = Backend::recognizer(self.make_recognizer(name)?);
                let first =
                    self.config.service.get(name).and_then(|section| section.first().or(whole(section)));
                self.recognizers.insert(name.to_owned(), Arc::new(made.within(first)));
            }
            backends.push(Arc::clone(&self.recognizers[name]));
        }
        Ok(match backends.len() {
            0 => None,
            1 => backends.pop().map(|only| Arc::clone(only.inner())),
            _ => Some(Arc::new(HearingList::new(backends, self.patience(self.config.speech.final_ms)))),
        })
    }

    /// The voices of the synthesisers that `names` are.
    pub fn voices(
        &mut self,
        names: &Names,
        voice: Option<String>,
        kept: &Arc<KeptSounds>,
    ) -> Result<EngineVoices, EngineError> {
        let mut backends = Vec::new();
        for name in names.iter() {
            if !self.synthesizers.contains_key(name) {
                let made = Arc::new(self.make_speaker(name)?);
                self.synthesizers.insert(name.to_owned(), made);
            }
            backends.push(Arc::clone(&self.synthesizers[name]));
        }
        let patience = self.patience(self.config.speech.first_audio_ms);
        let list = (!backends.is_empty()).then(|| SpeakingList::new(backends, patience));
        Ok(EngineVoices::new(list, voice, Arc::clone(kept)))
    }

    fn patience(&self, deadline_ms: u64) -> Patience {
        let hedge = self.config.speech.hedge_ms;
        Patience {
            deadline: Duration::from_millis(deadline_ms.max(1)),
            hedge: (hedge > 0).then(|| Duration::from_millis(hedge)),
        }
    }

    fn make_recognizer(&self, name: &str) -> Result<Arc<dyn Recognizer>, EngineError> {
        if name == crate::speech::pocketsphinx::NAME {
            return self.pocketsphinx();
        }
        let section = self.section(name)?;
        let (lasting, web) = (named(name), self.web()?);
        Ok(match section.kind {
            Kind::Vosk => Arc::new(vosk::recognizer(lasting, hearing(name, section)?, web)),
            Kind::Sherpa => Arc::new(sherpa::recognizer(lasting, hearing(name, section)?, web)),
            Kind::Wyoming => Arc::new(wyoming::recognizer::recognizer(lasting, hearing(name, section)?, web)),
            Kind::Openai => {
                let key = self.optional_key(name, section)?;
                Arc::new(openai::recognizer::recognizer(lasting, hearing(name, section)?, key, web))
            }
            Kind::Deepgram => {
                let key = self.optional_key(name, section)?;
                Arc::new(deepgram::recognizer::recognizer(lasting, hearing(name, section)?, key, web))
            }
            _ => return Err(unable(name, section, "recognises speech")),
        })
    }

    /// Who hears along while it is found out who answered: where the engine calls for campaigns, the settings want it, and this
    /// build and this machine have what it needs. Without it the detector decides by voice and silence alone.
    pub fn answers(&self) -> Option<Arc<dyn Recognizer>> {
        let config = self.config;
        if !config.answering.words || !config.campaigns.dial || !cfg!(feature = "pocketsphinx") {
            return None;
        }
        match PocketSphinxRecognizer::of_answers(self.wanted()) {
            Ok(recognizer) => Some(Arc::new(recognizer)),
            Err(error) => {
                tracing::warn!(%error, "who answers a call is found out without words");
                None
            }
        }
    }

    fn wanted(&self) -> PocketSphinxConfig {
        let mut wanted = PocketSphinxConfig {
            pronunciations: models_folders(self.config)
                .map(|models| models.join("pronunciations.dict"))
                .find(|file| file.exists()),
            ..PocketSphinxConfig::default()
        };
        if self.config.speech.decoders > 0 {
            wanted.decoders = self.config.speech.decoders;
        }
        wanted
    }

    fn pocketsphinx(&self) -> Result<Arc<dyn Recognizer>, EngineError> {
        Ok(Arc::new(PocketSphinxRecognizer::new(self.wanted())?))
    }

    fn make_speaker(&self, name: &str) -> Result<Backend<dyn Synthesizer>, EngineError> {
        if name == flite::NAME {
            let backend = Backend::synthesizer(self.flite()?);
            return Ok(backend.with_voices(|voice| flite::VOICES.contains(&voice)));
        }
        let section = self.section(name)?;
        let made = self.make_synthesizer(name, section)?;
        let kept_as = format!(
            "{name} {} {} {:?} {:?} {:?} {:?}",
            section.kind.name(),
            section.url(),
            section.model,
            section.voice,
            section.command,
            section.options
        );
        Ok(Backend::synthesizer(made).within(section.first()).voices(section.voices.clone()).keep_as(kept_as))
    }

    fn flite(&self) -> Result<Arc<dyn Synthesizer>, EngineError> {
        let mut wanted = FliteConfig::default();
        // Behind another one, it has no voice of the house unless that is one of its own.
        let first = self.config.speech.synthesizer.iter().next() == Some(flite::NAME);
        let voice = self.config.speech.voice.as_ref();
        if let Some(voice) = voice.filter(|voice| first || flite::VOICES.contains(&voice.as_str())) {
            wanted.voice.clone_from(voice);
        }
        Ok(Arc::new(FliteSynthesizer::new(wanted)?))
    }

    fn make_synthesizer(
        &self,
        name: &str,
        section: &ServiceSection,
    ) -> Result<Arc<dyn Synthesizer>, EngineError> {
        let lasting = named(name);
        let (deadlines, at_once) = (section.deadlines(), section.at_once);
        Ok(match section.kind {
            Kind::Command => Arc::new(CommandSynthesizer::new(CommandConfig {
                name: lasting,
                command: section.command.clone(),
                voice: section.voice.clone().unwrap_or_else(|| "en".into()),
                sample_rate: section.sample_rate.unwrap_or(16_000),
                at_once: at_once.unwrap_or(PROGRAMS),
                deadlines,
            })?),
            Kind::Openai => {
                let config = OpenAiSpeechConfig {
                    name: lasting,
                    url: section.url().to_owned(),
                    key: self.optional_key(name, section)?,
                    model: section.model.clone().unwrap_or_else(|| "gpt-4o-mini-tts".into()),
                    voice: section.voice.clone().unwrap_or_else(|| "alloy".into()),
                    sample_rate: section.sample_rate.unwrap_or(24_000),
                    at_once: at_once.unwrap_or(REQUESTS),
                    options: section.options(),
                    deadlines,
                };
                Arc::new(OpenAiSpeech::new(config, self.web()?))
            }
            Kind::Elevenlabs => {
                let config = ElevenLabsConfig {
                    name: lasting,
                    url: section.url().to_owned(),
                    key: self.key(name, section)?,
                    model: section.model.clone().unwrap_or_else(|| "eleven_flash_v2_5".into()),
                    voice: voice(name, section)?,
                    language: section.language.clone(),
                    at_once: at_once.unwrap_or(REQUESTS),
                    options: section.options(),
                    deadlines,
                };
                Arc::new(ElevenLabsSynthesizer::new(config, self.web()?))
            }
            Kind::Cartesia => {
                let config = CartesiaConfig {
                    name: lasting,
                    url: section.url().to_owned(),
                    key: self.key(name, section)?,
                    model: section.model.clone().unwrap_or_else(|| "sonic-3.5".into()),
                    voice: voice(name, section)?,
                    language: section.language.clone(),
                    at_once: at_once.unwrap_or(REQUESTS),
                    options: section.options(),
                    deadlines,
                };
                Arc::new(CartesiaSynthesizer::new(config, self.web()?))
            }
            Kind::Deepgram => {
                let named = section.voice.clone().or_else(|| section.model.clone());
                let config = DeepgramSpeechConfig {
                    name: lasting,
                    url: section.url().to_owned(),
                    key: self.key(name, section)?,
                    voice: named.unwrap_or_else(|| "aura-2-thalia-en".into()),
                    at_once: at_once.unwrap_or(REQUESTS),
                    deadlines,
                };
                Arc::new(DeepgramSpeech::new(config, self.web()?))
            }
            Kind::Wyoming => {
                let config = WyomingSpeechConfig {
                    name: lasting,
                    url: section.url().to_owned(),
                    voice: section.voice.clone(),
                    language: section.language.clone(),
                    deadlines,
                };
                Arc::new(WyomingSpeech::new(config, self.web()?))
            }
            _ => return Err(unable(name, section, "makes speech")),
        })
    }

    fn section(&self, name: &str) -> Result<&'a ServiceSection, EngineError> {
        self.config.service.get(name).ok_or_else(|| {
            ConfigError::new(format!("there is no [service.{name}]: write one, with its `kind`")).into()
        })
    }

    /// The key of a service that needs one.
    fn key(&self, name: &str, section: &ServiceSection) -> Result<Key, EngineError> {
        self.optional_key(name, section)?.ok_or_else(|| {
            let variable = section.kind.key_variables().first().copied().unwrap_or("its variable");
            ConfigError::new(format!(
                "[service.{name}] has no key: name a file as `key_file`, or set {variable} in the environment"
            ))
            .into()
        })
    }

    fn optional_key(&self, name: &str, section: &ServiceSection) -> Result<Option<Key>, EngineError> {
        section.key().map_err(|error| ConfigError::new(format!("[service.{name}]: {error}")).into())
    }

    /// The way to services.
    fn web(&self) -> Result<Web, EngineError> {
        self.web
            .clone()
            .ok_or_else(|| ConfigError::new("there is no way to services: this is a mistake of ours").into())
    }
}

/// How long those may take for their final that are given whole utterances, and begin when the caller is done.
fn whole(section: &ServiceSection) -> Option<Duration> {
    let realtime = section.options.get("realtime").and_then(toml::Value::as_bool).unwrap_or(false);
    let whole = section.kind == Kind::Wyoming || (section.kind == Kind::Openai && !realtime);
    whole.then_some(WHOLE_UTTERANCE)
}

/// A recogniser's own configuration: what the section has for all kinds, and its `options`.
fn hearing<C: DeserializeOwned>(name: &str, section: &ServiceSection) -> Result<C, EngineError> {
    let mut table = section.options.clone();
    let mut set = |key: &str, value: Option<toml::Value>| {
        if let Some(value) = value {
            table.insert(key.to_owned(), value);
        }
    };
    let number =
        |value: Option<u64>| value.and_then(|value| i64::try_from(value).ok()).map(toml::Value::Integer);
    let text = |value: &Option<String>| value.clone().map(toml::Value::String);
    set("url", text(&section.url));
    set("model", text(&section.model));
    set("language", text(&section.language));
    set("sample_rate", number(section.sample_rate.map(u64::from)));
    set("connect_ms", number(section.connect_ms));
    let read = C::deserialize(toml::Value::Table(table));
    read.map_err(|error| ConfigError::new(format!("[service.{name}]: {}", error.message().trim())).into())
}

/// The voice of a service that has none of its own.
fn voice(name: &str, section: &ServiceSection) -> Result<String, EngineError> {
    section.voice.clone().ok_or_else(|| {
        ConfigError::new(format!(
            "[service.{name}] has no voice: write the id of one of the service's voices as `voice`"
        ))
        .into()
    })
}

fn unable(name: &str, section: &ServiceSection, what: &str) -> EngineError {
    ConfigError::new(format!(
        "[service.{name}]: nothing in this build of the kind {} {what}",
        section.kind.name()
    ))
    .into()
}
