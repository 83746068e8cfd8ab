//! Events, and the way from an extension to the application.

use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use super::report::{Check, Fix, OURS, Outcome, Step};
use super::{Doctor, Examination, Probe};
use crate::asterisk::PROBE;
use crate::asterisk::ari::model::{Event, EventKind};
use crate::asterisk::ari::ops::{HangupReason, Originate};
use crate::asterisk::ari::{AriError, BridgeId, ChannelId, Signal};
use crate::time::WallTime;

/// How long a call may take from the extension to the application: longer than any greeting before it should be.
const DIALPLAN_LIMIT: Duration = Duration::from_secs(5);
/// Leftovers of another run are removed when they are so old that the run must be over.
const STALE: Duration = Duration::from_secs(300);

impl<Say: FnMut(&Check)> Doctor<'_, Say> {
    /// Everything that makes channels; they are removed again at the end.
    pub(super) async fn calls(&mut self, mut probe: Probe) {
        if self.events(&mut probe).await {
            let outcome = dialplan(self.what, &mut probe).await;
            self.report(Step::Dialplan, outcome);
            self.audio_by_each(&mut probe).await;
        } else {
            self.skip(&[Step::Dialplan, Step::AudioFrom, Step::AudioTo], "events failed");
        }
        match probe.clear().await {
            Ok(removed) => {
                self.fine(Step::CleanUp, format!("{removed} channels and bridges removed, none left"))
            }
            Err(error) => {
                let what = format!("what begins with '{}' may be left in Asterisk: {error}", probe.name);
                self.failed(Step::CleanUp, what, Vec::new());
            }
        }
    }

    async fn events(&mut self, probe: &mut Probe) -> bool {
        let mut events = probe.ari.all_events(&probe.name);
        match timeout(Duration::from_secs(6), events.next()).await {
            Ok(Signal::Connected { .. }) => {
                self.fine(Step::Events, "the events socket is open");
                probe.events = Some(events);
                true
            }
            signal => {
                let why = match signal {
                    Ok(Signal::Disconnected { why }) => why.to_string(),
                    _ => "no answer within 6 s".to_owned(),
                };
                self.failed(
                    Step::Events,
                    format!("the events socket does not open: {why}"),
                    vec![
                        Fix::new("modules.conf [modules]", "load = res_ari_events.so"),
                        Fix::new("modules.conf [modules]", "load = res_http_websocket.so"),
                    ],
                );
                false
            }
        }
    }
}

/// Where the walk through the dialplan led.
#[derive(Debug, Default, PartialEq, Eq)]
struct Walk {
    /// The dialplan applications that ran before.
    passed: Vec<String>,
    /// What ended it.
    end: End,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum End {
    /// `Stasis` with this application.
    Stasis(String),
    /// `StasisBroadcast`, which offers the call to every application.
    Broadcast,
    /// The call was over.
    HungUp,
    /// The time was.
    #[default]
    TimedOut,
}

impl Walk {
    /// Takes in what an event says about channel `walker`; true when the walk is over.
    fn step(&mut self, event: &Event, walker: &ChannelId) -> bool {
        match &event.kind {
            EventKind::ChannelDialplan { channel, dialplan_app, dialplan_app_data }
                if channel.id == *walker =>
            {
                match dialplan_app.to_ascii_lowercase().as_str() {
                    "stasis" => {
                        let app = dialplan_app_data.split(',').next().unwrap_or_default().trim();
                        self.end = End::Stasis(app.to_owned());
                        return true;
                    }
                    "stasisbroadcast" => {
                        self.end = End::Broadcast;
                        return true;
                    }
                    "" => {}
                    _ => self.passed.push(dialplan_app.clone()),
                }
                false
            }
            EventKind::ChannelDestroyed { channel, .. } if channel.id == *walker => {
                self.end = End::HungUp;
                true
            }
            _ => false,
        }
    }

    /// What it means for `what`.
    fn outcome(&self, what: &Examination) -> Outcome {
        let (app, extension, context) = (&what.app, &what.extension, &what.context);
        let line =
            Fix::new(format!("extensions.conf [{context}]"), format!("exten => {extension},1,Stasis({app})"));
        let passed = self.passed.join(", ");
        let (said, fixes) = match &self.end {
            End::Stasis(other) if other == app => {
                return Outcome::Fine(format!("{extension}@{context} leads to Stasis({app})"));
            }
            End::Broadcast => {
                return Outcome::Fine(format!("{extension}@{context} offers calls to every engine"));
            }
            End::Stasis(other) => {
                let ours = Fix::new(format!("{OURS} [asterisk]"), format!("app = \"{other}\""));
                (
                    format!("{extension}@{context} leads to Stasis({other}), and not to '{app}'"),
                    vec![line, ours],
                )
            }
            End::HungUp if self.passed.is_empty() => {
                (format!("there is no extension {extension} in the context {context}"), vec![line])
            }
            End::HungUp => {
                (format!("{extension}@{context} runs {passed} and ends without Stasis({app})"), vec![line])
            }
            End::TimedOut if self.passed.is_empty() => (
                format!("{extension}@{context} runs nothing within {} s", DIALPLAN_LIMIT.as_secs()),
                vec![line],
            ),
            End::TimedOut => {
                let limit = DIALPLAN_LIMIT.as_secs();
                (
                    format!("{extension}@{context} runs {passed} and in {limit} s not Stasis({app})"),
                    vec![line],
                )
            }
        };
        Outcome::Failed { what: said, fixes }
    }
}

/// Calls the extension, and watches where the call goes.
async fn dialplan(what: &Examination, probe: &mut Probe) -> Outcome {
    let (near, far) = (probe.channel("near"), probe.channel("dialplan"));
    let originate = Originate {
        endpoint: format!("Local/{}@{}/n", what.extension, what.context),
        app: Some(probe.name.clone()),
        caller_id: Some("Offhook doctor".to_owned()),
        timeout: Some(10),
        channel_id: Some(near.clone()),
        other_channel_id: Some(far.clone()),
        ..Originate::default()
    };
    let mut walk = Walk::default();
    if let Err(error) = probe.ari.channels().originate(&originate).await {
        return Outcome::Failed { what: error.to_string(), fixes: Vec::new() };
    }
    probe.watch(DIALPLAN_LIMIT, |event| walk.step(event, &far).then_some(())).await;
    // Both halves at once: the engine, if there is one, is not to say much into the void.
    let (far_end, near_end) = tokio::join!(
        probe.ari.channels().hangup(&far, HangupReason::Normal),
        probe.ari.channels().hangup(&near, HangupReason::Normal)
    );
    for error in [far_end, near_end].into_iter().filter_map(Result::err).filter(|error| !error.is_gone()) {
        tracing::debug!(%error, "the probe call");
    }
    walk.outcome(what)
}

impl Probe {
    pub(super) fn channel(&self, part: &str) -> ChannelId {
        ChannelId::from(format!("{}-{part}", self.name))
    }

    pub(super) fn bridge(&self) -> BridgeId {
        BridgeId::from(format!("{}-bridge", self.name))
    }

    /// Waits for the event that `wanted` makes something of.
    pub(super) async fn watch<T>(
        &mut self,
        limit: Duration,
        mut wanted: impl FnMut(&Event) -> Option<T>,
    ) -> Option<T> {
        let events = self.events.as_mut()?;
        let deadline = Instant::now() + limit;
        loop {
            match timeout_at(deadline, events.next()).await {
                Ok(Signal::Event(event)) => {
                    if let Some(found) = wanted(&event) {
                        return Some(found);
                    }
                }
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }

    /// Removes what this run made, and what an earlier one left; how many things that were. Checks that none is left.
    async fn clear(&self) -> Result<usize, AriError> {
        let mut removed = 0;
        // A channel that was hung up is listed a moment longer.
        for attempt in 0..20 {
            let found = self.leftovers().await?;
            if found.0.is_empty() && found.1.is_empty() {
                return Ok(removed);
            }
            if attempt == 0 {
                removed = found.0.len() + found.1.len();
            }
            for bridge in &found.1 {
                gone_is_fine(self.ari.bridges().destroy(bridge).await)?;
            }
            for channel in &found.0 {
                gone_is_fine(self.ari.channels().hangup(channel, HangupReason::Normal).await)?;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err(AriError::Conflict {
            operation: "DELETE /channels/{channelId}".to_owned(),
            subject: self.name.clone(),
            message: "still there after 20 attempts".to_owned(),
        })
    }

    async fn leftovers(&self) -> Result<(Vec<ChannelId>, Vec<BridgeId>), AriError> {
        let now = WallTime::now();
        let ours = |id: &str, created: Option<WallTime>| {
            let stale = created.is_some_and(|at| {
                u128::from(now.0.saturating_sub(at.0).max(0).unsigned_abs()) > STALE.as_millis()
            });
            id.starts_with(&self.name) || id.starts_with(PROBE) && stale
        };
        let channels = self.ari.channels().list().await?.into_iter();
        let bridges = self.ari.bridges().list().await?.into_iter();
        Ok((
            channels.filter(|c| ours(c.id.as_str(), c.creationtime.0)).map(|c| c.id).collect(),
            bridges.filter(|b| ours(b.id.as_str(), b.creationtime.0)).map(|b| b.id).collect(),
        ))
    }
}

fn gone_is_fine(result: Result<(), AriError>) -> Result<(), AriError> {
    result.or_else(|error| if error.is_gone() { Ok(()) } else { Err(error) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asterisk::ari::AriConfig;
    use crate::asterisk::secret::Secret;

    fn what() -> Examination {
        Examination {
            ari: AriConfig::new("http://127.0.0.1:8088", "offhook", Secret::new("x")),
            app: "bot".into(),
            extension: "100".into(),
            context: "offhook".into(),
            bind: ([127, 0, 0, 1], 4000).into(),
            advertise: None,
            config: crate::engine::Config::default(),
        }
    }

    fn walk(passed: &[&str], end: End) -> Outcome {
        Walk { passed: passed.iter().map(|app| (*app).to_owned()).collect(), end }.outcome(&what())
    }

    #[test]
    fn each_end_of_the_walk_has_its_own_answer() {
        assert!(matches!(walk(&["Answer"], End::Stasis("bot".into())), Outcome::Fine(_)));
        assert!(matches!(walk(&[], End::Broadcast), Outcome::Fine(_)));
        let said = |outcome: Outcome| match outcome {
            Outcome::Failed { what, fixes } => (what, fixes),
            other => panic!("{other:?}"),
        };
        let (text, fixes) = said(walk(&[], End::Stasis("other".into())));
        assert!(text.contains("Stasis(other)"), "{text}");
        assert_eq!(fixes[1].line, "app = \"other\"");
        let (text, fixes) = said(walk(&[], End::HungUp));
        assert!(text.contains("no extension 100"), "{text}");
        assert_eq!(fixes, [Fix::new("extensions.conf [offhook]", "exten => 100,1,Stasis(bot)")]);
        let (text, _) = said(walk(&["Answer", "Echo"], End::TimedOut));
        assert!(text.contains("runs Answer, Echo"), "{text}");
        assert!(said(walk(&["Playback"], End::HungUp)).0.contains("ends without Stasis(bot)"));
    }
}
