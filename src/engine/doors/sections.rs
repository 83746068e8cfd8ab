//! `[ami]` and `[agi]` of the configuration, and what is checked across sections.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

use crate::asterisk::agi::ServerConfig;
use crate::asterisk::ami::{AmiConfig, Login, Tls};
use crate::asterisk::secret::Secret;
use crate::engine::config::{AsteriskSection, Config, ConfigError, line_of};
use crate::engine::route::Target;
use crate::engine::ways::Way;
use crate::guard::{Allow, Exposure};

/// `[ami]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AmiSection {
    /// `HOST:PORT`. Without it AMI is not used.
    pub address: Option<String>,
    /// A section of `manager.conf`.
    pub user: String,
    /// Its secret.
    pub secret: Option<Secret>,
    /// A file whose first line is the secret.
    pub secret_file: Option<PathBuf>,
    /// How to sign in.
    pub login: LoginKind,
    /// Whether the server speaks TLS there.
    pub tls: bool,
    /// A PEM file of certificates to trust besides the system's.
    pub tls_ca: Option<PathBuf>,
    /// The name in the server's certificate, where it is not the host of the address.
    pub tls_name: Option<String>,
}

impl Default for AmiSection {
    fn default() -> Self {
        Self {
            address: None,
            user: "offhook".into(),
            secret: None,
            secret_file: None,
            login: LoginKind::Md5,
            tls: false,
            tls_ca: None,
            tls_name: None,
        }
    }
}

/// How to sign in to AMI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LoginKind {
    /// By a challenge: the secret stays here.
    Md5,
    /// With the secret itself.
    Plain,
}

impl AmiSection {
    /// How a client reaches it; [`None`] when AMI is not used.
    ///
    /// # Errors
    /// When there is no secret, or its file cannot be read.
    pub fn client(&self) -> Result<Option<AmiConfig>, ConfigError> {
        let Some(address) = &self.address else { return Ok(None) };
        let secret = match (&self.secret_file, &self.secret) {
            (Some(file), _) => {
                Secret::from_file(file).map_err(|why| ConfigError::new(format!("ami.secret_file: {why}")))?
            }
            (None, Some(secret)) => secret.clone(),
            (None, None) => {
                return Err(ConfigError::new(
                    "no secret for AMI: set OFFHOOK_AMI_SECRET, or `secret_file` (or `secret`) under [ami]",
                ));
            }
        };
        let mut config = AmiConfig::new(address, &self.user, secret);
        config.login = match self.login {
            LoginKind::Md5 => Login::Md5,
            LoginKind::Plain => Login::Plain,
        };
        config.tls = self.tls.then(|| Tls { ca_file: self.tls_ca.clone(), name: self.tls_name.clone() });
        Ok(Some(config))
    }
}

/// `[agi]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AgiSection {
    /// Where FastAGI listens, `127.0.0.1:4573`. Without it FastAGI is off.
    pub bind: Option<SocketAddr>,
    /// Who may connect. Off loopback there must be some: FastAGI has no password.
    pub allow: Allow,
    /// Sessions at once.
    pub max_sessions: usize,
    /// Whether channels in `AGI(agi:async,NAME)` are served, over AMI.
    pub over_ami: bool,
}

impl Default for AgiSection {
    fn default() -> Self {
        Self { bind: None, allow: Allow::UNSAID, max_sessions: 1_000, over_ami: false }
    }
}

impl AgiSection {
    /// What FastAGI is told; [`None`] when it is off.
    #[must_use]
    pub fn server(&self) -> Option<ServerConfig> {
        Some(ServerConfig {
            bind: self.bind?,
            allow: self.allow.clone(),
            most_sessions: self.max_sessions,
            ..ServerConfig::default()
        })
    }
}

impl Config {
    /// The doors that the configuration opens, but for those of media, which depend on what the server can do.
    #[must_use]
    pub fn exposures(&self) -> Vec<Exposure> {
        let agi = self.agi.server().map(|server| server.exposure());
        let servers = self.asterisk.servers();
        let ari = servers.iter().filter_map(AsteriskSection::listen_exposure);
        let remote = self.bots.values().filter_map(|bot| bot.remote.as_ref()?.0.exposure());
        agi.into_iter().chain(ari).chain(self.health.exposure()).chain(remote).collect()
    }

    /// What one section's keys alone do not show. `text` is the file, for the line.
    pub(in crate::engine) fn check_doors(&self, text: &str) -> Result<(), ConfigError> {
        let fault = |line: usize, what: String| Err(self.fault(line, &what));
        for (index, rule) in self.route.iter().enumerate() {
            if let Some(what) = &rule.fault {
                return fault(line_of(text, "[[route]]", index), what.clone());
            }
            let Target::Bot(name) = &rule.to else { continue };
            if !self.bots.contains_key(name.as_str()) {
                let known = self.bots.keys().cloned().collect::<Vec<_>>().join(", ");
                let known = if known.is_empty() { "none".to_owned() } else { known };
                return fault(
                    line_of(text, "[[route]]", index),
                    format!("this route leads to the bot `{name}`: the configuration has {known}"),
                );
            }
        }
        if self.agi.over_ami && self.ami.address.is_none() {
            return fault(
                line_of(text, "[agi]", 0),
                "`over_ami` takes AMI: write `address = \"127.0.0.1:5038\"` under [ami]".into(),
            );
        }
        let servers = self.asterisk.servers();
        let campaigns = |what: &str| fault(line_of(text, "[campaigns]", 0), what.into());
        match self.campaigns.by {
            Way::Ari => {}
            Way::Ami if self.ami.address.is_none() => {
                return campaigns(
                    "`by = \"ami\"` takes AMI: write `address = \"127.0.0.1:5038\"` under [ami]",
                );
            }
            _ if servers.len() > 1 => {
                return campaigns(
                    "calls by AMI and by call files go out on one server, and there are several: take `by = \"ari\"`, or an engine for each",
                );
            }
            Way::Ami | Way::CallFiles => {}
        }
        let servers = servers.iter().map(|server| ("[asterisk]", &server.tls_cert, &server.tls_key));
        let media = ("[media]", &self.media.tls_cert, &self.media.tls_key);
        for (header, cert, key) in servers.chain([media]) {
            if cert.is_some() != key.is_some() {
                let what = format!("`tls_cert` and `tls_key` under {header} go together: name both files");
                return fault(line_of(text, header, 0), what);
            }
        }
        for door in self.exposures() {
            if let Err(what) = door.check() {
                return fault(line_of(text, door.section, 0), what);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn parse(text: &str, env: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::parse(text, Some(Path::new("/etc/offhook/desk.toml")), env)
    }

    fn refused(text: &str) -> String {
        parse(text, &[]).expect_err(text).to_string()
    }

    #[test]
    fn the_doors_are_closed_unless_they_are_opened() {
        let config = parse("", &[]).unwrap();
        assert!(config.ami.client().unwrap().is_none());
        assert!(config.agi.server().is_none());
        let text =
            "[ami]\naddress = 'pbx:5039'\ntls = true\ntls_ca = 'ca.pem'\n[agi]\nbind = '127.0.0.1:4573'\n";
        let config = parse(text, &[("OFFHOOK_AMI_SECRET", "12345")]).unwrap();
        let ami = config.ami.client().unwrap().unwrap();
        assert_eq!(ami.secret.reveal(), "12345");
        assert_eq!(ami.tls.unwrap().ca_file.unwrap(), Path::new("/etc/offhook/ca.pem"));
        assert_eq!(config.agi.server().unwrap().exposure().allow, Allow::this_machine());
        assert!(!format!("{config:?}").contains("12345"));
        let error = parse(text, &[]).unwrap().ami.client().unwrap_err().to_string();
        assert!(error.contains("OFFHOOK_AMI_SECRET"), "{error}");
    }

    #[test]
    fn a_mistake_in_a_route_is_told_with_its_line() {
        let text = "[bots.desk]\nflow = 'desk.toml'\n[[route]]\nbot = 'desk'\n[[route]]\nbot = 'dsk'\n";
        let error = refused(text);
        assert!(error.starts_with("/etc/offhook/desk.toml:5: ") && error.contains("has desk"), "{error}");
        let error = refused("[[route]]\nrefuse = 'busy'\n\n[[route]]\nrefuse = 'busy'\nhours = '8-18'\n");
        assert!(error.starts_with("/etc/offhook/desk.toml:6: ") && error.contains("08:00-18:00"), "{error}");
        let error = refused("[[route]]\nrefuse = 'busy'\n\n[[route]]\ncalled = '1&2'\nrefuse = 'busy'\n");
        assert!(error.starts_with("/etc/offhook/desk.toml:5: "), "{error}");
        let error = refused("[[route]]\nrefuse = 'busy'\n\n[[route]]\ncalled = '1'\n");
        assert!(
            error.starts_with("/etc/offhook/desk.toml:4: ") && error.contains("needs a target"),
            "{error}"
        );
    }

    #[test]
    fn calls_by_ami_and_by_files_need_what_they_go_by() {
        assert!(refused("[campaigns]\nby = 'ami'\n").contains("[ami]"));
        let servers = "[[asterisk.server]]\nname = 'a'\nurl = 'http://a:8088/ari'\n[[asterisk.server]]\nname = 'b'\nurl = 'http://b:8088/ari'\n";
        let several = refused(&format!("[campaigns]\nby = 'call_files'\n{servers}"));
        assert!(several.contains("one server"), "{several}");
        assert!(refused("[campaigns]\nby = 'pigeon'\n").contains("call_files"));
    }

    #[test]
    fn a_door_to_other_machines_needs_a_list() {
        let error = refused("\n[agi]\nbind = '0.0.0.0:4573'\n");
        assert!(error.starts_with("/etc/offhook/desk.toml:2: ") && error.contains("allow"), "{error}");
        assert!(parse("[agi]\nbind = '0.0.0.0:4573'\nallow = ['192.0.2.7']\n", &[]).is_ok());
        assert!(refused("[agi]\nallow = ['pbx']\n").contains("no address or network"));
        let listening = "[asterisk]\npassword = 'x'\nevents = 'listen'\nlisten = '0.0.0.0:8090'\n";
        let error = refused(listening);
        assert!(error.starts_with("/etc/offhook/desk.toml:1: ") && error.contains("in the clear"), "{error}");
        let guarded = parse(&format!("{listening}allow = ['10.0.0.0/8']\n"), &[]).unwrap();
        assert_eq!(guarded.exposures()[0].to_string(), "ARI on 0.0.0.0:8090 (for 10.0.0.0/8, a password)");
        assert!(parse(&format!("{listening}tls_cert = 'a.pem'\ntls_key = 'a.key'\n"), &[]).is_ok());
        assert!(refused("[media]\ntls_cert = 'a.pem'\n").contains("go together"));
        let env = [("OFFHOOK_AGI_BIND", "0.0.0.0:4573"), ("OFFHOOK_AGI_ALLOW", "192.0.2.7, 10.0.0.0/8")];
        assert_eq!(parse("", &env).unwrap().agi.allow.to_string(), "192.0.2.7, 10.0.0.0/8");
        assert!(refused("[agi]\nover_ami = true\n").contains("[ami]"));
    }
}
