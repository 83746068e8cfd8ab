//! The functions of libpocketsphinx and libsphinxbase (Debian, 5prealpha) that are used, written out by hand.
//!
//! Types follow the installed headers pocketsphinx.h, sphinxbase/cmd_ln.h, feat.h, cmn.h and err.h.

use std::ffi::{c_char, c_int, c_void};

/// The beginning of `ps_decoder_t` (pocketsphinx_internal.h of 0.8+5prealpha, not installed): checked before it is used.
#[repr(C)]
pub(super) struct PsDecoder {
    pub config: *mut CmdLn,
    pub refcount: c_int,
    pub acmod: *mut AcousticModel,
}

/// The beginning of `acmod_t` (acmod.h of 0.8+5prealpha, not installed): checked before it is used.
#[repr(C)]
pub(super) struct AcousticModel {
    pub config: *mut CmdLn,
    pub lmath: *mut LogMath,
    pub strings: *mut c_void,
    pub fe: *mut c_void,
    pub fcb: *mut Feat,
    pub mdef: *mut c_void,
    pub tmat: *mut c_void,
    /// What computes the scores of a frame.
    pub mgau: *mut Gaussians,
}

/// `ps_mgau_t`, the beginning of whatever computes scores.
#[repr(C)]
pub(super) struct Gaussians {
    pub functions: *const GaussianFunctions,
    /// Counted by the library.
    pub frame: c_int,
}

/// `ps_mgaufuncs_t`.
#[repr(C)]
pub(super) struct GaussianFunctions {
    pub name: *const c_char,
    pub frame_eval: unsafe extern "C" fn(
        gaussians: *mut Gaussians,
        scores: *mut i16,
        active: *mut u8,
        active_len: i32,
        features: *mut *mut f32,
        frame: i32,
        all: i32,
    ) -> c_int,
    pub transform: unsafe extern "C" fn(gaussians: *mut Gaussians, by: *mut c_void) -> c_int,
    pub free: unsafe extern "C" fn(gaussians: *mut Gaussians),
}

/// `cmd_ln_t`, opaque.
#[repr(C)]
pub(super) struct CmdLn {
    _opaque: [u8; 0],
}

/// `arg_t`, only ever passed on.
#[repr(C)]
pub(super) struct ArgDef {
    _opaque: [u8; 0],
}

/// `ps_seg_t`, opaque.
#[repr(C)]
pub(super) struct PsSeg {
    _opaque: [u8; 0],
}

/// `cmn_t`, opaque: read and written through `cmn_live_get` and `cmn_live_set`.
#[repr(C)]
pub(super) struct Cmn {
    _opaque: [u8; 0],
}

/// `logmath_t`, opaque.
#[repr(C)]
pub(super) struct LogMath {
    _opaque: [u8; 0],
}

/// `fsg_model_t`, opaque.
#[repr(C)]
pub(super) struct FsgModel {
    _opaque: [u8; 0],
}

/// `FILE`, opaque.
#[repr(C)]
pub(super) struct File {
    _opaque: [u8; 0],
}

/// The beginning of `feat_t` (sphinxbase/feat.h), as far as the cepstral mean.
#[repr(C)]
pub(super) struct Feat {
    pub refcount: c_int,
    pub name: *mut c_char,
    /// Length of a cepstral vector.
    pub cepsize: i32,
    pub n_stream: i32,
    pub stream_len: *mut u32,
    pub window_size: i32,
    pub n_sv: i32,
    pub sv_len: *mut u32,
    pub subvecs: *mut *mut i32,
    pub sv_buf: *mut f32,
    pub sv_dim: i32,
    pub cmn_type: c_int,
    pub varnorm: i32,
    pub agc: c_int,
    pub compute_feat: *mut c_void,
    pub cmn_struct: *mut Cmn,
}

#[link(name = "pocketsphinx")]
#[expect(unsafe_code, reason = "foreign border")]
unsafe extern "C" {
    pub(super) fn ps_args() -> *const ArgDef;
    pub(super) fn ps_init(config: *mut CmdLn) -> *mut PsDecoder;
    pub(super) fn ps_free(ps: *mut PsDecoder) -> c_int;
    pub(super) fn ps_add_word(
        ps: *mut PsDecoder,
        word: *const c_char,
        phones: *const c_char,
        update: c_int,
    ) -> c_int;
    pub(super) fn ps_get_config(ps: *mut PsDecoder) -> *mut CmdLn;
    pub(super) fn ps_get_fe(ps: *mut PsDecoder) -> *mut c_void;
    pub(super) fn ps_get_logmath(ps: *mut PsDecoder) -> *mut LogMath;
    pub(super) fn ps_set_fsg(ps: *mut PsDecoder, name: *const c_char, fsg: *mut FsgModel) -> c_int;
    pub(super) fn ps_set_search(ps: *mut PsDecoder, name: *const c_char) -> c_int;
    pub(super) fn ps_unset_search(ps: *mut PsDecoder, name: *const c_char) -> c_int;
    pub(super) fn ps_start_stream(ps: *mut PsDecoder) -> c_int;
    pub(super) fn ps_start_utt(ps: *mut PsDecoder) -> c_int;
    pub(super) fn ps_process_raw(
        ps: *mut PsDecoder,
        data: *const i16,
        n_samples: usize,
        no_search: c_int,
        full_utt: c_int,
    ) -> c_int;
    pub(super) fn ps_end_utt(ps: *mut PsDecoder) -> c_int;
    pub(super) fn ps_get_hyp(ps: *mut PsDecoder, score: *mut i32) -> *const c_char;
    pub(super) fn ps_get_feat(ps: *mut PsDecoder) -> *mut Feat;
    pub(super) fn ps_seg_iter(ps: *mut PsDecoder) -> *mut PsSeg;
    pub(super) fn ps_seg_next(seg: *mut PsSeg) -> *mut PsSeg;
    pub(super) fn ps_seg_word(seg: *mut PsSeg) -> *const c_char;
    pub(super) fn ps_seg_frames(seg: *mut PsSeg, start: *mut c_int, end: *mut c_int);
    pub(super) fn ps_seg_prob(
        seg: *mut PsSeg,
        acoustic: *mut i32,
        language: *mut i32,
        backoff: *mut i32,
    ) -> i32;
}

#[link(name = "sphinxbase")]
#[expect(unsafe_code, reason = "foreign border")]
unsafe extern "C" {
    pub(super) fn err_set_logfp(stream: *mut c_void);
    pub(super) fn cmd_ln_parse_r(
        inout: *mut CmdLn,
        definition: *const ArgDef,
        argc: i32,
        argv: *mut *mut c_char,
        strict: i32,
    ) -> *mut CmdLn;
    pub(super) fn cmd_ln_free_r(config: *mut CmdLn) -> c_int;
    pub(super) fn fsg_model_read(file: *mut File, logmath: *mut LogMath, lw: f32) -> *mut FsgModel;
    pub(super) fn fsg_model_free(fsg: *mut FsgModel) -> c_int;
    pub(super) fn cmn_live_set(cmn: *mut Cmn, mean: *const f32);
    pub(super) fn cmn_live_get(cmn: *mut Cmn, mean: *mut f32);
}

#[expect(unsafe_code, reason = "foreign border")]
unsafe extern "C" {
    /// POSIX: a stream over memory.
    pub(super) fn fmemopen(buffer: *mut c_void, size: usize, mode: *const c_char) -> *mut File;
    pub(super) fn fclose(file: *mut File) -> c_int;
}
