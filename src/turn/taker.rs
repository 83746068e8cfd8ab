//! The turn taker of one call.

use std::time::Duration;

use super::{BargeIn, By, Listening, Reasons, TurnSignal, Vad, Witness, Words};
use crate::audio::Frame;
use crate::time::Moment;

/// A gap of this length between voiced frames does not end a burst of speech: a stop consonant is that long.
const DIP: Duration = Duration::from_millis(60);

/// Decides, frame by frame, what the caller's sound means for the conversation. See the [room](super).
///
/// While something is played that a voice may not interrupt, the caller is not listened to. While something is
/// played that it may interrupt, an onset and the barge-in are one event, after [`BargeIn::min_speech`].
pub struct TurnTaker {
    vad: Box<dyn Vad>,
    burst: Option<Burst>,
    ear: Ear,
    play: Option<Play>,
    /// When the bot fell silent, or began to listen in silence: where the no-input clock starts.
    quiet_since: Moment,
}

/// Voiced frames in a row, with dips.
#[derive(Clone, Copy)]
struct Burst {
    began: Moment,
    ended: Moment,
    voiced: Duration,
}

enum Ear {
    Deaf,
    /// Listens, and nothing was said yet.
    Waiting(Listening),
    /// In an utterance.
    Hearing {
        how: Listening,
        onset: Moment,
        speech_end: Moment,
        paused: bool,
    },
}

#[derive(Clone, Copy)]
struct Play {
    how: BargeIn,
    began: Moment,
    interrupted: bool,
}

impl Play {
    fn open_to(&self, now: Moment, by_key: bool) -> bool {
        let allowed = if by_key { self.how.keys } else { self.how.voice };
        allowed && !self.interrupted && now.since(self.began) >= self.how.protect
    }
}

impl TurnTaker {
    /// A taker that listens to nothing yet.
    #[must_use]
    pub fn new(vad: Box<dyn Vad>) -> Self {
        Self { vad, burst: None, ear: Ear::Deaf, play: None, quiet_since: Moment::ZERO }
    }

    /// Begins to listen for one utterance; an utterance under way is forgotten.
    pub fn listen(&mut self, now: Moment, how: Listening) {
        self.ear = Ear::Waiting(how);
        self.quiet_since = now;
    }

    /// Stops listening.
    pub fn deaf(&mut self) {
        self.ear = Ear::Deaf;
    }

    /// The bot began to play something (`Some`) or fell silent (`None`).
    pub fn playing(&mut self, now: Moment, how: Option<BargeIn>) {
        self.play = how.map(|how| Play { how, began: now, interrupted: false });
        self.quiet_since = now;
    }

    /// The caller pressed a key: may interrupt, and shows that somebody is there.
    pub fn key(&mut self, now: Moment, out: &mut dyn FnMut(TurnSignal)) {
        self.quiet_since = now;
        self.interrupt(now, now, true, out);
    }

    /// What the recogniser believes now of the utterance under way.
    #[expect(clippy::unused_self, reason = "the witness is not heard yet")]
    pub fn words(&mut self, _now: Moment, _words: Words, _out: &mut dyn FnMut(TurnSignal)) {}

    /// What was sent to the caller, 20 ms at 8 kHz as they left, `now` being their end; to be called every tick,
    /// before [`tick`](Self::tick). It is what an echo is known by.
    #[expect(clippy::unused_self, reason = "the echo gate is not there yet")]
    pub fn sent(&mut self, _now: Moment, _frame: &Frame) {}

    /// A frame of the caller's audio, heard at `now` (its end); [`None`] for one that was lost.
    pub fn frame(&mut self, now: Moment, frame: Option<&Frame>, out: &mut dyn FnMut(TurnSignal)) {
        let Some(frame) = frame else { return };
        if self.vad.is_speech(frame) {
            self.voiced(now, frame.duration(), out);
        } else if self.burst.is_some_and(|b| now.since(b.ended) > DIP) {
            self.burst = None;
        }
    }

    /// Time passed; to be called every 20 ms or so, also when no audio comes.
    pub fn tick(&mut self, now: Moment, out: &mut dyn FnMut(TurnSignal)) {
        match &mut self.ear {
            Ear::Deaf => {}
            Ear::Waiting(how) => {
                if self.play.is_none() && now.since(self.quiet_since) >= how.no_input {
                    self.ear = Ear::Deaf;
                    out(TurnSignal::NoInput { at: now });
                }
            }
            Ear::Hearing { how, onset, speech_end, paused } => {
                let (silence, speech_end) = (now.since(*speech_end), *speech_end);
                if silence >= how.silence {
                    self.ear = Ear::Deaf;
                    out(TurnSignal::Endpoint {
                        speech_end,
                        decided: now,
                        witness: Witness::Silence,
                        reasons: Reasons::default(),
                    });
                } else if now.since(*onset) >= how.max_speech {
                    self.ear = Ear::Deaf;
                    out(TurnSignal::TooLong { at: now });
                } else if silence >= how.early && !*paused {
                    *paused = true;
                    out(TurnSignal::Pause { speech_end });
                }
            }
        }
    }

    fn voiced(&mut self, now: Moment, length: Duration, out: &mut dyn FnMut(TurnSignal)) {
        let burst =
            self.burst.get_or_insert(Burst { began: now - length, ended: now, voiced: Duration::ZERO });
        burst.ended = now;
        burst.voiced += length;
        let burst = *burst;
        if let Ear::Hearing { speech_end, paused, .. } = &mut self.ear {
            *speech_end = now;
            if std::mem::take(paused) {
                out(TurnSignal::Resumed { at: now });
            }
        }
        match self.play.filter(|play| !play.interrupted) {
            Some(play) if burst.voiced >= play.how.min_speech => {
                // The onset goes first, so that the ear has the utterance before the bot's silence is heard in it.
                if play.open_to(now, false) {
                    self.begin(burst, out);
                    self.interrupt(burst.began, now, false, out);
                }
            }
            Some(_) => {}
            None => self.begin(burst, out),
        }
    }

    /// Makes the burst an utterance if one is awaited and it is long enough.
    fn begin(&mut self, burst: Burst, out: &mut dyn FnMut(TurnSignal)) {
        if let Ear::Waiting(how) = self.ear
            && burst.voiced >= how.min_speech
        {
            self.ear = Ear::Hearing { how, onset: burst.began, speech_end: burst.ended, paused: false };
            out(TurnSignal::Onset { at: burst.began });
        }
    }

    fn interrupt(&mut self, onset: Moment, now: Moment, by_key: bool, out: &mut dyn FnMut(TurnSignal)) {
        if let Some(play) = &mut self.play
            && play.open_to(now, by_key)
        {
            play.interrupted = true;
            let by = if by_key { By::Key } else { By::Duration };
            out(TurnSignal::BargeIn { onset, ducked: None, decided: now, by });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::Rate;

    /// Takes a frame for speech when its first sample says so.
    struct Scripted;

    impl Vad for Scripted {
        fn is_speech(&mut self, frame: &Frame) -> bool {
            frame.samples[0] != 0
        }
    }

    /// A line in virtual time: 20 ms a step.
    struct Line {
        taker: TurnTaker,
        now: Moment,
        heard: Vec<TurnSignal>,
    }

    impl Line {
        fn new() -> Self {
            Self {
                taker: TurnTaker::new(Box::new(Scripted)),
                now: Moment::from_millis(1_000),
                heard: Vec::new(),
            }
        }

        fn listening(how: Listening) -> Self {
            let mut line = Self::new();
            line.taker.listen(line.now, how);
            line
        }

        fn pass(&mut self, millis: u64, speech: bool) -> Vec<TurnSignal> {
            for _ in 0..millis / 20 {
                self.now = self.now + Duration::from_millis(20);
                let mut frame = Frame::silence(Rate::Hz8000);
                frame.samples[0] = i16::from(speech);
                let heard = &mut self.heard;
                self.taker.frame(self.now, Some(&frame), &mut |signal| heard.push(signal));
                self.taker.tick(self.now, &mut |signal| heard.push(signal));
            }
            std::mem::take(&mut self.heard)
        }

        fn speech(&mut self, millis: u64) -> Vec<TurnSignal> {
            self.pass(millis, true)
        }

        fn silence(&mut self, millis: u64) -> Vec<TurnSignal> {
            self.pass(millis, false)
        }

        fn key(&mut self) -> Vec<TurnSignal> {
            let heard = &mut self.heard;
            self.taker.key(self.now, &mut |signal| heard.push(signal));
            std::mem::take(heard)
        }
    }

    fn at(millis: u64) -> Moment {
        Moment::from_millis(millis)
    }

    fn endpoint(speech_end: Moment, decided: Moment) -> TurnSignal {
        TurnSignal::Endpoint { speech_end, decided, witness: Witness::Silence, reasons: Reasons::default() }
    }

    fn barge_in(onset: Moment, decided: Moment, by: By) -> TurnSignal {
        TurnSignal::BargeIn { onset, ducked: None, decided, by }
    }

    #[test]
    fn an_utterance_has_an_onset_a_pause_and_an_endpoint() {
        let mut line = Line::listening(Listening::BALANCED);
        assert_eq!(line.silence(200), []);
        assert_eq!(line.speech(600), [TurnSignal::Onset { at: at(1_200) }]);
        assert_eq!(line.silence(480), [TurnSignal::Pause { speech_end: at(1_800) }]);
        assert_eq!(line.silence(20), [endpoint(at(1_800), at(2_300))]);
        assert_eq!(line.speech(600), [], "deaf after the endpoint");
    }

    #[test]
    fn a_pause_inside_an_utterance_is_taken_back() {
        let mut line = Line::listening(Listening::BALANCED);
        line.speech(300);
        assert_eq!(line.silence(300), [TurnSignal::Pause { speech_end: at(1_300) }]);
        assert_eq!(line.speech(100), [TurnSignal::Resumed { at: at(1_620) }]);
        assert_eq!(
            line.silence(500),
            [TurnSignal::Pause { speech_end: at(1_700) }, endpoint(at(1_700), at(2_200))]
        );
    }

    #[test]
    fn a_click_is_no_utterance() {
        let mut line = Line::listening(Listening::BALANCED);
        assert_eq!(line.speech(40), []);
        assert_eq!(line.silence(300), []);
        assert_eq!(line.speech(40), [], "two clicks apart do not add up");
    }

    #[test]
    fn no_input_is_counted_from_the_end_of_the_prompt() {
        let mut line = Line::listening(Listening::BALANCED);
        line.taker.playing(line.now, Some(BargeIn::ALLOWED));
        assert_eq!(line.silence(20_000), []);
        line.taker.playing(line.now, None);
        assert_eq!(line.silence(4_980), []);
        assert_eq!(line.silence(20), [TurnSignal::NoInput { at: at(26_000) }]);
        assert_eq!(line.silence(9_000), [], "said once");
    }

    #[test]
    fn a_key_starts_the_no_input_clock_again() {
        let mut line = Line::listening(Listening::BALANCED);
        line.silence(4_000);
        assert_eq!(line.key(), [], "nothing to interrupt");
        assert_eq!(line.silence(4_000), []);
        assert_eq!(line.silence(1_000), [TurnSignal::NoInput { at: at(10_000) }]);
    }

    #[test]
    fn a_voice_interrupts_and_is_the_utterance() {
        let mut line = Line::listening(Listening::BALANCED);
        line.taker.playing(line.now, Some(BargeIn::ALLOWED));
        line.silence(1_000);
        assert_eq!(line.speech(100), []);
        assert_eq!(
            line.speech(20),
            [TurnSignal::Onset { at: at(2_000) }, barge_in(at(2_000), at(2_120), By::Duration)]
        );
        assert_eq!(line.speech(1_000), [], "interrupted once");
    }

    #[test]
    fn a_cough_does_not_interrupt() {
        let mut line = Line::listening(Listening::BALANCED);
        line.taker.playing(line.now, Some(BargeIn::ALLOWED));
        assert_eq!(line.speech(100), []);
        assert_eq!(line.silence(2_000), []);
    }

    #[test]
    fn protected_words_are_heard_and_a_voice_that_goes_on_interrupts_after_them() {
        let mut line = Line::listening(Listening::BALANCED);
        let protect = Duration::from_millis(800);
        line.taker.playing(line.now, Some(BargeIn { protect, ..BargeIn::ALLOWED }));
        line.silence(400);
        assert_eq!(line.speech(380), []);
        assert_eq!(line.key(), [], "a key is held back too");
        assert_eq!(
            line.speech(20),
            [TurnSignal::Onset { at: at(1_400) }, barge_in(at(1_400), at(1_800), By::Duration)]
        );
    }

    #[test]
    fn what_must_be_heard_is_not_interrupted_and_not_listened_over() {
        let mut line = Line::listening(Listening::BALANCED);
        line.taker.playing(line.now, Some(BargeIn::FORBIDDEN));
        assert_eq!(line.speech(1_000), []);
        assert_eq!(line.key(), []);
        line.taker.playing(line.now, None);
        assert_eq!(line.speech(20), [TurnSignal::Onset { at: at(1_000) }], "heard once the bot is silent");
    }

    #[test]
    fn a_key_interrupts_at_once() {
        let mut line = Line::listening(Listening::BALANCED);
        line.taker.playing(line.now, Some(BargeIn::ALLOWED));
        line.silence(100);
        assert_eq!(line.key(), [barge_in(at(1_100), at(1_100), By::Key)]);
        assert_eq!(line.key(), [], "the second key finds the bot silent");
    }

    #[test]
    fn an_endless_utterance_is_ended() {
        let mut line = Line::listening(Listening::BALANCED);
        line.speech(14_980);
        assert_eq!(line.speech(20), [TurnSignal::TooLong { at: at(16_000) }]);
    }

    #[test]
    fn lost_frames_and_gaps_end_an_utterance_by_time() {
        let mut line = Line::listening(Listening::BALANCED);
        line.speech(200);
        let heard = &mut line.heard;
        line.taker.frame(line.now, None, &mut |signal| heard.push(signal));
        line.taker.tick(line.now + Duration::from_millis(700), &mut |signal| heard.push(signal));
        assert!(matches!(heard.as_slice(), [TurnSignal::Endpoint { .. }]));
    }
}
