//! A call whose media thread and recogniser are the test, in virtual time. For tests alone.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use super::journal::Turn;
use super::*;
use crate::asterisk::ari::{Ari, AriConfig};
use crate::asterisk::secret::Secret;
use crate::audio::Rate;
use crate::audio::ring;
pub(crate) use crate::audio::ring::PlayId;
use crate::media::{Attach, Lease, Media, MediaConfig};
pub(crate) use crate::media::{MediaEvent, PlayEnd};
use crate::speech::words::WordTimes;
use crate::speech::{Answer, Ask, AskId, Hypothesis, SpeechStream};
use crate::turn::{Reasons, TurnSignal, Witness, vad};
use speaker::Source;

/// A second of audio for each sentence, and what was made. What ends in an exclamation mark is not kept.
#[derive(Default)]
pub(crate) struct Mouth(pub(crate) Mutex<Vec<String>>);

impl Voices for Mouth {
    fn speak(&self, text: &str, _: Option<&str>, rate: Rate) -> Source {
        self.0.lock().expect("nobody panics with it").push(text.to_owned());
        let seconds = text.matches(['.', '?']).count().max(1);
        let samples = vec![7; seconds * rate.hz() as usize];
        if text.ends_with('!') {
            let (sender, chunks) = mpsc::channel(1);
            sender.try_send(Ok(samples)).expect("it has room");
            return Source::Stream(SpeechStream { chunks, times: WordTimes::default() });
        }
        Source::Ready(samples.into(), WordTimes::default())
    }

    fn pays_ahead(&self, text: &str, _: Option<&str>, _: Rate) -> bool {
        text.ends_with('!')
    }

    fn play(&self, _: &Path, _: Rate) -> Source {
        Source::Ready(Vec::new().into(), WordTimes::default())
    }
}

#[derive(Default)]
pub(crate) struct Notes(pub(crate) Mutex<Vec<Note>>);

impl Journal for Notes {
    fn note(&self, _: CallId, note: Note) {
        self.0.lock().expect("nobody panics with it").push(note);
    }
}

/// A call whose media thread and recogniser are the test.
pub(crate) struct Booth {
    pub(crate) call: Call,
    pub(crate) script: Script,
    pub(crate) mouth: Arc<Mouth>,
    pub(crate) notes: Arc<Notes>,
    _held: (Media, Lease, ring::VoiceReader, mpsc::Sender<LegEvent>),
}

/// What happens on the call, told step by step.
pub(crate) struct Script {
    pub(crate) media: mpsc::Sender<MediaEvent>,
    answers: mpsc::Sender<(AskId, Answer)>,
    asks: mpsc::Receiver<Option<Ask>>,
    pub(crate) asked: AskId,
}

impl Script {
    /// Lets the call do what it has to do.
    pub(crate) async fn settle(&mut self) {
        tokio::time::sleep(Duration::from_millis(20)).await;
        while let Ok(ask) = self.asks.try_recv() {
            self.asked = ask.map_or(self.asked, |ask| ask.id);
        }
    }

    pub(crate) async fn media(&mut self, event: MediaEvent) {
        self.media.send(event).await.expect("the call is up");
        self.settle().await;
    }

    pub(crate) async fn turn(&mut self, signal: TurnSignal) {
        self.media(MediaEvent::Turn(signal)).await;
    }

    pub(crate) async fn answer(&mut self, answer: Answer) {
        self.answers.send((self.asked, answer)).await.expect("the call listens");
        self.settle().await;
    }

    /// A play is heard until `heard`.
    pub(crate) async fn played(&mut self, play: u32, heard: u64, end: PlayEnd) {
        let (play, at) = (PlayId(play), Moment::now());
        self.media(MediaEvent::PlayStarted { play, at }).await;
        self.media(MediaEvent::PlayEnded { play, at, heard: Duration::from_millis(heard), end }).await;
    }
}

pub(crate) fn hypothesis(text: &str, at: Moment) -> Hypothesis {
    Hypothesis { text: text.into(), meaning: Some(text.into()), confidence: 0.9, at }
}

pub(crate) fn provisional(text: &str, at: Moment) -> Answer {
    Answer::Provisional(Some(hypothesis(text, at)))
}

pub(crate) fn endpoint(speech_end: Moment) -> TurnSignal {
    TurnSignal::Endpoint {
        speech_end,
        decided: speech_end + Duration::from_millis(120),
        witness: Witness::Whole,
        reasons: Reasons::default(),
    }
}

impl Booth {
    pub(crate) fn new() -> Self {
        Self::at("http://127.0.0.1:9", Policy::default())
    }

    /// With an Asterisk at that address, and destinations.
    pub(crate) fn at(asterisk: &str, policy: Policy) -> Self {
        let config = MediaConfig::new([127, 0, 0, 1].into());
        let media = Media::start(&config).expect("a port is free");
        let id = CallId::new(WallTime(0));
        let peer = std::net::SocketAddr::from(([127, 0, 0, 1], 9));
        let attach = Attach::new(id, peer, vad::make(vad::Kind::Level, Rate::Hz8000));
        let session = media.attach(media.reserve(), attach).expect("it serves");
        let (voice, reader) = ring::voice(2_000);
        let (media_in, media_events) = mpsc::channel(16);
        let (leg_in, leg_events) = mpsc::channel(4);
        let (asks_in, asks) = mpsc::channel(16);
        let (answers, answers_out) = mpsc::channel(16);
        let (mouth, notes) = (Arc::new(Mouth::default()), Arc::new(Notes::default()));
        let ari = Ari::new(AriConfig::new(asterisk, "nobody", Secret::new("x"))).expect("an address");
        let facts = Facts {
            id,
            outbound: false,
            caller: "100".into(),
            called: "200".into(),
            args: Vec::new(),
            bot: "desk".into(),
            variables: BTreeMap::new(),
        };
        let call = Call::new(CallParts {
            facts,
            leg: Leg::nowhere(ari, id),
            leg_events,
            media_events,
            control: session.control,
            recognizer: Some(RecognizerSession { asks: asks_in, answers: answers_out, is_local: true }),
            ear: None,
            speaker: Speaker::new(voice, Arc::clone(&mouth) as _, Rate::Hz8000),
            journal: Arc::clone(&notes) as _,
            policy: Arc::new(policy),
            beside: mpsc::channel(1).1,
        });
        let script = Script { media: media_in, answers, asks, asked: AskId::default() };
        Self { call, script, mouth, notes, _held: (media, session.lease, reader, leg_in) }
    }

    /// How often that was made.
    pub(crate) fn made(&self, text: &str) -> usize {
        self.mouth.0.lock().expect("nobody panics with it").iter().filter(|made| *made == text).count()
    }

    pub(crate) fn saying(&self) -> Vec<String> {
        let notes = self.notes.0.lock().expect("nobody panics with it");
        let texts = notes.iter().filter_map(|note| match note {
            Note::Saying { text, .. } => Some(text.clone()),
            _ => None,
        });
        texts.collect()
    }

    /// The turns of the call, which ends.
    pub(crate) fn turns(mut self) -> Vec<Turn> {
        self.call.book.close();
        let notes = self.notes.0.lock().expect("nobody panics with it");
        let turns = notes.iter().filter_map(|note| match note {
            Note::Turn(turn) => Some((**turn).clone()),
            _ => None,
        });
        turns.collect()
    }
}

impl Call {
    /// It needs no answer of Asterisk's.
    pub(crate) fn answered_already(&mut self) {
        self.answered = true;
    }
}
