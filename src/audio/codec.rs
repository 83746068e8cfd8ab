//! The formats that a call's audio can have on the way to Asterisk and back, each as a decoder and an encoder behind one
//! face.
//!
//! A [`Format`] has Asterisk's own name and tells what a transport has to know of it: sample rate, payload type, RTP
//! clock, bytes of 20 ms. A [`Decoder`] or [`Encoder`] is made for each direction when a call is set up; what state it
//! has is allocated then, and a frame allocates nothing. Made for media threads; each belongs to one thread at a time.
//!
//! What stands here about Asterisk was seen on 22.10 and 16.28, with externalMedia.

use std::fmt;
use std::str::FromStr;

use super::g711::Law;
use super::{Rate, g722};

/// How samples are coded on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Format {
    /// G.711 µ-law, 8 kHz.
    #[default]
    Ulaw,
    /// G.711 A-law, 8 kHz.
    Alaw,
    /// 16 bits per sample, 8 kHz.
    Slin,
    /// 16 bits per sample, 16 kHz.
    Slin16,
    /// G.722 at 64 kbit/s, 16 kHz.
    G722,
    /// Opus, which we run at 16 kHz mono. Needs the feature `opus`.
    Opus,
}

/// Which byte of a 16-bit sample comes first.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ByteOrder {
    /// The high byte: RTP.
    Big,
    /// The low byte: AudioSocket and WebSocket media.
    Little,
}

/// A name that is none of Asterisk's for a format that we know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no audio format: accepted are ulaw, alaw, slin, slin16, g722 and opus")]
pub struct UnknownFormat(pub String);

/// What a codec could not do with what it was given.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CodecError {
    /// The output is too short; nothing was written.
    #[error("{format}: room for {room} where {needed} are needed")]
    NoRoom {
        /// Which format.
        format: Format,
        /// Samples, or bytes.
        needed: usize,
        /// Of the same.
        room: usize,
    },
    /// The input ends in the middle of a sample or, for G.722, has an odd number of samples.
    #[error("{format}: {length} bytes or samples end in the middle of a code")]
    Torn {
        /// Which format.
        format: Format,
        /// Of the input.
        length: usize,
    },
    /// libopus refused.
    #[cfg(feature = "opus")]
    #[error(transparent)]
    Opus(#[from] super::opus::OpusError),
    /// The program was built without this format.
    #[error("{0} was left out of this program: build it with `--features {0}`, or choose another format")]
    LeftOut(Format),
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Ulaw, Self::Alaw, Self::Slin, Self::Slin16, Self::G722, Self::Opus];

    /// Asterisk's name, as in `format=` of an externalMedia request.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ulaw => "ulaw",
            Self::Alaw => "alaw",
            Self::Slin => "slin",
            Self::Slin16 => "slin16",
            Self::G722 => "g722",
            Self::Opus => "opus",
        }
    }

    /// The rate of the samples that are decoded and encoded.
    #[must_use]
    pub const fn rate(self) -> Rate {
        match self {
            Self::Ulaw | Self::Alaw | Self::Slin => Rate::Hz8000,
            Self::Slin16 | Self::G722 | Self::Opus => Rate::Hz16000,
        }
    }

    /// The payload type that Asterisk sends over RTP: RFC 3551's for µ-law (0), A-law (8) and G.722 (9); 10 for
    /// `slin`, 118 for `slin16` and 107 for `opus`, which are Asterisk's own choice. Asterisk 16 sends µ-law (0)
    /// where it was asked for `slin`: trust the packet.
    #[must_use]
    pub const fn payload_type(self) -> u8 {
        match self {
            Self::Ulaw => 0,
            Self::Alaw => 8,
            Self::Slin => 10,
            Self::Slin16 => 118,
            Self::G722 => 9,
            Self::Opus => 107,
        }
    }

    /// Whether Asterisk's externalMedia over RTP also takes what it sends: it throws away the payload types from 96
    /// on, since nothing tells it what they are. Over WebSocket every format goes both ways.
    #[must_use]
    pub const fn both_ways_over_rtp(self) -> bool {
        self.payload_type() < 96
    }

    /// Whether Asterisk takes over AudioSocket what it sends: it sends the other formats as messages of kind 0x10, too,
    /// and takes what comes as such for linear samples of 8 kHz, so that they are heard as noise. Opus is not sent.
    #[must_use]
    pub const fn both_ways_over_audiosocket(self) -> bool {
        matches!(self, Self::Slin | Self::Slin16)
    }

    /// Ticks per second of the RTP timestamp. G.722 counts 8,000 for its 16,000 samples (RFC 3551, 4.5.2), Opus always
    /// 48,000 (RFC 7587).
    #[must_use]
    pub const fn rtp_clock(self) -> u32 {
        match self {
            Self::Ulaw | Self::Alaw | Self::Slin | Self::G722 => 8_000,
            Self::Slin16 => 16_000,
            Self::Opus => 48_000,
        }
    }

    /// Bytes of 20 ms; [`None`] where they vary.
    #[must_use]
    pub const fn frame_bytes(self) -> Option<usize> {
        match self {
            Self::Ulaw | Self::Alaw | Self::G722 => Some(160),
            Self::Slin => Some(320),
            Self::Slin16 => Some(640),
            Self::Opus => None,
        }
    }

    /// Samples of 20 ms.
    #[must_use]
    pub const fn frame_samples(self) -> usize {
        match self.rate() {
            Rate::Hz8000 => 160,
            Rate::Hz16000 => 320,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        Self::ALL
            .into_iter()
            .find(|format| format.name() == name)
            .ok_or_else(|| UnknownFormat(name.to_owned()))
    }
}

/// Payloads of one stream to samples.
#[derive(Debug)]
pub struct Decoder(Decoding);

#[derive(Debug)]
enum Decoding {
    Law(Law),
    Linear(Format, ByteOrder),
    G722(Box<g722::Decoder>),
    #[cfg(feature = "opus")]
    Opus(super::opus::Decoder),
}

/// Samples of one stream to payloads.
#[derive(Debug)]
pub struct Encoder(Encoding);

#[derive(Debug)]
enum Encoding {
    Law(Law),
    Linear(Format, ByteOrder),
    G722(Box<g722::Encoder>),
    #[cfg(feature = "opus")]
    Opus(super::opus::Encoder),
}

/// What Opus is given per second: wideband speech, and enough for the copies of lost packets.
#[cfg(feature = "opus")]
const OPUS_BITS_PER_SECOND: u32 = 24_000;

impl Decoder {
    /// A decoder for a stream that begins. `order` matters to the linear formats alone.
    ///
    /// # Errors
    /// [`CodecError::LeftOut`], and [`CodecError::Opus`] when libopus cannot have its memory.
    pub fn new(format: Format, order: ByteOrder) -> Result<Self, CodecError> {
        Ok(Self(match format {
            Format::Ulaw => Decoding::Law(Law::Mu),
            Format::Alaw => Decoding::Law(Law::A),
            Format::Slin | Format::Slin16 => Decoding::Linear(format, order),
            Format::G722 => Decoding::G722(Box::default()),
            #[cfg(feature = "opus")]
            Format::Opus => Decoding::Opus(super::opus::Decoder::new()?),
            #[cfg(not(feature = "opus"))]
            Format::Opus => return Err(CodecError::LeftOut(format)),
        }))
    }

    /// What it decodes.
    #[must_use]
    pub const fn format(&self) -> Format {
        match &self.0 {
            Decoding::Law(Law::Mu) => Format::Ulaw,
            Decoding::Law(Law::A) => Format::Alaw,
            Decoding::Linear(format, _) => *format,
            Decoding::G722(_) => Format::G722,
            #[cfg(feature = "opus")]
            Decoding::Opus(_) => Format::Opus,
        }
    }

    /// Decodes a payload of any length into `out`; returns the number of samples, at [`Format::rate`].
    ///
    /// # Errors
    /// Nothing is written, and the stream can go on, when `out` is too short ([`CodecError::NoRoom`]; 1,920 samples
    /// hold 120 ms, the longest packet of Opus), when a payload of 16-bit samples ends with half of one
    /// ([`CodecError::Torn`]), or when a packet of Opus is damaged.
    pub fn decode(&mut self, payload: &[u8], out: &mut [i16]) -> Result<usize, CodecError> {
        let (format, length) = (self.format(), payload.len());
        match &mut self.0 {
            Decoding::Law(law) => {
                check_room(format, length, out.len())?;
                Ok(law.decode_into(payload, out))
            }
            Decoding::Linear(_, order) => {
                check_whole(format, length)?;
                check_room(format, length / 2, out.len())?;
                for (pair, sample) in payload.chunks_exact(2).zip(out) {
                    *sample = order.sample([pair[0], pair[1]]);
                }
                Ok(length / 2)
            }
            Decoding::G722(decoder) => {
                check_room(format, length * 2, out.len())?;
                Ok(decoder.decode(payload, out))
            }
            #[cfg(feature = "opus")]
            Decoding::Opus(decoder) => Ok(decoder.decode(payload, out)?),
        }
    }

    /// Whether [`Decoder::lost`] does something: only Opus knows how to make up what was lost. For the others there is
    /// `audio::conceal`.
    #[must_use]
    pub const fn conceals(&self) -> bool {
        matches!(self.format(), Format::Opus)
    }

    /// Makes up the audio that was lost before `next`, a packet that has come and is decoded after this call, or
    /// before one that has not come. Fills `out`, whose length says how much was lost, in whole multiples of 2.5 ms;
    /// returns the number of samples: 0 when the format has no concealment of its own.
    ///
    /// # Errors
    /// [`CodecError::Opus`] when the length is not such a multiple, or `next` is damaged.
    pub fn lost(&mut self, next: Option<&[u8]>, out: &mut [i16]) -> Result<usize, CodecError> {
        match &mut self.0 {
            #[cfg(feature = "opus")]
            Decoding::Opus(decoder) => match next {
                Some(packet) => Ok(decoder.recover(packet, out)?),
                None => Ok(decoder.conceal(out)?),
            },
            _ => {
                let _ = (next, out);
                Ok(0)
            }
        }
    }
}

impl Encoder {
    /// An encoder for a stream that begins. `order` matters to the linear formats alone.
    ///
    /// # Errors
    /// [`CodecError::LeftOut`], and [`CodecError::Opus`] when libopus cannot have its memory.
    pub fn new(format: Format, order: ByteOrder) -> Result<Self, CodecError> {
        Ok(Self(match format {
            Format::Ulaw => Encoding::Law(Law::Mu),
            Format::Alaw => Encoding::Law(Law::A),
            Format::Slin | Format::Slin16 => Encoding::Linear(format, order),
            Format::G722 => Encoding::G722(Box::default()),
            #[cfg(feature = "opus")]
            Format::Opus => Encoding::Opus(super::opus::Encoder::new(OPUS_BITS_PER_SECOND)?),
            #[cfg(not(feature = "opus"))]
            Format::Opus => return Err(CodecError::LeftOut(format)),
        }))
    }

    /// What it encodes to.
    #[must_use]
    pub const fn format(&self) -> Format {
        match &self.0 {
            Encoding::Law(Law::Mu) => Format::Ulaw,
            Encoding::Law(Law::A) => Format::Alaw,
            Encoding::Linear(format, _) => *format,
            Encoding::G722(_) => Format::G722,
            #[cfg(feature = "opus")]
            Encoding::Opus(_) => Format::Opus,
        }
    }

    /// Encodes `samples`, at [`Format::rate`], into `out`; returns the number of bytes. Any number of samples, but an
    /// even one for G.722, and 2.5, 5, 10, 20, 40 or 60 ms for Opus.
    ///
    /// # Errors
    /// Nothing is written when `out` is too short ([`CodecError::NoRoom`]; for Opus 400 bytes hold 20 ms), or the
    /// number of samples is not such a one.
    pub fn encode(&mut self, samples: &[i16], out: &mut [u8]) -> Result<usize, CodecError> {
        let (format, length) = (self.format(), samples.len());
        match &mut self.0 {
            Encoding::Law(law) => {
                check_room(format, length, out.len())?;
                Ok(law.encode_into(samples, out))
            }
            Encoding::Linear(_, order) => {
                check_room(format, length * 2, out.len())?;
                for (sample, pair) in samples.iter().zip(out.chunks_exact_mut(2)) {
                    pair.copy_from_slice(&order.bytes(*sample));
                }
                Ok(length * 2)
            }
            Encoding::G722(encoder) => {
                check_whole(format, length)?;
                check_room(format, length / 2, out.len())?;
                Ok(encoder.encode(samples, out))
            }
            #[cfg(feature = "opus")]
            Encoding::Opus(encoder) => Ok(encoder.encode(samples, out)?),
        }
    }
}

impl ByteOrder {
    const fn sample(self, bytes: [u8; 2]) -> i16 {
        match self {
            Self::Big => i16::from_be_bytes(bytes),
            Self::Little => i16::from_le_bytes(bytes),
        }
    }

    const fn bytes(self, sample: i16) -> [u8; 2] {
        match self {
            Self::Big => sample.to_be_bytes(),
            Self::Little => sample.to_le_bytes(),
        }
    }
}

fn check_room(format: Format, needed: usize, room: usize) -> Result<(), CodecError> {
    if needed > room { Err(CodecError::NoRoom { format, needed, room }) } else { Ok(()) }
}

fn check_whole(format: Format, length: usize) -> Result<(), CodecError> {
    if length.is_multiple_of(2) { Ok(()) } else { Err(CodecError::Torn { format, length }) }
}

#[cfg(test)]
mod tests {
    use super::super::tone::{Tone, peak_dbfs_at};
    use super::*;

    const ORDERS: [ByteOrder; 2] = [ByteOrder::Big, ByteOrder::Little];

    fn pair(format: Format, order: ByteOrder) -> (Encoder, Decoder) {
        (
            Encoder::new(format, order).expect("it is built in"),
            Decoder::new(format, order).expect("it is built in"),
        )
    }

    fn available() -> impl Iterator<Item = Format> {
        Format::ALL.into_iter().filter(|format| cfg!(feature = "opus") || *format != Format::Opus)
    }

    #[test]
    fn a_format_is_found_by_asterisks_name_and_no_other() {
        for format in Format::ALL {
            assert_eq!(format.name().parse(), Ok(format));
            assert_eq!(format.to_string(), format.name());
        }
        let unknown = "PCMU".parse::<Format>().expect_err("RTP's name, not Asterisk's");
        assert!(
            unknown.to_string().contains("`PCMU`") && unknown.to_string().contains("slin16"),
            "{unknown}"
        );
    }

    #[test]
    fn a_tone_comes_through_every_format_in_frames_of_20_ms() {
        for format in available() {
            for order in ORDERS {
                let (mut encoder, mut decoder) = pair(format, order);
                assert_eq!((encoder.format(), decoder.format()), (format, format));
                let mut tone = Tone::sine(format.rate(), 440.0, -6.0);
                let mut heard = Vec::new();
                for _ in 0..50 {
                    let (mut samples, mut payload) = ([0; 320], [0; 640]);
                    let samples = &mut samples[..format.frame_samples()];
                    tone.fill(samples);
                    let bytes = encoder.encode(samples, &mut payload).expect("room enough");
                    assert_eq!(bytes, format.frame_bytes().unwrap_or(bytes), "{format}");
                    let mut out = [0; 1_920];
                    let count = decoder.decode(&payload[..bytes], &mut out).expect("our own payload");
                    assert_eq!(count, format.frame_samples(), "{format}");
                    heard.extend_from_slice(&out[..count]);
                }
                let level = peak_dbfs_at(&heard[heard.len() / 5..], format.rate(), 440.0);
                assert!((level + 6.0).abs() < 1.0, "{format}: {level} dBFS");
            }
        }
    }

    #[test]
    fn linear_samples_have_the_byte_order_that_was_asked_for() {
        for (order, bytes) in [(ByteOrder::Big, [0x12, 0x34]), (ByteOrder::Little, [0x34, 0x12])] {
            for format in [Format::Slin, Format::Slin16] {
                let (mut encoder, mut decoder) = pair(format, order);
                let (mut payload, mut samples) = ([0; 2], [0; 1]);
                assert_eq!(encoder.encode(&[0x1234], &mut payload).expect("room enough"), 2);
                assert_eq!(payload, bytes);
                assert_eq!(decoder.decode(&payload, &mut samples).expect("room enough"), 1);
                assert_eq!(samples, [0x1234]);
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_and_leaves_the_stream_as_it_was() {
        for format in available().filter(|format| *format != Format::Opus) {
            let (mut encoder, mut decoder) = pair(format, ByteOrder::Big);
            let bytes = format.frame_bytes().expect("it is not Opus");
            let (mut samples, mut payload) = (vec![7; format.frame_samples() - 1], vec![7; bytes - 1]);
            let refused = decoder.decode(&vec![0; bytes], &mut samples).expect_err("a sample too few");
            assert!(matches!(refused, CodecError::NoRoom { .. }), "{refused}");
            let refused =
                encoder.encode(&vec![0; format.frame_samples()], &mut payload).expect_err("a byte too few");
            assert!(matches!(refused, CodecError::NoRoom { .. }), "{refused}");
            assert!(samples.iter().all(|sample| *sample == 7) && payload.iter().all(|byte| *byte == 7));
        }
    }

    #[test]
    fn half_a_sample_and_half_a_pair_are_refused() {
        let (_, mut linear) = pair(Format::Slin, ByteOrder::Big);
        assert!(matches!(linear.decode(&[1, 2, 3], &mut [0; 9]), Err(CodecError::Torn { length: 3, .. })));
        let (mut wideband, _) = pair(Format::G722, ByteOrder::Big);
        assert!(matches!(wideband.encode(&[1, 2, 3], &mut [0; 9]), Err(CodecError::Torn { length: 3, .. })));
    }

    #[test]
    fn an_empty_payload_is_no_samples_and_no_panic() {
        for format in available() {
            let (_, mut decoder) = pair(format, ByteOrder::Big);
            let count = decoder.decode(&[], &mut [0; 1_920]).unwrap_or(0);
            assert_eq!(count, 0, "{format}");
        }
    }

    #[test]
    fn only_opus_makes_up_what_was_lost() {
        for format in available() {
            let (_, mut decoder) = pair(format, ByteOrder::Big);
            let count = decoder.lost(None, &mut [0; 320]).expect("20 ms");
            assert_eq!(count, if decoder.conceals() { 320 } else { 0 }, "{format}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_payload_panics(payload in proptest::collection::vec(proptest::num::u8::ANY, 0..1_500)) {
            for format in available() {
                let (_, mut decoder) = pair(format, ByteOrder::Little);
                let mut out = [0; 3_000];
                let _ = decoder.decode(&payload, &mut out);
                let _ = decoder.lost(Some(&payload), &mut out[..320]);
                let _ = decoder.decode(&payload, &mut out[..100]);
            }
        }
    }
}
