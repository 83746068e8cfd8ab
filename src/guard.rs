//! Who may come in by a port that we listen on, and what protects it.
//!
//! An [`Exposure`] says of one door where it is, who may come and what he must know; [`Exposure::protection`] what that is
//! worth, and [`Exposure::check`] whether the engine may open it at all. A [`Guard`] stands at the open door: it tells
//! addresses apart, counts whom it sends away, and says so in the log once a minute at most, however many there are.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;

use crate::time::Moment;

/// Addresses that begin alike: `10.0.0.0/8`, `::1`, `192.0.2.7`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Network(IpNet);

impl Network {
    /// Whether `address` is one of them; an IPv4 address may come dressed as IPv6.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }

    /// Whether every address is.
    #[must_use]
    pub fn is_everybody(&self) -> bool {
        self.0.prefix_len() == 0
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let parsed = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        parsed
            .map(Self)
            .map_err(|_| format!("`{text}` is no address or network: write \"192.0.2.7\" or \"10.0.0.0/8\""))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == self.0.max_prefix_len() { self.0.addr().fmt(f) } else { self.0.fmt(f) }
    }
}

/// A list of who may connect. In a configuration a list of texts, in the environment one text with commas.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(try_from = "Listed")]
pub struct Allow(Vec<Network>);

/// The forms of an [`Allow`].
#[derive(Deserialize)]
#[serde(untagged, expecting = "a list of addresses and networks, as [\"192.0.2.7\", \"10.0.0.0/8\"]")]
enum Listed {
    Several(Vec<String>),
    Line(String),
}

impl TryFrom<Listed> for Allow {
    type Error = String;

    fn try_from(listed: Listed) -> Result<Self, String> {
        match listed {
            Listed::Several(all) => all.iter().map(|text| text.parse()).collect::<Result<_, _>>().map(Self),
            Listed::Line(line) => line.parse(),
        }
    }
}

impl FromStr for Allow {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let parts = line.split(',').filter(|part| !part.trim().is_empty());
        parts.map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl FromIterator<Network> for Allow {
    fn from_iter<T: IntoIterator<Item = Network>>(networks: T) -> Self {
        Self(networks.into_iter().collect())
    }
}

impl Allow {
    /// Nothing was said: who listens decides what that means.
    pub const UNSAID: Self = Self(Vec::new());

    /// This machine.
    #[must_use]
    pub fn this_machine() -> Self {
        let v4 = IpNet::new(IpAddr::from([127, 0, 0, 0]), 8);
        let v6 = IpNet::from(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]));
        Self(v4.into_iter().chain([v6]).map(Network).collect())
    }

    /// Whoever comes.
    #[must_use]
    pub fn everybody() -> Self {
        let all = [IpAddr::from([0; 4]), IpAddr::from([0; 16])];
        Self(all.into_iter().filter_map(|address| IpNet::new(address, 0).ok()).map(Network).collect())
    }

    /// Whether nothing was said.
    #[must_use]
    pub fn is_unsaid(&self) -> bool {
        self.0.is_empty()
    }

    /// What was said, or else: this machine where we listen on loopback, and everybody who gets there otherwise.
    #[must_use]
    pub fn or_by(self, bind: SocketAddr) -> Self {
        match (self.is_unsaid(), bind.ip().is_loopback()) {
            (false, _) => self,
            (true, true) => Self::this_machine(),
            (true, false) => Self::everybody(),
        }
    }

    /// Whether `address` may come.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }

    /// Whether the list keeps nobody out.
    #[must_use]
    pub fn is_everybody(&self) -> bool {
        self.0.iter().any(Network::is_everybody)
    }
}

impl fmt::Display for Allow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, network) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{network}")?;
        }
        Ok(())
    }
}

/// What somebody at a door must know to be let in.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Key {
    /// Nothing.
    None,
    /// Nothing, and there is nothing to be had or done behind it that matters.
    Harmless,
    /// A user and a password, always the same.
    Password,
    /// A secret that is made for one call, is good once and for a short time.
    PerCall,
}

/// What stands between one of our ports and those who are not meant to use it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exposure {
    /// What listens: `FastAGI`, `AudioSocket`.
    pub door: &'static str,
    /// The section of the configuration that it is set up in: `[agi]`.
    pub section: &'static str,
    /// Where it listens.
    pub bind: SocketAddr,
    /// Who may connect.
    pub allow: Allow,
    /// What he must know.
    pub key: Key,
    /// Whether what is said is encrypted; [`None`] where the protocol knows no such thing.
    pub tls: Option<bool>,
}

/// What an [`Exposure`] comes to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Protection {
    /// No other machine gets there.
    ThisMachine,
    /// Other machines get there: those of a list, or those who know a secret that nobody can read on the way.
    Guarded,
    /// Whoever gets there can try, or read what the others say.
    Open,
}

impl Exposure {
    /// What protects it.
    #[must_use]
    pub fn protection(&self) -> Protection {
        let secret = matches!(self.key, Key::Password | Key::PerCall);
        if self.bind.ip().is_loopback() {
            Protection::ThisMachine
        } else if !self.allow.is_everybody() || (secret && self.tls == Some(true)) {
            Protection::Guarded
        } else {
            Protection::Open
        }
    }

    /// Whether it may be opened: what is done for whoever comes, or for a password that everybody on the way can read, is
    /// not opened to everybody.
    ///
    /// # Errors
    /// A sentence that says what to do.
    pub fn check(&self) -> Result<(), String> {
        let Self { door, section, bind, .. } = self;
        match (self.protection(), self.key) {
            (Protection::Open, Key::None) => Err(format!(
                "{door} on {bind} is open to other machines and has no password: list those that may connect, `allow = [\"192.0.2.7\"]` under {section}"
            )),
            (Protection::Open, Key::Password) => Err(format!(
                "{door} on {bind} would send its password in the clear for everybody to try: set `tls_cert` and `tls_key`, or list those that may connect, `allow = [\"192.0.2.7\"]`, under {section}"
            )),
            _ => Ok(()),
        }
    }

    /// What the user can do about it, where it is open.
    #[must_use]
    pub fn advice(&self) -> Option<String> {
        let tls = if self.tls == Some(false) { ", or `tls_cert` and `tls_key`," } else { "" };
        (self.protection() == Protection::Open)
            .then(|| format!("set `allow = [\"192.0.2.7\"]`{tls} under {}", self.section))
    }
}

impl fmt::Display for Exposure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {} (", self.door, self.bind)?;
        match self.protection() {
            Protection::ThisMachine => f.write_str("this machine alone")?,
            _ if self.allow.is_everybody() => f.write_str("everybody")?,
            _ => write!(f, "for {}", self.allow)?,
        }
        f.write_str(match self.key {
            Key::None | Key::Harmless => ", no password",
            Key::Password => ", a password",
            Key::PerCall => ", a secret for each call",
        })?;
        f.write_str(if self.tls == Some(true) { ", TLS)" } else { ")" })
    }
}

/// Tells in one line which of the doors are open and what to do, and in another which there are at all.
pub fn announce(doors: &[Exposure]) {
    let list = |all: Vec<String>| all.join("; ");
    if !doors.is_empty() {
        tracing::info!(doors = list(doors.iter().map(ToString::to_string).collect()), "listening");
    }
    let open: Vec<String> =
        doors.iter().filter_map(|door| door.advice().map(|advice| format!("{door}: {advice}"))).collect();
    if !open.is_empty() {
        tracing::warn!(doors = list(open), "these doors are open to everybody who can reach this machine");
    }
}

/// How often it is said that somebody was sent away.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// Stands at a door. Cloning shares it. Any thread; nothing here waits.
#[derive(Clone, Debug)]
pub struct Guard(Arc<Post>);

#[derive(Debug)]
struct Post {
    door: &'static str,
    allow: Allow,
    refused: AtomicU64,
    /// The nanosecond before which nothing more is said.
    quiet_until: AtomicU64,
}

impl Guard {
    /// One for this door.
    #[must_use]
    pub fn new(exposure: &Exposure) -> Self {
        Self::of(exposure.door, exposure.allow.clone())
    }

    /// One for the door of this name.
    #[must_use]
    pub fn of(door: &'static str, allow: Allow) -> Self {
        Self(Arc::new(Post { door, allow, refused: AtomicU64::new(0), quiet_until: AtomicU64::new(0) }))
    }

    /// Whether somebody from `address` may come in. Who may not is counted; his connection is to be closed unread.
    #[must_use]
    pub fn admits(&self, from: IpAddr, now: Moment) -> bool {
        let may = self.0.allow.contains(from);
        if !may {
            self.refuse(now, from, &"its address is not in `allow`");
        }
        may
    }

    /// Counts somebody who is sent away for another reason.
    pub fn refuse(&self, now: Moment, from: IpAddr, why: &dyn fmt::Display) {
        let refused = self.0.refused.fetch_add(1, Ordering::Relaxed) + 1;
        let (quiet, at) = (self.0.quiet_until.load(Ordering::Relaxed), now.as_nanos());
        if at < quiet {
            return;
        }
        let next = (now + TOLD_EVERY).as_nanos();
        // Of several threads one says it.
        if self.0.quiet_until.compare_exchange(quiet, next, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            tracing::warn!(door = self.0.door, %from, %why, refused, "a connection is sent away; more are only counted for a minute");
        }
    }

    /// How many were sent away.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exposure(bind: &str, allow: &str, key: Key, tls: Option<bool>) -> Exposure {
        let bind: SocketAddr = bind.parse().unwrap();
        let allow = allow.parse::<Allow>().unwrap().or_by(bind);
        Exposure { door: "FastAGI", section: "[agi]", bind, allow, key, tls }
    }

    #[test]
    fn a_network_is_told_by_its_first_bits() {
        let network: Network = "10.1.0.0/16".parse().unwrap();
        assert!(network.contains([10, 1, 255, 1].into()));
        assert!(!network.contains([10, 2, 0, 1].into()));
        assert!(network.contains("::ffff:10.1.2.3".parse().unwrap()));
        let one: Network = "192.0.2.7".parse().unwrap();
        assert!(one.contains([192, 0, 2, 7].into()) && !one.contains([192, 0, 2, 8].into()));
        assert!("0.0.0.0/0".parse::<Network>().unwrap().contains([8, 8, 8, 8].into()));
        assert!("2001:db8::/32".parse::<Network>().unwrap().contains("2001:db8::1".parse().unwrap()));
        for wrong in ["", "10.0.0.0/33", "pbx", "10.0.0.0/x", "::/129"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_list_is_read_from_a_file_and_from_the_environment() {
        #[derive(Deserialize)]
        struct Section {
            allow: Allow,
        }
        let read = |text: &str| toml::from_str::<Section>(text).map(|section| section.allow);
        let list = read("allow = ['192.0.2.7', '10.0.0.0/8']").unwrap();
        assert_eq!(list.to_string(), "192.0.2.7, 10.0.0.0/8");
        assert_eq!(read("allow = '192.0.2.7, 10.0.0.0/8'").unwrap(), list);
        assert!(read("allow = ''").unwrap().is_unsaid());
        let error = read("allow = ['pbx']").unwrap_err().to_string();
        assert!(error.contains("no address or network"), "{error}");
        assert!(read("allow = 7").unwrap_err().to_string().contains("192.0.2.7"));
    }

    #[test]
    fn each_door_says_what_protects_it() {
        use Protection::{Guarded, Open, ThisMachine};
        for (bind, allow, key, tls, protection, opens) in [
            ("127.0.0.1:1", "", Key::None, None, ThisMachine, true),
            ("[::1]:1", "", Key::Password, Some(false), ThisMachine, true),
            ("0.0.0.0:1", "", Key::None, None, Open, false),
            ("0.0.0.0:1", "0.0.0.0/0", Key::None, None, Open, false),
            ("0.0.0.0:1", "10.0.0.0/8", Key::None, None, Guarded, true),
            ("0.0.0.0:1", "", Key::Harmless, None, Open, true),
            ("0.0.0.0:1", "", Key::Password, Some(false), Open, false),
            ("0.0.0.0:1", "", Key::Password, Some(true), Guarded, true),
            ("0.0.0.0:1", "", Key::PerCall, None, Open, true),
            ("0.0.0.0:1", "", Key::PerCall, Some(true), Guarded, true),
        ] {
            let door = exposure(bind, allow, key, tls);
            assert_eq!(door.protection(), protection, "{door}");
            assert_eq!(door.check().is_ok(), opens, "{door}");
            assert_eq!(door.advice().is_some(), protection == Open, "{door}");
        }
        let door = exposure("0.0.0.0:4573", "10.0.0.0/8", Key::None, None);
        assert_eq!(door.to_string(), "FastAGI on 0.0.0.0:4573 (for 10.0.0.0/8, no password)");
    }

    #[test]
    fn a_flood_is_counted_and_told_once_a_minute() {
        let told = count_lines(|| {
            let guard = Guard::of("AudioSocket", Allow::this_machine());
            for millis in 0..61_000 {
                assert!(!guard.admits([192, 0, 2, 7].into(), Moment::from_millis(millis)));
            }
            assert!(guard.admits([127, 0, 0, 9].into(), Moment::from_millis(1)));
            assert!(guard.admits("::1".parse().unwrap(), Moment::from_millis(1)));
            assert_eq!(guard.refused(), 61_000);
        });
        assert_eq!(told, 2);
    }

    /// How many lines are logged on this thread meanwhile.
    fn count_lines(work: impl FnOnce()) -> usize {
        use std::io::Write;
        use std::sync::Mutex;
        #[derive(Clone, Default)]
        struct Log(Arc<Mutex<Vec<u8>>>);
        impl Write for Log {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.lock().unwrap().extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let log = Log::default();
        let writer = log.clone();
        let lines = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(lines, work);
        let text = log.0.lock().unwrap();
        text.iter().filter(|byte| **byte == b'\n').count()
    }
}
