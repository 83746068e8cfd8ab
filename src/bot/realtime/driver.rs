//! One call of a speech to speech model: the turn taker decides, the model is told.
//!
//! One verb of the `Call` runs for each turn: it plays what the model says, as it comes, and listens. Beside it the caller's audio
//! goes to the service, and what the service says comes back.

use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::time::Duration;

use serde_json::{Value, json};

use super::RealtimeBot;
use super::config::Service;
use super::dialect::{Dialect, Setup, Told};
use super::errands::Errands;
use super::gemini::Gemini;
use super::openai::OpenAi;
use super::sound::Sound;
use super::way::{Happened, Way};
use crate::audio::Rate;
use crate::audio::ring::{EarItem, EarReader};
use crate::bot::Outcome;
use crate::bot::attend::{hear, overhear, sleep_until};
use crate::bot::sink::Sink;
use crate::bot::tools::{ToolCall, Wanted, acts};
use crate::call::{
    Call, CallError, Heard, KeyPlan, Listen, Note, Overheard, PlayEnd, Prompt, Stopper, Transcript,
};
use crate::speech::SpeechStream;
use crate::speech::words::{first_words, heard_words};
use crate::time::Moment;
use crate::turn::{BargeIn, Calm, TurnSignal};

/// What is kept of a conversation, for a connection or a process that goes on with it.
const REMEMBERED: usize = 40;

/// The longest that is kept of one thing that was said, in bytes.
const LONGEST: usize = 600;

/// Answers that failed in a row before the service is given up.
const FAILURES: u32 = 2;

/// Audio of the service's that may wait to be heard. It sends faster than it is heard, and no answer is longer.
const MOST_WAITING: Duration = Duration::from_secs(180);

/// Between two keys of a number.
const INTER_DIGIT: Duration = Duration::from_secs(2);

/// An errand takes long after this, and the caller is told.
const FILLER_AFTER: Duration = Duration::from_millis(1_500);

/// An item is cut where more than this was not heard of it.
const CUT_FROM: Duration = Duration::from_millis(60);

/// Serves a call by the model, to its end or to the fallback.
pub(super) async fn run(bot: &RealtimeBot, call: &mut Call) -> Result<Outcome, CallError> {
    let left = call.taken_up().filter(|left| !left.is_null()).cloned();
    let history = match left.as_ref().map(|left| left.pointer("/realtime/history")) {
        None => VecDeque::new(),
        Some(Some(history)) => serde_json::from_value(history.clone()).unwrap_or_default(),
        Some(None) => {
            return bot.fallback.run(call, "it had failed before the engine was started anew").await;
        }
    };
    call.answer().await?;
    let instructions = bot.prompt.of_call(call, &bot.file.realtime.language, &bot.places).await;
    let mut talk = Talk::new(bot, call, instructions, history, left.is_some());
    match talk.run(call).await {
        Ok(outcome) => Ok(outcome),
        Err(Over::Call(error)) => Err(error),
        Err(Over::Limit(what)) => {
            drop(talk);
            bot.enough.run(call, &format!("the call reached its limit of {what}")).await
        }
        Err(Over::Service(why)) => {
            drop(talk);
            bot.fallback.run(call, &why).await
        }
    }
}

/// Why the model has no more to say.
enum Over {
    Call(CallError),
    Service(String),
    Limit(&'static str),
}

/// An answer of the model's.
#[derive(Default)]
struct Answer {
    /// Nobody wants the rest of it.
    unwanted: bool,
    /// Something of it is to be heard.
    audible: bool,
}

/// What is said to the caller in one verb.
struct Mouth {
    sink: Sink,
    /// What it is made of: items of the service's, and samples.
    items: Vec<(String, usize)>,
    started: bool,
}

/// What a turn came to.
enum Step {
    Worked(Result<Heard, CallError>),
    Over(Over),
}

struct Talk<'b> {
    bot: &'b RealtimeBot,
    dialect: Box<dyn Dialect>,
    way: Way<'b>,
    notes: Overheard,
    stopper: Stopper,
    ear: Option<EarReader>,
    transcript: Transcript,
    history: VecDeque<(bool, String)>,
    /// What the model says in the answer under way.
    saying: String,
    rate: Rate,
    sound: Sound,
    mouth: Mouth,
    /// The far end of the mouth, until a verb takes it.
    stream: Option<SpeechStream>,
    /// What comes for the next verb, while the one before it ends.
    early: Vec<(String, Vec<i16>)>,
    turn_over: bool,
    answer: Option<Answer>,
    /// One was asked for and has not begun.
    asked: bool,
    /// It is not wanted any more.
    unwanted: bool,
    /// Another answer is wanted when the one under way is over.
    wanted: bool,
    /// Since when one is awaited.
    awaited: Option<Moment>,
    /// What is to be said to the service once it is there.
    unsent: Vec<Value>,
    /// What the model wants done.
    errands: Errands,
    /// When the caller is told that an errand takes long.
    filler: Option<Moment>,
    /// What the model is told to be.
    instructions: String,
    began: Moment,
    turns: u32,
    tokens: u64,
    silences: u32,
    failures: u32,
    go_away: bool,
}

impl<'b> Talk<'b> {
    fn new(
        bot: &'b RealtimeBot,
        call: &mut Call,
        instructions: String,
        history: VecDeque<(bool, String)>,
        resumed: bool,
    ) -> Self {
        let section = &bot.file.realtime;
        let mut dialect: Box<dyn Dialect> = match section.service {
            Service::Openai => Box::new(OpenAi::default()),
            Service::Gemini => Box::new(Gemini::default()),
        };
        call.mind_what_is_heard();
        let rate = call.voice_rate();
        let sound = Sound::new(dialect.hears(), dialect.speaks(), rate);
        let (sink, stream) = Sink::open();
        // Who was cut off in mid-sentence by a restart is asked what he wanted.
        let first = match (&section.greeting, resumed) {
            (_, true) => Some(
                "(The line was interrupted for a moment. Go on where you were, in one short sentence.)"
                    .to_owned(),
            ),
            (Some(greeting), false) => Some(format!("(The call begins. Greet the caller: {greeting})")),
            (None, false) => None,
        };
        let unsent = first.map(|text| dialect.text(&text)).unwrap_or_default();
        let patience = Duration::from_millis(section.connect_ms);
        Self {
            bot,
            way: Way::to(bot, patience),
            awaited: (!unsent.is_empty()).then(|| Moment::now() + patience),
            dialect,
            notes: call.overhear(),
            stopper: call.stopper(),
            ear: call.ear(),
            transcript: call.transcript(),
            history,
            saying: String::new(),
            rate,
            sound,
            mouth: Mouth { sink, items: Vec::new(), started: false },
            stream: Some(stream),
            early: Vec::new(),
            turn_over: false,
            answer: None,
            asked: !unsent.is_empty(),
            unwanted: false,
            wanted: false,
            unsent,
            errands: Errands::default(),
            filler: None,
            instructions,
            began: Moment::now(),
            turns: 0,
            tokens: 0,
            silences: 0,
            failures: 0,
            go_away: false,
        }
    }

    async fn run(&mut self, call: &mut Call) -> Result<Outcome, Over> {
        loop {
            call.checkpoint("talk", json!({ "realtime": { "history": self.history } }));
            self.stopper = call.stopper();
            let stream = self.next_mouth();
            let listen = self.listen();
            let how = if self.bot.file.listen.barge_in { BargeIn::ALLOWED } else { BargeIn::FORBIDDEN };
            let step = {
                let work = pin!(call.ask_given("[model]", stream, how, listen));
                self.accompany(work).await
            };
            let heard = match step {
                Step::Worked(Ok(heard)) => heard,
                Step::Worked(Err(CallError::Stopped)) => {
                    if let Some(outcome) = self.act(call).await? {
                        return Ok(outcome);
                    }
                    continue;
                }
                Step::Worked(Err(error)) => return Err(Over::Call(error)),
                Step::Over(over) => return Err(over),
            };
            self.heard(heard)?;
        }
    }

    fn listen(&self) -> Listen {
        let file = &self.bot.file;
        let keys = match file.listen.keys {
            true => KeyPlan::Digits { max: 16, terminator: Some('#'), inter_digit: INTER_DIGIT },
            false => KeyPlan::Ignore,
        };
        Listen::keys(keys).timed(file.listen.how())
    }

    /// A mouth for the next verb, with what came for it already.
    fn next_mouth(&mut self) -> SpeechStream {
        self.turn_over = false;
        let stream = self.stream.take().unwrap_or_else(|| {
            let (sink, stream) = Sink::open();
            self.mouth = Mouth { sink, items: Vec::new(), started: false };
            stream
        });
        for (item, samples) in std::mem::take(&mut self.early) {
            self.play(item, &samples);
        }
        if self.answer.is_none() && !self.mouth.items.is_empty() {
            self.mouth.sink.end();
        }
        stream
    }

    /// What the caller did.
    fn heard(&mut self, heard: Heard) -> Result<(), Over> {
        // What is in the ear of this turn is said before its end.
        while let Some(item) = self.ear.as_ref().and_then(EarReader::try_pop) {
            self.ear(item);
        }
        let text = match heard {
            Heard::Keys(keys) => {
                self.cancel();
                format!("(The caller pressed the keys {keys}.)")
            }
            Heard::NoInput => {
                self.silences += 1;
                if self.silences > self.bot.file.listen.tries {
                    return Err(Over::Limit("silence"));
                }
                "(The caller says nothing. Ask whether he is still there.)".to_owned()
            }
            // The ear has told the service.
            _ => {
                self.silences = 0;
                return self.within_limits();
            }
        };
        self.turns += 1;
        self.within_limits()?;
        let messages = self.dialect.text(&text);
        self.send(messages);
        self.asked = true;
        self.await_answer(Duration::ZERO);
        Ok(())
    }

    fn within_limits(&self) -> Result<(), Over> {
        let limits = &self.bot.file.limits;
        let seconds = Moment::now().since(self.began).as_secs();
        let over = [
            (self.turns > limits.turns, "turns"),
            (self.tokens > limits.tokens, "tokens"),
            (seconds > limits.seconds, "time"),
        ];
        over.into_iter()
            .find_map(|(over, what)| over.then_some(what))
            .map_or(Ok(()), |what| Err(Over::Limit(what)))
    }

    /// Everything that goes on while the caller hears and is heard.
    async fn accompany(
        &mut self,
        mut work: Pin<&mut (impl Future<Output = Result<Heard, CallError>> + Send)>,
    ) -> Step {
        loop {
            let due = self.due();
            let taken = tokio::select! {
                biased;
                note = overhear(&mut self.notes) => {
                    self.note(&note);
                    Ok(())
                }
                item = hear(self.ear.as_ref()) => {
                    self.ear(item);
                    Ok(())
                }
                happened = self.way.next() => self.happened(happened),
                (call, result) = self.errands.next() => {
                    self.told_of(&call, &result);
                    Ok(())
                }
                _ = self.mouth.sink.pour() => Ok(()),
                heard = &mut work => return Step::Worked(heard),
                () = sleep_until(due) => self.late(),
            };
            if let Err(over) = taken {
                return Step::Over(over);
            }
        }
    }

    fn due(&self) -> Option<Moment> {
        let time = self.began + Duration::from_secs(self.bot.file.limits.seconds) + Duration::from_secs(1);
        [self.awaited, self.filler].into_iter().flatten().chain([time]).min()
    }

    fn late(&mut self) -> Result<(), Over> {
        self.within_limits()?;
        if self.filler.is_some_and(|filler| Moment::now() >= filler) {
            self.filler = None;
            // Beside one that is being said there is no other.
            if self.answer.is_none() && !self.asked {
                let messages = self.dialect.filler();
                self.asked = !messages.is_empty();
                self.send(messages);
            }
        }
        match self.awaited {
            Some(awaited) if Moment::now() >= awaited => {
                let patience = self.bot.file.realtime.first_ms;
                Err(Over::Service(format!("the service said nothing within {patience} ms (`first_ms`)")))
            }
            _ => Ok(()),
        }
    }

    fn happened(&mut self, happened: Happened) -> Result<(), Over> {
        match happened {
            Happened::Connected(link) => {
                let setup = Setup {
                    section: &self.bot.file.realtime,
                    instructions: &self.instructions,
                    tools: self.bot.tools.specs(),
                    history: self.history.make_contiguous(),
                };
                for message in self.dialect.setup(&setup) {
                    link.send(&message);
                }
                self.way = Way::Opening(link);
                Ok(())
            }
            Happened::Failed(why) => Err(Over::Service(why)),
            Happened::Lost(why) => self.lost(why),
            Happened::Came(text) => {
                for told in self.dialect.read(&text) {
                    self.told(told)?;
                }
                Ok(())
            }
        }
    }

    /// The connection is gone: what was said is said again to another one.
    fn lost(&mut self, why: String) -> Result<(), Over> {
        if let Way::Opening(_) = self.way {
            return Err(Over::Service(why));
        }
        self.failures += 1;
        if self.failures > FAILURES {
            return Err(Over::Service(why));
        }
        tracing::warn!(why, "the connection to a speech to speech service is lost; connecting again");
        (self.asked, self.unwanted) = (false, false);
        let was_answering = self.answer.take().is_some_and(|answer| !answer.unwanted);
        let patience = Duration::from_millis(self.bot.file.realtime.reconnect_ms);
        if was_answering || self.awaited.is_some() {
            let again = self.dialect.text("(The line was interrupted. Answer what was said last.)");
            self.unsent.extend(again);
            self.await_answer(patience);
        }
        self.go_away = false;
        self.mouth.sink.end();
        self.way = Way::to(self.bot, patience);
        Ok(())
    }

    fn send(&mut self, messages: Vec<Value>) {
        match &self.way {
            Way::Up(link) => {
                for message in &messages {
                    // One that does not read is found out by its link.
                    link.send(message);
                }
            }
            // Audio of before is of no use to it.
            _ => self.unsent.extend(messages.into_iter().filter(|message| {
                message.get("type").is_none_or(|kind| kind != "input_audio_buffer.append")
            })),
        }
        self.unsent.truncate(OUTSTANDING);
    }

    fn await_answer(&mut self, more: Duration) {
        self.awaited = Some(Moment::now() + Duration::from_millis(self.bot.file.realtime.first_ms) + more);
    }

    /// An answer is wanted to what the caller said, or tools told.
    fn want_answer(&mut self) {
        self.await_answer(Duration::ZERO);
        if self.answer.is_some() || self.asked {
            self.wanted = true;
            return;
        }
        self.asked = true;
        let messages = self.dialect.answer();
        self.send(messages);
    }

    /// The answer under way is not wanted any more.
    fn cancel(&mut self) {
        self.mouth.sink.cut();
        self.early.clear();
        self.awaited = None;
        self.wanted = false;
        self.unwanted |= self.asked;
        if let Some(answer) = self.answer.as_mut().filter(|answer| !answer.unwanted) {
            answer.unwanted = true;
            let messages = self.dialect.cancel();
            self.send(messages);
        }
        self.filler = None;
        for call in self.errands.cancel() {
            let messages = self.dialect.result(&call, "The caller interrupted before that was done.");
            self.send(messages);
        }
    }

    fn told(&mut self, told: Told) -> Result<(), Over> {
        match told {
            Told::Ready => {
                if let Way::Opening(_) = self.way {
                    let before =
                        std::mem::replace(&mut self.way, Way::Connecting(Box::pin(std::future::pending())));
                    if let Way::Opening(link) = before {
                        self.way = Way::Up(link);
                    }
                    let unsent = std::mem::take(&mut self.unsent);
                    if !unsent.is_empty() {
                        self.asked = true;
                        self.await_answer(Duration::ZERO);
                    }
                    self.send(unsent);
                }
            }
            Told::Began => {
                self.asked = false;
                let unwanted = std::mem::take(&mut self.unwanted);
                self.answer = Some(Answer { unwanted, ..Answer::default() });
                self.saying.clear();
                if unwanted {
                    let messages = self.dialect.cancel();
                    self.send(messages);
                }
            }
            Told::Audio { item, bytes } => self.audio(item, &bytes),
            Told::BotText(text) => {
                if self.answer.as_ref().is_some_and(|answer| !answer.unwanted) && self.saying.len() < LONGEST
                {
                    self.saying.push_str(&text);
                    self.transcript.bot(&text);
                }
            }
            Told::CallerText(text) => {
                self.transcript.caller(&text);
                self.remember(false, &text);
            }
            Told::Tool(call) => self.tool(call),
            Told::ToolsCancelled(ids) => self.errands.forget(&ids),
            Told::Used(tokens) => self.tokens = self.tokens.saturating_add(tokens),
            Told::Done { failed } => return self.done(failed),
            Told::GoAway => self.go_away = true,
            // The dialect has it.
            Told::Resume(_) => {}
            Told::Error { lasting: true, what } => return Err(Over::Service(what)),
            Told::Error { what, .. } => tracing::warn!(what, "a speech to speech service complains"),
        }
        Ok(())
    }

    fn audio(&mut self, item: String, bytes: &[u8]) {
        let Some(answer) = self.answer.as_mut().filter(|answer| !answer.unwanted) else { return };
        answer.audible = true;
        self.awaited = None;
        self.failures = 0;
        let mut samples = Vec::with_capacity(bytes.len());
        self.sound.unpack(bytes, &mut samples);
        if !self.turn_over && self.mouth.sink.is_ended() {
            // The verb that runs has said what it had to say: this is for another.
            self.turn_over = true;
            self.stopper.stop();
        }
        if self.turn_over {
            self.early.push((item, samples));
        } else {
            self.play(item, &samples);
        }
    }

    fn play(&mut self, item: String, samples: &[i16]) {
        if self.rate.duration(self.mouth.sink.waiting() as u64) > MOST_WAITING {
            return;
        }
        self.mouth.sink.push(samples);
        match self.mouth.items.last_mut() {
            Some((last, count)) if *last == item => *count += samples.len(),
            _ => self.mouth.items.push((item, samples.len())),
        }
    }

    /// The answer is over.
    fn done(&mut self, failed: Option<String>) -> Result<(), Over> {
        let answer = self.answer.take().unwrap_or_default();
        (self.asked, self.unwanted) = (false, false);
        if let Some(why) = failed.filter(|_| !answer.unwanted) {
            self.failures += 1;
            if self.failures > FAILURES {
                return Err(Over::Service(why));
            }
            tracing::warn!(why, "an answer of a speech to speech service failed; asking again");
            self.wanted = !answer.audible;
        }
        if !answer.unwanted && !self.saying.is_empty() {
            let said = std::mem::take(&mut self.saying);
            self.remember(true, &said);
        }
        if std::mem::take(&mut self.wanted) {
            self.want_answer();
        } else if !self.errands.are_running() && !answer.unwanted {
            self.awaited = None;
            // What is for the next verb is ended with it.
            if !self.turn_over && !self.mouth.items.is_empty() {
                self.mouth.sink.end();
            }
            if self.errands.are_due() && self.mouth.items.is_empty() && self.early.is_empty() {
                // It says nothing before it does it.
                self.stopper.stop();
            }
        }
        if std::mem::take(&mut self.go_away) && self.answer.is_none() && self.awaited.is_none() {
            let patience = Duration::from_millis(self.bot.file.realtime.reconnect_ms);
            self.way = Way::to(self.bot, patience);
        }
        Ok(())
    }

    fn tool(&mut self, call: ToolCall) {
        if self.answer.as_ref().is_some_and(|answer| answer.unwanted) {
            return;
        }
        self.awaited = None;
        match self.bot.tools.check(&call) {
            Ok(Wanted::Verb(doing)) => self.errands.later(call, doing),
            Ok(Wanted::Elsewhere(tool)) => {
                self.errands.begin(call, tool, Duration::from_millis(self.bot.file.tools.timeout_ms));
                self.filler = Some(Moment::now() + FILLER_AFTER);
            }
            Err(error) => self.told_of(&call, &error.to_string()),
        }
    }

    /// The model is told what came of a tool, and answers when it knows of all.
    fn told_of(&mut self, call: &ToolCall, result: &str) {
        let messages = self.dialect.result(call, result);
        self.send(messages);
        if !self.errands.are_running() {
            self.filler = None;
            self.want_answer();
        }
    }

    /// Does what the model wanted, now that it has been heard; [`None`] when the call goes on.
    async fn act(&mut self, call: &mut Call) -> Result<Option<Outcome>, Over> {
        let due = self.errands.take_due();
        let goes_on = !due.is_empty();
        for (wanted, doing) in due {
            let text = doing.announcement(self.bot.file.tools.announce.as_deref());
            let announce = text.map(|text| Prompt {
                voice: self.bot.file.realtime.apology_voice.clone(),
                ..Prompt::from(text).interruptible(BargeIn::FORBIDDEN)
            });
            match acts::act(call, &doing, announce).await.map_err(Over::Call)? {
                acts::Done::Over(outcome) => return Ok(Some(outcome)),
                acts::Done::Told(what) => {
                    let messages = self.dialect.result(&wanted, &what);
                    self.send(messages);
                }
            }
        }
        if goes_on {
            self.want_answer();
        }
        Ok(None)
    }

    fn note(&mut self, note: &Note) {
        match note {
            Note::Started { .. } => self.mouth.started = true,
            Note::Signal(TurnSignal::BargeIn { .. }) => self.cancel(),
            // He goes on before anything of the answer was heard.
            Note::Signal(TurnSignal::Onset { .. }) if !self.mouth.started && self.answer.is_some() => {
                self.cancel()
            }
            Note::Signal(TurnSignal::Restore { why, .. }) if *why != Calm::PlayOver => {
                // What was taken for his going on was nothing, and the answer is gone.
                let unanswered =
                    self.answer.as_ref().is_some_and(|answer| answer.unwanted) && !self.mouth.started;
                if unanswered {
                    self.want_answer();
                }
            }
            Note::Played { heard, end, .. } => {
                if *end == PlayEnd::Finished {
                    if self.errands.are_due() {
                        self.stopper.stop();
                    }
                } else {
                    self.cut(*heard);
                }
            }
            _ => {}
        }
    }

    /// Of what was said only so much was heard: the service is to know as much as the caller does.
    fn cut(&mut self, heard: Duration) {
        let total: usize = self.mouth.items.iter().map(|(_, samples)| samples).sum();
        let total = self.rate.duration(total as u64);
        let mut left = heard;
        for (item, samples) in std::mem::take(&mut self.mouth.items) {
            let length = self.rate.duration(samples as u64);
            if left + CUT_FROM < length {
                let messages = self.dialect.cut(&item, left);
                self.send(messages);
            }
            left = left.saturating_sub(length);
        }
        let said = std::mem::take(&mut self.saying);
        let said = if said.is_empty() { self.transcript.of_bot() } else { said };
        let words = first_words(&said, heard_words(&said, &[], heard, Some(total))).to_owned();
        if let Some((true, _)) = self.history.back() {
            self.history.pop_back();
        }
        self.remember(true, &words);
    }

    fn remember(&mut self, bot: bool, text: &str) {
        let text = text.trim();
        if text.is_empty() {
            return;
        }
        match self.history.back_mut() {
            Some((of_bot, last)) if *of_bot == bot && last.len() < LONGEST => {
                last.push(' ');
                last.push_str(text);
            }
            _ => self.history.push_back((bot, text.to_owned())),
        }
        while self.history.len() > REMEMBERED {
            self.history.pop_front();
        }
        if let Some((_, last)) = self.history.back_mut() {
            let end =
                (0..=last.len().min(LONGEST)).rev().find(|end| last.is_char_boundary(*end)).unwrap_or(0);
            last.truncate(end);
        }
    }

    /// What the caller says.
    fn ear(&mut self, item: EarItem) {
        let messages = match item {
            EarItem::Onset { .. } => self.dialect.speech_began(),
            EarItem::Audio(frame) => {
                let bytes = self.sound.pack(&frame);
                self.dialect.speech(&bytes)
            }
            EarItem::Pause { .. } => {
                self.dialect.speech_paused();
                return;
            }
            EarItem::TakenBack => self.dialect.speech_taken_back(),
            EarItem::End { .. } => {
                let messages = self.dialect.speech_ended();
                if !messages.is_empty() {
                    // An answer to what went before would be late.
                    self.cancel();
                    self.turn_over = true;
                    self.turns += 1;
                    self.send(messages);
                    self.want_answer();
                }
                return;
            }
        };
        self.send(messages);
    }
}

/// Messages that wait for a connection.
const OUTSTANDING: usize = 64;
