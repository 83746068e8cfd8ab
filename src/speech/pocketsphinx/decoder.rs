//! One decoder of libpocketsphinx as a value that frees itself.

use std::ffi::{CStr, CString, c_char};
use std::path::Path;
use std::ptr::NonNull;
use std::sync::Arc;

use super::acoustics::Acoustics;
use super::ffi;
use super::hook::Hook;
use super::scorer::Scorer;
use crate::speech::SpeechError;

/// Length of a cepstral vector of the acoustic model.
pub(super) const CEPSTRA: usize = 13;

/// How much a probability in a grammar weighs beside the acoustic score.
const LANGUAGE_WEIGHT: f32 = 1.0;

/// A cepstral mean: what a channel (telephone line, microphone, voice) sounds like on average.
pub(super) type CepstralMean = [f32; CEPSTRA];

/// A decoder with its acoustic model (shared by mmap), its dictionary and the searches set so far.
///
/// May move from thread to thread; only one uses it at a time, which `&mut self` sees to.
pub(super) struct Decoder {
    ps: NonNull<ffi::PsDecoder>,
    config: NonNull<ffi::CmdLn>,
    /// Our scorer in the place of the library's; there until the decoder goes.
    hook: Option<Hook>,
    /// The library keeps pointers into these for as long as `config` lives.
    _arguments: Vec<CString>,
}

/// A stretch of a hypothesis.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Segment {
    /// The word, with a pronunciation number in brackets; `<sil>` and the like for fillers.
    pub word: String,
    /// First and last frame of 10 ms.
    pub frames: (i32, i32),
    /// Acoustic score of the stretch: logarithm to the base 1.0001, shifted by 10 bits; 0 is as good as can be.
    pub acoustic: i32,
}

/// The best way through the search so far.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Heard {
    /// Words separated by one space; empty when only silence was heard.
    pub words: String,
    /// Score of the whole way.
    pub score: i32,
}

// SAFETY: the library keeps no thread-local state for a decoder, and `&mut self` on every method that uses it means
// that no two threads are in it at once.
#[expect(unsafe_code, reason = "foreign border")]
unsafe impl Send for Decoder {}

#[expect(unsafe_code, reason = "foreign border")]
impl Decoder {
    /// Makes a decoder with an empty dictionary. `acoustics` is what `acoustic_model` holds; `settings` are options of the
    /// library, name and value in turn.
    pub(super) fn new(
        acoustic_model: &Path,
        acoustics: &Arc<Acoustics>,
        settings: &[(&str, &str)],
    ) -> Result<Self, SpeechError> {
        let mut arguments =
            vec![c_string("offhook")?, c_string("-hmm")?, c_string(&acoustic_model.to_string_lossy())?];
        for (name, value) in settings {
            arguments.push(c_string(name)?);
            arguments.push(c_string(value)?);
        }
        let mut argv: Vec<*mut c_char> = arguments.iter().map(|a| a.as_ptr().cast_mut()).collect();
        let argc = i32::try_from(argv.len()).expect("there are a few dozen settings");
        // SAFETY: a null stream means no log. argv holds argc pointers to strings that end in a zero byte and that
        // live in `arguments` as long as the configuration; the library does not write through them.
        let config = unsafe {
            ffi::err_set_logfp(std::ptr::null_mut());
            ffi::cmd_ln_parse_r(std::ptr::null_mut(), ffi::ps_args(), argc, argv.as_mut_ptr(), 1)
        };
        let config =
            NonNull::new(config).ok_or_else(|| failed("cmd_ln_parse_r: an option is not known to it"))?;
        // SAFETY: config is valid and stays ours; ps_init takes a reference of its own.
        let Some(ps) = NonNull::new(unsafe { ffi::ps_init(config.as_ptr()) }) else {
            // SAFETY: made above, not used again.
            unsafe { ffi::cmd_ln_free_r(config.as_ptr()) };
            return Err(failed(&format!(
                "ps_init: the acoustic model {} does not load",
                acoustic_model.display()
            )));
        };
        let mut decoder = Self { ps, config, hook: None, _arguments: arguments };
        // SAFETY: the feature extractor of a decoder lives as long as the decoder.
        let cepsize = unsafe { (*ffi::ps_get_feat(decoder.ps.as_ptr())).cepsize };
        if usize::try_from(cepsize) != Ok(CEPSTRA) {
            return Err(failed(&format!(
                "the acoustic model has {cepsize} cepstra where {CEPSTRA} are expected"
            )));
        }
        // SAFETY: the decoder was just made, and drops its hook before it frees the library's side.
        decoder.hook = Some(unsafe { Hook::new(ps, Scorer::new(Arc::clone(acoustics))) }?);
        Ok(decoder)
    }

    /// Adds a word, or another pronunciation `word(2)`; `phones` separated by spaces.
    pub(super) fn add_word(&mut self, word: &str, phones: &str) -> Result<(), SpeechError> {
        let (c_word, c_phones) = (c_string(word)?, c_string(phones)?);
        // SAFETY: both strings end in a zero byte and are copied by the library.
        let id = unsafe { ffi::ps_add_word(self.ps.as_ptr(), c_word.as_ptr(), c_phones.as_ptr(), 0) };
        if id >= 0 {
            return Ok(());
        }
        Err(SpeechError::Rejected(format!(
            "the pronunciation '{word} {phones}' is refused: its phones must be those of the acoustic model, such as AH or TH"
        )))
    }

    /// Compiles a grammar, given in Sphinx's text format for finite state grammars, under a name.
    pub(super) fn set_grammar(&mut self, name: &str, fsg: &str) -> Result<(), SpeechError> {
        let c_name = c_string(name)?;
        // SAFETY: the stream reads `fsg`, which outlives it, and never writes (mode r). The model is counted: the
        // decoder takes a reference of its own, ours is given back.
        let set = unsafe {
            let stream = ffi::fmemopen(fsg.as_ptr().cast_mut().cast(), fsg.len(), c"r".as_ptr());
            if stream.is_null() {
                return Err(failed("fmemopen"));
            }
            let model = ffi::fsg_model_read(stream, ffi::ps_get_logmath(self.ps.as_ptr()), LANGUAGE_WEIGHT);
            ffi::fclose(stream);
            if model.is_null() {
                return Err(failed(&format!("fsg_model_read: the grammar {name} does not read")));
            }
            let set = ffi::ps_set_fsg(self.ps.as_ptr(), c_name.as_ptr(), model);
            ffi::fsg_model_free(model);
            set
        };
        match set {
            0 => Ok(()),
            _ => Err(failed(&format!("ps_set_fsg: the grammar {name} does not compile"))),
        }
    }

    /// Forgets a grammar.
    pub(super) fn unset_grammar(&mut self, name: &str) {
        if let Ok(name) = c_string(name) {
            // SAFETY: as above; an unknown name is an error code and no more.
            unsafe { ffi::ps_unset_search(self.ps.as_ptr(), name.as_ptr()) };
        }
    }

    /// Begins an utterance in the grammar of that name.
    pub(super) fn begin(&mut self, grammar: &str, mean: &CepstralMean) -> Result<(), SpeechError> {
        let name = c_string(grammar)?;
        // SAFETY: name ends in a zero byte. The mean has as many values as the feature extractor's vectors, which
        // `new` checked; `cmn_struct` is made with the extractor and lives as long.
        unsafe {
            if ffi::ps_set_search(self.ps.as_ptr(), name.as_ptr()) != 0 {
                return Err(failed(&format!("ps_set_search: no grammar {grammar}")));
            }
            ffi::cmn_live_set((*ffi::ps_get_feat(self.ps.as_ptr())).cmn_struct, mean.as_ptr());
            // A new stream: the noise estimate of the front end is not another caller's.
            if ffi::ps_start_stream(self.ps.as_ptr()) != 0 || ffi::ps_start_utt(self.ps.as_ptr()) != 0 {
                return Err(failed("ps_start_utt"));
            }
        }
        Ok(())
    }

    /// The cepstral mean after the utterance.
    pub(super) fn cepstral_mean(&mut self) -> CepstralMean {
        let mut mean = [0.0; CEPSTRA];
        // SAFETY: as in `begin`; the array has room for the vector.
        unsafe { ffi::cmn_live_get((*ffi::ps_get_feat(self.ps.as_ptr())).cmn_struct, mean.as_mut_ptr()) };
        mean
    }

    /// Feeds samples at 16 kHz.
    pub(super) fn feed(&mut self, samples: &[i16]) -> Result<(), SpeechError> {
        // SAFETY: pointer and length are of one slice, which the library only reads.
        match unsafe { ffi::ps_process_raw(self.ps.as_ptr(), samples.as_ptr(), samples.len(), 0, 0) } {
            n if n < 0 => Err(failed("ps_process_raw")),
            _ => Ok(()),
        }
    }

    /// Ends the utterance.
    pub(super) fn end(&mut self) -> Result<(), SpeechError> {
        // SAFETY: the decoder is valid; ending twice is an error code.
        match unsafe { ffi::ps_end_utt(self.ps.as_ptr()) } {
            0 => Ok(()),
            _ => Err(failed("ps_end_utt")),
        }
    }

    /// The best hypothesis so far; after [`end`](Self::end) the best whole sentence. [`None`]: no way survived.
    pub(super) fn heard(&mut self) -> Option<Heard> {
        let mut score = 0;
        // SAFETY: the string belongs to the decoder and is copied before anything else is asked of it.
        let words = unsafe {
            let text = ffi::ps_get_hyp(self.ps.as_ptr(), &raw mut score);
            if text.is_null() {
                return None;
            }
            CStr::from_ptr(text).to_string_lossy().into_owned()
        };
        Some(Heard { words, score })
    }

    /// What our scorer knows of the utterance.
    pub(super) fn scorer(&mut self) -> Option<&Scorer> {
        self.hook.as_ref().map(Hook::scorer)
    }

    /// The stretches of the best hypothesis so far.
    pub(super) fn segments(&mut self) -> Vec<Segment> {
        let mut found = Vec::new();
        // SAFETY: the iterator is walked to its end, which frees it; each word is copied before the next step.
        unsafe {
            let mut seg = ffi::ps_seg_iter(self.ps.as_ptr());
            while !seg.is_null() {
                let (mut start, mut end, mut acoustic, mut language, mut backoff) = (0, 0, 0, 0, 0);
                ffi::ps_seg_frames(seg, &raw mut start, &raw mut end);
                ffi::ps_seg_prob(seg, &raw mut acoustic, &raw mut language, &raw mut backoff);
                let word = CStr::from_ptr(ffi::ps_seg_word(seg)).to_string_lossy().into_owned();
                found.push(Segment { word, frames: (start, end), acoustic });
                seg = ffi::ps_seg_next(seg);
            }
        }
        found
    }
}

#[expect(unsafe_code, reason = "foreign border")]
impl Drop for Decoder {
    fn drop(&mut self) {
        self.hook = None;
        // SAFETY: both were made in `new` and are used nowhere else; the decoder goes before its configuration.
        unsafe {
            ffi::ps_free(self.ps.as_ptr());
            ffi::cmd_ln_free_r(self.config.as_ptr());
        }
    }
}

fn failed(what: &str) -> SpeechError {
    SpeechError::Failed { backend: super::NAME, what: what.to_owned() }
}

fn c_string(text: &str) -> Result<CString, SpeechError> {
    CString::new(text)
        .map_err(|_| SpeechError::Rejected("text for the recogniser has a zero byte in it".to_owned()))
}
