//! `[asterisk]`: where it is, and how to talk to it.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

use super::ConfigError;
use crate::asterisk::ari::{AriConfig, Listen, Requests};
use crate::asterisk::secret::Secret;

/// `[asterisk]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AsteriskSection {
    /// Base address of its HTTP server.
    pub url: String,
    /// A user of `ari.conf`.
    pub user: String,
    /// The user's password.
    pub password: Option<Secret>,
    /// A file whose first line is the password.
    pub password_file: Option<PathBuf>,
    /// The name of our Stasis application.
    pub app: String,
    /// How requests go; where Asterisk connects to us, over its connections unless something else is said.
    pub requests: Option<RequestsBy>,
    /// Who makes the connection that events come by.
    pub events: EventsBy,
    /// Where we listen for Asterisk, where it makes them.
    pub listen: SocketAddr,
    /// Certificates that are trusted for `https`, beside those of the system.
    pub ca_file: Option<PathBuf>,
}

/// How requests go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RequestsBy {
    /// Each as an HTTP request.
    Http,
    /// Over the WebSocket that events come by.
    Websocket,
}

/// Who makes the connection that events come by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventsBy {
    /// We do.
    #[default]
    Connect,
    /// Asterisk does, once.
    Listen,
    /// Asterisk does, for each call; and once for `APP-control`, over which requests go.
    ListenPerCall,
}

impl Default for AsteriskSection {
    fn default() -> Self {
        Self {
            url: "http://127.0.0.1:8088".into(),
            user: "offhook".into(),
            password: None,
            password_file: None,
            app: "bot".into(),
            requests: None,
            events: EventsBy::Connect,
            listen: SocketAddr::from(([127, 0, 0, 1], 8_090)),
            ca_file: None,
        }
    }
}

impl AsteriskSection {
    /// The password, wherever it is kept.
    ///
    /// # Errors
    /// When there is none, or its file cannot be read.
    pub fn password(&self) -> Result<Secret, ConfigError> {
        if let Some(file) = &self.password_file {
            return Secret::from_file(file)
                .map_err(|why| ConfigError::new(format!("asterisk.password_file: {why}")));
        }
        self.password.clone().ok_or_else(|| {
            ConfigError::new(
                "no password for ARI: set OFFHOOK_ASTERISK_PASSWORD, or `password_file` (or `password`) under [asterisk]",
            )
        })
    }

    /// How ARI is reached. Asterisk introduces itself to us with the same user and password as we to it.
    ///
    /// # Errors
    /// As [`AsteriskSection::password`].
    pub fn ari(&self, max_calls: usize) -> Result<AriConfig, ConfigError> {
        let mut config = self.ari_by_http()?;
        let listens = self.events != EventsBy::Connect;
        config.requests = match self.requests {
            Some(RequestsBy::Http) => Requests::Http,
            Some(RequestsBy::Websocket) => Requests::WebSocket,
            None if listens => Requests::WebSocket,
            None => Requests::Http,
        };
        let per_call = self.events == EventsBy::ListenPerCall;
        config.listen = listens.then(|| Listen {
            bind: self.listen,
            user: config.user.clone(),
            password: config.password.clone(),
            per_call,
            // Requests are made while no call is up, too: over a connection of its own, which lasts.
            apps: [
                vec![self.app.clone()],
                if per_call { vec![format!("{}-control", self.app)] } else { Vec::new() },
            ]
            .concat(),
            // A caller and his media channel have one each.
            connections: if per_call { max_calls.saturating_mul(2).saturating_add(16) } else { 8 },
        });
        Ok(config)
    }

    /// How ARI is reached for a look at it, whatever the engine does.
    ///
    /// # Errors
    /// As [`AsteriskSection::password`].
    pub fn ari_by_http(&self) -> Result<AriConfig, ConfigError> {
        let mut config = AriConfig::new(&self.url, &self.user, self.password()?);
        config.ca_file.clone_from(&self.ca_file);
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(text: &str) -> AriConfig {
        let section: AsteriskSection = toml::from_str(text).expect("valid");
        AsteriskSection { password: Some(Secret::new("x")), ..section }.ari(100).expect("there is a password")
    }

    #[test]
    fn three_ways_to_talk_are_chosen_by_two_keys() {
        let plain = section("");
        assert_eq!(plain.requests, Requests::Http);
        assert!(plain.listen.is_none());
        assert_eq!(section("requests = 'websocket'").requests, Requests::WebSocket);
        let listening = section("events = 'listen'\napp = 'desk'");
        assert_eq!(listening.requests, Requests::WebSocket);
        let listen = listening.listen.expect("it listens");
        assert!(listen.bind.ip().is_loopback() && !listen.per_call);
        assert_eq!(listen.apps, ["desk"]);
        let each = section("events = 'listen-per-call'\nlisten = '0.0.0.0:9'\nrequests = 'http'");
        assert_eq!(each.requests, Requests::Http);
        assert!(each.listen.is_some_and(|listen| listen.per_call && listen.connections == 216));
    }
}
