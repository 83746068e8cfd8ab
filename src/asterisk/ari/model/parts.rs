//! What only events carry.

use std::collections::BTreeMap;

use super::{Bridge, Channel, models};

models! {
    /// Where a SIP contact is and whether it answers.
    ContactInfo {
        has {
            /// Its URI.
            uri: String,
            /// `Unreachable`, `Reachable`, `Unknown`, `NonQualified`, `Removed`.
            contact_status: String,
            /// Its address of record.
            aor: String,
            /// The round-trip time in microseconds, as text.
            roundtrip_usec: String,
        }
    }

    /// A peer of the older technologies.
    Peer {
        has {
            /// Its state.
            peer_status: String,
            /// Why.
            cause: String,
            /// Its address.
            address: String,
            /// Its port.
            port: String,
            /// When it was last seen.
            time: String,
        }
    }

    /// A text message.
    TextMessage {
        has {
            /// From whom.
            from: String,
            /// To whom.
            to: String,
            /// The text.
            body: String,
            /// Its variables.
            variables: BTreeMap<String, String>,
        }
    }

    /// A parameter of the protocol.
    AdditionalParam {
        has {
            /// Its name.
            parameter_name: String,
            /// Its value.
            parameter_value: String,
        }
    }

    /// Where a transfer was asked to go.
    #[derive(Default)]
    RequiredDestination {
        has {
            /// The id of the call in the protocol.
            protocol_id: String,
            /// The user part of the destination.
            destination: String,
            /// More of the protocol.
            additional_protocol_params: Vec<AdditionalParam>,
        }
    }

    /// The far end of a transfer.
    ReferTo {
        has {
            /// Where it was asked to go.
            requested_destination: RequiredDestination,
            /// The channel there.
            destination_channel: Option<Channel>,
            /// Whom that one is connected to.
            connected_channel: Option<Channel>,
            /// The bridge of both.
            bridge: Option<Bridge>,
        }
    }

    /// The near end of a transfer.
    ReferredBy {
        has {
            /// Who transfers.
            source_channel: Option<Channel>,
            /// Who is transferred.
            connected_channel: Option<Channel>,
            /// The bridge of both.
            bridge: Option<Bridge>,
        }
    }

    /// A header of a request over the events socket.
    RestHeader {
        has {
            /// Its name.
            name: String,
            /// Its value.
            value: String,
        }
    }

    /// A parameter of a request over the events socket.
    RestParameter {
        has {
            /// Its name.
            name: String,
            /// Its value.
            value: String,
        }
    }
}
