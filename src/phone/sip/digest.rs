//! Digest authentication (RFC 2617 as SIP uses it, RFC 3261 section 22): MD5, with and without `qop=auth`.

use std::fmt::Write as _;

use md5::{Digest as _, Md5};

/// Who the phone is to a server that asks.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// User name.
    pub user: String,
    /// Password.
    pub password: String,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A password in a log line would be there for good.
        f.debug_struct("Account").field("user", &self.user).finish_non_exhaustive()
    }
}

/// What a WWW-Authenticate or Proxy-Authenticate header asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    realm: String,
    nonce: String,
    opaque: Option<String>,
    qop_auth: bool,
}

impl Challenge {
    /// Reads the value of the header; [`None`] when it is not Digest with MD5.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        let (scheme, rest) = value.trim().split_once([' ', '\t'])?;
        if !scheme.eq_ignore_ascii_case("digest") {
            return None;
        }
        let mut challenge =
            Self { realm: String::new(), nonce: String::new(), opaque: None, qop_auth: false };
        for (name, value) in fields(rest) {
            match name.to_ascii_lowercase().as_str() {
                "realm" => challenge.realm = value,
                "nonce" => challenge.nonce = value,
                "opaque" => challenge.opaque = Some(value),
                "qop" => challenge.qop_auth = value.split(',').any(|q| q.trim().eq_ignore_ascii_case("auth")),
                "algorithm" if !value.eq_ignore_ascii_case("md5") => return None,
                _ => {}
            }
        }
        (!challenge.nonce.is_empty()).then_some(challenge)
    }

    /// The value of the Authorization or Proxy-Authorization header for `method` on `uri`. `cnonce` is any token
    /// that is not used twice.
    #[must_use]
    pub fn answer(&self, account: &Account, method: &str, uri: &str, cnonce: &str) -> String {
        let secret = hex_md5(&format!("{}:{}:{}", account.user, self.realm, account.password));
        let what = hex_md5(&format!("{method}:{uri}"));
        let response = if self.qop_auth {
            hex_md5(&format!("{secret}:{}:00000001:{cnonce}:auth:{what}", self.nonce))
        } else {
            hex_md5(&format!("{secret}:{}:{what}", self.nonce))
        };
        let mut value = format!(
            "Digest username=\"{}\", realm=\"{}\", nonce=\"{}\", uri=\"{uri}\", response=\"{response}\", algorithm=MD5",
            account.user, self.realm, self.nonce
        );
        // Writing to a String cannot fail.
        if self.qop_auth {
            let _ = write!(value, ", qop=auth, nc=00000001, cnonce=\"{cnonce}\"");
        }
        if let Some(opaque) = &self.opaque {
            let _ = write!(value, ", opaque=\"{opaque}\"");
        }
        value
    }
}

/// `name=value` and `name="value"` pairs between commas.
fn fields(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once('=') {
        let after = after.trim_start();
        let (value, tail) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_once(',').map_or((after, ""), |(v, _)| (v.trim_end(), &after[v.len()..])),
        };
        found.push((name.trim_matches([',', ' ', '\t']).to_owned(), value.to_owned()));
        rest = tail;
    }
    found
}

fn hex_md5(text: &str) -> String {
    let mut hex = String::with_capacity(32);
    for byte in Md5::digest(text.as_bytes()) {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_2617_comes_out() {
        let challenge = Challenge::parse(
            "Digest realm=\"testrealm@host.com\", qop=\"auth,auth-int\", \
             nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"",
        )
        .expect("a challenge");
        let account = Account { user: "Mufasa".into(), password: "Circle Of Life".into() };
        let answer = challenge.answer(&account, "GET", "/dir/index.html", "0a4f113b");
        assert!(answer.contains("response=\"6629fae49393a05397450978507c4ef1\""), "{answer}");
        assert!(answer.contains("opaque=\"5ccc069c403ebaf9f0171e9517f40e41\""), "{answer}");
    }

    #[test]
    fn without_qop_the_short_form_is_used() {
        let challenge =
            Challenge::parse("digest nonce=\"n\",realm=\"r\",algorithm=md5").expect("a challenge");
        let account = Account { user: "u".into(), password: "p".into() };
        let answer = challenge.answer(&account, "INVITE", "sip:x", "c");
        let expected = hex_md5(&format!("{}:n:{}", hex_md5("u:r:p"), hex_md5("INVITE:sip:x")));
        assert!(answer.contains(&expected) && !answer.contains("cnonce"), "{answer}");
    }

    #[test]
    fn what_is_not_md5_is_not_answered() {
        assert_eq!(Challenge::parse("Digest realm=\"r\", nonce=\"n\", algorithm=SHA-256"), None);
        assert_eq!(Challenge::parse("Basic realm=\"r\""), None);
        assert_eq!(Challenge::parse("Digest"), None);
    }

    #[test]
    fn a_password_is_not_shown() {
        let account = Account { user: "u".into(), password: "hunter2".into() };
        assert!(!format!("{account:?}").contains("hunter2"));
    }

    proptest::proptest! {
        #[test]
        fn any_header_is_read_or_refused(text in "(Digest )?[ -~]{0,80}") {
            let _ = Challenge::parse(&text);
        }
    }
}
