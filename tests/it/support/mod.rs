//! What the tests stand on.

pub mod asterisk;
pub mod caller;
pub mod desk;
pub mod engine;
pub mod proxy;

pub use asterisk::{AsteriskUnderTest, Wanted, asterisk};
pub use engine::EngineUnderTest;
