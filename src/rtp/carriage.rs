//! What a payload type carries, as far as the order of packets depends on it: the clock of its timestamps and how long a
//! payload lasts.

use std::time::Duration;

use super::PayloadType;

/// One kind of audio payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Carriage {
    /// The payload type that it comes with.
    pub payload_type: PayloadType,
    /// Units of the timestamp per second.
    pub clock_hz: u32,
    /// How a payload's length is known.
    pub length: Length,
    /// The largest payload taken, in bytes.
    pub largest: u16,
    /// Bytes of a second, as far as it can be said beforehand: what room is kept for packets that are held back.
    pub bytes_per_second: u32,
}

/// How long a payload lasts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Length {
    /// So many bytes to each unit of the timestamp: 1 for G.711 and G.722, 2 for linear samples.
    Bytes(u8),
    /// As the payload's first bytes say (RFC 6716, section 3.1).
    Opus,
}

impl Carriage {
    /// The longest packet taken, where the bytes say how long it is.
    pub const LONGEST: Duration = Duration::from_millis(60);

    /// G.711, µ-law.
    pub const PCMU: Self = Self::bytes(0, 8_000, 1);
    /// G.711, A-law.
    pub const PCMA: Self = Self::bytes(8, 8_000, 1);
    /// G.722: 16,000 samples a second, but a clock of 8,000 (RFC 3551, section 4.5.2).
    pub const G722: Self = Self::bytes(9, 8_000, 1);
    /// 16 bits at 8 kHz, with the payload type that Asterisk 22 gives it.
    pub const SLIN: Self = Self::bytes(10, 8_000, 2);
    /// 16 bits at 16 kHz, with the payload type that Asterisk 22 gives it.
    pub const SLIN16: Self = Self::bytes(118, 16_000, 2);
    /// Opus (RFC 7587), with the payload type that Asterisk 22 gives it. Payloads for voice, up to 160 kbit/s in
    /// packets of 60 ms.
    pub const OPUS: Self = Self {
        payload_type: PayloadType(107),
        clock_hz: 48_000,
        length: Length::Opus,
        largest: 1_275,
        bytes_per_second: 8_000,
    };

    /// A kind whose payloads have a length by their bytes.
    const fn bytes(payload_type: u8, clock_hz: u32, per_unit: u8) -> Self {
        let bytes_per_second = clock_hz * per_unit as u32;
        let largest = bytes_per_second * Self::LONGEST.as_millis() as u32 / 1_000;
        Self {
            payload_type: PayloadType(payload_type),
            clock_hz,
            length: Length::Bytes(per_unit),
            largest: largest as u16,
            bytes_per_second,
        }
    }

    /// The same with another payload type, for far ends that choose their own.
    #[must_use]
    pub const fn with_payload_type(self, payload_type: PayloadType) -> Self {
        Self { payload_type, ..self }
    }

    /// How many units of the timestamp `payload` lasts; 0 for one that says nothing sensible.
    #[must_use]
    pub fn units(&self, payload: &[u8]) -> u32 {
        match self.length {
            Length::Bytes(per_unit) => {
                u32::try_from(payload.len()).unwrap_or(u32::MAX) / u32::from(per_unit).max(1)
            }
            Length::Opus => opus_units(payload),
        }
    }

    /// How long `units` of the timestamp last.
    #[must_use]
    pub fn duration(&self, units: u64) -> Duration {
        Duration::from_nanos(units.saturating_mul(1_000_000_000) / u64::from(self.clock_hz.max(1)))
    }
}

/// The length of an Opus packet at 48 kHz: RFC 6716, table 2 and section 3.2.
fn opus_units(payload: &[u8]) -> u32 {
    let Some(&toc) = payload.first() else { return 0 };
    let config = toc >> 3;
    let frame = match config {
        // SILK: 10, 20, 40, 60 ms.
        0..=11 => [480, 960, 1_920, 2_880][usize::from(config & 3)],
        // Hybrid: 10, 20 ms.
        12..=15 => [480, 960][usize::from(config & 1)],
        // CELT: 2.5, 5, 10, 20 ms.
        _ => [120, 240, 480, 960][usize::from(config & 3)],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => payload.get(1).map_or(0, |count| u32::from(count & 0x3f)),
    };
    let units = frame * frames;
    // No packet lasts longer than 120 ms (RFC 6716, requirement R5).
    if units <= 5_760 { units } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_milliseconds_of_each() {
        for (carriage, bytes, units) in [
            (Carriage::PCMU, 160, 160),
            (Carriage::PCMA, 160, 160),
            (Carriage::G722, 160, 160),
            (Carriage::SLIN, 320, 160),
            (Carriage::SLIN16, 640, 320),
        ] {
            assert_eq!(carriage.units(&vec![0; bytes]), units);
            assert_eq!(carriage.duration(units.into()), Duration::from_millis(20));
            assert_eq!(usize::from(carriage.largest), bytes * 3);
        }
    }

    #[test]
    fn an_opus_packet_says_how_long_it_is() {
        // Configuration, code, and the count of code 3.
        let packet = |config: u8, code: u8, count: u8| [config << 3 | code, count];
        for (packet, ms) in [
            (packet(1, 0, 0), 20.0),
            (packet(3, 0, 0), 60.0),
            (packet(9, 1, 0), 40.0),
            (packet(15, 2, 0), 40.0),
            (packet(16, 0, 0), 2.5),
            (packet(31, 3, 0x80 | 3), 60.0),
        ] {
            let took = Carriage::OPUS.duration(Carriage::OPUS.units(&packet).into());
            assert_eq!(took.as_secs_f64() * 1e3, ms, "{packet:?}");
        }
        for nonsense in [&[][..], &[3], &packet(3, 3, 63)] {
            assert_eq!(Carriage::OPUS.units(nonsense), 0, "{nonsense:?}");
        }
    }
}
