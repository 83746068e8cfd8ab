//! The bot that runs an [`Agent`] on a call.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Agent;
use super::ending;
use super::file::Ending;
use super::history::History;
use super::limits::Spent;
use super::model::Usage;
use super::reply::{self, End, Reply};
use super::standin::StandIn;
use crate::bot::tools::acts;
use crate::bot::tools::verbs::Doing;
use crate::bot::{Bot, Outcome};
use crate::call::{self, Call, CallError, Heard, Listen, Prompt, Said};
use crate::speech::Expected;
use crate::speech::manners::Manners;
use crate::time::Moment;
use crate::turn::BargeIn;

/// Runs an [`Agent`] on every call that it is given.
#[derive(Clone)]
pub struct AgentBot {
    agent: Arc<Agent>,
    voice: Option<String>,
    /// A stand-in that its tools or models need.
    _stand_in: Option<Arc<StandIn>>,
}

/// A call as far as it got: what another process goes on with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Talk {
    version: u32,
    history: History,
    spent: Spent,
    /// Silences and misunderstandings in a row.
    misses: u32,
    /// Replies in a row that failed.
    failures: u32,
    /// What is said next, where no model is asked for it.
    say: Option<String>,
}

const VERSION: u32 = 1;

/// What comes next on a call.
enum Next {
    /// Something that is known.
    Say(String),
    /// A reply of a model.
    Reply(Reply),
    /// The end.
    End(Ending),
    /// It is over already.
    Over(Outcome),
}

/// A reply to what the caller has probably said.
struct Guess {
    text: String,
    reply: Reply,
    /// About what it has cost, if it is thrown away.
    cost: Usage,
}

type Guesses = Arc<Mutex<(Option<Guess>, Usage)>>;

impl AgentBot {
    /// A bot for `agent` that speaks with `voice`, or with the agent's own where that is [`None`].
    #[must_use]
    pub fn new(agent: Arc<Agent>, voice: Option<String>) -> Self {
        let voice = voice.or_else(|| agent.voice.clone());
        Self { agent, voice, _stand_in: None }
    }

    /// With a stand-in that lasts as long as the bot does.
    #[must_use]
    pub fn beside(mut self, stand_in: StandIn) -> Self {
        self._stand_in = Some(Arc::new(stand_in));
        self
    }

    /// The voice that it speaks with; [`None`] for the engine's.
    #[must_use]
    pub fn voice(&self) -> Option<&str> {
        self.voice.as_deref()
    }

    /// What it says in the same words on every call.
    #[must_use]
    pub fn fixed_parts(&self) -> Vec<call::Part> {
        self.agent.fixed_sentences().into_iter().map(|text| call::Part::Text(text.to_owned())).collect()
    }

    /// Where the call is: at its start, or where another process left it.
    fn talk(&self, call: &Call) -> (Talk, bool) {
        let new = Talk {
            version: VERSION,
            history: History::default(),
            spent: Spent::default(),
            misses: 0,
            failures: 0,
            say: None,
        };
        let Some(left) = call.taken_up().filter(|left| !left.is_null()) else { return (new, false) };
        match serde_json::from_value::<Talk>(left.clone()) {
            Ok(talk) if talk.version == VERSION => (talk, true),
            _ => {
                tracing::warn!(call = %call.id(), "the agent's state is of another version: the call begins anew");
                (new, false)
            }
        }
    }

    /// The system prompt of this call.
    async fn system(&self, call: &mut Call) -> Arc<str> {
        self.agent.prompt.of_call(call, &self.agent.language, &self.agent.places).await.into()
    }

    fn prompt(&self, what: impl Into<Prompt>, barge_in: BargeIn) -> Prompt {
        Prompt { voice: self.voice.clone(), ..what.into().interruptible(barge_in) }
    }

    fn listen(&self) -> Listen {
        let agent = &self.agent;
        let expected =
            agent.grammar.as_ref().map_or(Expected::Open, |grammar| Expected::Grammar(Arc::clone(grammar)));
        Listen {
            expected: Some(expected),
            keys: agent.keys.clone(),
            how: agent.listening,
            manners: Manners::of(&agent.language),
            anticipate: None,
            foreseen: Vec::new(),
        }
    }

    /// Listens, and asks the model as soon as the caller pauses: for what it would say if he said no more.
    fn listen_ahead(&self, system: &Arc<str>, before: &History, next: &Next, guesses: &Guesses) -> Listen {
        let listen = self.listen();
        if !self.agent.speculate {
            return listen;
        }
        let log = match next {
            Next::Reply(reply) => Ok(reply.shared_log()),
            Next::Say(text) => Err(text.clone()),
            Next::End(_) | Next::Over(_) => return listen,
        };
        let (maker, system, before) = (Arc::clone(&self.agent.maker), Arc::clone(system), before.clone());
        let (voice, guesses) = (self.voice.clone(), Arc::clone(guesses));
        listen.anticipate_said(move |heard, said| {
            let Heard::Words { text, .. } = heard else { return None };
            let mut guesses = guesses.lock().unwrap_or_else(PoisonError::into_inner);
            let (guess, wasted) = &mut *guesses;
            if !guess.as_ref().is_some_and(|guess| guess.text == *text && !guess.reply.stream.is_lost()) {
                let mut history = before.clone();
                match &log {
                    Ok(log) => history.reply(&reply::lock(log), said),
                    Err(text) => history.bot(text, said),
                }
                history.caller(text);
                let cost = reply::estimate(&system, &history);
                let reply = Reply::begin(&maker, &system, &history);
                if let Some(old) = guess.replace(Guess { text: text.clone(), reply, cost }) {
                    wasted.input += old.cost.input;
                }
            }
            let stream = guess.as_ref()?.reply.stream.clone();
            // How it is interrupted is looked at when it is said.
            Some(Prompt { voice: voice.clone(), ..stream.into() })
        })
    }

    /// Says what comes next, listens, and tells what comes then.
    async fn turn(
        &self,
        call: &mut Call,
        talk: &mut Talk,
        system: &Arc<str>,
        next: Next,
    ) -> Result<Next, CallError> {
        let guesses = Guesses::default();
        let listen = self.listen_ahead(system, &talk.history, &next, &guesses);
        let prompt = match &next {
            Next::Reply(reply) => self.prompt(reply.stream.clone(), self.agent.barge_in),
            Next::Say(text) => self.prompt(text.as_str(), self.agent.barge_in),
            Next::End(_) | Next::Over(_) => return Ok(next),
        };
        let heard = call.ask_streamed(prompt, listen).await?;
        let said = call.said().clone();
        let after = match next {
            Next::Reply(reply) => self.settle(call, talk, reply, &said, heard.is_none()).await?,
            Next::Say(text) => {
                talk.history.bot(&text, &said);
                None
            }
            Next::End(_) | Next::Over(_) => None,
        };
        let (guess, wasted) = std::mem::take(&mut *guesses.lock().unwrap_or_else(PoisonError::into_inner));
        talk.spent.add(wasted, self.agent.maker.chain.price());
        match (after, heard) {
            (Some(After::Next(next)), _) => Ok(next),
            (Some(After::Ask) | None, None) => Ok(self.reply(talk, system)),
            (_, Some(heard)) => Ok(self.answer(call, talk, system, heard, guess)),
        }
    }

    /// A reply was said, or cut: it goes into the history, and what the call has to do for it is done.
    async fn settle(
        &self,
        call: &mut Call,
        talk: &mut Talk,
        reply: Reply,
        said: &Said,
        handed_back: bool,
    ) -> Result<Option<After>, CallError> {
        let (made, log) = reply.made().await;
        for (usage, price) in &made.usage {
            talk.spent.add(*usage, *price);
        }
        if let Some(usage) = made.unfinished {
            talk.spent.add(usage, self.agent.maker.chain.price());
        }
        talk.history.reply(&log, said);
        match made.end {
            End::Failed(error) => {
                tracing::error!(call = %call.id(), %error, "an agent has no reply");
                talk.failures += 1;
                let give_up = talk.failures > self.agent.failures;
                let next = if give_up {
                    Next::End(self.agent.failure.clone())
                } else {
                    Next::Say(self.agent.apology.clone())
                };
                Ok(handed_back.then_some(After::Next(next)))
            }
            End::Do(doings) if handed_back => {
                talk.failures = 0;
                for (id, doing) in doings {
                    match acts::act(call, &doing, self.announcement(&doing)).await? {
                        acts::Done::Told(answer) => talk.history.amend(&id, &answer),
                        acts::Done::Over(outcome) => {
                            return Ok(Some(After::Next(Next::Over(outcome))));
                        }
                    }
                }
                Ok(Some(After::Ask))
            }
            End::Said => {
                talk.failures = 0;
                Ok(None)
            }
            End::Do(_) | End::Unheard => Ok(None),
        }
    }

    /// What a person is told who gets the caller; nothing where the file says nothing of it.
    fn announcement(&self, doing: &Doing) -> Option<Prompt> {
        let text = doing.announcement(self.agent.announce.as_deref())?;
        Some(self.prompt(text, BargeIn::FORBIDDEN))
    }

    /// What the caller did, and what comes then.
    fn answer(
        &self,
        call: &Call,
        talk: &mut Talk,
        system: &Arc<str>,
        heard: Heard,
        guess: Option<Guess>,
    ) -> Next {
        let agent = &self.agent;
        let again = match heard {
            Heard::Words { text, .. } => {
                talk.misses = 0;
                talk.history.caller(&text);
                return match guess {
                    Some(guess) if guess.text == text && !guess.reply.stream.is_lost() => {
                        talk.spent.turns += 1;
                        Next::Reply(guess.reply)
                    }
                    other => {
                        self.waste(talk, other);
                        self.reply(talk, system)
                    }
                };
            }
            Heard::Keys(keys) => {
                talk.misses = 0;
                talk.history.caller(&format!("[pressed the keys {keys}]"));
                self.waste(talk, guess);
                return self.reply(talk, system);
            }
            Heard::NoInput => {
                talk.history.remark("The caller says nothing.");
                &agent.no_input
            }
            Heard::NoMatch => {
                talk.history.remark("The caller said something that was not understood.");
                &agent.no_match
            }
            Heard::Failed(error) => {
                tracing::error!(call = %call.id(), %error, "an utterance was not recognised");
                talk.history.remark("The caller said something that was not understood.");
                &agent.no_match
            }
        };
        self.waste(talk, guess);
        talk.misses += 1;
        if talk.misses >= agent.tries {
            return Next::End(agent.give_up.clone());
        }
        let nth = talk.misses as usize - 1;
        match again.get(nth).or(again.last()) {
            Some(sentence) => Next::Say(sentence.clone()),
            // Nothing is configured: the model finds words.
            None => self.reply(talk, system),
        }
    }

    /// A guess was wrong: what it took counts.
    fn waste(&self, talk: &mut Talk, guess: Option<Guess>) {
        if let Some(guess) = guess {
            talk.spent.add(guess.cost, self.agent.maker.chain.price());
        }
    }

    fn reply(&self, talk: &mut Talk, system: &Arc<str>) -> Next {
        talk.spent.turns += 1;
        Next::Reply(Reply::begin(&self.agent.maker, system, &talk.history))
    }

    /// Where a call begins, or goes on.
    fn first(&self, talk: &mut Talk, system: &Arc<str>, taken_up: bool) -> Next {
        match (talk.say.take(), &self.agent.greeting) {
            (Some(text), _) if taken_up => Next::Say(text),
            (_, Some(greeting)) if !taken_up => Next::Say(greeting.clone()),
            (_, None) if !taken_up => {
                talk.history.remark("The call begins. Greet the caller.");
                self.reply(talk, system)
            }
            _ => {
                talk.history
                    .remark("The line was gone for a moment; the caller may have missed what you said last.");
                self.reply(talk, system)
            }
        }
    }

    async fn end(&self, call: &mut Call, ending: &Ending) -> Result<Outcome, CallError> {
        if let Some(text) = &ending.say {
            match call.say(self.prompt(text.as_str(), BargeIn::FORBIDDEN)).await {
                Err(error) if !error.is_end() => {
                    tracing::error!(call = %call.id(), %error, "the last words could not be said");
                }
                other => drop(other?),
            }
        }
        ending::end(call, ending).await
    }
}

/// What comes after a reply, where that is not what the caller did.
enum After {
    Next(Next),
    /// The model is asked again: it wanted something that is done now.
    Ask,
}

impl Bot for AgentBot {
    async fn run(&self, call: &mut Call) -> Result<Outcome, CallError> {
        let (mut talk, taken_up) = self.talk(call);
        call.answer().await?;
        let began = Moment::now();
        let before = talk.spent.millis;
        let system = self.system(call).await;
        let mut next = self.first(&mut talk, &system, taken_up);
        loop {
            let here = Moment::now().since(began);
            talk.spent.millis = before + u64::try_from(here.as_millis()).unwrap_or(u64::MAX);
            if let Some(limit) = talk.spent.reached(&self.agent.limits, Duration::ZERO)
                && !matches!(next, Next::End(_) | Next::Over(_))
            {
                tracing::info!(call = %call.id(), limit = limit.name(), "a call has reached a limit of its agent");
                next = Next::End(self.agent.endings.of(limit).clone());
            }
            let step = match &next {
                Next::Over(outcome) => return Ok(outcome.clone()),
                Next::End(ending) => return self.end(call, ending).await,
                Next::Say(text) => {
                    talk.say = Some(text.clone());
                    if talk.history.messages().is_empty() { "greeting" } else { "ask" }
                }
                Next::Reply(_) => {
                    talk.say = None;
                    "reply"
                }
            };
            let state = serde_json::to_value(&talk).map_err(|error| CallError::Bot(error.to_string()))?;
            call.checkpoint(step, state);
            next = match self.turn(call, &mut talk, &system, next).await {
                Ok(next) => next,
                Err(error) if error.is_end() => return Err(error),
                Err(error) => {
                    tracing::error!(call = %call.id(), %error, "an agent cannot speak");
                    talk.failures += 1;
                    if talk.failures > self.agent.failures {
                        return Err(error);
                    }
                    Next::Say(self.agent.apology.clone())
                }
            };
        }
    }

    fn goodbye(&self) -> Option<Prompt> {
        Some(self.prompt(self.agent.goodbye.as_str(), BargeIn::FORBIDDEN))
    }
}
