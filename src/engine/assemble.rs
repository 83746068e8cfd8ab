//! Bots and their services out of a configuration.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::config::{Choice, Config, RecognizerKind, SynthesizerKind};
use super::{EngineError, EngineVoices, Services};
use crate::audio::Rate;
use crate::bot::AnyBot;
use crate::bot::flow::{Flow, FlowBot, SearchPaths};
use crate::call::Journal;
use crate::speech::flite::{FliteConfig, FliteSynthesizer};
use crate::speech::pocketsphinx::{PocketSphinxConfig, PocketSphinxRecognizer};
use crate::speech::{Recognizer, Synthesizer};

impl Services {
    /// Reads the bots of `config`, opens the recogniser and the synthesiser that they need, and makes ready what every
    /// call will want: grammars compiled, fixed sentences said once. `watcher` gets every note of every call.
    ///
    /// # Errors
    /// Whatever is wrong with a flow, a grammar, a prompt or a voice, in sentences that say where.
    pub async fn assemble(config: &Config, watcher: Option<Arc<dyn Journal>>) -> Result<Self, EngineError> {
        let search =
            SearchPaths { grammars: models_folders(config).map(|models| models.join("grammars")).collect() };
        let mut flows = Vec::new();
        for (name, section) in &config.bots {
            let flow =
                Flow::load(&section.flow, &search).map_err(|errors| EngineError::Flow(errors.to_string()))?;
            // What no format is named for is carried at 8 kHz.
            let rate = match section.format.unwrap_or(config.media.format) {
                Choice::Named(format) => format.rate(),
                Choice::Auto => Rate::Hz8000,
            };
            flows.push((name, Arc::new(flow), section.voice.clone(), rate));
        }
        let recognizer = recognizer(config)?;
        if let Some(recognizer) = &recognizer {
            for (_, grammar) in flows.iter().flat_map(|(_, flow, ..)| flow.grammars()) {
                recognizer.prepare(grammar)?;
            }
        }
        let voices = EngineVoices::new(
            synthesizer(config)?,
            config.speech.voice.clone(),
            config.speech.prompt_cache_mb * 1_024 * 1_024,
        );
        let mut services = Self { bots: Default::default(), recognizer, voices: Arc::new(voices), watcher };
        for (name, flow, voice, rate) in flows {
            let bot = FlowBot::new(flow, voice);
            services.voices.warm(&bot.fixed_parts(), bot.voice(), rate).await?;
            services.bots.insert(name.clone(), AnyBot::new(bot));
        }
        Ok(services)
    }
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
    if config.speech.recognizer == RecognizerKind::None {
        return Ok(None);
    }
    let mut wanted = PocketSphinxConfig {
        pronunciations: models_folders(config)
            .map(|models| models.join("pronunciations.dict"))
            .find(|file| file.exists()),
        ..PocketSphinxConfig::default()
    };
    if config.speech.decoders > 0 {
        wanted.decoders = config.speech.decoders;
    }
    Ok(Some(Arc::new(PocketSphinxRecognizer::new(wanted)?)))
}

fn synthesizer(config: &Config) -> Result<Option<Arc<dyn Synthesizer>>, EngineError> {
    if config.speech.synthesizer == SynthesizerKind::None {
        return Ok(None);
    }
    let mut wanted = FliteConfig::default();
    if let Some(voice) = &config.speech.voice {
        wanted.voice.clone_from(voice);
    }
    Ok(Some(Arc::new(FliteSynthesizer::new(wanted)?)))
}
