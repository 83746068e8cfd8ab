//! Call files: calls out for servers that have neither ARI nor AMI open.
//!
//! A file in Asterisk's spool is a call. It must be whole when Asterisk sees it, so it is written elsewhere on the same file
//! system and renamed. With `Archive: yes` Asterisk keeps it in `outgoing_done` and adds what came of it.

use std::fmt;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::number::Plain;
use crate::time::WallTime;

/// Why a call file cannot be.
#[derive(Debug, thiserror::Error)]
pub enum CallFileError {
    /// A value has a line break or a NUL: it would become a line of its own.
    #[error("a call file was not written: {key} has a line break or NUL in it")]
    LineBreak {
        /// The key of the line.
        key: &'static str,
    },
    /// The file system refuses.
    #[error("cannot write a call file to {}: {source}; Offhook needs to write there, as Asterisk's user or in its group", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What a call that is answered gets.
#[derive(Clone, PartialEq, Eq)]
pub enum Then {
    /// A place of the dialplan.
    Dialplan {
        /// The context.
        context: Plain,
        /// The extension.
        extension: Plain,
        /// The priority, or a label.
        priority: Plain,
    },
    /// An application with its arguments.
    Application {
        /// The application.
        name: Plain,
        /// Its arguments.
        data: String,
    },
}

/// A call that is to be made.
#[derive(Clone, PartialEq, Eq)]
pub struct CallFile {
    channel: String,
    then: Then,
    lines: Vec<(&'static str, String)>,
    not_before: Option<WallTime>,
}

impl CallFile {
    /// A call to `number` over the technology and, where there is one, the trunk: `PJSIP/NUMBER@TRUNK`. The parts are
    /// joined here and nowhere else.
    #[must_use]
    pub fn to(technology: &Plain, number: &Plain, trunk: Option<&Plain>, then: Then) -> Self {
        let at = trunk.map(|trunk| format!("@{trunk}")).unwrap_or_default();
        Self { channel: format!("{technology}/{number}{at}"), then, lines: Vec::new(), not_before: None }
    }

    /// A call by a dial string that is known to be right.
    pub fn dial(channel: impl Into<String>, then: Then) -> Self {
        Self { channel: channel.into(), then, lines: Vec::new(), not_before: None }
    }

    /// What is shown to who is called: `Name <number>`.
    #[must_use]
    pub fn caller_id(self, text: impl Into<String>) -> Self {
        self.line("CallerID", text.into())
    }

    /// How long it may ring, in whole seconds; 45 by default.
    #[must_use]
    pub fn ring(self, span: Duration) -> Self {
        self.line("WaitTime", span.as_secs().max(1).to_string())
    }

    /// How many more times it is tried, and how long after each.
    #[must_use]
    pub fn retries(self, count: u32, every: Duration) -> Self {
        self.line("MaxRetries", count.to_string()).line("RetryTime", every.as_secs().max(1).to_string())
    }

    /// The account code of the call.
    #[must_use]
    pub fn account(self, code: impl Into<String>) -> Self {
        self.line("Account", code.into())
    }

    /// A variable of the channel.
    #[must_use]
    pub fn variable(self, name: &Plain, value: &str) -> Self {
        self.line("Setvar", format!("{name}={value}"))
    }

    /// Not before this moment.
    #[must_use]
    pub fn not_before(mut self, when: WallTime) -> Self {
        self.not_before = Some(when);
        self
    }

    fn line(mut self, key: &'static str, value: String) -> Self {
        self.lines.push((key, value));
        self
    }

    /// The whole text of the file.
    ///
    /// # Errors
    /// [`CallFileError::LineBreak`].
    pub fn text(&self) -> Result<String, CallFileError> {
        let mut lines = vec![("Channel", self.channel.clone())];
        match &self.then {
            Then::Dialplan { context, extension, priority } => lines.extend([
                ("Context", context.to_string()),
                ("Extension", extension.to_string()),
                ("Priority", priority.to_string()),
            ]),
            Then::Application { name, data } => {
                lines.extend([("Application", name.to_string()), ("Data", data.clone())]);
            }
        }
        lines.extend(self.lines.iter().cloned());
        lines.push(("Archive", "yes".into()));
        let mut text = String::new();
        for (key, value) in lines {
            if value.contains(['\r', '\n', '\0']) {
                return Err(CallFileError::LineBreak { key });
            }
            // What follows an unescaped semicolon is a comment to Asterisk.
            let value = value.replace(';', "\\;");
            text.push_str(&format!("{key}: {value}\n"));
        }
        Ok(text)
    }
}

impl fmt::Debug for CallFile {
    /// Without the number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<&str> = self.lines.iter().map(|(key, _)| *key).collect();
        f.debug_struct("CallFile").field("keys", &keys).finish_non_exhaustive()
    }
}

/// Asterisk's spool folder, usually `/var/spool/asterisk`.
#[derive(Clone, Debug)]
pub struct Spool(PathBuf);

/// What came of a call file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Asterisk has it, or tries it, or waits for its time.
    Waiting,
    /// It was answered, and what it was for has ended.
    Completed,
    /// All tries failed.
    Expired,
    /// Asterisk could not read it, or made an end of it in another way.
    Failed,
    /// It is in neither folder: it was removed, or never was.
    Unknown,
}

impl Spool {
    /// The spool at `folder`.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// Where Asterisk looks for calls.
    #[must_use]
    pub fn outgoing(&self) -> PathBuf {
        self.0.join("outgoing")
    }

    /// Where it keeps those that are done.
    #[must_use]
    pub fn done(&self) -> PathBuf {
        self.0.join("outgoing_done")
    }

    /// Hands a call over, under a name of its own. Blocks on the disk.
    ///
    /// # Errors
    /// When the file cannot be, or a file of that name is there already.
    pub fn submit(&self, name: &Plain, call: &CallFile) -> Result<(), CallFileError> {
        let text = call.text()?;
        let outgoing = self.outgoing();
        let told = |path: &Path| {
            let path = path.to_path_buf();
            move |source| CallFileError::Io { path, source }
        };
        // Beside `outgoing`: on the same file system, so that the rename is whole, and not watched by Asterisk.
        let writing = self.0.join("offhook");
        std::fs::create_dir_all(&writing).map_err(told(&writing))?;
        let draft = writing.join(format!("{name}.call"));
        let place = outgoing.join(format!("{name}.call"));
        if place.exists() || self.done().join(format!("{name}.call")).exists() {
            let source = io::Error::new(io::ErrorKind::AlreadyExists, "a call of that name exists");
            return Err(CallFileError::Io { path: place, source });
        }
        let write = || {
            let mut file = std::fs::File::create(&draft)?;
            file.write_all(text.as_bytes())?;
            if let Some(when) = call.not_before {
                let since = Duration::from_millis(u64::try_from(when.0).unwrap_or(0));
                let when = std::time::UNIX_EPOCH + since;
                file.set_modified(when)?;
            }
            file.sync_all()?;
            std::fs::rename(&draft, &place)
        };
        write().map_err(|source| {
            let _ = std::fs::remove_file(&draft);
            CallFileError::Io { path: place.clone(), source }
        })
    }

    /// What came of the call of that name. Blocks on the disk.
    ///
    /// # Errors
    /// When the archive is there and cannot be read.
    pub fn outcome(&self, name: &Plain) -> Result<Outcome, CallFileError> {
        let file = format!("{name}.call");
        let archived = self.done().join(&file);
        match std::fs::read_to_string(&archived) {
            Ok(text) => Ok(outcome_of(&text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Ok(if self.outgoing().join(&file).exists() { Outcome::Waiting } else { Outcome::Unknown })
            }
            Err(source) => Err(CallFileError::Io { path: archived, source }),
        }
    }

    /// Takes a call back that Asterisk has not begun, and forgets one that is done. True when there was one.
    ///
    /// # Errors
    /// When it is there and cannot be removed.
    pub fn withdraw(&self, name: &Plain) -> Result<bool, CallFileError> {
        let file = format!("{name}.call");
        let mut found = false;
        for path in [self.outgoing().join(&file), self.done().join(&file)] {
            match std::fs::remove_file(&path) {
                Ok(()) => found = true,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(CallFileError::Io { path, source }),
            }
        }
        Ok(found)
    }
}

/// The last `Status:` that Asterisk added.
fn outcome_of(text: &str) -> Outcome {
    let status = text.lines().rev().find_map(|line| line.strip_prefix("Status:")).map(str::trim);
    match status {
        Some("Completed") => Outcome::Completed,
        Some("Expired") => Outcome::Expired,
        _ => Outcome::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> Plain {
        text.parse().unwrap()
    }

    fn then() -> Then {
        Then::Dialplan { context: plain("offhook"), extension: plain("100"), priority: plain("1") }
    }

    #[test]
    fn a_call_file_has_a_line_for_everything() {
        let call = CallFile::to(&plain("PJSIP"), &plain("+4989123"), Some(&plain("trunk")), then())
            .caller_id("Desk <100>")
            .ring(Duration::from_secs(20))
            .retries(2, Duration::from_secs(60))
            .variable(&plain("A"), "x=y; z");
        let text = call.text().unwrap();
        assert_eq!(
            text,
            "Channel: PJSIP/+4989123@trunk\nContext: offhook\nExtension: 100\nPriority: 1\nCallerID: Desk <100>\nWaitTime: 20\n\
             MaxRetries: 2\nRetryTime: 60\nSetvar: A=x=y\\; z\nArchive: yes\n"
        );
        assert!(!format!("{call:?}").contains("4989"));
    }

    #[test]
    fn no_value_becomes_a_line_of_its_own() {
        let evil = CallFile::dial("PJSIP/a", then()).caller_id("x\nApplication: System");
        assert!(matches!(evil.text(), Err(CallFileError::LineBreak { key: "CallerID" })));
        let app = Then::Application { name: plain("Playback"), data: "a\r\nData: b".into() };
        assert!(CallFile::dial("PJSIP/a", app).text().is_err());
    }

    #[test]
    fn a_file_is_whole_when_it_appears_and_its_outcome_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path());
        std::fs::create_dir_all(spool.outgoing()).unwrap();
        let (name, call) = (plain("c-1"), CallFile::dial("PJSIP/a", then()));
        assert_eq!(spool.outcome(&name).unwrap(), Outcome::Unknown);
        let later = WallTime(4_000_000_000_000);
        spool.submit(&name, &call.clone().not_before(later)).unwrap();
        assert_eq!(spool.outcome(&name).unwrap(), Outcome::Waiting);
        let file = std::fs::metadata(spool.outgoing().join("c-1.call")).unwrap();
        let since = file.modified().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap();
        assert_eq!(since.as_millis(), 4_000_000_000_000);
        assert!(spool.submit(&name, &call).is_err(), "a name is for one call");
        std::fs::create_dir_all(spool.done()).unwrap();
        for (added, outcome) in [
            ("StartRetry: 1 1 (1)\nEndRetry: 1 1 (1)\nStatus: Completed\n", Outcome::Completed),
            ("Status: Expired\n", Outcome::Expired),
            ("", Outcome::Failed),
        ] {
            std::fs::write(spool.done().join("c-1.call"), call.text().unwrap() + added).unwrap();
            assert_eq!(spool.outcome(&name).unwrap(), outcome);
        }
        assert!(spool.withdraw(&name).unwrap());
        assert!(!spool.withdraw(&name).unwrap());
    }
}
