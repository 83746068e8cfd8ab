//! Messages out of a stream of bytes, however they are cut.

/// What the beginning of a stream says of its first message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Extent {
    /// It has so many bytes, with its header.
    Message(usize),
    /// It takes so many bytes to tell; more than there are.
    Takes(usize),
}

/// The beginning of a message whose end has not come. What is whole is read in place and never gets here.
#[derive(Debug, Default)]
pub(super) struct Pieces(Vec<u8>);

impl Pieces {
    /// With room for a message of `len` bytes: a longer one makes it grow.
    pub(super) fn with_room(len: usize) -> Self {
        Self(Vec::with_capacity(len))
    }

    /// Takes what came, and hands each whole message on. `extent` tells how long a message is, from its beginning; `whole`
    /// takes one, and says whether there may be more. False when it said no: then nothing more is read.
    ///
    /// # Errors
    /// Those of `extent`.
    pub(super) fn read<E>(
        &mut self,
        mut bytes: &[u8],
        extent: impl Fn(&[u8]) -> Result<Extent, E>,
        mut whole: impl FnMut(&[u8]) -> bool,
    ) -> Result<bool, E> {
        // What is left of the last one is completed first.
        while !self.0.is_empty() {
            let need = match extent(&self.0)? {
                Extent::Message(len) if self.0.len() >= len => {
                    let goes_on = whole(&self.0);
                    self.0.clear();
                    if !goes_on {
                        return Ok(false);
                    }
                    break;
                }
                Extent::Message(len) | Extent::Takes(len) => len,
            };
            if bytes.is_empty() {
                return Ok(true);
            }
            let (taken, rest) = bytes.split_at(bytes.len().min(need - self.0.len()));
            self.0.extend_from_slice(taken);
            bytes = rest;
        }
        while let Extent::Message(len) = extent(bytes)? {
            let Some((message, rest)) = bytes.split_at_checked(len) else { break };
            if !whole(message) {
                return Ok(false);
            }
            bytes = rest;
        }
        self.0.extend_from_slice(bytes);
        Ok(true)
    }
}
