//! G.711: the telephone's 8 bits per sample, in both laws.
//!
//! Tables made at compile time: 256 samples for decoding; for encoding one code per step of the magnitude that the
//! law can tell apart. Pure functions, any thread, no allocation. Source: ITU-T G.711 (11/88), bit order of RTP
//! payload types 0 and 8 (RFC 3551, 4.5.14), that is, with the even bits of A-law inverted.

/// Which of the two laws.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Law {
    /// µ-law (North America, Japan): RTP payload type 0, Asterisk's `ulaw`.
    #[default]
    Mu,
    /// A-law (everywhere else): RTP payload type 8, Asterisk's `alaw`.
    A,
}

impl Law {
    /// The code for digital silence.
    #[must_use]
    pub const fn silence(self) -> u8 {
        match self {
            Self::Mu => 0xff,
            Self::A => 0xd5,
        }
    }

    /// The sample that `code` stands for.
    #[must_use]
    pub const fn decode(self, code: u8) -> i16 {
        match self {
            Self::Mu => MU_DECODE[code as usize],
            Self::A => A_DECODE[code as usize],
        }
    }

    /// The code of the interval that `sample` lies in.
    #[must_use]
    pub const fn encode(self, sample: i16) -> u8 {
        // The laws are symmetric about minus one half: -1 belongs to the first negative interval.
        let magnitude = if sample < 0 { !sample } else { sample } as usize;
        match self {
            Self::Mu => MU_ENCODE[magnitude >> 2] ^ if sample < 0 { 0x80 } else { 0 },
            Self::A => A_ENCODE[magnitude >> 4] ^ if sample < 0 { 0x80 } else { 0 },
        }
    }

    /// Decodes as many samples as both slices have room for; returns how many.
    pub fn decode_into(self, codes: &[u8], samples: &mut [i16]) -> usize {
        let table = match self {
            Self::Mu => &MU_DECODE,
            Self::A => &A_DECODE,
        };
        for (sample, code) in samples.iter_mut().zip(codes) {
            *sample = table[usize::from(*code)];
        }
        codes.len().min(samples.len())
    }

    /// Encodes as many samples as both slices have room for; returns how many.
    pub fn encode_into(self, samples: &[i16], codes: &mut [u8]) -> usize {
        for (code, sample) in codes.iter_mut().zip(samples) {
            *code = self.encode(*sample);
        }
        codes.len().min(samples.len())
    }
}

static MU_DECODE: [i16; 256] = decode_table(Law::Mu);
static A_DECODE: [i16; 256] = decode_table(Law::A);
static MU_ENCODE: [u8; 8_192] = mu_encode_table();
static A_ENCODE: [u8; 2_048] = a_encode_table();

/// µ-law adds this before it looks for the segment, so that every segment begins at a power of two.
const MU_BIAS: i16 = 0x84;

const fn decode_table(law: Law) -> [i16; 256] {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = match law {
            Law::Mu => mu_decode(code as u8),
            Law::A => a_decode(code as u8),
        };
        code += 1;
    }
    table
}

const fn mu_decode(code: u8) -> i16 {
    let (segment, step) = ((!code >> 4) & 7, (!code & 15) as i16);
    let magnitude = (((step << 3) + MU_BIAS) << segment) - MU_BIAS;
    if code & 0x80 == 0 { -magnitude } else { magnitude }
}

const fn a_decode(code: u8) -> i16 {
    let (segment, step) = (((code ^ 0x55) >> 4) & 7, ((code ^ 0x55) & 15) as i16);
    let magnitude = if segment == 0 { (step << 4) + 8 } else { ((step << 4) + 0x108) << (segment - 1) };
    if code & 0x80 == 0 { -magnitude } else { magnitude }
}

/// Codes of the positive samples by their upper 13 bits.
const fn mu_encode_table() -> [u8; 8_192] {
    let mut table = [0; 8_192];
    let mut quarter = 0;
    while quarter < 8_192_u32 {
        // The law is defined on 14 bits with a bias of 33 and clips at 8,191 after it.
        let biased = if quarter + 33 > 0x1fff { 0x1fff } else { quarter + 33 };
        let segment = biased.ilog2() - 5;
        let step = (biased >> (segment + 1)) & 15;
        table[quarter as usize] = !((segment << 4 | step) as u8);
        quarter += 1;
    }
    table
}

/// Codes of the positive samples by their upper 12 bits.
const fn a_encode_table() -> [u8; 2_048] {
    let mut table = [0; 2_048];
    let mut sixteenth = 0;
    while sixteenth < 2_048_u32 {
        let code = if sixteenth < 32 {
            sixteenth
        } else {
            let segment = sixteenth.ilog2() - 3;
            segment << 4 | (sixteenth >> (segment - 1)) & 15
        };
        table[sixteenth as usize] = (code as u8 | 0x80) ^ 0x55;
        sixteenth += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Value and half-width of the interval of `code`, written from the tables of G.711 and not from the code above:
    /// A-law in units of 16/65,536 (table 1), µ-law in units of 4/65,536 (table 2).
    fn interval(law: Law, code: u8) -> (i32, i32, bool) {
        match law {
            Law::A => {
                let plain = code ^ 0x55;
                let (chord, step) = (u32::from(plain >> 4 & 7), i32::from(plain & 15));
                let width = 16 * if chord < 2 { 1 } else { 1 << (chord - 1) };
                let start = if chord == 0 { 0 } else { 256 << (chord - 1) };
                (start + step * width + width / 2, width / 2, plain & 0x80 == 0)
            }
            Law::Mu => {
                let plain = !code;
                let (chord, step) = (u32::from(plain >> 4 & 7), i32::from(plain & 15));
                let width = 8 << chord;
                let start = 4 * 33 * ((1 << chord) - 1) - if chord == 0 { 4 } else { 4 << chord };
                let middle = if chord == 0 { step * 8 } else { start + (4 << chord) + step * width };
                (middle, width / 2, plain & 0x80 != 0)
            }
        }
    }

    #[test]
    fn every_code_decodes_to_the_middle_of_its_interval() {
        for law in [Law::Mu, Law::A] {
            for code in 0..=255 {
                let (middle, _, negative) = interval(law, code);
                let expected = if negative { -middle } else { middle };
                assert_eq!(i32::from(law.decode(code)), expected, "{law:?} {code:#04x}");
            }
        }
    }

    #[test]
    fn every_sample_encodes_to_the_interval_that_it_lies_in() {
        for law in [Law::Mu, Law::A] {
            for sample in i16::MIN..=i16::MAX {
                let code = law.encode(sample);
                let (middle, half, negative) = interval(law, code);
                let magnitude = i32::from(if sample < 0 { !sample } else { sample });
                let clipped = law == Law::Mu && magnitude > 32_635;
                assert!(
                    clipped && middle == 32_124 || (middle - half..middle + half).contains(&magnitude),
                    "{law:?} {sample} became {code:#04x}, the interval around {middle}"
                );
                assert_eq!(negative, sample < 0, "{law:?} {sample}");
            }
        }
    }

    #[test]
    fn a_code_survives_decoding_and_encoding() {
        for law in [Law::Mu, Law::A] {
            for code in 0..=255 {
                let again = law.encode(law.decode(code));
                // µ-law has two zeros, and we always say the positive one.
                let expected = if law == Law::Mu && code == 0x7f { 0xff } else { code };
                assert_eq!(again, expected, "{law:?}");
            }
        }
    }

    #[test]
    fn known_values_of_both_laws() {
        assert_eq!(Law::Mu.encode(0), Law::Mu.silence());
        assert_eq!(Law::A.encode(0), Law::A.silence());
        assert_eq!((Law::Mu.decode(0x00), Law::Mu.decode(0x80)), (-32_124, 32_124));
        assert_eq!((Law::A.decode(0x2a), Law::A.decode(0xaa)), (-32_256, 32_256));
        assert_eq!(Law::Mu.encode(i16::MIN), 0x00);
        assert_eq!(Law::A.encode(i16::MIN), 0x2a);
    }

    #[test]
    fn slices_are_coded_up_to_the_shorter_one() {
        let mut samples = [7; 3];
        assert_eq!(Law::Mu.decode_into(&[0xff, 0x80], &mut samples), 2);
        assert_eq!(samples, [0, 32_124, 7]);
        let mut codes = [0; 2];
        assert_eq!(Law::A.encode_into(&samples, &mut codes), 2);
        assert_eq!(codes, [0xd5, Law::A.encode(32_124)]);
    }
}
