//! Calls that are answered, in virtual time.

use super::*;
use crate::audio::FRAME_SAMPLES;
use crate::audio::ring::EarItem;
use crate::audio::tone::Tone;
use crate::turn::sounds::Sounds;

const R: Rate = Rate::Hz8000;

/// A call's audio, piece by piece.
struct Audio {
    sounds: Sounds,
    frames: Vec<Option<Frame>>,
}

impl Audio {
    fn new(seed: u64) -> Self {
        Self { sounds: Sounds::new(R, seed), frames: Vec::new() }
    }

    fn now(&self) -> u64 {
        self.frames.len() as u64 * 20
    }

    fn silence(mut self, millis: u64) -> Self {
        self.frames.extend(self.sounds.silence(millis).into_iter().map(Some));
        self
    }

    fn voice(mut self, millis: u64) -> Self {
        self.frames.extend(self.sounds.sentence(millis).into_iter().map(Some));
        self
    }

    fn tone(self, hz: f64, millis: u64) -> Self {
        self.two([hz, hz], millis)
    }

    /// In steps of a sample: tones begin where they like.
    fn two(mut self, hz: [f64; 2], millis: u64) -> Self {
        let mut tone = if hz[0] == hz[1] { Tone::sine(R, hz[0], -12.0) } else { Tone::dual(R, hz, -18.0) };
        for _ in 0..millis / 20 {
            self.frames.push(Some(tone.frame()));
        }
        self
    }

    fn lost(mut self, millis: u64) -> Self {
        self.frames.extend((0..millis / 20).map(|_| None));
        self
    }

    /// What is told of it, with when; answered `answered` ms after it began.
    fn told_of(&self, settings: &AnswerSettings, answered: u64) -> Vec<AnswerSignal> {
        let mut answerer = Answerer::new(settings, R);
        let mut told = Vec::new();
        for (number, frame) in self.frames.iter().enumerate() {
            let now = Moment::from_millis((number as u64 + 1) * 20);
            if number as u64 * 20 == answered {
                answerer.answered(Moment::from_millis(answered));
            }
            answerer.frame(now, frame.as_ref(), &mut |signal| told.push(signal));
        }
        told
    }

    fn told(&self) -> Vec<AnswerSignal> {
        self.told_of(&settings(), 0)
    }
}

fn settings() -> AnswerSettings {
    AnswerSettings::default()
}

fn names(told: &[AnswerSignal]) -> Vec<&'static str> {
    told.iter().map(AnswerSignal::name).collect()
}

fn millis(at: Moment) -> u64 {
    at.as_nanos() / 1_000_000
}

#[test]
fn a_short_greeting_and_silence_are_a_person() {
    for seed in 0..4 {
        let call = Audio::new(seed).silence(600).voice(460).silence(6_000);
        let told = call.told();
        assert_eq!(names(&told), ["person"], "{told:?}");
        let AnswerSignal::Person { at, why: Why::Pause, heard } = told[0] else { panic!("{told:?}") };
        let after = millis(at) - 600;
        assert!((800..=1_300).contains(&after), "decided {after} ms after the first sound");
        assert!(heard.first_sound_ms.is_some_and(|first| (560..=700).contains(&first)), "{heard}");
        assert_eq!(heard.stretches, 1, "{heard}");
    }
}

#[test]
fn who_speaks_as_the_call_is_answered_is_heard() {
    let told = Audio::new(5).voice(600).silence(2_000).told();
    let AnswerSignal::Person { heard, .. } = told[0] else { panic!("{told:?}") };
    assert!(heard.first_sound_ms.is_some_and(|first| first <= 60) && heard.spoken_ms >= 480, "{heard}");
}

#[test]
fn the_longer_a_greeting_the_longer_the_silence_that_makes_a_person_of_it() {
    let waited = |voice: u64| {
        let told = Audio::new(1).silence(400).voice(voice).silence(4_000).told();
        let AnswerSignal::Person { at, heard, .. } = told[0] else { panic!("{voice}: {told:?}") };
        assert!(heard.asked_for_ms <= heard.pause_ms, "{heard}");
        millis(at) - 400 - voice
    };
    let (short, long) = (waited(500), waited(1_800));
    assert!(short + 200 < long, "{short} and {long} ms");
}

#[test]
fn who_goes_on_talking_is_a_machine_and_its_beep_is_where_the_message_begins() {
    let call = Audio::new(2).silence(400).voice(4_200).silence(300).voice(2_000).silence(600);
    let begins = call.now();
    let call = call.tone(1_000.0, 400);
    let ends = call.now();
    let told = call.silence(8_000).told();
    assert_eq!(names(&told), ["machine", "beep"], "{told:?}");
    assert!(matches!(told[0], AnswerSignal::Machine { why: Why::LongGreeting, revised: false, .. }));
    let AnswerSignal::Beep { began, ended, at, hz } = told[1] else { panic!("{told:?}") };
    assert!(millis(began).abs_diff(begins) <= 20 && millis(ended).abs_diff(ends) <= 20, "{told:?}");
    assert!(millis(at) - ends <= 400 && hz.abs_diff(1_000) <= 3, "{told:?}");
    assert!(told[1].message_begins() && told[1].verdict().is_none());
}

#[test]
fn several_sentences_are_a_machine_sooner() {
    let told = Audio::new(2).silence(400).voice(1_400).silence(500).voice(2_000).silence(3_000).told();
    let AnswerSignal::Machine { why: Why::Sentences, heard, .. } = told[0] else { panic!("{told:?}") };
    assert!(heard.spoken_ms < 3_000 && heard.longest_pause_ms >= 360, "{heard}");
}

#[test]
fn beeps_of_every_pitch_and_length_are_heard_once() {
    let beeps = [
        ([420.0, 420.0], 200),
        ([620.0, 620.0], 1_000),
        ([1_000.0, 1_000.0], 120),
        ([1_400.0, 1_400.0], 160),
        ([2_450.0, 2_450.0], 500),
        ([850.0, 1_400.0], 300),
        ([770.0, 1_020.0], 400),
    ];
    for (hz, length) in beeps {
        let call = Audio::new(3).silence(400).voice(5_000).silence(400).two(hz, length);
        let ends = call.now();
        let told = call.silence(5_000).told();
        assert_eq!(names(&told), ["machine", "beep"], "{hz:?} Hz, {length} ms: {told:?}");
        assert!(millis(told[1].at()) - ends <= 400, "{hz:?} Hz, {length} ms: {told:?}");
    }
}

#[test]
fn a_double_beep_is_over_with_its_second_half() {
    let call =
        Audio::new(4).silence(200).voice(5_000).silence(300).tone(900.0, 160).silence(140).tone(900.0, 160);
    let ends = call.now();
    let told = call.silence(5_000).told();
    assert_eq!(names(&told), ["machine", "beep"], "{told:?}");
    let AnswerSignal::Beep { ended, .. } = told[1] else { panic!("{told:?}") };
    assert!(millis(ended).abs_diff(ends) <= 20, "{told:?}");
}

#[test]
fn a_beep_in_the_pause_makes_a_machine_of_a_short_greeting() {
    let call = Audio::new(5).silence(400).voice(900).silence(300).tone(1_250.0, 900).silence(5_000);
    let told = call.told();
    assert_eq!(names(&told), ["machine", "beep"], "{told:?}");
    assert!(matches!(told[0], AnswerSignal::Machine { why: Why::Beep, revised: false, .. }));
}

#[test]
fn a_late_beep_revises_a_person() {
    let told = Audio::new(6).voice(600).silence(2_500).tone(800.0, 300).silence(3_000).told();
    assert_eq!(names(&told), ["person", "machine", "beep"], "{told:?}");
    assert!(matches!(told[1], AnswerSignal::Machine { revised: true, .. }));
    assert!(told[1].to_string().contains("after all"), "{}", told[1]);
}

#[test]
fn ringback_is_no_greeting_and_no_beep() {
    for (hz, on, off) in
        [([425.0, 425.0], 1_000, 2_000), ([440.0, 480.0], 2_000, 2_000), ([400.0, 450.0], 400, 200)]
    {
        // Two before the answer, one on after it.
        let call = Audio::new(7).two(hz, on).silence(off).two(hz, on).silence(off);
        let answered = call.now();
        let call = call.two(hz, on).silence(500);
        let greeted = call.now();
        let told = call.voice(480).silence(6_000).told_of(&settings(), answered);
        assert_eq!(names(&told), ["ringing", "person"], "{hz:?}: {told:?}");
        assert!(millis(told[1].at()) > greeted + 480, "{told:?}");
    }
}

#[test]
fn a_line_that_rings_on_after_the_answer_is_waited_for() {
    let mut call = Audio::new(7);
    for _ in 0..4 {
        call = call.tone(425.0, 1_000).silence(4_000);
    }
    let told = call.told();
    assert_eq!(names(&told), ["ringing"], "20 s of it: {told:?}");
    let told = call.told_of(&AnswerSettings { ringing_limit_ms: 10_000, ..settings() }, 0);
    assert_eq!(names(&told), ["ringing", "unsure"], "{told:?}");
    assert_eq!(millis(told[1].at()), 10_000);
}

#[test]
fn what_is_said_before_the_answer_is_no_greeting() {
    let call = Audio::new(8).voice(5_000).silence(1_000);
    let answered = call.now();
    let told = call.silence(500).voice(500).silence(3_000).told_of(&settings(), answered);
    assert_eq!(names(&told), ["person"], "{told:?}");
}

#[test]
fn information_tones_say_what_became_of_the_call() {
    for (first, second, which) in [
        (913.8, 1_370.6, Information::Intercept),
        (985.2, 1_370.6, Information::VacantCode),
        (985.2, 1_428.5, Information::NoCircuit),
        (913.8, 1_428.5, Information::Reorder),
    ] {
        let call =
            Audio::new(9).silence(300).tone(first, 280).tone(second, 280).silence(20).tone(1_776.7, 380);
        for answered in [0, 1_000_000] {
            let told = Audio { sounds: Sounds::new(R, 9), frames: call.frames.clone() }
                .silence(200)
                .voice(3_000)
                .told_of(&settings(), answered);
            assert!(
                matches!(told[..], [AnswerSignal::InformationTone { which: found, .. }] if found == which),
                "{which:?}, also in early media: {told:?}"
            );
        }
    }
}

#[test]
fn fax_machines_are_known_by_their_tones() {
    let answers = Audio::new(10).silence(1_000).tone(2_100.0, 3_000).silence(500).told();
    assert!(matches!(answers[..], [AnswerSignal::Fax { which: FaxTone::Answering, .. }]), "{answers:?}");
    let calls = Audio::new(10).silence(1_000).tone(1_100.0, 500).silence(3_000).told();
    assert!(matches!(calls[0], AnswerSignal::Fax { which: FaxTone::Calling, .. }), "{calls:?}");
    // A mailbox may beep so.
    let beeps =
        Audio::new(10).silence(200).voice(5_000).silence(400).tone(1_100.0, 500).silence(1_000).told();
    assert_eq!(names(&beeps), ["machine", "beep"], "{beeps:?}");
}

#[test]
fn a_fax_machine_whose_tone_is_broken_or_is_heard_from_its_middle_on_is_no_mailbox() {
    let is_fax =
        |told: &[AnswerSignal]| matches!(told, [AnswerSignal::Fax { which: FaxTone::Answering, .. }]);
    // As it is heard by an engine that takes a call over.
    for rest in [320, 500, 800] {
        let told = Audio::new(10).tone(2_100.0, rest).silence(3_000).told();
        assert!(is_fax(&told), "{rest}: {told:?}");
    }
    let broken =
        Audio::new(10).silence(900).tone(2_100.0, 200).silence(400).tone(2_100.0, 160).silence(3_000);
    assert!(is_fax(&broken.told()), "{:?}", broken.told());
    // Too short to be sure of, and no beep either: nobody has said a word.
    let short = Audio::new(10).tone(2_100.0, 200).silence(3_000).told();
    assert!(!short.iter().any(|told| told.name() == "beep"), "{short:?}");
    // Behind a greeting it is one.
    let beep = Audio::new(10).silence(300).voice(5_000).silence(400).tone(2_100.0, 500).silence(3_000).told();
    assert_eq!(names(&beep), ["machine", "beep"], "{beep:?}");
}

#[test]
fn silence_is_told_and_at_the_limit_there_is_a_verdict() {
    let call = Audio::new(11).silence(12_000);
    let told = call.told();
    assert_eq!(names(&told), ["silence", "unsure"], "{told:?}");
    assert_eq!((millis(told[0].at()), millis(told[1].at())), (4_000, 8_000));
    assert_eq!(told[1].verdict(), Some(Party::Person));
    let told = call.told_of(&AnswerSettings { unsure: Party::Machine, limit_ms: 5_000, ..settings() }, 0);
    assert_eq!((told[1].verdict(), millis(told[1].at())), (Some(Party::Machine), 5_000));
    assert!(told[2..].iter().all(AnswerSignal::message_begins), "{told:?}");
}

#[test]
fn without_audio_the_clock_goes_on() {
    let mut answerer = Answerer::new(&settings(), R);
    let mut told = Vec::new();
    answerer.tick(Moment::from_millis(60_000), &mut |signal| told.push(signal));
    assert!(told.is_empty(), "nobody has answered");
    answerer.answered(Moment::from_millis(60_000));
    for tick in 0..=400 {
        answerer.tick(Moment::from_millis(60_000 + tick * 20), &mut |signal| told.push(signal));
    }
    assert_eq!(names(&told), ["silence", "unsure"], "{told:?}");
    assert_eq!(answerer.verdict(), Some(Party::Person));
}

#[test]
fn behind_a_machine_that_does_not_beep_silence_is_the_place() {
    let call = Audio::new(12).silence(200).voice(5_000);
    let ends = call.now();
    let told = call.silence(6_000).told();
    assert_eq!(names(&told), ["machine", "silence"], "{told:?}");
    assert!(told[1].message_begins());
    let after = millis(told[1].at()) - ends;
    assert!((2_200..=2_700).contains(&after), "{after} ms after the greeting");
}

#[test]
fn words_decide_at_once() {
    let mut answerer = Answerer::new(&settings(), R);
    let mut told = Vec::new();
    let mut tell = |signal| told.push(signal);
    answerer.answered(Moment::ZERO);
    answerer.words(Moment::from_millis(900), "hello you have", &mut tell);
    answerer.words(Moment::from_millis(1_500), "please leave a message", &mut tell);
    answerer.words(Moment::from_millis(1_600), "please leave a message after", &mut tell);
    assert_eq!(names(&told), ["machine"]);
    assert!(told[0].to_string().contains("words"), "{}", told[0]);
    let mut told = Vec::new();
    let mut answerer = Answerer::new(&settings(), R);
    answerer.answered(Moment::ZERO);
    answerer.words(Moment::from_millis(900), "how can I help you", &mut |signal| told.push(signal));
    answerer.words(Moment::from_millis(9_000), "voicemail", &mut |signal| told.push(signal));
    assert_eq!(names(&told), ["person", "machine"]);
}

/// A call that somebody hears along, who tells `texts` at those times: what is told, and what came into the ear.
fn heard_along(call: &Audio, texts: &[(u64, &str)]) -> (Vec<AnswerSignal>, Vec<EarItem>) {
    let (listener, ear, teller) = listener(&settings().phrases);
    let mut answerer = Answerer::new(&settings(), R);
    answerer.listen(listener);
    answerer.answered(Moment::ZERO);
    let (mut told, mut heard) = (Vec::new(), Vec::new());
    for (number, frame) in call.frames.iter().enumerate() {
        let now = Moment::from_millis((number as u64 + 1) * 20);
        texts
            .iter()
            .filter(|(at, _)| Moment::from_millis(*at) == now)
            .for_each(|(_, text)| teller.tell(text));
        answerer.frame(now, frame.as_ref(), &mut |signal| told.push(signal));
        heard.extend(std::iter::from_fn(|| ear.try_pop()));
    }
    (told, heard)
}

#[test]
fn who_hears_along_gets_one_utterance_and_its_words_decide_when_they_stand() {
    let call = Audio::new(21).silence(200).voice(1_000).silence(5_000);
    let (told, heard) =
        heard_along(&call, &[(600, "no one is"), (1_200, "no one is available to take your call")]);
    assert_eq!(names(&told)[..1], ["machine"], "{told:?}");
    assert_eq!(millis(told[0].at()), 1_360);
    assert!(matches!(heard[..2], [EarItem::Onset { .. }, EarItem::Audio(_)]));
    assert!(matches!(heard.last(), Some(EarItem::End { .. })), "the recogniser is let go");
    // What is understood for a moment only is nothing.
    let (told, heard) = heard_along(&call, &[(900, "how may i help"), (1_000, "however"), (1_100, "")]);
    assert_eq!(names(&told), ["person"], "{told:?}");
    assert!(matches!(told[0], AnswerSignal::Person { why: Why::Pause, .. }));
    assert!(matches!(heard.last(), Some(EarItem::End { .. })), "a person is heard for no more than 2 s");
}

#[test]
fn less_silence_is_asked_for_behind_hello_and_more_behind_you_have_reached() {
    let at = |voice: u64, texts: &[(u64, &str)]| {
        let call = Audio::new(22).silence(200).voice(voice).silence(4_000);
        let (told, _) = heard_along(&call, texts);
        assert_eq!(names(&told), ["person"], "{told:?}");
        millis(told[0].at())
    };
    let (without, greeting) = (at(400, &[]), at(400, &[(600, "hello")]));
    assert!(greeting + 40 <= without, "{greeting}, {without}");
    // Noise behind "hello?" is heard as such things too.
    assert_eq!(at(400, &[(600, "you have reached")]), without);
    let (without, opening) = (at(1_100, &[]), at(1_100, &[(1_000, "you have reached")]));
    assert!(without + 200 <= opening, "{without}, {opening}");
}

#[test]
fn noise_behind_a_short_answer_makes_no_machine_of_a_person() {
    let call = Audio::new(23).silence(200).voice(300).silence(3_000);
    let (told, _) = heard_along(&call, &[(500, "yes"), (1_600, "yes dial again")]);
    assert_eq!(names(&told), ["person"], "{told:?}");
}

#[test]
fn clicks_and_lost_packets_are_no_greeting() {
    let mut call = Audio::new(13).silence(500);
    for _ in 0..5 {
        call = call.voice(40).silence(460).lost(60);
    }
    assert_eq!(names(&call.silence(6_000).told()), ["silence", "unsure"]);
    let told = Audio::new(13).silence(400).voice(200).lost(40).voice(200).silence(3_000).told();
    assert_eq!(names(&told), ["person"], "{told:?}");
}

#[test]
fn wideband_is_judged_alike() {
    let wide = Rate::Hz16000;
    let mut sounds = Sounds::new(wide, 14);
    let mut frames = sounds.silence(500);
    frames.extend(sounds.sentence(5_000));
    frames.extend(sounds.silence(400));
    let mut tone = Tone::sine(wide, 1_000.0, -12.0);
    frames.extend((0..40).map(|_| tone.frame()));
    frames.extend(sounds.silence(3_000));
    let mut answerer = Answerer::new(&settings(), wide);
    answerer.answered(Moment::ZERO);
    let mut told = Vec::new();
    for (number, frame) in frames.iter().enumerate() {
        let now = Moment::from_millis((number as u64 + 1) * 10);
        answerer.frame(now, Some(frame), &mut |signal| told.push(signal));
    }
    assert_eq!(names(&told), ["machine", "beep"], "{told:?}");
}

#[test]
fn an_echo_of_the_bot_is_no_greeting() {
    let mut bot = Sounds::new(R, 15);
    let said = bot.sentence(4_000);
    let mut line = Sounds::new(R, 16);
    let mut answerer = Answerer::new(&settings(), R);
    answerer.answered(Moment::ZERO);
    let mut told = Vec::new();
    let delay = 6;
    for number in 0..said.len() + 100 {
        let now = Moment::from_millis((number as u64 + 1) * 20);
        let silent = Frame::silence(R);
        answerer.sent(said.get(number).unwrap_or(&silent));
        let mut heard = line.silence(20)[0];
        if let Some(back) = number.checked_sub(delay).and_then(|at| said.get(at)) {
            for (to, from) in heard.samples.iter_mut().zip(back.samples) {
                *to += from / 16;
            }
        }
        answerer.frame(now, Some(&heard), &mut |signal| told.push(signal));
    }
    assert!(!told.iter().any(|s| matches!(s, AnswerSignal::Machine { .. })), "{told:?}");
}

/// Whatever is heard, nobody panics, there is one verdict by the limit, and time does not go back.
#[test]
fn whatever_is_heard_there_is_a_verdict_by_the_limit() {
    for seed in 0..8 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut call = Audio::new(seed);
        while call.now() < 11_000 {
            let length = random.u64(1..40) * 20;
            call = match random.usize(..8) {
                0 | 1 => call.silence(length),
                2 => call.voice(length),
                3 => call.tone(f64::from(random.u16(60..3_900)), length),
                4 => {
                    let hz = [f64::from(random.u16(300..1_500)), f64::from(random.u16(300..3_000))];
                    call.two(hz, length)
                }
                5 => call.lost(length),
                6 => {
                    let loud = random.i16(1..32_000);
                    let noise = call.sounds.noise(loud, length);
                    call.frames.extend(noise.into_iter().map(Some));
                    call
                }
                _ => {
                    // Full scale, as a broken line has it.
                    let mut square = Frame::silence(R);
                    let half = random.usize(1..FRAME_SAMPLES);
                    for (i, sample) in square.samples.iter_mut().enumerate() {
                        *sample = if (i / half).is_multiple_of(2) { i16::MAX } else { i16::MIN };
                    }
                    call.frames.extend((0..length / 20).map(|_| Some(square)));
                    call
                }
            };
        }
        let how = AnswerSettings { limit_ms: 6_000, ringing_limit_ms: 10_000, ..settings() };
        let told = call.told_of(&how, 0);
        let rang = told.iter().any(|signal| matches!(signal, AnswerSignal::Ringing { .. }));
        let limit = if rang { 10_000 } else { 6_000 };
        let first = told.iter().find(|signal| signal.verdict().is_some());
        let first = first.unwrap_or_else(|| panic!("seed {seed}: no verdict: {told:?}"));
        assert!(millis(first.at()) <= limit, "seed {seed}: {told:?}");
        assert!(told.windows(2).all(|pair| pair[0].at() <= pair[1].at()), "seed {seed}: {told:?}");
        assert!(told.iter().all(|signal| !signal.to_string().is_empty()));
    }
}
