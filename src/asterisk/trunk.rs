//! SIP trunks that are made while Asterisk runs: endpoint, AOR, authentication, registration and identification, pushed
//! into its configuration over ARI.
//!
//! Nothing is put together from text that has not been taken apart before: each part of a trunk is a type whose
//! values can stand where they are written.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde_json::{Value, json};

use super::ami::actions::PjsipShowRegistrationsOutbound;
use super::ami::{Ami, AmiError};
use super::ari::model::ConfigTuple;
use super::ari::{Ari, AriError};
use super::secret::Secret;

/// The name of Asterisk's store for what SIP is configured by.
const CLASS: &str = "res_pjsip";
/// By what we know our trunks: the name of their SDP sessions. (Variables of endpoints do not survive in Asterisk's database.)
const MARK: &str = "offhook-trunk";

/// Declares texts of one kind of characters each.
macro_rules! parts {
    ($($(#[$doc:meta])* $name:ident($most:literal, $wants:literal, $allowed:expr);)+) => { $(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(String);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = TrunkError;

            fn from_str(text: &str) -> Result<Self, TrunkError> {
                let allowed: fn(char) -> bool = $allowed;
                if text.is_empty() || text.len() > $most || !text.chars().all(allowed) {
                    return Err(TrunkError::Part { what: stringify!($name), wants: $wants });
                }
                Ok(Self(text.to_owned()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    )+ };
}

parts! {
    /// The name of a trunk, as in `PJSIP/NUMBER@NAME`.
    Name(40, "up to 40 letters, digits, - and _", |c| c.is_ascii_alphanumeric() || "-_".contains(c));
    /// A user at the far end.
    User(80, "up to 80 letters, digits, and . _ + -", |c| c.is_ascii_alphanumeric() || "._+-".contains(c));
    /// A context of the dialplan.
    Context(80, "up to 80 letters, digits, - and _", |c| c.is_ascii_alphanumeric() || "-_".contains(c));
    /// A codec by Asterisk's name for it.
    Codec(20, "a codec as Asterisk names it: ulaw, alaw, g722, opus", |c| c.is_ascii_lowercase() || c.is_ascii_digit());
    /// A telephone number to be dialled.
    Number(32, "up to 32 digits, with + * and #", |c| c.is_ascii_digit() || "+*#".contains(c));
}

impl Name {
    /// How a number is called over this trunk.
    #[must_use]
    pub fn dial(&self, number: &Number) -> String {
        format!("PJSIP/{number}@{self}")
    }
}

/// A host, with its port if that is not 5060.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Host {
    name: String,
    port: Option<u16>,
}

impl Host {
    /// Without the port.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for Host {
    type Err = TrunkError;

    fn from_str(text: &str) -> Result<Self, TrunkError> {
        let wrong = TrunkError::Part {
            what: "Host",
            wants: "a host name or address, with its port: sip.example.com:5060",
        };
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) if !name.contains(':') || name.ends_with(']') => (name, Some(port)),
            _ => (text, None),
        };
        let port = match port.map(u16::from_str) {
            None => None,
            Some(Ok(port @ 1..)) => Some(port),
            Some(_) => return Err(wrong),
        };
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        let name = match bare.parse() {
            Ok(IpAddr::V6(address)) => format!("[{address}]"),
            Ok(IpAddr::V4(address)) => address.to_string(),
            Err(_) => {
                let fine = |label: &str| {
                    !label.is_empty()
                        && label.len() < 64
                        && !label.starts_with('-')
                        && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
                };
                if name.len() > 253 || !name.trim_end_matches('.').split('.').all(fine) {
                    return Err(wrong);
                }
                name.to_owned()
            }
        };
        Ok(Self { name, port })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// Whose packets are the trunk's: an address, or a network of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Source(String);

impl FromStr for Source {
    type Err = TrunkError;

    fn from_str(text: &str) -> Result<Self, TrunkError> {
        let wrong =
            TrunkError::Part { what: "Source", wants: "an address or a network: 192.0.2.10 or 192.0.2.0/24" };
        let (address, bits) =
            text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let Ok(address) = address.parse::<IpAddr>() else { return Err(wrong) };
        let most = if address.is_ipv4() { 32 } else { 128 };
        match bits.map(u8::from_str) {
            None => Ok(Self(address.to_string())),
            Some(Ok(bits)) if bits <= most => Ok(Self(format!("{address}/{bits}"))),
            Some(_) => Err(wrong),
        }
    }
}

/// A user and his password at the far end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Account {
    /// The user.
    pub user: User,
    /// His password.
    pub password: Secret,
    /// Whether we tell the far end where we are, so that it sends us calls.
    pub register: bool,
}

/// A trunk: a far end that calls go to and come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trunk {
    /// Its name.
    pub name: Name,
    /// The far end.
    pub host: Host,
    /// Who we are there; none where it knows us by our address.
    pub account: Option<Account>,
    /// Where its calls come from; the host where nothing is said.
    pub from: Vec<Source>,
    /// Where calls that come by it begin in the dialplan.
    pub context: Context,
    /// The codecs, the best first.
    pub codecs: Vec<Codec>,
}

/// What a trunk is like now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrunkState {
    /// Its name.
    pub name: String,
    /// Where it leads.
    pub contact: String,
    /// Whether Asterisk registers there. (How that goes is told by AMI alone.)
    pub registers: bool,
    /// `online` when the far end answers Asterisk's OPTIONS, `offline` when not.
    pub state: String,
    /// Channels that are up over it.
    pub channels: usize,
}

/// What can go wrong with trunks.
#[derive(Debug, thiserror::Error)]
pub enum TrunkError {
    /// A part is not of its form.
    #[error("{what} cannot be used: write {wants}")]
    Part {
        /// Which.
        what: &'static str,
        /// What would be accepted.
        wants: &'static str,
    },
    /// Asterisk keeps no such objects.
    #[error(
        "Asterisk has nowhere to keep a SIP {kind} that is made while it runs: include asterisk/sorcery.conf in its sorcery.conf, and restart it"
    )]
    NotWritable {
        /// What: endpoint, aor, auth, registration or identify.
        kind: &'static str,
    },
    /// There is an endpoint of this name that is none of ours.
    #[error("Asterisk has an endpoint '{0}' that Offhook did not make: choose another name for the trunk")]
    Taken(Name),
    /// There is no trunk of this name.
    #[error("there is no trunk '{0}': `offhook trunk list` names those there are")]
    Unknown(Name),
    /// Asterisk refused or did not answer.
    #[error(transparent)]
    Asterisk(#[from] AriError),
}

/// An object of Asterisk's configuration.
struct Object {
    kind: &'static str,
    fields: Vec<(&'static str, String)>,
}

/// The kinds, in the order in which they are made: each names only those before it.
const KINDS: [&str; 5] = ["auth", "aor", "endpoint", "identify", "registration"];

impl Trunk {
    fn objects(&self) -> Vec<Object> {
        let name = || self.name.to_string();
        let uri = format!("sip:{}", self.host);
        let mut objects = Vec::new();
        let mut object = |kind, fields| objects.push(Object { kind, fields });
        if let Some(account) = &self.account {
            object(
                KINDS[0],
                vec![
                    ("auth_type", "userpass".into()),
                    ("username", account.user.to_string()),
                    ("password", account.password.reveal().to_owned()),
                ],
            );
        }
        // Asked every quarter of a minute whether it is there, for the first time at some moment of the first one.
        object(KINDS[1], vec![("contact", uri.clone()), ("qualify_frequency", "15".into())]);
        let codecs: Vec<_> = self.codecs.iter().map(Codec::as_str).collect();
        let mut endpoint = vec![
            ("context", self.context.to_string()),
            ("disallow", "all".into()),
            ("allow", codecs.join(",")),
            ("aors", name()),
            ("dtmf_mode", "rfc4733".into()),
            // Asterisk stays in the media path, for that is where we get the audio from.
            ("direct_media", "no".into()),
            ("rtp_symmetric", "yes".into()),
            ("force_rport", "yes".into()),
            // By which trunk a call came, for the dialplan, for ARI and for the bill.
            ("accountcode", name()),
            ("sdp_session", MARK.into()),
        ];
        if let Some(account) = &self.account {
            endpoint.push(("outbound_auth", name()));
            endpoint.push(("from_user", account.user.to_string()));
        }
        object(KINDS[2], endpoint);
        let sources: Vec<_> = self.from.iter().map(|source| source.0.clone()).collect();
        let sources = if sources.is_empty() { self.host.name().to_owned() } else { sources.join(",") };
        object(KINDS[3], vec![("endpoint", name()), ("match", sources)]);
        if let Some(account) = self.account.as_ref().filter(|account| account.register) {
            object(
                KINDS[4],
                vec![
                    ("server_uri", uri),
                    ("client_uri", format!("sip:{}@{}", account.user, self.host)),
                    ("contact_user", account.user.to_string()),
                    ("outbound_auth", name()),
                    // Calls that come because of it are known by it, wherever they come from.
                    ("line", "yes".into()),
                    ("endpoint", name()),
                    ("retry_interval", "20".into()),
                ],
            );
        }
        objects
    }

    /// Makes the trunk, or changes the one of this name. What was made is removed when the rest cannot be. Asterisk reads
    /// its pjsip.conf again at the end.
    ///
    /// # Errors
    ///
    /// When the name is taken by an endpoint of somebody else's, or Asterisk cannot keep it.
    pub async fn add(&self, ari: &Ari) -> Result<(), TrunkError> {
        let there = match read(ari, "endpoint", self.name.as_str()).await? {
            Some(fields) if !is_ours(&fields) => return Err(TrunkError::Taken(self.name.clone())),
            there => there.is_some(),
        };
        let objects = self.objects();
        for object in &objects {
            let fields: Vec<Value> = object
                .fields
                .iter()
                .map(|(name, value)| json!({"attribute": name, "value": value}))
                .collect();
            let body = json!({ "fields": fields });
            let made = ari.asterisk().update_object(CLASS, object.kind, self.name.as_str(), &body).await;
            if let Err(error) = made {
                if !there {
                    remove_all(ari, &self.name).await?;
                }
                return Err(not_kept(object.kind, error));
            }
        }
        // Whether the far end is there is asked only of what was there when Asterisk read its configuration.
        ari.asterisk().reload_module("res_pjsip.so").await?;
        // One that had an account or registered before, and does not any more.
        for kind in KINDS.iter().rev().filter(|kind| objects.iter().all(|object| object.kind != **kind)) {
            delete(ari, kind, &self.name).await?;
        }
        Ok(())
    }
}

/// Removes a trunk; calls over it go on.
///
/// # Errors
///
/// When there is none of this name, or it is none of ours.
pub async fn remove(ari: &Ari, name: &Name) -> Result<(), TrunkError> {
    match read(ari, "endpoint", name.as_str()).await? {
        None => Err(TrunkError::Unknown(name.clone())),
        Some(fields) if !is_ours(&fields) => Err(TrunkError::Taken(name.clone())),
        Some(_) => remove_all(ari, name).await,
    }
}

/// The trunks that Offhook made, by name.
///
/// # Errors
///
/// When Asterisk refuses or does not answer.
pub async fn list(ari: &Ari) -> Result<Vec<TrunkState>, TrunkError> {
    let mut trunks = Vec::new();
    let endpoints = match ari.endpoints().of("PJSIP").await {
        Ok(endpoints) => endpoints,
        Err(error) if error.is_gone() => return Ok(trunks),
        Err(error) => return Err(error.into()),
    };
    for endpoint in endpoints {
        let name = endpoint.resource;
        if !read(ari, "endpoint", &name).await?.is_some_and(|fields| is_ours(&fields)) {
            continue;
        }
        let aor = read(ari, "aor", &name).await?.unwrap_or_default();
        let registers = read(ari, "registration", &name).await?.is_some();
        trunks.push(TrunkState {
            contact: value(&aor, "contact").unwrap_or_default().to_owned(),
            registers,
            state: endpoint.state,
            channels: endpoint.channel_ids.len(),
            name,
        });
    }
    trunks.sort_by(|a, b| a.name.cmp(&b.name));
    trunks.dedup_by(|a, b| a.name == b.name);
    Ok(trunks)
}

/// How the registrations of a server's trunks go, by their names: `Registered`, `Unregistered`, `Rejected`. ARI does not tell.
///
/// # Errors
/// When AMI is away or does not let us.
pub async fn registrations(ami: &Ami) -> Result<HashMap<String, String>, AmiError> {
    let all = match ami.run(&PjsipShowRegistrationsOutbound {}).await {
        // That is how it says that there are none.
        Err(AmiError::Refused { .. }) => Vec::new(),
        other => other?,
    };
    let told = all.into_iter().filter(|one| !one.status.is_empty());
    Ok(told.map(|one| (one.name, one.status)).collect())
}

async fn remove_all(ari: &Ari, name: &Name) -> Result<(), TrunkError> {
    for kind in KINDS.into_iter().rev() {
        delete(ari, kind, name).await?;
    }
    Ok(())
}

async fn delete(ari: &Ari, kind: &'static str, name: &Name) -> Result<(), TrunkError> {
    match ari.asterisk().delete_object(CLASS, kind, name.as_str()).await {
        Err(error) if !error.is_gone() => Err(not_kept(kind, error)),
        _ => Ok(()),
    }
}

async fn read(ari: &Ari, kind: &str, name: &str) -> Result<Option<Vec<ConfigTuple>>, TrunkError> {
    match ari.asterisk().get_object(CLASS, kind, name).await {
        Ok(fields) => Ok(Some(fields)),
        Err(error) if error.is_gone() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn value<'a>(fields: &'a [ConfigTuple], name: &str) -> Option<&'a str> {
    fields.iter().find(|field| field.attribute == name).map(|field| field.value.as_str())
}

fn is_ours(fields: &[ConfigTuple]) -> bool {
    value(fields, "sdp_session") == Some(MARK)
}

/// Asterisk says so in words alone.
fn not_kept(kind: &'static str, error: AriError) -> TrunkError {
    let said = match &error {
        AriError::Forbidden { message, .. }
        | AriError::Refused { message, .. }
        | AriError::Conflict { message, .. }
        | AriError::Server { message, .. } => message.as_str(),
        _ => "",
    };
    if said.contains("sorcery") { TrunkError::NotWritable { kind } } else { error.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_means_something_to_asterisk_gets_into_a_dial_string() {
        let name: Name = "carrier-1".parse().unwrap();
        assert_eq!(name.dial(&"+4930123456".parse().unwrap()), "PJSIP/+4930123456@carrier-1");
        for number in
            ["", "1&PJSIP/2", "1/2", "${EXTEN}", "1@evil", "1 2", "1,2", "1;2", "1\n2", &"1".repeat(33)]
        {
            assert!(number.parse::<Number>().is_err(), "{number}");
        }
        for name in ["", "a/b", "a@b", "a b", "ä", "a;b"] {
            assert!(name.parse::<Name>().is_err(), "{name}");
        }
    }

    #[test]
    fn a_host_is_a_name_or_an_address_with_or_without_a_port() {
        for (text, written) in [
            ("sip.example.com", "sip.example.com"),
            ("192.0.2.1:5080", "192.0.2.1:5080"),
            ("[2001:db8::1]:5060", "[2001:db8::1]:5060"),
            ("2001:db8::1", "[2001:db8::1]"),
        ] {
            assert_eq!(text.parse::<Host>().unwrap().to_string(), written);
        }
        for text in ["", ":5060", "a b", "a:0", "a:70000", "a;transport=tcp", "-a.com", "a..b", "a@b", "a>"] {
            assert!(text.parse::<Host>().is_err(), "{text}");
        }
        assert_eq!("192.0.2.0/24".parse::<Source>().unwrap().0, "192.0.2.0/24");
        for text in ["", "example.com", "192.0.2.0/33", "192.0.2.0/x"] {
            assert!(text.parse::<Source>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_trunk_without_an_account_has_neither_authentication_nor_registration() {
        let mut trunk = Trunk {
            name: "carrier".parse().unwrap(),
            host: "192.0.2.1".parse().unwrap(),
            account: None,
            from: Vec::new(),
            context: "offhook".parse().unwrap(),
            codecs: vec!["ulaw".parse().unwrap(), "alaw".parse().unwrap()],
        };
        let kinds = |trunk: &Trunk| trunk.objects().iter().map(|object| object.kind).collect::<Vec<_>>();
        assert_eq!(kinds(&trunk), ["aor", "endpoint", "identify"]);
        trunk.account =
            Some(Account { user: "bob".parse().unwrap(), password: Secret::new("x"), register: true });
        assert_eq!(kinds(&trunk), KINDS);
        assert!(!format!("{trunk:?}").contains("\"x\""));
    }

    #[test]
    fn an_asterisk_that_keeps_no_such_objects_is_told_what_it_lacks() {
        let error = AriError::Forbidden {
            peer: String::new(),
            user: String::new(),
            operation: String::new(),
            // As an Asterisk 22 says it.
            message: "Cannot create sorcery objects of type 'endpoint'".into(),
        };
        let error = not_kept("endpoint", error);
        assert!(matches!(error, TrunkError::NotWritable { kind: "endpoint" }), "{error:?}");
        assert!(error.to_string().contains("asterisk/sorcery.conf"), "{error}");
    }
}
