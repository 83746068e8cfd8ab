//! Opus (RFC 6716) at 16 kHz mono, by libopus: with its concealment, and with its forward error correction, which puts
//! a coarse copy of a packet into the next one.
//!
//! Each direction is a state of some 20 to 40 KiB that libopus allocates once; a frame allocates nothing. Whatever the
//! sample rate here, RTP counts its time at 48 kHz (RFC 7587).

use audiopus::coder::{Decoder as LibDecoder, Encoder as LibEncoder};
use audiopus::packet::Packet;
use audiopus::{Application, Bitrate, Channels, MutSignals, SampleRate};

/// The largest packet that [`Encoder::encode`] makes of 20 ms, at the highest rate.
pub const MAX_PACKET: usize = 400;

/// Samples that a packet can hold at most: 120 ms.
pub const MAX_SAMPLES: usize = 1_920;

/// Lost audio is made up in pieces of this many samples: 2.5 ms.
pub const GRAIN: usize = 40;

/// Of all packets this many are taken to be lost: what the encoder spends on the copies depends on it.
const EXPECTED_LOSS_PERCENT: u8 = 10;

/// How hard the encoder tries, 0 to 10. Above 5 speech gains little, and the cost doubles.
const COMPLEXITY: u8 = 5;

/// What libopus could not do.
#[derive(Debug, Clone, thiserror::Error)]
#[error("Opus: {what}: {source}")]
pub struct OpusError {
    what: &'static str,
    source: audiopus::Error,
}

/// Encodes one stream.
#[derive(Debug)]
pub struct Encoder(LibEncoder);

/// Decodes one stream.
#[derive(Debug)]
pub struct Decoder(LibDecoder);

impl Encoder {
    /// An encoder for speech at `bits_per_second`, 6,000 to 128,000, with forward error correction: below about 20,000
    /// libopus leaves that out, since there would be nothing left for the speech.
    ///
    /// # Errors
    /// When libopus cannot have the memory or refuses the rate.
    pub fn new(bits_per_second: u32) -> Result<Self, OpusError> {
        let fault = |source| OpusError { what: "the encoder cannot be made", source };
        let mut encoder =
            LibEncoder::new(SampleRate::Hz16000, Channels::Mono, Application::Voip).map_err(fault)?;
        let bitrate = Bitrate::BitsPerSecond(i32::try_from(bits_per_second).unwrap_or(i32::MAX));
        encoder.set_bitrate(bitrate).map_err(fault)?;
        encoder.set_complexity(COMPLEXITY).map_err(fault)?;
        encoder.enable_inband_fec().map_err(fault)?;
        encoder.set_packet_loss_perc(EXPECTED_LOSS_PERCENT).map_err(fault)?;
        Ok(Self(encoder))
    }

    /// Encodes 2.5, 5, 10, 20, 40 or 60 ms of 16 kHz into `packet`; returns the packet's length.
    ///
    /// # Errors
    /// When `samples` has another length, or `packet` is too small; [`MAX_PACKET`] bytes are enough for 20 ms.
    pub fn encode(&mut self, samples: &[i16], packet: &mut [u8]) -> Result<usize, OpusError> {
        self.0.encode(samples, packet).map_err(|source| OpusError { what: "cannot encode", source })
    }
}

impl Decoder {
    /// A decoder.
    ///
    /// # Errors
    /// When libopus cannot have the memory.
    pub fn new() -> Result<Self, OpusError> {
        let decoder = LibDecoder::new(SampleRate::Hz16000, Channels::Mono);
        decoder.map(Self).map_err(|source| OpusError { what: "the decoder cannot be made", source })
    }

    /// Decodes a packet; returns the number of samples. [`MAX_SAMPLES`] are room enough for any.
    ///
    /// # Errors
    /// When the packet is damaged, or holds more than there is room for.
    pub fn decode(&mut self, packet: &[u8], samples: &mut [i16]) -> Result<usize, OpusError> {
        self.run(Some(packet), samples, false, "cannot decode")
    }

    /// Fills `samples`, which are as many as were lost just before `next`, from the copy that `next` may carry (of its
    /// last frame), and by concealment where it carries none. To be called before `next` is decoded.
    ///
    /// # Errors
    /// When the packet is damaged, or the length is no multiple of [`GRAIN`].
    pub fn recover(&mut self, next: &[u8], samples: &mut [i16]) -> Result<usize, OpusError> {
        self.run(Some(next), samples, true, "cannot recover")
    }

    /// Fills `samples` with what the lost audio may have been.
    ///
    /// # Errors
    /// When the length is no multiple of [`GRAIN`].
    pub fn conceal(&mut self, samples: &mut [i16]) -> Result<usize, OpusError> {
        self.run(None, samples, false, "cannot conceal")
    }

    fn run(
        &mut self,
        packet: Option<&[u8]>,
        samples: &mut [i16],
        copy: bool,
        what: &'static str,
    ) -> Result<usize, OpusError> {
        let fault = |source| OpusError { what, source };
        let packet = packet.map(Packet::try_from).transpose().map_err(fault)?;
        let room = MutSignals::try_from(samples).map_err(fault)?;
        self.0.decode(packet, room, copy).map_err(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Rate;
    use super::super::tone::{Tone, peak_dbfs_at};
    use super::*;

    const FRAME: usize = 320;

    /// What a stream of this many frames is heard as when `lost` did not come, each recovered with the next packet or
    /// concealed.
    fn heard(sent: &[i16], bits_per_second: u32, lost: &[usize], copies: bool) -> (Vec<i16>, usize) {
        let mut encoder = Encoder::new(bits_per_second).expect("libopus");
        let mut decoder = Decoder::new().expect("libopus");
        let (mut heard, mut bytes, mut missing) = (Vec::new(), 0, 0);
        for (i, frame) in sent.chunks_exact(FRAME).enumerate() {
            let mut packet = [0; MAX_PACKET];
            let len = encoder.encode(frame, &mut packet).expect("room enough");
            bytes += len;
            if lost.contains(&i) {
                missing += FRAME;
                continue;
            }
            let mut samples = [0; MAX_SAMPLES];
            let hole = &mut samples[..std::mem::take(&mut missing)];
            if !hole.is_empty() {
                let made_up =
                    if copies { decoder.recover(&packet[..len], hole) } else { decoder.conceal(hole) };
                assert_eq!(made_up.expect("whole frames"), hole.len());
                heard.extend_from_slice(hole);
            }
            let count = decoder.decode(&packet[..len], &mut samples).expect("our own packet");
            heard.extend_from_slice(&samples[..count]);
        }
        (heard, bytes)
    }

    /// Bursts of a voice-like buzz whose pitch and vowel move, two a second.
    fn voice(frames: usize) -> Vec<i16> {
        let (mut phase, mut samples) = (0.0_f64, Vec::new());
        for i in 0..frames * FRAME {
            let at = i as f64 / 16_000.0;
            phase += (130.0 + 30.0 * (5.0 * at).sin()) / 16_000.0;
            let vowel = 500.0 + 300.0 * (8.0 * at).sin();
            let since = phase.fract() / 130.0;
            let pulse = (-600.0 * since).exp() * (std::f64::consts::TAU * vowel * since).sin();
            let loudness = (std::f64::consts::TAU * 2.0 * at).sin().max(0.0).sqrt();
            samples.push((12_000.0 * loudness * pulse) as i16);
        }
        samples
    }

    /// In decibels, of the best alignment: libopus delays by some milliseconds.
    fn signal_to_noise(sent: &[i16], heard: &[i16]) -> f64 {
        let energy = |samples: &mut dyn Iterator<Item = f64>| samples.map(|x| x * x).sum::<f64>();
        let ratio = |delay: usize| {
            let pairs = sent.iter().zip(&heard[delay..]);
            let signal = energy(&mut sent.iter().map(|x| f64::from(*x)));
            10.0 * (signal / energy(&mut pairs.map(|(x, y)| f64::from(*x) - f64::from(*y)))).log10()
        };
        (0..300).map(ratio).fold(f64::MIN, f64::max)
    }

    #[test]
    fn a_tone_survives_the_round_trip_and_a_lost_frame() {
        let mut sent = vec![0; 50 * FRAME];
        Tone::sine(Rate::Hz16000, 440.0, -6.0).fill(&mut sent);
        let (heard, bytes) = heard(&sent, 24_000, &[25], false);
        assert_eq!(heard.len(), 50 * FRAME);
        let level = peak_dbfs_at(&heard[3_200..], Rate::Hz16000, 440.0);
        assert!((level + 6.0).abs() < 3.0, "{level} dBFS");
        // The rate, with what the copies take on top.
        assert!((500..4_000).contains(&bytes), "{bytes} bytes a second");
    }

    #[test]
    fn speech_at_more_bits_has_less_noise() {
        // Against the best that there is, since libopus takes off what is below 80 Hz, and that is no noise.
        let sent = voice(100);
        let best = heard(&sent, 128_000, &[], false).0;
        let [low, high] =
            [16_000, 64_000].map(|rate| signal_to_noise(&best, &heard(&sent, rate, &[], false).0));
        assert!(low > 10.0 && high > low + 1.0, "{low} dB, {high} dB");
    }

    #[test]
    fn a_copy_in_the_next_packet_is_nearer_to_what_was_lost_than_concealment() {
        let sent = voice(200);
        let lost: Vec<usize> = (3..199).step_by(7).collect();
        let against = heard(&sent, 32_000, &[], false).0;
        let [concealed, recovered] =
            [false, true].map(|copies| signal_to_noise(&against, &heard(&sent, 32_000, &lost, copies).0));
        println!("concealed {concealed:.1} dB, recovered {recovered:.1} dB");
        assert!(recovered > concealed + 3.0, "concealed {concealed} dB, recovered {recovered} dB");
    }

    #[test]
    fn rubbish_is_an_error_and_no_panic() {
        let mut decoder = Decoder::new().expect("libopus");
        let mut samples = [0; MAX_SAMPLES];
        assert!(decoder.decode(&[], &mut samples).is_err());
        assert!(decoder.decode(&[0xff; 3], &mut samples).is_err());
        assert!(decoder.recover(&[], &mut samples[..FRAME]).is_err());
        assert!(decoder.conceal(&mut samples[..GRAIN + 1]).is_err());
    }
}
