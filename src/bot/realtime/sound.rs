//! Audio between a call and a service: rates and codings.

use super::dialect::Coding;
use crate::audio::g711::Law;
use crate::audio::resample::{Down3, Up2};
use crate::audio::{FRAME_SAMPLES, Frame, Rate};

/// Audio between a call and a service.
pub(super) struct Sound {
    hears: Coding,
    speaks: Coding,
    /// Of the call's voice.
    rate: Rate,
    up_ear: Up2,
    down: Down3,
    up_voice: Up2,
    /// Half a sample of the message before.
    half: Option<u8>,
}

impl Sound {
    pub fn new(hears: Coding, speaks: Coding, rate: Rate) -> Self {
        Self { hears, speaks, rate, up_ear: Up2::new(), down: Down3::new(), up_voice: Up2::new(), half: None }
    }

    /// A frame of the caller's, as the service hears it. From µ-law to µ-law nothing changes.
    pub fn pack(&mut self, frame: &Frame) -> Vec<u8> {
        match self.hears {
            Coding::Ulaw => frame.samples.iter().map(|sample| Law::Mu.encode(*sample)).collect(),
            Coding::Linear(_) if frame.rate == Rate::Hz8000 => {
                let mut wide = [0; 2 * FRAME_SAMPLES];
                self.up_ear.process(&frame.samples, &mut wide);
                wide.iter().flat_map(|sample| sample.to_le_bytes()).collect()
            }
            Coding::Linear(_) => frame.samples.iter().flat_map(|sample| sample.to_le_bytes()).collect(),
        }
    }

    /// What the service says, as the call's voice takes it.
    pub fn unpack(&mut self, bytes: &[u8], out: &mut Vec<i16>) {
        let mut narrow = Vec::with_capacity(bytes.len());
        match self.speaks {
            Coding::Ulaw => narrow.extend(bytes.iter().map(|code| Law::Mu.decode(*code))),
            Coding::Linear(_) => {
                let mut samples = Vec::with_capacity(bytes.len() / 2 + 1);
                let mut rest = bytes;
                if let (Some(low), Some((high, after))) = (self.half, bytes.split_first()) {
                    samples.push(i16::from_le_bytes([low, *high]));
                    (self.half, rest) = (None, after);
                }
                let (pairs, left) = rest.as_chunks::<2>();
                samples.extend(pairs.iter().map(|pair| i16::from_le_bytes(*pair)));
                self.half = left.first().copied().or(self.half);
                narrow.resize(samples.len() / 3 + 1, 0);
                let written = self.down.process(&samples, &mut narrow);
                narrow.truncate(written);
            }
        }
        match self.rate {
            Rate::Hz8000 => out.extend_from_slice(&narrow),
            Rate::Hz16000 => {
                let from = out.len();
                out.resize(from + 2 * narrow.len(), 0);
                self.up_voice.process(&narrow, &mut out[from..]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_as_mu_law_goes_on_as_it_came() {
        let mut sound = Sound::new(Coding::Ulaw, Coding::Ulaw, Rate::Hz8000);
        let codes: Vec<u8> = (0..160_u8).collect();
        let mut frame = Frame::silence(Rate::Hz8000);
        Law::Mu.decode_into(&codes, &mut frame.samples);
        let packed = sound.pack(&frame);
        // The two codes of nothing are one value.
        assert!(packed.iter().zip(&codes).all(|(a, b)| a == b || (*a | 0x80) == 0xff && (*b | 0x80) == 0xff));
        let mut back = Vec::new();
        sound.unpack(&packed, &mut back);
        assert_eq!(back, frame.samples);
    }

    #[test]
    fn three_samples_of_a_service_make_one_of_a_telephone_however_they_are_cut() {
        let bytes: Vec<u8> = (0..4_800_i16).flat_map(|n| (n * 3).to_le_bytes()).collect();
        let (mut whole, mut cut) = (Vec::new(), Vec::new());
        Sound::new(Coding::Linear(16_000), Coding::Linear(24_000), Rate::Hz8000).unpack(&bytes, &mut whole);
        let mut sound = Sound::new(Coding::Linear(16_000), Coding::Linear(24_000), Rate::Hz8000);
        bytes.chunks(777).for_each(|piece| sound.unpack(piece, &mut cut));
        assert_eq!((whole.len(), &whole), (1_600, &cut));
    }
}
