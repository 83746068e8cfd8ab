//! How long each step of a service's work may take.

use std::time::Duration;

/// How long a service may take. Callers wait meanwhile, so these are shorter than what a web page would allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// Until there is a connection, TLS and WebSocket included.
    pub connect: Duration,
    /// From the request to the first byte of what was asked for.
    pub first: Duration,
    /// Between two pieces of it.
    pub stall: Duration,
    /// For all of it.
    pub whole: Duration,
}

impl Deadlines {
    /// What is usual: 2 s to connect, 3 s to the first byte, 5 s between two pieces, two minutes in all.
    pub const USUAL: Self = Self {
        connect: Duration::from_secs(2),
        first: Duration::from_secs(3),
        stall: Duration::from_secs(5),
        whole: Duration::from_secs(120),
    };
}

impl Default for Deadlines {
    fn default() -> Self {
        Self::USUAL
    }
}
