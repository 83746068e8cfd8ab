//! What becomes of a caller whose program fails: never silence.

use serde_json::{Value, json};

use super::config::{FallbackSection, RemoteSection};
use crate::bot::{AnyBot, Outcome};
use crate::call::{Call, CallError, Prompt};

/// Where the caller goes.
pub(in crate::bot) struct Fallback {
    say: Option<String>,
    voice: Option<String>,
    then: Then,
}

enum Then {
    HangUp,
    Flow(AnyBot),
    Transfer(String),
    Dialplan,
}

impl Fallback {
    pub fn new(section: &FallbackSection, voice: Option<String>, flow: Option<AnyBot>) -> Self {
        let then = match (flow, &section.transfer) {
            (Some(flow), _) => Then::Flow(flow),
            (None, Some(to)) => Then::Transfer(to.clone()),
            (None, None) if section.dialplan => Then::Dialplan,
            (None, None) => Then::HangUp,
        };
        let apology = || matches!(then, Then::HangUp).then(|| RemoteSection::APOLOGY.to_owned());
        let say = section.say.clone().or_else(apology).filter(|text| !text.trim().is_empty());
        Self { say, voice, then }
    }

    /// Whether this state was written by the bot that a fallback leads to.
    pub fn wrote(state: &Value) -> bool {
        let of_program = |remote: &Value| remote.get("fallback").is_some();
        !state.is_null() && state.get("realtime").is_none() && state.get("remote").is_none_or(of_program)
    }

    /// Goes on with the caller.
    pub async fn run(&self, call: &mut Call, why: &str) -> Result<Outcome, CallError> {
        tracing::error!(call = %call.id(), why, "the caller of a program goes on by its fallback");
        let resumed = call.taken_up().is_some_and(Self::wrote);
        call.answer().await?;
        if !resumed {
            call.checkpoint("fallback", json!({ "remote": { "fallback": true } }));
            self.apologise(call).await?;
        }
        match &self.then {
            Then::Flow(flow) => flow.run(call).await,
            Then::HangUp => Ok(Outcome::HangUp),
            // The dialplan is told that it failed.
            Then::Dialplan => Err(CallError::Bot(why.to_string())),
            Then::Transfer(to) => self.transfer(call, to).await,
        }
    }

    /// What cannot be said holds nobody up.
    async fn apologise(&self, call: &mut Call) -> Result<(), CallError> {
        let Some(text) = &self.say else { return Ok(()) };
        let prompt = Prompt { voice: self.voice.clone(), ..Prompt::from(text.clone()) };
        match call.say(prompt).await {
            Err(error) if !error.is_end() => {
                tracing::error!(call = %call.id(), %error, "the apology could not be said");
                Ok(())
            }
            other => other.map(|_| ()),
        }
    }

    async fn transfer(&self, call: &mut Call, to: &str) -> Result<Outcome, CallError> {
        super::perform::transfer(call, to, None).await.map_or_else(
            |error| if error.is_end() { Err(error) } else { Err(CallError::Bot(error.to_string())) },
            |done| match done {
                None => Ok(Outcome::Left),
                Some(why) => Err(CallError::Bot(format!("the fallback's transfer failed: {why}"))),
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_flow_left_behind_is_not_taken_for_the_programs_state() {
        assert!(!Fallback::wrote(&Value::Null));
        assert!(!Fallback::wrote(&json!({ "remote": { "state": { "step": "x" } } })));
        assert!(Fallback::wrote(&json!({ "remote": { "fallback": true } })));
        assert!(Fallback::wrote(&json!({ "step": "greeting" })));
        assert!(!Fallback::wrote(&json!({ "realtime": { "history": [] } })));
    }

    #[test]
    fn who_is_hung_up_on_is_told_something_first() {
        let fallback = Fallback::new(&FallbackSection::default(), None, None);
        assert_eq!(fallback.say.as_deref(), Some(RemoteSection::APOLOGY));
        let section = FallbackSection { dialplan: true, ..FallbackSection::default() };
        assert_eq!(Fallback::new(&section, None, None).say, None, "the dialplan goes on at once");
    }
}
