//! bot

pub mod flow;
