//! One connection: dialled, signed in, and then a reader and a writer beside each other.

use std::sync::Arc;
use std::time::Duration;

use md5::{Digest as _, Md5};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::action::Action;
use super::client::Why;
use super::config::{AmiConfig, Login, Tls};
use super::message::Message;
use super::wire::Parser;

/// A byte stream, encrypted or not.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection that is signed in.
pub(super) struct Connection {
    pub stream: Box<dyn Stream>,
    pub parser: Parser,
    /// Messages that came while we signed in and are no answers to that.
    pub early: Vec<Message>,
    /// What follows `Asterisk Call Manager/`.
    pub version: String,
}

/// The ids of what is sent before anybody can ask for anything.
const SIGN_IN: &str = "offhook-sign-in";

impl Connection {
    /// Dials and signs in.
    pub async fn open(config: &AmiConfig) -> Result<Self, Why> {
        timeout(config.connect_timeout, Self::open_now(config)).await.unwrap_or_else(|_| {
            Err(Why::Unreachable(format!("no answer within {:?}", config.connect_timeout)))
        })
    }

    async fn open_now(config: &AmiConfig) -> Result<Self, Why> {
        let stream = dial(config).await?;
        let mut this =
            Self { stream, parser: Parser::new(config.limits), early: Vec::new(), version: String::new() };
        while this.parser.greeting().is_none() {
            this.fill().await?;
        }
        let greeting = this.parser.greeting().unwrap_or_default();
        this.version = match greeting.split_once("Call Manager/") {
            Some((_, version)) => version.chars().take(40).collect(),
            None => return Err(Why::NoAmi),
        };
        this.sign_in(config).await?;
        Ok(this)
    }

    async fn sign_in(&mut self, config: &AmiConfig) -> Result<(), Why> {
        let mut login = Action::new("Login").with("Username", &config.user);
        match config.login {
            Login::Plain => login.put("Secret", config.secret.reveal()),
            Login::Md5 => {
                let answer = self.ask(&Action::new("Challenge").with("AuthType", "MD5")).await?;
                let challenge = answer.get("Challenge").unwrap_or_default();
                login.put("AuthType", "MD5");
                login.put("Key", md5_key(challenge, config.secret.reveal()));
            }
        }
        // Nothing may come before the filters are in place.
        let filtered = !config.filters.is_empty();
        login.put("Events", if filtered { "off" } else { config.classes.as_str() });
        self.ask(&login).await?;
        for filter in &config.filters {
            let action = Action::new("Filter").with("Operation", "Add").with("Filter", filter);
            self.ask(&action).await?;
        }
        if filtered {
            self.ask(&Action::new("Events").with("EventMask", &config.classes)).await?;
        }
        Ok(())
    }

    /// Sends one action and waits for its answer.
    async fn ask(&mut self, action: &Action) -> Result<Message, Why> {
        let bytes = action.encode(SIGN_IN).map_err(|error| Why::Refused(error.to_string()))?;
        self.stream.write_all(&bytes).await.map_err(broken)?;
        loop {
            while let Some(message) = self.parser.take() {
                if message.response().is_none() {
                    self.early.push(message);
                } else if message.is_success() {
                    return Ok(message);
                } else {
                    let said = message.get("Message").unwrap_or_default();
                    return Err(match action.name() {
                        "Login" => Why::Unauthorized,
                        // A user whose address is not permitted, or an unknown one, is told at the challenge already.
                        "Challenge" if !said.contains("AuthType") => Why::Unauthorized,
                        name => Why::Refused(format!("{name}: {said}")),
                    });
                }
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> Result<(), Why> {
        let mut buffer = [0; 4_096];
        match self.stream.read(&mut buffer).await {
            Ok(0) => Err(Why::Closed),
            Ok(length) => {
                self.parser.feed(&buffer[..length]);
                Ok(())
            }
            Err(error) => Err(broken(error)),
        }
    }
}

/// What the server compares: MD5 of challenge and secret, in hexadecimal digits.
fn md5_key(challenge: &str, secret: &str) -> String {
    let mut digest = Md5::new();
    digest.update(challenge);
    digest.update(secret);
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err hands over")]
pub(super) fn broken(error: std::io::Error) -> Why {
    Why::Broken(error.to_string())
}

async fn dial(config: &AmiConfig) -> Result<Box<dyn Stream>, Why> {
    let (host, port) = config.peer().map_err(|error| Why::Unreachable(error.to_string()))?;
    let stream = TcpStream::connect((host.as_str(), port))
        .await
        .map_err(|error| Why::Unreachable(error.to_string()))?;
    // Actions are small and should not wait for anything; without this they still work.
    let _ = stream.set_nodelay(true);
    let Some(tls) = &config.tls else { return Ok(Box::new(stream)) };
    let name = tls.name.clone().unwrap_or(host);
    let name = ServerName::try_from(name).map_err(|error| Why::Tls(error.to_string()))?;
    let connector = connector(tls).await?;
    let stream = connector.connect(name, stream).await.map_err(|error| Why::Tls(error.to_string()))?;
    Ok(Box::new(stream))
}

async fn connector(tls: &Tls) -> Result<TlsConnector, Why> {
    crate::asterisk::tls::install();
    let ca_file = tls.ca_file.clone();
    let roots = tokio::task::spawn_blocking(move || {
        let mut roots = rustls::RootCertStore::empty();
        // A broken certificate among the system's is no reason to trust none of them.
        let _ = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(file) = ca_file {
            let told = |error: &dyn std::fmt::Display| {
                Why::Tls(format!("{}: {error}; ca_file wants certificates in PEM form", file.display()))
            };
            let certificates = CertificateDer::pem_file_iter(&file).map_err(|error| told(&error))?;
            for certificate in certificates {
                roots.add(certificate.map_err(|error| told(&error))?).map_err(|error| told(&error))?;
            }
        }
        Ok(roots)
    });
    let roots = roots.await.map_err(|error| Why::Tls(error.to_string()))??;
    let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// How often the far end is asked whether it is there.
pub(super) const PING_EVERY: Duration = Duration::from_secs(5);
/// Silence after which it is not.
pub(super) const DEAD_AFTER: Duration = Duration::from_secs(12);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_a_challenge_is_what_asterisk_computes() {
        // printf 840415273secret | md5sum
        assert_eq!(md5_key("840415273", "secret"), "81c3ab5534a432bec402f6d988ee45b4");
    }
}
