//! A call over WebSocket in virtual time, with a far end that queues what it gets and plays it by its own clock, as
//! Asterisk's chan_websocket does.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::mpsc;

use super::allocations::asked;
use super::{Loud, unlike_the_bot};
use crate::audio::codec::{ByteOrder, Decoder, Encoder, Format};
use crate::audio::g711::Law;
use crate::audio::ring::{self, EarReader, PlayId, VoiceItem, VoiceWriter};
use crate::audio::{FRAME_SAMPLES, Frame, Rate};
use crate::id::CallId;
use crate::media::hearing::Hearing;
use crate::media::line::{LONGEST_PACKET, Line, LineParts};
use crate::media::playout::Playout;
use crate::media::transport::Transport;
use crate::media::transport::frames::{self, Message, Opcode, Reader};
use crate::media::transport::outbox::Outbox;
use crate::media::transport::websocket::WebSocket;
use crate::media::{CallShared, Command, MediaEvent, PlayEnd};
use crate::time::{Moment, WallTime};
use crate::turn::{BargeIn, Listening, TurnSignal, TurnTaker};

/// What stands in Asterisk's queue.
enum Queued {
    Audio(i16),
    Mark(String),
}

/// Asterisk's side.
struct Far {
    reader: Reader,
    queue: VecDeque<Queued>,
    next: Duration,
    /// How long its 20 ms are.
    step: Duration,
    json: bool,
    knows_marks: bool,
    /// It reads and plays nothing.
    stalled: bool,
    out: Vec<u8>,
    /// What it played: the last sample of each frame; [`None`] where it had nothing.
    played: Vec<Option<i16>>,
    longest: usize,
    flushes: usize,
}

impl Far {
    fn say(&mut self, opcode: Opcode, payload: &[u8]) {
        let mut outbox = Outbox::new(2_048);
        assert!(frames::push(&mut outbox, opcode, [payload, &[], &[]], None, 0));
        self.out.extend_from_slice(outbox.pending());
    }

    fn tell(&mut self, event: &str, id: Option<&str>) {
        let text = match (self.json, id) {
            (false, None) => event.to_owned(),
            (false, Some(id)) => format!("{event} {id}"),
            (true, id) => {
                format!(r#"{{"event":"{event}","channel_id":"c","correlation_id":"{}"}}"#, id.unwrap_or(""))
            }
        };
        self.say(Opcode::Text, text.as_bytes());
    }

    fn start(&mut self) {
        let text = if self.json {
            r#"{"event":"MEDIA_START","channel":"WebSocket/x","format":"ulaw","optimal_frame_size":160,"ptime":20,"channel_variables":{"A":"\"1\""}}"#
        } else {
            "MEDIA_START connection_id:c channel:WebSocket/x channel_id:m format:ulaw optimal_frame_size:160 ptime:20"
        };
        self.say(Opcode::Text, text.as_bytes());
    }

    fn take(&mut self, bytes: &[u8]) {
        let mut messages = Vec::new();
        self.reader.read(bytes, &mut |message| match message {
            Message::Binary(audio) => messages.push((true, audio.to_vec())),
            Message::Text(text) => messages.push((false, text.to_vec())),
            _ => {}
        });
        for (audio, payload) in messages {
            if audio {
                assert_eq!(payload.len(), 160);
                self.queue.push_back(Queued::Audio(Law::Mu.decode(payload[159])));
                self.longest =
                    self.longest.max(self.queue.iter().filter(|q| matches!(q, Queued::Audio(_))).count());
            } else {
                self.command(&String::from_utf8(payload).expect("commands are text"));
            }
        }
    }

    fn command(&mut self, text: &str) {
        let (name, id) = if self.json {
            let value: serde_json::Value = serde_json::from_str(text).expect("the dialect that it spoke");
            let word = |name| value[name].as_str().unwrap_or_default().to_owned();
            (word("command"), word("correlation_id"))
        } else {
            let (name, id) = text.split_once(' ').unwrap_or((text, ""));
            (name.to_owned(), id.to_owned())
        };
        match name.as_str() {
            "MARK_MEDIA" if self.knows_marks => self.queue.push_back(Queued::Mark(id)),
            "MARK_MEDIA" => {}
            "FLUSH_MEDIA" => {
                self.queue.clear();
                self.flushes += 1;
            }
            "GET_STATUS" => {
                let length = self.queue.len();
                self.say(
                    Opcode::Text,
                    format!("STATUS channel_id:c queue_length:{length} xon_level:800").as_bytes(),
                );
            }
            other => panic!("Asterisk knows no {other}"),
        }
    }

    /// Its timer fires.
    fn play(&mut self) {
        while let Some(Queued::Mark(_)) = self.queue.front() {
            if let Some(Queued::Mark(id)) = self.queue.pop_front() {
                self.tell("MEDIA_MARK_PROCESSED", Some(&id));
            }
        }
        let frame = self.queue.pop_front();
        self.played.push(frame.map(|frame| match frame {
            Queued::Audio(sample) => sample,
            Queued::Mark(_) => unreachable!("marks were taken"),
        }));
    }
}

/// A call with a bot on one side.
struct Booth {
    line: Line,
    far: Far,
    now: Moment,
    since: Moment,
    voice: VoiceWriter,
    events: mpsc::Receiver<MediaEvent>,
    _ear: EarReader,
    /// Of the allocator, by the line.
    asked: u64,
}

impl Booth {
    fn new(json: bool, knows_marks: bool, step: Duration) -> Self {
        let (ear_writer, ear) = ring::ear(1_000);
        let (voice, voice_reader) = ring::voice(200);
        let (events_out, events) = mpsc::channel(64);
        let now = Moment::from_millis(1_000);
        let decoder = Decoder::new(Format::Ulaw, ByteOrder::Little).expect("it is built in");
        let parts = LineParts {
            call: CallId::new(WallTime(0)),
            key: 1,
            peer: ([0, 0, 0, 0], 0).into(),
            transport: Transport::WebSocket(WebSocket::new(now, true)),
            encoder: Encoder::new(Format::Ulaw, ByteOrder::Little).expect("it is built in"),
            hearing: Hearing::new(TurnTaker::new(Box::new(Loud)), ear_writer, decoder, Rate::Hz8000),
            playout: Playout::new(voice_reader, Rate::Hz8000, true),
            tape: None,
            events: events_out,
            shared: Arc::new(CallShared::default()),
        };
        let far = Far {
            reader: Reader::new(),
            queue: VecDeque::new(),
            next: Duration::from_millis(7),
            step,
            json,
            knows_marks,
            stalled: false,
            out: Vec::new(),
            played: Vec::new(),
            longest: 0,
            flushes: 0,
        };
        let mut booth =
            Self { line: Line::new(now, parts), far, now, since: now, voice, events, _ear: ear, asked: 0 };
        booth.far.start();
        booth
    }

    fn usual() -> Self {
        let mut booth = Self::new(false, true, Duration::from_millis(20));
        booth.run(10);
        booth
    }

    /// Ticks of ours, with what happens at the far end in between.
    fn run(&mut self, ticks: usize) {
        for _ in 0..ticks {
            let until = self.now + Duration::from_millis(20);
            while !self.far.stalled && self.since + self.far.next <= until {
                self.now = self.since + self.far.next;
                self.far.next += self.far.step;
                self.far.play();
                self.hear();
            }
            if self.far.stalled {
                self.far.next += self.far.step;
            }
            self.now = until;
            let Self { line, now, .. } = self;
            self.asked += asked(|| {
                assert_eq!(line.tick(*now, 0, &mut [0; LONGEST_PACKET]), 0);
                line.ticked(*now, None);
            });
            self.exchange();
        }
    }

    /// What is written arrives, and what is said comes back.
    fn exchange(&mut self) {
        if !self.far.stalled {
            let pending = self.line.pending().to_vec();
            self.line.written(pending.len());
            self.far.take(&pending);
            self.hear();
        }
    }

    fn hear(&mut self) {
        let said = std::mem::take(&mut self.far.out);
        if !said.is_empty() {
            let Self { line, now, .. } = self;
            self.asked += asked(|| assert!(line.bytes(*now, &said)));
        }
    }

    fn command(&mut self, command: Command) {
        self.line.command(self.now, command);
        self.exchange();
    }

    fn play(&mut self, play: u32, frames: usize) {
        self.command(Command::Announce(PlayId(play), BargeIn::FORBIDDEN));
        for _ in 0..frames {
            let frame = Frame { rate: Rate::Hz8000, samples: [8_031; FRAME_SAMPLES] };
            self.push(VoiceItem::Audio(PlayId(play), frame));
        }
        self.push(VoiceItem::End(PlayId(play)));
    }

    fn push(&self, item: VoiceItem) {
        self.voice.push(item).now_or_never().expect("room").expect("a call");
    }

    fn ends(&mut self) -> Vec<(u32, u128, PlayEnd)> {
        std::iter::from_fn(|| self.events.try_recv().ok())
            .filter_map(|event| match event {
                MediaEvent::PlayEnded { play, heard, end, .. } => Some((play.0, heard.as_millis(), end)),
                _ => None,
            })
            .collect()
    }

    /// Frames of speech that the far end played.
    fn heard(&self) -> usize {
        self.far.played.iter().filter(|frame| frame.is_some_and(|sample| sample > 7_000)).count()
    }
}

#[test]
fn a_play_is_played_without_a_hole_and_told_to_be_over_when_it_is() {
    for json in [false, true] {
        let mut booth = Booth::new(json, true, Duration::from_millis(20));
        booth.run(10);
        booth.play(1, 30);
        booth.run(29);
        assert_eq!(booth.ends(), [], "not before the last frame was heard");
        booth.run(5);
        assert_eq!(booth.ends(), [(1, 600, PlayEnd::Finished)]);
        assert_eq!(booth.heard(), 30);
        let first = booth.far.played.iter().position(|f| f.is_some_and(|s| s > 7_000)).expect("heard");
        assert!(booth.far.played[first..first + 30].iter().all(|f| f.is_some_and(|s| s > 7_000)));
        assert!(booth.far.longest <= 4, "{} frames waited there", booth.far.longest);
    }
}

#[test]
fn speech_does_not_wait_behind_the_silence_before_it() {
    let mut booth = Booth::usual();
    let before = booth.far.played.len();
    booth.play(1, 5);
    booth.run(2);
    let waited = booth.far.played[before..].iter().take_while(|f| f.is_none_or(|s| s < 7_000)).count();
    assert!(waited <= 1, "{waited} frames");
    assert_eq!(booth.far.flushes, 1);
}

#[test]
fn a_flush_empties_the_far_queue_and_what_was_heard_is_exact() {
    for frames in 1..12 {
        let mut booth = Booth::usual();
        booth.play(1, 100);
        booth.run(frames);
        let before = booth.heard();
        booth.command(Command::Flush(PlayId(1)));
        booth.run(4);
        assert_eq!(booth.heard(), before, "nothing is heard after a flush");
        assert_eq!(booth.ends(), [(1, before as u128 * 20, PlayEnd::Flushed)]);
    }
}

#[test]
fn a_play_behind_a_flushed_one_begins_at_once() {
    let mut booth = Booth::usual();
    booth.play(1, 50);
    booth.run(10);
    booth.command(Command::Flush(PlayId(1)));
    booth.play(2, 5);
    booth.run(12);
    let ends = booth.ends();
    assert_eq!((ends.len(), ends[1]), (2, (2, 100, PlayEnd::Finished)), "{ends:?}");
    assert_eq!(booth.heard() as u128 * 20, ends[0].1 + 100);
}

#[test]
fn a_source_as_fast_as_speech_gets_no_holes() {
    let mut booth = Booth::usual();
    booth.command(Command::Announce(PlayId(1), BargeIn::FORBIDDEN));
    let frame = Frame { rate: Rate::Hz8000, samples: [8_031; FRAME_SAMPLES] };
    for _ in 0..50 {
        booth.push(VoiceItem::Audio(PlayId(1), frame));
        booth.run(1);
    }
    booth.push(VoiceItem::End(PlayId(1)));
    booth.run(5);
    assert_eq!(booth.ends(), [(1, 1_000, PlayEnd::Finished)]);
    let speech: Vec<usize> = (0..booth.far.played.len())
        .filter(|i| booth.far.played[*i].is_some_and(|sample| sample > 7_000))
        .collect();
    assert_eq!(speech.last().expect("heard") - speech[0], 49, "one behind the other");
}

#[test]
fn a_far_end_that_stalls_delays_no_play_and_is_spoken_to_again_when_it_is_back() {
    let mut booth = Booth::usual();
    booth.far.stalled = true;
    booth.play(1, 50);
    booth.run(100);
    let ends = booth.ends();
    assert_eq!((ends.len(), ends[0].0), (1, 1), "the play is over though nobody heard it: {ends:?}");
    assert!(ends[0].1 < 200, "{ends:?}");
    assert!(booth.line.stats().send_errors > 50);
    let most = booth.line.pending().len();
    assert!(most < 4_096, "{most} bytes wait");
    booth.far.stalled = false;
    booth.run(10);
    booth.play(2, 10);
    booth.run(20);
    assert_eq!(booth.ends(), [(2, 200, PlayEnd::Finished)]);
}

#[test]
fn a_server_without_marks_is_believed_to_keep_the_clock() {
    let mut booth = Booth::new(false, false, Duration::from_millis(20));
    booth.run(40);
    booth.play(1, 30);
    booth.run(40);
    assert_eq!(booth.ends(), [(1, 600, PlayEnd::Finished)]);
    booth.play(2, 50);
    booth.run(10);
    booth.command(Command::Flush(PlayId(2)));
    booth.run(1);
    let (heard, told) = (booth.heard() - 30, booth.ends());
    assert!(told[0].1.abs_diff(heard as u128 * 20) <= 20, "{heard} frames, told {told:?}");
}

#[test]
fn a_clock_that_is_fast_or_slow_builds_no_queue_and_starves_nobody() {
    for ppm in [-200_i64, 200] {
        for knows_marks in [true, false] {
            let step = Duration::from_nanos(20_000_000_u64.saturating_add_signed(20 * ppm));
            let mut booth = Booth::new(false, knows_marks, step);
            booth.run(50);
            let (dry, ticks) = (booth.far.played.iter().filter(|f| f.is_none()).count(), 10 * 60 * 50);
            booth.run(ticks);
            let holes = booth.far.played.iter().filter(|frame| frame.is_none()).count() - dry;
            assert!(
                booth.far.longest <= 6,
                "{} frames wait, {ppm} ppm, marks {knows_marks}",
                booth.far.longest
            );
            assert!(
                holes <= if knows_marks { 0 } else { 8 },
                "{holes} holes, {ppm} ppm, marks {knows_marks}"
            );
        }
    }
}

#[test]
fn an_xoff_is_obeyed_until_the_xon() {
    let mut booth = Booth::usual();
    booth.far.say(Opcode::Text, b"MEDIA_XOFF");
    booth.hear();
    let before = booth.far.longest;
    booth.run(10);
    assert!(booth.far.queue.is_empty() && booth.far.longest == before);
    booth.far.say(Opcode::Text, b"MEDIA_XON");
    booth.hear();
    booth.run(2);
    assert!(!booth.far.queue.is_empty());
}

#[test]
fn keys_audio_before_the_start_and_rubbish() {
    let mut booth = Booth::new(false, true, Duration::from_millis(20));
    let said = std::mem::take(&mut booth.far.out);
    booth.far.say(Opcode::Binary, &[Law::Mu.encode(9_000); 160]);
    booth.far.say(Opcode::Text, b"DTMF_END digit:5 channel_id:c");
    booth.far.say(Opcode::Text, b"SOMETHING_NEW a:b");
    booth.far.say(Opcode::Text, b"{\"event\":7}");
    booth.far.say(Opcode::Ping, b"are you there");
    booth.hear();
    booth.far.out = said;
    booth.run(2);
    let digit = std::iter::from_fn(|| booth.events.try_recv().ok())
        .find_map(|event| if let MediaEvent::Digit { digit, .. } = event { Some(digit) } else { None });
    assert_eq!(digit, Some('5'));
    assert_eq!(booth.line.stats().stream.received, 1);
    assert!(!booth.line.bytes(booth.now, &[0xff; 20]), "no WebSocket");
    assert_eq!(booth.line.stats().stream.malformed, 1);
}

#[test]
fn a_caller_who_interrupts_empties_the_far_queue() {
    let mut booth = Booth::usual();
    let listening = Listening {
        no_input: Duration::from_secs(5),
        early: Duration::from_millis(100),
        silence: Duration::from_millis(500),
        min_speech: Duration::from_millis(60),
        max_speech: Duration::from_secs(20),
        ..Listening::fixed(Duration::from_millis(500))
    };
    booth.command(Command::Listen(listening));
    let open = BargeIn { min_speech: Duration::from_millis(100), pitched_percent: 0, ..BargeIn::ALLOWED };
    booth.command(Command::Announce(PlayId(1), open));
    let frame = Frame { rate: Rate::Hz8000, samples: [8_031; FRAME_SAMPLES] };
    for _ in 0..100 {
        booth.push(VoiceItem::Audio(PlayId(1), frame));
    }
    booth.run(5);
    for n in 0..30 {
        booth.far.say(Opcode::Binary, &unlike_the_bot(n));
        booth.hear();
        booth.exchange();
        booth.run(1);
    }
    let ends = booth.ends();
    // Those that were ducked too.
    let heard = booth.far.played.iter().filter(|frame| frame.is_some_and(|sample| sample > 900)).count();
    assert_eq!(ends, [(1, heard as u128 * 20, PlayEnd::BargedIn)]);
    assert!(heard < 30);
}

#[test]
fn a_duck_replaces_what_waits_at_the_far_end() {
    for (json, marks) in [(false, true), (true, true), (false, false)] {
        let mut booth = Booth::new(json, marks, Duration::from_millis(20));
        booth.run(40);
        booth.command(Command::Announce(PlayId(1), BargeIn::ALLOWED));
        let frame = Frame { rate: Rate::Hz8000, samples: [8_031; FRAME_SAMPLES] };
        (0..50).for_each(|_| booth.push(VoiceItem::Audio(PlayId(1), frame)));
        booth.push(VoiceItem::End(PlayId(1)));
        booth.run(20);
        let (played, flushes) = (booth.far.played.len(), booth.far.flushes);
        let at = booth.now;
        booth.asked = 0;
        booth.asked = asked(|| booth.line.decided(at, TurnSignal::Duck { onset: at, at }));
        assert_eq!(booth.asked, 0, "no allocation");
        booth.exchange();
        booth.run(4);
        let ducked = |sample: &Option<i16>| sample.is_some_and(|sample| (950..1_100).contains(&sample));
        assert!(booth.far.played[played..].iter().all(ducked), "{:?}", &booth.far.played[played..]);
        assert_eq!(booth.far.flushes, flushes + 1);
        booth.line.decided(booth.now, TurnSignal::Restore { at: booth.now, why: crate::turn::Calm::Short });
        booth.exchange();
        booth.run(60);
        // Nothing was lost and nothing was heard twice.
        let heard = booth.far.played.iter().filter(|frame| frame.is_some_and(|sample| sample > 900)).count();
        assert_eq!(heard, 50, "JSON {json}, marks {marks}");
        assert_eq!(booth.ends(), [(1, 1_000, PlayEnd::Finished)]);
    }
}

#[test]
fn ten_seconds_of_a_call_allocate_nothing() {
    for json in [false, true] {
        let mut booth = Booth::new(json, true, Duration::from_millis(20));
        booth.run(10);
        booth.asked = 0;
        for play in 0..5 {
            booth.play(play + 1, 60);
            for i in 0..100_u8 {
                booth.far.say(Opcode::Binary, &[i; 160]);
                booth.run(1);
            }
        }
        assert_eq!(booth.asked, 0, "allocations and releases in 500 ticks, JSON {json}");
        assert_eq!(booth.ends().len(), 5);
    }
}
