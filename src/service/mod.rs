//! What every service over the network needs, whatever it does: a recogniser in the cloud, a synthesiser in the rack, a
//! language model.
//!
//! # Parts
//!
//! - [`key`]: a service's key, out of the configuration, a file or the environment, that nothing prints;
//! - [`web`]: one HTTP client, WebSockets and TCP with deadlines, all with the same trust;
//! - [`error`]: what went wrong, by kind: refused, too many, broken, late, closed, nonsense;
//! - [`breaker`]: a service that fails again and again is left alone for a while; deciding code;
//! - [`deadlines`]: how long each step may take;
//! - [`name`]: names from the configuration as names of backends.
//!
//! # How it is used
//!
//! The engine makes one [`Web`] and hands it to whoever talks to services. A client of a service makes its request with it,
//! turns what comes back wrong into a [`ServiceError`], and leaves it to its caller whether to ask again, elsewhere, or not
//! at all ([`ServiceError::is_lasting`], [`ServiceError::retry_after`]). A [`Breaker`] per service is shared by all calls.
//!
//! # What it never does
//!
//! It knows nothing of audio, bots or calls, it logs neither keys nor what was sent, and it never asks again by itself.

pub mod breaker;
pub mod deadlines;
pub mod error;
pub mod key;
pub mod name;
pub mod web;

pub use breaker::{Breaker, BreakerConfig, Verdict};
pub use deadlines::Deadlines;
pub use error::ServiceError;
pub use key::Key;
pub use name::named;
pub use web::{Socket, Web};
