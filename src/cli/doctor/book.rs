//! The database that engines share for their campaigns, where the configuration names one.

use std::time::Duration;

use super::report::{Check, Fix, OURS, Outcome, Step};
use crate::campaign::Book;
use crate::engine::Config;

/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(6);

/// Says in one sentence how it is; true when it did not fail. Makes nothing there.
pub(super) async fn examine(config: &Config, mut say: impl FnMut(&Check)) -> bool {
    let Some(url) = &config.store.url else { return true };
    let outcome = match tokio::time::timeout(PATIENCE, Book::reach(url.reveal())).await {
        Ok(Ok(place)) => Outcome::Fine(format!("{place} lets us in and may have our tables")),
        Ok(Err(error)) => failed(error.to_string()),
        Err(_) => {
            failed(format!("the database of `store.url` does not answer within {} s", PATIENCE.as_secs()))
        }
    };
    let healthy = matches!(outcome, Outcome::Fine(_));
    say(&Check { step: Step::Book, outcome });
    healthy
}

fn failed(what: String) -> Outcome {
    let line = "url = \"postgres://USER:PASSWORD@HOST/DATABASE\"";
    Outcome::Failed { what, fixes: vec![Fix::new(format!("{OURS} [store]"), line)] }
}
