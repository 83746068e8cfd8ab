use super::*;
use crate::audio::{FRAME_SAMPLES, Rate};
use crate::turn::Witness;
use crate::turn::sounds::Sounds;
use crate::turn::vad::{self, Kind};

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

/// What the caller's side sounds like.
#[derive(Clone, Copy)]
enum Sound {
    /// A steady voice.
    Voice,
    /// Speech to the detector, and no pitch.
    Cough,
    Silence,
}

impl Line {
    fn new() -> Self {
        Self::with(Box::new(Scripted))
    }

    fn with(vad: Box<dyn Vad>) -> Self {
        Self { taker: TurnTaker::new(vad), now: Moment::from_millis(1_000), heard: Vec::new() }
    }

    fn listening(how: Listening) -> Self {
        let mut line = Self::new();
        line.taker.listen(line.now, how);
        line
    }

    /// Listens while a prompt is played that may be interrupted.
    fn over_a_prompt(how: Listening) -> Self {
        let mut line = Self::listening(how);
        line.taker.playing(line.now, Some(BargeIn::ALLOWED));
        line
    }

    fn hear(&mut self, frame: &Frame) {
        self.now = self.now + Duration::from_millis(20);
        let heard = &mut self.heard;
        self.taker.frame(self.now, Some(frame), &mut |signal| heard.push(signal));
        self.taker.tick(self.now, &mut |signal| heard.push(signal));
    }

    fn hear_all(&mut self, frames: &[Frame]) -> Vec<TurnSignal> {
        frames.iter().for_each(|frame| self.hear(frame));
        std::mem::take(&mut self.heard)
    }

    fn pass(&mut self, millis: u64, sound: Sound) -> Vec<TurnSignal> {
        for _ in 0..millis / 20 {
            let mut frame = Frame::silence(Rate::Hz8000);
            match sound {
                Sound::Voice => frame.samples.fill(2_000),
                Sound::Cough => {
                    frame.samples.fill_with(|| fastrand::i16(1_000..3_000) * [1, -1][fastrand::usize(..2)])
                }
                Sound::Silence => {}
            }
            self.hear(&frame);
        }
        std::mem::take(&mut self.heard)
    }

    fn speech(&mut self, millis: u64) -> Vec<TurnSignal> {
        self.pass(millis, Sound::Voice)
    }

    fn silence(&mut self, millis: u64) -> Vec<TurnSignal> {
        self.pass(millis, Sound::Silence)
    }

    fn key(&mut self) -> Vec<TurnSignal> {
        let heard = &mut self.heard;
        self.taker.key(self.now, &mut |signal| heard.push(signal));
        std::mem::take(heard)
    }

    fn words(&mut self, words: Words) -> Vec<TurnSignal> {
        let heard = &mut self.heard;
        self.taker.words(self.now, words, &mut |signal| heard.push(signal));
        std::mem::take(heard)
    }

    /// One sure word of that completeness, recognised up to now.
    fn recognised(&mut self, completeness: Completeness) -> Vec<TurnSignal> {
        self.words(word(self.now, completeness))
    }
}

fn word(at: Moment, completeness: Completeness) -> Words {
    Words { at, completeness, confidence: 0.9, count: 1, text: 7, settled: true, ..Words::default() }
}

fn at(millis: u64) -> Moment {
    Moment::from_millis(millis)
}

/// The end of speech, the decision and its witness.
fn endpoint(signals: &[TurnSignal]) -> Option<(Moment, Moment, Witness)> {
    signals.iter().find_map(|signal| match signal {
        TurnSignal::Endpoint { speech_end, decided, witness, .. } => Some((*speech_end, *decided, *witness)),
        _ => None,
    })
}

fn barge_in(onset: Moment, ducked: Moment, decided: Moment, by: By) -> TurnSignal {
    TurnSignal::BargeIn { onset, ducked: Some(ducked), decided, by }
}

fn interrupted(signals: &[TurnSignal]) -> bool {
    signals.iter().any(|signal| matches!(signal, TurnSignal::BargeIn { .. }))
}

/// No witnesses but the words, and round silences.
const PLAIN: Listening = Listening {
    silence: Duration::from_millis(500),
    silence_whole: Duration::from_millis(140),
    silence_settled: Duration::from_millis(180),
    silence_complete: Duration::from_millis(260),
    silence_incomplete: Duration::from_millis(900),
    silence_foreign: Duration::from_millis(750),
    doubts: false,
    contour: false,
    habits: false,
    ..Listening::BALANCED
};

/// The same where somebody recognises.
const RECOGNISED: Listening = Listening { words: true, ..PLAIN };

#[test]
fn an_utterance_has_an_onset_a_pause_and_an_endpoint() {
    let mut line = Line::listening(PLAIN);
    assert_eq!(line.silence(200), []);
    assert_eq!(line.speech(600), [TurnSignal::Onset { at: at(1_200) }]);
    assert_eq!(line.silence(480), [TurnSignal::Pause { speech_end: at(1_800) }]);
    assert_eq!(endpoint(&line.silence(20)), Some((at(1_800), at(2_300), Witness::Silence)));
    assert_eq!(line.speech(600), [], "deaf after the endpoint");
}

#[test]
fn a_pause_inside_an_utterance_is_taken_back() {
    let mut line = Line::listening(PLAIN);
    line.speech(300);
    assert_eq!(line.silence(300), [TurnSignal::Pause { speech_end: at(1_300) }]);
    assert_eq!(line.speech(100), [TurnSignal::Resumed { at: at(1_620) }]);
    let signals = line.silence(500);
    assert_eq!(signals[0], TurnSignal::Pause { speech_end: at(1_700) });
    assert_eq!(endpoint(&signals), Some((at(1_700), at(2_200), Witness::Silence)));
}

#[test]
fn a_click_is_no_utterance() {
    let mut line = Line::listening(PLAIN);
    assert_eq!(line.speech(40), []);
    assert_eq!(line.silence(300), []);
    assert_eq!(line.speech(40), [], "two clicks apart do not add up");
}

#[test]
fn no_input_is_counted_from_the_end_of_the_prompt() {
    let mut line = Line::over_a_prompt(PLAIN);
    assert_eq!(line.silence(20_000), []);
    line.taker.playing(line.now, None);
    assert_eq!(line.silence(4_980), []);
    assert_eq!(line.silence(20), [TurnSignal::NoInput { at: at(26_000) }]);
    assert_eq!(line.silence(9_000), [], "said once");
}

#[test]
fn a_key_starts_the_no_input_clock_again() {
    let mut line = Line::listening(PLAIN);
    line.silence(4_000);
    assert_eq!(line.key(), [], "nothing to interrupt");
    assert_eq!(line.silence(4_000), []);
    assert_eq!(line.silence(1_000), [TurnSignal::NoInput { at: at(10_000) }]);
}

#[test]
fn an_endless_utterance_is_ended() {
    let mut line = Line::listening(PLAIN);
    line.speech(14_980);
    assert_eq!(line.speech(20), [TurnSignal::TooLong { at: at(16_000) }]);
}

#[test]
fn lost_frames_and_gaps_end_an_utterance_by_time() {
    let mut line = Line::listening(PLAIN);
    line.speech(200);
    let heard = &mut line.heard;
    line.taker.frame(line.now, None, &mut |signal| heard.push(signal));
    line.taker.tick(line.now + Duration::from_millis(700), &mut |signal| heard.push(signal));
    assert!(endpoint(heard).is_some());
}

#[test]
fn a_whole_answer_is_over_at_once_and_a_complete_one_a_little_later() {
    for (completeness, silence, witness) in [
        (Completeness::Whole, 140, Witness::Whole),
        (Completeness::Complete, 260, Witness::Complete),
        (Completeness::Foreign, 760, Witness::Foreign),
        (Completeness::Incomplete, 900, Witness::Incomplete),
    ] {
        let mut line = Line::listening(RECOGNISED);
        line.speech(500);
        line.silence(100);
        assert_eq!(line.recognised(completeness), [], "not before its time");
        let signals = line.silence(1_000);
        assert_eq!(endpoint(&signals), Some((at(1_500), at(1_500 + silence), witness)), "{completeness:?}");
    }
}

#[test]
fn words_that_come_late_decide_when_they_come_and_do_not_move_the_end_of_speech() {
    let mut line = Line::listening(RECOGNISED);
    line.speech(500);
    line.silence(100);
    let recognised = line.now;
    line.silence(200);
    let signals = line.words(word(recognised, Completeness::Whole));
    assert_eq!(endpoint(&signals), Some((at(1_500), at(1_800), Witness::Whole)));
}

#[test]
fn what_was_whole_before_the_caller_went_on_ends_nothing() {
    let mut line = Line::listening(RECOGNISED);
    line.speech(500);
    line.silence(120);
    line.recognised(Completeness::Whole);
    line.speech(400);
    assert_eq!(endpoint(&line.silence(480)), None, "of these words nobody has said anything");
    assert_eq!(endpoint(&line.silence(20)).map(|(.., witness)| witness), Some(Witness::Silence));
}

#[test]
fn words_of_an_earlier_utterance_are_ignored() {
    let mut line = Line::listening(RECOGNISED);
    line.speech(500);
    let before = line.now;
    line.taker.listen(line.now, RECOGNISED);
    line.silence(400);
    line.speech(300);
    line.words(word(before, Completeness::Whole));
    assert_eq!(endpoint(&line.silence(480)), None);
}

#[test]
fn every_endpoint_says_what_each_witness_said() {
    let mut line = Line::listening(Listening { words: true, ..Listening::BALANCED });
    line.speech(500);
    line.silence(100);
    let mut signals = line.words(Words { confidence: 0.3, ..word(line.now, Completeness::Complete) });
    signals.extend(line.silence(1_600));
    let Some(TurnSignal::Endpoint { speech_end, decided, reasons, .. }) = signals.last() else {
        panic!("{signals:?}")
    };
    assert_eq!((reasons.completeness, reasons.confidence_percent), (Completeness::Complete, 30));
    let parts = [reasons.base_ms, reasons.ending_ms, reasons.habit_ms, reasons.doubt_ms];
    let sum: i32 = parts.into_iter().map(i32::from).sum();
    assert!((sum - i32::from(reasons.needed_ms)).abs() <= 2, "{reasons:?}");
    let waited = decided.since(*speech_end).as_millis();
    assert!(waited.abs_diff(u128::from(reasons.needed_ms)) < 20, "{waited}: {reasons:?}");
}

#[test]
fn a_whole_answer_ends_in_noise_too() {
    let mut line = Line::listening(RECOGNISED);
    line.speech(600);
    line.recognised(Completeness::Whole);
    let mut signals = Vec::new();
    for _ in 0..6 {
        signals.extend(line.speech(100));
        signals.extend(line.recognised(Completeness::Whole));
    }
    assert_eq!(endpoint(&signals), Some((at(1_600), at(2_100), Witness::Whole)));
}

#[test]
fn on_a_quiet_line_an_old_answer_does_not_end_what_is_being_said() {
    let mut line = Line::listening(RECOGNISED);
    line.silence(400);
    line.speech(600);
    line.recognised(Completeness::Whole);
    let mut signals = Vec::new();
    for _ in 0..10 {
        signals.extend(line.speech(100));
        signals.extend(line.recognised(Completeness::Whole));
    }
    assert_eq!(endpoint(&signals), None, "the words of who speaks come late");
}

#[test]
fn an_answer_before_a_pause_does_not_end_what_comes_after_it() {
    let mut line = Line::listening(RECOGNISED);
    line.speech(300);
    line.words(Words { settled: false, ..word(line.now, Completeness::Settled) });
    line.silence(160);
    assert_eq!(endpoint(&line.speech(400)), None);
    assert_eq!(endpoint(&line.recognised(Completeness::Settled)), None, "he has just gone on");
}

#[test]
fn where_noise_passes_for_speech_the_recogniser_is_asked_and_its_sure_answer_ends_the_turn() {
    let mut line = Line::listening(RECOGNISED);
    line.speech(600);
    line.words(Words { settled: false, ..word(line.now, Completeness::Settled) });
    let signals = line.speech(700);
    assert!(matches!(signals.as_slice(), [TurnSignal::Pause { .. }]), "asked once: {signals:?}");
    assert_eq!(endpoint(&signals), None, "what was not judged ends nothing");
    let signals = line.recognised(Completeness::Settled);
    assert_eq!(endpoint(&signals), Some((at(1_600), line.now, Witness::Settled)));
}

#[test]
fn the_recogniser_is_asked_again_as_a_silence_grows() {
    let mut line = Line::listening(RECOGNISED);
    line.speech(500);
    let pauses = line.silence(480);
    let pause = TurnSignal::Pause { speech_end: at(1_500) };
    assert_eq!(pauses, [pause; 2], "after 100 and 240 ms");
    line.speech(300);
    assert_eq!(line.silence(240).len(), 2, "and so in the next one");
}

#[test]
fn likely_speech_makes_the_bot_as_good_as_silent_and_a_cough_does_not() {
    fastrand::seed(5);
    let hushed =
        |signals: &[TurnSignal]| signals.iter().any(|signal| matches!(signal, TurnSignal::Hush { .. }));
    let mut line = Line::over_a_prompt(RECOGNISED);
    assert!(!hushed(&line.pass(400, Sound::Cough)));
    line.silence(500);
    assert!(!hushed(&line.speech(160)));
    assert_eq!(line.speech(20), [TurnSignal::Hush { onset: at(1_900), at: at(2_080) }]);
    assert_eq!(line.speech(200), [], "once");
    assert!(matches!(line.silence(900).last(), Some(TurnSignal::Restore { .. })), "and it comes back");
    let mut line = Line::listening(RECOGNISED);
    line.taker.playing(line.now, Some(BargeIn { hush_db: 0, ..BargeIn::ALLOWED }));
    assert!(!hushed(&line.speech(400)), "not where that is not wanted");
}

/// What the same word is waited for after he has said some with pauses of that length.
fn waited_after_pauses(millis: u64) -> u128 {
    let how = Listening {
        habits: true,
        silence: Duration::from_millis(950),
        limit: Duration::from_secs(3),
        ..PLAIN
    };
    let mut line = Line::listening(how);
    for _ in 0..3 {
        line.speech(300);
        line.silence(millis);
    }
    line.speech(300);
    assert!(endpoint(&line.silence(2_500)).is_some(), "it ends");
    line.taker.listen(line.now, how);
    line.speech(300);
    let end = endpoint(&line.silence(2_500)).expect("it ends");
    end.1.since(end.0).as_millis()
}

#[test]
fn a_caller_who_pauses_is_waited_for_longer_the_next_time() {
    let (brief, long) = (waited_after_pauses(200), waited_after_pauses(900));
    assert!(long > brief && long < 2_500, "{brief} and {long} ms");
}

/// What a number of four is waited for that he seems to have said after 800 ms, when his last one took so long.
fn waited_after_a_number_of(millis: u64) -> u128 {
    let how = Listening {
        question: Question::Digits { least: 4, most: 4 },
        words: true,
        limit: Duration::from_secs(3),
        ..Listening::BALANCED
    };
    let four = |line: &mut Line| {
        let words = Words { count: 4, ..word(line.now, Completeness::Whole) };
        line.words(words);
    };
    let mut line = Line::listening(how);
    line.speech(millis);
    line.silence(120);
    four(&mut line);
    assert!(endpoint(&line.silence(2_900)).is_some(), "it ends");
    line.taker.listen(line.now, how);
    line.speech(800);
    line.silence(100);
    four(&mut line);
    let end = endpoint(&line.silence(2_900)).expect("it ends");
    end.1.since(end.0).as_millis()
}

#[test]
fn who_says_digits_slowly_is_not_believed_to_have_said_four_in_the_time_of_two() {
    let (quick, slow) = (waited_after_a_number_of(1_000), waited_after_a_number_of(2_400));
    assert!(slow >= quick + 60, "{quick} and {slow} ms");
}

#[test]
fn a_caller_who_is_cut_off_teaches_it() {
    let [silence, limit] = [100, 800].map(Duration::from_millis);
    let how = Listening { habits: true, silence, limit, ..PLAIN };
    let mut line = Line::listening(how);
    for _ in 0..3 {
        line.speech(300);
        assert!(endpoint(&line.silence(900)).is_some());
        line.speech(300);
        line.taker.listen(line.now, how);
    }
    assert!(line.taker.habits.pause().is_some_and(|pause| pause >= Duration::from_millis(800)));
}

#[test]
fn a_voice_interrupts_and_is_the_utterance() {
    let mut line = Line::over_a_prompt(PLAIN);
    line.silence(1_000);
    assert_eq!(
        line.speech(640),
        [
            TurnSignal::Duck { onset: at(2_000), at: at(2_040) },
            TurnSignal::Onset { at: at(2_000) },
            TurnSignal::Hush { onset: at(2_000), at: at(2_180) }
        ]
    );
    assert_eq!(line.speech(20), [barge_in(at(2_000), at(2_040), at(2_660), By::Duration)]);
    assert_eq!(line.speech(1_000), [], "interrupted once");
    line.taker.playing(line.now, None);
    assert!(endpoint(&line.silence(500)).is_some());
}

#[test]
fn a_click_ducks_at_most() {
    let mut line = Line::over_a_prompt(PLAIN);
    assert_eq!(line.speech(20), []);
    assert_eq!(line.silence(200), []);
    assert_eq!(line.speech(40).len(), 1, "down");
    assert_eq!(line.silence(400), [TurnSignal::Restore { at: at(1_580), why: Calm::Short }]);
}

#[test]
fn a_cough_does_not_interrupt_and_its_utterance_is_taken_back() {
    fastrand::seed(3);
    for how in [PLAIN, RECOGNISED] {
        let mut line = Line::over_a_prompt(how);
        let signals = line.pass(400, Sound::Cough);
        assert!(
            matches!(signals.as_slice(), [TurnSignal::Duck { .. }, TurnSignal::Onset { .. }]),
            "{signals:?}"
        );
        let signals = line.silence(400);
        assert!(matches!(signals.last(), Some(TurnSignal::Restore { why: Calm::Short, .. })), "{signals:?}");
        assert!(endpoint(&line.silence(2_000)).is_none(), "no utterance is left");
        assert!(line.speech(300).contains(&TurnSignal::Onset { at: line.now - Duration::from_millis(300) }));
    }
}

#[test]
fn an_answer_of_one_word_interrupts_and_ends_at_once() {
    let mut line = Line::over_a_prompt(RECOGNISED);
    line.speech(280);
    assert!(line.silence(120).contains(&TurnSignal::Pause { speech_end: at(1_280) }));
    let signals = line.recognised(Completeness::Whole);
    assert_eq!(signals, [barge_in(at(1_000), at(1_040), at(1_400), By::Words)]);
    line.taker.playing(line.now, None);
    assert_eq!(endpoint(&line.silence(20)), Some((at(1_280), at(1_420), Witness::Whole)));
}

#[test]
fn a_partial_interrupts_nothing_since_a_grammar_finds_itself_in_every_cough() {
    let mut line = Line::over_a_prompt(RECOGNISED);
    line.speech(240);
    line.silence(120);
    let mut signals = line.words(Words { settled: false, ..word(line.now, Completeness::Whole) });
    signals.extend(line.silence(900));
    assert!(matches!(signals.last(), Some(TurnSignal::Restore { .. })), "{signals:?}");
}

#[test]
fn a_knock_that_is_taken_for_a_word_interrupts_nothing() {
    fastrand::seed(5);
    for (voice, cough) in [(80, 0), (140, 100), (0, 240)] {
        let mut line = Line::over_a_prompt(RECOGNISED);
        line.speech(voice);
        line.pass(cough, Sound::Cough);
        line.silence(120);
        let signals = line.recognised(Completeness::Whole);
        assert!(!interrupted(&signals), "{voice} and {cough}: {signals:?}");
    }
}

#[test]
fn a_short_word_interrupts_when_it_is_sure_and_a_voice() {
    fastrand::seed(5);
    let over = |voice, cough, words: Words| {
        let mut line = Line::over_a_prompt(RECOGNISED);
        line.speech(voice);
        line.pass(cough, Sound::Cough);
        line.silence(120);
        let words = Words { at: line.now, ..words };
        interrupted(&line.words(words))
    };
    let no = word(Moment::ZERO, Completeness::Settled);
    assert!(over(160, 0, no) && over(200, 40, no));
    assert!(!over(160, 0, Words { confidence: 0.5, ..no }), "not sure");
    // Knocks are taken for "yes", which is an "uh-huh" elsewhere.
    let yes = Words { backchannel: true, ..no };
    assert!(over(160, 0, yes));
    assert!(!over(160, 80, yes) && !over(160, 0, Words { confidence: 0.7, ..yes }));
}

/// A line on which the bot has spoken for some seconds, and nothing came back.
fn line_without_echo(how: Listening) -> Line {
    let mut line = Line::over_a_prompt(how);
    let bot = Sounds::new(Rate::Hz8000, 1).babble(6_000, 190.0, 12_000.0);
    for samples in bot.as_chunks::<FRAME_SAMPLES>().0 {
        line.taker.sent(line.now, &Frame { rate: Rate::Hz8000, samples: *samples });
        line.silence(20);
    }
    assert_eq!(line.taker.echo_path(), Path::Clear);
    line
}

#[test]
fn two_words_with_a_pause_between_them_interrupt_together() {
    let two = |line: &mut Line, pause| {
        line.speech(400);
        line.silence(pause);
        interrupted(&line.speech(400))
    };
    assert!(two(&mut line_without_echo(PLAIN), 500));
    assert!(!two(&mut line_without_echo(PLAIN), 1_300), "long after it, it is another sound");
    // A cough before a word is none.
    fastrand::seed(5);
    let mut line = line_without_echo(PLAIN);
    line.pass(400, Sound::Cough);
    line.silence(500);
    assert!(!interrupted(&line.speech(400)));
}

/// Whether two words with a pause between them interrupt a bot of whose echo nothing is known, since it speaks in single words;
/// it goes silent when it is told to, or not.
fn two_words_over_an_unknown_line_interrupt(hushes: bool) -> bool {
    let mut line = Line::over_a_prompt(PLAIN);
    let mut sounds = Sounds::new(Rate::Hz8000, 1);
    let bot: Vec<i16> =
        (0..20).flat_map(|_| [sounds.babble(160, 190.0, 12_000.0), vec![0; 8 * 100]].concat()).collect();
    let caller = |millis: usize| if (1_000..1_400).contains(&millis) || millis >= 2_000 { 2_000 } else { 0 };
    let mut hushed = false;
    for (number, samples) in bot.as_chunks::<FRAME_SAMPLES>().0.iter().take(120).enumerate() {
        let mut sent = Frame { rate: Rate::Hz8000, samples: *samples };
        if hushed && hushes {
            sent.samples.fill(0);
        }
        line.taker.sent(line.now, &sent);
        let mut heard = Frame::silence(Rate::Hz8000);
        heard.samples.fill(caller(20 * number));
        let signals = line.hear_all(&[heard]);
        hushed |= signals.iter().any(|signal| matches!(signal, TurnSignal::Hush { .. }));
        if interrupted(&signals) {
            return true;
        }
    }
    assert!(hushed && line.taker.echo_path() == Path::Unknown);
    false
}

#[test]
fn what_is_heard_when_the_bot_has_been_silent_for_a_while_is_the_caller() {
    assert!(two_words_over_an_unknown_line_interrupt(true));
    assert!(!two_words_over_an_unknown_line_interrupt(false), "it may be an echo");
}

#[test]
fn several_sure_words_that_begin_an_answer_interrupt_before_they_are_long() {
    let over = |count, confidence| {
        let mut line = Line::over_a_prompt(RECOGNISED);
        line.speech(300);
        line.silence(120);
        let words = Words { count, confidence, ..word(line.now, Completeness::Incomplete) };
        interrupted(&line.words(words))
    };
    assert!(over(2, 0.9));
    assert!(!over(1, 0.95) && !over(2, 0.8));
}

#[test]
fn a_voice_keeps_the_bots_voice_down_for_longer_than_a_cough() {
    fastrand::seed(5);
    let comes_back_after = |sound| {
        let mut line = Line::over_a_prompt(PLAIN);
        line.pass(300, sound);
        let ended = line.now;
        let signals = line.silence(1_200);
        signals.iter().find_map(|signal| match signal {
            TurnSignal::Restore { at, .. } => Some(at.since(ended).as_millis()),
            _ => None,
        })
    };
    assert_eq!((comes_back_after(Sound::Voice), comes_back_after(Sound::Cough)), (Some(900), Some(320)));
}

#[test]
fn a_cough_that_is_taken_for_the_beginning_of_an_answer_interrupts_nothing() {
    let mut line = Line::over_a_prompt(RECOGNISED);
    line.speech(420);
    line.silence(120);
    let mut signals = line.recognised(Completeness::Incomplete);
    signals.extend(line.silence(600));
    let calm =
        |signal: &TurnSignal| !matches!(signal, TurnSignal::BargeIn { .. } | TurnSignal::Restore { .. });
    assert!(signals.iter().all(calm), "he may go on: {signals:?}");
    assert!(matches!(line.silence(300).last(), Some(TurnSignal::Restore { why: Calm::Short, .. })));
    // Half a second of it is more than a cough.
    line.silence(1_300);
    line.speech(560);
    line.silence(120);
    let signals = line.recognised(Completeness::Incomplete);
    assert!(matches!(signals.first(), Some(TurnSignal::BargeIn { by: By::Words, .. })), "{signals:?}");
}

#[test]
fn who_says_um_first_keeps_the_bots_voice_down() {
    let mut line = Line::over_a_prompt(RECOGNISED);
    line.speech(200);
    line.silence(120);
    line.recognised(Completeness::Foreign);
    assert_eq!(line.silence(160), [TurnSignal::Pause { speech_end: at(1_200) }]);
    line.speech(180);
    line.silence(100);
    let signals = line.recognised(Completeness::Whole);
    assert_eq!(signals, [barge_in(at(1_000), at(1_040), line.now, By::Words)]);
}

#[test]
fn a_backchannel_interrupts_only_where_it_is_an_answer() {
    for (completeness, interrupts) in [
        (Completeness::Foreign, false),
        (Completeness::Unknown, false),
        (Completeness::Incomplete, false),
        (Completeness::Whole, true),
    ] {
        let mut line = Line::over_a_prompt(RECOGNISED);
        line.speech(400);
        line.silence(120);
        let mut signals = line.words(Words { backchannel: true, ..word(line.now, completeness) });
        signals.extend(line.silence(400));
        let stopped = signals.iter().any(|signal| matches!(signal, TurnSignal::BargeIn { .. }));
        assert_eq!(stopped, interrupts, "{completeness:?}: {signals:?}");
        let restored = signals.contains(&TurnSignal::Restore { at: at(1_560), why: Calm::Backchannel });
        assert_eq!(restored, !interrupts, "{completeness:?}: {signals:?}");
    }
}

#[test]
fn who_goes_on_after_an_uh_huh_interrupts() {
    let mut line = Line::over_a_prompt(RECOGNISED);
    line.silence(400);
    line.speech(300);
    line.words(Words { backchannel: true, ..word(line.now, Completeness::Foreign) });
    assert_eq!(line.speech(600), [], "the uh-huh counts no more");
    let signals = line.speech(80);
    assert!(matches!(signals.first(), Some(TurnSignal::BargeIn { by: By::Level, .. })), "{signals:?}");
}

#[test]
fn words_that_answer_nothing_interrupt_only_by_their_length() {
    let mut line = Line::over_a_prompt(RECOGNISED);
    line.speech(400);
    line.silence(120);
    line.recognised(Completeness::Foreign);
    let signals = line.silence(760);
    assert!(
        signals.iter().all(|signal| *signal == TurnSignal::Pause { speech_end: at(1_400) }),
        "he may go on: the bot's voice stays down: {signals:?}"
    );
    let signals = line.silence(40);
    assert!(matches!(signals.last(), Some(TurnSignal::Restore { why: Calm::Foreign, .. })), "{signals:?}");
    line.silence(1_300);
    assert!(line.speech(700).iter().any(|signal| matches!(signal, TurnSignal::BargeIn { .. })));
}

#[test]
fn words_that_never_come_are_not_waited_for_for_ever() {
    let mut line = Line::over_a_prompt(RECOGNISED);
    line.speech(300);
    let signals = line.silence(900);
    assert_eq!(signals.last(), Some(&TurnSignal::Restore { at: at(2_200), why: Calm::Short }));
}

#[test]
fn what_is_being_said_when_the_prompt_ends_is_an_utterance() {
    let mut line = Line::over_a_prompt(RECOGNISED);
    line.speech(100);
    line.taker.playing(line.now, None);
    let signals = line.speech(100);
    assert_eq!(signals, [TurnSignal::Restore { at: at(1_120), why: Calm::PlayOver }]);
    line.silence(120);
    line.recognised(Completeness::Whole);
    assert!(endpoint(&line.silence(20)).is_some());
}

#[test]
fn protected_words_are_heard_and_a_voice_that_goes_on_interrupts_after_them() {
    let mut line = Line::listening(PLAIN);
    let protect = Duration::from_millis(800);
    line.taker.playing(
        line.now,
        Some(BargeIn { protect, min_speech_without_words: Duration::from_millis(240), ..BargeIn::ALLOWED }),
    );
    line.silence(400);
    assert_eq!(line.speech(380), []);
    assert_eq!(line.key(), [], "a key is held back too");
    assert_eq!(
        line.speech(20),
        [
            TurnSignal::Duck { onset: at(1_400), at: at(1_800) },
            TurnSignal::Hush { onset: at(1_400), at: at(1_800) },
            TurnSignal::Onset { at: at(1_400) },
            barge_in(at(1_400), at(1_800), at(1_800), By::Duration),
        ]
    );
}

#[test]
fn what_must_be_heard_is_not_interrupted_and_not_listened_over() {
    let mut line = Line::listening(PLAIN);
    line.taker.playing(line.now, Some(BargeIn::FORBIDDEN));
    assert_eq!(line.speech(1_000), []);
    assert_eq!(line.key(), []);
    line.taker.playing(line.now, None);
    assert_eq!(line.speech(20), [TurnSignal::Onset { at: at(1_000) }], "heard once the bot is silent");
}

#[test]
fn a_key_interrupts_at_once() {
    let mut line = Line::over_a_prompt(PLAIN);
    line.silence(100);
    let by_key = TurnSignal::BargeIn { onset: at(1_100), ducked: None, decided: at(1_100), by: By::Key };
    assert_eq!(line.key(), [by_key]);
    assert_eq!(line.key(), [], "the second key finds the bot silent");
}

#[test]
fn a_prompt_that_is_not_to_be_ducked_is_interrupted_all_the_same() {
    let mut line = Line::listening(PLAIN);
    line.taker.playing(line.now, Some(BargeIn { duck_db: 0, ..BargeIn::ALLOWED }));
    let signals = line.speech(660);
    assert!(matches!(
        signals.as_slice(),
        [TurnSignal::Onset { .. }, TurnSignal::BargeIn { ducked: None, .. }]
    ));
    let mut line = Line::listening(PLAIN);
    line.taker.playing(line.now, Some(BargeIn { duck_db: 0, ..BargeIn::ALLOWED }));
    line.speech(100);
    assert_eq!(line.silence(400).last(), Some(&TurnSignal::Restore { at: at(1_420), why: Calm::Short }));
}

#[test]
fn real_sounds_are_told_apart_over_a_prompt() {
    let (mut coughs, mut sentences) = (0, 0);
    for seed in 0..20 {
        let mut sounds = Sounds::new(Rate::Hz8000, seed);
        let mut line = Line::with(vad::make(Kind::Webrtc, Rate::Hz8000));
        line.taker.listen(line.now, RECOGNISED);
        line.taker.playing(line.now, Some(BargeIn::ALLOWED));
        line.hear_all(&sounds.silence(500));
        let mut signals = line.hear_all(&sounds.cough(200 + 20 * seed));
        signals.extend(line.hear_all(&sounds.silence(1_000)));
        coughs += usize::from(signals.iter().any(|signal| matches!(signal, TurnSignal::BargeIn { .. })));
        let began = line.now;
        let signals = line.hear_all(&sounds.sentence(1_200));
        let duck = signals.iter().find_map(|signal| match signal {
            TurnSignal::Duck { at, .. } => Some(at.since(began).as_millis()),
            _ => None,
        });
        assert!(duck.is_some_and(|after| after <= 80), "{seed}: {signals:?}");
        sentences += usize::from(signals.iter().any(|signal| matches!(signal, TurnSignal::BargeIn { .. })));
    }
    assert_eq!((coughs, sentences), (0, 20));
}

#[test]
fn key_tones_and_ringback_are_no_speech() {
    use crate::audio::tone::Tone;
    for kind in Kind::ALL {
        let mut line = Line::with(vad::make(kind, Rate::Hz8000));
        line.taker.listen(line.now, PLAIN);
        line.taker.playing(line.now, Some(BargeIn::ALLOWED));
        let mut signals = line.hear_all(&Sounds::new(Rate::Hz8000, 1).silence(400));
        for key in "159#".chars() {
            let mut tone = Tone::key(Rate::Hz8000, key).expect("a key");
            for _ in 0..6 {
                signals.extend(line.hear_all(&[tone.frame()]));
            }
            signals.extend(line.silence(100));
        }
        for hz in [[440.0, 480.0], [425.0, 425.0]] {
            let mut tone = Tone::dual(Rate::Hz8000, hz, -15.0);
            for _ in 0..50 {
                signals.extend(line.hear_all(&[tone.frame()]));
            }
            signals.extend(line.silence(400));
        }
        assert_eq!(signals, [], "{kind}");
    }
}

#[test]
fn the_bots_own_voice_does_not_interrupt_it_and_the_callers_over_it_does() {
    let bot = Sounds::new(Rate::Hz8000, 1).babble(20_000, 190.0, 12_000.0);
    let caller = Sounds::new(Rate::Hz8000, 2).babble(1_500, 115.0, 9_000.0);
    let (delay, speaks) = (8 * 90, 8 * 17_000);
    let mut line = Line::with(vad::make(Kind::Webrtc, Rate::Hz8000));
    line.taker.listen(line.now, PLAIN);
    line.taker.playing(line.now, Some(BargeIn::ALLOWED));
    let mut random = fastrand::Rng::with_seed(1);
    let (mut before, mut after) = (0, Vec::new());
    for frame in 0..bot.len() / FRAME_SAMPLES {
        let from = frame * FRAME_SAMPLES;
        let mut sent = Frame::silence(Rate::Hz8000);
        sent.samples.copy_from_slice(&bot[from..from + FRAME_SAMPLES]);
        let mut heard = Frame::silence(Rate::Hz8000);
        for (i, sample) in heard.samples.iter_mut().enumerate() {
            let echo = (from + i).checked_sub(delay).map_or(0, |at| bot[at] / 10);
            let own = (from + i).checked_sub(speaks).and_then(|at| caller.get(at)).copied().unwrap_or(0);
            *sample = echo + own + random.i16(-4..=4);
        }
        line.taker.sent(line.now, &sent);
        let signals = line.hear_all(&[heard]);
        let stops = signals.iter().filter(|signal| matches!(signal, TurnSignal::BargeIn { .. })).count();
        if from < speaks {
            before += stops;
        } else {
            after.extend(signals);
        }
    }
    assert_eq!(before, 0, "stopped by itself");
    assert!(after.iter().any(|signal| matches!(signal, TurnSignal::BargeIn { .. })), "{after:?}");
}

#[test]
fn it_stays_small() {
    // 1.5 KiB more than a taker without witnesses was, and some bytes that packed settings saved elsewhere.
    assert!(size_of::<TurnTaker>() <= 208 + 1_536 + 88, "{}", size_of::<TurnTaker>());
}
