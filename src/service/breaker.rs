//! A service that fails again and again is left alone for a while, so that callers do not wait for it one by one.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::Moment;

/// When a breaker opens, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerConfig {
    /// So many failures open it, …
    pub failures: usize,
    /// … if they come within this time.
    pub window: Duration,
    /// How long the service is left alone the first time. Doubles each time that the probe after it fails, …
    pub pause: Duration,
    /// … up to this.
    pub longest: Duration,
}

impl Default for BreakerConfig {
    /// Three failures within 30 s, 5 s of rest, a minute at most.
    fn default() -> Self {
        Self {
            failures: 3,
            window: Duration::from_secs(30),
            pause: Duration::from_secs(5),
            longest: Duration::from_secs(60),
        }
    }
}

/// Whether to ask a service now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Ask it.
    Ask,
    /// Ask it: this request shows whether it is well again. Nobody else asks meanwhile.
    Probe,
    /// Leave it alone, for so long.
    Leave(Duration),
}

impl Verdict {
    /// Whether to ask.
    #[must_use]
    pub const fn is_yes(self) -> bool {
        matches!(self, Self::Ask | Self::Probe)
    }
}

/// Decides whether a service is asked. One per service, shared by all calls (in a mutex); deciding code, so the time is an
/// argument, and moments may come slightly out of order, as they do from many threads.
///
/// Closed, it lets every request pass and remembers when the last ones failed. Open, it lets none pass. After its pause one
/// request goes through as a probe: if it succeeds the breaker closes, if it fails the pause doubles. A probe of which nobody
/// ever says how it went (its call ended) is given up after the first pause, and another one goes.
#[derive(Debug, Clone)]
pub struct Breaker {
    config: BreakerConfig,
    /// When requests failed, oldest first; at most [`BreakerConfig::failures`].
    failed: VecDeque<Moment>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    Open {
        until: Moment,
        pause: Duration,
    },
    /// A probe is under way.
    Probing {
        given_up_at: Moment,
        pause: Duration,
    },
}

impl Breaker {
    /// A breaker of a service that is taken to be well.
    #[must_use]
    pub fn new(config: BreakerConfig) -> Self {
        Self { config, failed: VecDeque::new(), state: State::Closed }
    }

    /// Whether to ask the service. Who is told to asks, and says how it went.
    pub fn ask(&mut self, now: Moment) -> Verdict {
        match self.state {
            State::Closed => Verdict::Ask,
            State::Open { until, .. } if now < until => Verdict::Leave(until.since(now)),
            State::Probing { given_up_at, .. } if now < given_up_at => Verdict::Leave(given_up_at.since(now)),
            State::Open { pause, .. } | State::Probing { pause, .. } => {
                self.state = State::Probing { given_up_at: now + self.config.pause, pause };
                Verdict::Probe
            }
        }
    }

    /// Whether it would be asked; changes nothing.
    #[must_use]
    pub fn is_open(&self, now: Moment) -> bool {
        match self.state {
            State::Closed => false,
            State::Open { until, .. } => now < until,
            State::Probing { given_up_at, .. } => now < given_up_at,
        }
    }

    /// A request was answered as it should.
    pub fn succeeded(&mut self) {
        self.failed.clear();
        self.state = State::Closed;
    }

    /// A request failed. True when that opened the breaker.
    pub fn failed(&mut self, now: Moment) -> bool {
        match self.state {
            State::Probing { pause, .. } => {
                let pause = pause.saturating_mul(2).min(self.config.longest.max(self.config.pause));
                self.open(now, pause);
                true
            }
            // Of a request from before it opened.
            State::Open { .. } => false,
            State::Closed => {
                self.failed.retain(|at| now.since(*at) <= self.config.window);
                self.failed.push_back(now);
                let opens = self.failed.len() >= self.config.failures.max(1);
                if opens {
                    self.open(now, self.config.pause);
                }
                opens
            }
        }
    }

    /// The service said that it will not answer for so long, or that it never will (a key that it refuses): it is left
    /// alone at once.
    pub fn trip(&mut self, now: Moment, at_least: Option<Duration>) {
        let pause = at_least.unwrap_or(self.config.longest).max(self.config.pause);
        self.open(now, self.config.pause);
        if let State::Open { until, .. } = &mut self.state {
            *until = now + pause;
        }
    }

    fn open(&mut self, now: Moment, pause: Duration) {
        self.failed.clear();
        self.state = State::Open { until: now + pause, pause };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::from_millis(1_000 * seconds)
    }

    fn breaker() -> Breaker {
        Breaker::new(BreakerConfig::default())
    }

    #[test]
    fn three_failures_within_the_window_open_it_and_older_ones_are_forgotten() {
        let mut breaker = breaker();
        assert!(!breaker.failed(at(0)) && !breaker.failed(at(20)));
        assert!(!breaker.failed(at(31)), "the first was too long ago");
        assert_eq!(breaker.ask(at(31)), Verdict::Ask);
        assert!(breaker.failed(at(32)));
        assert_eq!(breaker.ask(at(33)), Verdict::Leave(Duration::from_secs(4)));
    }

    #[test]
    fn a_success_starts_the_count_over() {
        let mut breaker = breaker();
        breaker.failed(at(0));
        breaker.failed(at(1));
        breaker.succeeded();
        assert!(!breaker.failed(at(2)) && breaker.ask(at(2)).is_yes());
    }

    #[test]
    fn after_the_pause_one_asks_and_the_others_wait_for_what_it_finds() {
        let mut breaker = breaker();
        (0..3).for_each(|s| assert_eq!(breaker.failed(at(s)), s == 2));
        assert_eq!(breaker.ask(at(7)), Verdict::Probe);
        assert!(!breaker.ask(at(7)).is_yes() && breaker.is_open(at(7)));
        breaker.succeeded();
        assert_eq!(breaker.ask(at(7)), Verdict::Ask);
    }

    #[test]
    fn the_pause_doubles_up_to_its_bound_while_probes_fail() {
        let mut breaker = breaker();
        (0..3).for_each(|s| assert_eq!(breaker.failed(at(s)), s == 2));
        let (mut now, mut pauses) = (at(2), Vec::new());
        for _ in 0..6 {
            let Verdict::Leave(pause) = breaker.ask(now) else { panic!("it is open") };
            pauses.push(pause.as_secs());
            now = now + pause;
            assert_eq!(breaker.ask(now), Verdict::Probe);
            assert!(breaker.failed(now));
        }
        assert_eq!(pauses, [5, 10, 20, 40, 60, 60]);
    }

    #[test]
    fn a_probe_that_is_never_heard_of_again_is_given_up() {
        let mut breaker = breaker();
        (0..3).for_each(|s| assert_eq!(breaker.failed(at(s)), s == 2));
        assert_eq!(breaker.ask(at(10)), Verdict::Probe);
        assert!(!breaker.ask(at(14)).is_yes());
        assert_eq!(breaker.ask(at(15)), Verdict::Probe);
    }

    #[test]
    fn a_service_that_says_when_to_come_back_is_left_alone_until_then() {
        let mut breaker = breaker();
        breaker.trip(at(0), Some(Duration::from_secs(20)));
        assert!(!breaker.ask(at(19)).is_yes() && breaker.ask(at(20)).is_yes());
        let mut refused = self::breaker();
        refused.trip(at(0), None);
        assert_eq!(refused.ask(at(0)), Verdict::Leave(Duration::from_secs(60)));
    }
}
