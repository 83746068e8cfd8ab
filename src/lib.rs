//! Offhook: the voice-bot engine for Asterisk.
//!
//! One process takes calls from Asterisk over ARI and externalMedia, hears and speaks on them, and lets bots
//! talk. This crate is the engine as a library; the binary `offhook` is a thin command line over it.
//!
//! # Layout
//!
//! Lower floors know nothing of higher ones; `tests/it/architecture.rs` holds the house to it.
//!
//! | floor | room | what lives there |
//! |---|---|---|
//! | 0 | [`time`], [`stamp`], [`id`], [`guard`], [`secret`], [`tls`] | the monotonic [`time::Moment`], wall time, when packets came, call ids, who may come in, passwords, whom we trust |
//! | 1 | [`audio`] | frames, codecs, resampling, concealment, tones, WAV, and the rings between threads |
//! | 1 | [`rtp`] | packets, the receive stream, telephone events, the sender |
//! | 1 | [`service`] | what every service over the network needs: keys, HTTP and WebSocket, errors by kind, circuit breakers |
//! | 1 | [`pcap`] | captures read and written, and bad networks in virtual time |
//! | 2 | [`turn`] | voice activity, endpointing, barge-in, the ledger of a turn's latencies |
//! | 2 | [`speech`] | the traits `Recognizer` and `Synthesizer` and one file per backend |
//! | 3 | [`asterisk`] | typed clients of Asterisk that know nothing of bots |
//! | 3 | [`media`] | media threads, clock, playout: the only place that touches media sockets |
//! | 3 | [`phone`] | a small real SIP phone: the scripted caller of the demo, the tests and the load run |
//! | 4 | [`call`] | `Call`: what a bot holds, and its snapshot |
//! | 4 | [`mod@bench`] | what a call costs and how long its stages take, and the report of it |
//! | 5 | [`bot`] | the trait `Bot`; `bot::flow`, an IVR declared in TOML; `bot::agent`, a language model with tools; `bot::remote`, a program; `bot::realtime`, speech to speech |
//! | 6 | [`store`] | calls and turns in SQLite |
//! | 6 | [`campaign`] | whom to call, when, how often, and what came of it: contacts and attempts in SQLite or PostgreSQL |
//! | 7 | [`engine`] | starts and stops everything, admits calls, drains |
//! | 8 | [`cli`] | `run`, `demo`, `doctor`, `call`, `calls`, `campaign`, `never-call` |

pub mod asterisk;
pub mod audio;
pub mod bench;
pub mod bot;
pub mod call;
pub mod campaign;
pub mod cli;
pub mod engine;
pub mod guard;
pub mod id;
pub mod media;
pub mod pcap;
pub mod phone;
pub mod policy;
mod prefetch;
pub mod rtp;
pub mod secret;
pub mod service;
pub mod speech;
pub mod stamp;
pub mod store;
pub mod time;
pub mod tls;
pub mod turn;
