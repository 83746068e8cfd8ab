//! What a stream has still to write: whole messages, bounded.

/// Bytes that wait for a socket. A message goes in whole or not at all, so the stream never loses its framing.
#[derive(Debug)]
pub(in crate::media) struct Outbox {
    bytes: Box<[u8]>,
    /// What is before this has been written.
    from: usize,
    to: usize,
}

impl Outbox {
    /// Room for `capacity` bytes, allocated now.
    pub(in crate::media) fn new(capacity: usize) -> Self {
        Self { bytes: vec![0; capacity].into_boxed_slice(), from: 0, to: 0 }
    }

    /// Bytes that wait.
    pub(in crate::media) fn pending(&self) -> &[u8] {
        &self.bytes[self.from..self.to]
    }

    pub(in crate::media) const fn is_empty(&self) -> bool {
        self.from == self.to
    }

    /// Adds a message made of two parts, while `spare` bytes stay free behind it; false when there is no room.
    pub(in crate::media) fn push(&mut self, head: &[u8], body: &[u8], spare: usize) -> bool {
        let Some(room) = self.room(head.len() + body.len(), spare) else { return false };
        room[..head.len()].copy_from_slice(head);
        room[head.len()..].copy_from_slice(body);
        true
    }

    /// Room for a message of `len` bytes, to be filled by the caller.
    pub(in crate::media) fn room(&mut self, len: usize, spare: usize) -> Option<&mut [u8]> {
        if self.bytes.len() - self.pending().len() < len + spare {
            return None;
        }
        if self.bytes.len() - self.to < len {
            self.bytes.copy_within(self.from..self.to, 0);
            (self.from, self.to) = (0, self.to - self.from);
        }
        let at = self.to;
        self.to += len;
        Some(&mut self.bytes[at..at + len])
    }

    /// The first `count` of the waiting bytes have been written.
    pub(in crate::media) fn written(&mut self, count: usize) {
        self.from = (self.from + count).min(self.to);
        if self.is_empty() {
            (self.from, self.to) = (0, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_goes_in_whole_or_not_at_all() {
        let mut outbox = Outbox::new(10);
        assert!(outbox.push(b"ab", b"cdef", 0));
        assert!(!outbox.push(b"gh", b"ijk", 0), "eleven bytes");
        assert!(outbox.push(b"", b"ghij", 0), "at the limit");
        outbox.written(4);
        assert!(!outbox.push(b"", b"kl", 3), "three bytes are to stay free");
        assert!(outbox.push(b"", b"kl", 2));
        assert_eq!(outbox.pending(), b"efghijkl");
        outbox.written(100);
        assert!(outbox.is_empty());
    }
}
