//! A real call's packets: what the receive stream makes of them, and the capture in `tests/fixtures`.

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use offhook::asterisk::ari::model::EventKind;
use offhook::asterisk::ari::ops::{CreateBridge, ExternalMedia};
use offhook::asterisk::ari::{BridgeId, ChannelId, EventStream, Signal};
use offhook::audio::Rate;
use offhook::pcap::Writer;
use offhook::pcap::truth::{Source, Speech, Truth};
use offhook::phone::KeyTiming;
use offhook::rtp::PayloadType;
use offhook::rtp::packet::Packet;
use offhook::rtp::stream::{Piece, ReceiveStream};
use offhook::speech::flite::{FliteConfig, FliteSynthesizer};
use offhook::speech::{Synthesizer, Utterance};
use offhook::time::{Moment, WallTime};

use crate::support::caller::{PATIENCE, phone};
use crate::support::{AsteriskUnderTest, Wanted};

const APP: &str = "it-capture";

/// Set to write `tests/fixtures/asterisk.pcap` anew.
const TAKE: &str = "OFFHOOK_TAKE_CAPTURE";

/// What came over the wire, by a thread that does nothing else.
struct Listener {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Vec<(Moment, SocketAddr, Vec<u8>)>>,
}

impl Listener {
    fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let (address, stop) = (socket.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let (mut packets, mut buffer) = (Vec::new(), [0; 2_048]);
            while !stopped.load(Ordering::Acquire) {
                if let Ok((len, from)) = socket.recv_from(&mut buffer) {
                    packets.push((Moment::now(), from, buffer[..len].to_vec()));
                }
            }
            packets
        });
        Self { address, stop, thread }
    }

    fn end(self) -> Vec<(Moment, SocketAddr, Vec<u8>)> {
        self.stop.store(true, Ordering::Release);
        self.thread.join().unwrap()
    }
}

/// The next channel that enters the application.
async fn arrival(events: &mut EventStream) -> ChannelId {
    loop {
        let signal = tokio::time::timeout(PATIENCE, events.next()).await.expect("a channel comes");
        if let Signal::Event(event) = signal
            && let EventKind::StasisStart { channel, .. } = &event.kind
        {
            return channel.id.clone();
        }
    }
}

async fn words(text: &str) -> Vec<i16> {
    let flite = FliteSynthesizer::new(FliteConfig::default()).expect("Flite is there");
    let utterance = Utterance { text: text.into(), voice: Some("kal16".into()), rate: Rate::Hz8000 };
    let mut stream = flite.synthesize(&utterance);
    let mut samples = Vec::new();
    while let Some(chunk) = stream.chunks.recv().await {
        samples.extend(chunk.expect("Flite says it"));
    }
    samples
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_a_real_caller_presses_leaves_a_hole_that_is_no_loss() {
    let dialplan = format!("\n[offhook]\nexten => 720,1,Stasis({APP})\n");
    let wanted = Wanted { extra: vec![("extensions.conf", dialplan)], ..Wanted::default() };
    let asterisk = AsteriskUnderTest::start_own(wanted).await;
    let ari = asterisk.ari();
    let mut events = ari.events(APP);
    assert_eq!(events.next().await, Signal::Connected { first: true });
    let listener = Listener::start();

    let phone = phone("tester").await;
    let call = phone.call(&format!("sip:720@{}", asterisk.sip_addr)).await.expect("a call");
    let leg = arrival(&mut events).await;
    let media = ChannelId::from("offhook-it-capture-media");
    let external = ExternalMedia::rtp(media.clone(), APP, listener.address, "ulaw");
    ari.channels().external_media(&external).await.unwrap();
    assert_eq!(arrival(&mut events).await, media);
    let bridge = BridgeId::from("offhook-it-capture-bridge");
    ari.bridges().create(&bridge, &CreateBridge::default()).await.unwrap();
    ari.bridges().add_channel(&bridge, &leg).await.unwrap();
    ari.bridges().add_channel(&bridge, &media).await.unwrap();
    ari.channels().answer(&leg).await.unwrap();
    call.wait_answered(PATIENCE).await.expect("an answer");
    // Keys are reported here as they come, beside what the caller does.
    let keys = tokio::spawn(async move {
        let mut keys = Vec::new();
        loop {
            if let Signal::Event(event) = events.next().await {
                match &event.kind {
                    EventKind::ChannelDtmfReceived { digit, .. } => keys.push((Moment::now(), digit.clone())),
                    EventKind::StasisEnd { channel, .. } if channel.id == leg => return keys,
                    _ => {}
                }
            }
        }
    });

    let mut spoken = Vec::new();
    for (text, key) in [("Four two seven one.", Some("5")), ("Yes, please.", Some("#")), ("Goodbye.", None)] {
        tokio::time::sleep(Duration::from_millis(400)).await;
        spoken.push((text, call.say(words(text).await).await.expect("it is said")));
        tokio::time::sleep(Duration::from_millis(400)).await;
        if let Some(key) = key {
            call.press(key, KeyTiming::default()).await.expect("it is pressed");
        }
    }
    call.hang_up().await.expect("it ends");
    let keys = tokio::time::timeout(PATIENCE, keys).await.expect("the caller leaves").unwrap();
    let packets = listener.end();

    // In the order of time, as a media thread would see them.
    let mut stream = ReceiveStream::new(PayloadType::EVENTS);
    let mut reports = keys.iter().map(|(at, _)| *at).peekable();
    let (mut heard, mut lost) = (0, 0);
    let mut piece = |piece: Piece<'_>| match piece {
        Piece::Audio { payload, .. } => heard += payload.len(),
        Piece::Lost { samples } => lost += samples,
        _ => {}
    };
    for (at, _, datagram) in &packets {
        while let Some(report) = reports.next_if(|report| report < at) {
            stream.key_reported(report);
        }
        stream.receive(*at, datagram, &mut piece);
    }
    reports.for_each(|report| stream.key_reported(report));
    let stats = stream.stats();
    println!("{heard} bytes heard, holes of {lost} samples, {stats:?}");
    assert_eq!(keys.iter().map(|(_, digit)| digit.as_str()).collect::<String>(), "5#");
    assert!(heard > 3 * 8_000, "{heard}");
    assert_eq!((stats.lost, stats.late, stats.malformed, stats.other_payload), (0, 0, 0, 0), "{stats:?}");
    assert!(stats.keys >= 2 || lost == 0, "{stats:?}");

    if std::env::var_os(TAKE).is_some() {
        let version = ari.asterisk().info(&["system"]).await.unwrap();
        let version = version.version().map_or(String::new(), |(major, minor)| format!(" {major}.{minor}"));
        take(&packets, listener_port(), &spoken, &version);
    }
}

/// What the fixture says we listened on: any port does, and this one is the same on every machine.
fn listener_port() -> SocketAddr {
    ([127, 0, 0, 1], 18_000).into()
}

fn take(
    packets: &[(Moment, SocketAddr, Vec<u8>)],
    to: SocketAddr,
    spoken: &[(&str, offhook::phone::Spoken)],
    version: &str,
) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/asterisk.pcap");
    let began = packets[0].0;
    let mut writer = Writer::new(Vec::new(), WallTime(1_767_225_600_000)).unwrap();
    let mut seqs = Vec::new();
    let mut last = None;
    for (at, from, datagram) in packets {
        writer.write(at.since(began), *from, to, datagram).unwrap();
        let header = Packet::parse(datagram).unwrap().header;
        seqs.push(header.seq.0);
        last = Some(header);
    }
    let first = Packet::parse(&packets[0].2).unwrap().header;
    let last = last.unwrap();
    let sent = u32::from(last.seq.0.wrapping_sub(first.seq.0)) + 1;
    let all = (0..sent).map(|n| first.seq.0.wrapping_add(n as u16));
    let missing = all.filter(|seq| !seqs.contains(seq)).collect();
    // The first packet holds what the caller sent in the 20 ms before it.
    let ms = |at: Moment| (at.since(began).as_millis() as u32) + 20;
    let speech = spoken.iter().filter_map(|(text, said)| {
        let (begin_ms, end_ms) = (ms(said.onset?), ms(said.last_voiced?));
        Some(Speech { begin_ms, end_ms, text: (*text).to_owned() })
    });
    let truth = Truth {
        about: "a real call: a caller's speech as Asterisk forwards it, and two holes where he pressed keys"
            .to_owned(),
        made_by: format!("Asterisk{version}, externalMedia; {TAKE}=1 cargo test --test it capture::"),
        format: "ulaw".to_owned(),
        payload_type: 0,
        clock_hz: 8_000,
        ptime_ms: vec![20],
        length_ms: (last.timestamp.after(first.timestamp).unsigned_abs() / 8) + 20,
        voice: "Flite kal16".to_owned(),
        speech: speech.collect(),
        sources: vec![Source {
            ssrc: first.ssrc.0,
            first_seq: first.seq.0,
            sent,
            missing,
            ..Source::default()
        }],
        ..Truth::default()
    };
    std::fs::write(&path, writer.finish().unwrap()).unwrap();
    std::fs::write(path.with_extension("json"), serde_json::to_string_pretty(&truth).unwrap() + "\n")
        .unwrap();
}
