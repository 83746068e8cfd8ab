//! What an event is about.

use super::{Bridge, Channel, EventKind};

impl EventKind {
    /// The channel that the event is about.
    #[must_use]
    pub fn channel(&self) -> Option<&Channel> {
        match self {
            Self::StasisStart { channel, .. }
            | Self::StasisEnd { channel }
            | Self::ChannelDtmfReceived { channel, .. }
            | Self::ChannelCreated { channel }
            | Self::ChannelDestroyed { channel, .. }
            | Self::ChannelHangupRequest { channel, .. }
            | Self::ChannelStateChange { channel }
            | Self::ChannelDialplan { channel, .. }
            | Self::ChannelCallerId { channel, .. }
            | Self::ChannelConnectedLine { channel }
            | Self::ChannelHold { channel, .. }
            | Self::ChannelUnhold { channel }
            | Self::ChannelToneDetected { channel }
            | Self::ChannelTalkingStarted { channel }
            | Self::ChannelTalkingFinished { channel, .. }
            | Self::ChannelLeftBridge { channel, .. }
            | Self::BridgeBlindTransfer { channel, .. }
            | Self::ApplicationMoveFailed { channel, .. }
            | Self::CallBroadcast { channel, .. }
            | Self::CallClaimed { channel, .. } => Some(channel),
            Self::ChannelVarset { channel, .. }
            | Self::ChannelUserevent { channel, .. }
            | Self::ChannelEnteredBridge { channel, .. } => channel.as_ref(),
            Self::Dial { peer, .. } => Some(peer),
            Self::BridgeAttendedTransfer { transferer_first_leg, .. } => Some(transferer_first_leg),
            Self::ChannelTransfer { referred_by, .. } => referred_by.source_channel.as_ref(),
            _ => None,
        }
    }

    /// The bridge that the event is about.
    #[must_use]
    pub fn bridge(&self) -> Option<&Bridge> {
        match self {
            Self::ChannelEnteredBridge { bridge, .. }
            | Self::ChannelLeftBridge { bridge, .. }
            | Self::BridgeCreated { bridge }
            | Self::BridgeDestroyed { bridge }
            | Self::BridgeMerged { bridge, .. }
            | Self::BridgeVideoSourceChanged { bridge, .. } => Some(bridge),
            Self::BridgeBlindTransfer { bridge, .. } | Self::ChannelUserevent { bridge, .. } => {
                bridge.as_ref()
            }
            _ => None,
        }
    }
}
