//! Every command of `agi show commands` as a method, with its result as what it means.

use std::time::Duration;

use super::command::Command;
use super::error::AgiError;
use super::results::{ChannelState, Heard, Keys, Played, Recorded, Recording, Tdd};
use super::session::Session;
use super::wire::Reply;

impl Session {
    /// Answers the call.
    ///
    /// # Errors
    /// As all methods here: [`AgiError::HungUp`], or what [`Session::send`] tells; [`AgiError::Failed`] where Asterisk
    /// could not do it.
    pub async fn answer(&self) -> Result<(), AgiError> {
        self.zero(Command::new("ANSWER")).await
    }

    /// Ends Asynchronous AGI: the dialplan goes on. Over another way it is refused.
    pub async fn asyncagi_break(&self) -> Result<(), AgiError> {
        self.send(Command::new("ASYNCAGI BREAK")).await.map(drop)
    }

    /// What a channel does; this one where none is named.
    pub async fn channel_status(&self, channel: Option<&str>) -> Result<ChannelState, AgiError> {
        let command = Command::new("CHANNEL STATUS").maybe(channel);
        Ok(match self.number(command).await? {
            0 => ChannelState::Down,
            1 => ChannelState::Reserved,
            2 => ChannelState::OffHook,
            3 => ChannelState::Dialing,
            4 => ChannelState::Ring,
            5 => ChannelState::Ringing,
            6 => ChannelState::Up,
            7 => ChannelState::Busy,
            -1 => return Err(self.failed("CHANNEL STATUS").await),
            other => ChannelState::Other(other),
        })
    }

    /// Plays a file that the caller can wind: `skip` milliseconds at a time with `forward` and `rewind`, with `pause` halted.
    pub async fn control_stream_file(
        &self,
        file: &str,
        escape: &str,
        skip: u32,
        [forward, rewind, pause]: [char; 3],
    ) -> Result<Played, AgiError> {
        let command = Command::new("CONTROL STREAM FILE").with(file).with(escape).with(skip);
        self.played(command.with(forward).with(rewind).with(pause)).await
    }

    /// Deletes an entry of Asterisk's database. Whether there was one Asterisk does not tell (seen on 16 and 22: it
    /// answers 1 in any case).
    pub async fn database_del(&self, family: &str, key: &str) -> Result<(), AgiError> {
        self.send(Command::new("DATABASE DEL").with(family).with(key)).await.map(drop)
    }

    /// Deletes a family of Asterisk's database, or a tree below it. Whether there was one Asterisk does not tell (it
    /// answers 0 when it deleted something, contrary to its own documentation).
    pub async fn database_deltree(&self, family: &str, tree: Option<&str>) -> Result<(), AgiError> {
        self.send(Command::new("DATABASE DELTREE").with(family).maybe(tree)).await.map(drop)
    }

    /// Reads an entry of Asterisk's database.
    pub async fn database_get(&self, family: &str, key: &str) -> Result<Option<String>, AgiError> {
        self.value(Command::new("DATABASE GET").with(family).with(key)).await
    }

    /// Writes an entry of Asterisk's database.
    pub async fn database_put(&self, family: &str, key: &str, value: &str) -> Result<(), AgiError> {
        let command = Command::new("DATABASE PUT").with(family).with(key).with(value);
        if self.number(command).await? == 1 {
            Ok(())
        } else {
            Err(AgiError::Failed { command: "DATABASE PUT" })
        }
    }

    /// Runs an application of the dialplan, and says what it returned. [`AgiError::Failed`] where there is none of
    /// that name.
    pub async fn exec(&self, application: &str, arguments: &str) -> Result<i64, AgiError> {
        match self.number(Command::new("EXEC").with(application).with(arguments)).await? {
            -2 => Err(AgiError::Failed { command: "EXEC" }),
            returned => Ok(returned),
        }
    }

    /// Plays a file and collects keys up to `#`, `most` or the time-out.
    pub async fn get_data(&self, file: &str, timeout: Duration, most: u32) -> Result<Keys, AgiError> {
        let reply = self.send(Command::new("GET DATA").with(file).with(millis(timeout)).with(most)).await?;
        if reply.result == "-1" {
            return Err(self.failed("GET DATA").await);
        }
        let timed_out = reply.data.as_deref() == Some("timeout");
        Ok(Keys { digits: reply.result, timed_out })
    }

    /// Evaluates an expression of the dialplan, `${CALLERID(num)}`; on another channel, if one is named.
    pub async fn get_full_variable(
        &self,
        expression: &str,
        channel: Option<&str>,
    ) -> Result<Option<String>, AgiError> {
        self.value(Command::new("GET FULL VARIABLE").with(expression).maybe(channel)).await
    }

    /// Plays a file and then waits for one key of `escape`.
    pub async fn get_option(&self, file: &str, escape: &str, timeout: Duration) -> Result<Played, AgiError> {
        self.played(Command::new("GET OPTION").with(file).with(escape).with(millis(timeout))).await
    }

    /// Reads a variable of the channel.
    pub async fn get_variable(&self, name: &str) -> Result<Option<String>, AgiError> {
        self.value(Command::new("GET VARIABLE").with(name)).await
    }

    /// Runs a subroutine of the dialplan up to its Return().
    pub async fn gosub(
        &self,
        context: &str,
        extension: &str,
        priority: &str,
        argument: Option<&str>,
    ) -> Result<(), AgiError> {
        let command = Command::new("GOSUB").with(context).with(extension).with(priority);
        self.zero(command.maybe(argument)).await
    }

    /// Hangs up; another channel, if one is named.
    pub async fn hangup(&self, channel: Option<&str>) -> Result<(), AgiError> {
        match self.number(Command::new("HANGUP").maybe(channel)).await {
            Ok(1) | Err(AgiError::HungUp) => Ok(()),
            Ok(_) => Err(AgiError::Failed { command: "HANGUP" }),
            Err(error) => Err(error),
        }
    }

    /// Does nothing.
    pub async fn noop(&self, text: &str) -> Result<(), AgiError> {
        self.send(Command::new("NOOP").with(text)).await.map(drop)
    }

    /// Waits for a character of text; none when the time runs out.
    pub async fn receive_char(&self, timeout: Duration) -> Result<Option<char>, AgiError> {
        let reply = self.send(Command::new("RECEIVE CHAR").with(millis(timeout))).await?;
        match reply.number() {
            Some(0) => Ok(None),
            Some(code) if code > 0 => Ok(u32::try_from(code).ok().and_then(char::from_u32)),
            _ => Err(self.failed("RECEIVE CHAR").await),
        }
    }

    /// Waits for a text; none when the time runs out.
    pub async fn receive_text(&self, timeout: Duration) -> Result<Option<String>, AgiError> {
        let reply = self.send(Command::new("RECEIVE TEXT").with(millis(timeout))).await?;
        Ok(if reply.result == "1" { reply.data } else { None })
    }

    /// Records the caller.
    pub async fn record_file(&self, how: &Recording) -> Result<Recorded, AgiError> {
        let longest = how.longest.map_or_else(|| "-1".to_owned(), |longest| millis(longest).to_string());
        let command = Command::new("RECORD FILE").with(&how.file).with(&how.format).with(&how.escape);
        let command = command.with(longest).maybe(how.offset.or(how.beep.then_some(0)));
        let command = command.maybe(how.beep.then_some("BEEP"));
        let reply = self.send(command.maybe(how.silence.map(|seconds| format!("s={seconds}")))).await?;
        let why = reply.data.clone().unwrap_or_default();
        if reply.number().is_none_or(|result| result < 0) && why != "hangup" {
            return Err(self.failed("RECORD FILE").await);
        }
        let digit = if why == "dtmf" { digit(&reply) } else { None };
        Ok(Recorded { digit, why, endpos: endpos(&reply) })
    }

    /// Says letters.
    pub async fn say_alpha(&self, text: &str, escape: &str) -> Result<Played, AgiError> {
        self.played(Command::new("SAY ALPHA").with(text).with(escape)).await
    }

    /// Says a date, given in seconds since 1970.
    pub async fn say_date(&self, seconds: i64, escape: &str) -> Result<Played, AgiError> {
        self.played(Command::new("SAY DATE").with(seconds).with(escape)).await
    }

    /// Says date and time in a format of `voicemail.conf` and a time zone.
    pub async fn say_datetime(
        &self,
        seconds: i64,
        escape: &str,
        format: Option<&str>,
        zone: Option<&str>,
    ) -> Result<Played, AgiError> {
        let format = format.or(zone.map(|_| "ABdY 'digits/at' IMp"));
        let command = Command::new("SAY DATETIME").with(seconds).with(escape);
        self.played(command.maybe(format).maybe(zone)).await
    }

    /// Says digits.
    pub async fn say_digits(&self, digits: &str, escape: &str) -> Result<Played, AgiError> {
        self.played(Command::new("SAY DIGITS").with(digits).with(escape)).await
    }

    /// Says a number.
    pub async fn say_number(&self, number: i64, escape: &str) -> Result<Played, AgiError> {
        self.played(Command::new("SAY NUMBER").with(number).with(escape)).await
    }

    /// Spells.
    pub async fn say_phonetic(&self, text: &str, escape: &str) -> Result<Played, AgiError> {
        self.played(Command::new("SAY PHONETIC").with(text).with(escape)).await
    }

    /// Says a time of day, given in seconds since 1970.
    pub async fn say_time(&self, seconds: i64, escape: &str) -> Result<Played, AgiError> {
        self.played(Command::new("SAY TIME").with(seconds).with(escape)).await
    }

    /// Sends an image, where the channel can.
    pub async fn send_image(&self, image: &str) -> Result<(), AgiError> {
        self.zero(Command::new("SEND IMAGE").with(image)).await
    }

    /// Sends a text, where the channel can.
    pub async fn send_text(&self, text: &str) -> Result<(), AgiError> {
        self.zero(Command::new("SEND TEXT").with(text)).await
    }

    /// Hangs up by itself after `seconds`; 0 never.
    pub async fn set_autohangup(&self, seconds: u32) -> Result<(), AgiError> {
        self.zero(Command::new("SET AUTOHANGUP").with(seconds)).await
    }

    /// Sets the caller's number.
    pub async fn set_callerid(&self, number: &str) -> Result<(), AgiError> {
        self.send(Command::new("SET CALLERID").with(number)).await.map(drop)
    }

    /// Where the dialplan goes on after AGI: the context.
    pub async fn set_context(&self, context: &str) -> Result<(), AgiError> {
        self.zero(Command::new("SET CONTEXT").with(context)).await
    }

    /// Where the dialplan goes on after AGI: the extension.
    pub async fn set_extension(&self, extension: &str) -> Result<(), AgiError> {
        self.zero(Command::new("SET EXTENSION").with(extension)).await
    }

    /// Music on hold: a class, or off.
    pub async fn set_music(&self, class: Option<&str>) -> Result<(), AgiError> {
        let command = Command::new("SET MUSIC").with(if class.is_some() { "ON" } else { "OFF" });
        self.zero(command.maybe(class)).await
    }

    /// Where the dialplan goes on after AGI: the priority, or a label.
    pub async fn set_priority(&self, priority: &str) -> Result<(), AgiError> {
        self.zero(Command::new("SET PRIORITY").with(priority)).await
    }

    /// Sets a variable of the channel.
    pub async fn set_variable(&self, name: &str, value: &str) -> Result<(), AgiError> {
        self.send(Command::new("SET VARIABLE").with(name).with(value)).await.map(drop)
    }

    /// Activates a grammar of Asterisk's speech engine.
    pub async fn speech_activate_grammar(&self, name: &str) -> Result<(), AgiError> {
        self.one(Command::new("SPEECH ACTIVATE GRAMMAR").with(name)).await
    }

    /// Makes a speech object of an engine of Asterisk's.
    pub async fn speech_create(&self, engine: &str) -> Result<(), AgiError> {
        self.one(Command::new("SPEECH CREATE").with(engine)).await
    }

    /// Deactivates a grammar of it.
    pub async fn speech_deactivate_grammar(&self, name: &str) -> Result<(), AgiError> {
        self.one(Command::new("SPEECH DEACTIVATE GRAMMAR").with(name)).await
    }

    /// Ends it.
    pub async fn speech_destroy(&self) -> Result<(), AgiError> {
        self.one(Command::new("SPEECH DESTROY")).await
    }

    /// Loads a grammar into it.
    pub async fn speech_load_grammar(&self, name: &str, path: &str) -> Result<(), AgiError> {
        self.one(Command::new("SPEECH LOAD GRAMMAR").with(name).with(path)).await
    }

    /// Plays a prompt and listens. A time-out of zero waits without end.
    pub async fn speech_recognize(
        &self,
        prompt: &str,
        timeout: Duration,
        offset: Option<u64>,
    ) -> Result<Heard, AgiError> {
        let command = Command::new("SPEECH RECOGNIZE").with(prompt).with(millis(timeout)).maybe(offset);
        let reply = self.send(command).await?;
        if reply.result != "1" {
            return Err(self.failed("SPEECH RECOGNIZE").await);
        }
        let count = reply.get("results").and_then(|count| count.parse().ok()).unwrap_or(0_u32).min(100);
        let part =
            |name: &str, index: u32| reply.get(&format!("{name}{index}")).unwrap_or_default().to_owned();
        let results = (0..count)
            .map(|at| (part("score", at).parse().unwrap_or(0), part("text", at), part("grammar", at)))
            .collect();
        Ok(Heard { digit: reply.get("digit").and_then(|digit| digit.chars().next()), results })
    }

    /// Sets something of Asterisk's speech engine.
    pub async fn speech_set(&self, name: &str, value: &str) -> Result<(), AgiError> {
        self.one(Command::new("SPEECH SET").with(name).with(value)).await
    }

    /// Unloads a grammar of it.
    pub async fn speech_unload_grammar(&self, name: &str) -> Result<(), AgiError> {
        self.one(Command::new("SPEECH UNLOAD GRAMMAR").with(name)).await
    }

    /// Plays a file, from sample `offset` on, until its end or a key of `escape`.
    pub async fn stream_file(
        &self,
        file: &str,
        escape: &str,
        offset: Option<u64>,
    ) -> Result<Played, AgiError> {
        let reply = self.send(Command::new("STREAM FILE").with(file).with(escape).maybe(offset)).await?;
        let played = self.read_played("STREAM FILE", &reply).await?;
        // A file that does not exist is no failure of the command: it ends at once where it began, with 0.
        if played.digit.is_none() && played.endpos == Some(0) && offset.is_none() {
            return Err(AgiError::Failed { command: "STREAM FILE" });
        }
        Ok(played)
    }

    /// Telephones for the deaf.
    pub async fn tdd_mode(&self, mode: Tdd) -> Result<(), AgiError> {
        let word = match mode {
            Tdd::On => "on",
            Tdd::Off => "off",
            Tdd::Mate => "mate",
        };
        self.one(Command::new("TDD MODE").with(word)).await
    }

    /// Writes to Asterisk's verbose log, at a level of 1 to 4.
    pub async fn verbose(&self, message: &str, level: u8) -> Result<(), AgiError> {
        self.send(Command::new("VERBOSE").with(message).with(level.clamp(1, 4))).await.map(drop)
    }

    /// Waits for a key; without end when there is no time-out.
    pub async fn wait_for_digit(&self, timeout: Option<Duration>) -> Result<Option<char>, AgiError> {
        let millis = timeout.map_or_else(|| "-1".to_owned(), |timeout| millis(timeout).to_string());
        Ok(self.played(Command::new("WAIT FOR DIGIT").with(millis)).await?.digit)
    }

    async fn number(&self, command: Command) -> Result<i64, AgiError> {
        let name = command.name();
        self.send(command).await?.number().ok_or(AgiError::Malformed { command: name })
    }

    /// For commands that return 0, and -1 when they fail.
    async fn zero(&self, command: Command) -> Result<(), AgiError> {
        let name = command.name();
        if self.number(command).await? < 0 { Err(self.failed(name).await) } else { Ok(()) }
    }

    /// For commands that return 1, and 0 when they fail.
    async fn one(&self, command: Command) -> Result<(), AgiError> {
        let name = command.name();
        if self.number(command).await? == 1 { Ok(()) } else { Err(self.failed(name).await) }
    }

    async fn value(&self, command: Command) -> Result<Option<String>, AgiError> {
        let name = command.name();
        let reply = self.send(command).await?;
        if !reply.whole {
            return Err(AgiError::Malformed { command: name });
        }
        Ok(if reply.result == "1" { Some(reply.data.unwrap_or_default()) } else { None })
    }

    async fn played(&self, command: Command) -> Result<Played, AgiError> {
        let name = command.name();
        let reply = self.send(command).await?;
        self.read_played(name, &reply).await
    }

    async fn read_played(&self, name: &'static str, reply: &Reply) -> Result<Played, AgiError> {
        match reply.number() {
            Some(result) if result < 0 => Err(self.failed(name).await),
            Some(_) => Ok(Played { digit: digit(reply), endpos: endpos(reply) }),
            None => Err(AgiError::Malformed { command: name }),
        }
    }

    /// A command that failed because the caller is gone says that. Asterisk answers -1 first and tells the hang-up an
    /// instant later (seen on 16 and 22).
    async fn failed(&self, command: &'static str) -> AgiError {
        match tokio::time::timeout(HANG_UP_FOLLOWS, self.over()).await {
            Ok(()) => AgiError::HungUp,
            Err(_) => AgiError::Failed { command },
        }
    }
}

/// How long after a -1 the hang-up may come that explains it.
const HANG_UP_FOLLOWS: Duration = Duration::from_millis(250);

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// The key whose ASCII code a result is; 0 is none.
fn digit(reply: &Reply) -> Option<char> {
    let code = u8::try_from(reply.number()?).ok()?;
    (code > 0).then_some(char::from(code))
}

fn endpos(reply: &Reply) -> Option<u64> {
    reply.get("endpos")?.parse().ok()
}
