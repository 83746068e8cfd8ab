//! What needs the real thing: one binary, so that it links once.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking, also in a helper")]

mod support;

mod agi;
mod ami;
mod architecture;
mod ari;
mod bench;
mod capture;
mod commands;
mod conversation;
mod doctor;
mod doors;
mod fixtures;
mod lifecycle;
mod network;
mod phone;
mod recording;
mod survival;
mod transports;
