//! The file of a speech to speech bot.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::bot::Endpointing;
use crate::bot::remote::config::FallbackSection;
use crate::bot::tools::sections::{LookupSection, McpSection, ToolsSection};
use crate::secret::Secret;
use crate::turn::Listening;

/// A file that cannot be used: where, what, and what would be accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RealtimeError(pub String);

/// The whole file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RealtimeFile {
    /// The service, and what it is told.
    pub realtime: RealtimeSection,
    /// How the caller is listened to.
    #[serde(default)]
    pub listen: ListenSection,
    /// What one call may take.
    #[serde(default)]
    pub limits: LimitsSection,
    /// What the model can do: as an agent's.
    #[serde(default)]
    pub(in crate::bot) tools: ToolsSection,
    /// What it can look up.
    #[serde(default)]
    pub(in crate::bot) lookup: BTreeMap<String, LookupSection>,
    /// Servers with more tools.
    #[serde(default)]
    pub(in crate::bot) mcp: BTreeMap<String, McpSection>,
    /// What happens to callers when the service fails.
    #[serde(default)]
    pub fallback: FallbackSection,
}

/// `[realtime]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RealtimeSection {
    /// `openai` or `gemini`.
    pub service: Service,
    /// Where it is; none: the service's own address.
    #[serde(default)]
    pub url: Option<String>,
    /// The model; none: the service's current one.
    #[serde(default)]
    pub model: Option<String>,
    /// The key; better in the environment, or:
    #[serde(default)]
    pub key: Option<Secret>,
    /// A file whose first line is the key.
    #[serde(default)]
    pub key_file: Option<PathBuf>,
    /// The environment variable with the key, where it is not the service's usual one.
    #[serde(default)]
    pub key_env: Option<String>,
    /// The service's name of a voice.
    #[serde(default)]
    pub voice: Option<String>,
    /// Our synthesiser's voice for what is said when the service fails.
    #[serde(default)]
    pub apology_voice: Option<String>,
    /// What the model is told to be.
    #[serde(default)]
    pub instructions: Option<String>,
    /// A file with the same.
    #[serde(default)]
    pub prompt: Option<PathBuf>,
    /// The language of the conversation, for `{{language}}`.
    #[serde(default = "english")]
    pub language: String,
    /// How it shall begin; without it the caller begins.
    #[serde(default)]
    pub greeting: Option<String>,
    /// The model that writes down what the caller says, for records; OpenAI only. Gemini does so by itself.
    #[serde(default)]
    pub transcribe: Option<String>,
    /// The most tokens of one answer.
    #[serde(default = "max_tokens")]
    pub max_tokens: u32,
    /// How long the service may take to be there.
    #[serde(default = "connect_ms")]
    pub connect_ms: u64,
    /// How long from the end of the caller's turn to the first audio.
    #[serde(default = "first_ms")]
    pub first_ms: u64,
    /// How long it may be gone in the middle of a call.
    #[serde(default = "connect_ms")]
    pub reconnect_ms: u64,
}

fn english() -> String {
    "en".into()
}

fn max_tokens() -> u32 {
    2_048
}

fn connect_ms() -> u64 {
    5_000
}

fn first_ms() -> u64 {
    6_000
}

/// Which service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Service {
    /// OpenAI Realtime.
    Openai,
    /// Gemini Live.
    Gemini,
}

impl Service {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Openai => "openai",
            Self::Gemini => "gemini",
        }
    }

    /// The environment variable that usually has its key.
    pub(super) const fn key_variable(self) -> &'static str {
        match self {
            Self::Openai => "OPENAI_API_KEY",
            Self::Gemini => "GEMINI_API_KEY",
        }
    }
}

/// `[listen]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ListenSection {
    /// How soon the caller is believed to be done: `eager`, `balanced` or `patient`.
    pub endpointing: Endpointing,
    /// How long to wait for him after the bot has spoken.
    pub no_input_ms: u64,
    /// How often the model hears that he said nothing before the call ends.
    pub tries: u32,
    /// How long he may speak.
    pub max_speech_ms: u64,
    /// Whether keys are told to the model.
    pub keys: bool,
    /// Whether the caller may interrupt.
    pub barge_in: bool,
}

impl Default for ListenSection {
    fn default() -> Self {
        Self {
            endpointing: Endpointing::Balanced,
            no_input_ms: 8_000,
            tries: 3,
            max_speech_ms: 60_000,
            keys: true,
            barge_in: true,
        }
    }
}

impl ListenSection {
    pub(super) fn how(&self) -> Listening {
        Listening {
            no_input: Duration::from_millis(self.no_input_ms),
            max_speech: Duration::from_millis(self.max_speech_ms),
            ..self.endpointing.listening()
        }
    }
}

/// `[limits]`: what one call may take.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsSection {
    /// Answers of the model.
    pub turns: u32,
    /// Tokens, both ways.
    pub tokens: u64,
    /// From the beginning, in seconds.
    pub seconds: u64,
    /// What happens then.
    pub ending: FallbackSection,
}

impl Default for LimitsSection {
    fn default() -> Self {
        let say = Some("I am sorry, our time is up. Goodbye.".to_owned());
        let ending = FallbackSection { say, ..FallbackSection::default() };
        Self { turns: 200, tokens: 400_000, seconds: 1_800, ending }
    }
}

impl RealtimeFile {
    /// Reads it. Blocks on the disk; paths in it are relative to it.
    ///
    /// # Errors
    /// With file and line.
    pub fn load(path: &Path) -> Result<Self, RealtimeError> {
        let told = |line: usize, what: String| RealtimeError(format!("{}:{line}: {what}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| {
            told(1, format!("the file of a speech to speech bot cannot be read: {error}"))
        })?;
        let mut file: Self = toml::from_str(&text).map_err(|error| {
            let line =
                error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            told(line, error.message().trim().to_owned())
        })?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let section = &mut file.realtime;
        section.key_file.iter_mut().for_each(|file| *file = folder.join(&*file));
        match (&section.instructions, &section.prompt) {
            (Some(_), Some(_)) => {
                return Err(told(1, "write one of `instructions` and `prompt`, not both".into()));
            }
            (None, Some(prompt)) => {
                let prompt = folder.join(prompt);
                let text = std::fs::read_to_string(&prompt).map_err(|error| {
                    told(1, format!("`prompt`: {} cannot be read: {error}", prompt.display()))
                })?;
                section.instructions = Some(text);
            }
            (None, None) => {
                return Err(told(
                    1,
                    "the model is not told what it is: write `instructions`, or `prompt`, a file".into(),
                ));
            }
            (Some(_), None) => {}
        }
        if file.fallback.flow.is_some() || file.limits.ending.flow.is_some() {
            return Err(told(1, "`fallback` and `ending` have `say`, `transfer` or `dialplan` here".into()));
        }
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bot::tools::sections::VerbName;

    fn load(text: &str) -> Result<RealtimeFile, RealtimeError> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("voice.toml");
        std::fs::write(folder.path().join("prompt.md"), "You are a clerk.").expect("a file");
        std::fs::write(&path, text).expect("a file");
        RealtimeFile::load(&path)
    }

    #[test]
    fn a_file_says_which_service_and_what_it_is_told() {
        let file = load("[realtime]\nservice = 'openai'\nprompt = 'prompt.md'\n[tools]\nverbs = ['leave']\n")
            .expect("right");
        assert_eq!(file.realtime.instructions.as_deref(), Some("You are a clerk."));
        assert_eq!((file.realtime.first_ms, file.tools.verbs), (6_000, vec![VerbName::Leave]));
        assert_eq!(file.listen.how().no_input, Duration::from_secs(8));
    }

    #[test]
    fn a_mistake_is_told_with_its_line() {
        for (wrong, line, told) in [
            ("[realtime]\nservice = 'siri'\n", ":2: ", "gemini"),
            ("[realtime]\nservice = 'openai'\n\n[lisen]\n", ":4: ", "listen"),
            ("[realtime]\nservice = 'openai'\n", ":1: ", "instructions"),
            ("[realtime]\nservice = 'openai'\nprompt = 'none.md'\n", ":1: ", "none.md"),
        ] {
            let error = load(wrong).expect_err(wrong).to_string();
            assert!(error.contains(line) && error.contains(told), "{error}");
        }
    }
}
