//! Synthesis by a program: espeak-ng, piper, Festival's `text2wave`, Cepstral's `swift`, a script of your own.
//!
//! The program is given a text and gives audio back while it makes it. What it is called with is a list of arguments, in which
//! some words in braces are replaced:
//!
//! | in an argument | becomes |
//! |---|---|
//! | `{text}` | the text; without it anywhere, the text comes on the program's standard input |
//! | `{voice}` | the voice that is asked for, or the service's own |
//! | `{rate}` | the sample rate that is wanted, `8000` or `16000` |
//! | `{file}` | a file that the program shall write; without it anywhere, audio comes on its standard output |
//!
//! Audio is WAV, or bare samples of 16 bits whose rate the configuration says.
//!
//! | program | `command` |
//! |---|---|
//! | espeak-ng | `["espeak-ng", "-v", "{voice}", "--stdin", "--stdout"]` |
//! | piper | `["piper", "--model", "en_US-lessac-low.onnx", "--output-raw"]` and `sample_rate = 16000` |
//! | Festival | `["text2wave", "-F", "{rate}"]` |
//! | swift | `["swift", "-n", "{voice}", "-p", "audio/sampling-rate={rate}", "-o", "{file}", "{text}"]` |
//!
//! # Processes
//!
//! One per text, in a process group of its own, which is killed when the stream is dropped or a deadline has passed: what the
//! program started goes with it. No shell is involved, so a text is a text whatever stands in it, and one that begins like an
//! option is not one. At most so many run at once as the configuration says; who comes then waits for a place.
//!
//! # What it never does
//!
//! It keeps no program running between texts, and takes nothing from the program's standard error but a line for the log.

mod process;

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::pour::{Pour, pour};
use super::{SpeechError, SpeechStream, Synthesizer, Utterance};
use crate::service::Deadlines;
use process::{Output, Process};

/// How to call a program.
#[derive(Debug, Clone)]
pub struct CommandConfig {
    /// The backend's name in the configuration.
    pub name: &'static str,
    /// The program and its arguments; see the [room](self).
    pub command: Vec<String>,
    /// What `{voice}` becomes where an utterance names none.
    pub voice: String,
    /// The rate of bare samples, in Hz.
    pub sample_rate: u32,
    /// Programs that run at once.
    pub at_once: usize,
    /// How long it may take.
    pub deadlines: Deadlines,
}

/// Speaks by a program. One for the whole engine.
pub struct CommandSynthesizer {
    config: Arc<CommandConfig>,
    places: Arc<Semaphore>,
}

impl CommandSynthesizer {
    /// Looks the program up.
    ///
    /// # Errors
    /// [`SpeechError::Unavailable`] when there is no such program, and [`SpeechError::Rejected`] when none is named.
    pub fn new(config: CommandConfig) -> Result<Self, SpeechError> {
        let Some(program) = config.command.first() else {
            return Err(SpeechError::Rejected(format!(
                "no program: set `command` under [service.{}], as [\"espeak-ng\", \"--stdin\", \"--stdout\"]",
                config.name
            )));
        };
        if find(program).is_none() {
            return Err(SpeechError::Unavailable(format!(
                "there is no program `{program}`: install it, or write its whole path into `command` under [service.{}]",
                config.name
            )));
        }
        let places = Arc::new(Semaphore::new(config.at_once.clamp(1, 1_024)));
        Ok(Self { config: Arc::new(config), places })
    }
}

/// The program, where it is: as a path, or in one of the folders of `PATH`.
#[must_use]
pub fn find(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(|path| path.is_file());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.is_file())
}

impl Synthesizer for CommandSynthesizer {
    fn name(&self) -> &'static str {
        self.config.name
    }

    fn synthesize(&self, utterance: &Utterance) -> SpeechStream {
        let (config, places) = (Arc::clone(&self.config), Arc::clone(&self.places));
        let wanted = utterance.clone();
        pour(self.config.name, utterance, async move |pour| speak(&config, &places, &wanted, pour).await)
    }
}

async fn speak(
    config: &CommandConfig,
    places: &Semaphore,
    utterance: &Utterance,
    mut pour: Pour,
) -> Result<(), SpeechError> {
    let failed = |what: String| SpeechError::Failed { backend: config.name, what };
    let place = tokio::time::timeout(config.deadlines.first, places.acquire()).await;
    let Ok(Ok(_place)) = place else {
        return Err(failed("all its programs are busy: raise `at_once`, or see why it takes so long".into()));
    };
    let speaking = async {
        let mut process = Process::start(config, utterance).map_err(failed)?;
        let output = process.run(config, &mut pour).await?;
        if let Output::Failed(what) = output {
            return Err(failed(what));
        }
        pour.finish().await
    };
    match tokio::time::timeout(config.deadlines.whole, speaking).await {
        Ok(spoken) => spoken,
        Err(_) => Err(failed(format!("it was not done within {} s", config.deadlines.whole.as_secs()))),
    }
}

#[cfg(test)]
mod tests;
