//! `[engine]`: limits and shutting down. `[health]`: who may ask how it is.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;

use crate::guard::{Allow, Exposure, Key};

/// `[engine]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EngineSection {
    /// The bot for a call that names none; needed only where there are several.
    pub bot: Option<String>,
    /// Calls at once; one more is left to the dialplan.
    pub max_calls: usize,
    /// New calls a second; 0 is no limit.
    pub max_calls_per_second: f64,
    /// Calls that may come at the same moment where their rate is limited; 0 is those of two seconds.
    pub burst: u32,
    /// No new calls while more than this share of the audio ticks of those that are up comes late, in percent; 0 is no limit.
    pub max_late_percent: f64,
    /// No new calls while more utterances than this wait for a decoder; 0 is no limit.
    pub max_waiting: usize,
    /// At the end, calls may go on for this long before the bot says goodbye.
    pub drain_seconds: u64,
    /// Said to callers who are still there then, where their bot has no goodbye of its own.
    pub goodbye: String,
}

impl Default for EngineSection {
    fn default() -> Self {
        Self {
            bot: None,
            max_calls: 500,
            max_calls_per_second: 0.0,
            burst: 0,
            max_late_percent: 0.0,
            max_waiting: 0,
            drain_seconds: 30,
            goodbye: "I am sorry, I have to end this call now. Please call again. Goodbye.".into(),
        }
    }
}

impl EngineSection {
    /// [`drain_seconds`](Self::drain_seconds) as a span.
    #[must_use]
    pub fn drain(&self) -> Duration {
        Duration::from_secs(self.drain_seconds)
    }

    /// What the types alone do not say.
    pub(super) fn check(&self) -> Result<(), String> {
        if !(0.0..=10_000.0).contains(&self.max_calls_per_second) {
            return Err(format!(
                "`max_calls_per_second` = {}: accepted are 0 (no limit) to 10000",
                self.max_calls_per_second
            ));
        }
        if !(0.0..=100.0).contains(&self.max_late_percent) {
            return Err(format!(
                "`max_late_percent` = {}: accepted are 0 (no limit) to 100",
                self.max_late_percent
            ));
        }
        Ok(())
    }
}

/// `[health]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HealthSection {
    /// Where `/live`, `/ready` and `/health` are answered over HTTP, `127.0.0.1:8091`; without it nothing listens.
    pub listen: Option<SocketAddr>,
    /// Who may connect there.
    pub allow: Allow,
}

impl HealthSection {
    /// What protects it, where it listens.
    #[must_use]
    pub fn exposure(&self) -> Option<Exposure> {
        let bind = self.listen?;
        let allow = self.allow.clone().or_by(bind);
        Some(Exposure { door: "health", section: "[health]", bind, allow, key: Key::Harmless, tls: None })
    }
}

impl Default for HealthSection {
    fn default() -> Self {
        Self { listen: None, allow: Allow::UNSAID }
    }
}
