//! Over real sockets on the loopback: what only they can show.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use super::Loud;
use crate::audio::g711::Law;
use crate::audio::ring::{PlayId, VoiceItem};
use crate::audio::{FRAME_SAMPLES, Frame, Rate};
use crate::id::CallId;
use crate::media::{Attach, Media, MediaConfig, MediaError, MediaEvent, MediaSession, PlayEnd};
use crate::rtp::packet::{Header, Packet};
use crate::rtp::{PayloadType, Seq, Ssrc, Timestamp};
use crate::time::WallTime;

/// Asterisk's side of a call.
struct Peer {
    socket: UdpSocket,
    seq: u16,
}

impl Peer {
    fn new() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        socket.set_read_timeout(Some(Duration::from_secs(2))).expect("a socket takes a time-out");
        Self { socket, seq: 0 }
    }

    fn say(&mut self, to: std::net::SocketAddr, sample: i16) {
        let header = Header {
            marker: false,
            payload_type: PayloadType::PCMU,
            seq: Seq(self.seq),
            timestamp: Timestamp(u32::from(self.seq) * 160),
            ssrc: Ssrc(1),
        };
        self.seq += 1;
        let packet = [&header.to_bytes()[..], &[Law::Mu.encode(sample); 160]].concat();
        self.socket.send_to(&packet, to).expect("the loopback takes it");
    }

    /// The next packet: its header and first sample.
    fn hear(&self) -> (Header, i16) {
        let mut datagram = [0; 200];
        let len = self.socket.recv(&mut datagram).expect("a packet within two seconds");
        let packet = Packet::parse(&datagram[..len]).expect("what we send is RTP");
        assert_eq!(packet.payload.len(), FRAME_SAMPLES);
        (packet.header, Law::Mu.decode(packet.payload[0]))
    }
}

fn media(threads: usize) -> Media {
    let bind = Ipv4Addr::LOCALHOST.into();
    Media::start(&MediaConfig { threads, ..MediaConfig::new(bind) }).expect("the loopback has free ports")
}

fn attach(media: &Media, peer: &Peer) -> (std::net::SocketAddr, MediaSession) {
    let seat = media.reserve();
    let ours = seat.advertised();
    let call = CallId::new(WallTime(0));
    let address = peer.socket.local_addr().expect("it is bound");
    let session = media.attach(seat, Attach { tape: true, ..Attach::new(call, address, Box::new(Loud)) });
    (ours, session.expect("the thread runs"))
}

async fn event(session: &mut MediaSession) -> MediaEvent {
    let next = tokio::time::timeout(Duration::from_secs(2), session.events.recv()).await;
    next.expect("an event within two seconds").expect("the call is up")
}

fn frame(sample: i16) -> Frame {
    Frame { rate: Rate::Hz8000, samples: [sample; FRAME_SAMPLES] }
}

#[tokio::test]
async fn a_call_is_sent_silence_at_once_and_what_is_said_when_it_is_said() {
    let (media, peer) = (media(1), Peer::new());
    let (_, mut session) = attach(&media, &peer);
    let first = peer.hear();
    assert!(first.0.marker);
    assert_eq!(first.1, 0);
    for _ in 0..3 {
        session.voice.push(VoiceItem::Audio(PlayId(1), frame(8_031))).await.expect("the call is up");
    }
    session.voice.push(VoiceItem::End(PlayId(1))).await.expect("the call is up");
    let MediaEvent::PlayStarted { play, at } = event(&mut session).await else { panic!("it has started") };
    assert_eq!(play, PlayId(1));
    let MediaEvent::PlayEnded { at: end, heard, end: why, .. } = event(&mut session).await else {
        panic!("it has ended")
    };
    assert_eq!((heard, why), (Duration::from_millis(60), PlayEnd::Finished));
    assert!(end.since(at) > Duration::from_millis(50), "{:?}", end.since(at));
    let mut before = first.0;
    let mut said = 0;
    while said < 3 {
        let (header, sample) = peer.hear();
        assert_eq!(header.seq, before.seq.plus(1));
        assert_eq!((header.timestamp.after(before.timestamp)) % 160, 0);
        said += usize::from(sample > 7_000);
        before = header;
    }
    let stats = session.detach().await;
    assert!(stats.sent >= 5, "{stats:?}");
}

#[tokio::test]
async fn two_calls_share_a_port_and_each_hears_its_own_peer_only() {
    let media = media(1);
    let (mut one, mut two, mut stranger) = (Peer::new(), Peer::new(), Peer::new());
    let (ours, session_one) = attach(&media, &one);
    let (same, session_two) = attach(&media, &two);
    assert_eq!(ours, same);
    for _ in 0..10 {
        one.say(ours, 5_000);
        two.say(ours, -5_000);
        stranger.say(ours, 15_000);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    for (session, negative) in [(session_one, false), (session_two, true)] {
        let tape = session.tape.as_ref().expect("a tape was asked for");
        let mut heard = 0;
        while let Some(item) = tape.try_pop() {
            let sample = item.caller.samples[0];
            assert!(sample == 0 || (sample < 0) == negative && sample.abs() < 6_000, "{sample}");
            heard += usize::from(sample != 0);
        }
        assert!(heard >= 5, "{heard} frames of 10 are on tape");
        assert_eq!(media.totals().unknown_source, 10);
        assert_eq!(session.detach().await.stream.received, 10);
    }
}

#[tokio::test]
async fn a_peer_whose_port_is_closed_does_not_disturb_the_others() {
    let media = media(1);
    let (closed, mut open) = (Peer::new(), Peer::new());
    let (_, gone) = attach(&media, &closed);
    let (ours, session) = attach(&media, &open);
    drop(closed);
    let mut last = open.hear().0;
    for _ in 0..10 {
        open.say(ours, 3_000);
        let (header, _) = open.hear();
        assert_eq!(header.seq, last.seq.plus(1));
        last = header;
    }
    assert_eq!(session.detach().await.send_errors, 0);
    assert!(gone.detach().await.sent >= 10);
}

#[tokio::test]
async fn calls_are_spread_over_the_threads_and_leave_nothing_behind() {
    let media = media(2);
    let peers: Vec<Peer> = (0..4).map(|_| Peer::new()).collect();
    let mut sessions: Vec<_> = peers.iter().map(|peer| attach(&media, peer)).collect();
    let ports: std::collections::HashSet<u16> = sessions.iter().map(|(ours, _)| ours.port()).collect();
    assert_eq!((ports.len(), media.totals().calls), (2, 4));
    let (_, session) = sessions.pop().expect("there are four");
    let control = session.control.clone();
    session.detach().await;
    assert_eq!(media.totals().calls, 3);
    assert!(matches!(control.deaf(), Err(MediaError::Ended(_))));
    media.shut_down();
    for (_, mut session) in sessions {
        assert!(matches!(session.control.flush(PlayId(1)), Err(MediaError::Ended(_))));
        assert_eq!(session.events.recv().await, None);
        assert_eq!(session.ear.pop().await, None);
        session.detach().await;
    }
}

#[tokio::test]
async fn a_port_that_asterisk_gives_to_a_new_call_is_taken_from_the_old_one() {
    let (media, peer) = (media(1), Peer::new());
    let (_, mut old) = attach(&media, &peer);
    let (_, new) = attach(&media, &peer);
    assert_eq!(old.events.recv().await, None);
    old.detach().await;
    peer.hear();
    assert!(new.detach().await.sent > 0);
}

#[test]
fn a_configuration_that_cannot_work_says_what_to_do() {
    let any = Ipv4Addr::UNSPECIFIED.into();
    let refused = Media::start(&MediaConfig::new(any)).err();
    assert!(refused.is_some_and(|error| error.to_string().contains("`media.advertise`")));
    let local = Ipv4Addr::LOCALHOST.into();
    let refused = Media::start(&MediaConfig { threads: 3, port: 65_534, ..MediaConfig::new(local) }).err();
    assert!(refused.is_some_and(|error| error.to_string().contains("65535")));
    let taken = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|socket| Ok((socket.local_addr()?.port(), socket)));
    let (port, _socket) = taken.expect("a free port");
    let refused = Media::start(&MediaConfig { port, ..MediaConfig::new(local) }).err();
    assert!(matches!(refused, Some(MediaError::Bind { .. })));
}

#[tokio::test]
async fn a_crowd_is_heard_and_served_as_few_are_and_few_as_before_when_it_has_gone() {
    let media = media(1);
    let mut calls: Vec<_> = (0..120)
        .map(|_| {
            let peer = Peer::new();
            let (ours, session) = attach(&media, &peer);
            (peer, ours, session)
        })
        .collect();
    // Every one is heard and sent to, while there is a crowd and when there is none.
    for left in [120, 10] {
        for (_, _, session) in calls.split_off(left) {
            let stats = session.detach().await;
            assert_eq!((stats.stream.received, stats.stream.lost), (5, 0), "{stats:?}");
        }
        let before: Vec<u64> = calls.iter().map(|(_, _, session)| session.control.stats().sent).collect();
        for _ in 0..5 {
            for (peer, ours, _) in &mut calls {
                peer.say(*ours, 8_031);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        for ((_, _, session), before) in calls.iter().zip(before) {
            let stats = session.control.stats();
            assert!(stats.sent > before, "{before} before, {stats:?}");
        }
    }
    for (_, _, session) in calls {
        let stats = session.detach().await;
        assert_eq!((stats.stream.received, stats.stream.lost), (10, 0), "{stats:?}");
    }
}
