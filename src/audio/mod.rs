//! Audio: frames, codecs, resampling, concealment, tones, WAV, and the rings that carry audio between threads.
//!
//! Everything here is a pure function or a small state: no I/O but WAV files, no clock. Samples are signed 16-bit,
//! mono, 8 or 16 kHz. A codec is a pair of functions or a struct with two methods.

use std::time::Duration;

pub mod codec;
pub mod comfort;
pub mod conceal;
pub mod g711;
pub mod g722;
pub mod level;
#[cfg(feature = "opus")]
pub mod opus;
pub mod resample;
pub mod ring;
pub mod tone;
pub mod wav;

/// The packetisation time used toward Asterisk: 20 ms.
pub const PTIME: Duration = Duration::from_millis(20);

/// Samples in a [`Frame`].
pub const FRAME_SAMPLES: usize = 160;

/// A sample rate that the live path knows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Rate {
    /// 8 kHz, the telephone.
    #[default]
    Hz8000,
    /// 16 kHz, wideband.
    Hz16000,
}

impl Rate {
    /// Samples per second.
    #[must_use]
    pub const fn hz(self) -> u32 {
        match self {
            Self::Hz8000 => 8_000,
            Self::Hz16000 => 16_000,
        }
    }

    /// How long `samples` samples last.
    #[must_use]
    pub const fn duration(self, samples: u64) -> Duration {
        Duration::from_nanos(samples * 1_000_000_000 / self.hz() as u64)
    }

    /// How many samples `span` holds, rounded down.
    #[must_use]
    pub const fn samples(self, span: Duration) -> u64 {
        (span.as_nanos() * self.hz() as u128 / 1_000_000_000) as u64
    }
}

/// [`FRAME_SAMPLES`] samples of mono audio: 20 ms at 8 kHz, 10 ms at 16 kHz. Plain data, copied, never allocated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame {
    /// Sample rate.
    pub rate: Rate,
    /// The samples, full scale ±32,767.
    pub samples: [i16; FRAME_SAMPLES],
}

impl Frame {
    /// A frame of digital silence.
    #[must_use]
    pub const fn silence(rate: Rate) -> Self {
        Self { rate, samples: [0; FRAME_SAMPLES] }
    }

    /// How long it lasts.
    #[must_use]
    pub const fn duration(&self) -> Duration {
        self.rate.duration(FRAME_SAMPLES as u64)
    }
}
