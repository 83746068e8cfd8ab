//! Memory that will be needed soon is asked for ahead.
//!
//! With a thousand calls in turn, each call's state has left the processor's caches when its next frame comes, and fetching it
//! line by line, as it is used, takes longer than what is done with it. Asked for together, before the call's turn,
//! the lines come together, while another call is served.

/// Bytes that processors fetch at once.
#[cfg(target_arch = "x86_64")]
const LINE: usize = 64;

/// What of a thing is asked for: first what lies in it, and when that has come what it points to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reach {
    /// The thing itself. Nothing of it is read.
    Near,
    /// What it points to.
    Far,
}

/// Asks the processor for the memory of `value`, and goes on without it; where the processor cannot be asked, nothing
/// happens. Changes nothing but when things are there.
#[inline]
#[cfg_attr(
    target_arch = "x86_64",
    expect(unsafe_code, reason = "an instruction that the language has no words for")
)]
pub(crate) fn prefetch<T: ?Sized>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let start = std::ptr::from_ref(value).cast::<i8>();
        for at in (0..size_of_val(value)).step_by(LINE) {
            // SAFETY: a prefetch reads nothing into the program and cannot fault, whatever the address.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(start.wrapping_add(at)) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}
