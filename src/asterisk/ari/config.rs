//! Where ARI is and how to speak to it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;

use super::AriError;
use crate::asterisk::secret::Secret;
use crate::asterisk::tls::Identity;
use crate::guard::{Allow, Exposure, Key};

/// Where ARI is, and who we are there.
#[derive(Clone, Debug)]
pub struct AriConfig {
    /// `http://HOST:8088` or `https://HOST:8089`, with the prefix of http.conf if there is one; `/ari` at the end may be
    /// left out. No credentials.
    pub url: String,
    /// The user: a section of ari.conf with `type = user`.
    pub user: String,
    /// Its password.
    pub password: Secret,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// How long a request may take, from its first byte to the last one of the answer.
    pub timeout: Duration,
    /// The largest answer that is taken, in bytes.
    pub largest_answer: usize,
    /// How many events wait for a reader before they are dropped and counted.
    pub event_capacity: usize,
    /// How requests go.
    pub requests: Requests,
    /// A file with certificates (PEM) that are trusted for `https`, beside those of the system.
    pub ca_file: Option<PathBuf>,
    /// Where Asterisk connects to us, in place of our connecting to it for events.
    pub listen: Option<Listen>,
}

/// How requests go to Asterisk.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Requests {
    /// Each as an HTTP request, over connections that are kept.
    #[default]
    Http,
    /// Over the WebSocket that events come by (20.14, 21.9, 22.4 and later). Files are still fetched by HTTP.
    WebSocket,
}

/// Where Asterisk connects to us: its outbound WebSockets (20.15, 22.5 and later).
#[derive(Clone, Debug)]
pub struct Listen {
    /// The address that we listen at.
    pub bind: SocketAddr,
    /// The user that Asterisk introduces itself as (`username` in websocket_client.conf).
    pub user: String,
    /// Its password.
    pub password: Secret,
    /// Whether a connection is made for each call (`connection_type = per_call_config`) rather than one for all.
    pub per_call: bool,
    /// The applications that may come this way; empty for all.
    pub apps: Vec<String>,
    /// The most connections at once.
    pub connections: usize,
    /// Who may connect; where nothing is said, this machine on loopback and whoever has the password elsewhere.
    pub allow: Allow,
    /// Who we are to Asterisk, where it connects by `wss`.
    pub tls: Option<Identity>,
}

impl Listen {
    /// What protects it.
    #[must_use]
    pub fn exposure(&self) -> Exposure {
        Exposure {
            door: "ARI",
            section: "[asterisk]",
            bind: self.bind,
            allow: self.allow.clone().or_by(self.bind),
            key: Key::Password,
            tls: Some(self.tls.is_some()),
        }
    }
}

impl AriConfig {
    /// Asterisk at `url`, with time-outs that suit a local network: 2 s to connect, 5 s for a request.
    #[must_use]
    pub fn new(url: impl Into<String>, user: impl Into<String>, password: Secret) -> Self {
        Self {
            url: url.into(),
            user: user.into(),
            password,
            connect_timeout: Duration::from_secs(2),
            timeout: Duration::from_secs(5),
            largest_answer: 16 << 20,
            event_capacity: 4096,
            requests: Requests::Http,
            ca_file: None,
            listen: None,
        }
    }
}

/// The parsed address: the parts that requests and sockets are made of.
#[derive(Clone, Debug)]
pub(super) struct Address {
    /// The URL up to `/ari`.
    base: Url,
    /// Host and port, for messages.
    pub(super) peer: String,
}

impl Address {
    pub(super) fn parse(text: &str) -> Result<Self, AriError> {
        let refuse = |value: &str, wants: &str| AriError::Config {
            key: "url",
            value: value.to_owned(),
            wants: format!("write {wants}, for instance http://127.0.0.1:8088"),
        };
        // What does not parse may hold a password: it is not repeated.
        let mut base =
            Url::parse(text.trim()).map_err(|error| refuse("…", &format!("a whole URL ({error})")))?;
        if !base.username().is_empty() || base.password().is_some() {
            return Err(refuse("…", "user and password into their own settings, and the URL without them"));
        }
        if !matches!(base.scheme(), "http" | "https") {
            return Err(refuse(text, "http:// or https:// in front"));
        }
        let (Some(host), Some(port)) = (base.host_str(), base.port_or_known_default()) else {
            return Err(refuse(text, "the host"));
        };
        let peer = format!("{host}:{port}");
        base.set_query(None);
        base.set_fragment(None);
        let path = base.path().trim_end_matches('/').to_owned();
        base.set_path(&if path.ends_with("/ari") { path } else { path + "/ari" });
        Ok(Self { base, peer })
    }

    /// The URL of a path given by its segments, each percent-encoded.
    pub(super) fn join<'a>(&self, segments: impl Iterator<Item = &'a str>) -> Url {
        let mut url = self.base.clone();
        {
            let mut path = url.path_segments_mut().expect("http and https URLs have a path");
            for segment in segments {
                // A segment of dots would climb out of ARI; no id of Asterisk's is one.
                path.push(if matches!(segment, "." | "..") { "%2E" } else { segment });
            }
        }
        url
    }

    /// The path of an operation behind `/ari/`, as requests over a WebSocket name it.
    pub(super) fn relative<'a>(&self, segments: impl Iterator<Item = &'a str>) -> String {
        let url = self.join(segments);
        url.path().strip_prefix(self.base.path()).unwrap_or_default().trim_start_matches('/').to_owned()
    }

    /// Whether it takes TLS.
    pub(super) fn is_tls(&self) -> bool {
        self.base.scheme() == "https"
    }

    /// The URL of the events socket for `app`.
    pub(super) fn events(&self, app: &str, subscribe_all: bool) -> Url {
        let mut url = self.join(std::iter::once("events"));
        let scheme = if url.scheme() == "https" { "wss" } else { "ws" };
        url.set_scheme(scheme).expect("http becomes ws and https wss");
        url.query_pairs_mut().append_pair("app", app);
        if subscribe_all {
            url.query_pairs_mut().append_pair("subscribeAll", "true");
        }
        url
    }

    /// The path of a WebSocket channel's media: `/media/ID` beside `/ari`.
    pub(super) fn media(&self, connection: &str) -> String {
        let mut url = self.base.clone();
        {
            let mut path = url.path_segments_mut().expect("http and https URLs have a path");
            path.pop().push("media").push(connection);
        }
        url.path().to_owned()
    }

    /// Host and port, to be dialled.
    pub(super) fn dial(&self) -> (String, u16) {
        let host = self.base.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        (host, self.base.port_or_known_default().unwrap_or(8088))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_and_the_ari_at_the_end_are_as_the_user_likes() {
        for (given, base) in [
            ("http://127.0.0.1:8088", "http://127.0.0.1:8088/ari"),
            ("http://127.0.0.1:8088/", "http://127.0.0.1:8088/ari"),
            ("http://pbx/asterisk/ari/", "http://pbx/asterisk/ari"),
            (" https://pbx:8089/asterisk?x=y ", "https://pbx:8089/asterisk/ari"),
        ] {
            assert_eq!(Address::parse(given).unwrap().base.as_str(), base, "{given}");
        }
        assert_eq!(Address::parse("http://[::1]:8088").unwrap().peer, "[::1]:8088");
        assert_eq!(Address::parse("http://[::1]:8088").unwrap().dial(), ("::1".to_owned(), 8088));
    }

    #[test]
    fn a_url_with_a_password_is_refused_without_repeating_it() {
        for url in ["http://bob:hunter2@pbx", "http://bob:hunter2@pbx:99999999"] {
            let error = Address::parse(url).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
        assert!(Address::parse("pbx:8088").is_err());
        assert!(Address::parse("ftp://pbx").is_err());
    }

    #[test]
    fn segments_are_encoded_one_by_one() {
        let address = Address::parse("http://pbx:8088").unwrap();
        let url = address.join(["endpoints", "PJSIP", "a/b c?d#e%f"].into_iter());
        assert_eq!(url.as_str(), "http://pbx:8088/ari/endpoints/PJSIP/a%2Fb%20c%3Fd%23e%25f");
        assert_eq!(address.relative(["channels", "a/b c"].into_iter()), "channels/a%2Fb%20c");
        assert!(
            address.join(["channels", "..", "asterisk"].into_iter()).path().starts_with("/ari/channels/")
        );
        assert_eq!(
            address.events("a b", true).as_str(),
            "ws://pbx:8088/ari/events?app=a+b&subscribeAll=true"
        );
        assert_eq!(Address::parse("https://pbx").unwrap().events("x", false).scheme(), "wss");
        assert_eq!(address.media("a-1"), "/media/a-1");
        let behind = Address::parse("https://pbx/asterisk/ari").unwrap();
        assert_eq!(behind.media("a/1"), "/asterisk/media/a%2F1");
        assert!(behind.is_tls() && !address.is_tls());
    }

    #[test]
    fn the_configuration_prints_without_its_password() {
        let config = AriConfig::new("http://pbx:8088", "bob", Secret::new("hunter2"));
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
