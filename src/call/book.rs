//! The turns of a call out of what happens on it.

use std::sync::Arc;
use std::time::Duration;

use super::given::Transcript;
use super::journal::{Decision, Input, Interruption, Journal, Made, Note, Speculation, Spoken, Turn};
use super::snapshot::Progress;
use super::{Heard, Snapshot};
use crate::audio::ring::PlayId;
use crate::id::CallId;
use crate::media::PlayEnd;
use crate::time::{Moment, WallTime};
use crate::turn::ledger::Ledger;
use crate::turn::{Calm, TurnSignal};

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
    /// What others know of the words of the turn under way.
    transcript: Option<Transcript>,
    /// Nothing that is said or keyed now is written down.
    private: bool,
}

/// What stands in the records for what was private.
const PRIVATE: &str = "[private]";

/// What is known of a turn before it begins.
#[derive(Default)]
struct Next {
    ledger: Ledger,
    decision: Option<Decision>,
    speculation: Speculation,
    recognizer: Option<&'static str>,
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
            private: false,
            transcript: None,
        }
    }

    /// Puts somebody between the book and its journal.
    pub fn tee(&mut self, tee: impl FnOnce(Arc<dyn Journal>) -> Arc<dyn Journal>) {
        self.journal = tee(Arc::clone(&self.journal));
    }

    /// Where others write what they know of the words.
    pub fn transcript(&mut self) -> Transcript {
        self.transcript.get_or_insert_default().clone()
    }

    fn fill_in(&mut self) {
        if let Some(transcript) = &self.transcript {
            match self.private {
                true => transcript.forget(),
                false => transcript.fill(&mut self.current),
            }
        }
    }

    /// From now on what is said and keyed is written down, or not.
    pub fn keep_private(&mut self, private: bool) {
        self.private = private;
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

    /// The caller talks with the person of a destination, or with the bot again.
    pub fn with(&mut self, destination: Option<&str>) {
        let Some(snapshot) = &mut self.snapshot else { return };
        if snapshot.with.as_deref() != destination {
            snapshot.with = destination.map(str::to_owned);
            self.progress(|_| {});
        }
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
        match note {
            Note::Partial { .. } | Note::Key { .. } if self.private => {}
            Note::Result { name, .. } if self.private => {
                self.journal.note(self.call, Note::Result { name, value: None });
            }
            note => self.journal.note(self.call, note),
        }
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

    /// Which recogniser the final that follows is of.
    pub fn heard_by(&mut self, name: &'static str) {
        self.next.recognizer = Some(name);
    }

    /// Which synthesiser made what is said first in the turn, and how long it took to its first audio.
    pub fn made_by(&mut self, play: PlayId, made: Made) {
        if self.current.spoken.first().is_some_and(|first| first.play == play) {
            self.current.made.get_or_insert(made);
        }
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
        let input = match Input::from(heard) {
            Input::Words { confidence, .. } if self.private => {
                Input::Words { text: PRIVATE.into(), meaning: PRIVATE.into(), confidence }
            }
            Input::Keys(_) if self.private => Input::Keys(PRIVATE.into()),
            input => input,
        };
        self.note(Note::Heard { input: input.clone(), at: Moment::now() });
        self.fill_in();
        let Next { ledger, decision, speculation, recognizer } = std::mem::take(&mut self.next);
        let next = Turn {
            input: Some(input),
            ledger,
            decision,
            speculation,
            recognizer,
            ..Turn::new(self.current.index + 1)
        };
        self.report_closing();
        self.closing = Some(std::mem::replace(&mut self.current, next));
        self.report_if_over();
    }

    /// The bot knows what to do next.
    pub fn reply_chosen(&mut self, at: Moment) {
        self.current.ledger.reply.get_or_insert(at);
    }

    pub fn play_began(&mut self, mut spoken: Spoken) {
        if self.private {
            PRIVATE.clone_into(&mut spoken.text);
        }
        if !spoken.text.is_empty() {
            self.note(Note::Saying { text: spoken.text.clone(), play: spoken.play, at: Moment::now() });
        }
        if self.snapshot.is_some() {
            self.first.get_or_insert(spoken.play);
        }
        self.current.spoken.push(spoken);
    }

    pub fn play_made(&mut self, play: PlayId, total: Duration, first_audio: Option<Moment>) {
        if let Some(spoken) = self.find(play) {
            spoken.total = Some(total);
        }
        if self.current.spoken.first().is_some_and(|first| first.play == play) && first_audio.is_some() {
            self.current.ledger.first_audio = first_audio;
        }
    }

    /// A clause more of what is said.
    pub fn play_grew(&mut self, play: PlayId, clause: &str) {
        if self.private {
            return;
        }
        if let Some(spoken) = self.find(play) {
            if !spoken.text.is_empty() {
                spoken.text.push(' ');
            }
            spoken.text.push_str(clause);
        }
        self.note(Note::Saying { text: clause.to_owned(), play, at: Moment::now() });
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
        let mut words = words;
        if let Some(spoken) = self.find(play) {
            (spoken.heard, spoken.end) = (heard, Some(end));
            // Private when it began: it stays so when the bot has gone on.
            words = words.filter(|_| spoken.text != PRIVATE);
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
        self.fill_in();
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
    use crate::turn::{By, Reasons, Witness};

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

    #[test]
    fn what_is_private_is_in_no_note() {
        let (kept, mut book) = book();
        book.keep_private(true);
        book.play_began(Spoken::new(PlayId(1), "your code is 4711".into()));
        book.note(Note::Partial { text: "my code is".into() });
        book.key('4', ms(10));
        book.heard(&Heard::Keys("4711".into()));
        book.keep_private(false);
        book.play_ended(
            PlayId(1),
            ms(20),
            Duration::ZERO,
            PlayEnd::Finished,
            Some("your code is 4711".into()),
        );
        book.play_began(Spoken::new(PlayId(2), "Thank you.".into()));
        book.play_ended(PlayId(2), ms(30), Duration::ZERO, PlayEnd::Finished, Some("Thank you.".into()));
        book.close();
        let told = format!("{:?}", kept.0.lock().expect("no test panics in here"));
        assert!(!told.contains("4711") && !told.contains("my code") && !told.contains("'4'"), "{told}");
        assert_eq!(kept.turns()[1].spoken[0].words.as_deref(), Some("Thank you."));
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
