//! Asterisk's spool, where calls of campaigns go by call files.

use super::report::{Check, Fix, OURS, Outcome, Step};
use crate::engine::Config;
use crate::engine::ways::Way;

/// Says in one sentence whether calls can be put there; true when they can, or need not. Leaves nothing there.
pub(super) fn examine(config: &Config, mut say: impl FnMut(&Check)) -> bool {
    if config.campaigns.by != Way::CallFiles {
        return true;
    }
    let folder = &config.campaigns.spool;
    let outgoing = folder.join("outgoing");
    let try_it = || {
        std::fs::read_dir(&outgoing)?;
        // On the same file system, and not watched by Asterisk.
        let ours = folder.join("offhook");
        std::fs::create_dir_all(&ours)?;
        let file = ours.join(format!("doctor-{:08x}", fastrand::u32(..)));
        std::fs::write(&file, "")?;
        std::fs::remove_file(&file)
    };
    let outcome = match try_it() {
        Ok(()) => Outcome::Fine(format!("calls can be put into {}", outgoing.display())),
        Err(error) => Outcome::Failed {
            what: format!(
                "cannot put a call into {}: {error}; run Offhook as Asterisk's user or in its group, on its machine",
                outgoing.display()
            ),
            fixes: vec![Fix::new(format!("{OURS} [campaigns]"), "spool = \"/var/spool/asterisk\"")],
        },
    };
    let healthy = matches!(outcome, Outcome::Fine(_));
    say(&Check { step: Step::Spool, outcome });
    healthy
}
