//! The phone's SIP: as much of RFC 3261 as a telephone needs, without I/O and without a clock.
//!
//! - [`message`] reads and writes messages,
//! - [`sdp`] the offer and answer (RFC 3264) about one PCMU stream with telephone events,
//! - [`digest`] answers 401 and 407,
//! - [`timers`] says when a message is sent again over UDP, and when to give up,
//! - [`agent`] holds the calls: datagrams, commands and the time go in; datagrams and events come out. One call is
//!   a `leg`; what it does as the side that called is in `caller`, as the called side and inside a dialog in
//!   `callee`.
//!
//! What it never does: registrations, proxies, TCP or TLS, reliable provisional responses, transfers. A message that
//! it cannot read is dropped, never a panic.

pub mod agent;
mod callee;
mod caller;
pub mod digest;
mod leg;
pub mod message;
pub mod sdp;
pub mod timers;

#[cfg(test)]
mod tests;
