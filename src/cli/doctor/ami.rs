//! AMI, where the configuration has it.

use std::time::Duration;

use super::Doctor;
use super::report::{Fix, OURS, Step};
use crate::asterisk::PROBE;
use crate::asterisk::ami::actions::Agi;
use crate::asterisk::ami::{Ami, AmiError, Why};

/// How long signing in may take.
const PATIENCE: Duration = Duration::from_secs(6);

impl<Say: FnMut(&super::Check)> Doctor<'_, Say> {
    /// Signs in as the engine would, and looks whether it may do what it will have to.
    pub(super) async fn ami(&mut self) {
        let config = &self.what.config;
        let ours = format!("{OURS} [ami]");
        let client = match config.ami.client() {
            Ok(None) => return,
            Ok(Some(client)) => client,
            Err(error) => {
                let fix = Fix::new(ours, "secret_file = \"ami-secret\"");
                return self.failed(Step::Ami, error.to_string(), vec![fix]);
            }
        };
        let (user, over_ami) = (client.user.clone(), config.agi.over_ami);
        let ami = match Ami::new(client) {
            Ok(ami) => ami,
            Err(error) => {
                let fix = Fix::new(ours, "address = \"127.0.0.1:5038\"");
                return self.failed(Step::Ami, error.to_string(), vec![fix]);
            }
        };
        let version = match ami.ready(PATIENCE).await {
            Ok(version) => version,
            Err(error) => return self.failed(Step::Ami, error.to_string(), fixes(&error, &user, &ours)),
        };
        let found = format!("user '{user}' is signed in at {} (AMI {version})", ami.peer());
        if !over_ami {
            return self.fine(Step::Ami, found);
        }
        // For a channel that does not exist: a refusal for that reason says that we may.
        let probe =
            Agi { channel: format!("{PROBE}none"), command: "NOOP".into(), command_id: String::new() };
        match ami.run(&probe).await {
            Err(error @ (AmiError::Forbidden { .. } | AmiError::Unsupported { .. })) => {
                let fixes = vec![
                    Fix::new(format!("manager.conf [{user}]"), "write = all"),
                    Fix::new("modules.conf [modules]", "load = res_agi.so"),
                ];
                self.failed(Step::Ami, error.to_string(), fixes);
            }
            Err(error) if !matches!(error, AmiError::Refused { .. }) => {
                self.failed(Step::Ami, error.to_string(), Vec::new());
            }
            _ => self.fine(Step::Ami, format!("{found} and may give AGI commands")),
        }
    }
}

fn fixes(error: &AmiError, user: &str, ours: &str) -> Vec<Fix> {
    match error {
        AmiError::Disconnected { why: Why::Unauthorized, .. } => vec![
            Fix::new(ours, "secret = \"the one in manager.conf\""),
            Fix::new(format!("manager.conf [{user}]"), "permit = 127.0.0.1/255.255.255.255"),
        ],
        AmiError::Disconnected { why: Why::NoAmi, .. } => {
            vec![Fix::new(ours, "address = \"127.0.0.1:5038\"")]
        }
        AmiError::Disconnected { why: Why::Tls(_), .. } => vec![
            Fix::new(ours, "tls_ca = \"the certificate of manager.conf's tlscertfile\""),
            Fix::new("manager.conf [general]", "tlsenable = yes"),
        ],
        _ => vec![Fix::new("manager.conf [general]", "enabled = yes")],
    }
}
