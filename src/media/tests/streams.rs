//! Streams over real sockets, with stand-ins for Asterisk where Asterisk cannot be made to misbehave.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType};

use super::Loud;
use crate::audio::codec::Format;
use crate::audio::ring::{PlayId, VoiceItem};
use crate::audio::{FRAME_SAMPLES, Frame, Rate};
use crate::id::CallId;
use crate::media::{
    Attach, Invitation, Link, Media, MediaConfig, MediaError, MediaEvent, MediaSession, Seat, TransportKind,
};
use crate::rtp::packet::{Header, Packet};
use crate::rtp::{PayloadType, Seq, Ssrc, Timestamp};
use crate::time::WallTime;

const PATIENCE: Duration = Duration::from_secs(5);

fn media() -> Media {
    let config = MediaConfig { audiosocket: Some(0), websocket: Some(0), ..MediaConfig::new(local()) };
    Media::start(&config).expect("the loopback has free ports")
}

fn local() -> std::net::IpAddr {
    Ipv4Addr::LOCALHOST.into()
}

fn reserve(media: &Media) -> (Seat, SocketAddr, [u8; 16]) {
    let seat = media.reserve_for(TransportKind::Audiosocket, Format::Slin).expect("it listens");
    let Invitation::AudioSocket { address, uuid } = seat.invitation() else { panic!("an AudioSocket") };
    let hex = uuid.replace('-', "");
    let uuid = std::array::from_fn(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).expect("hexadecimal"));
    (seat, address, uuid)
}

/// A connection that says this UUID, with a small receive buffer.
fn connect(address: SocketAddr, uuid: [u8; 16]) -> TcpStream {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    rustix::net::sockopt::set_socket_recv_buffer_size(&socket, 4_096).expect("a size");
    rustix::net::connect(&socket, &address).expect("somebody listens");
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket takes a time-out");
    stream.write_all(&[&[1, 0, 16][..], &uuid].concat()).expect("it is open");
    stream
}

/// Whether the far end closes without a word.
fn is_sent_away(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 100]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

fn message(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut header = [0; 3];
    stream.read_exact(&mut header).expect("a message");
    let mut payload = vec![0; usize::from(u16::from_be_bytes([header[1], header[2]]))];
    stream.read_exact(&mut payload).expect("its payload");
    (header[0], payload)
}

fn attach(media: &Media, seat: Seat, link: impl Into<Link>, format: Format) -> MediaSession {
    let attach = Attach { format, ..Attach::new(CallId::new(WallTime(0)), link, Box::new(Loud)) };
    media.attach(seat, attach).expect("the thread runs")
}

async fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let all = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, all).await.unwrap_or_else(|_| panic!("{what}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_stream_is_greeted_with_silence_and_heard_however_it_is_cut() {
    let media = media();
    let (mut seat, address, uuid) = reserve(&media);
    let mut peer = connect(address, uuid);
    assert_eq!(message(&mut peer), (0x10, vec![0; 320]), "silence, at once");
    let link = seat.connected(PATIENCE).await.expect("it has come");
    for _ in 0..3 {
        assert_eq!(message(&mut peer), (0x10, vec![0; 320]), "and while its call is put together");
    }
    let mut session = attach(&media, seat, link, Format::Slin);
    let audio = [&[0x10, 1, 64][..], &[0x20; 320], &[3, 0, 1, b'7'], &[0x10, 0]].concat();
    peer.write_all(&audio[..200]).expect("it is open");
    peer.write_all(&audio[200..]).expect("it is open");
    let event = tokio::time::timeout(PATIENCE, session.events.recv()).await.expect("an event");
    assert!(matches!(event, Some(MediaEvent::Digit { digit: '7', .. })), "{event:?}");
    eventually("the audio is counted", || session.control.stats().stream.received == 1).await;
    for _ in 0..5 {
        assert_eq!(message(&mut peer).0, 0x10);
    }
    session.detach().await;
    let last = std::iter::from_fn(|| Some(message(&mut peer).0)).find(|kind| *kind != 0x10);
    assert_eq!(last, Some(0), "the last word is a hang-up");
    assert!(is_sent_away(&mut peer));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn who_is_unknown_late_or_comes_twice_is_sent_away() {
    let media = media();
    let (mut seat, address, uuid) = reserve(&media);
    assert!(is_sent_away(&mut connect(address, [7; 16])), "unknown");
    let mut first = connect(address, uuid);
    message(&mut first);
    assert!(is_sent_away(&mut connect(address, uuid)), "the same secret again");
    seat.connected(PATIENCE).await.expect("the first is good");
    let (late, address, uuid) = reserve(&media);
    drop(late);
    assert!(is_sent_away(&mut connect(address, uuid)), "nobody waits for it any more");
    let mut stranger = TcpStream::connect(address).expect("somebody listens");
    stranger.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("it is open");
    assert!(is_sent_away(&mut stranger));
    eventually("each is counted", || media.totals().refused == 4).await;
    let (mut seat, ..) = reserve(&media);
    let none = seat.connected(Duration::from_millis(50)).await.err().map(|error| error.to_string());
    assert!(none.is_some_and(|text| text.contains("did not connect") && text.contains("`advertise`")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn who_is_not_on_the_list_is_closed_unread_with_the_right_secret_too() {
    let allow = "192.0.2.7".parse().expect("an address");
    let config = MediaConfig { audiosocket: Some(0), websocket: Some(0), allow, ..MediaConfig::new(local()) };
    let media = Media::start(&config).expect("the loopback has free ports");
    let (_seat, address, uuid) = reserve(&media);
    assert!(is_sent_away(&mut connect(address, uuid)));
    let websocket = media.listens_for(TransportKind::WebsocketServer).expect("it listens");
    assert!(is_sent_away(&mut TcpStream::connect(websocket).expect("somebody listens")));
    eventually("both are counted", || media.totals().refused == 2).await;
    let doors: Vec<String> = media.exposures().iter().map(ToString::to_string).collect();
    assert!(doors[0].starts_with("AudioSocket on 127.0.0.1:") && doors[0].contains("this machine alone"));
    assert!(doors[1].starts_with("WebSocket media on "), "{doors:?}");
}

/// `offhook bench --attack` measures what it costs.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn of_an_attacker_nothing_is_heard() {
    let media = media();
    let caller = std::net::UdpSocket::bind(("127.0.0.1", 0)).expect("a port");
    let seat = media.reserve_for(TransportKind::Rtp, Format::Ulaw).expect("RTP needs no listener");
    let session = attach(&media, seat, caller.local_addr().expect("it is bound"), Format::Ulaw);
    // While a call is awaited, so that each is read.
    let (mut awaited, address, uuid) = reserve(&media);
    let attacker = std::net::UdpSocket::bind(("127.0.0.1", 0)).expect("a port");
    let mut packet = [0x2a; 172];
    packet[..12].copy_from_slice(&[0x80, 0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4]);
    for round in 0..100_u8 {
        packet[3] = round;
        for port in media.ports() {
            attacker.send_to(&packet, port).expect("the loopback takes it");
        }
        assert!(is_sent_away(&mut connect(address, [round; 16])));
    }
    eventually("all connections are counted", || media.totals().refused == 100).await;
    eventually("packets are counted", || media.totals().unknown_source >= 50).await;
    assert_eq!(session.control.stats().stream.received, 0, "none is heard");
    let _peer = connect(address, uuid);
    awaited.connected(PATIENCE).await.expect("who is awaited is let in still");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_crowd_that_says_nothing_keeps_nobody_out_for_long() {
    let media = media();
    let (mut seat, address, uuid) = reserve(&media);
    let crowd: Vec<_> = (0..64).map(|_| TcpStream::connect(address).expect("somebody listens")).collect();
    let mut one_more = TcpStream::connect(address).expect("somebody listens");
    one_more.set_read_timeout(Some(PATIENCE)).expect("a socket takes a time-out");
    assert!(is_sent_away(&mut one_more), "sixty-four are enough");
    // They have two seconds.
    eventually("the crowd is gone", || media.totals().refused == 65).await;
    drop(crowd);
    let _peer = connect(address, uuid);
    seat.connected(PATIENCE).await.expect("there is room again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_peer_that_does_not_read_holds_nobody_up() {
    let media = media();
    let (mut seat, address, uuid) = reserve(&media);
    let mut stalled = connect(address, uuid);
    let link = seat.connected(PATIENCE).await.expect("it has come");
    let mut slow = attach(&media, seat, link, Format::Slin);
    let neighbour = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    neighbour.set_nonblocking(true).expect("a socket");
    let to = neighbour.local_addr().expect("it is bound");
    let beside = attach(&media, media.reserve(), to, Format::Ulaw);

    // It still speaks, and is heard, while what we say has no room.
    let play = PlayId(1);
    slow.control.begin_play(play, crate::turn::BargeIn::FORBIDDEN).expect("the call is up");
    for _ in 0..20 {
        let frame = Frame { rate: Rate::Hz8000, samples: [500; FRAME_SAMPLES] };
        slow.voice.push(VoiceItem::Audio(play, frame)).await.expect("the call is up");
    }
    slow.voice.push(VoiceItem::End(play)).await.expect("the call is up");
    let ended = async { while !matches!(slow.events.recv().await, Some(MediaEvent::PlayEnded { .. })) {} };
    tokio::time::timeout(PATIENCE, ended).await.expect("a play ends though nobody reads it");
    eventually("frames are dropped", || slow.control.stats().send_errors > 20).await;
    stalled.write_all(&[&[0x10, 1, 64][..], &[0x20; 320]].concat()).expect("we always read");
    eventually("it is heard", || slow.control.stats().stream.received == 1).await;
    let (fast, stats) = (beside.control.stats(), slow.control.stats());
    // Each tells its numbers every eighth tick.
    assert!(fast.sent.abs_diff(stats.sent + stats.send_errors) <= 10, "{fast:?} beside {stats:?}");
    assert_eq!(fast.send_errors, 0);

    // When it reads again, what comes is whole messages.
    let before = slow.control.stats().sent;
    for _ in 0..100 {
        assert_eq!(message(&mut stalled).0, 0x10);
    }
    eventually("more is sent", || slow.control.stats().sent > before).await;
    slow.detach().await;
    let mut packets = 0;
    while neighbour.recv(&mut [0; 200]).is_ok() {
        packets += 1;
    }
    assert!(packets > 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_websocket_says_in_its_uri_which_call_it_is_for() {
    let media = media();
    let mut seat = media.reserve_for(TransportKind::WebsocketServer, Format::Ulaw).expect("it listens");
    let Invitation::WebSocketServer { address, secret } = seat.invitation() else { panic!("a WebSocket") };
    let ask = |query: &str| {
        let mut stream = TcpStream::connect(address).expect("somebody listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket takes a time-out");
        let request = format!(
            "GET /media{query} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: media\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).expect("it is open");
        let mut answer = [0; 400];
        let count = stream.read(&mut answer).expect("an answer");
        (stream, String::from_utf8_lossy(&answer[..count]).into_owned())
    };
    assert!(ask("").1.starts_with("HTTP/1.1 403"));
    assert!(ask("?offhook=00").1.starts_with("HTTP/1.1 403"));
    let (mut peer, answer) = ask(&format!("?a=b&offhook={secret}"));
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    assert!(answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "RFC 6455, section 1.3: {answer}");
    assert!(answer.contains("Sec-WebSocket-Protocol: media"));
    assert!(ask(&format!("?offhook={secret}")).1.starts_with("HTTP/1.1 403"), "a secret is good once");
    let link = seat.connected(PATIENCE).await.expect("it has come");
    let session = attach(&media, seat, link, Format::Ulaw);
    // Audio in a masked frame, cut in the middle.
    let frame = [&[0x82, 0xfe, 0, 160, 1, 2, 3, 4][..], &[9; 160]].concat();
    peer.write_all(&frame[..50]).expect("it is open");
    peer.write_all(&frame[50..]).expect("it is open");
    eventually("it is heard", || session.control.stats().stream.received == 1).await;
    session.detach().await;
    let mut rest = Vec::new();
    peer.read_to_end(&mut rest).expect("it is closed");
    assert!(rest.ends_with(&[0x88, 2, 3, 0xe8]), "with a code: {rest:x?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_refused_dial_says_what_to_do() {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 1_000]).await;
            let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\n\r\n").await;
        }
    });
    let dial = crate::media::link::Dial {
        host: "127.0.0.1".into(),
        port,
        tls: None,
        path: "/media/x".into(),
        authorization: String::new(),
    };
    let refused = crate::media::link::dial(&dial).await.err().map(|error| error.to_string());
    assert!(refused.is_some_and(|text| text.contains("load chan_websocket.so")));
}

#[tokio::test]
async fn behind_a_nat_a_call_on_its_own_port_learns_where_its_audio_comes_from() {
    let config = MediaConfig { rtp_ports: Some(30_800..=30_899), ..MediaConfig::new(local()) };
    let media = Media::start(&config).expect("the loopback has free ports");
    let mut seat = media.reserve_for(TransportKind::Rtp, Format::Ulaw).expect("a free port");
    let another = media.reserve_for(TransportKind::Rtp, Format::Ulaw).expect("a free port");
    assert_ne!(seat.advertised(), another.advertised());
    let ours = seat.advertised();
    let named = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let rewritten = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    rewritten.set_read_timeout(Some(PATIENCE)).expect("a socket takes a time-out");
    let link = seat.link(named.local_addr().expect("it is bound"));
    let session = attach(&media, seat, link, Format::Ulaw);
    for seq in 0..20 {
        let header = Header {
            marker: false,
            payload_type: PayloadType::PCMU,
            seq: Seq(seq),
            timestamp: Timestamp(u32::from(seq) * 160),
            ssrc: Ssrc(1),
        };
        rewritten.send_to(&[&header.to_bytes()[..], &[0xff; 160]].concat(), ours).expect("it takes it");
    }
    let mut datagram = [0; 300];
    let (len, from) = rewritten.recv_from(&mut datagram).expect("what we say comes there");
    assert!(Packet::parse(&datagram[..len]).is_ok() && from == ours);
    eventually("all but the two that proved it are heard", || session.control.stats().stream.received == 18)
        .await;
    let none = Media::start(&MediaConfig { rtp_ports: Some(ours.port()..=ours.port()), ..config })
        .expect("the loopback has free ports")
        .reserve_for(TransportKind::Rtp, Format::Ulaw);
    assert!(matches!(none, Err(MediaError::NoPort { .. })));
}
