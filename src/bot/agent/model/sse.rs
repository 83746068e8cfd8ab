//! Server-sent events out of bytes (HTML Living Standard, section 9.2, "Server-sent events", of November 2026). Deciding code:
//! no I/O, bounded whatever comes.

/// The longest line, and the most data of one event, in bytes.
const MOST: usize = 256 * 1_024;

/// An event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    /// Its type; empty where none is named.
    pub name: String,
    /// Its data, lines joined by a line feed.
    pub data: String,
}

/// A line or an event is longer than a reply has reason to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event of more than {MOST} bytes")]
pub struct TooLong;

/// Reads a stream of events, however it is cut into pieces.
#[derive(Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    event: Event,
    has_data: bool,
    /// The last byte was a carriage return, whose line feed may be to come.
    after_return: bool,
    begun: bool,
}

impl Parser {
    /// Reads on; what is complete goes to `out`.
    ///
    /// # Errors
    /// [`TooLong`]: nothing of the stream can be trusted any more.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<Event>) -> Result<(), TooLong> {
        for &byte in bytes {
            let line_feed_of_return = std::mem::take(&mut self.after_return) && byte == b'\n';
            match byte {
                b'\n' if line_feed_of_return => {}
                b'\n' => self.end_line(out)?,
                b'\r' => {
                    self.after_return = true;
                    self.end_line(out)?;
                }
                _ if self.line.len() == MOST => return Err(TooLong),
                _ => self.line.push(byte),
            }
        }
        Ok(())
    }

    fn end_line(&mut self, out: &mut Vec<Event>) -> Result<(), TooLong> {
        let line = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&line);
        let mut text = text.as_ref();
        if !std::mem::replace(&mut self.begun, true) {
            text = text.strip_prefix('\u{feff}').unwrap_or(text);
        }
        if text.is_empty() {
            let event = std::mem::take(&mut self.event);
            if std::mem::take(&mut self.has_data) {
                out.push(event);
            }
            return Ok(());
        }
        let (field, value) = text.split_once(':').unwrap_or((text, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                if self.event.data.len() + value.len() >= MOST {
                    return Err(TooLong);
                }
                if std::mem::replace(&mut self.has_data, true) {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            "event" => value.clone_into(&mut self.event.name),
            // Comments keep connections alive; `id` and `retry` are for those who connect again.
            _ => {}
        }
        Ok(())
    }

    /// The stream has ended: an event that lacks only its empty line counts, since some servers forget it.
    pub fn finish(&mut self, out: &mut Vec<Event>) {
        if !self.line.is_empty() {
            // It is no longer than a line may be.
            let _ = self.end_line(out);
        }
        if std::mem::take(&mut self.has_data) {
            out.push(std::mem::take(&mut self.event));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(pieces: &[&[u8]]) -> Vec<Event> {
        let (mut parser, mut events) = (Parser::default(), Vec::new());
        for piece in pieces {
            parser.push(piece, &mut events).expect("short");
        }
        parser.finish(&mut events);
        events
    }

    fn event(name: &str, data: &str) -> Event {
        Event { name: name.into(), data: data.into() }
    }

    #[test]
    fn events_come_out_however_the_stream_is_written() {
        let text = "\u{feff}: hello\r\nevent: ping\r\ndata: {\r\ndata:}\r\n\r\ndata\n\nid: 7\nevent: none\n\ndata:  two\r\rdata: [DONE]";
        let events = read(&[text.as_bytes()]);
        assert_eq!(events, [event("ping", "{\n}"), event("", ""), event("", " two"), event("", "[DONE]")]);
    }

    #[test]
    fn a_line_without_an_end_is_refused() {
        let (mut parser, mut events) = (Parser::default(), Vec::new());
        let long = vec![b'x'; MOST + 1];
        assert_eq!(parser.push(&long, &mut events), Err(TooLong));
        let (mut parser, line) = (Parser::default(), [b"data: ".as_slice(), &[b'x'; 9_000], b"\n"].concat());
        let pushed = (0..MOST / 9_000 + 1).try_for_each(|_| parser.push(&line, &mut events));
        assert_eq!(pushed, Err(TooLong), "nor an event without one");
    }

    proptest! {
        #[test]
        fn it_does_not_matter_where_a_stream_is_cut(text in "(data|event|id|:|\r\n|\n|\r| |x|é){0,60}", at in any::<prop::sample::Index>()) {
            let bytes = text.as_bytes();
            let at = at.index(bytes.len() + 1);
            prop_assert_eq!(read(&[bytes]), read(&[&bytes[..at], &bytes[at..]]));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            read(&[&bytes]);
        }
    }
}
