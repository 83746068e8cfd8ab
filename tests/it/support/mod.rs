//! What the tests stand on.

pub mod asterisk;

pub use asterisk::{AsteriskUnderTest, Wanted, asterisk};
