//! What a call tells whoever keeps records: notes as they happen, and turns when they are complete.
//!
//! A turn is what the caller did (or nothing, at the greeting) and what the bot said to it, with the ledger of what
//! took how long in between. It is complete when the next one begins and everything said in it has been played or
//! cut.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::snapshot::Progress;
use super::{Heard, Snapshot};
use crate::audio::ring::PlayId;
use crate::id::CallId;
use crate::media::PlayEnd;
use crate::time::{Moment, WallTime};
use crate::turn::ledger::Ledger;
use crate::turn::{By, Calm, Reasons, TurnSignal, Witness};

/// Takes notes of calls. Called from the call's task; must not block, so whatever is slow goes through a queue.
pub trait Journal: Send + Sync {
    /// Something happened on `call`.
    fn note(&self, call: CallId, note: Note);
}

/// Something that happened on a call.
#[derive(Debug, Clone)]
pub enum Note {
    /// The call was answered.
    Answered {
        /// When Asterisk had confirmed it.
        at: Moment,
    },
    /// The bot began to say something.
    Saying {
        /// What.
        text: String,
        /// Which play it is.
        play: PlayId,
        /// When the bot handed it over.
        at: Moment,
    },
    /// The first frame of something went out.
    Started {
        /// Which play.
        play: PlayId,
        /// When.
        at: Moment,
    },
    /// Something was played to its end or cut.
    Played {
        /// Which play.
        play: PlayId,
        /// How much of it went out.
        heard: Duration,
        /// How it ended.
        end: PlayEnd,
        /// The words that were heard of it, where that is known.
        words: Option<String>,
        /// When it was over.
        at: Moment,
    },
    /// The turn taker decided something.
    Signal(TurnSignal),
    /// What the recogniser believes so far.
    Partial {
        /// The words.
        text: String,
    },
    /// The caller pressed a key.
    Key {
        /// Which.
        key: char,
        /// When it was released.
        at: Moment,
    },
    /// The caller has given an answer, or none.
    Heard {
        /// What.
        input: Input,
        /// When it was known.
        at: Moment,
    },
    /// The bot entered a step.
    Step {
        /// Its name.
        name: String,
        /// When.
        at: Moment,
    },
    /// What stopped the bot was nothing: it goes on from the sentence that was cut.
    Resumed {
        /// When.
        at: Moment,
    },
    /// No audio comes from Asterisk.
    Quiet {
        /// Since when.
        since: Moment,
    },
    /// Audio comes again.
    Back {
        /// Since when.
        at: Moment,
    },
    /// A turn is complete.
    Turn(Box<Turn>),
    /// What another process needs to take the call up from here.
    Checkpoint(Box<Snapshot>),
}

/// What the caller did in a turn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// He said something that was understood.
    Words {
        /// The words.
        text: String,
        /// What the grammar makes of them.
        meaning: String,
        /// From 0 to 1.
        confidence: f32,
    },
    /// He pressed keys.
    Keys(String),
    /// He said something else.
    NoMatch,
    /// Nothing.
    NoInput,
    /// The recogniser failed.
    Failed(String),
}

impl From<&Heard> for Input {
    fn from(heard: &Heard) -> Self {
        match heard {
            Heard::Words { text, meaning, confidence } => {
                Self::Words { text: text.clone(), meaning: meaning.clone(), confidence: *confidence }
            }
            Heard::Keys(keys) => Self::Keys(keys.clone()),
            Heard::NoMatch => Self::NoMatch,
            Heard::NoInput => Self::NoInput,
            Heard::Failed(error) => Self::Failed(error.to_string()),
        }
    }
}

/// Something the bot said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spoken {
    /// Which play it was.
    pub play: PlayId,
    /// What.
    pub text: String,
    /// How long all of it is; [`None`] when it was cut before it was made.
    pub total: Option<Duration>,
    /// How much of it went out.
    pub heard: Duration,
    /// How it ended; [`None`] while it is played.
    pub end: Option<PlayEnd>,
    /// The words that were heard of it; [`None`] where that is not known.
    pub words: Option<String>,
}

impl Spoken {
    /// Something whose playing begins now.
    #[must_use]
    pub fn new(play: PlayId, text: String) -> Self {
        Self { play, text, total: None, heard: Duration::ZERO, end: None, words: None }
    }
}

/// How the caller interrupted the bot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interruption {
    /// When his voice, or the key, began.
    pub onset: Moment,
    /// When the bot's voice went down for it, if it did.
    pub ducked: Option<Moment>,
    /// When it was taken for an interruption, and playout flushed.
    pub decided: Moment,
    /// When the play had stopped.
    pub stopped: Option<Moment>,
    /// What confirmed it.
    pub by: By,
}

impl Interruption {
    /// Whether a key did it.
    #[must_use]
    pub fn by_key(&self) -> bool {
        self.by == By::Key
    }
}

/// What was prepared before it was known to be needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Speculation {
    /// Replies that were prepared.
    pub prepared: u32,
    /// Those that were thrown away.
    pub wasted: u32,
    /// How much of its making was done when the reply was wanted: what the caller would have waited longer.
    pub saved: Option<Duration>,
}

/// How it was decided that the caller is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Who decided.
    pub witness: Witness,
    /// What every witness said.
    pub reasons: Reasons,
}

/// One turn of a call.
#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    /// Number within the call, from 0, which is the greeting.
    pub index: u32,
    /// The step in which the bot replied.
    pub step: String,
    /// What the caller did; [`None`] at the greeting.
    pub input: Option<Input>,
    /// What the bot said to it, in order.
    pub spoken: Vec<Spoken>,
    /// How the bot was interrupted, if it was.
    pub interruption: Option<Interruption>,
    /// How often the bot's voice went down for nothing.
    pub false_ducks: u32,
    /// How often it went on from a sentence that was cut for nothing.
    pub resumed: u32,
    /// How it was decided that the caller was done; [`None`] for keys and silence.
    pub decision: Option<Decision>,
    /// What was done ahead for the reply.
    pub speculation: Speculation,
    /// What took how long.
    pub ledger: Ledger,
}

impl Turn {
    fn new(index: u32) -> Self {
        Self {
            index,
            step: String::new(),
            input: None,
            spoken: Vec::new(),
            interruption: None,
            false_ducks: 0,
            resumed: 0,
            decision: None,
            speculation: Speculation::default(),
            ledger: Ledger::default(),
        }
    }

    fn is_over(&self) -> bool {
        self.spoken.iter().all(|spoken| spoken.end.is_some())
    }
}

/// Makes turns out of what happens. Owned by the call.
pub(super) struct TurnBook {
    call: CallId,
    journal: Arc<dyn Journal>,
    current: Turn,
    /// The turn before, while something said in it is still to be reported as ended.
    closing: Option<Turn>,
    /// What was measured of the caller's next input.
    next: Next,
    /// What another process needs to take the call up, as of the last note of it.
    snapshot: Option<Box<Snapshot>>,
    /// What the bot says first in its step.
    first: Option<PlayId>,
}

/// What is known of a turn before it begins.
#[derive(Default)]
struct Next {
    ledger: Ledger,
    decision: Option<Decision>,
    speculation: Speculation,
}

impl TurnBook {
    pub fn new(call: CallId, journal: Arc<dyn Journal>) -> Self {
        Self {
            call,
            journal,
            current: Turn::new(0),
            closing: None,
            next: Next::default(),
            snapshot: None,
            first: None,
        }
    }

    /// Goes on with the turn in which another process left the call.
    pub fn go_on(&mut self, progress: &Progress) {
        self.current = Turn { input: progress.input.clone(), ..Turn::new(progress.turn) };
    }

    /// The bot enters a step: from here another process could go on.
    pub fn checkpoint(&mut self, mut snapshot: Snapshot) {
        if !snapshot.step.is_empty() {
            self.step(&snapshot.step);
        }
        snapshot.progress.turn = self.current.index;
        snapshot.progress.input.clone_from(&self.current.input);
        self.first = None;
        self.snapshot = Some(Box::new(snapshot));
        self.progress(|_| {});
    }

    /// What another process needs to take the call up now.
    pub fn hand_over(self) -> Option<Box<Snapshot>> {
        self.snapshot
    }

    /// The call got further within its step.
    fn progress(&mut self, change: impl FnOnce(&mut Progress)) {
        if let Some(snapshot) = &mut self.snapshot {
            change(&mut snapshot.progress);
            let snapshot = snapshot.clone();
            self.note(Note::Checkpoint(snapshot));
        }
    }

    pub fn note(&self, note: Note) {
        self.journal.note(self.call, note);
    }

    fn step(&mut self, name: &str) {
        if self.current.spoken.is_empty() {
            name.clone_into(&mut self.current.step);
        }
        self.note(Note::Step { name: name.to_owned(), at: Moment::now() });
    }

    pub fn signal(&mut self, signal: TurnSignal) {
        match signal {
            TurnSignal::Endpoint { speech_end, decided, witness, reasons } => {
                self.next.ledger.speech_end = Some(speech_end);
                self.next.ledger.endpoint = Some(decided);
                self.next.decision = Some(Decision { witness, reasons });
            }
            TurnSignal::TooLong { at } => {
                self.next.ledger.speech_end = Some(at);
                self.next.ledger.endpoint = Some(at);
            }
            TurnSignal::Restore { why, .. } if why != Calm::PlayOver => self.current.false_ducks += 1,
            TurnSignal::BargeIn { onset, ducked, decided, by } => {
                // By key it is told after the answer: it is of the turn in which the bot spoke.
                let turn = self.closing.as_mut().filter(|turn| !turn.is_over()).unwrap_or(&mut self.current);
                turn.interruption.get_or_insert(Interruption { onset, ducked, decided, stopped: None, by });
            }
            _ => {}
        }
        self.note(Note::Signal(signal));
    }

    pub fn key(&mut self, key: char, at: Moment) {
        self.next.ledger = Ledger { speech_end: Some(at), ..Ledger::default() };
        self.next.decision = None;
        self.note(Note::Key { key, at });
        self.progress(|progress| progress.keys.push(key));
    }

    pub fn r#final(&mut self, at: Moment) {
        self.next.ledger.r#final = Some(at);
    }

    /// A reply is being prepared for what the caller may have said.
    pub fn prepared(&mut self) {
        self.next.speculation.prepared += 1;
    }

    /// What was prepared is thrown away.
    pub fn wasted(&mut self) {
        // Before the answer it is of the turn to come, after it of the one that has begun.
        let next = &mut self.next.speculation;
        let of = if next.prepared > next.wasted { next } else { &mut self.current.speculation };
        of.wasted += 1;
    }

    /// What was prepared from `began` on, and was `ready` then, is what is said.
    pub fn committed(&mut self, began: Moment, ready: Option<Moment>) {
        let wanted = self.current.ledger.reply.unwrap_or(began);
        self.current.speculation.saved = Some(ready.map_or(wanted, |ready| ready.min(wanted)).since(began));
    }

    /// The bot goes on from a sentence that was cut for nothing: the turn goes on, and what was measured was no answer.
    pub fn resumed(&mut self) {
        self.current.resumed += 1;
        let speculation = self.next.speculation;
        self.next = Next { speculation, ..Next::default() };
        self.note(Note::Resumed { at: Moment::now() });
    }

    /// The caller has answered: the turn is over and the next begins with his answer.
    pub fn heard(&mut self, heard: &Heard) {
        let input = Input::from(heard);
        self.note(Note::Heard { input: input.clone(), at: Moment::now() });
        let Next { ledger, decision, speculation } = std::mem::take(&mut self.next);
        let next =
            Turn { input: Some(input), ledger, decision, speculation, ..Turn::new(self.current.index + 1) };
        self.report_closing();
        self.closing = Some(std::mem::replace(&mut self.current, next));
        self.report_if_over();
    }

    /// The bot knows what to do next.
    pub fn reply_chosen(&mut self, at: Moment) {
        self.current.ledger.reply.get_or_insert(at);
    }

    pub fn play_began(&mut self, spoken: Spoken) {
        self.note(Note::Saying { text: spoken.text.clone(), play: spoken.play, at: Moment::now() });
        if self.snapshot.is_some() {
            self.first.get_or_insert(spoken.play);
        }
        self.current.spoken.push(spoken);
    }

    pub fn play_made(&mut self, play: PlayId, total: Duration, first_audio: Option<Moment>) {
        if let Some(spoken) = self.find(play) {
            spoken.total = Some(total);
        }
        if self.current.spoken.first().is_some_and(|first| first.play == play) {
            self.current.ledger.first_audio = first_audio;
        }
    }

    /// How long a play is, as far as that is known before all of it was made.
    pub fn play_length(&mut self, play: PlayId, total: Option<Duration>) {
        if let Some(spoken) = self.find(play) {
            spoken.total = total;
        }
    }

    pub fn play_started(&mut self, play: PlayId, at: Moment) {
        if self.current.spoken.first().is_some_and(|first| first.play == play) {
            self.current.ledger.first_frame = Some(at);
        }
        self.note(Note::Started { play, at });
        if self.first == Some(play) {
            let ago = Moment::now().since(at).as_millis();
            let began = WallTime(WallTime::now().0 - i64::try_from(ago).unwrap_or_default());
            self.progress(|progress| progress.began = Some(began));
        }
    }

    pub fn play_ended(
        &mut self,
        play: PlayId,
        at: Moment,
        heard: Duration,
        end: PlayEnd,
        words: Option<String>,
    ) {
        if let Some(spoken) = self.find(play) {
            (spoken.heard, spoken.end) = (heard, Some(end));
            spoken.words.clone_from(&words);
        }
        if end == PlayEnd::BargedIn {
            let closing = self.closing.as_mut().and_then(|turn| turn.interruption.as_mut());
            for interruption in closing.into_iter().chain(self.current.interruption.as_mut()) {
                interruption.stopped.get_or_insert(at);
            }
        }
        self.note(Note::Played { play, heard, end, words, at });
        if self.first == Some(play) {
            self.progress(|progress| (progress.heard, progress.said) = (Some(heard), true));
        }
        self.report_if_over();
    }

    /// The call is over: what is open is reported as it stands.
    pub fn close(&mut self) {
        self.report_closing();
        if self.current.input.is_some() || !self.current.spoken.is_empty() {
            self.note(Note::Turn(Box::new(self.current.clone())));
        }
    }

    fn find(&mut self, play: PlayId) -> Option<&mut Spoken> {
        let closing = self.closing.iter_mut().flat_map(|turn| &mut turn.spoken);
        self.current.spoken.iter_mut().chain(closing).find(|spoken| spoken.play == play)
    }

    fn report_if_over(&mut self) {
        if self.closing.as_ref().is_some_and(Turn::is_over) {
            self.report_closing();
        }
    }

    fn report_closing(&mut self) {
        if let Some(turn) = self.closing.take() {
            self.note(Note::Turn(Box::new(turn)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::time::WallTime;

    #[derive(Default)]
    struct Kept(Mutex<Vec<Note>>);

    impl Journal for Kept {
        fn note(&self, _: CallId, note: Note) {
            self.0.lock().expect("no test panics in here").push(note);
        }
    }

    impl Kept {
        fn turns(&self) -> Vec<Turn> {
            let notes = self.0.lock().expect("no test panics in here");
            notes
                .iter()
                .filter_map(|n| if let Note::Turn(t) = n { Some((**t).clone()) } else { None })
                .collect()
        }
    }

    fn book() -> (Arc<Kept>, TurnBook) {
        let kept = Arc::new(Kept::default());
        (Arc::clone(&kept), TurnBook::new(CallId::new(WallTime(1)), kept))
    }

    fn ms(millis: u64) -> Moment {
        Moment::from_millis(millis)
    }

    fn endpoint(speech_end: u64, decided: u64) -> TurnSignal {
        TurnSignal::Endpoint {
            speech_end: ms(speech_end),
            decided: ms(decided),
            witness: Witness::Silence,
            reasons: Reasons::default(),
        }
    }

    #[test]
    fn a_turn_holds_the_answer_the_reply_and_what_took_how_long() {
        let (kept, mut book) = book();
        book.reply_chosen(ms(1));
        book.play_began(Spoken::new(PlayId(1), "Hello.".into()));
        book.play_ended(PlayId(1), ms(900), Duration::from_millis(700), PlayEnd::Finished, None);
        book.signal(endpoint(1_000, 1_500));
        book.r#final(ms(1_510));
        book.heard(&Heard::Words { text: "sales".into(), meaning: "sales".into(), confidence: 0.9 });
        assert_eq!(kept.turns().len(), 1, "the greeting is complete");
        book.reply_chosen(ms(1_511));
        book.play_began(Spoken::new(PlayId(2), "One moment.".into()));
        book.play_started(PlayId(2), ms(1_540));
        book.play_made(PlayId(2), Duration::from_millis(900), Some(ms(1_525)));
        book.close();
        let turn = &kept.turns()[1];
        let stages = turn.ledger.stages().map(|(_, at)| turn.ledger.millis(at));
        assert_eq!(stages, [500.0, 510.0, 511.0, 525.0, 540.0].map(Some));
        assert_eq!(turn.spoken[0].total, Some(Duration::from_millis(900)));
    }

    #[test]
    fn a_turn_waits_for_the_end_of_what_was_cut_in_it() {
        let (kept, mut book) = book();
        book.play_began(Spoken::new(PlayId(1), "A long greeting.".into()));
        book.key('1', ms(400));
        book.heard(&Heard::Keys("1".into()));
        assert_eq!(kept.turns(), []);
        book.signal(TurnSignal::BargeIn { onset: ms(400), ducked: None, decided: ms(410), by: By::Key });
        book.play_ended(
            PlayId(1),
            ms(430),
            Duration::from_millis(420),
            PlayEnd::BargedIn,
            Some("A long".into()),
        );
        let turn = &kept.turns()[0];
        assert_eq!(turn.spoken[0].heard, Duration::from_millis(420));
        assert_eq!(turn.spoken[0].end, Some(PlayEnd::BargedIn));
        assert!(turn.interruption.is_some_and(|it| it.by_key() && it.stopped == Some(ms(430))));
        assert_eq!(turn.spoken[0].words.as_deref(), Some("A long"));
        book.close();
        assert_eq!(kept.turns()[1].interruption, None, "nobody interrupted the turn that he began");
    }

    #[test]
    fn a_reply_by_key_counts_from_the_key() {
        let (kept, mut book) = book();
        book.signal(endpoint(10, 20));
        book.key('2', ms(1_000));
        book.heard(&Heard::Keys("2".into()));
        book.reply_chosen(ms(1_001));
        book.close();
        let ledger = kept.turns()[1].ledger;
        assert_eq!(ledger.endpoint, None);
        assert_eq!(ledger.millis(ledger.reply), Some(1.0));
    }
}
