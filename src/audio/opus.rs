//! Opus (RFC 6716) at 8 kHz in frames of 20 ms, by libopus.
//!
//! For what is stored and for transports that carry it; Asterisk's externalMedia over RTP does not (only static payload
//! types work both ways).

use audiopus::coder::{Decoder as LibDecoder, Encoder as LibEncoder};
use audiopus::{Application, Bitrate, Channels, SampleRate};

use super::{FRAME_SAMPLES, Frame, Rate};

/// The largest packet that [`Encoder::encode`] makes.
pub const MAX_PACKET: usize = 400;

/// What libopus could not do.
#[derive(Debug, Clone, thiserror::Error)]
#[error("Opus: {what}: {source}")]
pub struct OpusError {
    what: &'static str,
    source: audiopus::Error,
}

/// Encodes one stream.
pub struct Encoder(LibEncoder);

/// Decodes one stream.
pub struct Decoder(LibDecoder);

impl Encoder {
    /// An encoder for speech at `bits_per_second`, 6,000 to 128,000.
    ///
    /// # Errors
    /// When libopus cannot have the memory or refuses the rate.
    pub fn new(bits_per_second: u32) -> Result<Self, OpusError> {
        let fault = |source| OpusError { what: "the encoder cannot be made", source };
        let mut encoder =
            LibEncoder::new(SampleRate::Hz8000, Channels::Mono, Application::Voip).map_err(fault)?;
        let bitrate = Bitrate::BitsPerSecond(i32::try_from(bits_per_second).unwrap_or(i32::MAX));
        encoder.set_bitrate(bitrate).map_err(fault)?;
        Ok(Self(encoder))
    }

    /// Encodes a frame of 8 kHz into `packet`; returns the packet's length.
    ///
    /// # Errors
    /// When `packet` is too small; [`MAX_PACKET`] bytes are enough.
    pub fn encode(&mut self, frame: &Frame, packet: &mut [u8]) -> Result<usize, OpusError> {
        self.0.encode(&frame.samples, packet).map_err(|source| OpusError { what: "cannot encode", source })
    }
}

impl Decoder {
    /// A decoder.
    ///
    /// # Errors
    /// When libopus cannot have the memory.
    pub fn new() -> Result<Self, OpusError> {
        let decoder = LibDecoder::new(SampleRate::Hz8000, Channels::Mono);
        decoder.map(Self).map_err(|source| OpusError { what: "the decoder cannot be made", source })
    }

    /// Decodes a packet of 20 ms; conceals a frame that was lost when there is [`None`].
    ///
    /// # Errors
    /// When the packet is damaged or holds more than 20 ms.
    pub fn decode(&mut self, packet: Option<&[u8]>) -> Result<Frame, OpusError> {
        let fault = |source| OpusError { what: "cannot decode", source };
        let packet = packet.map(audiopus::packet::Packet::try_from).transpose().map_err(fault)?;
        let mut samples = [0; FRAME_SAMPLES];
        let room = audiopus::MutSignals::try_from(&mut samples[..]).map_err(fault)?;
        self.0.decode(packet, room, false).map_err(fault)?;
        Ok(Frame { rate: Rate::Hz8000, samples })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tone::{Tone, peak_dbfs_at};
    use super::*;

    #[test]
    fn a_tone_survives_the_round_trip_and_a_lost_frame() {
        let mut tone = Tone::sine(Rate::Hz8000, 440.0, -6.0);
        let (mut encoder, mut decoder) =
            (Encoder::new(24_000).expect("libopus"), Decoder::new().expect("libopus"));
        let (mut heard, mut bytes) = (Vec::new(), 0);
        for i in 0..50 {
            let mut packet = [0; MAX_PACKET];
            let len = encoder.encode(&tone.frame(), &mut packet).expect("room enough");
            bytes += len;
            let packet = (i != 25).then_some(&packet[..len]);
            heard.extend(decoder.decode(packet).expect("our own packet").samples);
        }
        assert_eq!(heard.len(), 50 * FRAME_SAMPLES);
        let level = peak_dbfs_at(&heard[1_600..], Rate::Hz8000, 440.0);
        assert!((level + 6.0).abs() < 3.0, "{level} dBFS");
        // A tone is easy: the rate is an upper bound.
        assert!((500..3_300).contains(&bytes), "{bytes} bytes a second");
    }

    #[test]
    fn rubbish_is_an_error_and_no_panic() {
        let mut decoder = Decoder::new().expect("libopus");
        assert!(decoder.decode(Some(&[])).is_err());
        assert!(decoder.decode(Some(&[0xff; 3])).is_err());
    }
}
