//! What the doctor says: one line per check, and under a failure what to write into which file.

use std::fmt::{self, Write as _};

/// Offhook's own configuration file.
pub(super) const OURS: &str = "offhook.toml";

/// What is checked, in this order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Step {
    /// Something listens at the address of ARI.
    Reachable,
    /// It is an Asterisk whose ARI is on.
    Ari,
    /// User and password are right.
    Password,
    /// The user may do things, not only look.
    Write,
    /// The version is one that Offhook works with.
    Version,
    /// The modules that Offhook needs are loaded.
    Modules,
    /// Whether an engine has registered the application.
    Application,
    /// Whether Asterisk was restarted, or the engine had no events, of late.
    Outages,
    /// Which of the engine's ports other machines get to.
    Doors,
    /// Requests go by the way that the configuration says.
    Requests,
    /// Asterisk connects to us, where the configuration says so.
    Outbound,
    /// AMI lets us in, where the configuration has it.
    Ami,
    /// Events come.
    Events,
    /// An extension leads to the application.
    Dialplan,
    /// Which transports the server can do, and whether those of the configuration are among them.
    Transports,
    /// Audio from Asterisk arrives here, by the configured transport.
    AudioFrom,
    /// Audio from here arrives at Asterisk.
    AudioTo,
    /// The services of the configuration are there, and accept their keys.
    Services,
    /// The database of campaigns is there, and lets us in.
    Book,
    /// Calls of campaigns can be put into Asterisk's spool.
    Spool,
    /// Nothing of the examination is left in Asterisk.
    CleanUp,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Reachable => "reachable",
            Self::Ari => "ARI",
            Self::Password => "password",
            Self::Write => "write permission",
            Self::Version => "version",
            Self::Modules => "modules",
            Self::Application => "application",
            Self::Outages => "outages",
            Self::Doors => "doors",
            Self::Requests => "requests",
            Self::Outbound => "outbound",
            Self::Ami => "AMI",
            Self::Events => "events",
            Self::Dialplan => "dialplan",
            Self::Transports => "transports",
            Self::AudioFrom => "audio from Asterisk",
            Self::AudioTo => "audio to Asterisk",
            Self::Services => "service",
            Self::Book => "book",
            Self::Spool => "spool",
            Self::CleanUp => "clean-up",
        })
    }
}

/// A line to write into a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fix {
    /// The file, and the section in it: `ari.conf [general]`. `firewall` where it is no file.
    pub place: String,
    /// The line.
    pub line: String,
}

impl Fix {
    pub(super) fn new(place: impl Into<String>, line: impl Into<String>) -> Self {
        Self { place: place.into(), line: line.into() }
    }
}

/// How a check went.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// All is well; what was found.
    Fine(String),
    /// It is not.
    Failed {
        /// What is wrong, in a sentence.
        what: String,
        /// What to change. One of them, where there are several.
        fixes: Vec<Fix>,
    },
    /// It was not looked at; why.
    Skipped(String),
}

/// One check.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Check {
    /// What was checked.
    pub step: Step,
    /// How it went.
    pub outcome: Outcome,
}

impl Check {
    /// Whether it failed.
    #[must_use]
    pub fn failed(&self) -> bool {
        matches!(self.outcome, Outcome::Failed { .. })
    }

    /// The check as text: a line, and a line per fix below a failure. With ANSI colours when `colour`, which is for
    /// terminals.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let (word, code, text) = match &self.outcome {
            Outcome::Fine(text) => ("ok", "32", text),
            Outcome::Failed { what, .. } => ("FAILED", "31", what),
            Outcome::Skipped(why) => ("skipped", "33", why),
        };
        let word = if colour { format!("\x1b[{code}m{word:<8}\x1b[0m") } else { format!("{word:<8}") };
        let mut out = format!("{word}{:<21}{text}\n", self.step);
        if let Outcome::Failed { fixes, .. } = &self.outcome {
            for fix in fixes {
                // Writing to a String cannot fail.
                let _ = writeln!(out, "{:29}{}: {}", "", fix.place, fix.line);
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_to_write_where() {
        let outcome = Outcome::Failed {
            what: "ARI is off".into(),
            fixes: vec![Fix::new("ari.conf [general]", "enabled = yes")],
        };
        let check = Check { step: Step::Ari, outcome };
        assert_eq!(
            check.render(false),
            "FAILED  ARI                  ARI is off\n                             ari.conf [general]: enabled = yes\n"
        );
        assert!(check.render(true).starts_with("\x1b[31mFAILED  \x1b[0mARI"));
        let fine = Check { step: Step::AudioFrom, outcome: Outcome::Fine("50 packets".into()) };
        assert_eq!(fine.render(false), "ok      audio from Asterisk  50 packets\n");
    }
}
