//! One decoder, the bandwidth extension before it, and the judgement behind it: for the sentences of grammars, or with a
//! language model for anything that people say.

use std::collections::{HashSet, VecDeque};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::{MemfdFlags, memfd_create};

use super::acoustics::Acoustics;
use super::decoder::{CEPSTRA, CepstralMean, Decoder};
use super::evidence::{Evidence, Weights};
use crate::audio::{Frame, Rate};
use crate::speech::bandwidth::Extender;
use crate::speech::grammar::Grammar;
use crate::speech::{Expected, Hypothesis, SpeechError};
use crate::time::Moment;

/// A decoder keeps this many grammars compiled; the one used longest ago goes first.
const GRAMMARS_KEPT: usize = 32;

/// The cepstral mean to begin a call with: the average over telephone speech with the bandwidth extension.
pub(super) const TELEPHONE_MEAN: CepstralMean =
    [40.7, -5.72, -4.7, 11.32, -13.05, -0.79, -9.39, -8.28, -2.14, -7.11, 0.4, -4.81, -2.31];

/// A question with everything a decoder needs to listen for its answer.
pub(super) struct Prepared {
    /// Unique within a recogniser.
    pub name: String,
    pub expected: Expected,
    /// As the library reads it.
    pub fsg: String,
    /// Every word of it and its pronunciations.
    pub words: Vec<(String, Vec<String>)>,
}

impl Prepared {
    fn is_open(&self) -> bool {
        matches!(self.expected, Expected::Open)
    }

    /// How many phones a word has; `yes(2)` is its second pronunciation.
    fn phones(&self, word: &str) -> usize {
        let (word, number) = match word.split_once('(') {
            Some((word, number)) => (word, number.trim_end_matches(')').parse().unwrap_or(1)),
            None => (word, 1_usize),
        };
        let found = self.words.iter().find(|(known, _)| known == word);
        let phones = found.and_then(|(_, all)| all.get(number.saturating_sub(1)));
        phones.map_or(1, |phones| phones.split(' ').count())
    }

    /// The same words under the tags of another grammar.
    pub(super) fn with(&self, grammar: &Arc<Grammar>) -> Self {
        let (name, fsg, words) = (self.name.clone(), self.fsg.clone(), self.words.clone());
        Self { name, expected: Expected::Grammar(Arc::clone(grammar)), fsg, words }
    }

    /// For anything that people say, which a decoder with a language model knows from the start.
    pub(super) fn open() -> Self {
        Self { name: DICTATION.to_owned(), expected: Expected::Open, fsg: String::new(), words: Vec::new() }
    }
}

/// A language model, and the pronunciations of its words.
#[derive(Debug, Clone)]
pub(super) struct LanguageModel {
    pub model: PathBuf,
    pub dictionary: PathBuf,
    /// What the paths lead to, where that is in memory.
    pub _files: Vec<Arc<OwnedFd>>,
}

impl LanguageModel {
    /// One that was made here, and the pronunciations of its words. The library reads files and nothing else: these are in
    /// memory, have no name, and are gone with whoever holds them.
    pub(super) fn in_memory(arpa: &str, words: &[(String, Vec<String>)]) -> Result<Self, SpeechError> {
        let mut dictionary = String::new();
        for (word, pronunciations) in words {
            for (number, phones) in (1..).zip(pronunciations) {
                dictionary.push_str(word);
                if number > 1 {
                    dictionary.push_str(&format!("({number})"));
                }
                dictionary.push_str(&format!(" {phones}\n"));
            }
        }
        let (model, first) = file_of(arpa)?;
        let (dictionary, second) = file_of(&dictionary)?;
        Ok(Self { model, dictionary, _files: vec![first, second] })
    }
}

fn file_of(text: &str) -> Result<(PathBuf, Arc<OwnedFd>), SpeechError> {
    let made = memfd_create("offhook-words", MemfdFlags::CLOEXEC).and_then(|file| {
        let mut left = text.as_bytes();
        while !left.is_empty() {
            left = &left[rustix::io::write(&file, left)?..];
        }
        Ok(file)
    });
    let file = made.map_err(|error| failed(&format!("a file in memory: {error}")))?;
    Ok((PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd())), Arc::new(file)))
}

/// The library's name of the search that the language model makes (`PS_DEFAULT_SEARCH`).
const DICTATION: &str = "_default";

/// Samples between two frames of the library.
const FRAME: usize = 160;
/// Frames that the library counts an expected cepstral mean as (CMN_WIN in sphinxbase/cmn.h).
const PRIOR: f32 = 500.0;
/// Frames that it counts as here.
const STAYS: f32 = 30.0;

/// Settings of the library. Those of its scorer (`-topn`, `-ds`) are without effect: ours takes its place.
const SETTINGS: [(&str, &str); 12] = [
    // The turn detector has decided what is speech; the library's own detector cuts first consonants.
    ("-remove_silence", "no"),
    ("-cmn", "live"),
    ("-fsgusealtpron", "yes"),
    ("-fsgusefiller", "yes"),
    ("-bestpath", "no"),
    ("-lw", "1.0"),
    ("-wip", "1.0"),
    ("-silprob", "0.1"),
    ("-beam", "1e-40"),
    ("-wbeam", "1e-24"),
    ("-pbeam", "1e-40"),
    ("-dither", "no"),
];

/// Settings for a language model. It goes through the utterance once: what it would find in it when it looked again at
/// the end (`-fwdflat`, `-bestpath`) a caller would have to wait for.
const DICTATION_SETTINGS: [(&str, &str); 6] = [
    ("-remove_silence", "no"),
    ("-cmn", "live"),
    ("-fwdflat", "no"),
    ("-bestpath", "no"),
    ("-dither", "no"),
    // Looking ahead scores each frame twice; our scorer takes them once, in order.
    ("-pl_window", "0"),
];

/// What is longer is not heard again with its own cepstral mean where anything may be said: it takes too long.
const AGAIN: usize = 2 * 16_000;

/// How sure dictation is of what it heard: it says nothing about that.
const UNTOLD: f32 = 0.7;

/// What may be turned off, for comparison.
#[derive(Debug, Clone, Copy)]
pub(super) struct Options {
    pub extend: bool,
    pub refuse: bool,
}

/// One decoder in use by one caller at a time.
pub(super) struct Hearing {
    decoder: Decoder,
    words: HashSet<String>,
    grammars: VecDeque<String>,
    extender: Extender,
    refuse: bool,
    /// The utterance so far at 16 kHz.
    wide: Vec<i16>,
    prepared: Option<Arc<Prepared>>,
    mean: CepstralMean,
    /// The words of the last partial.
    said: String,
    /// The cepstral mean is the caller's own: known from before, or the utterance was heard again with it.
    own: bool,
}

impl Hearing {
    pub(super) fn new(
        acoustic_model: &std::path::Path,
        acoustics: &Arc<Acoustics>,
        dictation: Option<&LanguageModel>,
        Options { extend, refuse }: Options,
    ) -> Result<Self, SpeechError> {
        let decoder = match dictation {
            None => Decoder::new(acoustic_model, acoustics, &SETTINGS)?,
            Some(LanguageModel { model, dictionary, .. }) => {
                let (model, dictionary) = (model.to_string_lossy(), dictionary.to_string_lossy());
                let files = [("-lm", &*model), ("-dict", &*dictionary)];
                let settings: Vec<_> = files.into_iter().chain(DICTATION_SETTINGS).collect();
                Decoder::new(acoustic_model, acoustics, &settings)?
            }
        };
        Ok(Self {
            decoder,
            words: HashSet::new(),
            grammars: VecDeque::new(),
            extender: Extender::new(extend),
            refuse,
            wide: Vec::with_capacity(1_024),
            prepared: None,
            mean: TELEPHONE_MEAN,
            said: String::new(),
            own: false,
        })
    }

    /// Makes ready for a grammar without beginning an utterance.
    pub(super) fn prepare(&mut self, prepared: &Prepared) -> Result<(), SpeechError> {
        if prepared.is_open() {
            return Ok(());
        }
        if let Some(at) = self.grammars.iter().position(|name| *name == prepared.name) {
            let name = self.grammars.remove(at).expect("found at this index");
            self.grammars.push_back(name);
            return Ok(());
        }
        for (word, pronunciations) in &prepared.words {
            if self.words.contains(word) {
                continue;
            }
            for (index, phones) in pronunciations.iter().enumerate() {
                match index {
                    0 => self.decoder.add_word(word, phones)?,
                    _ => self.decoder.add_word(&format!("{word}({})", index + 1), phones)?,
                }
            }
            self.words.insert(word.clone());
        }
        if self.grammars.len() == GRAMMARS_KEPT
            && let Some(oldest) = self.grammars.pop_front()
        {
            self.decoder.unset_grammar(&oldest);
        }
        self.decoder.set_grammar(&prepared.name, &prepared.fsg)?;
        self.grammars.push_back(prepared.name.clone());
        Ok(())
    }

    /// Begins an utterance of a caller whose cepstral mean is known, or of one of whom nothing was heard before.
    pub(super) fn begin(
        &mut self,
        prepared: &Arc<Prepared>,
        known: Option<&CepstralMean>,
    ) -> Result<(), SpeechError> {
        self.prepare(prepared)?;
        let mean = known.unwrap_or(&TELEPHONE_MEAN);
        self.decoder.begin(&prepared.name, mean)?;
        self.extender.reset();
        self.prepared = Some(Arc::clone(prepared));
        self.mean = *mean;
        self.said.clear();
        self.own = known.is_some();
        self.wide.clear();
        Ok(())
    }

    /// Hears a frame.
    pub(super) fn feed(&mut self, frame: &Frame) -> Result<(), SpeechError> {
        let from = self.wide.len();
        match frame.rate {
            Rate::Hz16000 => self.wide.extend_from_slice(&frame.samples),
            Rate::Hz8000 => self.extender.push(&frame.samples, &mut self.wide),
        }
        self.decoder.feed(&self.wide[from..])
    }

    /// What it would say now, when that is not what it said before.
    pub(super) fn news(&mut self) -> Option<Hypothesis> {
        let heard = self.decoder.heard()?;
        if heard.words == self.said {
            return None;
        }
        self.said = heard.words;
        self.judge(false)
    }

    /// At a pause: what it would say if the caller were done. [`None`]: nothing in the grammar.
    ///
    /// The average cepstral mean is good enough to follow along; a caller's own is worth a third of the mistakes. So at the
    /// first pause of a caller unheard before, what he said is heard again with his own.
    /// That takes a few hundredths of the utterance's length, in a silence that the turn detector sits out anyway; what
    /// follows goes on with the better mean.
    pub(super) fn pause(&mut self) -> Result<Option<Hypothesis>, SpeechError> {
        self.hear_again()?;
        let heard = self.judge(false);
        // What is no sentence yet may become one; the evidence is of sentences.
        let whole = heard.as_ref().is_some_and(|heard| heard.meaning.is_some());
        Ok(if whole { self.believed(heard) } else { heard })
    }

    /// Ends the utterance: what was said, and the cepstral mean for the caller's next utterance.
    pub(super) fn end(&mut self) -> Result<(Option<Hypothesis>, CepstralMean), SpeechError> {
        self.hear_again()?;
        let from = self.wide.len();
        self.extender.finish(&mut self.wide);
        let fed = self.decoder.feed(&self.wide[from..]);
        self.decoder.end()?;
        fed?;
        let mean = self.decoder.cepstral_mean();
        let heard = self.judge(true);
        Ok((self.believed(heard), mean))
    }

    /// Ends the utterance, and gives what was heard even if it would be refused, with the evidence.
    pub(super) fn examine(&mut self) -> Result<Option<(Hypothesis, Evidence)>, SpeechError> {
        self.end()?;
        let evidence = self.evidence();
        Ok(self.judge(true).zip(evidence))
    }

    /// Hears the utterance again with its own cepstral mean, if it was heard with the average one. (Doing so only in doubt
    /// saves half the work and costs eight of a hundred four-digit numbers: wrong digits sound sure.)
    fn hear_again(&mut self) -> Result<(), SpeechError> {
        if self.own {
            return Ok(());
        }
        let prepared =
            self.prepared.as_ref().ok_or_else(|| failed("a pause in an utterance that never began"))?;
        if prepared.is_open() && self.wide.len() > AGAIN {
            return Ok(());
        }
        self.decoder.end()?;
        self.mean = own_mean(&self.mean, &self.decoder.cepstral_mean(), self.wide.len() / FRAME);
        self.own = true;
        self.decoder.begin(&prepared.name, &self.mean)?;
        self.decoder.feed(&self.wide)
    }

    /// Gives up the utterance.
    pub(super) fn abandon(&mut self) {
        // An error here means that there was no utterance: just as well.
        let _ = self.decoder.end();
        self.prepared = None;
    }

    /// What speaks for the best hypothesis and against it, whether it would be refused or not.
    pub(super) fn evidence(&mut self) -> Option<Evidence> {
        let segments = self.decoder.segments();
        let prepared = self.prepared.as_ref()?;
        Some(Evidence::of(&segments, self.decoder.scorer()?, |word| prepared.phones(word)))
    }

    /// Nothing that is likelier to have been said outside the grammar.
    fn believed(&self, heard: Option<Hypothesis>) -> Option<Hypothesis> {
        let open = self.prepared.as_ref().is_some_and(|prepared| prepared.is_open());
        heard
            .filter(|heard| !self.refuse || open || !Weights::shipped().refuse(&heard.text, heard.confidence))
    }

    /// The best hypothesis with its confidence; `whole`: only a sentence of the grammar counts.
    fn judge(&mut self, whole: bool) -> Option<Hypothesis> {
        let heard = self.decoder.heard()?;
        let prepared = self.prepared.as_ref()?;
        if heard.words.is_empty() {
            return None;
        }
        let meaning = prepared.expected.interpret(&heard.words);
        if whole && meaning.is_none() {
            return None;
        }
        let confidence = if prepared.is_open() { UNTOLD } else { self.evidence()?.confidence() };
        // Whoever reads the ear knows when.
        Some(Hypothesis { text: heard.words, meaning, confidence, at: Moment::ZERO })
    }
}

/// The mean of an utterance of `frames`, out of the expected one and what the library made of it, which counts the
/// expected one as [`PRIOR`] frames. The shorter the utterance the more the expected one stays in it.
fn own_mean(expected: &CepstralMean, updated: &CepstralMean, frames: usize) -> CepstralMean {
    #[expect(clippy::cast_precision_loss, reason = "a few thousand frames")]
    let frames = frames.max(1) as f32;
    let share = (PRIOR + frames) / (STAYS + frames);
    std::array::from_fn(|c| expected[c] + (updated[c] - expected[c]) * share)
}

fn failed(what: &str) -> SpeechError {
    SpeechError::Failed { backend: super::NAME, what: what.to_owned() }
}

const _: () = assert!(CEPSTRA == TELEPHONE_MEAN.len());
