//! What one call may take: turns, tokens, money, time. Deciding code.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::model::Usage;

/// The most that a call may take; each with its ending in the agent's file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Limits {
    /// Replies of a model.
    pub turns: u32,
    /// Tokens, both ways.
    pub tokens: u64,
    /// By the prices of the models.
    pub cost: f64,
    /// From the answer on.
    pub time: Duration,
}

/// What reached its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    Turns,
    Tokens,
    Cost,
    Time,
}

impl Limit {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Turns => "turns",
            Self::Tokens => "tokens",
            Self::Cost => "cost",
            Self::Time => "time",
        }
    }
}

/// What a call took so far.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Spent {
    pub turns: u32,
    pub tokens: u64,
    pub cost: f64,
    /// On the line, in milliseconds, before this process.
    pub millis: u64,
}

impl Spent {
    /// A reply took so much.
    pub fn add(&mut self, usage: Usage, (input, output): (f64, f64)) {
        self.tokens = self.tokens.saturating_add(usage.input).saturating_add(usage.output);
        #[expect(clippy::cast_precision_loss, reason = "tokens of one call")]
        let cost = usage.input as f64 * input + usage.output as f64 * output;
        self.cost += cost / 1e6;
    }

    /// The first limit that is reached, `here` after this process took the call.
    pub fn reached(&self, limits: &Limits, here: Duration) -> Option<Limit> {
        let time = Duration::from_millis(self.millis).saturating_add(here);
        [
            (self.turns >= limits.turns, Limit::Turns),
            (self.tokens >= limits.tokens, Limit::Tokens),
            (self.cost >= limits.cost, Limit::Cost),
            (time >= limits.time, Limit::Time),
        ]
        .into_iter()
        .find_map(|(reached, limit)| reached.then_some(limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_is_reached_at_its_number_and_not_before() {
        let limits = Limits { turns: 2, tokens: 1_000, cost: 0.01, time: Duration::from_secs(60) };
        let mut spent = Spent::default();
        assert_eq!(spent.reached(&limits, Duration::from_millis(59_999)), None);
        assert_eq!(spent.reached(&limits, Duration::from_secs(60)), Some(Limit::Time));
        spent.add(Usage { input: 900, output: 99 }, (3.0, 15.0));
        assert_eq!(spent.reached(&limits, Duration::ZERO), None);
        spent.add(Usage { input: 1, output: 0 }, (3.0, 15.0));
        assert_eq!(spent.reached(&limits, Duration::ZERO), Some(Limit::Tokens));
        let mut dear = Spent::default();
        dear.add(Usage { input: 0, output: 666 }, (3.0, 15.0));
        assert_eq!(dear.reached(&limits, Duration::ZERO), None);
        dear.add(Usage { input: 4, output: 0 }, (3.0, 15.0));
        assert_eq!(dear.reached(&limits, Duration::ZERO), Some(Limit::Cost));
        let mut long = Spent { millis: 59_000, ..Spent::default() };
        assert_eq!(long.reached(&limits, Duration::from_secs(1)), Some(Limit::Time), "in another process");
        long.turns = 2;
        assert_eq!(long.reached(&limits, Duration::ZERO), Some(Limit::Turns));
    }
}
