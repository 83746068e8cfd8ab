//! The recogniser: what it prepared, its pool, and the thread that attends to the calls.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

use super::PocketSphinxConfig;
use super::acoustics::Acoustics;
use super::decoder::CepstralMean;
use super::evidence::Evidence;
use super::hearing::{Hearing, LanguageModel, Options, Prepared};
use super::language::{self, Sentences};
use super::lexicon::{self, Lexicon};
use super::pool::Pool;
use super::session::Session;
use crate::audio::ring::EarReader;
use crate::audio::{Frame, Rate};
use crate::id::CallId;
use crate::speech::grammar::Grammar;
use crate::speech::{Expected, Hypothesis, Recognizer, RecognizerSession, SpeechError};

/// Grammars kept with their pronunciations; the one asked for longest ago goes first.
const PREPARED_KEPT: usize = 256;
/// Calls that may be opened between two steps of the attending thread.
const OPENINGS: usize = 1_024;
/// Questions and answers that a call may have under way.
const QUESTIONS: usize = 4;
const ANSWERS: usize = 32;

/// Recognises with PocketSphinx. One for the whole engine.
///
/// Dropping it ends all its sessions: their channels of answers close.
pub struct PocketSphinxRecognizer {
    inner: Arc<Inner>,
    sessions: mpsc::Sender<Session>,
}

/// What sessions share.
pub(super) struct Inner {
    pub pool: Pool,
    /// For questions that are open, where there is a language model.
    pub dictation: Option<Pool>,
    known: Mutex<Known>,
}

struct Known {
    lexicon: Lexicon,
    /// Used longest ago first.
    prepared: VecDeque<(String, Arc<Prepared>)>,
    named: u64,
}

impl PocketSphinxRecognizer {
    /// Loads the model and makes the first decoder. Blocks for some ten milliseconds.
    ///
    /// # Errors
    /// [`SpeechError::Unavailable`] when a file of the model is missing, with the package that has it.
    pub fn new(config: PocketSphinxConfig) -> Result<Self, SpeechError> {
        let acoustic_model = config.model_dir.join("en-us");
        let dictionary = config.model_dir.join("cmudict-en-us.dict");
        for file in [&acoustic_model.join("mdef"), &acoustic_model.join("means"), &dictionary] {
            readable(file)?;
        }
        let lexicon = Lexicon::new(dictionary.clone(), config.pronunciations.clone())?;
        let options = Options { extend: config.extend_bandwidth, refuse: config.refuse };
        let acoustics = Arc::new(Acoustics::read(&acoustic_model)?);
        let language_model = config.model_dir.join("en-us.lm.bin");
        let dictation = (config.dictation_decoders > 0 && readable(&language_model).is_ok()).then(|| {
            let model = LanguageModel { model: language_model, dictionary, _files: Vec::new() };
            let (path, acoustics) = (acoustic_model.clone(), Arc::clone(&acoustics));
            Pool::new(path, acoustics, Some(model), options, config.dictation_decoders)
        });
        let pool = Pool::new(acoustic_model, acoustics, None, options, config.decoders);
        pool.warm_up()?;
        Self::attended(pool, dictation, lexicon)
    }

    /// One that takes open questions alone, and hears what is said in English when a call is answered: some hundred words of
    /// greetings, mailboxes and announcements (`models/answers/sentences.txt`). [`dictation_decoders`](PocketSphinxConfig::dictation_decoders)
    /// hear at once, at least one; each takes some 10 MB. Makes the first. Blocks for some ten milliseconds.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn of_answers(config: PocketSphinxConfig) -> Result<Self, SpeechError> {
        let acoustic_model = config.model_dir.join("en-us");
        let dictionary = config.model_dir.join("cmudict-en-us.dict");
        for file in [&acoustic_model.join("mdef"), &acoustic_model.join("means"), &dictionary] {
            readable(file)?;
        }
        let mut lexicon = Lexicon::new(dictionary, config.pronunciations)?;
        let sentences = Sentences::read(language::ANSWERS);
        let words = lexicon.look_up(&sentences.vocabulary(), "models/answers/sentences.txt")?;
        let model = LanguageModel::in_memory(&sentences.arpa(), &words)?;
        let options = Options { extend: config.extend_bandwidth, refuse: config.refuse };
        let acoustics = Arc::new(Acoustics::read(&acoustic_model)?);
        let (path, shared) = (acoustic_model.clone(), Arc::clone(&acoustics));
        let dictation = Pool::new(path, shared, Some(model), options, config.dictation_decoders);
        dictation.warm_up()?;
        Self::attended(Pool::new(acoustic_model, acoustics, None, options, 1), Some(dictation), lexicon)
    }

    /// With a thread that attends to the calls.
    fn attended(pool: Pool, dictation: Option<Pool>, lexicon: Lexicon) -> Result<Self, SpeechError> {
        let known = Known { lexicon, prepared: VecDeque::new(), named: 0 };
        let inner = Arc::new(Inner { pool, dictation, known: Mutex::new(known) });
        let (sessions, mut opened) = mpsc::channel::<Session>(OPENINGS);
        let attend = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
            match runtime {
                Ok(runtime) => runtime.block_on(async move {
                    while let Some(session) = opened.recv().await {
                        tokio::spawn(session.run());
                    }
                }),
                Err(e) => tracing::error!("the recogniser's thread has no timer: {e}"),
            }
        };
        std::thread::Builder::new().name("offhook-attend".to_owned()).spawn(attend).map_err(|e| {
            SpeechError::Failed { backend: super::NAME, what: format!("its thread does not start: {e}") }
        })?;
        Ok(Self { inner, sessions })
    }
}

impl PocketSphinxRecognizer {
    /// A decoder for anything that people say, for measurements.
    ///
    /// # Errors
    /// When there is no language model, or the decoder cannot be made.
    pub fn dictation(&self) -> Result<Examiner, SpeechError> {
        let (pool, _) = self.inner.ready_for(&Expected::Open)?;
        Ok(Examiner { inner: Arc::clone(&self.inner), hearing: pool.hearing()? })
    }

    /// A decoder that tells what its answers rest on, for calibration (`models/refusal/train.rs`).
    ///
    /// # Errors
    /// As those of [`new`](Self::new).
    pub fn examiner(&self) -> Result<Examiner, SpeechError> {
        Ok(Examiner { inner: Arc::clone(&self.inner), hearing: self.inner.pool.hearing()? })
    }
}

/// Hears utterances one by one on the caller's thread, and refuses none.
pub struct Examiner {
    inner: Arc<Inner>,
    hearing: Hearing,
}

impl Examiner {
    /// What is heard in the frames of an utterance of somebody unknown, and what speaks for it and against it.
    /// [`None`]: no sentence of the grammar in it. Blocks for some hundredths of the utterance's length.
    ///
    /// # Errors
    /// When a word of the grammar is in no dictionary, or the decoder fails.
    pub fn hear(
        &mut self,
        grammar: &Arc<Grammar>,
        frames: &[Frame],
    ) -> Result<Option<(Hypothesis, Evidence)>, SpeechError> {
        let prepared = self.inner.prepared(grammar)?;
        self.hearing.begin(&prepared, None)?;
        frames.iter().try_for_each(|frame| self.hearing.feed(frame))?;
        self.hearing.examine()
    }

    /// Begins an utterance that is heard step by step, in whatever time its frames have: for benchmarks in virtual time.
    /// One that was under way is given up.
    ///
    /// # Errors
    /// When a word of the grammar is in no dictionary, or the decoder fails.
    pub fn begin(&mut self, grammar: &Arc<Grammar>, known: Option<&Acquaintance>) -> Result<(), SpeechError> {
        let prepared = self.inner.prepared(grammar)?;
        self.hearing.abandon();
        self.hearing.begin(&prepared, known.map(|known| &known.0))
    }

    /// The same for anything that people say; of a decoder for [dictation](PocketSphinxRecognizer::dictation).
    ///
    /// # Errors
    /// When the decoder fails.
    pub fn begin_open(&mut self, known: Option<&Acquaintance>) -> Result<(), SpeechError> {
        self.hearing.abandon();
        self.hearing.begin(&Arc::new(Prepared::open()), known.map(|known| &known.0))
    }

    /// Hears the next frame; what it would say now, when that is not what it said before.
    ///
    /// # Errors
    /// When the decoder fails.
    pub fn feed(&mut self, frame: &Frame) -> Result<Option<Hypothesis>, SpeechError> {
        self.hearing.feed(frame)?;
        Ok(self.hearing.news())
    }

    /// At a pause: what it would say if the caller were done, as [`Answer::Provisional`](crate::speech::Answer).
    ///
    /// # Errors
    /// When the decoder fails.
    pub fn pause(&mut self) -> Result<Option<Hypothesis>, SpeechError> {
        self.hearing.pause()
    }

    /// Ends the utterance: what was said, and what was learnt about the caller.
    ///
    /// # Errors
    /// When the decoder fails.
    pub fn end(&mut self) -> Result<(Option<Hypothesis>, Acquaintance), SpeechError> {
        let (heard, mean) = self.hearing.end()?;
        Ok((heard, Acquaintance(mean)))
    }
}

/// What a caller's first words teach about the rest of his call.
#[derive(Debug, Clone, Copy)]
pub struct Acquaintance(CepstralMean);

#[cfg(test)]
impl PocketSphinxRecognizer {
    /// How many more utterances could have a decoder now.
    pub(super) fn free_decoders(&self) -> usize {
        self.inner.pool.free()
    }
}

impl Recognizer for PocketSphinxRecognizer {
    fn name(&self) -> &'static str {
        super::NAME
    }

    fn is_local(&self) -> bool {
        true
    }

    fn is_open(&self) -> bool {
        self.inner.dictation.is_some()
    }

    fn open(&self, _call: CallId, ear: EarReader, _rate: Rate) -> Result<RecognizerSession, SpeechError> {
        let (asks, asked) = mpsc::channel(QUESTIONS);
        let (answers, answered) = mpsc::channel(ANSWERS);
        let session = Session { inner: Arc::clone(&self.inner), ear, asks: asked, answers };
        self.sessions.try_send(session).map_err(|_| SpeechError::Failed {
            backend: super::NAME,
            what: "its attending thread is gone, or overrun by new calls".to_owned(),
        })?;
        Ok(RecognizerSession { asks, answers: answered, is_local: true })
    }

    fn prepare(&self, grammar: &Arc<Grammar>) -> Result<(), SpeechError> {
        self.inner.prepared(grammar).map(|_| ())
    }

    fn waiting(&self) -> usize {
        self.inner.pool.waiting() + self.inner.dictation.as_ref().map_or(0, Pool::waiting)
    }
}

impl Inner {
    /// Who hears an answer, and for what.
    pub(super) fn ready_for(&self, expected: &Expected) -> Result<(&Pool, Arc<Prepared>), SpeechError> {
        match expected {
            Expected::Grammar(grammar) => Ok((&self.pool, self.prepared(grammar)?)),
            Expected::Open => {
                let pool = self.dictation.as_ref().ok_or_else(|| {
                    SpeechError::Unavailable(
                        "PocketSphinx has no language model for open questions: install the Debian package \
                         pocketsphinx-en-us, or name another `recognizer` under [speech]"
                            .to_owned(),
                    )
                })?;
                Ok((pool, Arc::new(Prepared::open())))
            }
        }
    }

    /// The grammar with its pronunciations, made now if it was not before. Reads the dictionary for new words.
    pub(super) fn prepared(&self, grammar: &Arc<Grammar>) -> Result<Arc<Prepared>, SpeechError> {
        let mut guard = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = &mut *guard;
        let key = grammar.to_fsg("");
        if let Some(at) = known.prepared.iter().position(|(k, p)| {
            *k == key && p.expected.grammar().is_some_and(|known| known.name() == grammar.name())
        }) {
            let found = known.prepared.remove(at).expect("found at this index");
            // The words may be the same and the tags not: meanings are those of the grammar asked with.
            let same = found.1.expected.grammar().is_some_and(|known| Arc::ptr_eq(known, grammar));
            let prepared = if same { Arc::clone(&found.1) } else { Arc::new(found.1.with(grammar)) };
            known.prepared.push_back((found.0, Arc::clone(&prepared)));
            return Ok(prepared);
        }
        let words = known.lexicon.look_up(grammar.vocabulary(), grammar.name())?;
        known.named += 1;
        let prepared = Arc::new(Prepared {
            name: format!("g{}", known.named),
            expected: Expected::Grammar(Arc::clone(grammar)),
            fsg: grammar.to_fsg("offhook"),
            words,
        });
        if known.prepared.len() == PREPARED_KEPT {
            known.prepared.pop_front();
        }
        known.prepared.push_back((key, Arc::clone(&prepared)));
        Ok(prepared)
    }
}

fn readable(path: &Path) -> Result<(), SpeechError> {
    std::fs::File::open(path).map(|_| ()).map_err(|e| lexicon::missing(path, &e))
}
