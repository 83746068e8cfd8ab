//! The key by which a service knows us.

use std::fmt;
use std::path::Path;

use reqwest::header::HeaderValue;

use crate::secret::{Secret, SecretError};

/// A service's key. Its `Debug` prints `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(Secret);

impl Key {
    /// Wraps what the configuration has.
    #[must_use]
    pub const fn new(secret: Secret) -> Self {
        Self(secret)
    }

    /// The key out of the value that is written down, the file that is named, or the first of the environment's variables
    /// that is set, in this order; [`None`] where there is none of them. Blocks on the disk.
    ///
    /// # Errors
    /// When the file that is named cannot be read or is empty.
    pub fn find(
        value: Option<&Secret>,
        file: Option<&Path>,
        variables: &[&str],
    ) -> Result<Option<Self>, SecretError> {
        if let Some(value) = value {
            return Ok(Some(Self(value.clone())));
        }
        if let Some(file) = file {
            return Secret::from_file(file).map(|secret| Some(Self(secret)));
        }
        Ok(variables.iter().find_map(|name| Secret::from_env(name).ok()).map(Self))
    }

    /// The key itself, to be handed to the service and to nobody else.
    #[must_use]
    pub fn reveal(&self) -> &str {
        self.0.reveal()
    }

    /// The value of a header, as `Bearer KEY` for the scheme `Bearer` and `KEY` alone for none; marked so that nothing
    /// prints it. [`None`] when the key has characters that no header may have.
    #[must_use]
    pub fn header(&self, scheme: &str) -> Option<HeaderValue> {
        let key = self.reveal().trim();
        let text = if scheme.is_empty() { key.to_owned() } else { format!("{scheme} {key}") };
        let mut value = HeaderValue::from_str(&text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_down_goes_before_a_file_and_the_environment() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        std::fs::write(&file, "from-the-file\n").unwrap();
        let value = Secret::new("written");
        let find =
            |value, file| Key::find(value, file, &["OFFHOOK_TEST_NO_SUCH_KEY", "PATH"]).unwrap().unwrap();
        assert_eq!(find(Some(&value), Some(&file)).reveal(), "written");
        assert_eq!(find(None, Some(&file)).reveal(), "from-the-file");
        assert_eq!(find(None, None).reveal(), std::env::var("PATH").unwrap());
        assert_eq!(Key::find(None, None, &["OFFHOOK_TEST_NO_SUCH_KEY"]).unwrap(), None);
        assert!(Key::find(None, Some(&dir.path().join("gone")), &[]).is_err());
    }

    #[test]
    fn nothing_prints_it() {
        let key = Key::new(Secret::new("sk-very-secret"));
        assert!(!format!("{key:?} {:?}", key.header("Bearer")).contains("secret"));
        assert_eq!(key.header("Token").unwrap(), "Token sk-very-secret");
        assert_eq!(key.header("").unwrap(), "sk-very-secret");
        assert!(Key::new(Secret::new("line\nbreak")).header("Bearer").is_none());
    }
}
