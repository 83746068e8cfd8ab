//! What the telephone cut off above 3.5 kHz, estimated from what it left.

mod halfband;

pub(crate) use halfband::{Halve, Twice};

/// Makes 16 kHz of 8 kHz.
pub struct Extender {
    twice: Twice,
}

impl Extender {
    /// x
    #[must_use]
    pub fn new(_extend: bool) -> Self {
        Self { twice: Twice::new() }
    }

    /// x
    pub fn reset(&mut self) {
        self.twice = Twice::new();
    }

    /// x
    pub fn push(&mut self, samples: &[i16], out: &mut Vec<i16>) {
        for &s in samples {
            out.extend(self.twice.push(f32::from(s)).map(|v| v.round().clamp(-32768.0, 32767.0) as i16));
        }
    }

    /// x
    pub fn finish(&mut self, out: &mut Vec<i16>) {
        self.push(&[0; 16], out);
    }
}
