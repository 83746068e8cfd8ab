//! One command: its words, quoted as Asterisk reads them, and the table of all that there are.

use super::AgiError;

/// The most bytes that Asterisk takes of one command (`AGI_BUF_LEN`).
pub const LONGEST_COMMAND: usize = 2_046;

/// A command by its name and arguments.
///
/// Every argument is quoted, so that spaces, quotes and backslashes in it mean themselves. A line break or NUL is refused when
/// it is sent: a value from outside cannot become a command of its own.
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    name: &'static str,
    arguments: Vec<String>,
}

impl Command {
    /// The command `name`, one of [`COMMANDS`] in capitals or another that a module of Asterisk brings.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        Self { name, arguments: Vec::new() }
    }

    /// With one more argument.
    #[must_use]
    pub fn with(mut self, argument: impl ToString) -> Self {
        self.arguments.push(argument.to_string());
        self
    }

    /// With one more argument, if there is one.
    #[must_use]
    pub fn maybe(self, argument: Option<impl ToString>) -> Self {
        match argument {
            Some(argument) => self.with(argument),
            None => self,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether Asterisk does it for a channel that is hung up.
    #[must_use]
    pub fn works_when_hung_up(&self) -> bool {
        COMMANDS.iter().any(|known| known.dead && known.name.eq_ignore_ascii_case(self.name))
    }

    /// The line that is sent, without its end.
    ///
    /// # Errors
    /// [`AgiError::Unsendable`] when it would not be one line, or is more than Asterisk reads.
    pub fn line(&self) -> Result<String, AgiError> {
        let refuse = |what| AgiError::Unsendable { command: self.name, what };
        let mut line = self.name.to_owned();
        for argument in &self.arguments {
            if argument.contains(['\r', '\n', '\0']) {
                return Err(refuse("an argument has a line break or a NUL: it would end the line"));
            }
            line.push_str(" \"");
            for letter in argument.chars() {
                if matches!(letter, '"' | '\\') {
                    line.push('\\');
                }
                line.push(letter);
            }
            line.push('"');
        }
        if line.len() > LONGEST_COMMAND {
            return Err(refuse("it is longer than Asterisk reads (2,046 bytes)"));
        }
        Ok(line)
    }
}

impl std::fmt::Debug for Command {
    /// Without the arguments: they are numbers and what was keyed in.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.name, self.arguments.len())
    }
}

/// A command that Asterisk has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Known {
    /// Its name as `agi show commands` prints it.
    pub name: &'static str,
    /// Whether it works on a channel that is hung up.
    pub dead: bool,
}

macro_rules! commands {
    ($($name:literal $(($dead:ident))*)+) => {
        &[$(Known { name: $name, dead: !matches!(concat!($(stringify!($dead)),*).as_bytes(), b"") }),+]
    };
}

/// Every command of `agi show commands` on Asterisk 16 and 22, each with a method on [`Session`](super::Session).
pub const COMMANDS: &[Known] = commands![
    "answer" "asyncagi break" (dead) "channel status" "control stream file" "database del" (dead)
    "database deltree" (dead) "database get" (dead) "database put" (dead) "exec" (dead) "get data"
    "get full variable" (dead) "get option" "get variable" (dead) "gosub" "hangup" "noop" (dead) "receive char"
    "receive text" "record file" "say alpha" "say date" "say datetime" "say digits" "say number" "say phonetic"
    "say time" "send image" "send text" "set autohangup" "set callerid" "set context" "set extension" "set music"
    "set priority" "set variable" (dead) "speech activate grammar" "speech create" "speech deactivate grammar"
    "speech destroy" (dead) "speech load grammar" "speech recognize" "speech set" "speech unload grammar" (dead)
    "stream file" "tdd mode" "verbose" (dead) "wait for digit"
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_mean_themselves() {
        let line = |argument: &str| Command::new("NOOP").with(argument).line().unwrap();
        assert_eq!(line("two words"), r#"NOOP "two words""#);
        assert_eq!(line(r#"say "hi" \o/"#), r#"NOOP "say \"hi\" \\o/""#);
        assert_eq!(line(""), r#"NOOP """#);
        assert_eq!(Command::new("ANSWER").line().unwrap(), "ANSWER");
        let some = Command::new("HANGUP").maybe(Some("PJSIP/a-1")).maybe(None::<u32>);
        assert_eq!(some.line().unwrap(), r#"HANGUP "PJSIP/a-1""#);
    }

    #[test]
    fn no_argument_becomes_a_command_of_its_own() {
        for evil in ["x\nHANGUP", "x\r\n", "x\0"] {
            let error = Command::new("NOOP").with(evil).line().unwrap_err();
            assert!(matches!(error, AgiError::Unsendable { .. }), "{error}");
        }
        let fits = "x".repeat(LONGEST_COMMAND - r#"NOOP """#.len());
        assert!(Command::new("NOOP").with(&fits).line().is_ok());
        assert!(Command::new("NOOP").with(fits + "x").line().is_err());
    }

    #[test]
    fn some_commands_work_after_the_hang_up() {
        assert!(Command::new("SET VARIABLE").works_when_hung_up());
        assert!(!Command::new("STREAM FILE").works_when_hung_up());
    }
}
