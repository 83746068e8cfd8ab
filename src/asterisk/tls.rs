//! The crypto provider of the process.
//!
//! Some crates bring ring, some aws-lc; rustls refuses to choose. Offhook uses ring everywhere.

/// Makes ring the provider of every TLS connection of this process. Any thread, any number of times; a provider that is
/// installed already stays.
pub fn install() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Another thread may have been faster: its provider is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}
