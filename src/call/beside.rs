//! What happens beside the caller's own channel: with the person whom he is transferred to, and with what Asterisk plays.

use tokio::sync::mpsc;

/// Something that happened there. The engine routes it here from the events socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beside {
    /// Who was called for the caller has answered.
    PersonUp,
    /// His channel has ended, with this cause (Q.850; 0 is unknown).
    PersonGone {
        /// The cause.
        cause: u16,
    },
    /// What Asterisk was told to play has ended.
    Played,
    /// What the caller hears while he waits has ended: a key of his stops it, or it was told to stop.
    HoldEnded,
}

/// So many events wait for a call; it waits for none of them but while it reads them.
pub const EVENTS: usize = 16;

/// The mailbox of one call.
pub type Mailbox = mpsc::Receiver<Beside>;

/// Why somebody did not take a call, for people and for language models.
pub(super) fn why_not(cause: u16) -> &'static str {
    match cause {
        17 => "the line is busy",
        18..=20 => "nobody answered",
        21 => "the call was declined",
        1 | 2 | 3 | 22 | 28 => "the number cannot be reached",
        27 | 38 | 41 | 42 | 58 => "the line is out of order or overloaded",
        _ => "the call did not come through",
    }
}
