//! One call of a program's: what happens is told, what is wanted is done, and neither waits for the other.
//!
//! The verbs of the `Call` run one after the other; while one does, everything else goes on beside it: notes of the call become
//! events, messages come in, audio goes both ways, a lost connection is made again.

use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::time::Duration;

use super::audio::{Unpacker, of_caller};
use super::error::RemoteError;
use super::fallback::Fallback;
use super::message::{self, Audio, CallStarted, Destination, Event, RequestId, Verb};
use super::perform::{Done, Means, perform};
use super::wire::{Incoming, Line};
use super::{RemoteBot, message::Request};
use crate::audio::resample::Up2;
use crate::audio::ring::{EarItem, EarReader};
use crate::audio::{FRAME_SAMPLES, Frame, Rate};
use crate::bot::Outcome;
use crate::bot::attend::{hear, overhear, sleep_until};
use crate::bot::sink::Sink;
use crate::call::{Call, CallError, Facts, Gone, Note, Overheard, Prompt, Stopper};
use crate::speech::SpeechStream;
use crate::time::Moment;
use crate::turn::TurnSignal;
use serde_json::Value;

/// Verbs that may wait to be done.
const QUEUE: usize = 32;

/// Messages in a row that are not understood, after which nothing more is expected.
const NONSENSE: u32 = 10;

/// Connections in a row that were lost before the program had anything done.
const LOSSES: u32 = 5;

/// Audio of the program's that may wait, in all, beyond what the synthesiser would have ahead.
const WAITING: Duration = Duration::from_secs(60);

/// Serves a call by the program, to its end or to the fallback.
pub(super) async fn run(bot: &RemoteBot, call: &mut Call) -> Result<Outcome, CallError> {
    let left = call.taken_up().cloned();
    if left.as_ref().is_some_and(Fallback::wrote) {
        return bot.fallback.run(call, "it had failed before the engine was started anew").await;
    }
    let resumed = left.is_some();
    let state = left.and_then(|mut left| Some(left.get_mut("remote")?.get_mut("state")?.take()));
    let mut talk = Talk::new(bot, call, state.unwrap_or_default(), resumed);
    match talk.run(call).await {
        Ok(outcome) => Ok(outcome),
        Err(Over::Call(error)) => {
            talk.end(&reason(&error));
            Err(error)
        }
        Err(Over::Program(why)) => {
            talk.end(&Event::CallEnded { reason: "fallback".into(), cause: None });
            drop(talk);
            bot.fallback.run(call, &why.to_string()).await
        }
    }
}

/// Why there is nothing more to do for the program.
enum Over {
    /// The call ended.
    Call(CallError),
    /// The program failed.
    Program(RemoteError),
}

fn reason(error: &CallError) -> Event {
    let (reason, cause) = match error {
        CallError::Gone(Gone::HungUp { cause }) => ("caller_hung_up", Some(*cause)),
        CallError::Gone(Gone::Left) => ("moved", None),
        CallError::MediaEnded => ("engine_ended", None),
        _ => ("failed", None),
    };
    Event::CallEnded { reason: reason.into(), cause: cause.filter(|cause| *cause > 0) }
}

type Connecting<'b> = Pin<Box<dyn Future<Output = Result<Line, RemoteError>> + Send + 'b>>;

/// The way to the program.
enum Link<'b> {
    Connecting(Connecting<'b>),
    Up(Line),
    /// It will not come back; what is being said is said to its end.
    Failed(RemoteError),
}

/// Something on that way.
enum Happened {
    Connected(Line),
    Failed(RemoteError),
    Came(Incoming),
    Lost,
}

impl Link<'_> {
    /// What happens next. Cancel-safe.
    async fn next(&mut self) -> Happened {
        match self {
            Self::Connecting(connecting) => match connecting.await {
                Ok(line) => Happened::Connected(line),
                Err(error) => Happened::Failed(error),
            },
            Self::Up(line) => line.next().await.map_or(Happened::Lost, Happened::Came),
            Self::Failed(_) => std::future::pending().await,
        }
    }
}

/// A verb that is to be done.
struct Job {
    id: Option<RequestId>,
    verb: Verb,
    sound: Option<SpeechStream>,
}

/// What the call is at.
enum Doing {
    Job(Job),
    /// Something is said since the program takes long.
    Filler(Prompt),
    Nothing,
}

impl Doing {
    /// Whether something is said that the caller should hear to its end, whatever becomes of the program.
    fn speaks(&self) -> bool {
        match self {
            Self::Job(job) => matches!(job.verb, Verb::Say(_) | Verb::Play(_)),
            Self::Filler(_) => true,
            Self::Nothing => false,
        }
    }
}

async fn work(call: &mut Call, doing: Doing, means: &Means<'_>) -> Result<Done, CallError> {
    match doing {
        Doing::Job(job) => perform(call, job.verb, job.sound, means).await,
        Doing::Filler(prompt) => match call.say(prompt).await {
            Err(error) if error.is_end() => Err(error),
            // A filler that cannot be said is none.
            _ => Ok(Done::default()),
        },
        Doing::Nothing => match call.wait().await {
            CallError::Stopped => Ok(Done::default()),
            error => Err(error),
        },
    }
}

/// Why what goes on beside the work came to an end.
enum Step {
    Worked(Box<Result<Done, CallError>>),
    /// There is something to do, and the call does nothing.
    Begin,
    /// The program takes long.
    Fill,
    Failed(RemoteError),
}

/// Audio of the program's on its way into a verb.
struct Sound {
    sink: Sink,
    unpacker: Unpacker,
}

/// Hands audio over as the verb takes it.
async fn pour(sounds: &mut VecDeque<Sound>) {
    let Some(sound) = sounds.front_mut() else { return std::future::pending().await };
    if sound.sink.pour().await {
        sounds.pop_front();
    }
}

struct Talk<'b> {
    bot: &'b RemoteBot,
    facts: Facts,
    notes: Overheard,
    stopper: Stopper,
    ear: Option<EarReader>,
    /// Of what the program sends, in the call.
    voice_rate: Rate,
    up: Up2,
    link: Link<'b>,
    /// What the program saved last.
    state: Value,
    /// Whether a program had the call before.
    resumed: bool,
    answered: bool,
    destinations: Vec<Destination>,
    /// When the program was told of the call.
    began: Moment,
    queue: VecDeque<Job>,
    sounds: VecDeque<Sound>,
    /// The verb that is being done, if it was asked for over the connection that is up.
    current: Option<(Option<RequestId>, &'static str)>,
    /// Since when the program has been to say what to do.
    idle: Option<Moment>,
    filled: bool,
    nonsense: u32,
    losses: u32,
}

impl<'b> Talk<'b> {
    fn new(bot: &'b RemoteBot, call: &mut Call, state: Value, resumed: bool) -> Self {
        call.mind_what_is_heard();
        let patience = Duration::from_millis(bot.section.connect_ms);
        Self {
            bot,
            facts: call.facts().clone(),
            notes: call.overhear(),
            stopper: call.stopper(),
            ear: call.ear(),
            voice_rate: call.voice_rate(),
            up: Up2::new(),
            link: Link::Connecting(Box::pin(bot.line(call.id(), patience))),
            state,
            resumed,
            answered: call.is_answered(),
            destinations: call
                .destinations()
                .iter()
                .map(|to| Destination { name: to.name.clone(), description: to.description.clone() })
                .collect(),
            began: Moment::now(),
            queue: VecDeque::new(),
            sounds: VecDeque::new(),
            current: None,
            idle: None,
            filled: false,
            nonsense: 0,
            losses: 0,
        }
    }

    async fn run(&mut self, call: &mut Call) -> Result<Outcome, Over> {
        let bot = self.bot;
        let means = Means { section: &bot.section, voice: bot.voice.as_deref(), grammars: &bot.grammars };
        let mut fill = false;
        loop {
            self.answered = call.is_answered();
            self.stopper = call.stopper();
            let doing = match self.queue.pop_front() {
                Some(job) => {
                    self.current = Some((job.id.clone(), job.verb.name()));
                    self.idle = None;
                    Doing::Job(job)
                }
                None if std::mem::take(&mut fill) => self.filler(),
                None => Doing::Nothing,
            };
            let (waits, speaks) = (matches!(doing, Doing::Nothing), doing.speaks());
            let saved = match &doing {
                Doing::Job(Job { verb: Verb::Checkpoint { state, .. }, .. }) => Some(state.clone()),
                _ => None,
            };
            let step = {
                let work = pin!(work(call, doing, &means));
                self.accompany(work, waits, speaks).await
            };
            match step {
                Step::Worked(done) => {
                    let done = (*done).map_err(Over::Call)?;
                    if let Some(state) = saved.filter(|_| done.error.is_none()) {
                        self.state = state;
                    }
                    if let Some(outcome) = self.worked(done).map_err(Over::Program)? {
                        return Ok(outcome);
                    }
                }
                Step::Begin => {}
                Step::Fill => fill = true,
                Step::Failed(error) => return Err(Over::Program(error)),
            }
            if let Link::Failed(error) = &self.link {
                return Err(Over::Program(error.clone()));
            }
        }
    }

    fn filler(&mut self) -> Doing {
        self.filled = true;
        let text = self.bot.section.filler.clone().unwrap_or_default();
        Doing::Filler(Prompt { voice: self.bot.voice.clone(), ..Prompt::from(text) })
    }

    /// Everything that goes on while the call is at something.
    async fn accompany(
        &mut self,
        mut work: Pin<&mut (impl Future<Output = Result<Done, CallError>> + Send)>,
        waits: bool,
        speaks: bool,
    ) -> Step {
        loop {
            if waits && !self.queue.is_empty() {
                return Step::Begin;
            }
            let due = if waits { self.due() } else { None };
            let taken = tokio::select! {
                biased;
                note = overhear(&mut self.notes) => {
                    self.note(&note);
                    Ok(())
                }
                item = hear(self.ear.as_ref()) => {
                    self.sound(item);
                    Ok(())
                }
                happened = self.link.next() => self.happened(happened, speaks),
                () = pour(&mut self.sounds) => Ok(()),
                done = &mut work => return Step::Worked(Box::new(done)),
                () = sleep_until(due) => match self.is_silent() {
                    Some(error) => Err(error),
                    None => return Step::Fill,
                },
            };
            if let Err(error) = taken {
                return Step::Failed(error);
            }
        }
    }

    /// When something is to be done about a program that does not say what to do.
    fn due(&self) -> Option<Moment> {
        let Link::Up(_) = &self.link else { return None };
        let section = &self.bot.section;
        let fill = section.filler.is_some() && !self.filled && section.filler_ms < section.reply_ms;
        let after = if fill { section.filler_ms } else { section.reply_ms };
        Some(self.idle? + Duration::from_millis(after))
    }

    fn is_silent(&self) -> Option<RemoteError> {
        let patience = Duration::from_millis(self.bot.section.reply_ms);
        let silent = self.idle.is_some_and(|idle| Moment::now().since(idle) >= patience);
        silent.then_some(RemoteError::Silent(patience))
    }

    fn happened(&mut self, happened: Happened, speaks: bool) -> Result<(), RemoteError> {
        match happened {
            Happened::Connected(line) => {
                self.link = Link::Up(line);
                self.greet();
                Ok(())
            }
            Happened::Failed(error) if speaks => {
                self.link = Link::Failed(error);
                Ok(())
            }
            Happened::Failed(error) => Err(error),
            Happened::Lost => self.lost(&RemoteError::Lost("it was closed".into())),
            Happened::Came(incoming) => self.take(incoming),
        }
    }

    /// Tells the program of the call. What another connection had asked for is of no use to it.
    fn greet(&mut self) {
        self.stopper.stop();
        self.began = Moment::now();
        self.idle = Some(self.began);
        self.filled = false;
        let section = &self.bot.section;
        let Link::Up(line) = &mut self.link else { return };
        // A program without ears of its own may have a voice of its own.
        let audio = Audio {
            stream: line.stream,
            encoding: section.encoding,
            rate: section.rate,
            sends: section.sends(),
        };
        let started = CallStarted {
            version: message::VERSION,
            resumed: self.resumed,
            state: self.state.clone(),
            bot: self.bot.name.clone(),
            outbound: self.facts.outbound,
            answered: self.answered,
            caller: self.facts.caller.clone(),
            called: self.facts.called.clone(),
            args: self.facts.args.clone(),
            variables: self.facts.variables.clone(),
            destinations: self.destinations.clone(),
            audio,
        };
        self.resumed = true;
        self.tell(&Event::CallStarted(Box::new(started)));
    }

    /// The connection is lost: what is being done goes on while it is made again.
    fn lost(&mut self, why: &RemoteError) -> Result<(), RemoteError> {
        self.losses += 1;
        if self.losses > LOSSES {
            return Err(why.clone());
        }
        tracing::warn!(call = %self.facts.id, %why, "a call's program is lost; connecting again");
        self.queue.clear();
        self.sounds.clear();
        self.current = None;
        self.idle = None;
        let patience = Duration::from_millis(self.bot.section.reconnect_ms);
        self.link = Link::Connecting(Box::pin(self.bot.line(self.facts.id, patience)));
        Ok(())
    }

    /// Tells the program; one that does not read is lost, which is seen when its line is read next.
    fn tell(&mut self, event: &Event) {
        let Link::Up(line) = &mut self.link else { return };
        if let Err(why) = line.tell(event)
            && let Err(error) = self.lost(&why)
        {
            self.link = Link::Failed(error);
        }
    }

    /// The last that the program hears of the call.
    fn end(&mut self, event: &Event) {
        while let Some(note) = self.notes.try_next() {
            self.note(&note);
        }
        self.tell(event);
    }

    fn take(&mut self, incoming: Incoming) -> Result<(), RemoteError> {
        let complaint = match incoming {
            Incoming::Request(request) => {
                self.nonsense = 0;
                self.request(request);
                return Ok(());
            }
            Incoming::Audio(stream, payload) => match self.pour_in(stream, &payload) {
                Ok(()) => return Ok(()),
                Err(error) => Event::Error { error, id: None },
            },
            Incoming::Misread(misread) => {
                self.nonsense += 1;
                if self.nonsense >= NONSENSE {
                    return Err(RemoteError::Garbage(self.nonsense, misread.error));
                }
                Event::Error { error: misread.error, id: misread.id }
            }
        };
        self.tell(&complaint);
        Ok(())
    }

    fn request(&mut self, request: Request) {
        let Request { id, verb, .. } = request;
        match verb {
            Verb::Stop {} => {
                for job in std::mem::take(&mut self.queue) {
                    let done = Done::failed("it was stopped before it began");
                    self.result(job.id, job.verb.name(), done);
                }
                self.sounds.clear();
                self.stopper.stop();
                self.result(id, "stop", Done::default());
            }
            Verb::AudioEnd {} => {
                let done = match self.sounds.back_mut() {
                    Some(sound) => {
                        sound.sink.end();
                        Done::default()
                    }
                    None => Done::failed(
                        "no audio is being said: begin with {\"verb\": \"say\", \"audio\": true}",
                    ),
                };
                self.result(id, "audio_end", done);
            }
            verb if self.queue.len() >= QUEUE => {
                let error = format!("more than {QUEUE} verbs wait: send the next when a result has come");
                self.result(id, verb.name(), Done::failed(error));
            }
            verb => {
                let audio = match &verb {
                    Verb::Say(say) => say.audio,
                    Verb::Ask(ask) => ask.audio,
                    _ => false,
                };
                let sound = audio.then(|| self.open_sound());
                self.queue.push_back(Job { id, verb, sound });
            }
        }
    }

    fn open_sound(&mut self) -> SpeechStream {
        if let Some(before) = self.sounds.back_mut() {
            before.sink.end();
        }
        let (sink, stream) = Sink::open();
        let section = &self.bot.section;
        let unpacker = Unpacker::new(section.encoding, section.audio_rate(), self.voice_rate);
        self.sounds.push_back(Sound { sink, unpacker });
        stream
    }

    /// Audio of the program's.
    fn pour_in(&mut self, stream: u16, payload: &[u8]) -> Result<(), String> {
        if let Link::Up(line) = &self.link
            && line.stream != stream
        {
            return Err(format!("the call's `stream` is {}, not {stream}", line.stream));
        }
        let waiting: usize = self.sounds.iter().map(|sound| sound.sink.waiting()).sum();
        let most = usize::try_from(self.voice_rate.samples(WAITING)).unwrap_or(usize::MAX);
        match self.sounds.back_mut().filter(|sound| !sound.sink.is_ended()) {
            // What comes late, after a stop or an interruption, is no mistake.
            None => Ok(()),
            Some(_) if waiting + payload.len() > most => {
                Err(format!("more than {WAITING:?} of audio wait to be heard: send it later"))
            }
            Some(sound) => {
                let mut samples = Vec::with_capacity(payload.len());
                sound.unpacker.unpack(payload, &mut samples);
                sound.sink.push(&samples);
                Ok(())
            }
        }
    }

    /// A verb is done.
    fn worked(&mut self, mut done: Done) -> Result<Option<Outcome>, RemoteError> {
        // What happened in it is told before what came of it.
        while let Some(note) = self.notes.try_next() {
            self.note(&note);
        }
        let end = done.end.take();
        if let Some((id, verb)) = self.current.take() {
            self.losses = 0;
            self.result(id, verb, done);
            if self.queue.is_empty() {
                self.idle = Some(Moment::now());
                self.filled = false;
            }
        }
        let Some((outcome, reason)) = end else { return Ok(None) };
        self.end(&Event::CallEnded { reason: reason.into(), cause: None });
        Ok(Some(outcome))
    }

    fn result(&mut self, id: Option<RequestId>, verb: &'static str, done: Done) {
        let Done { error, stopped, said, heard, value, end: _ } = done;
        let event = match (id, error) {
            (Some(id), error) => Event::Result(Box::new(message::Outcome {
                id,
                verb: verb.to_owned(),
                ok: error.is_none(),
                error,
                stopped,
                said,
                heard,
                value,
            })),
            // Who gave no id hears of failures alone.
            (None, Some(error)) => Event::Error { error: format!("`{verb}`: {error}"), id: None },
            (None, None) => return,
        };
        self.tell(&event);
    }

    fn note(&mut self, note: &Note) {
        if let Some(event) = self.event(note) {
            self.tell(&event);
        }
    }

    /// What a note of the call's is to the program.
    fn event(&self, note: &Note) -> Option<Event> {
        let at_ms = |at: Moment| u64::try_from(at.since(self.began).as_millis()).unwrap_or(u64::MAX);
        Some(match note {
            Note::Partial { text } => Event::Partial { text: text.clone() },
            Note::Key { key, .. } => Event::Key { key: *key },
            Note::Started { .. } => {
                Event::SpeakingStarted { id: self.current.as_ref().and_then(|(id, _)| id.clone()) }
            }
            Note::Quiet { .. } => Event::AudioLost {},
            Note::Back { .. } => Event::AudioBack {},
            Note::Signal(signal) => match *signal {
                TurnSignal::Onset { at } => Event::SpeechStarted { at_ms: at_ms(at) },
                TurnSignal::Pause { speech_end } => Event::SpeechPaused { at_ms: at_ms(speech_end) },
                TurnSignal::Resumed { at } => Event::SpeechResumed { at_ms: at_ms(at) },
                TurnSignal::Restore { at, why } if why != crate::turn::Calm::PlayOver => {
                    Event::SpeechTakenBack { at_ms: at_ms(at) }
                }
                TurnSignal::Endpoint { speech_end, witness, .. } => {
                    Event::SpeechEnded { at_ms: at_ms(speech_end), decided_by: witness.name().into() }
                }
                TurnSignal::TooLong { at } => {
                    Event::SpeechEnded { at_ms: at_ms(at), decided_by: "limit".into() }
                }
                TurnSignal::BargeIn { by, .. } => Event::Interrupted { by: by.name().into() },
                _ => return None,
            },
            _ => return None,
        })
    }

    /// Audio of the caller's.
    fn sound(&mut self, item: EarItem) {
        let EarItem::Audio(frame) = item else { return };
        let Link::Up(line) = &mut self.link else { return };
        let at_ms = u64::try_from(Moment::now().since(self.began).as_millis()).unwrap_or(u64::MAX);
        let encoding = self.bot.section.encoding;
        let wide = self.bot.section.audio_rate() == Rate::Hz16000 && frame.rate == Rate::Hz8000;
        let message = if wide {
            let mut samples = [0; 2 * FRAME_SAMPLES];
            self.up.process(&frame.samples, &mut samples);
            of_caller(line.stream, at_ms, encoding, &samples)
        } else {
            let Frame { samples, .. } = frame;
            of_caller(line.stream, at_ms, encoding, &samples)
        };
        // A program that is behind misses sound before it misses words.
        line.sound(message);
    }
}
