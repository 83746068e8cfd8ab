//! `[asterisk]`: where it is, and how to talk to it. `[[asterisk.server]]`: the same for each of several, with the keys of
//! `[asterisk]` as defaults.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde::Deserialize;

use super::{ConfigError, identity};
use crate::asterisk::ari::{AriConfig, Listen, Requests};
use crate::asterisk::secret::Secret;
use crate::guard::{Allow, Exposure};

/// `[asterisk]`, and each `[[asterisk.server]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AsteriskSection {
    /// What logs, `offhook call --server` and the health page call it; `asterisk` where there is one without a name.
    pub name: Option<String>,
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
    /// Who may connect to `listen`.
    pub allow: Allow,
    /// Our certificate for `listen`, where Asterisk connects by `wss`, and its key.
    pub tls_cert: Option<PathBuf>,
    /// See `tls_cert`.
    pub tls_key: Option<PathBuf>,
    /// Calls at once from this server; without it, as many as the engine takes.
    pub capacity: Option<usize>,
    /// The address that this server is told to send audio to, where it is another one than `advertise` under `[media]`.
    pub advertise: Option<IpAddr>,
    /// Whether calls are claimed that this server offers with `StasisBroadcast()`.
    pub claims: bool,
    /// Several servers; none of them has servers of its own.
    pub server: Vec<AsteriskSection>,
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
            name: None,
            url: "http://127.0.0.1:8088".into(),
            user: "offhook".into(),
            password: None,
            password_file: None,
            app: "bot".into(),
            requests: None,
            events: EventsBy::Connect,
            listen: SocketAddr::from(([127, 0, 0, 1], 8_090)),
            ca_file: None,
            allow: Allow::UNSAID,
            tls_cert: None,
            tls_key: None,
            capacity: None,
            advertise: None,
            claims: false,
            server: Vec::new(),
        }
    }
}

/// The name of the only server, where it has none.
const ONLY: &str = "asterisk";

/// The header of a server in the file.
const HEADER: &str = "[[asterisk.server]]";

impl AsteriskSection {
    /// Each server with all its keys: those of the list, or the one that the section itself is.
    #[must_use]
    pub fn servers(&self) -> Vec<Self> {
        if self.server.is_empty() { vec![self.clone()] } else { self.server.clone() }
    }

    /// The server of that name; the only one needs none.
    ///
    /// # Errors
    /// When there is none of that name, or which one is meant is not said.
    pub fn one(&self, name: Option<&str>) -> Result<Self, ConfigError> {
        let servers = self.servers();
        let known = servers.iter().map(Self::name).collect::<Vec<_>>().join(", ");
        let found = match name {
            None if servers.len() > 1 => {
                return Err(ConfigError::new(format!("say with --server which server is meant: {known}")));
            }
            None => servers.into_iter().next(),
            Some(name) => servers.into_iter().find(|server| server.name() == name),
        };
        found.ok_or_else(|| {
            ConfigError::new(format!(
                "the configuration has no server '{}', only {known}",
                name.unwrap_or(ONLY)
            ))
        })
    }

    /// Gives the applications other names, `APP-SUFFIX`, for an engine beside the one that takes calls.
    pub fn rename_apps(&mut self, suffix: &str) {
        for server in self.server.iter_mut() {
            server.app = format!("{}-{suffix}", server.app);
        }
        self.app = format!("{}-{suffix}", self.app);
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(ONLY)
    }

    /// The files that it names.
    pub(super) fn files(&mut self) -> [&mut Option<PathBuf>; 4] {
        [&mut self.password_file, &mut self.ca_file, &mut self.tls_cert, &mut self.tls_key]
    }

    /// Lays the keys of `[asterisk]` under those of each server. A password of its own, wherever it is kept, goes before one
    /// of the section.
    pub(super) fn inherit(table: &mut toml::Table) {
        let Some(section) = table.get_mut("asterisk").and_then(toml::Value::as_table_mut) else { return };
        let Some(mut servers) = section.remove("server") else { return };
        let secrets = ["password", "password_file"];
        for server in servers.as_array_mut().into_iter().flatten().filter_map(toml::Value::as_table_mut) {
            let own_secret = secrets.iter().any(|key| server.contains_key(*key));
            for (key, value) in section.iter() {
                if key != "name" && !(own_secret && secrets.contains(&key.as_str())) {
                    server.entry(key.as_str()).or_insert_with(|| value.clone());
                }
            }
        }
        section.insert("server".into(), servers);
    }

    /// The table of the server that the rest of an environment variable's name begins with, and what is left of it.
    pub(super) fn named_server<'a, 'b>(
        section: &'a mut toml::Table,
        key: &'b str,
    ) -> Option<(&'a mut toml::Table, &'b str)> {
        let servers = section.get_mut("server")?.as_array_mut()?;
        servers.iter_mut().filter_map(toml::Value::as_table_mut).find_map(|server| {
            let name = server.get("name")?.as_str()?.to_lowercase().replace('-', "_");
            let rest = key.strip_prefix(&name)?.strip_prefix('_')?;
            Some((server, rest))
        })
    }

    /// What the keys of one server alone do not show. Gives the line of the file and what is wrong.
    pub(super) fn check(&self, line_of: impl Fn(&str, usize) -> usize) -> Result<(), (usize, String)> {
        let (mut names, mut urls, mut doors) = (HashSet::new(), HashSet::new(), HashSet::new());
        let listed = !self.server.is_empty();
        for (index, server) in self.servers().iter().enumerate() {
            let fault = |what: String| {
                let line = if listed { line_of(HEADER, index) } else { line_of("[asterisk]", 0) };
                Err((line, what))
            };
            if listed && server.name.is_none() {
                return fault("a server of a list needs a `name`, as \"east\"".into());
            }
            let name = server.name();
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)) {
                return fault(format!("`name` = \"{name}\": a server's name is of letters, digits, - and _"));
            }
            if !names.insert(name.to_owned()) {
                return fault(format!("two servers have the name \"{name}\": give each its own"));
            }
            if !urls.insert(server.url.trim_end_matches('/').to_owned()) {
                return fault(format!(
                    "two servers have the address {}: write the other one's `url`",
                    server.url
                ));
            }
            if server.events != EventsBy::Connect && !doors.insert(server.listen) {
                return fault(format!(
                    "two servers are to connect to {}: give this one a `listen` of its own",
                    server.listen
                ));
            }
            if listed && !server.server.is_empty() {
                return fault("a server has no servers of its own".into());
            }
            if server.capacity == Some(0) {
                return fault("`capacity` = 0 takes no call: leave the server out, or the key".into());
            }
        }
        Ok(())
    }

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
            allow: self.allow.clone(),
            tls: identity(&self.tls_cert, &self.tls_key),
        });
        Ok(config)
    }

    /// What protects the listener, where there is one.
    #[must_use]
    pub fn listen_exposure(&self) -> Option<Exposure> {
        let section = Self { password: Some(Secret::new("unused")), password_file: None, ..self.clone() };
        section.ari(0).ok()?.listen.map(|listen| listen.exposure())
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

    fn servers(text: &str, env: &[(&str, &str)]) -> Result<Vec<AsteriskSection>, String> {
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let file = std::path::Path::new("/etc/offhook/desk.toml");
        let config = super::super::Config::parse(text, Some(file), env).map_err(|error| error.to_string())?;
        Ok(config.asterisk.servers())
    }

    #[test]
    fn the_keys_of_asterisk_are_the_defaults_of_each_server() {
        let text = "[asterisk]\nuser = 'us'\npassword_file = 'all'\napp = 'desk'\ncapacity = 100\n\
                    [[asterisk.server]]\nname = 'east'\nurl = 'http://a:8088'\nadvertise = '192.0.2.1'\n\
                    [[asterisk.server]]\nname = 'far-west'\nurl = 'https://b:8089'\npassword = 'own'\ncapacity = 20\nclaims = true\n";
        let env = [("OFFHOOK_ASTERISK_FAR_WEST_USER", "they"), ("OFFHOOK_ASTERISK_APP", "night")];
        let servers = servers(text, &env).expect("valid");
        let [east, west] = &servers[..] else { panic!("two of them") };
        assert_eq!((east.name(), east.user.as_str(), east.app.as_str()), ("east", "us", "night"));
        assert_eq!(
            (east.capacity, east.claims, east.advertise),
            (Some(100), false, "192.0.2.1".parse().ok())
        );
        assert_eq!(east.password_file.as_deref(), Some(std::path::Path::new("/etc/offhook/all")));
        assert_eq!((west.name(), west.user.as_str(), west.capacity), ("far-west", "they", Some(20)));
        assert!(west.claims && west.advertise.is_none());
        assert_eq!(west.password().expect("its own").reveal(), "own", "not that of all");
    }

    #[test]
    fn one_server_needs_no_name_and_no_list() {
        let servers = servers("[asterisk]\nurl = 'http://a:1'\n", &[]).expect("valid");
        assert_eq!(
            (servers.len(), servers[0].name(), servers[0].url.as_str()),
            (1, "asterisk", "http://a:1")
        );
    }

    #[test]
    fn a_mistake_in_the_list_is_told_with_its_line() {
        let east = "[[asterisk.server]]\nname = 'east'\nurl = 'http://a:1'\n";
        for (second, what) in [
            ("url = 'http://b:1'", "needs a `name`"),
            ("name = 'east'\nurl = 'http://b:1'", "two servers have the name"),
            ("name = 'west'\nurl = 'http://a:1/'", "two servers have the address"),
            ("name = 'a b'\nurl = 'http://b:1'", "letters, digits, - and _"),
            ("name = 'west'\nurl = 'http://b:1'\ncapacity = 0", "takes no call"),
        ] {
            let error = servers(&format!("{east}[[asterisk.server]]\n{second}\n"), &[]).expect_err(second);
            assert!(error.starts_with("/etc/offhook/desk.toml:4: ") && error.contains(what), "{error}");
        }
        let both = "events = 'listen'\n";
        let text = format!("{east}{both}[[asterisk.server]]\nname = 'west'\nurl = 'http://b:1'\n{both}");
        assert!(servers(&text, &[]).expect_err("one port").contains("`listen` of its own"));
        let error = servers(&format!("{east}prot = 1\n"), &[]).expect_err("no such key");
        assert!(error.starts_with("/etc/offhook/desk.toml:4: ") && error.contains("`prot`"), "{error}");
        assert!(servers("[engine]\nmax_late_percent = 101\n", &[]).expect_err("no share").contains("to 100"));
    }
}
