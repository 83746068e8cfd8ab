//! Synthesisers in their order, one of which speaks a text.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::rest::{cut_clause, from_word};
use super::{Backend, Patience, late, sleep_until};
use crate::audio::Rate;
use crate::service::Verdict;
use crate::speech::words::{WordTimes, heard_words};
use crate::speech::{SpeechError, SpeechStream, Synthesizer, Utterance};
use crate::time::Moment;

/// As many chunks as the streams of the backends hold.
const CHUNKS: usize = 8_192;

/// How long the caller may be in silence, with all that was passed on played, before the next one goes on.
const STALL: Duration = Duration::from_millis(700);

/// Synthesisers in their order. Speaks with the first that can.
#[derive(Clone)]
pub struct SpeakingList(Arc<List>);

struct List {
    backends: Vec<Arc<Backend<dyn Synthesizer>>>,
    patience: Patience,
}

impl SpeakingList {
    /// A list of at least one.
    #[must_use]
    pub fn new(backends: Vec<Arc<Backend<dyn Synthesizer>>>, patience: Patience) -> Self {
        Self(Arc::new(List { backends, patience }))
    }

    /// Its backends, in their order.
    #[must_use]
    pub fn backends(&self) -> &[Arc<Backend<dyn Synthesizer>>] {
        &self.0.backends
    }

    /// `utterance` as the backend at `index` is asked for it.
    #[must_use]
    pub fn asked_of(&self, index: usize, utterance: &Utterance) -> Utterance {
        let voice = self.0.backends[index].voice(utterance.voice.as_deref(), index == 0);
        Utterance { voice, ..utterance.clone() }
    }
}

impl Synthesizer for SpeakingList {
    /// The name of the first.
    fn name(&self) -> &'static str {
        self.0.backends.first().map_or("none", |first| first.name())
    }

    /// Whether all of them are.
    fn is_embedded(&self) -> bool {
        self.0.backends.iter().all(|backend| backend.what.is_embedded())
    }

    /// Begins to speak. Called inside tokio's runtime.
    fn synthesize(&self, utterance: &Utterance) -> SpeechStream {
        let (sender, chunks) = mpsc::channel(CHUNKS);
        let times = WordTimes::default();
        let mut telling = Telling {
            list: self.clone(),
            utterance: utterance.clone(),
            chunks: sender.clone(),
            times: times.clone(),
            passed: 0,
            asked: vec![false; self.0.backends.len()],
        };
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = sender.closed() => {}
                told = telling.run() => if let Err(error) = told {
                    // Who listened may have gone meanwhile.
                    let _ = sender.send(Err(error)).await;
                }
            }
        });
        SpeechStream { chunks, times }
    }
}

/// One text on its way through the list.
struct Telling {
    list: SpeakingList,
    utterance: Utterance,
    chunks: mpsc::Sender<Result<Vec<i16>, SpeechError>>,
    times: WordTimes,
    /// Samples passed on.
    passed: u64,
    asked: Vec<bool>,
}

/// One that was left alone and is tried again has so much time before the next one is asked as well: whether it is well again is
/// not found out at a caller's expense.
const HEAD_START: Duration = Duration::from_millis(80);

/// One that was asked and has not answered yet.
struct Runner {
    backend: usize,
    /// It was left alone, and is tried again.
    probed: bool,
    stream: SpeechStream,
    deadline: Option<(Instant, Duration)>,
}

/// One that answered first.
struct Winner {
    backend: usize,
    stream: SpeechStream,
    first: Option<Vec<i16>>,
}

impl Telling {
    /// Speaks the text, and what is left of it when one breaks off.
    async fn run(&mut self) -> Result<(), SpeechError> {
        let mut from_word_on = 0;
        loop {
            let text = from_word(&self.utterance.text, from_word_on).to_owned();
            let winner = self.first_to_answer(&text).await?;
            let backend = Arc::clone(&self.list.0.backends[winner.backend]);
            let (before, offset) = (self.passed, self.utterance.rate.duration(self.passed));
            let times = winner.stream.times.clone();
            self.times.made_by(backend.name());
            let broke = self.pass_on(winner, from_word_on, offset).await;
            let Err(error) = broke else {
                backend.succeeded();
                return Ok(());
            };
            backend.failed(Moment::now(), &error);
            if self.asked.iter().all(|asked| *asked) {
                return Err(error);
            }
            let passed = self.utterance.rate.duration(self.passed - before);
            // As far as it told, by its own times: of a text that broke off there are never all of them.
            let heard = match times.known() {
                none if none.is_empty() => heard_words(&text, &[], passed, None),
                ends => ends.iter().take_while(|end| **end <= passed).count(),
            };
            let again = cut_clause(&text, heard);
            from_word_on += again;
            self.times.keep(from_word_on);
            if from_word(&text, again).is_empty() {
                return Ok(());
            }
        }
    }

    /// Asks one after the other until one gives audio.
    async fn first_to_answer(&mut self, text: &str) -> Result<Winner, SpeechError> {
        let mut running: Vec<Runner> = Vec::new();
        let mut ask_next_at = Some(Instant::now());
        let mut last_error = None;
        loop {
            if running.is_empty() || ask_next_at.is_some_and(|at| Instant::now() >= at) {
                match self.ask_next(text) {
                    Some(runner) => {
                        let probed = runner.probed.then_some(HEAD_START);
                        let hedge = probed.or(self.list.0.patience.hedge).filter(|_| self.has_more());
                        ask_next_at = hedge.map(|hedge| Instant::now() + hedge);
                        running.push(runner);
                    }
                    None if running.is_empty() => return Err(last_error.unwrap_or_else(nobody)),
                    None => ask_next_at = None,
                }
            }
            let wake = running.iter().filter_map(|runner| Some(runner.deadline?.0)).chain(ask_next_at).min();
            let answered = std::future::poll_fn(|cx| {
                for (index, runner) in running.iter_mut().enumerate() {
                    if let Poll::Ready(item) = runner.stream.chunks.poll_recv(cx) {
                        return Poll::Ready((index, item));
                    }
                }
                Poll::Pending
            });
            let (index, error) = tokio::select! {
                biased;
                (index, item) = answered => match item {
                    Some(Err(error)) => (index, error),
                    item => {
                        let Runner { backend, stream, .. } = running.swap_remove(index);
                        let first = item.and_then(Result::ok);
                        if first.is_some() || !text.contains(char::is_alphanumeric) {
                            running.into_iter().filter(|runner| runner.probed).for_each(|runner| self.watch(runner));
                            return Ok(Winner { backend, stream, first });
                        }
                        let failed = self.mute(backend);
                        self.list.0.backends[backend].failed(Moment::now(), &failed);
                        last_error = Some(failed);
                        continue;
                    }
                },
                () = sleep_until(wake) => {
                    let now = Instant::now();
                    let late_one = running.iter().position(|runner| runner.deadline.is_some_and(|(at, _)| at <= now));
                    let Some(index) = late_one else { continue };
                    let after = running[index].deadline.map(|(_, after)| after).unwrap_or_default();
                    let name = self.list.0.backends[running[index].backend].name();
                    (index, late(name, "audio", after))
                }
            };
            let gone = running.swap_remove(index);
            self.list.0.backends[gone.backend].failed(Moment::now(), &error);
            last_error = Some(error);
        }
    }

    /// Asks the next one that is worth asking; those that are left alone come last.
    fn ask_next(&mut self, text: &str) -> Option<Runner> {
        let now = Moment::now();
        let backends = &self.list.0.backends;
        let free = |index: &usize| !self.asked[*index];
        let verdict =
            |index: usize| Some((index, backends[index].ask(now))).filter(|(_, verdict)| verdict.is_yes());
        let well = (0..backends.len()).filter(free).find_map(verdict);
        let (index, verdict) = well.or_else(|| Some(((0..backends.len()).find(free)?, Verdict::Ask)))?;
        self.asked[index] = true;
        let backend = &backends[index];
        let utterance = Utterance { text: text.to_owned(), ..self.list.asked_of(index, &self.utterance) };
        let stream = backend.what.synthesize(&utterance);
        let within = backend.deadline.unwrap_or(self.list.0.patience.deadline);
        let deadline = self.has_more().then(|| (Instant::now() + within, within));
        let probed = matches!(verdict, Verdict::Probe);
        Some(Runner { backend: index, probed, stream, deadline })
    }

    /// Finds out whether one that is tried again is well, though another one has answered first.
    fn watch(&self, runner: Runner) {
        let Runner { backend, mut stream, deadline, .. } = runner;
        let backend = Arc::clone(&self.list.0.backends[backend]);
        let until = deadline.map_or_else(|| Instant::now() + STALL, |(at, _)| at);
        tokio::spawn(async move {
            match tokio::time::timeout_at(until, stream.chunks.recv()).await {
                Ok(Some(Ok(_))) => backend.succeeded(),
                Ok(Some(Err(error))) => backend.failed(Moment::now(), &error),
                Ok(None) | Err(_) => backend.failed(Moment::now(), &late(backend.name(), "audio", STALL)),
            }
        });
    }

    /// Whether another one could go on. One that is left alone is no reason to drop one that may only be slow.
    fn has_more(&self) -> bool {
        let now = Moment::now();
        let mut left = self.list.0.backends.iter().zip(&self.asked).filter(|(_, asked)| !**asked);
        left.any(|(backend, _)| !backend.is_open(now))
    }

    fn mute(&self, backend: usize) -> SpeechError {
        SpeechError::Failed { backend: self.list.0.backends[backend].name(), what: "it made no audio".into() }
    }

    /// Passes audio on until its end. Where others could go on, one that leaves the caller in silence has failed.
    async fn pass_on(&mut self, winner: Winner, words: usize, offset: Duration) -> Result<(), SpeechError> {
        let Winner { backend, mut stream, mut first } = winner;
        let begun = Instant::now();
        let mut known = 0;
        let rate: Rate = self.utterance.rate;
        let before = self.passed;
        loop {
            let item = match first.take() {
                Some(first) => Some(Ok(first)),
                None => {
                    // When all that was passed on has been played, and then some.
                    let played = begun + rate.duration(self.passed - before) + STALL;
                    let until = self.has_more().then_some(played);
                    tokio::select! {
                        biased;
                        item = stream.chunks.recv() => item,
                        () = sleep_until(until) => {
                            let name = self.list.0.backends[backend].name();
                            return Err(late(name, "more audio", STALL));
                        }
                    }
                }
            };
            let times = stream.times.known();
            if times.len() > known {
                if known == 0 {
                    self.times.keep(words);
                }
                self.times.extend(times[known..].iter().map(|end| *end + offset));
                known = times.len();
            }
            match item {
                None => return Ok(()),
                Some(chunk) => {
                    let chunk = chunk?;
                    self.passed += chunk.len() as u64;
                    // When nobody listens any more, all of this is dropped.
                    let _ = self.chunks.send(Ok(chunk)).await;
                }
            }
        }
    }
}

fn nobody() -> SpeechError {
    SpeechError::Unavailable("no synthesiser is left to ask".into())
}
