//! The crypto provider of the process, whom a client trusts, and who a server of ours is.
//!
//! Some crates bring ring, some aws-lc; rustls refuses to choose. Offhook uses ring everywhere.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// Why there can be no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file cannot be read, or holds no certificate.
    #[error(
        "{} holds no certificate that can be read ({reason}): name a file with the certificate of the authority, as PEM",
        path.display()
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A server's files do not make a pair that can be used.
    #[error(
        "{} and {} do not make a certificate and its key ({reason}): name the certificate with the chain below it, and its private key, both as PEM",
        certificate.display(), key.display()
    )]
    NoPair {
        /// The file with the certificates.
        certificate: PathBuf,
        /// The file with the key.
        key: PathBuf,
        /// What is wrong with them.
        reason: String,
    },
    /// There is nobody to trust.
    #[error(
        "this machine has no certificates to trust: install the package ca-certificates, or set `ca_file`"
    )]
    Nobody,
}

/// Makes ring the provider of every TLS connection of this process. Any thread, any number of times; a provider that is
/// installed already stays.
pub fn install() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Another thread may have been faster: its provider is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

/// What a client trusts: the authorities of the system, and those in `ca_file` (PEM). Blocks on the disk.
///
/// # Errors
///
/// When the file holds no certificate, or there is nobody to trust at all.
pub fn client(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, TlsError> {
    install();
    let mut roots = RootCertStore::empty();
    // Single certificates of the system that cannot be read are no reason to trust none.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca_file {
        let unreadable = |reason: String| TlsError::Unreadable { path: path.to_owned(), reason };
        let pems = CertificateDer::pem_file_iter(path).map_err(|error| unreadable(error.to_string()))?;
        let mut found = 0;
        for certificate in pems {
            let certificate = certificate.map_err(|error| unreadable(error.to_string()))?;
            roots.add(certificate).map_err(|error| unreadable(error.to_string()))?;
            found += 1;
        }
        if found == 0 {
            return Err(unreadable("there is none in it".to_owned()));
        }
    }
    if roots.is_empty() {
        return Err(TlsError::Nobody);
    }
    Ok(Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()))
}

/// Who a server of ours is: two files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Its certificate and the chain below it, as PEM.
    pub certificate: PathBuf,
    /// The private key, as PEM.
    pub key: PathBuf,
}

/// What a server of ours shows to who connects. Blocks on the disk.
///
/// # Errors
///
/// [`TlsError::NoPair`] when the files cannot be read or do not belong together.
pub fn server(identity: &Identity) -> Result<Arc<ServerConfig>, TlsError> {
    install();
    let Identity { certificate, key } = identity;
    let wrong =
        |reason: String| TlsError::NoPair { certificate: certificate.clone(), key: key.clone(), reason };
    let pems = CertificateDer::pem_file_iter(certificate).map_err(|error| wrong(error.to_string()))?;
    let chain = pems.collect::<Result<Vec<_>, _>>().map_err(|error| wrong(error.to_string()))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(error.to_string()))?;
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key);
    config.map(Arc::new).map_err(|error| wrong(error.to_string()))
}
