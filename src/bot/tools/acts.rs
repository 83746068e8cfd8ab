//! What a call does for a model. Everything here was checked before: a [`Doing`] means only itself, and a destination is looked
//! for once more by the call, which knows no others than those of the configuration.

use super::verbs::Doing;
use crate::bot::Outcome;
use crate::call::{Call, CallError, Prompt, Transfer, Transferred};

/// The longest recording that a model begins, in seconds.
const LONGEST_RECORDING: u32 = 3_600;

/// What came of something that a model wanted.
pub(in crate::bot) enum Done {
    /// The call goes on; the model is told this.
    Told(String),
    /// The bot leaves the call.
    Over(Outcome),
}

/// Does it; a person who is called is told `announce` before he gets the caller, if there is something.
///
/// # Errors
/// When the caller is gone; everything else is told to the model.
pub(in crate::bot) async fn act(
    call: &mut Call,
    doing: &Doing,
    announce: Option<Prompt>,
) -> Result<Done, CallError> {
    let done = match doing {
        Doing::HangUp => return Ok(Done::Over(Outcome::HangUp)),
        Doing::Leave => call.leave(None, &[]).await.map(|()| Done::Over(Outcome::Left)),
        Doing::Transfer { to, .. } => transfer(call, to, announce).await,
        Doing::SendKeys { keys } => call.send_keys(keys).await.map(|()| told("The keys were pressed.")),
        Doing::SetVariable { name, value } => {
            call.set_variable(name, value).await.map(|()| told("It is noted."))
        }
        Doing::OptOut => {
            call.opt_out();
            return Ok(told("Nobody calls this number again."));
        }
        Doing::Record { on: true } => {
            // Each recording has a name of its own.
            let name = format!("{}-{}", call.id(), fastrand::u32(..));
            call.start_recording(&name, LONGEST_RECORDING).await.map(|()| told("The call is being recorded."))
        }
        Doing::Record { on: false } => {
            call.stop_recording().await.map(|()| told("The call is not recorded any more."))
        }
    };
    match done {
        Err(CallError::Refused(refusal)) => {
            tracing::warn!(call = %call.id(), %refusal, "what a model wanted was refused");
            Ok(told("That is not allowed."))
        }
        Err(error) if !error.is_end() => {
            tracing::warn!(call = %call.id(), %error, "what a model wanted could not be done");
            Ok(told("That did not work."))
        }
        other => other,
    }
}

fn told(what: &str) -> Done {
    Done::Told(what.to_owned())
}

async fn transfer(call: &mut Call, to: &str, announce: Option<Prompt>) -> Result<Done, CallError> {
    let how = announce.map_or(Transfer::Blind, |announce| Transfer::Attended { announce });
    Ok(match call.transfer(to, how).await? {
        Transferred::Done => Done::Over(Outcome::Left),
        Transferred::NotTaken(why) => {
            tracing::info!(call = %call.id(), to, why, "nobody took a caller");
            told("Nobody is available there; the caller is back with you.")
        }
    })
}
