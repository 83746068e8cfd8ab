//! A password that cannot be printed by accident.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Text that must not be shown: its `Debug` prints `***`, it has no `Display` and cannot be serialized.
///
/// In configuration it is a plain string; [`Secret::from_env`] and [`Secret::from_file`] read it from elsewhere.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps `text`.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Reads the environment variable `name`.
    ///
    /// # Errors
    ///
    /// [`SecretError::Unset`] when it is unset, empty or no UTF-8.
    pub fn from_env(name: &str) -> Result<Self, SecretError> {
        match std::env::var(name) {
            Ok(text) if !text.is_empty() => Ok(Self(text)),
            _ => Err(SecretError::Unset(name.to_owned())),
        }
    }

    /// Reads the first line of the file at `path`, as secret stores and containers mount them. Blocks on the disk.
    ///
    /// # Errors
    ///
    /// [`SecretError::Unreadable`] when it cannot be read, [`SecretError::Empty`] when its first line is empty.
    pub fn from_file(path: &Path) -> Result<Self, SecretError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| SecretError::Unreadable { path: path.to_owned(), source })?;
        match text.lines().next() {
            Some(line) if !line.trim().is_empty() => Ok(Self(line.trim_end_matches('\r').to_owned())),
            _ => Err(SecretError::Empty(path.to_owned())),
        }
    }

    /// The text itself, to be handed to a protocol and to nobody else.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Why a secret could not be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The environment variable is unset, empty or no UTF-8.
    #[error("the environment variable {0} is not set: set it, or write the password into the configuration")]
    Unset(String),
    /// The file cannot be read.
    #[error("cannot read the password from {}: {source}; check that the file exists and that Offhook may read it", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file's first line is empty.
    #[error("{} has no password on its first line: write it there", .0.display())]
    Empty(PathBuf),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_print_itself() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret:?}"), "***");
        assert_eq!(secret.reveal(), "hunter2");
    }

    #[test]
    fn a_file_gives_its_first_line_without_the_line_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        std::fs::write(&path, "pass word \r\nsecond\n").unwrap();
        assert_eq!(Secret::from_file(&path).unwrap().reveal(), "pass word ");
        std::fs::write(&path, "\n").unwrap();
        assert!(matches!(Secret::from_file(&path), Err(SecretError::Empty(_))));
        let missing = Secret::from_file(&dir.path().join("missing")).unwrap_err();
        assert!(missing.to_string().contains("check that the file exists"), "{missing}");
    }
}
