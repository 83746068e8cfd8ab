//! A voice of Flite, and one sentence spoken by it.

use std::ffi::{CString, c_int, c_void};
use std::ptr::NonNull;
use std::sync::OnceLock;

use super::{VOICES, ffi};
use crate::speech::SpeechError;

/// Samples that a voice gathers before it hands them on: 12.5 ms at 16 kHz.
const SMALLEST_CHUNK: c_int = 200;

/// One of [`VOICES`]. A shared singleton of the library that is only read once it is registered.
#[derive(Clone, Copy)]
pub(super) struct Voice(NonNull<ffi::Voice>);

// SAFETY: after its registration a voice is only read; what a sentence changes is in the utterance.
#[expect(unsafe_code, reason = "foreign border")]
unsafe impl Send for Voice {}
// SAFETY: as above.
#[expect(unsafe_code, reason = "foreign border")]
unsafe impl Sync for Voice {}

impl Voice {
    /// The voice of that name.
    ///
    /// # Errors
    /// [`SpeechError::Rejected`] when there is none; names those that there are.
    pub(super) fn find(name: &str) -> Result<Self, SpeechError> {
        let found = VOICES.iter().position(|known| *known == name).and_then(|index| registered()[index]);
        found.ok_or_else(|| {
            SpeechError::Rejected(format!("Flite has no voice '{name}': choose one of {}", VOICES.join(", ")))
        })
    }

    /// Speaks `sentence` (ASCII), handing samples and their rate to `take` as they are made, until it returns false. Gives
    /// when each of its tokens ends, in seconds from the first sample; nothing when it was stopped.
    #[expect(unsafe_code, reason = "foreign border")]
    pub(super) fn speak(
        self,
        sentence: &str,
        take: &mut dyn FnMut(&[i16], u32) -> bool,
    ) -> Result<Vec<f32>, SpeechError> {
        let text = CString::new(sentence)
            .map_err(|_| SpeechError::Rejected("the text to be said has a zero byte in it".to_owned()))?;
        let mut sink = Sink { take, given: 0, stopped: false };
        // SAFETY: the utterance owns its features and, through them, the streaming info, and frees both. `sink` lives
        // until after the synthesis, which is the only one to call back. `text` is copied by utt_set_input_text.
        unsafe {
            let utt = ffi::new_utterance();
            let info = ffi::new_audio_streaming_info();
            (*info).min_buffsize = SMALLEST_CHUNK;
            (*info).callback = Some(hand_on);
            (*info).userdata = (&raw mut sink).cast::<c_void>();
            ffi::utt_set_input_text(utt, text.as_ptr());
            ffi::feat_set((*utt).features, c"streaming_info".as_ptr(), ffi::audio_streaming_info_val(info));
            // On failure it has deleted the utterance.
            let done = ffi::flite_do_synth(utt, self.0.as_ptr(), ffi::utt_synth);
            if done.is_null() {
                return match sink.stopped {
                    true => Ok(Vec::new()),
                    false => Err(SpeechError::Failed {
                        backend: super::NAME,
                        what: "flite_do_synth gave nothing for a sentence".to_owned(),
                    }),
                };
            }
            let ends = token_ends(done);
            ffi::delete_utterance(done);
            Ok(ends)
        }
    }
}

/// The ends of the utterance's tokens: of the last segment of the last syllable of the last word of each.
///
/// # Safety
/// `utt` was made by the library and has been synthesised.
#[expect(unsafe_code, reason = "foreign border")]
unsafe fn token_ends(utt: *mut ffi::Utt) -> Vec<f32> {
    let mut ends = Vec::new();
    // SAFETY: relations and items belong to the utterance, which lives; a path that leads nowhere gives 0.
    unsafe {
        if ffi::utt_relation_present(utt, c"Token".as_ptr()) == 0 {
            return ends;
        }
        let mut token = ffi::relation_head(ffi::utt_relation(utt, c"Token".as_ptr()));
        while !token.is_null() {
            let path = c"daughtern.R:SylStructure.daughtern.daughtern.R:Segment.end";
            let end = ffi::ffeature_float(token, path.as_ptr());
            // A token without a sound ends with the one before it.
            ends.push(end.max(ends.last().copied().unwrap_or(0.0)));
            token = ffi::item_next(token);
        }
    }
    ends
}

struct Sink<'a> {
    take: &'a mut dyn FnMut(&[i16], u32) -> bool,
    /// Samples handed on so far.
    given: usize,
    stopped: bool,
}

/// Called by the library with the whole wave so far and the stretch of it that is new.
#[expect(unsafe_code, reason = "foreign border")]
unsafe extern "C" fn hand_on(
    wave: *const ffi::Wave,
    start: c_int,
    size: c_int,
    _last: c_int,
    info: *mut ffi::StreamingInfo,
) -> c_int {
    // SAFETY: the library passes the info that `speak` made, whose userdata is the sink on `speak`'s stack, and a wave
    // that it does not touch before this function returns. Start and size are checked against the wave's length.
    unsafe {
        let sink = &mut *(*info).userdata.cast::<Sink<'_>>();
        let (Ok(length), Ok(start), Ok(size), Ok(rate)) = (
            usize::try_from((*wave).num_samples),
            usize::try_from(start),
            usize::try_from(size),
            u32::try_from((*wave).sample_rate),
        ) else {
            return ffi::STOP;
        };
        let end = (start + size).min(length);
        if (*wave).samples.is_null() || start >= end {
            return ffi::GO_ON;
        }
        let samples = std::slice::from_raw_parts((*wave).samples.add(start), end - start);
        sink.given += samples.len();
        if (sink.take)(samples, rate) {
            return ffi::GO_ON;
        }
        sink.stopped = true;
        ffi::STOP
    }
}

/// The voices in the order of [`VOICES`]; registered once, because registering is not safe from two threads.
#[expect(unsafe_code, reason = "foreign border")]
fn registered() -> &'static [Option<Voice>; VOICES.len()] {
    static REGISTERED: OnceLock<[Option<Voice>; VOICES.len()]> = OnceLock::new();
    REGISTERED.get_or_init(|| {
        // SAFETY: called once, before any synthesis; a null folder means the voice compiled in.
        unsafe {
            ffi::flite_init();
            [
                ffi::register_cmu_us_slt(std::ptr::null()),
                ffi::register_cmu_us_rms(std::ptr::null()),
                ffi::register_cmu_us_awb(std::ptr::null()),
                ffi::register_cmu_us_kal16(std::ptr::null()),
                ffi::register_cmu_us_kal(std::ptr::null()),
            ]
            .map(|voice| NonNull::new(voice).map(Voice))
        }
    })
}
