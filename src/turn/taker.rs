//! The turn taker of one call.

use std::time::Duration;

use super::contour::{Close, Contour};
use super::echo::{EchoGate, Path};
use super::endpoint::Case;
use super::evidence::{By, Calm, Completeness, Question, Words};
use super::habits::Habits;
use super::loudness::Loudness;
use super::settings::PackedListening;
use super::tones::Tones;
use super::trial::{Burst, Play, Trial, Verdict};
use super::vad::Effort;
use super::{BargeIn, Listening, TurnSignal, Vad};
use crate::audio::Frame;
use crate::prefetch::{Reach, prefetch};
use crate::time::Moment;

/// A gap of this length between voiced frames does not end a burst of speech: a stop consonant is that long.
const DIP: Duration = Duration::from_millis(60);

/// Words tell about a silence if they were recognised up to its beginning, or nearly.
const NEARLY: Duration = Duration::from_millis(60);

/// Where the voice lies so far above the noise, in dB, no noise passes for speech.
const QUIET_LINE: f32 = 25.0;

/// No silence that is shorter is judged.
const SHORTEST_SILENCE: Duration = Duration::from_millis(80);

/// Behind a pause the recogniser is asked again after so much silence: with what follows a word it is surer where the word
/// ended, and whether there was one.
const ASKED_AGAIN: [Duration; 2] = [Duration::from_millis(240), Duration::from_millis(500)];

/// Where noise passes for speech it is asked at most so often.
const ASKED_IN_NOISE: Duration = Duration::from_millis(600);

/// A caller who goes on so soon after the end of his last words was cut off by the endpoint between.
const CUT_OFF: Duration = Duration::from_millis(1_500);

/// Decides, frame by frame, what the caller's sound means for the conversation. See the [room](super).
///
/// While something is played that a voice may not interrupt, the caller is not listened to. While something is
/// played that it may interrupt, an utterance is on trial: it is told by [`TurnSignal::Onset`] and goes to whoever
/// recognises, and it ends in [`TurnSignal::BargeIn`] or is taken back by [`TurnSignal::Restore`].
pub struct TurnTaker {
    vad: Box<dyn Vad>,
    tones: Tones,
    loudness: Loudness,
    contour: Contour,
    habits: Habits,
    echo: EchoGate,
    burst: Option<Burst>,
    ear: Ear,
    play: Option<Play>,
    hypothesis: Hypothesis,
    /// When the bot fell silent, or began to listen in silence: where the no-input clock starts.
    quiet_since: Moment,
    /// The end of the last utterance, until it is known whether its caller was cut off.
    last_end: Option<Moment>,
    /// A play ended while the bot's voice was down.
    play_over: bool,
}

enum Ear {
    Deaf,
    /// Listens, and nothing was said yet.
    Waiting(PackedListening),
    /// In an utterance.
    Hearing(PackedListening, Utterance),
}

#[derive(Clone, Copy)]
struct Utterance {
    onset: Moment,
    speech_end: Moment,
    /// When he went on after his last pause, and how often he did.
    resumed: Moment,
    pauses: u8,
    /// What he had said until his last pause, without the pauses, in milliseconds.
    spoken_ms: u16,
    /// How long all his pauses were.
    pauses_ms: u16,
    paused: bool,
    /// How often the recogniser was asked in this pause.
    asked: u8,
    /// How far into the utterance it was last asked while the sound went on, in milliseconds.
    asked_in_noise_ms: u16,
    close: Close,
    /// It began over something that is played, and whether it interrupts is not decided.
    on_trial: bool,
}

/// What was recognised of the utterance under way.
#[derive(Clone, Copy, Default)]
struct Hypothesis {
    words: Option<Words>,
    /// Since when they are the same.
    since: Moment,
    /// They have changed since the caller fell silent.
    changed: bool,
}

impl TurnTaker {
    /// A taker that listens to nothing yet.
    #[must_use]
    pub fn new(vad: Box<dyn Vad>) -> Self {
        Self {
            vad,
            tones: Tones::default(),
            loudness: Loudness::default(),
            contour: Contour::default(),
            habits: Habits::default(),
            echo: EchoGate::default(),
            burst: None,
            ear: Ear::Deaf,
            play: None,
            hypothesis: Hypothesis::default(),
            quiet_since: Moment::ZERO,
            last_end: None,
            play_over: false,
        }
    }

    /// Asks for the memory that the next frame needs.
    pub(crate) fn prefetch_frame(&self, reached: Reach) {
        match reached {
            // All of it: of a caller who speaks while the bot does nothing is left out.
            Reach::Near => prefetch(self),
            Reach::Far => prefetch(&*self.vad),
        }
    }

    /// Asks for the memory that the next tick needs.
    pub(crate) fn prefetch_tick(&self) {
        prefetch(&self.echo);
        prefetch(&self.ear);
        prefetch(&self.play);
        prefetch(&self.hypothesis);
        prefetch(&self.burst);
    }

    /// Begins to listen for one utterance; an utterance under way is forgotten.
    pub fn listen(&mut self, now: Moment, how: Listening) {
        self.learn_number();
        self.ear = Ear::Waiting(how.into());
        self.hypothesis = Hypothesis::default();
        self.quiet_since = now;
    }

    /// Stops listening.
    pub fn deaf(&mut self) {
        self.learn_number();
        self.ear = Ear::Deaf;
    }

    /// The bot began to play something (`Some`) or fell silent (`None`). Either way its voice is at its full level.
    pub fn playing(&mut self, now: Moment, how: Option<BargeIn>) {
        self.play_over |= self.play.as_ref().is_some_and(Play::is_down);
        self.play = how.map(|how| Play::new(how, now));
        if let Ear::Hearing(_, utterance) = &mut self.ear {
            // What is being said when the bot falls silent is an utterance; when something else begins it interrupts that, or
            // does not.
            utterance.on_trial = how.is_some_and(|how| how.voice);
        }
        self.quiet_since = now;
    }

    /// The caller pressed a key: may interrupt, and shows that somebody is there.
    pub fn key(&mut self, now: Moment, out: &mut dyn FnMut(TurnSignal)) {
        self.quiet_since = now;
        if self.play.as_ref().is_some_and(|play| play.open_to(now, By::Key)) {
            self.interrupt(now, now, By::Key, out);
        }
    }

    /// What the recogniser believes now of the utterance under way. May decide at once. Words about an earlier utterance
    /// are ignored.
    pub fn words(&mut self, now: Moment, words: Words, out: &mut dyn FnMut(TurnSignal)) {
        let Ear::Hearing(_, utterance) = self.ear else { return };
        let known = self.hypothesis.words;
        if words.at < utterance.onset || known.is_some_and(|known| words.at < known.at) {
            return;
        }
        let changed = known.is_none_or(|known| known.text != words.text);
        if changed {
            self.hypothesis.since = words.at;
            self.hypothesis.changed = known.is_some_and(|known| known.at >= utterance.speech_end);
        }
        self.hypothesis.words = Some(words);
        if utterance.on_trial {
            let burst = self.burst.as_mut();
            let confirmed = self
                .play
                .as_mut()
                .is_some_and(|play| play.said(&words, burst) && play.open_to(now, By::Words));
            if confirmed {
                self.interrupt(utterance.onset, now, By::Words, out);
            }
            self.try_again(now, out);
        }
        self.judge(now, out);
    }

    /// What was sent to the caller, 20 ms at 8 kHz as they left, `now` being their end; to be called every tick,
    /// before [`tick`](Self::tick). It is what an echo is known by.
    pub fn sent(&mut self, _now: Moment, frame: &Frame) {
        self.echo.sent(frame);
    }

    /// A frame of the caller's audio, heard at `now` (its end); [`None`] for one that was lost.
    pub fn frame(&mut self, now: Moment, frame: Option<&Frame>, out: &mut dyn FnMut(TurnSignal)) {
        let Some(frame) = frame else {
            self.echo.missed();
            return;
        };
        let level = self.loudness.hear(frame);
        let echo = self.echo.heard(frame);
        let mut speech = self.vad.is_speech(frame);
        if speech {
            if self.tones.is_tone(frame) {
                self.forget_tone();
                speech = false;
            }
        } else {
            self.tones.pass();
        }
        if speech && !echo {
            self.voiced(now, frame, level, out);
        } else if let Some(burst) = self.burst {
            let patience = if self.play.as_ref().is_some_and(Play::is_down) { Trial::RELEASE } else { DIP };
            if now.since(burst.ended) > patience {
                self.burst = None;
            } else {
                self.contour.hear(frame, level);
            }
        }
    }

    /// Time passed; to be called every 20 ms or so, also when no audio comes.
    pub fn tick(&mut self, now: Moment, out: &mut dyn FnMut(TurnSignal)) {
        if std::mem::take(&mut self.play_over) {
            out(TurnSignal::Restore { at: now, why: Calm::PlayOver });
        }
        self.try_again(now, out);
        match &mut self.ear {
            Ear::Deaf => {}
            Ear::Waiting(how) => {
                let how = Listening::from(*how);
                if self.play.is_none() && now.since(self.quiet_since) >= how.no_input {
                    self.ear = Ear::Deaf;
                    out(TurnSignal::NoInput { at: now });
                }
            }
            Ear::Hearing(how, utterance) => {
                let how = Listening::from(*how);
                let too_long = !utterance.on_trial && now.since(utterance.onset) >= how.max_speech;
                let silence = now.since(utterance.speech_end);
                if silence >= how.early && !utterance.paused {
                    utterance.paused = true;
                    utterance.asked = 0;
                    utterance.close = self.contour.close();
                    out(TurnSignal::Pause { speech_end: utterance.speech_end });
                } else if how.words
                    && utterance.paused
                    && ASKED_AGAIN.get(usize::from(utterance.asked)).is_some_and(|at| silence >= *at)
                {
                    utterance.asked += 1;
                    out(TurnSignal::Pause { speech_end: utterance.speech_end });
                } else if how.words && !utterance.on_trial && silence < SHORTEST_SILENCE {
                    // The words stay the same though the sound goes on: it may be noise.
                    let still = self.hypothesis.words.is_some()
                        && now.since(self.hypothesis.since) >= how.silence
                        && now.since(utterance.onset)
                            >= ASKED_IN_NOISE + Duration::from_millis(u64::from(utterance.asked_in_noise_ms));
                    if still {
                        utterance.asked_in_noise_ms = short_ms(now.since(utterance.onset));
                        out(TurnSignal::Pause { speech_end: now });
                    }
                }
                if !self.judge(now, out) && too_long {
                    self.end_utterance(None);
                    out(TurnSignal::TooLong { at: now });
                }
            }
        }
    }

    /// How much the detector of speech has heard, and of how much of it the network was asked.
    #[must_use]
    pub fn effort(&self) -> Effort {
        self.vad.effort()
    }

    /// What is known about the echo of this call.
    #[must_use]
    pub fn echo_path(&self) -> Path {
        self.echo.path()
    }

    fn voiced(&mut self, now: Moment, frame: &Frame, level: f32, out: &mut dyn FnMut(TurnSignal)) {
        let length = frame.duration();
        if self.burst.is_none() {
            self.contour.pause();
        }
        let pitched = self.contour.hear(frame, level).is_some();
        let burst = self.burst.get_or_insert_with(|| Burst::new(now - length));
        burst.add(now, length, pitched, pitched && self.loudness.is_clear());
        let burst = *burst;
        if let Ear::Hearing(_, utterance) = &mut self.ear {
            let pause = (now - length).since(utterance.speech_end);
            if utterance.paused {
                // Without his pauses.
                let stretch = short_ms(utterance.speech_end.since(utterance.resumed));
                utterance.spoken_ms = utterance.spoken_ms.saturating_add(stretch);
                utterance.pauses_ms = utterance.pauses_ms.saturating_add(short_ms(pause));
            }
            utterance.speech_end = now;
            utterance.close = Close::default();
            if std::mem::take(&mut utterance.paused) {
                utterance.resumed = now - length;
                utterance.pauses = utterance.pauses.saturating_add(1);
                if !utterance.on_trial {
                    self.habits.paused(pause);
                }
                out(TurnSignal::Resumed { at: now });
            }
        }
        match self.play.as_ref().filter(|play| !play.interrupted()) {
            Some(play) if play.open_to(now, By::Duration) => {
                self.try_voice(now, burst, out);
            }
            Some(_) => {}
            None => {
                self.learn_cut_off(&burst);
                self.begin(burst, false, out);
            }
        }
    }

    /// A voice over what is played that it may interrupt.
    fn try_voice(&mut self, now: Moment, burst: Burst, out: &mut dyn FnMut(TurnSignal)) {
        let Some(play) = &mut self.play else { return };
        if play.duck(now, &burst) {
            out(TurnSignal::Duck { onset: burst.began, at: now });
        }
        if play.hush(&burst) {
            out(TurnSignal::Hush { onset: burst.began, at: now });
        }
        // The onset goes first, so that the ear has the utterance before the bot's silence is heard in it.
        self.begin(burst, true, out);
        let words =
            matches!(self.ear, Ear::Hearing(how, _) | Ear::Waiting(how) if Listening::from(how).words);
        let alone = self.echo.is_caller_alone();
        if let Some(by) = self.play.as_ref().and_then(|play| play.confirmed(&burst, words, alone)) {
            self.interrupt(burst.began, now, by, out);
        }
    }

    /// Whether the sound on trial is over, and was nothing.
    fn try_again(&mut self, now: Moment, out: &mut dyn FnMut(TurnSignal)) {
        let Some(play) = &mut self.play else { return };
        let (how, utterance) = match &self.ear {
            Ear::Hearing(how, utterance) if utterance.on_trial => (Some(*how), Some(*utterance)),
            Ear::Waiting(how) => (Some(*how), None),
            _ => (None, None),
        };
        let told = self
            .hypothesis
            .words
            .filter(|words| utterance.is_some_and(|utterance| words.at + NEARLY >= utterance.speech_end));
        let expected = utterance.is_some() && how.is_some_and(|how| Listening::from(how).words);
        let since = utterance.map(|utterance| utterance.speech_end);
        match play.over(now, since, expected, told.as_ref()) {
            Verdict::Wait => {}
            Verdict::Nothing(why) => {
                let down = play.restore();
                self.burst = None;
                if let (Some(how), Some(_)) = (how, utterance) {
                    self.ear = Ear::Waiting(how);
                    self.hypothesis = Hypothesis::default();
                }
                if down || utterance.is_some() {
                    out(TurnSignal::Restore { at: now, why });
                }
            }
        }
    }

    /// Makes the burst an utterance if one is awaited and it is long enough.
    fn begin(&mut self, burst: Burst, on_trial: bool, out: &mut dyn FnMut(TurnSignal)) {
        if let Ear::Waiting(how) = self.ear
            && burst.voiced >= Listening::from(how).min_speech
        {
            let utterance = Utterance {
                onset: burst.began,
                speech_end: burst.ended,
                resumed: burst.began,
                pauses: 0,
                spoken_ms: 0,
                pauses_ms: 0,
                paused: false,
                asked: 0,
                asked_in_noise_ms: 0,
                close: Close::default(),
                on_trial,
            };
            self.ear = Ear::Hearing(how, utterance);
            self.hypothesis = Hypothesis::default();
            self.contour.begin();
            self.last_end = None;
            out(TurnSignal::Onset { at: burst.began });
        }
    }

    fn interrupt(&mut self, onset: Moment, now: Moment, by: By, out: &mut dyn FnMut(TurnSignal)) {
        if let Some(play) = &mut self.play {
            let ducked = play.interrupt();
            if let Ear::Hearing(_, utterance) = &mut self.ear {
                utterance.on_trial = false;
            }
            out(TurnSignal::BargeIn { onset, ducked, decided: now, by });
        }
    }

    /// Weighs the witnesses; whether the utterance is over.
    fn judge(&mut self, now: Moment, out: &mut dyn FnMut(TurnSignal)) -> bool {
        let Ear::Hearing(how, utterance) = &self.ear else { return false };
        let how = Listening::from(*how);
        if utterance.on_trial {
            return false;
        }
        let silence = now.since(utterance.speech_end);
        if silence < SHORTEST_SILENCE {
            return self.judge_in_noise(now, out);
        }
        let case = self.case(utterance);
        let (reasons, witness) = case.judge(&how, &self.habits);
        if silence < Duration::from_millis(u64::from(reasons.needed_ms)) {
            return false;
        }
        let speech_end = utterance.speech_end;
        self.end_utterance(Some(speech_end));
        out(TurnSignal::Endpoint { speech_end, decided: now, witness, reasons });
        true
    }

    /// What is known of the silence after an utterance.
    fn case(&self, utterance: &Utterance) -> Case {
        let words = self.hypothesis.words.filter(|words| words.at + NEARLY >= utterance.speech_end);
        let stretch_ms = short_ms(utterance.speech_end.since(utterance.resumed));
        #[expect(clippy::cast_possible_truncation, reason = "decibels")]
        Case {
            words,
            changed: self.hypothesis.changed && words.is_some(),
            close: utterance.close,
            spoken_ms: utterance.spoken_ms.saturating_add(stretch_ms),
            stretch_ms,
            clear_db: (self.loudness.voice() - self.loudness.noise()) as i8,
            pauses: utterance.pauses,
            pauses_ms: utterance.pauses_ms,
        }
    }

    /// How long the caller was silent within an utterance that may be over, and what is known of that silence: for whoever
    /// tunes how it is judged.
    pub(crate) fn silence(&self, now: Moment) -> Option<(Duration, Case, &Habits)> {
        let Ear::Hearing(_, utterance) = &self.ear else { return None };
        let silence = now.since(utterance.speech_end);
        (utterance.paused && !utterance.on_trial).then(|| (silence, self.case(utterance), &self.habits))
    }

    /// A sure answer to which nothing was added for as long as a silence would take is over, though there is still a noise
    /// that passes for speech. Not on a line without noise: what is heard there is the caller, whose next words come late.
    fn judge_in_noise(&mut self, now: Moment, out: &mut dyn FnMut(TurnSignal)) -> bool {
        let (Ear::Hearing(how, utterance), Some(words)) = (&self.ear, self.hypothesis.words) else {
            return false;
        };
        if self.loudness.voice() - self.loudness.noise() >= QUIET_LINE {
            return false;
        }
        // Nor does a pause of his count: he has gone on since.
        let since = self.hypothesis.since.max(utterance.resumed);
        let how = Listening::from(*how);
        let sure = words.confidence * 100.0 >= f32::from(how.sure_percent);
        let patience = match words.completeness {
            Completeness::Whole | Completeness::Settled => how.silence,
            Completeness::Complete => how.silence * 2,
            _ => return false,
        };
        // What was not judged at all says nothing: a grammar finds itself in noise too.
        if !sure || !words.settled || words.ends_open || words.at.since(since) < patience {
            return false;
        }
        let case = Case { words: Some(words), ..Case::default() };
        let (reasons, witness) = case.judge(&how, &self.habits);
        let speech_end = self.hypothesis.since;
        self.end_utterance(None);
        out(TurnSignal::Endpoint { speech_end, decided: now, witness, reasons });
        true
    }

    fn end_utterance(&mut self, speech_end: Option<Moment>) {
        self.learn_number();
        self.ear = Ear::Deaf;
        self.habits.utterance();
        self.last_end = speech_end;
    }

    /// An utterance ends; if it was a number of a known length, it tells how long its digits were.
    fn learn_number(&mut self) {
        let Ear::Hearing(how, utterance) = &self.ear else { return };
        if let Question::Digits { least, most } = Listening::from(*how).question
            && least == most
            && !utterance.on_trial
            && self.hypothesis.words.is_some_and(|words| words.completeness.answers())
        {
            let spoken_ms = self.case(utterance).spoken_ms;
            self.habits.number(most, spoken_ms);
        }
    }

    /// He goes on although it was decided that he is done, and the bot has said nothing yet.
    fn learn_cut_off(&mut self, burst: &Burst) {
        if let Some(end) = self.last_end
            && burst.voiced >= 2 * DIP
        {
            self.last_end = None;
            let pause = burst.began.since(end);
            if pause < CUT_OFF {
                self.habits.paused(pause);
            }
        }
    }

    /// What sounded like the beginning of speech was a tone.
    fn forget_tone(&mut self) {
        let begun = matches!(&self.ear, Ear::Hearing(_, utterance) if !utterance.on_trial);
        if !begun && self.burst.is_some_and(|burst| burst.voiced <= DIP) {
            self.burst = None;
        }
    }
}

fn short_ms(span: Duration) -> u16 {
    u16::try_from(span.as_millis()).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests;
