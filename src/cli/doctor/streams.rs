//! Real audio over AudioSocket and WebSocket, both ways, by the engine's own media.
//!
//! As over RTP: Asterisk plays a tone to a media channel of ours, then two of them are joined and what is said into the first
//! must come out of the second.

use std::io::ErrorKind;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::report::{Check, Fix, OURS, Step};
use super::{Doctor, Probe};
use crate::asterisk::ari::model::EventKind;
use crate::asterisk::ari::ops::{CreateBridge, Play};
use crate::asterisk::ari::{AriError, ChannelId, PlaybackId};
use crate::asterisk::tls::{self, TlsError};
use crate::audio::Rate;
use crate::audio::ring::{PlayId, VoiceItem};
use crate::audio::tone::Tone;
use crate::call::leg::{external_media, link_to};
use crate::call::{CallError, MediaPlan};
use crate::id::CallId;
use crate::media::{Attach, Media, MediaConfig, MediaError, MediaSession, TransportKind};
use crate::time::WallTime;
use crate::turn::vad::WebRtcVad;

/// How long to wait for audio.
const LISTEN: Duration = Duration::from_secs(2);
/// How much is said: a second.
const FRAMES: usize = 50;

/// Our end of a media channel.
struct End {
    id: ChannelId,
    session: MediaSession,
}

/// Why there is no answer about audio.
enum Trouble {
    /// The engine has the port that Asterisk connects to.
    EngineIsThere(u16),
    /// Our certificate or its key cannot be used.
    Identity(TlsError),
    Call(CallError),
}

impl From<CallError> for Trouble {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

impl From<AriError> for Trouble {
    fn from(error: AriError) -> Self {
        Self::Call(error.into())
    }
}

impl From<MediaError> for Trouble {
    fn from(error: MediaError) -> Self {
        Self::Call(error.into())
    }
}

impl<Say: FnMut(&Check)> Doctor<'_, Say> {
    /// Audio by each transport that the engine uses.
    pub(super) async fn audio_by_each(&mut self, probe: &mut Probe) {
        let Some(chosen) = self.transports.take() else {
            return self.skip(&[Step::AudioFrom, Step::AudioTo], "transports failed");
        };
        for plan in chosen.in_use() {
            match plan.transport {
                TransportKind::Rtp => self.audio(probe).await,
                _ => self.audio_by_stream(probe, plan).await,
            }
        }
    }

    async fn audio_by_stream(&mut self, probe: &mut Probe, plan: &MediaPlan) {
        let kind = plan.transport;
        let opened = async {
            let media = self.media(kind)?;
            let first = open(probe, &media, plan, "stream-1").await?;
            let came = tone_from(probe, &first).await?;
            Ok((media, first, came))
        };
        let (media, first) = match opened.await {
            Ok((media, first, came @ 1..)) => {
                self.fine(Step::AudioFrom, format!("{kind}: audio arrives ({came} messages of a tone)"));
                (media, first)
            }
            Ok(_) => {
                let what = format!("{kind}: the connection is there, and no audio comes over it");
                self.failed(Step::AudioFrom, what, Vec::new());
                return self.skip(&[Step::AudioTo], "nothing comes from Asterisk");
            }
            Err(trouble) => return self.stream_trouble(plan, trouble),
        };
        match there_and_back(probe, &media, plan, &first).await {
            Ok(0) => {
                let what =
                    format!("{kind}: audio comes from Asterisk, and what is sent does not arrive there");
                self.failed(Step::AudioTo, what, Vec::new());
            }
            Ok(came) => {
                self.fine(Step::AudioTo, format!("{kind}: {came} of {FRAMES} frames came back"));
            }
            Err(Trouble::Call(error)) => self.failed(Step::AudioTo, error.to_string(), Vec::new()),
            Err(Trouble::EngineIsThere(_) | Trouble::Identity(_)) => {}
        }
    }

    /// Threads and listeners as the engine's; on another port where the engine has its own and Asterisk is told the port
    /// anyway.
    fn media(&self, kind: TransportKind) -> Result<Media, Trouble> {
        let section = &self.what.config.media;
        let tls = self.what.config.media_identity().map(|identity| tls::server(&identity)).transpose();
        let tls = tls.map_err(Trouble::Identity)?;
        let config = |port| MediaConfig {
            advertise: self.what.advertise,
            allow: section.allow.clone(),
            tls: tls.clone(),
            audiosocket: (kind == TransportKind::Audiosocket).then_some(port),
            websocket: (kind == TransportKind::WebsocketServer).then_some(port),
            ..MediaConfig::new(self.what.bind.ip())
        };
        let port = if kind == TransportKind::Audiosocket {
            section.audiosocket_port
        } else {
            section.websocket_port
        };
        match Media::start(&config(port)) {
            Err(MediaError::Listen { source, .. }) if source.kind() == ErrorKind::AddrInUse => {
                if kind == TransportKind::WebsocketServer {
                    return Err(Trouble::EngineIsThere(port));
                }
                Ok(Media::start(&config(0))?)
            }
            started => Ok(started?),
        }
    }

    fn stream_trouble(&mut self, plan: &MediaPlan, trouble: Trouble) {
        let kind = plan.transport;
        match trouble {
            Trouble::EngineIsThere(port) => {
                let why =
                    format!("{kind}: TCP port {port} is in use, by the engine perhaps: stop it to try this");
                self.skip(&[Step::AudioFrom, Step::AudioTo], &why);
            }
            Trouble::Identity(error) => {
                let fix = Fix::new(format!("{OURS} [media]"), "tls_cert and tls_key = the two files");
                self.failed(Step::AudioFrom, format!("{kind}: {error}"), vec![fix]);
                self.skip(&[Step::AudioTo], "our own certificate cannot be used");
            }
            Trouble::Call(error) => {
                let port = match kind {
                    TransportKind::Audiosocket => self.what.config.media.audiosocket_port,
                    _ => self.what.config.media.websocket_port,
                };
                let scheme = if self.what.config.media_identity().is_some() { "wss" } else { "ws" };
                let uri = format!("uri = {scheme}://OFFHOOK:{port}/media");
                let fixes = match kind {
                    TransportKind::WebsocketServer => vec![
                        Fix::new(format!("websocket_client.conf [{}]", plan.websocket_client), uri),
                        Fix::new("firewall here", format!("let TCP to port {port} in")),
                    ],
                    TransportKind::Audiosocket => vec![
                        Fix::new("firewall here", format!("let TCP to port {port} in")),
                        Fix::new(
                            format!("{OURS} [media]"),
                            "advertise = the address of this machine as Asterisk sees it",
                        ),
                    ],
                    TransportKind::Rtp | TransportKind::Websocket => Vec::new(),
                };
                self.failed(Step::AudioFrom, format!("{kind}: {error}"), fixes);
                self.skip(&[Step::AudioTo], "audio from Asterisk failed");
            }
        }
    }
}

/// Makes a media channel, waits until it is in the application, and puts it on a media thread.
async fn open(probe: &mut Probe, media: &Media, plan: &MediaPlan, part: &str) -> Result<End, Trouble> {
    let id = probe.channel(part);
    let mut seat = media.reserve_for(plan.transport, plan.format)?;
    let wanted = external_media(id.clone(), &probe.name, plan, &seat.invitation());
    let channel = probe.ari.channels().external_media(&wanted).await?;
    let link = link_to(&probe.ari, &mut seat, &channel).await?;
    let started = probe
        .watch(Duration::from_secs(3), |event| match &event.kind {
            EventKind::StasisStart { channel, .. } if channel.id == id => Some(()),
            _ => None,
        })
        .await;
    started.ok_or(CallError::MediaChannelLate(Duration::from_secs(3)))?;
    let mut attach = Attach::new(CallId::new(WallTime::now()), link, Box::new(WebRtcVad::new(Rate::Hz8000)));
    attach.format = plan.format;
    attach.tape = true;
    Ok(End { id, session: media.attach(seat, attach)? })
}

/// Has Asterisk play a tone; the messages that come.
async fn tone_from(probe: &Probe, end: &End) -> Result<u64, Trouble> {
    let playback = PlaybackId::from(format!("{}-stream-tone", probe.name));
    probe.ari.channels().play(&end.id, &playback, &Play::one("tone:440/2000")).await?;
    let deadline = Instant::now() + LISTEN;
    let came = || end.session.control.stats().stream.received;
    while came() < 5 && Instant::now() < deadline {
        sleep(Duration::from_millis(20)).await;
    }
    match probe.ari.playbacks().stop(&playback).await {
        Err(error) if !error.is_gone() => Err(error.into()),
        _ => Ok(came()),
    }
}

/// Says a second of tone into the first channel; the frames of it that come out of a second one.
async fn there_and_back(
    probe: &mut Probe,
    media: &Media,
    plan: &MediaPlan,
    first: &End,
) -> Result<usize, Trouble> {
    let second = open(probe, media, plan, "stream-2").await?;
    let bridge = probe.bridge();
    probe.ari.bridges().create(&bridge, &CreateBridge::default()).await?;
    probe.ari.bridges().add_channel(&bridge, &first.id).await?;
    probe.ari.bridges().add_channel(&bridge, &second.id).await?;
    let mut tone = Tone::sine(Rate::Hz8000, 440.0, -10.0);
    let saying = async {
        for _ in 0..FRAMES {
            if first.session.voice.push(VoiceItem::Audio(PlayId(1), tone.frame())).await.is_err() {
                return;
            }
        }
        // A call that has ended hears no end.
        let _ = first.session.voice.push(VoiceItem::End(PlayId(1))).await;
    };
    let listening = async {
        let deadline = Instant::now() + LISTEN;
        let mut came = 0;
        while came < FRAMES && Instant::now() < deadline {
            sleep(Duration::from_millis(20)).await;
            let tape = second.session.tape.iter();
            let frames = tape.flat_map(|tape| std::iter::from_fn(|| tape.try_pop()));
            came +=
                frames.filter(|item| item.caller.samples.iter().any(|s| s.unsigned_abs() > 2_000)).count();
        }
        came
    };
    let ((), came) = tokio::join!(saying, listening);
    Ok(came)
}
