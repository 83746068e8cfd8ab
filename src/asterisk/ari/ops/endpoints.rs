//! Endpoints.

use std::collections::BTreeMap;

use crate::asterisk::ari::model::Endpoint;
use crate::asterisk::ari::operation::{operations, parameters};

parameters! {
    /// A text message.
    Message {
        /// From whom.
        from: String = "from",
        /// The text.
        body: Option<String> = "body",
        /// Its variables.
        variables: BTreeMap<String, String> = "variables",
    }
}

parameters! {
    /// A REFER outside a call.
    Refer {
        /// From whom.
        from: String = "from",
        /// Where the endpoint should call.
        refer_to: String = "refer_to",
        /// Whether `refer_to` is an endpoint of this server.
        to_self: Option<bool> = "to_self",
        /// Its variables.
        variables: BTreeMap<String, String> = "variables",
    }
}

operations! {
    /// Endpoints: where calls go to and come from.
    Endpoints;

    /// Lists them.
    GET "/endpoints" => list() -> Vec<Endpoint>;

    /// Sends a message to a URI.
    PUT "/endpoints/sendMessage" => send_message_to(; to: &str = "to" | message: &Message) -> ();

    /// Sends a REFER to a URI (20 and later).
    POST "/endpoints/refer" => refer_uri(; to: &str = "to" | refer: &Refer) -> ();

    /// Those of a technology.
    GET "/endpoints/{tech}" => of(technology: &str) -> Vec<Endpoint>;

    /// One of them.
    GET "/endpoints/{tech}/{resource}" => get(technology: &str, resource: &str) -> Endpoint;

    /// Sends a message to an endpoint.
    PUT "/endpoints/{tech}/{resource}/sendMessage" =>
        send_message(technology: &str, resource: &str | message: &Message) -> ();

    /// Sends a REFER to an endpoint (20 and later).
    POST "/endpoints/{tech}/{resource}/refer" => refer(technology: &str, resource: &str | refer: &Refer) -> ();
}
