//! cli

pub mod calls;
pub mod doctor;
