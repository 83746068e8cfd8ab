//! What calls are made of: channels, bridges, playbacks, recordings.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::{Timestamp, models};
use crate::asterisk::ari::words::words;
use crate::asterisk::ari::{BridgeId, ChannelId, PlaybackId, RecordingName};

models! {
    /// A channel: one leg of a call.
    Channel {
        needs {
            /// Its id.
            id: ChannelId,
        }
        has {
            /// The id in the protocol, for instance the SIP Call-ID (22 and later).
            protocol_id: String,
            /// Its name: technology, resource and a counter, for instance `PJSIP/alice-00000001`.
            name: String,
            /// How far it is.
            state: ChannelState,
            /// Who is at the other end.
            caller: CallerId,
            /// Whom the other end sees.
            connected: CallerId,
            /// The account code for billing.
            accountcode: String,
            /// Where it is in the dialplan.
            dialplan: Dialplan,
            /// When it was made.
            creationtime: Timestamp,
            /// The language of its prompts.
            language: String,
            /// Variables that the server shows with each channel (ari.conf, `channelvars`), and those of a media channel.
            channelvars: BTreeMap<String, String>,
            /// The number that redirected the call here.
            caller_rdnis: String,
            /// The tenant (22 and later).
            tenantid: String,
        }
    }

    /// A name and a number.
    #[derive(Default)]
    CallerId {
        has {
            /// The name.
            name: String,
            /// The number.
            number: String,
        }
    }

    /// A place in the dialplan.
    #[derive(Default)]
    Dialplan {
        has {
            /// The context.
            context: String,
            /// The extension.
            exten: String,
            /// The priority.
            priority: i64,
            /// The application that runs there.
            app_name: String,
            /// Its arguments.
            app_data: String,
        }
    }

    /// What RTP counted on a channel. Jitter and round-trip times are in seconds, counters in packets.
    RtpStatistics {
        has {
            /// Packets sent.
            txcount: i64,
            /// Packets received.
            rxcount: i64,
            /// Jitter of what we sent, as the far end reports it.
            txjitter: Option<f64>,
            /// Jitter of what came.
            rxjitter: Option<f64>,
            /// The far end's largest jitter.
            remote_maxjitter: Option<f64>,
            /// The far end's smallest jitter.
            remote_minjitter: Option<f64>,
            /// The far end's mean jitter.
            remote_normdevjitter: Option<f64>,
            /// The far end's standard deviation of jitter.
            remote_stdevjitter: Option<f64>,
            /// The largest jitter here.
            local_maxjitter: Option<f64>,
            /// The smallest jitter here.
            local_minjitter: Option<f64>,
            /// The mean jitter here.
            local_normdevjitter: Option<f64>,
            /// The standard deviation of jitter here.
            local_stdevjitter: Option<f64>,
            /// Packets of ours that were lost.
            txploss: i64,
            /// Packets that never came.
            rxploss: i64,
            /// The far end's largest loss.
            remote_maxrxploss: Option<f64>,
            /// The far end's smallest loss.
            remote_minrxploss: Option<f64>,
            /// The far end's mean loss.
            remote_normdevrxploss: Option<f64>,
            /// The far end's standard deviation of loss.
            remote_stdevrxploss: Option<f64>,
            /// The largest loss here.
            local_maxrxploss: Option<f64>,
            /// The smallest loss here.
            local_minrxploss: Option<f64>,
            /// The mean loss here.
            local_normdevrxploss: Option<f64>,
            /// The standard deviation of loss here.
            local_stdevrxploss: Option<f64>,
            /// The last round-trip time.
            rtt: Option<f64>,
            /// The longest round-trip time.
            maxrtt: Option<f64>,
            /// The shortest round-trip time.
            minrtt: Option<f64>,
            /// The mean round-trip time.
            normdevrtt: Option<f64>,
            /// The standard deviation of the round-trip time.
            stdevrtt: Option<f64>,
            /// Our SSRC.
            local_ssrc: i64,
            /// Theirs.
            remote_ssrc: i64,
            /// Bytes sent.
            txoctetcount: i64,
            /// Bytes received.
            rxoctetcount: i64,
            /// The channel.
            channel_uniqueid: String,
        }
    }

    /// A bridge: what joins channels.
    Bridge {
        needs {
            /// Its id.
            id: BridgeId,
        }
        has {
            /// How it mixes: `simple_bridge`, `softmix`, `native_rtp`, `holding_bridge`.
            technology: String,
            /// `mixing` or `holding`.
            bridge_type: String,
            /// `stasis` for those made over ARI.
            bridge_class: String,
            /// Who made it.
            creator: String,
            /// The name that its creator gave it.
            name: String,
            /// Who is in it.
            channels: Vec<ChannelId>,
            /// What decides whose picture is seen.
            video_mode: String,
            /// Whose picture is seen.
            video_source_id: String,
            /// When it was made.
            creationtime: Timestamp,
            /// Variables that the server shows with each bridge (22 and later).
            bridgevars: BTreeMap<String, String>,
        }
    }

    /// Something that Asterisk plays to a channel or bridge.
    Playback {
        needs {
            /// Its id.
            id: PlaybackId,
        }
        has {
            /// What is played now: `sound:hello`, `recording:name`, `tone:ring`, …
            media_uri: String,
            /// What comes next in a list.
            next_media_uri: String,
            /// To whom: `channel:ID` or `bridge:ID`.
            target_uri: String,
            /// The language asked for.
            language: String,
            /// How far it is.
            state: PlaybackState,
        }
    }

    /// A recording on Asterisk's disk.
    StoredRecording {
        needs {
            /// Its name.
            name: RecordingName,
        }
        has {
            /// Its format, which is the file's suffix.
            format: String,
        }
    }

    /// A recording that is being made.
    LiveRecording {
        needs {
            /// Its name.
            name: RecordingName,
        }
        has {
            /// Its format, which is the file's suffix.
            format: String,
            /// What is recorded: `channel:ID` or `bridge:ID`.
            target_uri: String,
            /// How far it is.
            state: RecordingState,
            /// Its length in seconds, when it is done.
            duration: Option<i64>,
            /// Seconds of talking in it.
            talking_duration: Option<i64>,
            /// Seconds of silence in it.
            silence_duration: Option<i64>,
            /// Why it failed.
            cause: String,
        }
    }

    /// The value of a variable.
    Variable {
        has {
            /// The value; empty when it is unset.
            value: String,
        }
    }

    /// The values of several variables (22.9, 23.3 and later).
    Variables {
        has {
            /// By name.
            variables: BTreeMap<String, String>,
        }
    }
}

impl Channel {
    /// Where Asterisk sends a media channel's RTP from and wants it sent to: `UNICASTRTP_LOCAL_ADDRESS` and `_PORT`. `None`
    /// when the channel is no RTP media channel.
    #[must_use]
    pub fn rtp_address(&self) -> Option<SocketAddr> {
        let ip: IpAddr =
            self.channelvars.get("UNICASTRTP_LOCAL_ADDRESS")?.trim_matches(['[', ']']).parse().ok()?;
        let port: u16 = self.channelvars.get("UNICASTRTP_LOCAL_PORT")?.parse().ok()?;
        (port != 0).then_some(SocketAddr::new(ip, port))
    }

    /// Where to connect for a WebSocket media channel: the last part of `/media/…`.
    #[must_use]
    pub fn websocket_connection(&self) -> Option<&str> {
        self.channelvars.get("MEDIA_WEBSOCKET_CONNECTION_ID").map(String::as_str).filter(|id| !id.is_empty())
    }
}

words! {
    /// How far a channel is.
    ChannelState {
        /// Not in use.
        Down = "Down",
        /// Reserved for a call.
        Reserved = "Rsrved",
        /// Off hook, nothing dialled.
        OffHook = "OffHook",
        /// Digits were dialled.
        Dialing = "Dialing",
        /// It rings at the caller's end: an incoming call that is not answered.
        Ring = "Ring",
        /// It rings at the callee's end: an outgoing call that is not answered.
        Ringing = "Ringing",
        /// Answered.
        Up = "Up",
        /// Busy.
        Busy = "Busy",
        /// Dialling off hook.
        DialingOffhook = "Dialing Offhook",
        /// It is about to ring.
        PreRing = "Pre-ring",
        /// Asterisk does not know.
        Unknown = "Unknown",
    }

    /// How far a playback is.
    PlaybackState {
        /// It waits.
        Queued = "queued",
        /// It is heard.
        Playing = "playing",
        /// It goes on to the next of its list.
        Continuing = "continuing",
        /// It ended, or was stopped.
        Done = "done",
        /// It could not be played.
        Failed = "failed",
    }

    /// How far a recording is.
    RecordingState {
        /// It waits.
        Queued = "queued",
        /// It is being made.
        Recording = "recording",
        /// It pauses.
        Paused = "paused",
        /// It is stored.
        Done = "done",
        /// It failed.
        Failed = "failed",
        /// It was thrown away.
        Canceled = "canceled",
    }
}

macro_rules! unknown_by_default {
    ($($name:ident)+) => { $(impl Default for $name {
        fn default() -> Self {
            Self::Other(String::new())
        }
    })+ };
}
unknown_by_default! { ChannelState PlaybackState RecordingState }

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asterisk::ari::model::read;

    #[test]
    fn the_rtp_address_is_read_from_the_reply() {
        let reply = br#"{"id":"offhook-bot-1-media","name":"UnicastRTP/127.0.0.1:4000-0x7f","state":"Down",
            "channelvars":{"UNICASTRTP_LOCAL_PORT":"23124","UNICASTRTP_LOCAL_ADDRESS":"127.0.0.1"}}"#;
        let channel: Channel = read(reply).unwrap();
        assert_eq!(channel.rtp_address(), Some("127.0.0.1:23124".parse().unwrap()));
        assert_eq!(channel.state, ChannelState::Down);
        let none: Channel = read(br#"{"id":"1","channelvars":{"UNICASTRTP_LOCAL_PORT":"99999"}}"#).unwrap();
        assert_eq!(none.rtp_address(), None);
    }

    #[test]
    fn a_state_of_a_later_version_is_kept() {
        let channel: Channel = read(br#"{"id":"1","state":"Levitating"}"#).unwrap();
        assert_eq!(channel.state, ChannelState::Other("Levitating".into()));
        assert_eq!(channel.state.to_string(), "Levitating");
    }
}
