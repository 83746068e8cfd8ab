//! What another process needs to take a call up.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::journal::Input;
use super::{Facts, Leg};
use crate::id::CallId;
use crate::media::TransportKind;
use crate::time::WallTime;

/// A call at one step of its dialog, as one plain value: what a process that did not see the call begin needs to go
/// on with it. A few hundred bytes as JSON; written at every step, so never more than one step old.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Layout of this value; a reader refuses one that it does not know.
    pub version: u32,
    /// The call.
    pub call: CallId,
    /// The Stasis application that holds its channels.
    pub app: String,
    /// Id of the caller's channel.
    pub channel: String,
    /// Id of the externalMedia channel.
    pub media: String,
    /// Id of the bridge.
    pub bridge: String,
    /// By what the audio comes. A process that takes the call up goes on with the media channel over RTP; over the others it
    /// makes a new one, since Asterisk ends the media channel with its connection.
    pub transport: TransportKind,
    /// How it is coded: Asterisk's name of the format.
    pub format: String,
    /// Where Asterisk sends the caller's audio: our UDP port over RTP, our listener where Asterisk connects to us.
    pub our_address: SocketAddr,
    /// Where it comes from over RTP, and where the bot's audio goes.
    pub peer_address: Option<SocketAddr>,
    /// Whether we called.
    pub outbound: bool,
    /// Whether the call has been answered.
    pub answered: bool,
    /// The caller's number.
    pub caller: String,
    /// The number he dialled.
    pub called: String,
    /// Stasis arguments after the bot's name.
    pub args: Vec<String>,
    /// The bot.
    pub bot: String,
    /// The bot's step, for people.
    pub step: String,
    /// All that the bot needs: its step, variables, what was heard.
    pub state: serde_json::Value,
    /// The destination whose person the caller talks with: the bot is out of the call, and nobody is to disturb the two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub with: Option<String>,
    /// How far the call is within the step.
    pub progress: Progress,
}

/// How far a call is within a step of its dialog.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Progress {
    /// The turn under way: the first that no record was made of.
    #[serde(default)]
    pub turn: u32,
    /// What the caller did, to which the bot replies in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Input>,
    /// When what the bot says first in the step began to go out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began: Option<WallTime>,
    /// How much of it went out, once it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard: Option<Duration>,
    /// It has ended, by itself or because the caller interrupted it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub said: bool,
    /// The keys of a number that the caller has not ended yet.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub keys: String,
}

impl Snapshot {
    /// The layout that this version of Offhook writes.
    pub const VERSION: u32 = 3;

    pub(super) fn new(
        facts: &Facts,
        leg: &Leg,
        answered: bool,
        step: &str,
        state: serde_json::Value,
    ) -> Self {
        Self {
            version: Self::VERSION,
            call: facts.id,
            app: leg.app().to_owned(),
            channel: leg.channel().to_owned(),
            media: leg.media_channel(),
            bridge: leg.bridge(),
            transport: leg.media_plan().transport,
            format: leg.media_plan().format.name().to_owned(),
            our_address: leg.our_address(),
            peer_address: leg.peer_address(),
            outbound: facts.outbound,
            answered,
            caller: facts.caller.clone(),
            called: facts.called.clone(),
            args: facts.args.clone(),
            bot: facts.bot.clone(),
            step: step.to_owned(),
            state,
            with: None,
            progress: Progress::default(),
        }
    }

    /// What is known of the call from its beginning.
    #[must_use]
    pub fn facts(&self) -> Facts {
        Facts {
            id: self.call,
            outbound: self.outbound,
            caller: self.caller.clone(),
            called: self.called.clone(),
            args: self.args.clone(),
            bot: self.bot.clone(),
            variables: BTreeMap::new(),
        }
    }
}

/// What is left to do of the step in which another process left the call.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Unfinished {
    pub(super) progress: Progress,
    /// Until when the other process was heard of.
    pub(super) alive: WallTime,
    /// How long the caller heard nothing.
    pub(super) away: Duration,
    /// The other process handed the call over: what was heard is known to the frame.
    pub(super) handed_over: bool,
}

impl Unfinished {
    /// A silence that a caller takes for a pause; after a longer one he is told again what he was asked.
    const UNNOTICED: Duration = Duration::from_millis(1_500);

    /// How much was heard of what the step says first.
    pub(super) fn heard(&self) -> Duration {
        let Progress { began, heard, said, .. } = &self.progress;
        match (heard, began) {
            (Some(heard), _) => *heard,
            (None, Some(began)) => {
                Duration::from_millis(u64::try_from(self.alive.0 - began.0).unwrap_or_default())
            }
            (None, None) if *said => Duration::MAX,
            (None, None) => Duration::ZERO,
        }
    }

    /// Whether nothing of it need be said again.
    pub(super) fn is_said(&self) -> bool {
        !self.progress.keys.is_empty() || self.progress.said && self.away <= Self::UNNOTICED
    }
}
