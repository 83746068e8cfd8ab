//! Every synthesiser over real sockets and processes: the same suite for all, against stand-ins that misbehave, and against
//! software that nobody here wrote where it is there.

use std::sync::Arc;
use std::time::Duration;

use offhook::audio::Rate;
use offhook::secret::Secret;
use offhook::service::{Deadlines, Key, ServiceError, Web};
use offhook::speech::cartesia::{CartesiaConfig, CartesiaSynthesizer};
use offhook::speech::command::{CommandConfig, CommandSynthesizer};
use offhook::speech::deepgram::synthesizer::{DeepgramSpeech, DeepgramSpeechConfig};
use offhook::speech::elevenlabs::{ElevenLabsConfig, ElevenLabsSynthesizer};
use offhook::speech::openai::synthesizer::{OpenAiSpeech, OpenAiSpeechConfig};
use offhook::speech::wyoming::synthesizer::{WyomingSpeech, WyomingSpeechConfig};
use offhook::speech::{SpeechError, Synthesizer, Utterance};
use tokio::time::Instant;

use crate::support::asterisk::eventually;
use crate::support::mouths::{self, StandIn, Way, length};
use crate::support::python::python;

/// Generous: none of these waits is for the machine, but for what the test makes late.
const PATIENCE: Duration = Duration::from_secs(30);

/// A service that speaks, and its stand-in.
struct Mouth {
    voice: Arc<dyn Synthesizer>,
    stand_in: StandIn,
    /// It says when words end.
    times: bool,
    /// It has the statuses of HTTP.
    statuses: bool,
}

fn web() -> Web {
    Web::new(None).expect("there is somebody to trust")
}

fn key() -> Key {
    Key::new(Secret::new("hunter2"))
}

/// The first audio within this time, so that tests of what hangs are short; for all else it is far enough.
const FIRST: Duration = Duration::from_secs(6);
const STALL: Duration = Duration::from_secs(6);

fn deadlines() -> Deadlines {
    Deadlines { connect: PATIENCE, first: FIRST, stall: STALL, ..Deadlines::USUAL }
}

async fn openai() -> Mouth {
    let stand_in = mouths::openai::start().await;
    let config = OpenAiSpeechConfig {
        name: "openai",
        url: format!("http://{}/v1", stand_in.address),
        key: Some(key()),
        model: "tts-1".into(),
        voice: "alloy".into(),
        sample_rate: 24_000,
        at_once: 20,
        options: serde_json::Map::new(),
        deadlines: deadlines(),
    };
    Mouth { voice: Arc::new(OpenAiSpeech::new(config, web())), stand_in, times: false, statuses: true }
}

async fn deepgram() -> Mouth {
    let stand_in = mouths::deepgram::start().await;
    let config = DeepgramSpeechConfig {
        name: "deepgram",
        url: format!("http://{}", stand_in.address),
        key: key(),
        voice: "aura-2-thalia-en".into(),
        at_once: 20,
        deadlines: deadlines(),
    };
    Mouth { voice: Arc::new(DeepgramSpeech::new(config, web())), stand_in, times: false, statuses: true }
}

async fn cartesia() -> Mouth {
    let stand_in = mouths::cartesia::start().await;
    let config = CartesiaConfig {
        name: "cartesia",
        url: format!("http://{}", stand_in.address),
        key: key(),
        model: "sonic-3.5".into(),
        voice: "a0e99841".into(),
        language: Some("en".into()),
        at_once: 20,
        options: serde_json::Map::new(),
        deadlines: deadlines(),
    };
    Mouth { voice: Arc::new(CartesiaSynthesizer::new(config, web())), stand_in, times: true, statuses: true }
}

async fn elevenlabs() -> Mouth {
    let stand_in = mouths::elevenlabs::start().await;
    let config = ElevenLabsConfig {
        name: "elevenlabs",
        url: format!("http://{}", stand_in.address),
        key: key(),
        model: "eleven_flash_v2_5".into(),
        voice: "21m00Tcm4TlvDq8ikWAM".into(),
        language: None,
        at_once: 20,
        options: serde_json::Map::new(),
        deadlines: deadlines(),
    };
    Mouth {
        voice: Arc::new(ElevenLabsSynthesizer::new(config, web())),
        stand_in,
        times: true,
        statuses: true,
    }
}

async fn wyoming(streams: bool) -> Mouth {
    let stand_in = mouths::wyoming::start(streams).await;
    let config = wyoming_config(format!("tcp://{}", stand_in.address));
    Mouth { voice: Arc::new(WyomingSpeech::new(config, web())), stand_in, times: false, statuses: false }
}

fn wyoming_config(url: String) -> WyomingSpeechConfig {
    WyomingSpeechConfig { name: "wyoming", url, voice: None, language: None, deadlines: deadlines() }
}

fn say(text: &str, rate: Rate) -> Utterance {
    Utterance { text: text.to_owned(), voice: None, rate }
}

/// What came of a text.
struct Spoken {
    samples: Vec<i16>,
    first: Option<Duration>,
    whole: Duration,
    times: Vec<Duration>,
    error: Option<SpeechError>,
}

async fn spoken(voice: &dyn Synthesizer, utterance: &Utterance) -> Spoken {
    let begun = Instant::now();
    let mut stream = voice.synthesize(utterance);
    let (mut samples, mut first, mut error) = (Vec::new(), None, None);
    while let Some(item) = stream.chunks.recv().await {
        match item {
            Ok(chunk) => {
                first.get_or_insert(begun.elapsed());
                samples.extend(chunk);
            }
            Err(why) => error = Some(why),
        }
    }
    Spoken { samples, first, whole: begun.elapsed(), times: stream.times.known(), error }
}

const TEXT: &str = "Your order number four is ready.";

/// The suite.
async fn suite(mouth: Mouth) {
    let name = mouth.voice.name();
    says_texts_of_any_length_at_both_rates(&mouth).await;
    println!("{name}: of any length, at both rates");
    streams_and_stops_in_mid_word(&mouth).await;
    println!("{name}: streams, and stops in mid-word");
    survives_what_a_service_does(&mouth).await;
    println!("{name}: survives what a service does");
    if mouth.statuses {
        tells_statuses_apart(&mouth).await;
        assert!(mouth.stand_in.seen.key.lock().unwrap().contains("hunter2"), "it was shown the key");
    }
}

async fn says_texts_of_any_length_at_both_rates(mouth: &Mouth) {
    let long = "word and word ".repeat(71);
    for text in ["Yes", TEXT, long.trim_end()] {
        for rate in [Rate::Hz8000, Rate::Hz16000] {
            let spoken = spoken(&*mouth.voice, &say(text, rate)).await;
            assert!(spoken.error.is_none(), "{:?}", spoken.error);
            let (is, wanted) = (rate.duration(spoken.samples.len() as u64), length(text));
            assert!(is.abs_diff(wanted) < Duration::from_millis(30), "{is:?} for {wanted:?}");
            let loudest = spoken.samples.iter().map(|sample| sample.unsigned_abs()).max();
            assert!((7_000..9_500).contains(&loudest.unwrap()), "{loudest:?}");
            if mouth.times {
                let words = text.split_whitespace().count();
                assert_eq!(spoken.times.len(), words, "{text}");
                assert!(spoken.times.is_sorted(), "{:?}", spoken.times);
                let last = spoken.times.last().unwrap();
                assert!(last.abs_diff(wanted) < Duration::from_millis(130), "{last:?} of {wanted:?}");
            }
        }
    }
    let texts = mouth.stand_in.seen.texts.lock().unwrap().clone();
    assert_eq!(texts.len(), 6);
    assert_eq!(texts[2], TEXT, "the text as it is");
}

async fn streams_and_stops_in_mid_word(mouth: &Mouth) {
    mouth.stand_in.behaves(Way::Paced);
    let whole = spoken(&*mouth.voice, &say(TEXT, Rate::Hz8000)).await;
    assert!(whole.error.is_none(), "{:?}", whole.error);
    let first = whole.first.expect("audio");
    assert!(first * 3 < whole.whole, "the first audio after {first:?} of {:?}", whole.whole);
    let before = mouth.stand_in.seen.stopped();
    let mut stream = mouth.voice.synthesize(&say(TEXT, Rate::Hz8000));
    assert!(stream.chunks.recv().await.expect("audio").is_ok());
    let dropped = Instant::now();
    drop(stream);
    eventually(PATIENCE, "the service sees that nobody listens", async || {
        (mouth.stand_in.seen.stopped() > before).then_some(())
    })
    .await;
    println!("{}: stopped after {:?}", mouth.voice.name(), dropped.elapsed());
    // And nothing of it is heard in the next one.
    mouth.stand_in.behaves(Way::Well);
    let next = spoken(&*mouth.voice, &say("Yes", Rate::Hz8000)).await;
    assert!(next.error.is_none(), "{:?}", next.error);
    let is = Rate::Hz8000.duration(next.samples.len() as u64);
    assert!(is.abs_diff(length("Yes")) < Duration::from_millis(30), "{is:?}");
}

async fn survives_what_a_service_does(mouth: &Mouth) {
    let whole = spoken(&*mouth.voice, &say(TEXT, Rate::Hz8000)).await.samples;
    let when_it = async |way| {
        mouth.stand_in.behaves(way);
        spoken(&*mouth.voice, &say(TEXT, Rate::Hz8000)).await
    };
    assert!(when_it(Way::Pieces).await.samples == whole, "the same in small pieces");
    let slow = when_it(Way::Slow(Duration::from_millis(900))).await;
    assert!(slow.error.is_none() && slow.first.is_some_and(|first| first >= Duration::from_millis(900)));
    let broken = when_it(Way::Breaks).await;
    let error = broken.error.expect("it broke off");
    assert!(
        !broken.samples.is_empty() && broken.samples.len() < whole.len() && !error.is_lasting(),
        "{error}"
    );
    let garbage = when_it(Way::Garbage).await.error.expect("it was nonsense");
    assert!(garbage.counts(), "{garbage}");
    let hanging = when_it(Way::Hangs).await;
    assert!(
        hanging.samples.is_empty() && (FIRST..FIRST + PATIENCE).contains(&hanging.whole),
        "{:?}",
        hanging.whole
    );
    assert!(
        matches!(hanging.error, Some(SpeechError::Service(ServiceError::Timeout { .. }))),
        "{:?}",
        hanging.error
    );
    mouth.stand_in.behaves(Way::Well);
    let again = spoken(&*mouth.voice, &say(TEXT, Rate::Hz8000)).await;
    assert!(again.error.is_none() && again.samples == whole, "as if nothing had been");
}

async fn tells_statuses_apart(mouth: &Mouth) {
    for (status, lasting) in [(401, true), (403, true), (404, true), (429, false), (500, false), (503, false)]
    {
        mouth.stand_in.behaves(Way::Status(status));
        let connections = mouth.stand_in.seen.connections();
        let error = loop {
            let told = spoken(&*mouth.voice, &say(TEXT, Rate::Hz8000)).await;
            if mouth.stand_in.seen.connections() > connections || told.error.is_some() {
                break told.error.expect("it was refused");
            }
        };
        assert_eq!(error.is_lasting(), lasting, "{status}: {error}");
        let SpeechError::Service(error) = error else { panic!("{error:?}") };
        let after = error.retry_after();
        assert_eq!(after, (status == 429).then(|| Duration::from_secs(7)), "{error:?}");
        let told = error.to_string();
        assert!(told.contains("not you") && !told.contains("hunter2"), "{told}");
    }
    mouth.stand_in.behaves(Way::Well);
}

#[tokio::test]
async fn openai_passes_the_suite() {
    suite(openai().await).await;
}

#[tokio::test]
async fn deepgram_passes_the_suite() {
    suite(deepgram().await).await;
}

#[tokio::test]
async fn cartesia_passes_the_suite() {
    suite(cartesia().await).await;
}

#[tokio::test]
async fn elevenlabs_passes_the_suite() {
    suite(elevenlabs().await).await;
}

#[tokio::test]
async fn wyoming_passes_the_suite() {
    suite(wyoming(false).await).await;
}

#[tokio::test]
async fn wyoming_passes_the_suite_as_a_stream() {
    suite(wyoming(true).await).await;
}

#[tokio::test]
async fn a_socket_that_was_used_is_used_again_and_one_that_was_closed_meanwhile_is_replaced() {
    for mouth in [deepgram().await, cartesia().await] {
        for _ in 0..4 {
            assert!(spoken(&*mouth.voice, &say("Yes", Rate::Hz8000)).await.error.is_none());
        }
        assert_eq!(mouth.stand_in.seen.connections(), 1, "{}", mouth.voice.name());
        // It breaks off: the next text has a new one.
        mouth.stand_in.behaves(Way::Breaks);
        assert!(spoken(&*mouth.voice, &say(TEXT, Rate::Hz8000)).await.error.is_some());
        mouth.stand_in.behaves(Way::Well);
        assert!(spoken(&*mouth.voice, &say("Yes", Rate::Hz8000)).await.error.is_none());
        assert_eq!(mouth.stand_in.seen.connections(), 2, "{}", mouth.voice.name());
    }
}

#[tokio::test]
async fn a_program_says_texts_of_any_length_at_both_rates() {
    if offhook::speech::command::find("espeak-ng").is_none() {
        println!("skipped: espeak-ng is not installed (scripts/setup installs it)");
        return;
    }
    let command = ["espeak-ng", "-v", "{voice}", "--stdin", "--stdout"].map(str::to_owned).to_vec();
    let config = CommandConfig {
        name: "espeak",
        command,
        voice: "en".into(),
        sample_rate: 22_050,
        at_once: 4,
        deadlines: deadlines(),
    };
    let voice = CommandSynthesizer::new(config).expect("it is there");
    let long = "There are sixty words, more or less, in this sentence. ".repeat(16);
    let mut lengths = Vec::new();
    for text in ["Yes.", TEXT, long.trim_end()] {
        for rate in [Rate::Hz8000, Rate::Hz16000] {
            let spoken = spoken(&voice, &say(text, rate)).await;
            assert!(spoken.error.is_none(), "{:?}", spoken.error);
            lengths.push(rate.duration(spoken.samples.len() as u64));
        }
    }
    println!("{lengths:?}");
    for pair in lengths.chunks(2) {
        assert!(pair[0].abs_diff(pair[1]) < Duration::from_millis(5), "as long at both rates: {pair:?}");
    }
    assert!(lengths[0] < Duration::from_secs(2) && lengths[4] > Duration::from_secs(40), "{lengths:?}");
    let german = Utterance { voice: Some("de".into()), ..say("Guten Tag.", Rate::Hz8000) };
    assert!(!spoken(&voice, &german).await.samples.is_empty());
    let wrong = Utterance { voice: Some("xx-none".into()), ..say("Hello.", Rate::Hz8000) };
    let error = spoken(&voice, &wrong).await.error.expect("no such voice").to_string();
    assert!(error.contains("voice"), "{error}");
}

/// Against the real services, when their keys are in the environment.
#[tokio::test]
async fn the_real_services_speak_when_there_are_keys() {
    let key = |name: &str| {
        std::env::var(name).ok().filter(|key| !key.is_empty()).map(|key| Key::new(Secret::new(key)))
    };
    let mut voices: Vec<Arc<dyn Synthesizer>> = Vec::new();
    if let Some(key) = key("OPENAI_API_KEY") {
        let config = OpenAiSpeechConfig {
            name: "openai",
            url: "https://api.openai.com/v1".into(),
            key: Some(key),
            model: "gpt-4o-mini-tts".into(),
            voice: "alloy".into(),
            sample_rate: 24_000,
            at_once: 2,
            options: serde_json::Map::new(),
            deadlines: deadlines(),
        };
        voices.push(Arc::new(OpenAiSpeech::new(config, web())));
    }
    if let Some(key) = key("DEEPGRAM_API_KEY") {
        let config = DeepgramSpeechConfig {
            name: "deepgram",
            url: "https://api.deepgram.com".into(),
            key,
            voice: "aura-2-thalia-en".into(),
            at_once: 2,
            deadlines: deadlines(),
        };
        voices.push(Arc::new(DeepgramSpeech::new(config, web())));
    }
    if let Some(key) = key("ELEVENLABS_API_KEY") {
        let config = ElevenLabsConfig {
            name: "elevenlabs",
            url: "https://api.elevenlabs.io".into(),
            key,
            model: "eleven_flash_v2_5".into(),
            voice: "21m00Tcm4TlvDq8ikWAM".into(),
            language: None,
            at_once: 2,
            options: serde_json::Map::new(),
            deadlines: deadlines(),
        };
        voices.push(Arc::new(ElevenLabsSynthesizer::new(config, web())));
    }
    if let Some(key) = key("CARTESIA_API_KEY") {
        let config = CartesiaConfig {
            name: "cartesia",
            url: "https://api.cartesia.ai".into(),
            key,
            model: "sonic-3.5".into(),
            voice: "a0e99841-438c-4a64-b679-ae501e7d6091".into(),
            language: Some("en".into()),
            at_once: 2,
            options: serde_json::Map::new(),
            deadlines: deadlines(),
        };
        voices.push(Arc::new(CartesiaSynthesizer::new(config, web())));
    }
    if voices.is_empty() {
        println!(
            "skipped: none of OPENAI_API_KEY, DEEPGRAM_API_KEY, ELEVENLABS_API_KEY, CARTESIA_API_KEY is set"
        );
    }
    for voice in voices {
        for _ in 0..2 {
            let spoken = spoken(&*voice, &say(TEXT, Rate::Hz8000)).await;
            assert!(spoken.error.is_none(), "{}: {:?}", voice.name(), spoken.error);
            let is = Rate::Hz8000.duration(spoken.samples.len() as u64);
            println!(
                "{}: {is:?}, first after {:?}, words end at {:?}",
                voice.name(),
                spoken.first,
                spoken.times
            );
            assert!((Duration::from_secs(1)..Duration::from_secs(6)).contains(&is));
        }
    }
}

/// Against the package of PyPI that the protocol comes from.
#[tokio::test]
async fn wyoming_is_spoken_by_the_package_of_its_makers() {
    if offhook::speech::command::find("espeak-ng").is_none() {
        println!("skipped: espeak-ng is not installed (scripts/setup installs it)");
        return;
    }
    let Some(python) = python(&["wyoming==1.8.0"]).await else { return };
    let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/mouths/espeak_server.py");
    let mut server = tokio::process::Command::new(python);
    let mut server = server.arg(script).arg(port.to_string()).kill_on_drop(true).spawn().expect("it starts");
    let address = format!("127.0.0.1:{port}");
    eventually(PATIENCE, "the server listens", async || {
        assert!(server.try_wait().expect("it is our child").is_none(), "the server ended at its start");
        tokio::net::TcpStream::connect(&address).await.ok()
    })
    .await;
    let voice = WyomingSpeech::new(wyoming_config(format!("tcp://{address}")), web());
    let long = "There are sixty words, more or less, in this sentence. ".repeat(16);
    for text in ["Yes.", TEXT, long.trim_end()] {
        let [short, wide] =
            [spoken(&voice, &say(text, Rate::Hz8000)).await, spoken(&voice, &say(text, Rate::Hz16000)).await];
        assert!(short.error.is_none() && wide.error.is_none(), "{:?} {:?}", short.error, wide.error);
        assert!(wide.samples.len().abs_diff(2 * short.samples.len()) < 40);
        println!("{} characters: {:?}", text.len(), Rate::Hz8000.duration(short.samples.len() as u64));
    }
}
