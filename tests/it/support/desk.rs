//! A bot's side of calls without an engine: channels, bridge and media of a call are made as the engine makes them, and a
//! test says, hears and measures frame by frame.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use offhook::asterisk::ari::model::EventKind;
use offhook::asterisk::ari::{Ari, ChannelId, EventStream, Signal};
use offhook::audio::ring::{EarItem, PlayId, VoiceItem};
use offhook::audio::{FRAME_SAMPLES, Frame, Rate};
use offhook::call::leg::Whose;
use offhook::call::{Gone, Leg, LegEvent, MediaPlan};
use offhook::id::{CallId, OurId, Part};
use offhook::media::{Attach, Media, MediaConfig, MediaEvent, MediaSession, MediaStats};
use offhook::time::WallTime;
use offhook::turn::vad::Vad;
use offhook::turn::{BargeIn, Listening};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::asterisk::AsteriskUnderTest;
use super::caller::PATIENCE;

/// Extensions that lead to the application of that name: `9rtp` to `rtp`.
pub const DIALPLAN: &str = "
[offhook]
exten => _9[a-z]!,1,Stasis(${EXTEN:1})
 same => n,Hangup()
";

/// Takes everything that is not very quiet for speech.
struct Loud;

impl Vad for Loud {
    fn is_speech(&mut self, frame: &Frame) -> bool {
        frame.samples.iter().any(|sample| sample.unsigned_abs() > 1_000)
    }
}

const LISTENING: Listening = Listening {
    no_input: PATIENCE,
    early: Duration::from_millis(100),
    silence: Duration::from_millis(300),
    min_speech: Duration::from_millis(60),
    max_speech: Duration::from_secs(20),
    ..Listening::fixed(Duration::from_millis(300))
};

/// Takes the calls of one application.
pub struct Desk {
    pub media: Media,
    plan: MediaPlan,
    ari: Ari,
    app: String,
    arrivals: tokio::sync::Mutex<mpsc::UnboundedReceiver<Arrival>>,
    _router: AbortOnDropHandle<()>,
}

struct Arrival {
    id: CallId,
    channel: ChannelId,
    events: mpsc::Receiver<LegEvent>,
}

/// The bot's side of a call that is up.
pub struct Bot {
    pub leg: Leg,
    pub events: mpsc::Receiver<LegEvent>,
    pub media: MediaSession,
    pub last_play: PlayId,
}

impl Desk {
    /// Takes the calls of `app`.
    pub async fn open(asterisk: &AsteriskUnderTest, app: &str, plan: MediaPlan, media: MediaConfig) -> Self {
        let ari = asterisk.ari();
        let mut events = ari.events(app);
        assert_eq!(events.next().await, Signal::Connected { first: true });
        let (arrived, arrivals) = mpsc::unbounded_channel();
        let router = tokio::spawn(route(events, arrived));
        Self {
            media: Media::start(&media).expect("free ports"),
            plan,
            ari,
            app: app.to_owned(),
            arrivals: tokio::sync::Mutex::new(arrivals),
            _router: AbortOnDropHandle::new(router),
        }
    }

    /// The number that leads here.
    pub fn number(&self) -> String {
        format!("9{}", self.app)
    }

    /// The next call, answered.
    pub async fn take(&self) -> Bot {
        let arrival = tokio::time::timeout(PATIENCE, async { self.arrivals.lock().await.recv().await });
        let Arrival { id, channel, mut events } = arrival.await.expect("a call comes").expect("events come");
        let mut seat = self.media.reserve_for(self.plan.transport, self.plan.format).expect("a seat");
        let (ari, app, call, plan) = (&self.ari, self.app.as_str(), id, &self.plan);
        let whose = Whose { ari, app, call, channel: &channel, plan, again: false };
        let (leg, link) = Leg::prepare(&whose, &mut seat, &mut events).await.expect("its media");
        let leg = leg.enter(&channel).await.expect("the caller is there");
        let mut attach = Attach::new(id, link, Box::new(Loud));
        attach.format = self.plan.format;
        let media = self.media.attach(seat, attach).expect("the thread runs");
        leg.answer().await.expect("it is answered");
        Bot { leg, events, media, last_play: PlayId(0) }
    }
}

async fn route(mut events: EventStream, arrived: mpsc::UnboundedSender<Arrival>) {
    let mut by_call: HashMap<CallId, mpsc::Sender<LegEvent>> = HashMap::new();
    let mut by_channel: HashMap<ChannelId, CallId> = HashMap::new();
    loop {
        let Signal::Event(event) = events.next().await else { continue };
        let at = event.at;
        let (channel, what) = match event.kind {
            EventKind::StasisStart { channel, .. } => match OurId::parse(channel.id.as_str()) {
                Some(OurId { call, part: Part::Media, .. }) => {
                    if let Some(events) = by_call.get(&call) {
                        let _ = events.try_send(LegEvent::MediaReady);
                    }
                    continue;
                }
                _ => {
                    let id = CallId::new(WallTime::now());
                    let (to, events) = mpsc::channel(64);
                    by_call.insert(id, to);
                    by_channel.insert(channel.id.clone(), id);
                    let _ = arrived.send(Arrival { id, channel: channel.id, events });
                    continue;
                }
            },
            EventKind::ChannelDtmfReceived { channel, digit, .. } => {
                let key = digit.chars().next().expect("a key has a name");
                (channel.id, LegEvent::Key { key, at })
            }
            EventKind::ChannelDestroyed { channel, .. } | EventKind::StasisEnd { channel, .. } => {
                (channel.id, LegEvent::Gone(Gone::Left))
            }
            _ => continue,
        };
        let (id, what) = match (by_channel.get(&channel), OurId::parse(channel.as_str())) {
            (Some(id), _) => (*id, what),
            (None, Some(OurId { call, part: Part::Media, .. })) => (call, LegEvent::MediaLost),
            _ => continue,
        };
        if let Some(events) = by_call.get(&id) {
            let _ = events.try_send(what);
        }
    }
}

impl Bot {
    /// Begins to say samples of 8 kHz; comes back when all of it is in the ring, which is soon for short ones.
    pub async fn say(&mut self, samples: &[i16]) -> PlayId {
        let play = self.begin();
        for samples in samples.chunks(FRAME_SAMPLES) {
            let mut frame = Frame::silence(Rate::Hz8000);
            frame.samples[..samples.len()].copy_from_slice(samples);
            self.media.voice.push(VoiceItem::Audio(play, frame)).await.expect("the call is up");
        }
        self.media.voice.push(VoiceItem::End(play)).await.expect("the call is up");
        play
    }

    /// Announces the next play.
    pub fn begin(&mut self) -> PlayId {
        self.last_play.0 += 1;
        self.media.control.begin_play(self.last_play, BargeIn::FORBIDDEN).expect("the call is up");
        self.last_play
    }

    /// The next event of media that `wanted` takes.
    pub async fn media_event<T>(&mut self, mut wanted: impl FnMut(MediaEvent) -> Option<T>) -> T {
        let next = async {
            loop {
                let event = self.media.events.recv().await.expect("the call is up");
                if let Some(found) = wanted(event) {
                    return found;
                }
            }
        };
        tokio::time::timeout(PATIENCE, next).await.expect("an event comes")
    }

    /// Says back the next utterance, frame by frame as it comes: the pre-roll goes first, so that it is some 300 ms late and a
    /// test that is late for a moment tears no hole into it.
    pub async fn echo(&mut self) {
        self.media.control.listen(LISTENING).expect("the call is up");
        let mut play = None;
        while let Some(item) = self.media.ear.pop().await {
            match item {
                EarItem::Audio(frame) => {
                    let play = *play.get_or_insert_with(|| self.begin());
                    let said = self.media.voice.push(VoiceItem::Audio(play, frame)).await;
                    said.expect("the call is up");
                }
                EarItem::End { .. } => break,
                EarItem::Onset { .. } | EarItem::Pause { .. } | EarItem::TakenBack => {}
            }
        }
        if let Some(play) = play {
            self.media.voice.push(VoiceItem::End(play)).await.expect("the call is up");
        }
    }

    /// Ends the call.
    pub async fn end(self) -> MediaStats {
        self.leg.clear().await;
        self.media.detach().await
    }
}

/// Names for the phones of concurrent tests.
pub fn next_number() -> String {
    static NEXT: Mutex<u32> = Mutex::new(5_557_000);
    let mut next = NEXT.lock().unwrap();
    *next += 1;
    next.to_string()
}
