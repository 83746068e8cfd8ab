//! Real RTP packets, both ways.
//!
//! Two media channels of the doctor's are told to send to the engine's own address. Asterisk plays a tone to the first: what
//! arrives proves the way from Asterisk to us. Then both are joined in a bridge, and what is sent into the first must come out
//! of the second: that proves the way to Asterisk. No extension, no phone and no engine is needed for it.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use super::report::{Check, Fix, OURS, Step};
use super::{Doctor, Probe};
use crate::asterisk::ari::model::EventKind;
use crate::asterisk::ari::ops::{CreateBridge, ExternalMedia, Play};
use crate::asterisk::ari::{AriError, ChannelId, PlaybackId};
use crate::audio::{FRAME_SAMPLES, PTIME};
use crate::rtp::PayloadType;
use crate::rtp::packet::{HEADER_LEN, Packet};
use crate::rtp::sender::Sender;
use crate::time::Moment;

/// How long to wait for the first packets.
const LISTEN: Duration = Duration::from_secs(2);
/// How many packets are sent: one second.
const PACKETS: usize = 50;

/// The doctor's end of a media channel.
struct End {
    id: ChannelId,
    socket: UdpSocket,
    /// Where Asterisk was told to send.
    told: SocketAddr,
    /// Where Asterisk says that its RTP is.
    far: SocketAddr,
}

/// What was heard of the tone.
struct Heard {
    packets: usize,
    /// Where the first one came from.
    from: Option<SocketAddr>,
}

/// Why there is no answer about audio.
enum Trouble {
    Bind(SocketAddr, io::Error),
    Ari(AriError),
    Said(String),
}

impl From<AriError> for Trouble {
    fn from(error: AriError) -> Self {
        Self::Ari(error)
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Said(error.to_string())
    }
}

impl<Say: FnMut(&Check)> Doctor<'_, Say> {
    pub(super) async fn audio(&mut self, probe: &mut Probe) {
        let bind = self.what.bind;
        let Some(address) = self.advertised(probe).await else {
            return self.skip(&[Step::AudioTo], "no address to send to");
        };
        let (socket, note) = match bind_like_engine(bind).await {
            Ok(bound) => bound,
            Err(error) => return self.trouble(Step::AudioFrom, Trouble::Bind(bind, error)),
        };
        let first = match open(probe, "media-1", socket, address).await {
            Ok(end) => end,
            Err(trouble) => return self.trouble(Step::AudioFrom, trouble),
        };
        match listen_for_tone(probe, &first).await {
            Ok(heard) if heard.packets == 0 => {
                self.nothing_from(&first);
                return self.skip(&[Step::AudioTo], "nothing comes from Asterisk");
            }
            Ok(heard) => {
                let from = heard.from.map_or_else(String::new, |from| format!(" from {from}"));
                self.fine(Step::AudioFrom, format!("RTP arrives at {}{from}{note}", first.told));
            }
            Err(trouble) => return self.trouble(Step::AudioFrom, trouble),
        }
        match self.round_trip(probe, &first, address).await {
            Ok((0, _)) => self.nothing_to(&first),
            Ok((came, median)) => {
                let text = format!("{came} of {PACKETS} packets came back, {:.1} ms there and back", median);
                self.fine(Step::AudioTo, text);
            }
            Err(trouble) => self.trouble(Step::AudioTo, trouble),
        }
    }

    /// The address that Asterisk is told, as the engine would tell it.
    async fn advertised(&mut self, probe: &Probe) -> Option<IpAddr> {
        let address = self.what.advertise.unwrap_or(self.what.bind.ip());
        if !address.is_unspecified() {
            return Some(address);
        }
        let here = match UdpSocket::bind((address, 0)).await {
            Ok(socket) => {
                let routed =
                    socket.connect(probe.ari.dial_address()).await.and_then(|()| socket.local_addr());
                routed.map_or_else(|_| "the address of this machine".to_owned(), |here| here.ip().to_string())
            }
            Err(_) => "the address of this machine".to_owned(),
        };
        self.failed(
            Step::AudioFrom,
            format!("media.bind is {address}, which is no address that Asterisk could send to, and media.advertise is not set"),
            vec![Fix::new(format!("{OURS} [media]"), format!("advertise = \"{here}\""))],
        );
        None
    }

    async fn round_trip(
        &self,
        probe: &mut Probe,
        first: &End,
        address: IpAddr,
    ) -> Result<(usize, f64), Trouble> {
        let socket = UdpSocket::bind((self.what.bind.ip(), 0)).await?;
        let second = open(probe, "media-2", socket, address).await?;
        let bridge = probe.bridge();
        probe.ari.bridges().create(&bridge, &CreateBridge::default()).await?;
        probe.ari.bridges().add_channel(&bridge, &first.id).await?;
        probe.ari.bridges().add_channel(&bridge, &second.id).await?;
        Ok(send_and_count(first, &second).await)
    }

    fn nothing_from(&mut self, end: &End) {
        let (told, far) = (end.told, end.far);
        let bind = SocketAddr::new(self.what.bind.ip(), told.port());
        self.failed(
            Step::AudioFrom,
            format!("Asterisk sends RTP to {told}, as media.advertise says, and none arrives at media.bind, {bind}"),
            vec![
                Fix::new(format!("{OURS} [media]"), "advertise = the address of this machine as Asterisk sees it"),
                Fix::new(format!("{OURS} [media]"), "bind = an address of this machine that this one leads to"),
                Fix::new("firewall here", format!("let UDP from {} to port {} in", far.ip(), told.port())),
                Fix::new("NAT, container", format!("forward UDP port {} of {} to {bind}", told.port(), told.ip())),
            ],
        );
    }

    fn nothing_to(&mut self, end: &End) {
        let far = end.far;
        let mut fixes = vec![
            Fix::new(
                "firewall of Asterisk",
                format!("let UDP to {far} in, and all ports from rtpstart to rtpend"),
            ),
            Fix::new("rtp.conf [general]", "rtpstart and rtpend = the range that the firewall lets in"),
        ];
        if far.ip().is_loopback() != end.told.ip().is_loopback() {
            fixes.push(Fix::new(
                format!("{OURS} [media]"),
                "advertise = an address by which Asterisk leaves its machine",
            ));
        }
        self.failed(
            Step::AudioTo,
            format!("RTP comes from Asterisk, and what is sent to {far}, where it says that it listens, does not arrive"),
            fixes,
        );
    }

    fn trouble(&mut self, step: Step, trouble: Trouble) {
        match trouble {
            Trouble::Bind(address, error) => {
                let ip = address.ip();
                self.failed(
                    step,
                    format!("this machine cannot listen on {address}/udp, as media.bind says: {error}"),
                    vec![Fix::new(
                        format!("{OURS} [media]"),
                        format!("bind = an address of this machine, not {ip}"),
                    )],
                );
            }
            Trouble::Ari(error) => self.failed(step, error.to_string(), Vec::new()),
            Trouble::Said(text) => self.failed(step, text, Vec::new()),
        }
        if step == Step::AudioFrom {
            self.skip(&[Step::AudioTo], "audio from Asterisk failed");
        }
    }
}

/// Binds the engine's own port, or another one beside it when the engine has it.
async fn bind_like_engine(bind: SocketAddr) -> io::Result<(UdpSocket, String)> {
    match UdpSocket::bind(bind).await {
        Ok(socket) => Ok((socket, String::new())),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let socket = UdpSocket::bind((bind.ip(), 0)).await?;
            let note = format!("; port {} is in use (by the engine?), so another one was tried", bind.port());
            Ok((socket, note))
        }
        Err(error) => Err(error),
    }
}

/// Makes a media channel that sends to `socket`, and waits until it is in the application.
async fn open(probe: &mut Probe, part: &str, socket: UdpSocket, address: IpAddr) -> Result<End, Trouble> {
    let id = probe.channel(part);
    let told = SocketAddr::new(address, socket.local_addr()?.port());
    let external = ExternalMedia::rtp(id.clone(), probe.name.clone(), told, "ulaw");
    let channel = probe.ari.channels().external_media(&external).await?;
    let Some(far) = channel.rtp_address() else {
        return Err(Trouble::Said("Asterisk does not say where its RTP is".to_owned()));
    };
    let started = probe
        .watch(Duration::from_secs(3), |event| match &event.kind {
            EventKind::StasisStart { channel, .. } if channel.id == id => Some(()),
            _ => None,
        })
        .await;
    match started {
        Some(()) => Ok(End { id, socket, told, far }),
        None => Err(Trouble::Said("the media channel does not start within 3 s".to_owned())),
    }
}

/// Has Asterisk play a tone, and counts what arrives until there is enough.
async fn listen_for_tone(probe: &Probe, end: &End) -> Result<Heard, Trouble> {
    let playback = PlaybackId::from(format!("{}-tone", probe.name));
    probe.ari.channels().play(&end.id, &playback, &Play::one("tone:440/2000")).await?;
    let deadline = Instant::now() + LISTEN;
    let mut heard = Heard { packets: 0, from: None };
    let mut buffer = [0; 2048];
    while heard.packets < 5 {
        let Ok(Ok((length, from))) = timeout_at(deadline, end.socket.recv_from(&mut buffer)).await else {
            break;
        };
        if Packet::parse(&buffer[..length]).is_ok() {
            heard.packets += 1;
            heard.from.get_or_insert(from);
        }
    }
    match probe.ari.playbacks().stop(&playback).await {
        Err(error) if !error.is_gone() => Err(error.into()),
        _ => Ok(heard),
    }
}

/// Sends a second of marked packets into `first`; how many come out of `second`, and the median time that they took in
/// milliseconds.
async fn send_and_count(first: &End, second: &End) -> (usize, f64) {
    let mut sender = Sender::new(PayloadType::PCMU);
    let mut sent = HashMap::new();
    let mut took = Vec::new();
    let mut ticks = interval(PTIME);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut out, mut buffer) = ([0; HEADER_LEN + FRAME_SAMPLES], [0; 2048]);
    let deadline = Instant::now() + PTIME * 50 + Duration::from_millis(500);
    while took.len() < PACKETS && Instant::now() < deadline {
        tokio::select! {
            _ = ticks.tick(), if sent.len() < PACKETS => {
                let mark = mark(sent.len());
                out[..HEADER_LEN].copy_from_slice(&sender.next(160).to_bytes());
                out[HEADER_LEN..].fill(mark);
                sent.insert(mark, Moment::now());
                // A packet that cannot be sent is one that does not come back.
                let _ = first.socket.send_to(&out, first.far).await;
            }
            received = timeout_at(deadline, second.socket.recv_from(&mut buffer)) => {
                let Ok(Ok((length, _))) = received else { continue };
                let now = Moment::now();
                if let Ok(packet) = Packet::parse(&buffer[..length])
                    && let Some(at) = packet.payload.first().and_then(|mark| sent.get(mark))
                    && packet.payload.iter().all(|byte| *byte == packet.payload[0])
                {
                    took.push(now.millis_from(*at));
                }
            }
        }
    }
    took.sort_by(f64::total_cmp);
    (took.len(), took.get(took.len() / 2).copied().unwrap_or(0.0))
}

/// The byte that packet number `index` is full of: none of them is silence (0x7f, 0xff).
fn mark(index: usize) -> u8 {
    0x10 + u8::try_from(index % 100).unwrap_or(0)
}
