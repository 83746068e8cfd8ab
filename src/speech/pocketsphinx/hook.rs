//! Puts our [`Scorer`] in the place of the library's own.
//!
//! The library asks for the scores of a frame through a table of functions. No function of its interface sets it, so the
//! pointer is exchanged in its own structures, whose shape is that of 0.8+5prealpha, which all of Debian and Ubuntu have
//! had since 2015. Four pointers in them must first agree with what the library's interface says.

use std::ffi::{CStr, c_int, c_void};
use std::ptr::NonNull;

use super::acoustics::{STREAMS, WIDTH};
use super::ffi;
use super::scorer::{Features, Scorer};
use crate::speech::SpeechError;

/// The exchange; taken back when dropped, which must be before the decoder goes.
pub(super) struct Hook {
    place: NonNull<*mut ffi::Gaussians>,
    theirs: *mut ffi::Gaussians,
    ours: NonNull<Ours>,
}

/// What the library takes for its own.
#[repr(C)]
struct Ours {
    base: ffi::Gaussians,
    scorer: Scorer,
}

/// A table of functions for ever; the name is a C string.
struct Functions(ffi::GaussianFunctions);

// SAFETY: it is never written.
#[expect(unsafe_code, reason = "foreign border")]
unsafe impl Sync for Functions {}

static FUNCTIONS: Functions =
    Functions(ffi::GaussianFunctions { name: c"offhook".as_ptr(), frame_eval, transform, free });

#[expect(unsafe_code, reason = "foreign border")]
impl Hook {
    /// Exchanges the scorer of a decoder that is not in an utterance.
    ///
    /// # Safety
    /// `ps` is a decoder of the library; it outlives the hook.
    pub(super) unsafe fn new(ps: NonNull<ffi::PsDecoder>, scorer: Scorer) -> Result<Self, SpeechError> {
        let ps = ps.as_ptr();
        // SAFETY: the decoder is valid. Each pointer is followed only when what stands before it is what the
        // library's interface gives for the same thing, so the structures have the shape that ffi.rs describes.
        unsafe {
            if (*ps).config != ffi::ps_get_config(ps) || (*ps).acmod.is_null() {
                return Err(unknown());
            }
            let model = (*ps).acmod;
            let known = (*model).config == ffi::ps_get_config(ps)
                && (*model).lmath == ffi::ps_get_logmath(ps)
                && (*model).fe == ffi::ps_get_fe(ps)
                && (*model).fcb == ffi::ps_get_feat(ps);
            if !known || (*model).mgau.is_null() {
                return Err(unknown());
            }
            let theirs = (*model).mgau;
            if CStr::from_ptr((*(*theirs).functions).name) != c"ptm" || !of_three_streams((*model).fcb) {
                return Err(unknown());
            }
            let base = ffi::Gaussians { functions: &raw const FUNCTIONS.0, frame: (*theirs).frame };
            let ours = NonNull::from(Box::leak(Box::new(Ours { base, scorer })));
            let place = NonNull::new(&raw mut (*model).mgau).ok_or_else(unknown)?;
            place.write(ours.as_ptr().cast());
            Ok(Self { place, theirs, ours })
        }
    }

    /// The scorer; only while the library is not at work, which `&mut` of the decoder sees to.
    pub(super) fn scorer(&self) -> &Scorer {
        // SAFETY: made in `new` and freed in `drop`; the library uses it only inside calls to it.
        unsafe { &self.ours.as_ref().scorer }
    }
}

#[expect(unsafe_code, reason = "foreign border")]
impl Drop for Hook {
    fn drop(&mut self) {
        // SAFETY: the decoder still lives, so the place does; ours was made in `new` and is not used after this.
        unsafe {
            self.place.write(self.theirs);
            drop(Box::from_raw(self.ours.as_ptr()));
        }
    }
}

/// Whether the features come in three streams of thirteen.
///
/// # Safety
/// `features` is the library's extractor.
#[expect(unsafe_code, reason = "foreign border")]
unsafe fn of_three_streams(features: *const ffi::Feat) -> bool {
    // SAFETY: the caller's promise; `sv_len` has as many values as there are sub-vectors.
    unsafe {
        let streams = usize::try_from((*features).n_sv).unwrap_or(0);
        let lengths = (*features).sv_len;
        streams == STREAMS
            && !lengths.is_null()
            && std::slice::from_raw_parts(lengths, streams).iter().all(|l| usize::try_from(*l) == Ok(WIDTH))
    }
}

/// The library asks for the scores of a frame.
#[expect(unsafe_code, reason = "foreign border")]
unsafe extern "C" fn frame_eval(
    gaussians: *mut ffi::Gaussians,
    scores: *mut i16,
    active: *mut u8,
    active_len: i32,
    features: *mut *mut f32,
    frame: i32,
    _all: i32,
) -> c_int {
    // SAFETY: `gaussians` is the `Ours` that `Hook::new` gave to the library, which uses it on one thread at a time. The
    // library's arrays: a score for each senone, `active_len` differences, three streams of thirteen features.
    unsafe {
        let scorer = &mut (*gaussians.cast::<Ours>()).scorer;
        let values: Features =
            std::array::from_fn(|stream| features.add(stream).read().cast::<[f32; WIDTH]>().read());
        let scores = std::slice::from_raw_parts_mut(scores, scorer.senones());
        let active = std::slice::from_raw_parts(active, usize::try_from(active_len).unwrap_or(0));
        scorer.frame(&values, usize::try_from(frame).unwrap_or(0), active, scores);
    }
    0
}

/// The library would adapt the Gaussians; nobody asks it to.
#[expect(unsafe_code, reason = "foreign border")]
unsafe extern "C" fn transform(_: *mut ffi::Gaussians, _: *mut c_void) -> c_int {
    -1
}

/// The library would free the scorer; the hook is gone before it could.
#[expect(unsafe_code, reason = "foreign border")]
unsafe extern "C" fn free(_: *mut ffi::Gaussians) {}

fn unknown() -> SpeechError {
    SpeechError::Unavailable(
        "libpocketsphinx is another than the one this was built for: install libpocketsphinx-dev and \
         pocketsphinx-en-us 0.8+5prealpha (Debian, Ubuntu), or set `recognizer = \"none\"` under [speech]"
            .to_owned(),
    )
}
