//! Events of the Wyoming protocol as bytes: a line of JSON, more JSON and a payload behind it, each as long as the line
//! says. Bytes in, events out, no I/O; bounded whatever comes.

use bytes::{Buf as _, Bytes, BytesMut};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::service::ServiceError;

/// An event.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Event {
    pub kind: String,
    pub data: Map<String, Value>,
    pub payload: Bytes,
}

/// Makes events of what comes.
pub(super) struct Frames {
    service: &'static str,
    buffer: BytesMut,
    /// The line of the event under way.
    header: Option<Header>,
}

#[derive(Deserialize)]
struct Header {
    r#type: String,
    #[serde(default)]
    data: Option<Map<String, Value>>,
    #[serde(default)]
    data_length: Option<usize>,
    #[serde(default)]
    payload_length: Option<usize>,
}

impl Frames {
    /// A line, the data behind it and a payload may each have so many bytes.
    pub(super) const LONGEST: usize = 1 << 20;

    pub(super) fn new(service: &'static str) -> Self {
        Self { service, buffer: BytesMut::new(), header: None }
    }

    /// Takes what came.
    ///
    /// # Errors
    /// When more is there than any event has.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), ServiceError> {
        if self.buffer.len() + bytes.len() > 4 * Self::LONGEST {
            return Err(self.nonsense("an event that does not end"));
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// The next event, if all of it is there.
    ///
    /// # Errors
    /// When what came is no event.
    pub(super) fn next(&mut self) -> Result<Option<Event>, ServiceError> {
        if self.header.is_none() {
            let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') else {
                let too_long = self.buffer.len() > Self::LONGEST;
                return if too_long { Err(self.nonsense("a line that does not end")) } else { Ok(None) };
            };
            let line = self.buffer.split_to(end + 1);
            let header: Header =
                serde_json::from_slice(&line).map_err(|_| self.nonsense("a line that is no event"))?;
            if header.data_length.max(header.payload_length) > Some(Self::LONGEST) {
                return Err(self.nonsense("an event that is too long"));
            }
            self.header = Some(header);
        }
        let Some(header) = &self.header else { return Ok(None) };
        let (data, payload) = (header.data_length.unwrap_or(0), header.payload_length.unwrap_or(0));
        if self.buffer.len() < data + payload {
            return Ok(None);
        }
        let more = self.buffer.split_to(data);
        let payload = self.buffer.split_to(payload).freeze();
        let Some(header) = self.header.take() else { return Ok(None) };
        let mut data = header.data.unwrap_or_default();
        if more.has_remaining() {
            let more: Map<String, Value> =
                serde_json::from_slice(&more).map_err(|_| self.nonsense("data that is no JSON object"))?;
            data.extend(more);
        }
        Ok(Some(Event { kind: header.r#type, data, payload }))
    }

    fn nonsense(&self, what: &str) -> ServiceError {
        ServiceError::Protocol { service: self.service, what: what.to_owned() }
    }
}

/// An event as it goes over the wire.
pub(super) fn event(kind: &str, data: Value, payload: &[u8]) -> Bytes {
    let mut header = serde_json::json!({ "type": kind, "data": data });
    if !payload.is_empty() {
        header["payload_length"] = payload.len().into();
    }
    let mut bytes = header.to_string().into_bytes();
    bytes.push(b'\n');
    bytes.extend_from_slice(payload);
    bytes.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(frames: &mut Frames) -> Vec<Event> {
        std::iter::from_fn(|| frames.next().expect("right")).collect()
    }

    #[test]
    fn events_are_found_however_they_are_cut() {
        let mut bytes = event("audio-chunk", serde_json::json!({ "rate": 16_000 }), &[1, 2, 3]).to_vec();
        bytes.extend_from_slice(b"{\"type\":\"transcript\",\"data\":{\"language\":\"en\"},\"data_length\":16}\n{\"text\": \"s\xC3\xAD\"}\n");
        // The data is 16 bytes long, with the end of the line.
        for size in [1, 2, 7, 1_000] {
            let mut frames = Frames::new("rack");
            let mut found = Vec::new();
            for piece in bytes.chunks(size) {
                frames.push(piece).expect("there is room");
                found.extend(all(&mut frames));
            }
            assert_eq!(found.len(), 2, "in pieces of {size}");
            assert_eq!(found[0].payload.as_ref(), [1, 2, 3]);
            assert_eq!(found[1].data["text"], "sí");
            assert_eq!(found[1].data["language"], "en");
        }
    }

    #[test]
    fn what_is_no_event_is_an_error() {
        for bytes in [
            &b"HTTP/1.1 200 OK\r\n\r\n"[..],
            b"{}\n",
            b"{\"type\":\"x\",\"payload_length\":99999999999}\n",
            b"{\"type\":\"x\",\"data_length\":2}\n[]",
            b"\xFF\xFE\n",
        ] {
            let mut frames = Frames::new("rack");
            frames.push(bytes).expect("there is room");
            assert!(frames.next().is_err(), "{bytes:?}");
        }
        let mut frames = Frames::new("rack");
        frames.push(&vec![b'x'; Frames::LONGEST + 1]).expect("there is room");
        assert!(frames.next().is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let mut frames = Frames::new("rack");
            let _ = frames.push(&bytes);
            while let Ok(Some(_)) = frames.next() {}
        }
    }
}
