//! One run of a program, and its end.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::pin::pin;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;

use super::CommandConfig;
use crate::speech::pour::Pour;
use crate::speech::unwrap::Unwrap;
use crate::speech::{SpeechError, Utterance};

/// Bytes that are read at once: 50 ms of 22 kHz.
const PIECE: usize = 2_205;

/// The most that is kept of what a program complains of.
const COMPLAINT: usize = 4_096;

/// How long a program may take to end after the end of its output.
const ENDING: Duration = Duration::from_secs(2);

/// A program at work. Dropping it kills its whole process group.
pub(super) struct Process {
    child: Child,
    group: Group,
    text: Option<String>,
    file: Option<OutFile>,
}

/// How a run came out.
pub(super) enum Output {
    Done,
    Failed(String),
}

impl Process {
    /// Starts the program. The error is a sentence.
    pub fn start(config: &CommandConfig, utterance: &Utterance) -> Result<Self, String> {
        let mentions = |word: &str| config.command.iter().any(|argument| argument.contains(word));
        let file = mentions("{file}").then(OutFile::new).transpose()?;
        let text = plain(&utterance.text);
        let voice = utterance.voice.as_deref().unwrap_or(&config.voice);
        let rate = utterance.rate.hz().to_string();
        let path = file.as_ref().map(|file| file.path.to_string_lossy().into_owned()).unwrap_or_default();
        let arguments =
            config.command.iter().skip(1).map(|argument| fill(argument, &text, &plain(voice), &rate, &path));
        let mut command = Command::new(&config.command[0]);
        let by_stdin = !mentions("{text}");
        command
            .args(arguments)
            .stdin(if by_stdin { Stdio::piped() } else { Stdio::null() })
            .stdout(if file.is_some() { Stdio::null() } else { Stdio::piped() })
            .stderr(Stdio::piped())
            .process_group(0)
            // Reaps it too, so that none is left as a zombie.
            .kill_on_drop(true);
        let child =
            command.spawn().map_err(|error| format!("`{}` does not start: {error}", config.command[0]))?;
        let group = Group(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)));
        Ok(Self { child, group, text: by_stdin.then_some(text), file })
    }

    /// Gives the text and takes the audio. An error is one of the stream; what the program itself did wrong is the output.
    pub async fn run(&mut self, config: &CommandConfig, pour: &mut Pour) -> Result<Output, SpeechError> {
        let (stdin, stdout, stderr) =
            (self.child.stdin.take(), self.child.stdout.take(), self.child.stderr.take());
        let text = self.text.take();
        let mut unwrap = Unwrap::new(config.sample_rate);
        let mut beside = pin!(async { tokio::join!(write(stdin, text), complaint(stderr)).1 });
        let mut complaint = None;
        let audio = {
            let mut audio = pin!(async {
                match stdout {
                    Some(stdout) => pump(stdout, config, &mut unwrap, pour).await,
                    None => self.written_file(config, &mut unwrap, pour).await,
                }
            });
            loop {
                tokio::select! {
                    biased;
                    done = &mut audio => break done?,
                    said = &mut beside, if complaint.is_none() => complaint = Some(said),
                }
            }
        };
        if let Output::Failed(what) = audio {
            return Ok(Output::Failed(what));
        }
        let complaint = match complaint {
            Some(complaint) => complaint,
            None => timeout(ENDING, beside).await.unwrap_or_default(),
        };
        let ended = timeout(ENDING, self.child.wait()).await;
        let status = match ended {
            Ok(Ok(status)) => {
                // Reaped: its number may be somebody else's before long.
                self.group.0 = None;
                status
            }
            Ok(Err(error)) => return Ok(Output::Failed(error.to_string())),
            Err(_) if pour.has_begun() => return Ok(Output::Done),
            Err(_) => return Ok(Output::Failed("it did not end".into())),
        };
        Ok(match (status.success(), pour.has_begun()) {
            (true, true) => Output::Done,
            (true, false) => Output::Failed(with("it made no audio", &complaint)),
            (false, _) => Output::Failed(with(&format!("it ended with {status}"), &complaint)),
        })
    }

    /// The audio of the file that it wrote, once it has ended.
    async fn written_file(
        &mut self,
        config: &CommandConfig,
        unwrap: &mut Unwrap,
        pour: &mut Pour,
    ) -> Result<Output, SpeechError> {
        let within = config.deadlines.first.saturating_add(config.deadlines.stall);
        if timeout(within, self.child.wait()).await.is_err() {
            return Ok(Output::Failed(format!("no file within {} ms", within.as_millis())));
        }
        self.group.0 = None;
        let Some(file) = &self.file else { return Ok(Output::Done) };
        match tokio::fs::File::open(&file.path).await {
            Ok(file) => pump(file, config, unwrap, pour).await,
            // Its status says more.
            Err(_) => Ok(Output::Done),
        }
    }
}

/// Moves audio until there is no more.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    config: &CommandConfig,
    unwrap: &mut Unwrap,
    pour: &mut Pour,
) -> Result<Output, SpeechError> {
    let mut piece = vec![0; PIECE];
    loop {
        let within = if pour.has_begun() { config.deadlines.stall } else { config.deadlines.first };
        let count = match timeout(within, from.read(&mut piece)).await {
            Ok(Ok(0)) => return Ok(Output::Done),
            Ok(Ok(count)) => count,
            Ok(Err(error)) => return Ok(Output::Failed(error.to_string())),
            Err(_) => return Ok(Output::Failed(format!("no audio within {} ms", within.as_millis()))),
        };
        match unwrap.push(&piece[..count]) {
            Ok(Some((samples, hz))) => pour.samples(&samples, hz).await?,
            Ok(None) => {}
            Err(what) => return Ok(Output::Failed(what)),
        }
    }
}

async fn write(stdin: Option<ChildStdin>, text: Option<String>) {
    if let (Some(mut stdin), Some(text)) = (stdin, text) {
        // A program that does not read ends, and its status tells.
        let _ = stdin.write_all(text.as_bytes()).await;
        let _ = stdin.write_all(b"\n").await;
    }
}

/// The beginning of what it says of its troubles; all of it is read, so that it does not wait for a reader.
async fn complaint(stderr: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut stderr) = stderr else { return String::new() };
    let (mut kept, mut piece) = (Vec::new(), [0; 512]);
    while let Ok(count @ 1..) = stderr.read(&mut piece).await {
        let room = COMPLAINT.saturating_sub(kept.len()).min(count);
        kept.extend_from_slice(&piece[..room]);
    }
    String::from_utf8_lossy(&kept).into_owned()
}

fn with(what: &str, complaint: &str) -> String {
    match complaint.lines().map(str::trim).rfind(|line| !line.is_empty()) {
        Some(line) => format!("{what}: {}", crate::service::error::short(line)),
        None => what.to_owned(),
    }
}

/// One line, since a newline means the end of a text to some; nothing that an argument cannot have.
fn plain(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    text.trim().to_owned()
}

/// An argument with its words in braces replaced. What comes from a text begins no option: a blank stands before it.
fn fill(argument: &str, text: &str, voice: &str, rate: &str, file: &str) -> String {
    // In one pass, so that a text with `{file}` in it stays a text.
    let mut out = String::with_capacity(argument.len() + text.len());
    let mut rest = argument;
    while let Some(open) = rest.find('{') {
        out.push_str(&rest[..open]);
        rest = &rest[open..];
        let words = [("{text}", text), ("{voice}", voice), ("{rate}", rate), ("{file}", file)];
        match words.iter().find(|(word, _)| rest.starts_with(word)) {
            Some((word, value)) => {
                if out.is_empty() && value.starts_with('-') {
                    out.push(' ');
                }
                out.push_str(value);
                rest = &rest[word.len()..];
            }
            None => {
                out.push('{');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// A process group that is killed when this is dropped, as long as its leader has not been reaped.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may have ended by itself.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// A file of a name of our own in a folder that nobody else may look into; both are gone with it.
struct OutFile {
    folder: PathBuf,
    path: PathBuf,
}

impl OutFile {
    fn new() -> Result<Self, String> {
        let folder = std::env::temp_dir().join(format!("offhook-{:016x}", fastrand::u64(..)));
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&folder)
            .map_err(|error| format!("no folder for its file can be made: {error}"))?;
        let path = folder.join("speech.wav");
        Ok(Self { folder, path })
    }
}

impl Drop for OutFile {
    fn drop(&mut self) {
        // Whatever the program put there.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_filled_in_once_and_a_text_is_never_an_option() {
        let filled = |argument| fill(argument, "--help {file}", "en", "8000", "/tmp/x");
        assert_eq!(filled("{text}"), " --help {file}");
        assert_eq!(filled("text={text}"), "text=--help {file}");
        assert_eq!(filled("-v{voice}@{rate}"), "-ven@8000");
        assert_eq!(filled("{file}{other}{"), "/tmp/x{other}{");
        assert_eq!(plain(" two\nlines\0 "), "two lines");
    }
}
