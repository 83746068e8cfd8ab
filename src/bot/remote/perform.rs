//! A verb as what the call does.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use super::config::RemoteSection;
use super::message::{
    Ask, Collect, Digits, HangUpCause, Heard, InterruptBy, Listening, Phrase, Piece, Play, RecordAction,
    Said, Say, Speech, Verb,
};
use crate::asterisk::ari::ops::HangupReason;
use crate::bot::Outcome;
use crate::call::{self, Call, CallError, KeyPlan, Listen, Part, Prompt, Transfer, Transferred, leg};
use crate::speech::grammar::Grammar;
use crate::speech::{Expected, SpeechStream};
use crate::time::WallTime;
use crate::turn::BargeIn;

/// The largest state that a program may save, in bytes as JSON.
const LARGEST_STATE: usize = 16 * 1_024;

/// A recording ends by itself after this.
const LONGEST_RECORDING_SECONDS: u32 = 3 * 3_600;

/// Waiting longer than this is no waiting for an answer.
const LONGEST_MS: u32 = 600_000;

/// How long after a key the next one is awaited, where a program does not say.
const INTER_DIGIT: Duration = Duration::from_secs(3);

/// Grammars that programs have sent, kept so that a question that is asked on every call is compiled once.
#[derive(Default)]
pub(super) struct Grammars(Mutex<HashMap<String, Arc<Grammar>>>);

impl Grammars {
    /// So many are kept; then it begins anew.
    const MOST: usize = 256;

    fn get(
        &self,
        key: String,
        make: impl FnOnce() -> Result<Grammar, String>,
    ) -> Result<Arc<Grammar>, String> {
        let kept = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(grammar) = kept().get(&key) {
            return Ok(Arc::clone(grammar));
        }
        let grammar = Arc::new(make()?);
        let mut all = kept();
        if all.len() >= Self::MOST {
            all.clear();
        }
        all.insert(key, Arc::clone(&grammar));
        Ok(grammar)
    }
}

/// What verbs are done with, besides the call.
pub(super) struct Means<'a> {
    pub section: &'a RemoteSection,
    pub voice: Option<&'a str>,
    pub grammars: &'a Grammars,
}

/// What came of a verb.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub error: Option<String>,
    pub stopped: bool,
    pub said: Option<Said>,
    pub heard: Option<Heard>,
    pub value: Option<Value>,
    /// It was the last one of the call, which ends so; in one word for the program.
    pub end: Option<(Outcome, &'static str)>,
}

impl Done {
    pub fn failed(error: impl Into<String>) -> Self {
        Self { error: Some(error.into()), ..Self::default() }
    }

    fn end(outcome: Outcome, reason: &'static str) -> Self {
        Self { end: Some((outcome, reason)), ..Self::default() }
    }
}

/// Does what is wanted. `sound` is what follows in binary messages, for verbs that say such.
///
/// # Errors
/// When the call is over; everything else is told as what came of the verb.
pub(super) async fn perform(
    call: &mut Call,
    verb: Verb,
    sound: Option<SpeechStream>,
    means: &Means<'_>,
) -> Result<Done, CallError> {
    let speaks =
        matches!(verb, Verb::Say(_) | Verb::Ask(_) | Verb::Listen(_) | Verb::Collect(_) | Verb::Play(_));
    let result = match speaks {
        true => match call.answer().await {
            Ok(()) => speak(call, verb, sound, means).await,
            Err(error) => Err(error),
        },
        false => act(call, verb).await,
    };
    match result {
        Err(error) if error.is_end() => Err(error),
        Err(CallError::Stopped) => {
            Ok(Done { stopped: true, said: speaks.then(|| said(call.said())), ..Done::default() })
        }
        Err(error) => Ok(Done { error: Some(error.to_string()), ..Done::default() }),
        Ok(done) => Ok(done),
    }
}

async fn speak(
    call: &mut Call,
    verb: Verb,
    sound: Option<SpeechStream>,
    means: &Means<'_>,
) -> Result<Done, CallError> {
    let ready = match verb {
        Verb::Say(say) => means.say(&say),
        Verb::Ask(ask) => means.ask(&ask),
        Verb::Listen(listening) => means.listening(&listening).map(|listen| Ready {
            prompt: None,
            how: BargeIn::FORBIDDEN,
            listen: Some(listen),
        }),
        Verb::Collect(collect) => means.collect(&collect),
        Verb::Play(Play { file: None, sound: Some(sound), .. }) => return play_sound(call, &sound).await,
        Verb::Play(play) => means.play(&play),
        _ => Err("that is nothing to say".into()),
    };
    let Ready { prompt, how, listen } = match ready {
        Ok(ready) => ready,
        Err(error) => return Ok(Done::failed(error)),
    };
    let spoken = prompt.is_some() || sound.is_some();
    let heard = match (prompt, sound, listen) {
        (_, Some(sound), None) => call.say_given("[audio]", sound, how).await.map(|_| None)?,
        (_, Some(sound), Some(listen)) => Some(call.ask_given("[audio]", sound, how, listen).await?),
        (Some(prompt), None, None) => call.say(prompt.interruptible(how)).await.map(|_| None)?,
        (Some(prompt), None, Some(listen)) => Some(call.ask(prompt.interruptible(how), listen).await?),
        (None, None, Some(listen)) => Some(call.listen(listen).await?),
        (None, None, None) => None,
    };
    Ok(Done {
        said: spoken.then(|| said(call.said())),
        heard: heard.map(|heard| means.heard(heard)),
        ..Done::default()
    })
}

async fn act(call: &mut Call, verb: Verb) -> Result<Done, CallError> {
    match verb {
        Verb::Answer {} => call.answer().await.map(|()| Done::default()),
        Verb::Transfer { to, announce } => {
            let announce = announce.map(|speech| match speech {
                Speech::Text(text) => Prompt::from(text),
                Speech::Pieces(pieces) => {
                    let texts = pieces.into_iter().filter_map(|piece| match piece {
                        Piece::Text(text) => Some(Part::Text(text)),
                        Piece::File { .. } => None,
                    });
                    Prompt { parts: texts.collect(), ..Prompt::default() }
                }
            });
            Ok(match transfer(call, &to, announce).await? {
                None => Done::end(Outcome::Left, "transferred"),
                Some(why) => Done::failed(why),
            })
        }
        Verb::SetVariable { name, value } => match check_variable(&name) {
            Ok(()) => call.set_variable(&name, &value).await.map(|()| Done::default()),
            Err(error) => Ok(Done::failed(error)),
        },
        Verb::GetVariable { name } => match check_variable(&name) {
            Ok(()) => get_variable(call, &name).await,
            Err(error) => Ok(Done::failed(error)),
        },
        Verb::SendKeys { keys } => {
            let good = |key: char| key.is_ascii_digit() || "*#ABCD".contains(key);
            if keys.is_empty() || keys.len() > 64 || !keys.chars().all(good) {
                return Ok(Done::failed("`keys` are 1 to 64 of 0 to 9, *, #, A to D"));
            }
            call.send_keys(&keys).await.map(|()| Done::default())
        }
        Verb::OptOut {} => {
            call.opt_out();
            Ok(Done::default())
        }
        Verb::Record { action } => record(call, action).await,
        Verb::HangUp { cause } => Ok(Done::end(Outcome::HangUpBecause(reason(cause)), "hung_up")),
        Verb::Leave { context, extension, priority, variables } => {
            if let Some(error) = variables.keys().find_map(|name| check_variable(name).err()) {
                return Ok(Done::failed(error));
            }
            let variables: Vec<_> = variables.into_iter().collect();
            let behind = context.is_none() && extension.is_none() && priority.is_none();
            // Another place begins at its first priority.
            let elsewhere = (context.is_some() || extension.is_some()).then_some(1);
            let place = leg::DialplanPlace { context, extension, priority: priority.or(elsewhere) };
            call.leave((!behind).then_some(&place), &variables).await?;
            Ok(Done::end(Outcome::Left, "left"))
        }
        Verb::Checkpoint { state, step } => {
            if state.to_string().len() > LARGEST_STATE {
                return Ok(Done::failed(format!("`state` may have {LARGEST_STATE} bytes as JSON")));
            }
            let step: String = step.unwrap_or_default().chars().take(64).collect();
            call.checkpoint(&step, json!({ "remote": { "state": state } }));
            Ok(Done::default())
        }
        Verb::Register { .. } => {
            Ok(Done::failed("`register` is for programs that connect to us (`listen` of `remote`)"))
        }
        other => Ok(Done::failed(format!("`{}` is not done here", other.name()))),
    }
}

/// Transfers the caller; [`None`] when the bot is done with him, otherwise why he is not taken.
pub(in crate::bot) async fn transfer(
    call: &mut Call,
    to: &str,
    announce: Option<Prompt>,
) -> Result<Option<String>, CallError> {
    let how = announce.map_or(Transfer::Blind, |announce| Transfer::Attended { announce });
    match call.transfer(to, how).await {
        Ok(Transferred::Done) => Ok(None),
        Ok(Transferred::NotTaken(why)) => Ok(Some(why)),
        Err(error) if error.is_end() => Err(error),
        Err(error) => Ok(Some(error.to_string())),
    }
}

async fn get_variable(call: &mut Call, name: &str) -> Result<Done, CallError> {
    let value = call.variable(name).await?;
    Ok(Done { value: Some(value.map_or(Value::Null, Value::from)), ..Done::default() })
}

async fn record(call: &mut Call, action: RecordAction) -> Result<Done, CallError> {
    match action {
        RecordAction::Start => {
            let name = format!("{}-{}", call.id(), WallTime::now().0);
            call.start_recording(&name, LONGEST_RECORDING_SECONDS).await?;
            Ok(Done { value: Some(name.into()), ..Done::default() })
        }
        RecordAction::Stop => call.stop_recording().await.map(|()| Done::default()),
    }
}

async fn play_sound(call: &mut Call, sound: &str) -> Result<Done, CallError> {
    call.play_sound(sound).await.map(|()| Done::default())
}

/// A name that is a variable and cannot be a function of the dialplan's, which may do anything.
fn check_variable(name: &str) -> Result<(), String> {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let fine = !name.is_empty()
        && name.len() <= 80
        && name.chars().all(good)
        && !name.starts_with(|c: char| c.is_ascii_digit());
    let shown: String = name.chars().take(40).collect();
    fine.then_some(()).ok_or_else(|| {
        format!("`{shown}` is no name of a variable: letters, digits and underscores make one")
    })
}

fn reason(cause: HangUpCause) -> HangupReason {
    match cause {
        HangUpCause::Normal => HangupReason::Normal,
        HangUpCause::Busy => HangupReason::Busy,
        HangUpCause::Congestion => HangupReason::Congestion,
        HangUpCause::NoAnswer => HangupReason::NoAnswer,
        HangUpCause::Rejected => HangupReason::Rejected,
        HangUpCause::Failure => HangupReason::Failure,
    }
}

fn said(said: &call::Said) -> Said {
    Said {
        words: said.words.clone(),
        heard_ms: u64::try_from(said.heard.as_millis()).unwrap_or(u64::MAX),
        interrupted: said.interrupted,
    }
}

/// What is to be said and listened for, checked.
struct Ready {
    prompt: Option<Prompt>,
    how: BargeIn,
    listen: Option<Listen>,
}

impl Means<'_> {
    fn say(&self, say: &Say) -> Result<Ready, String> {
        let prompt = self.prompt(say.text.as_ref(), say.audio, say.voice.as_ref())?;
        let how = interruption(say.interrupt.unwrap_or(InterruptBy::Nothing), say.protect_ms);
        Ok(Ready { prompt, how, listen: None })
    }

    fn ask(&self, ask: &Ask) -> Result<Ready, String> {
        let prompt = self.prompt(ask.text.as_ref(), ask.audio, ask.voice.as_ref())?;
        let how = interruption(ask.interrupt.unwrap_or(InterruptBy::Both), ask.protect_ms);
        Ok(Ready { prompt, how, listen: Some(self.listening(&ask.listen)?) })
    }

    fn play(&self, play: &Play) -> Result<Ready, String> {
        let file = match (&play.file, &play.sound) {
            (Some(file), None) => file,
            _ => return Err("`play` has one of `file` and `sound`".into()),
        };
        let prompt = Prompt::from(self.file(file)?);
        let how = interruption(play.interrupt.unwrap_or(InterruptBy::Nothing), None);
        Ok(Ready { prompt: Some(prompt), how, listen: None })
    }

    fn prompt(
        &self,
        text: Option<&Speech>,
        audio: bool,
        voice: Option<&String>,
    ) -> Result<Option<Prompt>, String> {
        let parts = match (text, audio) {
            (None, true) => return Ok(None),
            (None, false) => return Err("there is nothing to say: write `text`, or `\"audio\": true`".into()),
            (Some(_), true) => return Err("write one of `text` and `audio`, not both".into()),
            (Some(Speech::Text(text)), false) => vec![self.text(text)?],
            (Some(Speech::Pieces(pieces)), false) => pieces
                .iter()
                .map(|piece| match piece {
                    Piece::Text(text) => self.text(text),
                    Piece::File { file } => self.file(file).map(Part::File),
                })
                .collect::<Result<_, _>>()?,
        };
        let voice = voice.cloned().or_else(|| self.voice.map(str::to_owned));
        Ok(Some(Prompt { parts, voice, ..Prompt::default() }))
    }

    fn text(&self, text: &str) -> Result<Part, String> {
        const MOST: usize = crate::speech::Utterance::MAX_CHARS;
        match text.chars().count() {
            0 => Err("`text` is empty".into()),
            count if count > MOST => Err(format!("a text may have {MOST} characters: say it in pieces")),
            _ => Ok(Part::Text(text.to_owned())),
        }
    }

    /// A file of the bot's folder, and of nowhere else.
    fn file(&self, name: &str) -> Result<PathBuf, String> {
        let folder = self
            .section
            .files
            .as_ref()
            .ok_or("this bot has no files: set `files`, a folder, in its `remote`")?;
        let inside =
            !name.is_empty() && Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
        inside.then(|| folder.join(name)).ok_or_else(|| "a `file` is a path inside the bot's folder".into())
    }

    fn listening(&self, listening: &Listening) -> Result<Listen, String> {
        let keys = if listening.key { KeyPlan::One } else { KeyPlan::Ignore };
        let mut listen = Listen { expected: self.expected(listening)?, ..Listen::keys(keys) };
        if let Some(language) = &listening.language {
            listen = listen.language(language);
        }
        let mut how = listening.endpointing.unwrap_or_default().listening();
        how.no_input = span(listening.no_input_ms).unwrap_or(how.no_input);
        how.max_speech = span(listening.max_speech_ms).unwrap_or(how.max_speech);
        Ok(listen.timed(how))
    }

    fn expected(&self, listening: &Listening) -> Result<Option<Expected>, String> {
        let Listening { phrases, grammar, digits, open, .. } = listening;
        let named =
            usize::from(!phrases.is_empty()) + usize::from(grammar.is_some()) + usize::from(digits.is_some());
        if named + usize::from(*open) > 1 {
            return Err("listen for one of `phrases`, `grammar`, `digits` and `open`".into());
        }
        if named + usize::from(*open) > 0 && self.section.own_ears().is_own() {
            return Err("this bot gets the caller's audio and recognises itself (`audio` of its `remote`): listen for his voice alone".into());
        }
        if *open {
            return Ok(Some(Expected::Open));
        }
        if let Some(digits) = digits {
            return self.digits(*digits).map(Some);
        }
        if let Some(text) = grammar {
            let made = || Grammar::parse("grammar", text).map_err(|error| error.to_string());
            return Ok(Some(Expected::Grammar(self.grammars.get(format!("jsgf {text}"), made)?)));
        }
        if phrases.is_empty() {
            return Ok(None);
        }
        let key = serde_json::to_string(phrases).unwrap_or_default();
        let made = || {
            let phrases = phrases.iter().map(|phrase| match phrase {
                Phrase::Plain(say) => (say.as_str(), ""),
                Phrase::Meaning { say, means } => (say.as_str(), means.as_str()),
            });
            Grammar::from_phrases("phrases", phrases).map_err(|error| error.to_string())
        };
        Ok(Some(Expected::Grammar(self.grammars.get(key, made)?)))
    }

    fn digits(&self, digits: Digits) -> Result<Expected, String> {
        let (least, most) = bounds(digits);
        if least < 1 || least > most || most > 16 {
            return Err("spoken `digits` are 1 to 16, or {\"least\": 2, \"most\": 4}".into());
        }
        let made = || Ok(Grammar::any_length_of_digits(usize::from(least)..=usize::from(most)));
        Ok(Expected::Grammar(self.grammars.get(format!("digits {least} {most}"), made)?))
    }

    fn collect(&self, collect: &Collect) -> Result<Ready, String> {
        let (least, most) = bounds(collect.digits);
        if least < 1 || least > most || usize::from(most) > call::keys::MOST {
            return Err("`digits` are 1 to 64, or {\"least\": 2, \"most\": 4}".into());
        }
        let prompt = match &collect.text {
            Some(text) => self.prompt(Some(text), false, collect.voice.as_ref())?,
            None => None,
        };
        let plan = KeyPlan::Digits {
            max: usize::from(most),
            terminator: collect.terminator,
            inter_digit: span(collect.inter_digit_ms).unwrap_or(INTER_DIGIT),
        };
        let mut listen = Listen::keys(plan);
        if collect.voice_too && !self.section.own_ears().is_own() {
            listen.expected = Some(self.digits(collect.digits)?);
        }
        listen.how.no_input = span(collect.no_input_ms).unwrap_or(listen.how.no_input);
        Ok(Ready { prompt, how: BargeIn::ALLOWED, listen: Some(listen) })
    }

    fn heard(&self, heard: call::Heard) -> Heard {
        match heard {
            call::Heard::Words { text, meaning, confidence } => Heard::Words { text, meaning, confidence },
            call::Heard::Keys(keys) => Heard::Keys { keys },
            call::Heard::NoMatch if self.section.own_ears().is_own() => Heard::Voice {},
            call::Heard::NoMatch => Heard::NoMatch {},
            call::Heard::NoInput => Heard::NoInput {},
            call::Heard::Failed(error) => Heard::Failed { error: error.to_string() },
        }
    }
}

fn bounds(digits: Digits) -> (u8, u8) {
    match digits {
        Digits::Exactly(count) => (count, count),
        Digits::Between { least, most } => (least, most),
    }
}

fn span(millis: Option<u32>) -> Option<Duration> {
    millis.map(|millis| Duration::from_millis(u64::from(millis.min(LONGEST_MS))))
}

fn interruption(by: InterruptBy, protect_ms: Option<u32>) -> BargeIn {
    let (voice, keys) = match by {
        InterruptBy::Nothing => (false, false),
        InterruptBy::Voice => (true, false),
        InterruptBy::Keys => (false, true),
        InterruptBy::Both => (true, true),
    };
    let protect = span(protect_ms).unwrap_or(BargeIn::ALLOWED.protect);
    BargeIn { voice, keys, protect, ..BargeIn::ALLOWED }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bot::remote::config::AudioChoice;

    fn section() -> RemoteSection {
        RemoteSection { files: Some("/srv/sounds".into()), ..RemoteSection::default() }
    }

    fn with<T>(section: &RemoteSection, check: impl FnOnce(&Means<'_>) -> T) -> T {
        check(&Means { section, voice: Some("slt"), grammars: &Grammars::default() })
    }

    #[test]
    fn files_are_those_of_the_bots_folder() {
        with(&section(), |means| {
            assert_eq!(
                means.file("menu/first.wav").expect("inside"),
                Path::new("/srv/sounds/menu/first.wav")
            );
            for outside in ["../secret.wav", "/etc/passwd", "a/../../b", ""] {
                assert!(means.file(outside).is_err(), "{outside}");
            }
        });
        with(&RemoteSection::default(), |means| {
            assert!(means.file("a.wav").expect_err("none").contains("`files`"))
        });
    }

    #[test]
    fn a_variable_cannot_be_a_function() {
        assert!(check_variable("OFFHOOK_1").is_ok());
        for wrong in ["SHELL(id)", "", "1a", "a b", "CHANNEL(x)", "ä"] {
            assert!(check_variable(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_grammar_that_is_sent_again_is_the_same() {
        with(&section(), |means| {
            let listening =
                Listening { phrases: vec![Phrase::Plain("sales".into())], ..Listening::default() };
            let grammar = || match means.expected(&listening) {
                Ok(Some(Expected::Grammar(grammar))) => grammar,
                other => panic!("{other:?}"),
            };
            assert!(Arc::ptr_eq(&grammar(), &grammar()));
            assert_eq!(grammar().interpret("sales").as_deref(), Some("sales"));
        });
    }

    #[test]
    fn what_cannot_be_listened_for_is_told() {
        let both = Listening { open: true, digits: Some(Digits::Exactly(4)), ..Listening::default() };
        let open = Listening { open: true, ..Listening::default() };
        let zero = Listening { digits: Some(Digits::Exactly(0)), ..Listening::default() };
        with(&section(), |means| {
            assert!(means.listening(&both).expect_err("two things").contains("one of"));
            assert!(means.listening(&zero).expect_err("no digits").contains("1 to 16"));
            assert!(means.listening(&open).is_ok());
        });
        let own = RemoteSection { audio: AudioChoice::Utterances, ..section() };
        with(&own, |means| {
            assert!(means.listening(&open).expect_err("own ears").contains("recognises itself"))
        });
    }

    #[test]
    fn something_is_said_in_one_way() {
        with(&section(), |means| {
            assert!(means.say(&Say::default()).is_err());
            let both = Say { text: Some(Speech::Text("a".into())), audio: true, ..Say::default() };
            assert!(means.say(&both).is_err());
            let pieces = vec![Piece::Text("a".into()), Piece::File { file: "b.wav".into() }];
            let ready =
                means.say(&Say { text: Some(Speech::Pieces(pieces)), ..Say::default() }).expect("right");
            assert_eq!(ready.prompt.expect("a prompt").parts.len(), 2);
            assert_eq!((ready.how.voice, ready.how.keys), (false, false));
            let long = Say { text: Some(Speech::Text("x".repeat(1_001))), ..Say::default() };
            assert!(means.say(&long).err().expect("too long").contains("1000"));
        });
    }
}
