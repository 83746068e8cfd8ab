//! One decoder, the bandwidth extension before it, and the judgement behind it.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use super::decoder::{CEPSTRA, CepstralMean, Decoder};
use crate::audio::{Frame, Rate};
use crate::speech::bandwidth::Extender;
use crate::speech::grammar::Grammar;
use crate::speech::{Hypothesis, SpeechError};

/// A decoder keeps this many grammars compiled; the one used longest ago goes first.
const GRAMMARS_KEPT: usize = 32;

/// Words that stand for a decoy begin with this; no grammar has such words.
pub(super) const DECOY_MARK: char = '_';

/// The cepstral mean to begin a call with: the average over telephone speech with the bandwidth extension.
pub(super) const TELEPHONE_MEAN: CepstralMean =
    [41.0, -5.29, -0.12, 5.09, 2.48, -4.07, -1.37, -1.78, -5.08, -2.05, -6.45, -1.42, 1.17];

/// A grammar with everything a decoder needs to listen for it.
pub(super) struct Prepared {
    /// Unique within a recogniser.
    pub name: String,
    pub grammar: Arc<Grammar>,
    /// With the decoys in it.
    pub fsg: String,
    /// Every word of it and its pronunciations.
    pub words: Vec<(String, Vec<String>)>,
}

impl Prepared {
    /// The same words under the tags of another grammar.
    pub(super) fn with(&self, grammar: &Arc<Grammar>) -> Self {
        let (name, fsg, words) = (self.name.clone(), self.fsg.clone(), self.words.clone());
        Self { name, grammar: Arc::clone(grammar), fsg, words }
    }
}

/// Settings of the library, found by `benches/recognition.rs`.
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
    ("-beam", "1e-60"),
    ("-wbeam", "1e-40"),
    ("-pbeam", "1e-60"),
    ("-dither", "no"),
];

/// One decoder in use by one caller at a time.
pub(super) struct Hearing {
    decoder: Decoder,
    words: HashSet<String>,
    grammars: VecDeque<String>,
    extender: Extender,
    wide: Vec<i16>,
    prepared: Option<Arc<Prepared>>,
    frames: u32,
}

impl Hearing {
    pub(super) fn new(acoustic_model: &std::path::Path, extend: bool) -> Result<Self, SpeechError> {
        let decoder = Decoder::new(acoustic_model, &SETTINGS)?;
        Ok(Self {
            decoder,
            words: HashSet::new(),
            grammars: VecDeque::new(),
            extender: Extender::new(extend),
            wide: Vec::with_capacity(1_024),
            prepared: None,
            frames: 0,
        })
    }

    /// Makes ready for a grammar without beginning an utterance.
    pub(super) fn prepare(&mut self, prepared: &Prepared) -> Result<(), SpeechError> {
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

    /// Begins an utterance.
    pub(super) fn begin(&mut self, prepared: &Arc<Prepared>, mean: &CepstralMean) -> Result<(), SpeechError> {
        self.prepare(prepared)?;
        self.decoder.begin(&prepared.name, mean)?;
        self.extender.reset();
        self.prepared = Some(Arc::clone(prepared));
        self.frames = 0;
        Ok(())
    }

    /// Hears a frame.
    pub(super) fn feed(&mut self, frame: &Frame) -> Result<(), SpeechError> {
        self.frames += 1;
        match frame.rate {
            Rate::Hz16000 => self.decoder.feed(&frame.samples),
            Rate::Hz8000 => {
                self.wide.clear();
                self.extender.push(&frame.samples, &mut self.wide);
                self.decoder.feed(&self.wide)
            }
        }
    }

    /// What it would say now. [`None`]: nothing yet, or nothing in the grammar.
    pub(super) fn now(&mut self) -> Option<Hypothesis> {
        self.judge(false)
    }

    /// Ends the utterance: what was said, and the cepstral mean for the caller's next utterance.
    pub(super) fn end(&mut self) -> Result<(Option<Hypothesis>, CepstralMean), SpeechError> {
        self.wide.clear();
        self.extender.finish(&mut self.wide);
        let fed = self.decoder.feed(&self.wide);
        self.decoder.end()?;
        fed?;
        Ok((self.judge(true), self.decoder.cepstral_mean()))
    }

    /// Gives up the utterance.
    pub(super) fn abandon(&mut self) {
        // An error here means that there was no utterance: just as well.
        let _ = self.decoder.end();
        self.prepared = None;
    }

    fn judge(&mut self, last: bool) -> Option<Hypothesis> {
        let heard = self.decoder.heard()?;
        let prepared = self.prepared.as_ref()?;
        if last && std::env::var_os("OFFHOOK_TRACE").is_some() {
            eprintln!("TRACE {:?} {} {:?}", heard, self.frames, self.decoder.segments());
            eprintln!("MEAN {:?}", self.decoder.cepstral_mean());
        }
        if heard.words.is_empty() || heard.words.split(' ').any(|word| word.starts_with(DECOY_MARK)) {
            return None;
        }
        let meaning = prepared.grammar.interpret(&heard.words);
        if last && meaning.is_none() {
            return None;
        }
        Some(Hypothesis { text: heard.words, meaning, confidence: 0.5 })
    }
}

const _: () = assert!(CEPSTRA == TELEPHONE_MEAN.len());
