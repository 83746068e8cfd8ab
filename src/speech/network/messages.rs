//! What most services' messages have in common.

use bytes::Bytes;
use serde::Deserialize;

use super::link::Wire;
use crate::service::ServiceError;

/// Samples as most services want them.
pub(in crate::speech) fn little_endian(samples: &[i16]) -> Bytes {
    samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
}

/// A message that should be JSON.
pub(in crate::speech) fn read_json<'a, T: Deserialize<'a>>(
    service: &'static str,
    wire: &'a Wire,
) -> Result<T, ServiceError> {
    let bytes: &[u8] = match wire {
        Wire::Text(text) => text.as_bytes(),
        Wire::Bytes(bytes) => bytes,
    };
    // What came is not repeated: it may be what a caller said.
    serde_json::from_slice(bytes).map_err(|_| nonsense(service, "a message that is not of the protocol"))
}

/// What came makes no sense.
pub(in crate::speech) fn nonsense(service: &'static str, what: &str) -> ServiceError {
    ServiceError::Protocol { service, what: what.to_owned() }
}

/// How sure a service is that says the logarithm of it, piece by piece.
pub(in crate::speech) fn mean_probability(logarithms: impl Iterator<Item = f32>) -> Option<f32> {
    let (sum, count) = logarithms.fold((0.0, 0.0), |(sum, count), one| (sum + one, count + 1.0_f32));
    (count > 0.0).then(|| (sum / count).exp().clamp(0.0, 1.0)).filter(|sure| sure.is_finite())
}

/// The mean of what is told.
pub(in crate::speech) fn mean(told: impl Iterator<Item = f32>) -> Option<f32> {
    let (sum, count) = told.fold((0.0, 0.0), |(sum, count), one| (sum + one, count + 1.0_f32));
    (count > 0.0).then_some(sum / count)
}
