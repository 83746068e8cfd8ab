//! The same checks on every transport, against the real Asterisk: what a caller hears of a bot and a bot of a caller must
//! not depend on how the audio travels.
//!
//! The caller is a SIP phone with PCMU behind Asterisk; the bot's side is the engine's own media and call legs. A slow machine
//! makes everything later and nothing earlier, so what is limited in time is tried several times, and the best try counts.

use std::sync::Arc;
use std::time::Duration;

use offhook::asterisk::tls::{self, Identity};
use offhook::audio::Rate;
use offhook::audio::codec::Format;
use offhook::audio::g711::Law;
use offhook::audio::tone::Tone;
use offhook::call::keys::KeyMatcher;
use offhook::call::{LegEvent, MediaPlan};
use offhook::engine::transports::goes_over;
use offhook::media::{MediaConfig, MediaEvent, PlayEnd, TransportKind};
use offhook::phone::script::Step;
use offhook::phone::{KeyTiming, Phone, PhoneCall};
use offhook::store::Disposition;
use offhook::time::Moment;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::OnceCell;
use tokio::task::JoinSet;

use crate::support::asterisk::{AsteriskUnderTest, Wanted, eventually};
use crate::support::caller::{
    HANGS_UP, PATIENCE, REPLIES, SECOND, SILENT, assert_gone, connected, ended_by_bot, own_asterisk, phone,
    play, press,
};
use crate::support::certificates;
use crate::support::desk::{Bot, DIALPLAN, Desk, next_number};
use crate::support::engine::{EngineUnderTest, Settings, ShowLog};

const SPEAKS: Step = Step::BotSpeaks { within: PATIENCE };
const FRAME: Duration = Duration::from_millis(20);

/// How a profile may differ in what is promised.
#[derive(Clone, Copy)]
struct Promise {
    /// How long after a flush something may still be heard.
    flush: Duration,
}

const AT_ONCE: Promise = Promise { flush: FRAME };
const QUEUED: Promise = Promise { flush: Duration::from_millis(60) };

static ASTERISK: OnceCell<AsteriskUnderTest> = OnceCell::const_new();

/// The Asterisk that these tests share.
async fn asterisk() -> &'static AsteriskUnderTest {
    ASTERISK.get_or_init(|| start(None, Vec::new())).await
}

async fn start(version: Option<&'static str>, mut extra: Vec<(&'static str, String)>) -> AsteriskUnderTest {
    extra.push(("extensions.conf", DIALPLAN.to_owned()));
    AsteriskUnderTest::start_own(Wanted { version, extra, ..Wanted::default() }).await
}

fn plan(transport: TransportKind, format: Format) -> MediaPlan {
    MediaPlan { transport, format, ..MediaPlan::default() }
}

fn config() -> MediaConfig {
    MediaConfig::new([127, 0, 0, 1].into())
}

#[tokio::test]
async fn rtp_on_a_shared_port() {
    let desk = Desk::open(asterisk().await, "rtp", plan(TransportKind::Rtp, Format::Ulaw), config()).await;
    conform(asterisk().await, desk, AT_ONCE).await;
}

#[tokio::test]
async fn rtp_on_a_port_for_each_call() {
    let config = MediaConfig { rtp_ports: Some(30_500..=30_799), ..config() };
    let desk = Desk::open(asterisk().await, "ports", plan(TransportKind::Rtp, Format::Ulaw), config).await;
    conform(asterisk().await, desk, AT_ONCE).await;
}

#[tokio::test]
async fn rtp_with_the_oldest_asterisk() {
    let asterisk = start(Some("16"), Vec::new()).await;
    let desk = Desk::open(&asterisk, "rtp", plan(TransportKind::Rtp, Format::Alaw), config()).await;
    conform(&asterisk, desk, AT_ONCE).await;
}

#[tokio::test]
async fn audiosocket() {
    let config = MediaConfig { audiosocket: Some(0), ..config() };
    let plan = plan(TransportKind::Audiosocket, Format::Slin);
    let desk = Desk::open(asterisk().await, "audiosocket", plan, config).await;
    conform(asterisk().await, desk, AT_ONCE).await;
}

#[tokio::test]
async fn websocket_that_we_open() {
    let plan = plan(TransportKind::Websocket, Format::Ulaw);
    let desk = Desk::open(asterisk().await, "websocket", plan, config()).await;
    conform(asterisk().await, desk, QUEUED).await;
}

/// With the other dialect of control messages.
#[tokio::test]
async fn websocket_that_asterisk_opens() {
    let free = std::net::TcpListener::bind(("127.0.0.1", 0)).and_then(|socket| socket.local_addr());
    let port = free.expect("a free port").port();
    let client = format!(
        "[under-test]\ntype = websocket_client\nconnection_type = per_call_config\n\
         uri = ws://127.0.0.1:{port}/media\nprotocols = media\n"
    );
    let json = "[global]\ntype = global\ncontrol_message_format = json\n".to_owned();
    let asterisk = start(None, vec![("websocket_client.conf", client), ("chan_websocket.conf", json)]).await;
    let plan = MediaPlan {
        websocket_client: "under-test".into(),
        ..plan(TransportKind::WebsocketServer, Format::Ulaw)
    };
    let config = MediaConfig { websocket: Some(port), ..config() };
    let desk = Desk::open(&asterisk, "served", plan, config).await;
    conform(&asterisk, desk, QUEUED).await;
}

/// Asterisk looks at our certificate, and its media is encrypted.
#[tokio::test]
async fn websocket_that_asterisk_opens_by_tls() {
    let free = std::net::TcpListener::bind(("127.0.0.1", 0)).and_then(|socket| socket.local_addr());
    let port = free.expect("a free port").port();
    let asterisk = start(None, Vec::new()).await;
    let etc = asterisk.dir.join("etc");
    certificates(&etc);
    // Asterisk (22.10) compares names and no addresses.
    let client = format!(
        "[under-test]\ntype = websocket_client\nconnection_type = per_call_config\n\
         uri = wss://localhost:{port}/media\nprotocols = media\ntls_enabled = yes\n\
         ca_list_file = {}/ca.pem\nverify_server_cert = yes\nverify_server_hostname = yes\n",
        etc.display()
    );
    std::fs::write(etc.join("websocket_client.conf"), client).expect("its configuration can be written");
    asterisk.cli("module reload res_websocket_client.so").await;
    let plan = MediaPlan {
        websocket_client: "under-test".into(),
        ..plan(TransportKind::WebsocketServer, Format::Ulaw)
    };
    let identity = Identity { certificate: etc.join("server.pem"), key: etc.join("server.key") };
    let tls = Some(tls::server(&identity).expect("a certificate and its key"));
    let config = MediaConfig { websocket: Some(port), tls, ..config() };
    let desk = Desk::open(&asterisk, "encrypted", plan, config).await;
    let phone = phone(&next_number()).await;
    let (call, mut bot) = meet(&asterisk, &desk, &phone).await;
    a_chirp_comes_back_whole(&call, &mut bot, LIKE_ITSELF).await;
    keys_are_heard_once(&call, &mut bot).await;
    the_caller_hangs_up(&call, bot).await;
    // Who speaks no TLS is none of Asterisk's.
    let mut plain = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.expect("it listens");
    let _ = plain.write_all(b"GET /media HTTP/1.1\r\n\r\n").await;
    let mut answer = [0; 64];
    let length = plain.read(&mut answer).await.unwrap_or(0);
    assert!(!answer[..length].starts_with(b"HTTP"), "an alert of TLS at most");
}

/// The real engine, told by its configuration: a bot asks, and is answered by keys.
#[tokio::test]
async fn the_engine_takes_the_transport_that_it_is_told() {
    let asterisk = own_asterisk(false).await;
    for (kind, format) in [("audiosocket", "slin16"), ("websocket", "auto")] {
        let env = [
            ("OFFHOOK_MEDIA_TRANSPORT", kind),
            ("OFFHOOK_BOTS_QUICK_FORMAT", format),
            ("OFFHOOK_MEDIA_AUDIOSOCKET_PORT", "0"),
        ];
        let mut engine =
            EngineUnderTest::start(&asterisk, Settings { env: &env, ..Settings::default() }).await;
        let _log = ShowLog(&engine);
        let number = next_number();
        let phone = phone(&number).await;
        let call = connected(&phone, &asterisk, "111").await;
        let steps = vec![SPEAKS, SILENT, press("1"), REPLIES, SILENT, press("1234"), REPLIES, HANGS_UP];
        assert!(ended_by_bot(&play(&call, steps).await));
        let (record, turns) = engine.ended_call_of(&number).await;
        assert_eq!(record.disposition, Some(Disposition::Completed), "{kind}");
        let keys: Vec<_> = turns.iter().filter_map(|turn| turn.heard.keys.as_deref()).collect();
        assert_eq!(keys, ["1", "1234"], "{kind}: each key once");
        assert_gone(&asterisk, &engine, &record).await;
        drop(_log);
        engine.terminate();
        engine.ended(PATIENCE).await;
    }
}

/// The chirp there and back, in every format of every transport.
#[tokio::test]
async fn every_format_is_right_both_ways() {
    let asterisk = asterisk().await;
    let phone = phone(&next_number()).await;
    let formats = TransportKind::ALL.into_iter().filter(|kind| *kind != TransportKind::WebsocketServer);
    let formats = formats.flat_map(|kind| Format::ALL.map(|format| (kind, format)));
    for (kind, format) in formats.filter(|(kind, format)| goes_over(*format, *kind)) {
        let config = MediaConfig { audiosocket: Some(0), ..config() };
        let app = format!("{}-{format}", kind.name());
        let desk = Desk::open(asterisk, &app, plan(kind, format), config).await;
        let (call, mut bot) = meet(asterisk, &desk, &phone).await;
        print!("{app}: ");
        let likeness = if format == Format::Opus { LIKE_OPUS } else { LIKE_ITSELF };
        a_chirp_comes_back_whole(&call, &mut bot, likeness).await;
        let stats = bot.end().await;
        assert_eq!((stats.undecodable, stats.other_law), (0, 0), "{app}");
    }
}

/// Every check, on one transport.
async fn conform(asterisk: &AsteriskUnderTest, desk: Desk, promise: Promise) {
    let phone = phone(&next_number()).await;
    let (call, mut bot) = meet(asterisk, &desk, &phone).await;
    a_chirp_comes_back_whole(&call, &mut bot, LIKE_ITSELF).await;
    keys_are_heard_once(&call, &mut bot).await;
    a_play_is_heard_to_its_end(&call, &mut bot).await;
    a_flush_is_silence(&call, &mut bot, promise).await;
    the_caller_hangs_up(&call, bot).await;
    let (call, bot) = meet(asterisk, &desk, &phone).await;
    the_bot_hangs_up(&call, bot).await;
    let listener = [TransportKind::Audiosocket, TransportKind::WebsocketServer];
    let listener = listener.into_iter().find_map(|kind| desk.media.listens_for(kind));
    fifty_calls_have_audio_both_ways(asterisk, desk, &phone).await;
    if let Some(listener) = listener {
        assert_no_half_closed_connection(listener.port());
    }
}

async fn meet(asterisk: &AsteriskUnderTest, desk: &Desk, phone: &Phone) -> (PhoneCall, Bot) {
    let number = desk.number();
    tokio::join!(connected(phone, asterisk, &number), desk.take())
}

/// How like itself a tenth of a second must be after its way there and back. A hole of a frame in it, or another place,
/// makes it far less so.
const LIKE_ITSELF: f64 = 0.9;
/// Opus keeps what is heard and not the wave: 0.98 below 2 kHz, 0.67 at 3 kHz, coded twice.
const LIKE_OPUS: f64 = 0.6;

/// From the caller to the bot and back: every tenth of a second of it arrives, at the same delay.
async fn a_chirp_comes_back_whole(call: &PhoneCall, bot: &mut Bot, likeness: f64) {
    let chirp = chirp();
    let mut delays = None;
    for _ in 0..3 {
        // A silence before it becomes the pre-roll, which is the echo's cushion.
        tokio::time::sleep(SECOND / 2).await;
        let (spoken, ()) = tokio::join!(call.say(chirp.clone()), bot.echo());
        let spoken = spoken.expect("the call is up");
        call.wait_bot_silent(SECOND / 2, PATIENCE).await.expect("it ends");
        let heard = call.heard();
        let from = samples_between(heard.start, spoken.started).min(heard.by_timestamp.len());
        delays = delays_in(&chirp, &heard.by_timestamp[from..], likeness);
        if delays.as_deref().is_some_and(|delays| spread(delays) <= 160) {
            break;
        }
        // A machine that stands still for a moment moves what comes after it.
        println!("again: {delays:?} {:?}", bot.media.control.stats());
    }
    let delays = delays.expect("the chirp is found in what comes back");
    println!("echoed after {:.1} ms", *delays.iter().min().unwrap() as f64 / 8.0);
    assert!(spread(&delays) <= 160, "pieces come at different delays, each time: {delays:?}");
}

fn spread(delays: &[usize]) -> usize {
    delays.iter().max().unwrap() - delays.iter().min().unwrap()
}

/// A key is told by the stream, by ARI, or by both: once.
async fn keys_are_heard_once(call: &PhoneCall, bot: &mut Bot) {
    call.press("15599", KeyTiming::default()).await.expect("the call is up");
    let mut matcher = KeyMatcher::default();
    let keys = std::cell::RefCell::new(String::new());
    let listening = async {
        loop {
            let (key, own, at) = tokio::select! {
                Some(event) = bot.events.recv() => match event {
                    LegEvent::Key { key, at } => (key, false, at),
                    _ => continue,
                },
                Some(event) = bot.media.events.recv() => match event {
                    MediaEvent::Digit { digit, at, .. } => (digit, true, at),
                    _ => continue,
                },
            };
            if matcher.is_new(key, own, at) {
                keys.borrow_mut().push(key);
            }
        }
    };
    let all = eventually(PATIENCE, "five keys come", async || (keys.borrow().len() >= 5).then_some(()));
    // And nothing of them a second time.
    let listened = async {
        all.await;
        tokio::time::sleep(SECOND).await;
    };
    tokio::select! {
        _ = listening => {}
        () = listened => {}
    }
    assert_eq!(keys.into_inner(), "15599");
}

/// A play of a second is heard for a second, and told to be over when it is.
async fn a_play_is_heard_to_its_end(call: &PhoneCall, bot: &mut Bot) {
    let mut early = Duration::MAX;
    for _ in 0..2 {
        let before = call.with_ear(|ear| ear.segments().count());
        let play = bot.say(&tone(50)).await;
        let ended = bot.media_event(|event| match event {
            MediaEvent::PlayEnded { play: ended, at, heard, end } if ended == play => Some((at, heard, end)),
            _ => None,
        });
        let (at, heard, end) = ended.await;
        assert_eq!((heard, end), (SECOND, PlayEnd::Finished));
        let last = call.wait_bot_silent(Duration::from_millis(300), PATIENCE).await.expect("it ends");
        let voiced = voiced_samples(call, before);
        let seen = || (call.segments(), bot.media.control.stats());
        assert!(voiced.abs_diff(8_000) <= 160, "{} ms of a second were heard: {:?}", voiced / 8, seen());
        // Negative when the last packet came after the end was told.
        let told_before = (last + FRAME).since(at);
        early = early.min(told_before);
        println!("drained was told {:.1} ms after the last packet", at.millis_from(last));
    }
    assert!(early <= 2 * FRAME, "a play was told to be over {early:?} before it was");
}

/// After a flush nothing is heard, and what was heard before is told to a frame.
async fn a_flush_is_silence(call: &PhoneCall, bot: &mut Bot, promise: Promise) {
    let mut best = Duration::MAX;
    for _ in 0..6 {
        let before = call.with_ear(|ear| ear.segments().count());
        let play = bot.begin();
        let long = tone(100);
        let (voice, control) = (&bot.media.voice, bot.media.control.clone());
        let saying = async {
            for samples in long.chunks(160) {
                let frame = offhook::audio::Frame {
                    rate: Rate::Hz8000,
                    samples: samples.try_into().expect("whole frames"),
                };
                let item = offhook::audio::ring::VoiceItem::Audio(play, frame);
                voice.push(item).await.expect("the call is up");
            }
        };
        let flushing = async {
            tokio::time::sleep(Duration::from_millis(600)).await;
            let at = Moment::now();
            control.flush(play).expect("the call is up");
            at
        };
        let (at, ()) = tokio::join!(flushing, saying);
        let (heard, end) = bot
            .media_event(|event| match event {
                MediaEvent::PlayEnded { play: ended, heard, end, .. } if ended == play => Some((heard, end)),
                _ => None,
            })
            .await;
        assert_eq!(end, PlayEnd::Flushed);
        let last = call.wait_bot_silent(Duration::from_millis(300), PATIENCE).await.expect("it ends");
        let late = last.since(at);
        best = best.min(late);
        let voiced = voiced_samples(call, before);
        let told = usize::try_from(heard.as_millis()).unwrap() * 8;
        println!("flushed: heard {} ms, told {} ms, last packet {late:?} later", voiced / 8, told / 8);
        assert!(voiced.abs_diff(told) <= 160, "{} ms were heard, {} told", voiced / 8, told / 8);
    }
    assert!(best <= promise.flush, "something is heard {best:?} after a flush, at best");
}

async fn the_caller_hangs_up(call: &PhoneCall, mut bot: Bot) {
    call.hang_up().await.expect("the phone is there");
    let gone = async { while !matches!(bot.events.recv().await.expect("events come"), LegEvent::Gone(_)) {} };
    tokio::time::timeout(PATIENCE, gone).await.expect("the bot is told");
    bot.end().await;
}

async fn the_bot_hangs_up(call: &PhoneCall, bot: Bot) {
    let stats = bot.end().await;
    call.wait_hangup(PATIENCE).await.expect("the caller is told");
    // One or two may have been on their way when Asterisk let go.
    assert!(stats.send_errors < 5, "{stats:?}");
}

async fn fifty_calls_have_audio_both_ways(asterisk: &AsteriskUnderTest, desk: Desk, phone: &Phone) {
    const CALLS: usize = 50;
    let desk = Arc::new(desk);
    let mut bots = JoinSet::new();
    let (over, ends) = tokio::sync::watch::channel(false);
    for _ in 0..CALLS {
        let (desk, mut ends) = (Arc::clone(&desk), ends.clone());
        bots.spawn(async move {
            let mut bot = desk.take().await;
            bot.echo().await;
            drop(ends.wait_for(|over| *over).await);
            bot.end().await
        });
    }
    let target = format!("sip:{}@{}", desk.number(), asterisk.sip_addr);
    let mut calls = Vec::new();
    for _ in 0..CALLS {
        calls.push(phone.call(&target).await.expect("a call"));
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    let mut heard = 0;
    for call in &calls {
        call.wait_answered(PATIENCE).await.expect("an answer");
    }
    for call in &calls {
        drop(call.start_saying(tone(20)).expect("the call is up"));
    }
    for call in &calls {
        heard += usize::from(call.wait_bot_speaks(5 * SECOND).await.is_ok());
    }
    over.send_replace(true);
    let mut sent = 0;
    while let Some(stats) = bots.join_next().await {
        let stats = stats.expect("it does not panic");
        sent += usize::from(stats.sent > 10 && stats.stream.received > 10);
    }
    assert_eq!((heard, sent), (CALLS, CALLS), "calls that heard their echo, and bots that spoke");
    eventually(PATIENCE, "no call keeps its seat", async || (desk.media.totals().calls == 0).then_some(()))
        .await;
}

/// 300 to 3,000 Hz in a second, as loud as speech.
fn chirp() -> Vec<i16> {
    let mut phase = 0.0_f64;
    (0..8_000)
        .map(|i| {
            let hz = 300.0 * 10.0_f64.powf(f64::from(i) / 8_000.0);
            phase += std::f64::consts::TAU * hz / 8_000.0;
            (8_000.0 * phase.sin()) as i16
        })
        .collect()
}

fn tone(frames: usize) -> Vec<i16> {
    let mut tone = Tone::sine(Rate::Hz8000, 700.0, -10.0);
    (0..frames).flat_map(|_| tone.frame().samples).collect()
}

fn samples_between(from: Moment, to: Moment) -> usize {
    usize::try_from(to.since(from).as_micros() / 125).unwrap()
}

/// For every tenth of a second of `sent`, by how many samples it is late in `heard`; [`None`] when a piece is not there.
fn delays_in(sent: &[i16], heard: &[i16], likeness: f64) -> Option<Vec<usize>> {
    let middle = &sent[4_000..4_800];
    let around = best_lag(middle, heard, 0..heard.len().saturating_sub(800), likeness)?.saturating_sub(4_000);
    let pieces = sent.chunks_exact(800).enumerate().map(|(i, piece)| {
        let expected = around + i * 800;
        let range = expected.saturating_sub(400)..(expected + 400).min(heard.len().saturating_sub(800));
        Some(best_lag(piece, heard, range, likeness)?.saturating_sub(i * 800))
    });
    pieces.collect()
}

/// Where `piece` is found in `heard`, and found well.
fn best_lag(piece: &[i16], heard: &[i16], range: std::ops::Range<usize>, likeness: f64) -> Option<usize> {
    let energy = |samples: &[i16]| samples.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>().sqrt();
    let own = energy(piece);
    let likenesses = range.map(|lag| {
        let window = &heard[lag..lag + piece.len()];
        let product: f64 = piece.iter().zip(window).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
        (product / (own * energy(window)).max(1.0), lag)
    });
    let (best, lag) = likenesses.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best > likeness).then_some(lag)
}

/// Samples of tone in the packets that were heard since the segment of this number began. Packets, and not their timestamps: an
/// Asterisk that was late for a moment stamps what it catches up with on top of each other.
fn voiced_samples(call: &PhoneCall, since_segment: usize) -> usize {
    let onset = call.segments().get(since_segment).expect("the bot was heard").onset;
    let is_voiced = |piece: &&[u8]| piece.iter().any(|code| Law::Mu.decode(*code).unsigned_abs() > 3_000);
    call.with_ear(|ear| {
        let packets = ear.recording().iter().filter(|packet| packet.at >= onset);
        packets.map(|packet| packet.payload.chunks(40).filter(is_voiced).count() * 40).sum()
    })
}

/// A connection to our listener that the far end has closed and we have not would be one that leaks.
fn assert_no_half_closed_connection(port: u16) {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let local = format!(":{port:04X}");
    let waiting = table.lines().filter(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        fields.len() > 3 && fields[1].ends_with(&local) && fields[3] == "08"
    });
    assert_eq!(waiting.count(), 0, "connections in CLOSE-WAIT");
}
