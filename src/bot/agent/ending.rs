//! How an agent's calls end.

use super::file::Ending;
use crate::bot::Outcome;
use crate::bot::tools::acts::{Done, act};
use crate::bot::tools::verbs::Doing;
use crate::call::{Call, CallError};

/// Ends a call as the file says. Where nobody takes the caller he is hung up on.
///
/// # Errors
/// When the caller is gone.
pub(super) async fn end(call: &mut Call, ending: &Ending) -> Result<Outcome, CallError> {
    if ending.leave {
        call.leave(None, &[]).await?;
        return Ok(Outcome::Left);
    }
    let Some(to) = &ending.transfer else { return Ok(Outcome::HangUp) };
    match act(call, &Doing::Transfer { to: to.clone(), reason: None }, None).await? {
        Done::Over(outcome) => Ok(outcome),
        Done::Told(_) => Ok(Outcome::HangUp),
    }
}
