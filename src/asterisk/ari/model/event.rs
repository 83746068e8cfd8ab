//! An event as it comes: what all of them have.

use serde::Deserialize;
use serde_json::Value;

use super::{EventKind, Timestamp, drop_nulls};
use crate::asterisk::ari::ChannelId;
use crate::time::{Moment, WallTime};

/// An event as it came.
#[derive(Clone, PartialEq, Debug)]
pub struct Event {
    /// When the reader took it off the socket.
    pub at: Moment,
    /// When Asterisk sent it, by Asterisk's clock.
    pub timestamp: Option<WallTime>,
    /// The application that it was sent to.
    pub application: String,
    /// The server that it came from (`entity_id` of its [`SystemInfo`](super::SystemInfo)).
    pub asterisk_id: String,
    /// What happened.
    pub kind: EventKind,
}

/// A message that is no JSON object with a `type`; what is wrong with it, without its text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no event: {0}")]
pub struct NotAnEvent(String);

/// What all events have.
#[derive(Deserialize, Default)]
struct Head {
    #[serde(default)]
    timestamp: Timestamp,
    #[serde(default)]
    application: String,
    #[serde(default)]
    asterisk_id: String,
}

impl Event {
    /// Reads the text of a message of the events socket that came at `at`. The flag says whether it was well-formed:
    /// something that is not becomes [`EventKind::Other`] as far as it is JSON with a `type`, so that nothing is lost.
    /// Never panics, whatever the bytes (`fuzz/`).
    ///
    /// # Errors
    ///
    /// What is wrong with it, when it is no JSON object with a `type`.
    pub fn read(text: &[u8], at: Moment) -> Result<(Self, bool), NotAnEvent> {
        let mut value: Value = serde_json::from_slice(text).map_err(|error| NotAnEvent(error.to_string()))?;
        drop_nulls(&mut value);
        let Some(name) = value.get("type").and_then(Value::as_str).map(str::to_owned) else {
            return Err(NotAnEvent("a message without a type".to_owned()));
        };
        let head = Head::deserialize(&value).unwrap_or_default();
        let known = EventKind::TYPES.contains(&name.as_str());
        let (kind, whole) = match known.then(|| EventKind::deserialize(&value)) {
            Some(Ok(kind)) => (kind, true),
            Some(Err(_)) => (EventKind::Other { name, value }, false),
            None => (EventKind::Other { name, value }, true),
        };
        let event = Self {
            at,
            timestamp: head.timestamp.0,
            application: head.application,
            asterisk_id: head.asterisk_id,
            kind,
        };
        Ok((event, whole))
    }

    /// The id of the channel that this event is about, to find the call that it belongs to. Read from unknown events too.
    #[must_use]
    pub fn channel_id(&self) -> Option<ChannelId> {
        if let EventKind::Other { value, .. } = &self.kind {
            return Some(value.get("channel")?.get("id")?.as_str()?.into());
        }
        if let Some(channel) = self.kind.channel() {
            return Some(channel.id.clone());
        }
        let target = match &self.kind {
            EventKind::PlaybackStarted { playback }
            | EventKind::PlaybackContinuing { playback }
            | EventKind::PlaybackFinished { playback } => &playback.target_uri,
            EventKind::RecordingStarted { recording }
            | EventKind::RecordingFinished { recording }
            | EventKind::RecordingFailed { recording } => &recording.target_uri,
            _ => return None,
        };
        target.strip_prefix("channel:").map(ChannelId::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Event, bool) {
        Event::read(text.as_bytes(), Moment::from_millis(7)).unwrap()
    }

    /// As an Asterisk 22 sends it.
    const START: &str = r#"{"type":"StasisStart","timestamp":"2026-11-20T22:57:03.120+0000","args":["frontdesk"],
        "channel":{"id":"1795215423.7","name":"PJSIP/alice-00000001","state":"Ring","protocol_id":"abc@127.0.0.1",
        "caller":{"name":"","number":"alice"},"connected":{"name":"","number":""},"accountcode":"",
        "dialplan":{"context":"offhook","exten":"100","priority":1,"app_name":"Stasis","app_data":"bot,frontdesk"},
        "creationtime":"2026-11-20T22:57:03.119+0000","language":"en","caller_rdnis":null},
        "asterisk_id":"52:54:00:12:34:56","application":"bot"}"#;

    #[test]
    fn the_start_of_a_call_tells_who_where_and_when() {
        let (event, whole) = read(START);
        assert!(whole);
        assert_eq!(event.at, Moment::from_millis(7));
        assert_eq!(event.timestamp.unwrap().to_string(), "2026-11-20T22:57:03.120Z");
        assert_eq!(event.application, "bot");
        assert_eq!(event.channel_id().unwrap().as_str(), "1795215423.7");
        let EventKind::StasisStart { channel, args, replace_channel: None } = event.kind else {
            panic!("{event:?}")
        };
        assert_eq!(args, ["frontdesk"]);
        assert_eq!((channel.dialplan.exten.as_str(), channel.caller.number.as_str()), ("100", "alice"));
    }

    #[test]
    fn an_unknown_event_is_handed_on_whole() {
        let (event, whole) =
            read(r#"{"type":"ChannelTeleported","application":"bot","channel":{"id":"1.1"}}"#);
        assert!(whole, "it is new, not wrong");
        assert_eq!(event.kind.name(), "ChannelTeleported");
        assert_eq!(event.channel_id().unwrap().as_str(), "1.1");
    }

    #[test]
    fn a_known_event_of_the_wrong_form_is_handed_on_and_counted() {
        let (event, whole) = read(r#"{"type":"StasisStart","channel":"none"}"#);
        assert!(!whole);
        assert!(matches!(event.kind, EventKind::Other { .. }));
        assert!(Event::read(b"{}", Moment::ZERO).is_err());
        assert!(Event::read(b"[]", Moment::ZERO).is_err());
        assert!(Event::read(b"\xff", Moment::ZERO).is_err());
    }

    #[test]
    fn a_playback_belongs_to_the_channel_that_hears_it() {
        let (event, _) = read(
            r#"{"type":"PlaybackFinished","playback":{"id":"p","target_uri":"channel:1.2","state":"done"}}"#,
        );
        assert_eq!(event.channel_id(), Some("1.2".into()));
        let (event, _) = read(r#"{"type":"PlaybackFinished","playback":{"id":"p","target_uri":"bridge:b"}}"#);
        assert_eq!(event.channel_id(), None);
        let (event, _) = read(r#"{"type":"ApplicationReplaced","application":"bot"}"#);
        assert_eq!(event.kind, EventKind::ApplicationReplaced {});
    }
}
