//! One suite for every recogniser over a network, against stand-ins over real sockets: what is said is heard, and whatever
//! a service does, each question has its answer in time and the next one works.

use std::sync::Arc;
use std::time::Duration;

use offhook::audio::ring::{EarItem, EarWriter, ear};
use offhook::audio::{FRAME_SAMPLES, Frame, Rate};
use offhook::id::CallId;
use offhook::secret::Secret;
use offhook::service::{Key, ServiceError, Web};
use offhook::speech::grammar::Grammar;
use offhook::speech::network::NetworkRecognizer;
use offhook::speech::{
    Answer, Ask, AskId, Expected, Hypothesis, Recognizer, RecognizerSession, SpeechError, deepgram, openai,
    sherpa, vosk, wyoming,
};
use offhook::time::{Moment, WallTime};

use crate::support::ears::{self, Manner, StandIn, speak};

/// However slow the machine, an answer that has not come by then will not come.
const LONGEST: Duration = Duration::from_secs(30);

/// A recogniser and the service that it talks to.
struct Backend {
    name: &'static str,
    service: StandIn,
    recognizer: NetworkRecognizer,
    /// It says what it hears while the caller still speaks.
    streams: bool,
}

fn web() -> Web {
    Web::new(None).expect("somebody to trust")
}

fn key() -> Option<Key> {
    Some(Key::new(Secret::new("sk-test")))
}

/// All of them. Last words have more time than in a call, so that a slow machine fails no test; how much they have is
/// tested in virtual time.
async fn backends() -> Vec<Backend> {
    patient_backends(4_000).await
}

async fn patient_backends(final_ms: u64) -> Vec<Backend> {
    let connect_ms = 4_000;
    let mut all = Vec::new();
    let service = ears::vosk::start().await;
    let config = vosk::VoskConfig {
        url: format!("ws://{}", service.address),
        final_ms,
        connect_ms,
        ..Default::default()
    };
    let recognizer = vosk::recognizer("vosk", config, web());
    all.push(Backend { name: "vosk", service, recognizer, streams: true });
    for (name, python) in [("sherpa", false), ("sherpa in python", true)] {
        let service = ears::sherpa::start(python).await;
        let url = format!("ws://{}", service.address);
        let config = sherpa::SherpaConfig { url, final_ms, connect_ms, ..Default::default() };
        all.push(Backend {
            name,
            service,
            recognizer: sherpa::recognizer("sherpa", config, web()),
            streams: true,
        });
    }
    for (name, streams) in [("wyoming", false), ("wyoming that streams", true)] {
        let service = ears::wyoming::start(streams).await;
        let url = service.address.clone();
        let config =
            wyoming::recognizer::RecognizerConfig { url, final_ms, connect_ms, ..Default::default() };
        let recognizer = wyoming::recognizer::recognizer("wyoming", config, web());
        all.push(Backend { name, service, recognizer, streams: false });
    }
    for (name, model) in [("deepgram", "nova-3"), ("flux", "flux-general-en")] {
        let service =
            if name == "flux" { ears::deepgram::flux().await } else { ears::deepgram::nova().await };
        let (url, model) = (format!("ws://{}", service.address), model.to_owned());
        let config =
            deepgram::recognizer::RecognizerConfig { url, model, final_ms, connect_ms, ..Default::default() };
        let recognizer = deepgram::recognizer::recognizer("deepgram", config, key(), web());
        all.push(Backend { name, service, recognizer, streams: true });
    }
    for (name, realtime) in [("openai", false), ("openai realtime", true)] {
        let service =
            if realtime { ears::openai::realtime().await } else { ears::openai::transcriptions().await };
        let url = format!("http://{}/v1", service.address);
        let config = openai::recognizer::RecognizerConfig {
            url,
            realtime,
            final_ms,
            connect_ms,
            ..Default::default()
        };
        let recognizer = openai::recognizer::recognizer("openai", config, key(), web());
        all.push(Backend { name, service, recognizer, streams: realtime });
    }
    all
}

/// A call that a recogniser hears.
struct Call {
    ear: EarWriter,
    session: RecognizerSession,
    asked: u32,
}

impl Call {
    fn new(recognizer: &dyn Recognizer) -> Self {
        let (ear, reader) = ear(8_000);
        let session = recognizer.open(CallId::new(WallTime(1)), reader, Rate::Hz8000).expect("it opens");
        Self { ear, session, asked: 0 }
    }

    async fn ask(&mut self, expected: Expected) {
        self.asked += 1;
        let ask = Ask { id: AskId(self.asked), expected };
        self.session.asks.send(Some(ask)).await.expect("the session lives");
        // The question goes its own way: an onset that is there before it would be nobody's.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    fn frames(&self, samples: &[i16]) {
        for chunk in samples.chunks_exact(FRAME_SAMPLES) {
            let mut frame = Frame::silence(Rate::Hz8000);
            frame.samples.copy_from_slice(chunk);
            self.ear.push(EarItem::Audio(frame));
        }
    }

    fn onset(&self) {
        self.ear.push(EarItem::Onset { at: Moment::now() });
    }

    fn end(&self) {
        self.ear.push(EarItem::End { speech_end: Moment::now() });
    }

    fn say(&self, words: &str) {
        self.onset();
        self.frames(&speak(words));
        self.end();
    }

    /// The answer to the question that was put last, and how long it took.
    async fn answer(&mut self) -> (Answer, Duration) {
        let began = Moment::now();
        let answer = self.until(|answer| matches!(answer, Answer::Final(_) | Answer::Failed(_))).await;
        (answer, Moment::now().since(began))
    }

    async fn until(&mut self, so: impl Fn(&Answer) -> bool) -> Answer {
        let wanted = async {
            loop {
                let (id, answer) = self.session.answers.recv().await.expect("an answer");
                assert_eq!(id, AskId(self.asked), "nothing of an earlier question");
                if so(&answer) {
                    return answer;
                }
            }
        };
        tokio::time::timeout(LONGEST, wanted).await.expect("an answer in time")
    }

    async fn heard(&mut self) -> Option<Hypothesis> {
        match self.answer().await.0 {
            Answer::Final(heard) => heard,
            other => panic!("not a final: {other:?}"),
        }
    }

    async fn text(&mut self) -> String {
        self.heard().await.map(|heard| heard.text).unwrap_or_default()
    }

    /// Asks and says until it is understood: at once, or when the service is no longer left alone.
    async fn understood_again(&mut self, name: &str) {
        for _ in 0..20 {
            self.ask(Expected::Open).await;
            self.say("yes");
            match self.answer().await.0 {
                Answer::Final(heard) => {
                    assert_eq!(heard.map(|heard| heard.text).as_deref(), Some("yes"), "{name}");
                    return;
                }
                Answer::Failed(SpeechError::Service(error)) if !error.is_lasting() => {
                    tokio::time::sleep(Duration::from_millis(300)).await
                }
                other => panic!("{name}: {other:?}"),
            }
        }
        panic!("{name}: nothing is understood any more");
    }
}

fn menu() -> Expected {
    let phrases = [("sales [please]", "sales"), ("support", "support")];
    Expected::Grammar(Arc::new(Grammar::from_phrases("desk", phrases).expect("right")))
}

fn digits() -> Expected {
    Expected::Grammar(Arc::new(Grammar::digits(3)))
}

/// Waits for what other tasks are about to do.
async fn settled(what: &str, so: impl Fn() -> bool) {
    for _ in 0..600 {
        if so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("waited for nothing: {what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_is_heard_by_every_recogniser() {
    for backend in backends().await {
        let name = backend.name;
        let mut call = Call::new(&backend.recognizer);
        call.ask(menu()).await;
        call.say("sales");
        let heard = call.heard().await.unwrap_or_else(|| panic!("{name}: nothing"));
        assert_eq!((heard.text.as_str(), heard.meaning.as_deref()), ("sales", Some("sales")), "{name}");
        assert!((0.5..=1.0).contains(&heard.confidence), "{name}: {}", heard.confidence);
        call.ask(digits()).await;
        call.say("one two four");
        assert_eq!(call.heard().await.and_then(|heard| heard.meaning).as_deref(), Some("124"), "{name}");
        call.ask(menu()).await;
        call.say("no");
        assert_eq!(call.heard().await, None, "{name}: none of the grammar");
        // While he still speaks.
        call.ask(Expected::Open).await;
        call.onset();
        call.frames(&speak("one two three"));
        if backend.streams {
            let partial = |answer: &Answer| matches!(answer, Answer::Partial(heard) if heard.text.starts_with("one two"));
            call.until(partial).await;
        }
        call.ear.push(EarItem::Pause { speech_end: Moment::now() - Duration::from_millis(400) });
        call.frames(&speak("four"));
        call.end();
        assert_eq!(call.text().await, "one two three four", "{name}");
        // The pause is answered as if it were the end.
        call.ask(Expected::Open).await;
        call.onset();
        call.frames(&speak("support"));
        let speech_end = Moment::now();
        call.ear.push(EarItem::Pause { speech_end });
        for _ in 0..50 {
            call.frames(&[0; FRAME_SAMPLES]);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let answer = call.until(|answer| matches!(answer, Answer::Provisional(_))).await;
        let Answer::Provisional(Some(heard)) = answer else { panic!("{name}: {answer:?}") };
        assert_eq!((heard.text.as_str(), heard.at), ("support", speech_end), "{name}");
        call.ear.push(EarItem::End { speech_end });
        assert_eq!(call.text().await, "support", "{name}");
        drop(call);
        settled("nothing stays behind", || name == "openai" || backend.service.open() == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_that_is_taken_back_in_the_middle_of_a_word_leaves_nothing_in_the_next_answer() {
    for backend in backends().await {
        let mut call = Call::new(&backend.recognizer);
        for _ in 0..3 {
            call.ask(Expected::Open).await;
            call.onset();
            let said = speak("one two three");
            call.frames(&said[..said.len() / 2 + 320]);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        call.session.asks.send(None).await.expect("it lives");
        call.frames(&speak("four"));
        call.end();
        tokio::time::sleep(Duration::from_millis(100)).await;
        while call.session.answers.try_recv().is_ok() {}
        call.ask(Expected::Open).await;
        call.say("yes");
        assert_eq!(call.text().await, "yes", "{}", backend.name);
        // What was a cough is forgotten, and the question stands.
        call.ask(Expected::Open).await;
        call.onset();
        call.frames(&speak("no"));
        call.ear.push(EarItem::TakenBack);
        call.say("sales");
        assert_eq!(call.text().await, "sales", "{}", backend.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_breaks_in_an_utterance_costs_no_word() {
    for backend in backends().await.into_iter().filter(|backend| backend.name != "openai") {
        for broken in [Manner::Closes(5), Manner::HalfCloses(3), Manner::Closes(1), Manner::Garbage] {
            backend.service.behave(&[broken, Manner::Good]);
            let mut call = Call::new(&backend.recognizer);
            call.ask(Expected::Open).await;
            call.onset();
            call.frames(&speak("one two three"));
            tokio::time::sleep(Duration::from_millis(400)).await;
            call.frames(&speak("four"));
            call.end();
            assert_eq!(call.text().await, "one two three four", "{}: {broken:?}", backend.name);
            call.ask(Expected::Open).await;
            call.say("yes");
            assert_eq!(call.text().await, "yes", "{}: {broken:?}", backend.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_a_click_to_a_minute_and_in_silence_there_is_an_answer() {
    for backend in patient_backends(25_000).await {
        let name = backend.name;
        let mut call = Call::new(&backend.recognizer);
        call.ask(menu()).await;
        call.onset();
        call.frames(&[500; FRAME_SAMPLES]);
        call.end();
        assert_eq!(call.heard().await, None, "{name}: 20 ms");
        call.ask(Expected::Open).await;
        call.onset();
        call.frames(&[0; 16_000]);
        call.end();
        assert_eq!(call.heard().await, None, "{name}: silence");
        call.ask(Expected::Open).await;
        call.onset();
        call.end();
        assert!(matches!(call.answer().await.0, Answer::Final(None)), "{name}: nothing at all");
        let minute: String = ["one two three four "; 50].concat();
        let mut samples = speak(&minute);
        samples.resize(60 * 8_000, 0);
        call.ask(Expected::Open).await;
        call.onset();
        call.frames(&samples);
        call.end();
        assert_eq!(call.text().await, minute.trim(), "{name}: a minute");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_service_does_each_question_is_answered_and_the_next_one_works() {
    let bad = [
        Manner::Hangs,
        Manner::Closes(1),
        Manner::Closes(4),
        Manner::HalfCloses(2),
        Manner::Garbage,
        Manner::Status(500),
        Manner::Status(429),
        Manner::Status(503),
    ];
    for backend in backends().await {
        let name = backend.name;
        for manner in bad {
            backend.service.behave(&[manner]);
            let mut call = Call::new(&backend.recognizer);
            call.ask(Expected::Open).await;
            call.say("one two three");
            let (answer, took) = call.answer().await;
            let error = match answer {
                Answer::Failed(error) => error,
                // It had heard all before it went.
                Answer::Final(Some(heard))
                    if matches!(manner, Manner::Closes(_)) && heard.text == "one two three" =>
                {
                    continue;
                }
                other => panic!("{name}: {manner:?}: {other:?}"),
            };
            let passes = matches!(&error, SpeechError::Service(error) if !error.is_lasting());
            assert!(passes, "{name}: {manner:?}: {error:?}");
            assert!(!error.to_string().contains("sk-test") && !error.to_string().contains("three"));
            assert!(took < LONGEST / 2, "{name}: {manner:?}: {took:?}");
            backend.service.behave(&[Manner::Good]);
            call.understood_again(name).await;
        }
        for manner in [Manner::Slow(Duration::from_millis(400)), Manner::Fragments] {
            backend.service.behave(&[manner]);
            let mut call = Call::new(&backend.recognizer);
            call.ask(Expected::Open).await;
            call.say("one two three");
            assert_eq!(call.text().await, "one two three", "{name}: {manner:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_refused_is_said_once_and_not_tried_again() {
    for backend in backends().await.into_iter().filter(|backend| !backend.name.starts_with("wyoming")) {
        let name = backend.name;
        backend.service.behave(&[Manner::Status(401)]);
        let mut call = Call::new(&backend.recognizer);
        call.ask(Expected::Open).await;
        call.say("one");
        let (answer, _) = call.answer().await;
        let Answer::Failed(SpeechError::Service(refused @ ServiceError::Refused { .. })) = answer else {
            panic!("{name}: {answer:?}")
        };
        let sentence = refused.to_string();
        assert!(sentence.contains("key") && !sentence.contains("sk-test"), "{name}: {sentence}");
        let connections = backend.service.connections();
        call.ask(Expected::Open).await;
        assert!(
            matches!(
                call.answer().await.0,
                Answer::Failed(SpeechError::Service(ServiceError::Refused { .. }))
            ),
            "{name}: before a word"
        );
        assert_eq!(backend.service.connections(), connections, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_are_told_what_to_listen_for_and_who_asks() {
    for backend in backends().await {
        let mut call = Call::new(&backend.recognizer);
        call.ask(menu()).await;
        call.say("sales");
        call.heard().await;
        let told = backend.service.requests();
        let wanted: &[&str] = match backend.name {
            "vosk" => &[
                "\"phrase_list\":[\"sales please\",\"sales\",\"support\",\"[unk]\"]",
                "\"sample_rate\":8000",
            ],
            "deepgram" => &[
                "/v1/listen?model=nova-3",
                "encoding=mulaw",
                "sample_rate=8000",
                "interim_results=true",
                "keyterm=sales+please",
                "authorization: \"Token sk-test\"",
            ],
            "flux" => &["/v2/listen?model=flux-general-en", "eager_eot_threshold=0.5", "keyterm=support"],
            "wyoming" => &["\"transcript_terms\":[\"sales please\",\"sales\",\"support\"]"],
            "openai realtime" => {
                &["intent=transcription", "authorization: \"Bearer sk-test\"", "sales please, sales"]
            }
            "openai" => &["authorization: Bearer sk-test", "multipart/form-data; boundary="],
            _ => &[],
        };
        for wanted in wanted {
            assert!(told.contains(wanted), "{}: no {wanted} in {told}", backend.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flux_tells_when_a_turn_may_be_over_and_when_it_was_not() {
    let backend = backends().await.into_iter().find(|backend| backend.name == "flux").expect("there");
    let mut call = Call::new(&backend.recognizer);
    call.ask(Expected::Open).await;
    call.onset();
    call.frames(&speak("one two"));
    call.frames(&[0; 8_000]);
    let turn = |answer: &Answer| matches!(answer, Answer::EndOfTurn { .. });
    let Answer::EndOfTurn { confidence, .. } = call.until(turn).await else { panic!("a turn") };
    assert!((confidence - 0.6).abs() < 1e-6);
    call.frames(&speak("three"));
    let Answer::EndOfTurn { confidence, .. } = call.until(turn).await else { panic!("a turn") };
    assert!(confidence < 1e-6, "he went on");
    call.end();
    assert_eq!(call.text().await, "one two three");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_there_is_said_in_a_sentence_that_tells_what_to_do() {
    let service = ears::vosk::start().await;
    let url = format!("ws://{}", service.address);
    drop(service);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let recognizer = vosk::recognizer("rack", vosk::VoskConfig { url, ..Default::default() }, web());
    let mut call = Call::new(&recognizer);
    call.ask(Expected::Open).await;
    call.say("one");
    let Answer::Failed(error) = call.answer().await.0 else { panic!("nobody is there") };
    assert!(error.to_string().contains("correct `url` under [service.rack]"), "{error}");
}

/// What Flite says, as a telephone hears it.
#[cfg(feature = "flite")]
async fn flite(text: &str) -> Vec<i16> {
    use offhook::speech::flite::{FliteConfig, FliteSynthesizer};
    use offhook::speech::{Synthesizer as _, Utterance};

    let flite = FliteSynthesizer::new(FliteConfig::default()).expect("Flite is there");
    let utterance = Utterance { text: text.to_owned(), voice: Some("slt".to_owned()), rate: Rate::Hz8000 };
    let mut stream = flite.synthesize(&utterance);
    let mut samples = vec![0; 2_400];
    while let Some(chunk) = stream.chunks.recv().await {
        samples.extend(chunk.expect("it can be said"));
    }
    samples.extend([0; 2_400]);
    samples
}

/// Against the package of PyPI that the protocol comes from, with PocketSphinx behind it.
#[cfg(feature = "flite")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wyoming_is_heard_by_the_package_of_its_makers() {
    let Some(python) = crate::support::python::python(&["wyoming==1.8.0", "pocketsphinx==5.0.4"]).await
    else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let jsgf = folder.path().join("desk.jsgf");
    std::fs::write(
        &jsgf,
        "#JSGF V1.0;\ngrammar desk;\npublic <desk> = sales department | technical support;\n",
    )
    .expect("there is room");
    let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/ears/pocketsphinx_server.py");
    let mut server = tokio::process::Command::new(python);
    let server = server.arg(script).arg(port.to_string()).arg(&jsgf);
    let _server = server.kill_on_drop(true).spawn().expect("it starts");
    let url = format!("tcp://127.0.0.1:{port}");
    for _ in 0..600 {
        if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let config = wyoming::recognizer::RecognizerConfig {
        url,
        final_ms: 20_000,
        connect_ms: 10_000,
        ..Default::default()
    };
    let recognizer = wyoming::recognizer::recognizer("wyoming", config, web());
    let mut call = Call::new(&recognizer);
    for text in ["technical support", "sales department"] {
        call.ask(Expected::Open).await;
        call.onset();
        let said = flite(text).await;
        call.frames(&said);
        // The try at the pause is the answer.
        let speech_end = Moment::now();
        call.ear.push(EarItem::Pause { speech_end });
        call.frames(&[0; 1_600]);
        call.ear.push(EarItem::End { speech_end });
        assert_eq!(call.text().await, text);
    }
}

/// The real services, where their keys are in the environment.
#[cfg(feature = "flite")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_real_services_understand_a_sentence() {
    let key = |name: &str| {
        let key = Key::find(None, None, &[name]).ok().flatten();
        if key.is_none() {
            println!("skipped: {name} is not in the environment");
        }
        key
    };
    let mut all = Vec::new();
    if let Some(key) = key("DEEPGRAM_API_KEY") {
        for model in ["nova-3", "flux-general-en"] {
            let config =
                deepgram::recognizer::RecognizerConfig { model: model.to_owned(), ..Default::default() };
            all.push((model, deepgram::recognizer::recognizer("deepgram", config, Some(key.clone()), web())));
        }
    }
    if let Some(key) = key("OPENAI_API_KEY") {
        for (name, realtime) in [("openai", false), ("openai realtime", true)] {
            let config =
                openai::recognizer::RecognizerConfig { realtime, final_ms: 5_000, ..Default::default() };
            all.push((name, openai::recognizer::recognizer("openai", config, Some(key.clone()), web())));
        }
    }
    for (name, recognizer) in all {
        let mut call = Call::new(&recognizer);
        call.ask(Expected::Open).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        call.onset();
        for frame in flite("I would like to speak to the sales department").await.chunks(FRAME_SAMPLES) {
            call.frames(frame);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        call.end();
        let (answer, took) = call.answer().await;
        println!("{name}: {answer:?} after {took:?}");
        let Answer::Final(Some(heard)) = answer else { panic!("{name}: {answer:?}") };
        assert!(heard.text.contains("sales department"), "{name}: {}", heard.text);
    }
}
