//! Captures as tracks.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::track::Track;
use crate::audio::codec::Format;
use crate::pcap::truth::{Truth, TruthError};
use crate::pcap::{self, Capture, CaptureError, StreamSummary};
use crate::rtp::PayloadType;
use crate::rtp::packet::Packet;

/// Between the last packet of a capture and its next beginning, at least.
const PAUSE: Duration = Duration::from_millis(20);

/// Why a capture cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum FixtureError {
    /// It cannot be read.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// Its sidecar cannot.
    #[error(transparent)]
    Truth(#[from] TruthError),
    /// There is no RTP in it.
    #[error("{} holds no RTP stream: give a capture of a call's audio", .0.display())]
    NoStream(PathBuf),
    /// There is, but nobody knows what it carries.
    #[error(
        "{}: its stream has payload type {payload_type}, which does not say what it is: name the format, as --format opus",
        .path.display()
    )]
    Format {
        /// Which file.
        path: PathBuf,
        /// The number.
        payload_type: u8,
    },
}

/// Reads the RTP stream of a capture that has the most packets, and the sidecar where there is one. `format` is for a
/// capture that does not tell its own.
///
/// # Errors
/// When it cannot be read, or holds no RTP.
pub fn load(path: &Path, format: Option<Format>) -> Result<Track, FixtureError> {
    let streams = pcap::streams(path)?;
    let Some(stream) = streams.iter().max_by_key(|stream| stream.packets) else {
        return Err(FixtureError::NoStream(path.to_owned()));
    };
    let truth = if path.with_extension("json").exists() { Some(Truth::of(path)?) } else { None };
    let told = truth.as_ref().and_then(|truth| truth.format.parse().ok());
    let format = known_format(path, stream, told.or(format))?;
    let packets = read(path, stream)?;
    let ptime = stream.ptime.unwrap_or(crate::audio::PTIME).max(Duration::from_millis(1));
    let speech = truth.iter().flat_map(|truth| &truth.speech);
    let speech = speech
        .map(|speech| (packet_at(speech.begin_ms, ptime), packet_at(speech.end_ms.saturating_sub(1), ptime)));
    let speech = speech.collect();
    let name = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    let events = truth.as_ref().and_then(|truth| PayloadType::new(truth.events_type?));
    Ok(Track::new(&name, format, events.unwrap_or(PayloadType::EVENTS), packets, speech, ptime.max(PAUSE)))
}

/// `format`, or what the stream's payload type says.
///
/// # Errors
/// When there is neither.
pub fn known_format(
    path: &Path,
    stream: &StreamSummary,
    format: Option<Format>,
) -> Result<Format, FixtureError> {
    format.or_else(|| format_of(stream)).ok_or_else(|| {
        let payload_type = stream.payload_type().map_or(0, PayloadType::number);
        FixtureError::Format { path: path.to_owned(), payload_type }
    })
}

fn format_of(stream: &StreamSummary) -> Option<Format> {
    let number = stream.payload_type()?.number();
    let all = [Format::Ulaw, Format::Alaw, Format::G722, Format::Slin, Format::Slin16, Format::Opus];
    all.into_iter().find(|format| format.payload_type() == number)
}

/// All RTP between the stream's two ends, whatever its source, so that a change of it is played too; each datagram with its
/// time since the first.
///
/// # Errors
/// When the capture cannot be opened.
pub fn read(path: &Path, stream: &StreamSummary) -> Result<Vec<(Duration, Vec<u8>)>, FixtureError> {
    let mut packets = Vec::new();
    let mut first = None;
    for datagram in Capture::open(path)? {
        // What comes after damage cannot be read; what came before can be played.
        let Ok(datagram) = datagram else { break };
        let ours = (datagram.from, datagram.to) == (stream.from, stream.to);
        if ours && Packet::parse(&datagram.payload).is_ok() {
            let first = *first.get_or_insert(datagram.at);
            packets.push((datagram.at.saturating_sub(first), datagram.payload.to_vec()));
        }
    }
    Ok(packets)
}

/// When the packet with this millisecond of media time in it is due.
fn packet_at(millis: u32, ptime: Duration) -> Duration {
    let at = Duration::from_millis(millis.into());
    Duration::from_nanos(u64::try_from(at.as_nanos() / ptime.as_nanos() * ptime.as_nanos()).unwrap_or(0))
}
