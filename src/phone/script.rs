//! A scripted conversation as data: what the caller does, and what must happen.
//!
//! A [`Script`] is a list of [`Step`]s; [`Script::run`] plays it on a call that is up and gives a [`ScriptReport`]
//! with timings. Whoever watches is told of each step as it happens. A step that fails says which one it was and
//! what was heard instead.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::PhoneError;
use super::agent::Ending;
use super::call::PhoneCall;
use super::ear::Segment;
use super::voice::{KeyTiming, Pressed, Spoken};
use crate::time::Moment;

/// How long a step waits that names no time of its own.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// What the caller says: the words for people, the samples for the wire.
#[derive(Clone, PartialEq, Eq)]
pub struct Line {
    /// The words.
    pub words: String,
    /// How they sound: 8 kHz, mono.
    pub samples: Arc<[i16]>,
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Line({:?}, {} samples)", self.words, self.samples.len())
    }
}

/// One step of a script.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// The bot must be speaking within this time. Fine if it speaks already.
    BotSpeaks {
        /// How long to wait.
        within: Duration,
    },
    /// The bot must begin to speak after the caller's last words or keys: measures the reply latency.
    BotReplies {
        /// How long to wait.
        within: Duration,
    },
    /// The bot must fall silent.
    BotSilent {
        /// How long it must be quiet.
        quiet: Duration,
        /// How long to wait for that.
        within: Duration,
    },
    /// The caller speaks.
    Say(Line),
    /// The caller presses keys.
    Press {
        /// 0 to 9, *, #, A to D.
        keys: String,
        /// How long they are held and let go.
        timing: KeyTiming,
    },
    /// The caller speaks when the bot has spoken for a while, and the bot must stop.
    BargeIn {
        /// How long the bot has spoken.
        after: Duration,
        /// What the caller says.
        line: Line,
        /// How soon the bot must stop, from the onset of the caller's voice.
        within: Duration,
    },
    /// The caller does nothing.
    Pause(Duration),
    /// The steps again and again, until so long after the answer. The last round is finished.
    Repeat {
        /// When no new round begins, from the answer on.
        until: Duration,
        /// The round.
        steps: Vec<Self>,
    },
    /// The caller hangs up.
    HangUp,
    /// The bot must hang up.
    BotHangsUp {
        /// How long to wait.
        within: Duration,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BotSpeaks { .. } => write!(f, "the bot speaks"),
            Self::BotReplies { .. } => write!(f, "the bot replies"),
            Self::BotSilent { .. } => write!(f, "the bot falls silent"),
            Self::Say(line) => write!(f, "the caller says \"{}\"", line.words),
            Self::Press { keys, .. } => write!(f, "the caller presses {keys}"),
            Self::BargeIn { line, .. } => write!(f, "the caller interrupts with \"{}\"", line.words),
            Self::Pause(span) => write!(f, "the caller waits {} ms", span.as_millis()),
            Self::Repeat { until, .. } => write!(f, "and again until {} s", until.as_secs()),
            Self::HangUp => write!(f, "the caller hangs up"),
            Self::BotHangsUp { .. } => write!(f, "the bot hangs up"),
        }
    }
}

/// What came of a step.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The bot spoke.
    BotSpoke {
        /// Its first voiced packet at the ear.
        onset: Moment,
        /// From the end of the caller's last words or keys on the wire; [`None`] when it spoke first.
        latency: Option<Duration>,
    },
    /// The bot fell silent after this packet.
    BotSilent {
        /// Its last voiced packet.
        last_voiced: Moment,
    },
    /// The caller's words went out.
    Said(Spoken),
    /// The caller's keys went out.
    Pressed(Pressed),
    /// The caller interrupted and the bot stopped.
    BargedIn {
        /// The caller's words.
        spoken: Spoken,
        /// From the onset of the caller's voice on the wire to the bot's last voiced packet at the ear.
        latency: Duration,
    },
    /// Time passed.
    Waited,
    /// The call ended.
    Ended(Ending),
}

/// A step that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Happened {
    /// The step in words.
    pub what: String,
    /// When it was done, from the answer on.
    pub at: Duration,
    /// What came of it.
    pub outcome: Outcome,
}

impl fmt::Display for Happened {
    /// `  3.120 s  the bot replies, after 240 ms`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:7.3} s  {}", self.at.as_secs_f64(), self.what)?;
        match &self.outcome {
            Outcome::BotSpoke { latency: Some(latency), .. } => {
                write!(f, ", after {} ms", latency.as_millis())
            }
            Outcome::BargedIn { latency, .. } => write!(f, ": it stopped after {} ms", latency.as_millis()),
            Outcome::Ended(ending) => match ending.q850 {
                Some(cause) => write!(f, " (cause {cause})"),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }
}

/// What happened in a script.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ScriptReport {
    /// Every step, in order; of repeated ones every round.
    pub steps: Vec<Happened>,
}

impl ScriptReport {
    /// The reply latencies.
    pub fn reply_latencies(&self) -> impl Iterator<Item = Duration> + '_ {
        self.steps.iter().filter_map(|step| match step.outcome {
            Outcome::BotSpoke { latency, .. } => latency,
            _ => None,
        })
    }

    /// The barge-in latencies.
    pub fn barge_in_latencies(&self) -> impl Iterator<Item = Duration> + '_ {
        self.steps.iter().filter_map(|step| match step.outcome {
            Outcome::BargedIn { latency, .. } => Some(latency),
            _ => None,
        })
    }
}

/// A step that failed.
#[derive(Debug, thiserror::Error)]
#[error("step {number} ({what}) failed: {source}; heard until then: {heard}")]
pub struct ScriptError {
    /// Which step, from 1 on; of repeated ones the step that repeats them.
    pub number: usize,
    /// The step in words.
    pub what: String,
    /// What was heard instead.
    pub heard: String,
    /// Why.
    pub source: PhoneError,
    /// What happened before.
    pub report: ScriptReport,
}

/// A scripted conversation.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Script {
    /// The steps.
    pub steps: Vec<Step>,
}

impl Script {
    /// A script of these steps.
    #[must_use]
    pub fn new(steps: Vec<Step>) -> Self {
        Self { steps }
    }

    /// Plays the script on a call that is up. `observer` is told of every step when it is done.
    ///
    /// # Errors
    /// [`ScriptError`] at the first step that fails. The call goes on; the caller of this drops or ends it.
    pub async fn run(
        &self,
        call: &PhoneCall,
        observer: &mut (dyn FnMut(&Happened) + Send),
    ) -> Result<ScriptReport, ScriptError> {
        let answered = call.answered_at().unwrap_or_else(Moment::now);
        let mut play = Play { call, answered, observer, report: ScriptReport::default(), caller_ended: None };
        for (index, step) in self.steps.iter().enumerate() {
            if let Err((what, source)) = play.step(step).await {
                let heard = in_words(&call.segments(), answered);
                return Err(ScriptError { number: index + 1, what, heard, source, report: play.report });
            }
        }
        Ok(play.report)
    }
}

/// A script that is being played.
struct Play<'a> {
    call: &'a PhoneCall,
    answered: Moment,
    observer: &'a mut (dyn FnMut(&Happened) + Send),
    report: ScriptReport,
    /// When the caller's last words or keys ended on the wire.
    caller_ended: Option<Moment>,
}

impl Play<'_> {
    async fn step(&mut self, step: &Step) -> Result<(), (String, PhoneError)> {
        if let Step::Repeat { until, steps } = step {
            while Moment::now().since(self.answered) < *until {
                for step in steps {
                    Box::pin(self.step(step)).await?;
                }
            }
            return Ok(());
        }
        let outcome = self.act(step).await.map_err(|error| (step.to_string(), error))?;
        let at = Moment::now().since(self.answered);
        let happened = Happened { what: step.to_string(), at, outcome };
        (self.observer)(&happened);
        self.report.steps.push(happened);
        Ok(())
    }

    async fn act(&mut self, step: &Step) -> Result<Outcome, PhoneError> {
        let call = self.call;
        Ok(match step {
            Step::BotSpeaks { within } => {
                Outcome::BotSpoke { onset: call.wait_bot_speaks(*within).await?, latency: None }
            }
            Step::BotReplies { within } => {
                let since = self.caller_ended.unwrap_or(self.answered);
                let onset = call.wait_onset_since(since, *within).await?;
                Outcome::BotSpoke { onset, latency: self.caller_ended.map(|end| onset.since(end)) }
            }
            Step::BotSilent { quiet, within } => {
                Outcome::BotSilent { last_voiced: call.wait_bot_silent(*quiet, *within).await? }
            }
            Step::Say(line) => {
                let spoken = call.say(line.samples.to_vec()).await?;
                self.caller_ended = spoken.last_voiced.or(Some(spoken.finished));
                Outcome::Said(spoken)
            }
            Step::Press { keys, timing } => {
                let pressed = call.press(keys, *timing).await?;
                self.caller_ended = pressed.ended.last().copied();
                Outcome::Pressed(pressed)
            }
            Step::BargeIn { after, line, within } => self.barge_in(*after, line, *within).await?,
            Step::Pause(span) => {
                sleep(*span).await;
                Outcome::Waited
            }
            Step::HangUp => {
                call.hang_up().await?;
                Outcome::Ended(call.wait_hangup(PATIENCE).await?)
            }
            Step::BotHangsUp { within } => Outcome::Ended(call.wait_hangup(*within).await?),
            // `step` plays these itself.
            Step::Repeat { .. } => Outcome::Waited,
        })
    }

    async fn barge_in(
        &mut self,
        after: Duration,
        line: &Line,
        within: Duration,
    ) -> Result<Outcome, PhoneError> {
        let onset = self.call.wait_bot_speaks(PATIENCE).await?;
        sleep((onset + after).since(Moment::now())).await;
        let saying = self.call.start_saying(line.samples.to_vec())?;
        let spoken = saying.wait().await?;
        self.caller_ended = spoken.last_voiced.or(Some(spoken.finished));
        let began = spoken.onset.unwrap_or(spoken.started);
        let goes_on = || PhoneError::TimedOut {
            what: "the bot's silence after the interruption".into(),
            after: within,
        };
        let deadline = began + within;
        loop {
            // The bot may have stopped, and even begun again, while the caller still spoke.
            if let Some(latency) = self.call.barge_in_latency(&spoken) {
                return if latency <= within {
                    Ok(Outcome::BargedIn { spoken, latency })
                } else {
                    Err(goes_on())
                };
            }
            let spoke = self.call.segments().into_iter().any(|s| s.onset <= began && s.last_voiced >= began);
            if !spoke {
                // It had stopped by itself before the caller's voice was on the wire.
                let what = "a bot that speaks when it is interrupted".to_owned();
                return Err(PhoneError::TimedOut { what, after });
            }
            if Moment::now() > deadline + self.call.with_ear(|ear| ear.settings().hangover) {
                return Err(goes_on());
            }
            sleep(Duration::from_millis(10)).await;
        }
    }
}

/// `speech from 0.21 s to 2.40 s, and since 3.10 s`, from the answer on; the last five.
fn in_words(segments: &[Segment], answered: Moment) -> String {
    if segments.is_empty() {
        return "nothing".to_owned();
    }
    let after = |at: Moment| at.millis_from(answered) / 1_000.0;
    let said = segments.iter().rev().take(5).rev().map(|s| match s.over {
        true => format!("from {:.2} s to {:.2} s", after(s.onset), after(s.last_voiced)),
        false => format!("since {:.2} s", after(s.onset)),
    });
    format!("speech {}", said.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_heard_is_told_from_the_answer_on() {
        let segment = |onset, last, over| Segment {
            onset: Moment::from_millis(onset),
            last_voiced: Moment::from_millis(last),
            over,
        };
        let answered = Moment::from_millis(1_000);
        assert_eq!(in_words(&[], answered), "nothing");
        let segments = [segment(1_210, 3_400, true), segment(4_100, 4_200, false)];
        assert_eq!(in_words(&segments, answered), "speech from 0.21 s to 2.40 s, since 3.10 s");
    }

    #[test]
    fn a_step_that_happened_prints_its_latency() {
        let happened = Happened {
            what: Step::BotReplies { within: PATIENCE }.to_string(),
            at: Duration::from_millis(3_120),
            outcome: Outcome::BotSpoke { onset: Moment::ZERO, latency: Some(Duration::from_millis(240)) },
        };
        assert_eq!(happened.to_string(), "  3.120 s  the bot replies, after 240 ms");
    }
}
