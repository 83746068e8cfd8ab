//! cli

pub mod calls;
