//! Recordings.

use bytes::Bytes;

use crate::asterisk::ari::RecordingName;
use crate::asterisk::ari::model::{LiveRecording, StoredRecording};
use crate::asterisk::ari::operation::operations;

operations! {
    /// Recordings: those on Asterisk's disk and those being made.
    Recordings;

    /// Lists those on the disk.
    GET "/recordings/stored" => stored() -> Vec<StoredRecording>;

    /// One of them.
    GET "/recordings/stored/{recordingName}" => get_stored(name: &RecordingName) -> StoredRecording;

    /// Deletes one.
    DELETE "/recordings/stored/{recordingName}" => delete_stored(name: &RecordingName) -> ();

    /// The file itself, up to the configured largest answer.
    GET "/recordings/stored/{recordingName}/file" => file(name: &RecordingName) -> Bytes;

    /// Copies one.
    POST "/recordings/stored/{recordingName}/copy" =>
        copy(name: &RecordingName; to: &RecordingName = "destinationRecordingName") -> StoredRecording;

    /// One that is being made.
    GET "/recordings/live/{recordingName}" => get_live(name: &RecordingName) -> LiveRecording;

    /// Stops it and throws it away.
    DELETE "/recordings/live/{recordingName}" => cancel(name: &RecordingName) -> ();

    /// Stops it and stores it.
    POST "/recordings/live/{recordingName}/stop" => stop(name: &RecordingName) -> ();

    /// Pauses it; what comes meanwhile is left out.
    POST "/recordings/live/{recordingName}/pause" => pause(name: &RecordingName) -> ();

    /// Goes on.
    DELETE "/recordings/live/{recordingName}/pause" => unpause(name: &RecordingName) -> ();

    /// Mutes it; what comes meanwhile is silence.
    POST "/recordings/live/{recordingName}/mute" => mute(name: &RecordingName) -> ();

    /// Ends that.
    DELETE "/recordings/live/{recordingName}/mute" => unmute(name: &RecordingName) -> ();
}
