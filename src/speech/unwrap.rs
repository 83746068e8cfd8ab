//! Samples out of what programs and servers send: WAV as it comes, or bare samples.

use super::pour::linear;
use crate::audio::g711::Law;

/// A header longer than this is none.
const LONGEST_HEADER: usize = 64 << 10;

/// Takes the wrapping off audio, piece by piece. What does not begin like a WAV file is bare samples of 16 bits, low byte
/// first, one channel.
///
/// The length in a WAV's header is not looked at: programs that write into a pipe do not know it (espeak-ng writes
/// 2 GB). A chunk behind the samples is rare there, and would be heard as a click.
pub(super) struct Unwrap {
    /// The rate of bare samples.
    bare_hz: u32,
    /// What has come before it is known what it is.
    head: Vec<u8>,
    body: Option<Body>,
}

struct Body {
    hz: u32,
    stereo: bool,
    coding: Coding,
    half: Option<u8>,
    /// The left sample that waits for its right one.
    left: Option<i16>,
}

#[derive(Clone, Copy)]
enum Coding {
    Linear,
    Law(Law),
}

impl Unwrap {
    pub fn new(bare_hz: u32) -> Self {
        Self { bare_hz, head: Vec::new(), body: None }
    }

    /// Adds bytes; gives samples and their rate, once it is known what they are. The error says what is wrong with them.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Option<(Vec<i16>, u32)>, String> {
        if let Some(body) = &mut self.body {
            return Ok(Some((body.samples(bytes), body.hz)));
        }
        self.head.extend_from_slice(bytes);
        let begin = self.head.len().min(4);
        if b"RIFF"[..begin] != self.head[..begin] {
            return Ok(Some(self.begin(Body::new(self.bare_hz, 1, Coding::Linear), 0)));
        }
        if let Some((body, at)) = header(&self.head)? {
            return Ok(Some(self.begin(body, at)));
        }
        if self.head.len() > LONGEST_HEADER {
            return Err("a WAV file without samples".into());
        }
        Ok(None)
    }

    fn begin(&mut self, mut body: Body, at: usize) -> (Vec<i16>, u32) {
        let head = std::mem::take(&mut self.head);
        let begun = (body.samples(&head[at..]), body.hz);
        self.body = Some(body);
        begun
    }
}

impl Body {
    const fn new(hz: u32, channels: u16, coding: Coding) -> Self {
        Self { hz, stereo: channels == 2, coding, half: None, left: None }
    }

    fn samples(&mut self, bytes: &[u8]) -> Vec<i16> {
        let samples = match self.coding {
            Coding::Linear => linear(bytes, &mut self.half),
            Coding::Law(law) => {
                let mut samples = vec![0; bytes.len()];
                law.decode_into(bytes, &mut samples);
                samples
            }
        };
        if !self.stereo {
            return samples;
        }
        let mut mixed = Vec::with_capacity(samples.len() / 2 + 1);
        for sample in samples {
            match self.left.take() {
                Some(left) => mixed.push(i16::midpoint(left, sample)),
                None => self.left = Some(sample),
            }
        }
        mixed
    }
}

/// What a WAV header says and where its samples begin; [`None`] while it is not whole.
fn header(head: &[u8]) -> Result<Option<(Body, usize)>, String> {
    let word = |at: usize| Some(u16::from_le_bytes(head.get(at..at + 2)?.try_into().ok()?));
    let long = |at: usize| Some(u32::from_le_bytes(head.get(at..at + 4)?.try_into().ok()?));
    if head.len() < 12 {
        return Ok(None);
    }
    if &head[8..12] != b"WAVE" {
        return Err("a RIFF file that is no WAV".into());
    }
    let (mut at, mut body) = (12, None);
    while let (Some(name), Some(size)) = (head.get(at..at + 4), long(at + 4)) {
        let inside = at + 8;
        match name {
            b"data" => {
                return body.map(|body| Some((body, inside))).ok_or("a WAV file without a format".into());
            }
            b"fmt " => {
                let (Some(format), Some(channels), Some(hz), Some(bits)) =
                    (word(inside), word(inside + 2), long(inside + 4), word(inside + 14))
                else {
                    return Ok(None);
                };
                // 0xFFFE: the format stands in an extension, whose first word it is.
                let format = match format {
                    0xFFFE => match word(inside + 24) {
                        Some(format) => format,
                        None => return Ok(None),
                    },
                    format => format,
                };
                let coding = match (format, bits) {
                    (1, 16) => Coding::Linear,
                    (6, 8) => Coding::Law(Law::A),
                    (7, 8) => Coding::Law(Law::Mu),
                    _ => {
                        return Err(format!(
                            "WAV of format {format} with {bits} bits: accepted are 16-bit PCM, µ-law and A-law"
                        ));
                    }
                };
                if !(1..=2).contains(&channels) {
                    return Err(format!("WAV with {channels} channels: accepted are mono and stereo"));
                }
                body = Some(Body::new(hz, channels, coding));
            }
            _ => {}
        }
        let size = usize::try_from(size).unwrap_or(usize::MAX).min(LONGEST_HEADER + 1);
        at = inside + size + size % 2;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wav(format: u16, channels: u16, hz: u32, bits: u16, data: &[u8]) -> Vec<u8> {
        let mut out = b"RIFF\xff\xff\xff\x7fWAVELIST\x03\0\0\0abc\0fmt \x10\0\0\0".to_vec();
        out.extend(format.to_le_bytes());
        out.extend(channels.to_le_bytes());
        out.extend(hz.to_le_bytes());
        out.extend((hz * u32::from(bits / 8)).to_le_bytes());
        out.extend((bits / 8).to_le_bytes());
        out.extend(bits.to_le_bytes());
        out.extend(b"data\x00\xf0\xff\x7f");
        out.extend(data);
        out
    }

    fn all(bytes: &[u8], piece: usize) -> Result<(Vec<i16>, u32), String> {
        let (mut unwrap, mut samples, mut rate) = (Unwrap::new(16_000), Vec::new(), 0);
        for piece in bytes.chunks(piece) {
            if let Some((more, hz)) = unwrap.push(piece)? {
                samples.extend(more);
                rate = hz;
            }
        }
        Ok((samples, rate))
    }

    #[test]
    fn wav_and_bare_samples_are_told_apart_in_pieces_of_any_size() {
        let data: Vec<u8> = [1_i16, -2, 300, -400].iter().flat_map(|sample| sample.to_le_bytes()).collect();
        for piece in [1, 2, 5, 1_000] {
            assert_eq!(all(&wav(1, 1, 22_050, 16, &data), piece).unwrap(), (vec![1, -2, 300, -400], 22_050));
            assert_eq!(all(&wav(1, 2, 44_100, 16, &data), piece).unwrap(), (vec![0, -50], 44_100));
            assert_eq!(all(&data, piece).unwrap(), (vec![1, -2, 300, -400], 16_000));
            assert_eq!(all(&wav(7, 1, 8_000, 8, &[0xff, 0xff]), piece).unwrap(), (vec![0, 0], 8_000));
        }
    }

    #[test]
    fn what_cannot_be_read_is_said_to_be_so() {
        assert!(all(&wav(3, 1, 8_000, 32, &[]), 9).unwrap_err().contains("format 3 with 32 bits"));
        assert!(all(&wav(1, 6, 8_000, 16, &[]), 9).unwrap_err().contains("6 channels"));
        assert!(all(b"RIFF\0\0\0\0AVI nonsense", 9).unwrap_err().contains("no WAV"));
        assert!(all(&[b"RIFF\0\0\0\0WAVE".as_slice(), &[b'x'; 200_000]].concat(), 5_000).is_err());
    }

    proptest::proptest! {
        #[test]
        fn whatever_comes_it_does_not_panic(
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400),
            piece in 1_usize..50,
            header: bool,
        ) {
            let mut all_of_it = if header { b"RIFF\0\0\0\0WAVEfmt ".to_vec() } else { Vec::new() };
            all_of_it.extend(bytes);
            let _ = all(&all_of_it, piece);
        }
    }
}
