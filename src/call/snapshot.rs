//! What another process needs to take a call up.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::{Facts, Leg};
use crate::id::CallId;
use crate::media::TransportKind;

/// A call at one step of its dialog, as one plain value: what a process that did not see the call begin needs to go
/// on with it. A few hundred bytes as JSON; written at every step, so never more than one step old.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
}

impl Snapshot {
    /// The layout that this version of Offhook writes.
    pub const VERSION: u32 = 2;

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
        }
    }
}
