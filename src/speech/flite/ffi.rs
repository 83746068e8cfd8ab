//! The functions of libflite (2.2) that are used, written out by hand after flite.h, cst_wave.h and cst_audio.h.

use std::ffi::{c_char, c_int, c_void};

/// `cst_voice`, opaque.
#[repr(C)]
pub(super) struct Voice {
    _opaque: [u8; 0],
}

/// `cst_features`, opaque.
#[repr(C)]
pub(super) struct Features {
    _opaque: [u8; 0],
}

/// `cst_val`, opaque.
#[repr(C)]
pub(super) struct Val {
    _opaque: [u8; 0],
}

/// `cst_relation`, opaque.
#[repr(C)]
pub(super) struct Relation {
    _opaque: [u8; 0],
}

/// `cst_item`, opaque.
#[repr(C)]
pub(super) struct Item {
    _opaque: [u8; 0],
}

/// The beginning of `cst_utterance`.
#[repr(C)]
pub(super) struct Utt {
    pub features: *mut Features,
}

/// `cst_wave`.
#[repr(C)]
pub(super) struct Wave {
    pub kind: *const c_char,
    pub sample_rate: c_int,
    pub num_samples: c_int,
    pub num_channels: c_int,
    pub samples: *mut i16,
}

/// `cst_audio_streaming_info`.
#[repr(C)]
pub(super) struct StreamingInfo {
    pub min_buffsize: c_int,
    pub callback: Option<unsafe extern "C" fn(*const Wave, c_int, c_int, c_int, *mut StreamingInfo) -> c_int>,
    pub utt: *const Utt,
    pub item: *const c_void,
    pub userdata: *mut c_void,
}

/// What a callback returns to go on, and to stop.
pub(super) const GO_ON: c_int = 0;
pub(super) const STOP: c_int = -1;

#[link(name = "flite")]
#[expect(unsafe_code, reason = "foreign border")]
unsafe extern "C" {
    pub(super) fn flite_init() -> c_int;
    pub(super) fn new_utterance() -> *mut Utt;
    pub(super) fn delete_utterance(utt: *mut Utt);
    pub(super) fn utt_set_input_text(utt: *mut Utt, text: *const c_char) -> c_int;
    pub(super) fn feat_set(features: *mut Features, name: *const c_char, val: *const Val);
    pub(super) fn new_audio_streaming_info() -> *mut StreamingInfo;
    pub(super) fn audio_streaming_info_val(info: *const StreamingInfo) -> *mut Val;
    pub(super) fn flite_do_synth(
        utt: *mut Utt,
        voice: *mut Voice,
        synth: unsafe extern "C" fn(*mut Utt) -> *mut Utt,
    ) -> *mut Utt;
    pub(super) fn utt_synth(utt: *mut Utt) -> *mut Utt;
    pub(super) fn utt_relation_present(utt: *mut Utt, name: *const c_char) -> c_int;
    pub(super) fn utt_relation(utt: *mut Utt, name: *const c_char) -> *mut Relation;
    pub(super) fn relation_head(relation: *mut Relation) -> *mut Item;
    pub(super) fn item_next(item: *const Item) -> *mut Item;
    pub(super) fn ffeature_float(item: *const Item, path: *const c_char) -> f32;
}

macro_rules! voice {
    ($library:literal, $register:ident) => {
        #[link(name = $library)]
        #[expect(unsafe_code, reason = "foreign border")]
        unsafe extern "C" {
            pub(super) fn $register(folder: *const c_char) -> *mut Voice;
        }
    };
}

voice!("flite_cmu_us_slt", register_cmu_us_slt);
voice!("flite_cmu_us_rms", register_cmu_us_rms);
voice!("flite_cmu_us_awb", register_cmu_us_awb);
voice!("flite_cmu_us_kal16", register_cmu_us_kal16);
voice!("flite_cmu_us_kal", register_cmu_us_kal);

// The voices need these two; named after them for linkers that look at libraries in order.
#[link(name = "flite_usenglish")]
#[link(name = "flite_cmulex")]
#[expect(unsafe_code, reason = "foreign border")]
unsafe extern "C" {}
