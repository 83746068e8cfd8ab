//! One call in virtual time: every millisecond is where the test puts it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::mpsc;

use super::{Loud, unlike_the_bot};
use crate::audio::codec::{ByteOrder, Decoder, Encoder, Format};
use crate::audio::g711::Law;
use crate::audio::ring::{self, EarItem, EarReader, PlayId, TapeReader, VoiceItem, VoiceWriter};
use crate::audio::tone::Tone;
use crate::audio::{FRAME_SAMPLES, Frame, Rate};
use crate::id::CallId;
use crate::media::hearing::Hearing;
use crate::media::line::{LONGEST_PACKET, Line, LineParts};
use crate::media::playout::Playout;
use crate::media::tape::Tape;
use crate::media::transport::Transport;
use crate::media::transport::rtp::Rtp;
use crate::media::{CallShared, Command, MediaEvent, PlayEnd};
use crate::rtp::packet::{HEADER_LEN, Header, Packet};
use crate::rtp::{PayloadType, Seq, Ssrc, Timestamp};
use crate::time::{Moment, WallTime};
use crate::turn::{BargeIn, Listening, TurnSignal, TurnTaker};

/// A call with a caller on one side and a bot on the other.
pub(super) struct Booth {
    line: Line,
    now: Moment,
    ear: EarReader,
    voice: Option<VoiceWriter>,
    tape: TapeReader,
    events: mpsc::Receiver<MediaEvent>,
    said: u16,
}

const INTERRUPTIBLE: BargeIn =
    BargeIn { min_speech: Duration::from_millis(100), pitched_percent: 0, ..BargeIn::ALLOWED };

const LISTENING: Listening = Listening {
    no_input: Duration::from_secs(5),
    early: Duration::from_millis(100),
    silence: Duration::from_millis(500),
    min_speech: Duration::from_millis(60),
    max_speech: Duration::from_secs(20),
    ..Listening::fixed(Duration::from_millis(500))
};

impl Booth {
    pub(super) fn new() -> Self {
        Self::with(None)
    }

    /// One of a call that we made, where somebody finds out who answered.
    fn with(answerer: Option<Box<crate::turn::answer::Answerer>>) -> Self {
        let (ear_writer, ear) = ring::ear(1_000);
        let (voice, voice_reader) = ring::voice(50);
        let (tape_writer, tape) = ring::tape(1_000);
        let (events_out, events) = mpsc::channel(64);
        let now = Moment::from_millis(1_000);
        let decoder = Decoder::new(Format::Ulaw, ByteOrder::Big).expect("it is built in");
        let parts = LineParts {
            call: CallId::new(WallTime(0)),
            key: 1,
            peer: ([127, 0, 0, 1], 9).into(),
            transport: Transport::Rtp(Rtp::new(Format::Ulaw, PayloadType::EVENTS)),
            encoder: Encoder::new(Format::Ulaw, ByteOrder::Big).expect("it is built in"),
            hearing: Hearing::new(TurnTaker::new(Box::new(Loud)), ear_writer, decoder, Rate::Hz8000)
                .answering(answerer),
            playout: Playout::new(voice_reader, Rate::Hz8000, false),
            tape: Some(Tape::new(tape_writer)),
            events: events_out,
            shared: Arc::new(CallShared::default()),
        };
        Self { line: Line::new(now, parts), now, ear, voice: Some(voice), tape, events, said: 0 }
    }

    fn command(&mut self, command: Command) {
        self.line.command(self.now, command);
    }

    fn write(&mut self, play: u32, frames: usize) {
        let voice = self.voice.as_ref().expect("the bot has not gone");
        for _ in 0..frames {
            let frame = Frame { rate: Rate::Hz8000, samples: [8_031; FRAME_SAMPLES] };
            voice.push(VoiceItem::Audio(PlayId(play), frame)).now_or_never().expect("room").expect("a call");
        }
    }

    fn finish(&mut self, play: u32) {
        let voice = self.voice.as_ref().expect("the bot has not gone");
        voice.push(VoiceItem::End(PlayId(play))).now_or_never().expect("room").expect("a call");
    }

    /// Announces a play, writes all of it, and ends it.
    pub(super) fn play(&mut self, play: u32, frames: usize) {
        self.command(Command::Announce(PlayId(play), INTERRUPTIBLE));
        self.write(play, frames);
        self.finish(play);
    }

    /// 20 ms later: what goes out.
    pub(super) fn tick(&mut self) -> (Header, Vec<i16>) {
        self.tick_after(0)
    }

    /// The same after `skipped` ticks that did not happen.
    fn tick_after(&mut self, skipped: u64) -> (Header, Vec<i16>) {
        let packet = self.tick_into(skipped);
        let packet = Packet::parse(&packet).expect("what we send is RTP");
        (packet.header, packet.payload.iter().map(|code| Law::Mu.decode(*code)).collect())
    }

    /// The same, and nobody looks.
    pub(super) fn tick_raw(&mut self) {
        self.tick_into(0);
    }

    fn tick_into(&mut self, skipped: u64) -> [u8; HEADER_LEN + FRAME_SAMPLES] {
        self.now = self.now + Duration::from_millis(20 * (skipped + 1));
        let mut packet = [0; LONGEST_PACKET];
        let len = self.line.tick(self.now, skipped, &mut packet);
        self.line.ticked(self.now + Duration::from_micros(3), Some(true));
        packet[..len].try_into().expect("a packet of 20 ms")
    }

    pub(super) fn listen(&mut self) {
        self.command(Command::Listen(LISTENING));
    }

    pub(super) fn payload(sample: i16) -> [u8; FRAME_SAMPLES] {
        [Law::Mu.encode(sample); FRAME_SAMPLES]
    }

    /// The caller's next packet is lost on its way.
    pub(super) fn skip_packet(&mut self) {
        self.said += 1;
    }

    /// Two of the caller's packets, the second one first.
    pub(super) fn swap_packets(&mut self, payload: &[u8]) {
        self.said += 1;
        self.packet(0, payload);
        self.said -= 2;
        self.packet(0, payload);
        self.said += 1;
    }

    /// Ticks, each with a packet of the caller in its middle.
    fn caller(&mut self, ticks: usize, sample: i16) {
        for _ in 0..ticks {
            self.packet(0, &[Law::Mu.encode(sample); FRAME_SAMPLES]);
            self.tick();
        }
    }

    pub(super) fn packet(&mut self, payload_type: u8, payload: &[u8]) {
        let at = self.now + Duration::from_millis(10);
        let header = Header {
            marker: false,
            payload_type: PayloadType::new(payload_type).expect("a payload type below 128"),
            seq: Seq(self.said),
            timestamp: Timestamp(u32::from(self.said) * 160),
            ssrc: Ssrc(1),
        };
        self.said += 1;
        let mut datagram = [0; 500];
        let room = header.write(&mut datagram).expect("room for a header");
        room[..payload.len()].copy_from_slice(payload);
        self.line.packet(at, &datagram[..HEADER_LEN + payload.len()]);
    }

    fn events(&mut self) -> Vec<MediaEvent> {
        std::iter::from_fn(|| self.events.try_recv().ok()).collect()
    }

    fn ends(&mut self) -> Vec<(u32, u128, PlayEnd)> {
        let ended = self.events().into_iter().filter_map(|event| match event {
            MediaEvent::PlayEnded { play, heard, end, .. } => Some((play.0, heard.as_millis(), end)),
            _ => None,
        });
        ended.collect()
    }
}

fn is_speech(samples: &[i16]) -> bool {
    samples.iter().all(|sample| *sample > 7_000)
}

fn is_silence(samples: &[i16]) -> bool {
    samples.iter().all(|sample| *sample == 0)
}

#[test]
fn a_play_goes_out_frame_by_frame_and_is_heard_to_the_millisecond() {
    let mut booth = Booth::new();
    assert!(is_silence(&booth.tick().1));
    booth.play(1, 3);
    for _ in 0..3 {
        assert!(is_speech(&booth.tick().1));
    }
    let started = booth.now - Duration::from_millis(40) + Duration::from_micros(3);
    assert_eq!(booth.events(), [MediaEvent::PlayStarted { play: PlayId(1), at: started }]);
    assert!(is_silence(&booth.tick().1[40..]));
    assert_eq!(booth.ends(), [(1, 60, PlayEnd::Finished)]);
}

#[test]
fn two_plays_follow_each_other_without_a_gap() {
    let mut booth = Booth::new();
    booth.play(1, 2);
    booth.play(2, 2);
    let frames: Vec<bool> = (0..5).map(|_| is_speech(&booth.tick().1)).collect();
    assert_eq!(frames, [true, true, true, true, false]);
    assert_eq!(booth.ends(), [(1, 40, PlayEnd::Finished), (2, 40, PlayEnd::Finished)]);
}

#[test]
fn a_play_of_16_khz_lasts_as_long_as_it_should() {
    let mut booth = Booth::new();
    let mut tone = Tone::sine(Rate::Hz16000, 1_000.0, -6.0);
    let voice = booth.voice.as_ref().expect("the bot has not gone");
    for _ in 0..9 {
        let item = VoiceItem::Audio(PlayId(1), tone.frame());
        voice.push(item).now_or_never().expect("room").expect("a call");
    }
    booth.finish(1);
    booth.tick();
    let heard: Vec<i16> = (0..4).flat_map(|_| booth.tick().1).collect();
    let level = crate::audio::level::rms_dbfs(&heard[40..]);
    assert!((level + 9.0).abs() < 0.3, "{level} dBFS");
    booth.tick();
    booth.tick();
    assert_eq!(booth.ends(), [(1, 100, PlayEnd::Finished)]);
}

#[test]
fn a_flush_stops_within_a_frame_and_without_a_click() {
    let mut booth = Booth::new();
    booth.play(1, 20);
    booth.play(2, 20);
    booth.tick();
    booth.tick();
    booth.command(Command::Flush(PlayId(1)));
    assert_eq!(booth.ends(), [(1, 40, PlayEnd::Flushed)]);
    // The second play is not part of it and begins at the next tick.
    assert!(is_speech(&booth.tick().1));
    booth.command(Command::Flush(PlayId(2)));
    let after = booth.tick().1;
    assert!(after.windows(2).all(|pair| pair[0] >= pair[1]) && after[0] < 8_031, "a ramp down");
    assert!(is_silence(&after[40..]));
    assert!(is_silence(&booth.tick().1));
    assert_eq!(booth.ends(), [(2, 20, PlayEnd::Flushed)]);
}

#[test]
fn what_is_written_of_a_flushed_play_later_is_thrown_away() {
    let mut booth = Booth::new();
    booth.command(Command::Announce(PlayId(1), INTERRUPTIBLE));
    booth.write(1, 2);
    booth.tick();
    booth.command(Command::Flush(PlayId(1)));
    booth.write(1, 40);
    booth.finish(1);
    booth.play(2, 1);
    assert!(is_speech(&booth.tick().1), "the next play begins at once");
    booth.tick();
    assert_eq!(booth.ends(), [(1, 20, PlayEnd::Flushed), (2, 20, PlayEnd::Finished)]);
}

#[test]
fn a_play_flushed_before_it_began_was_not_heard_at_all() {
    let mut booth = Booth::new();
    booth.play(1, 5);
    booth.play(2, 5);
    booth.command(Command::Flush(PlayId(2)));
    assert!(is_silence(&booth.tick().1));
    assert_eq!(booth.ends(), [(1, 0, PlayEnd::Flushed), (2, 0, PlayEnd::Flushed)]);
}

#[test]
fn an_empty_play_ends_as_well() {
    let mut booth = Booth::new();
    booth.play(1, 0);
    booth.finish(2);
    booth.tick();
    assert_eq!(booth.ends(), [(1, 0, PlayEnd::Finished), (2, 0, PlayEnd::Finished)]);
}

#[test]
fn an_underrun_is_silence_counted_and_not_heard() {
    let mut booth = Booth::new();
    booth.command(Command::Announce(PlayId(1), INTERRUPTIBLE));
    booth.write(1, 1);
    booth.tick();
    assert!(is_silence(&booth.tick().1[40..]));
    assert!(is_silence(&booth.tick().1));
    booth.write(1, 1);
    booth.finish(1);
    assert!(is_speech(&booth.tick().1));
    booth.tick();
    assert_eq!(booth.ends(), [(1, 40, PlayEnd::Finished)]);
    assert_eq!(booth.line.stats().underruns, 2);
}

#[test]
fn a_bot_that_goes_away_in_the_middle_leaves_a_finished_play() {
    let mut booth = Booth::new();
    booth.command(Command::Announce(PlayId(1), INTERRUPTIBLE));
    booth.write(1, 2);
    booth.tick();
    booth.voice = None;
    booth.tick();
    assert_eq!(booth.ends(), []);
    booth.tick();
    assert_eq!(booth.ends(), [(1, 40, PlayEnd::Finished)]);
}

#[test]
fn an_announcement_that_comes_a_tick_after_its_audio_still_counts() {
    let mut booth = Booth::new();
    booth.write(1, 20);
    assert!(is_silence(&booth.tick().1));
    booth.command(Command::Announce(PlayId(1), INTERRUPTIBLE));
    booth.caller(20, 9_000);
    assert_eq!(booth.ends().last().map(|end| end.2), Some(PlayEnd::BargedIn));
}

#[test]
fn a_missed_tick_is_skipped_and_never_made_up_for() {
    let mut booth = Booth::new();
    booth.play(1, 4);
    let before = booth.tick().0;
    let (after, samples) = booth.tick_after(3);
    assert!(is_speech(&samples), "the play goes on where it was");
    assert_eq!(after.seq, before.seq.plus(1));
    assert_eq!(after.timestamp.after(before.timestamp), 4 * 160);
    assert!(after.marker);
    booth.tick();
    booth.tick();
    booth.tick();
    assert_eq!(booth.ends(), [(1, 80, PlayEnd::Finished)]);
    assert_eq!(booth.line.stats().skipped_ticks, 3);
    assert_eq!(std::iter::from_fn(|| booth.tape.try_pop()).count(), 8, "the tape keeps the time");
}

#[test]
fn a_caller_who_speaks_interrupts_in_the_same_moment() {
    let mut booth = Booth::new();
    booth.command(Command::Announce(PlayId(1), BargeIn { duck_db: 0, ..INTERRUPTIBLE }));
    booth.write(1, 45);
    booth.caller(5, 0);
    assert_eq!(booth.events().len(), 1);
    for n in 0..20 {
        booth.packet(0, &unlike_the_bot(n));
        let events = booth.events();
        if let [] | [MediaEvent::Turn(TurnSignal::Duck { .. })] = events[..] {
            // Full level, or 18 dB below it: it goes on until it is sure that he interrupts.
            assert!(booth.tick().1.iter().all(|sample| *sample > 900));
            continue;
        }
        let [MediaEvent::Turn(TurnSignal::BargeIn { .. }), MediaEvent::PlayEnded { end, heard, .. }] =
            events[..]
        else {
            panic!("{events:?}")
        };
        assert_eq!(end, PlayEnd::BargedIn);
        assert!((160..400).contains(&heard.as_millis()), "{heard:?}");
        assert!(is_silence(&booth.tick().1[40..]));
        return;
    }
    panic!("the caller was not heard");
}

#[test]
fn a_caller_who_interrupts_ends_what_was_to_follow_but_not_what_must_be_heard() {
    let mut booth = Booth::new();
    booth.play(1, 20);
    booth.play(2, 3);
    booth.command(Command::Announce(PlayId(3), BargeIn { voice: false, keys: false, ..INTERRUPTIBLE }));
    booth.write(3, 2);
    booth.finish(3);
    booth.caller(15, 9_000);
    let ends: Vec<(u32, PlayEnd)> = booth.ends().into_iter().map(|(play, _, end)| (play, end)).collect();
    assert_eq!(ends, [(1, PlayEnd::BargedIn), (2, PlayEnd::BargedIn), (3, PlayEnd::Finished)]);
}

#[test]
fn a_key_interrupts_when_it_goes_down_and_is_told_when_it_comes_up() {
    let mut booth = Booth::new();
    booth.play(1, 40);
    booth.caller(2, 0);
    booth.events();
    booth.packet(101, &[5, 10, 0, 160]);
    assert_eq!(booth.ends(), [(1, 40, PlayEnd::BargedIn)]);
    for _ in 0..11 {
        booth.tick();
    }
    let events = booth.events();
    let [MediaEvent::Digit { digit: '5', duration, .. }] = events[..] else { panic!("{events:?}") };
    assert_eq!(duration, Duration::from_millis(20));
}

#[test]
fn a_key_that_came_another_way_interrupts_too() {
    let mut booth = Booth::new();
    booth.play(1, 40);
    booth.caller(2, 0);
    booth.command(Command::Key(booth.now));
    assert_eq!(booth.ends(), [(1, 40, PlayEnd::BargedIn)]);
}

#[test]
fn an_utterance_comes_with_what_was_said_before_it_was_noticed() {
    let mut booth = Booth::new();
    booth.command(Command::Listen(LISTENING));
    booth.caller(40, 10);
    booth.caller(30, 9_000);
    booth.caller(40, 10);
    let items: Vec<EarItem> = std::iter::from_fn(|| booth.ear.try_pop()).collect();
    assert!(matches!(items.first(), Some(EarItem::Onset { .. })));
    assert!(matches!(items.last(), Some(EarItem::End { .. })));
    assert!(items.iter().any(|item| matches!(item, EarItem::Pause { .. })));
    let loud = |item: &&EarItem| matches!(item, EarItem::Audio(frame) if frame.samples[0] > 8_000);
    assert_eq!(items.iter().filter(loud).count(), 30, "all of the speech is there, once");
    let before = items.iter().skip(1).take_while(|item| !loud(item)).count();
    assert!((14..=16).contains(&before), "{before} frames of pre-roll");
}

#[test]
fn a_new_question_ends_the_utterance_that_is_under_way() {
    let mut booth = Booth::new();
    booth.command(Command::Listen(LISTENING));
    booth.caller(20, 9_000);
    booth.command(Command::Deaf);
    booth.caller(20, 9_000);
    let items: Vec<EarItem> = std::iter::from_fn(|| booth.ear.try_pop()).collect();
    assert!(matches!(items.first(), Some(EarItem::Onset { .. })));
    assert!(matches!(items.last(), Some(EarItem::End { .. })));
    assert_eq!(items.len(), 22);
}

#[test]
fn a_lost_frame_is_concealed_and_the_timeline_stays_whole() {
    let mut booth = Booth::new();
    booth.command(Command::Listen(LISTENING));
    booth.caller(10, 9_000);
    booth.said += 1;
    booth.tick();
    booth.caller(10, 9_000);
    let frames: Vec<Frame> = std::iter::from_fn(|| booth.ear.try_pop())
        .filter_map(|item| if let EarItem::Audio(frame) = item { Some(frame) } else { None })
        .collect();
    assert_eq!(frames.len(), 21);
    // It goes on as it was before and after.
    assert!((8_000..10_000).contains(&frames[10].samples[80]), "{}", frames[10].samples[80]);
    assert_eq!(booth.line.stats().stream.lost, 1);
}

#[test]
fn packets_of_another_length_and_the_other_law_become_frames_all_the_same() {
    let mut booth = Booth::new();
    for _ in 0..4 {
        booth.packet(8, &[Law::A.encode(9_000); 240]);
    }
    assert_eq!(booth.line.stats().other_law, 4);
    let mut heard = 0;
    for _ in 0..4 {
        booth.tick();
        heard += booth.tape.try_pop().map_or(0, |item| usize::from(item.caller.samples[0] > 8_000));
    }
    assert_eq!(heard, WAITING_FRAMES, "six frames came between two ticks; the tape keeps three");
}

const WAITING_FRAMES: usize = 3;

#[test]
fn the_tape_has_both_sides_of_the_same_moment() {
    let mut booth = Booth::new();
    booth.play(1, 2);
    booth.caller(1, 3_000);
    booth.tick();
    booth.caller(1, -3_000);
    let tape: Vec<(i16, i16)> = std::iter::from_fn(|| booth.tape.try_pop())
        .map(|item| (item.caller.samples[159].signum(), item.bot.samples[159].signum()))
        .collect();
    assert_eq!(tape, [(1, 1), (0, 1), (-1, 0)]);
}

#[test]
fn three_seconds_without_a_packet_are_told_once_and_so_is_the_return() {
    let mut booth = Booth::new();
    let start = booth.now;
    for _ in 0..200 {
        booth.tick();
    }
    booth.caller(2, 0);
    let events = booth.events();
    let [MediaEvent::Quiet { since }, MediaEvent::Back { at }] = events[..] else { panic!("{events:?}") };
    assert_eq!((since, at.since(start)), (start, Duration::from_millis(4_010)));
}

#[test]
fn events_that_nobody_reads_are_counted_and_not_queued_without_end() {
    let mut booth = Booth::new();
    for play in 1..=40 {
        booth.play(play, 1);
        booth.tick();
    }
    booth.tick();
    assert_eq!((booth.events().len(), booth.line.stats().events_dropped), (64, 16));
}

#[test]
fn rubbish_from_the_peer_is_counted_and_harms_nothing() {
    let mut booth = Booth::new();
    for len in 0..40 {
        booth.line.packet(booth.now, &vec![0xa5; len]);
    }
    booth.caller(1, 9_000);
    assert!(booth.line.stats().stream.malformed >= 12);
    assert!(booth.tape.try_pop().is_some());
}

fn duck(at: Moment) -> TurnSignal {
    TurnSignal::Duck { onset: at, at }
}

fn restore(at: Moment) -> TurnSignal {
    TurnSignal::Restore { at, why: crate::turn::Calm::Short }
}

fn is_ducked(samples: &[i16]) -> bool {
    // 18 dB below 8,031, and a step of the law.
    samples.iter().all(|sample| (950..1_100).contains(sample))
}

#[test]
fn a_duck_is_heard_within_a_frame_and_taken_back_within_one() {
    let mut booth = Booth::new();
    booth.play(1, 20);
    assert!(is_speech(&booth.tick().1));
    booth.line.decided(booth.now, duck(booth.now));
    let after = booth.tick().1;
    assert!(after.windows(2).all(|pair| pair[0] >= pair[1]), "a ramp down");
    assert!(is_ducked(&after[40..]) && is_ducked(&booth.tick().1));
    booth.line.decided(booth.now, restore(booth.now));
    let after = booth.tick().1;
    assert!(after.windows(2).all(|pair| pair[0] <= pair[1]), "a ramp up");
    assert!(is_speech(&after[40..]) && is_speech(&booth.tick().1));
}

#[test]
fn a_bot_that_is_hushed_is_as_good_as_silent_and_comes_back_where_it_is() {
    let mut booth = Booth::new();
    booth.play(1, 20);
    booth.tick();
    let hush = TurnSignal::Hush { onset: booth.now, at: booth.now };
    booth.line.decided(booth.now, hush);
    assert!(is_speech(&booth.tick().1), "only what is down goes down further");
    booth.line.decided(booth.now, duck(booth.now));
    booth.tick();
    booth.line.decided(booth.now, hush);
    booth.tick();
    // 50 dB below 8,031.
    assert!(booth.tick().1.iter().all(|sample| sample.abs() <= 32));
    booth.line.decided(booth.now, restore(booth.now));
    booth.tick();
    assert!(is_speech(&booth.tick().1));
}

#[test]
fn what_must_be_heard_is_not_ducked_and_no_duck_outlasts_its_play() {
    let mut booth = Booth::new();
    booth.play(1, 3);
    booth.command(Command::Announce(PlayId(2), BargeIn::FORBIDDEN));
    booth.write(2, 5);
    booth.tick();
    booth.line.decided(booth.now, duck(booth.now));
    booth.tick();
    assert!(is_ducked(&booth.tick().1));
    assert!(is_speech(&booth.tick().1), "the second play begins at level");
    booth.line.decided(booth.now, duck(booth.now));
    assert!(is_speech(&booth.tick().1), "and stays there");
}

#[test]
fn an_utterance_that_was_none_is_taken_back_in_the_ear() {
    let mut booth = Booth::new();
    booth.listen();
    booth.line.decided(booth.now, TurnSignal::Onset { at: booth.now });
    booth.line.decided(booth.now, restore(booth.now));
    let mut items: Vec<_> = std::iter::from_fn(|| booth.ear.try_pop()).collect();
    assert_eq!(items.pop(), Some(EarItem::TakenBack));
}

#[test]
fn who_answered_is_found_out_while_the_bot_talks() {
    use crate::audio::tone::Tone;
    use crate::turn::answer::{AnswerSettings, AnswerSignal, Answerer};

    let mut answerer = Box::new(Answerer::new(&AnswerSettings::default(), Rate::Hz8000));
    answerer.answered(Moment::from_millis(1_000));
    let mut booth = Booth::with(Some(answerer));
    booth.play(1, 40);
    let mut tone = Tone::sine(Rate::Hz8000, 1_000.0, -12.0);
    for number in 0..70 {
        let silent = [Law::Mu.encode(0); FRAME_SAMPLES];
        let payload = if (20..40).contains(&number) {
            tone.frame().samples.map(|sample| Law::Mu.encode(sample))
        } else {
            silent
        };
        booth.packet(0, &payload);
        booth.tick();
    }
    let told: Vec<AnswerSignal> = std::iter::from_fn(|| booth.events.try_recv().ok())
        .filter_map(|event| if let MediaEvent::Answer(signal) = event { Some(signal) } else { None })
        .collect();
    let names: Vec<_> = told.iter().map(AnswerSignal::name).collect();
    assert_eq!(names, ["machine", "beep"], "{told:?}");
}
