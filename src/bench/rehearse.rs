//! One run in virtual time: a capture, once from its beginning to its end, and the same bot as in real time.
//!
//! Nothing here is of this machine: the same capture gives the same figures everywhere, so two versions of the engine can
//! be compared to the millisecond.

use std::time::Duration;

use super::bot::{BARGE_IN, Bot, LISTENING};
use super::report::Run;
use super::track::{self, Track};
use super::{BenchError, Spans, Unit};
use crate::audio::Rate;
use crate::audio::ring::VoiceItem;
use crate::media::rehearsal::Rehearsal;
use crate::time::Moment;
use crate::turn::vad::WebRtcVad;

/// When the virtual time begins.
const BEGIN: Moment = Moment::from_millis(10_000);

/// The bot's tick comes so long after the packet that is on time: between two of them.
const PHASE: Duration = Duration::from_millis(10);

/// After the last packet, for the last sentence to be noticed as ended.
const AFTER: Duration = Duration::from_secs(2);

/// Plays the track to a call in virtual time.
///
/// # Errors
/// When this build does not have the track's format.
pub fn run(track: &Track) -> Result<Run, BenchError> {
    let vad = Box::new(WebRtcVad::new(Rate::Hz8000));
    let mut stage = Stage { call: Rehearsal::new(BEGIN, track.format, track.events, vad)?, bot: Bot::new() };
    stage.begin(BEGIN);
    let mut tick = BEGIN + PHASE;
    let mut sent = 0;
    for (at, datagram) in &track.packets {
        let at = BEGIN + *at;
        sent += stage.ticks(&mut tick, at);
        stage.waits(at);
        stage.call.packet(at, datagram);
        stage.listen(at);
    }
    sent += stage.ticks(&mut tick, BEGIN + track.length + AFTER);
    Ok(stage.tell(track, sent))
}

struct Stage {
    call: Rehearsal,
    bot: Bot,
}

impl Stage {
    /// All ticks before `end`; how many.
    fn ticks(&mut self, tick: &mut Moment, end: Moment) -> u64 {
        let mut count = 0;
        while *tick < end {
            let now = *tick;
            self.waits(now);
            if self.bot.saying {
                while self.call.say(VoiceItem::Audio(self.bot.play, Bot::sentence())) {}
            }
            self.call.tick(now);
            self.listen(now);
            count += 1;
            *tick = *tick + crate::audio::PTIME;
        }
        count
    }

    /// Gives up what is waited for no longer, each at its own time.
    fn waits(&mut self, until: Moment) {
        while let Some(due) = self.call.due(until).filter(|due| *due <= until) {
            self.call.wait_over(due);
            self.listen(due);
        }
    }

    fn listen(&mut self, now: Moment) {
        while let Some(event) = self.call.event() {
            if self.bot.takes(&event) {
                self.begin(now);
            }
        }
        self.call.ear().clear();
    }

    fn begin(&mut self, now: Moment) {
        self.call.listen(now, LISTENING);
        if let Some(play) = self.bot.begins(now) {
            self.call.begin_play(now, play, BARGE_IN);
        }
    }

    fn tell(mut self, track: &Track, sent: u64) -> Run {
        while self.call.heard().is_some() {}
        let (mut endpoint, mut barge_in, mut reply) = (Spans::default(), Spans::default(), Spans::default());
        self.bot.replies.iter().for_each(|span| reply.add(*span));
        let speech: Vec<_> = track.speech.iter().map(|(onset, end)| (BEGIN + *onset, BEGIN + *end)).collect();
        track::first_after(&self.bot.stops, track::onsets(&speech)).for_each(|span| barge_in.add(span));
        track::first_after(&self.bot.endpoints, track::ends(&speech)).for_each(|span| endpoint.add(span));
        let stats = self.call.stats();
        Run {
            fixture: track.name.clone(),
            transport: "rtp".into(),
            format: track.format.name().into(),
            calls: 1,
            seconds: (track.length + AFTER).as_secs_f64(),
            in_virtual_time: true,
            speech_end_to_endpoint_ms: endpoint.distribution(Unit::Millis),
            reply_to_first_frame_us: reply.distribution(Unit::Micros),
            barge_in_to_last_frame_ms: barge_in.distribution(Unit::Millis),
            caller_packets_sent: track.packets.len() as u64,
            caller_packets_received: stats.stream.received + stats.stream.malformed,
            caller_packets_lost: stats.stream.lost,
            caller_packets_late: stats.stream.late,
            concealed_ms: stats.concealed_ms,
            bot_packets_received: sent,
            utterances: track.speech.len() as u64,
            endpoints: endpoint.count(),
            cut_offs: track::count_within(&self.bot.endpoints, &speech),
            ..Run::default()
        }
    }
}
