//! Applications.

use serde_json::Value;

use crate::asterisk::ari::model::Application;
use crate::asterisk::ari::operation::operations;

operations! {
    /// The Stasis applications that are registered, by us or others.
    Applications;

    /// Lists them.
    GET "/applications" => list() -> Vec<Application>;

    /// One of them, with the ids of the channels and bridges that are in it.
    GET "/applications/{applicationName}" => get(app: &str) -> Application;

    /// Adds sources of events: `channel:ID`, `bridge:ID`, `endpoint:TECH/RESOURCE`, `deviceState:NAME`. An empty id
    /// (`channel:`) means all of them.
    POST "/applications/{applicationName}/subscription" =>
        subscribe(app: &str; sources: &[&str] = "eventSource") -> Application;

    /// Takes sources of events away.
    DELETE "/applications/{applicationName}/subscription" =>
        unsubscribe(app: &str; sources: &[&str] = "eventSource") -> Application;

    /// Sets which types of events pass: `{"allowed": [{"type": "StasisStart"}], "disallowed": []}`; with
    /// both lists empty all do. A list that is left out stays as it is.
    PUT "/applications/{applicationName}/eventFilter" => filter(app: &str; filter: &Value = "filter") -> Application;
}
