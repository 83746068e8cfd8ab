//! Where AMI is and how to speak to it.

use std::path::PathBuf;
use std::time::Duration;

use super::AmiError;
use super::wire::Limits;
use crate::asterisk::secret::Secret;

/// Where AMI is, and who we are there.
#[derive(Clone, Debug)]
pub struct AmiConfig {
    /// `HOST:PORT`; the port is 5038, or 5039 with TLS, where it is left out.
    pub address: String,
    /// The user: a section of manager.conf.
    pub user: String,
    /// Its secret.
    pub secret: Secret,
    /// How we sign in.
    pub login: Login,
    /// TLS, where the server has `tlsenable = yes`.
    pub tls: Option<Tls>,
    /// Which classes of events are wanted, as in manager.conf: `on`, `off`, or `call,cdr,cel`.
    pub classes: String,
    /// Filters that the server applies to events before it sends them, in the form of `eventfilter` in manager.conf:
    /// `Event: Newchannel`, `!Event: RTCP`. None lets all through.
    pub filters: Vec<String>,
    /// How long a connection may take to be made, TLS and sign-in included.
    pub connect_timeout: Duration,
    /// How long an answer, or the next event of a list, may take.
    pub timeout: Duration,
    /// How many actions may wait for their answers.
    pub most_pending: usize,
    /// The most events of one list.
    pub most_items: usize,
    /// How many events wait for each reader before they are dropped and counted.
    pub event_capacity: usize,
    /// What is taken of one message.
    pub limits: Limits,
}

/// How to sign in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Login {
    /// By an MD5 challenge: the secret itself stays here. Every server knows it.
    #[default]
    Md5,
    /// With the secret itself, for servers whose crypto policy has no MD5.
    Plain,
}

/// How TLS is spoken.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// A PEM file of certificates to trust besides the system's: the server's own, if it signed it itself.
    pub ca_file: Option<PathBuf>,
    /// The name in the server's certificate, where it is not the host of the address.
    pub name: Option<String>,
}

impl AmiConfig {
    /// Asterisk at `address`, with time-outs that suit a local network.
    #[must_use]
    pub fn new(address: impl Into<String>, user: impl Into<String>, secret: Secret) -> Self {
        Self {
            address: address.into(),
            user: user.into(),
            secret,
            login: Login::default(),
            tls: None,
            classes: "on".into(),
            filters: Vec::new(),
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(5),
            most_pending: 1_000,
            most_items: 1_000_000,
            event_capacity: 4_096,
            limits: Limits::default(),
        }
    }

    /// Host and port of the address.
    pub(super) fn peer(&self) -> Result<(String, u16), AmiError> {
        let refuse = || AmiError::Config {
            key: "address",
            value: self.address.chars().filter(|c| !c.is_control()).collect(),
            wants: "write HOST:PORT, for instance 127.0.0.1:5038".into(),
        };
        let port = if self.tls.is_some() { 5_039 } else { 5_038 };
        let text = self.address.trim();
        let (host, port) = match text.rsplit_once(':') {
            // An IPv6 address has colons of its own: with a port it stands in brackets.
            Some((host, _)) if host.contains(':') && !host.ends_with(']') => (text, port),
            Some((host, digits)) => (host, digits.parse().map_err(|_| refuse())?),
            None => (text, port),
        };
        let host = host.trim_matches(['[', ']']);
        let fine = !host.is_empty() && !host.contains(['/', '@', ' ']);
        if fine { Ok((host.to_owned(), port)) } else { Err(refuse()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_with_or_without_a_port() {
        let peer = |address: &str| AmiConfig::new(address, "u", Secret::new("s")).peer().ok();
        assert_eq!(peer("pbx"), Some(("pbx".into(), 5_038)));
        assert_eq!(peer("pbx:1"), Some(("pbx".into(), 1)));
        assert_eq!(peer("[::1]:7"), Some(("::1".into(), 7)));
        assert_eq!(peer("::1"), Some(("::1".into(), 5_038)));
        for wrong in ["", "pbx:many", "tcp://pbx:5038", "user@pbx"] {
            assert_eq!(peer(wrong), None, "{wrong}");
        }
        let mut tls = AmiConfig::new("pbx", "u", Secret::new("s"));
        tls.tls = Some(Tls::default());
        assert_eq!(tls.peer().unwrap().1, 5_039);
        assert!(!format!("{tls:?}").contains("\"s\""));
    }
}
