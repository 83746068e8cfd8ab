//! What needs the real thing: one binary, so that it links once.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking, also in a helper")]

mod support;

mod agi;
mod ami;
mod architecture;
mod ari;
mod bench;
mod book;
mod campaign;
mod capture;
mod commands;
mod conversation;
mod doctor;
mod doors;
mod fallback;
mod fixtures;
mod language_models;
mod lifecycle;
mod network;
mod phone;
mod realtime;
mod recognizers;
mod recording;
mod remote;
mod servers;
mod sharing;
mod survival;
mod synthesizers;
mod transfer;
mod transports;
