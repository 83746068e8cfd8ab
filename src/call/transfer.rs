//! Transfers: the caller meets a person, and comes back to the bot when nobody takes him.
//!
//! | | blind | attended |
//! |---|---|---|
//! | an extension | the dialplan has the caller; the bot is out of it | as below, by way of the dialplan |
//! | an endpoint or a number | it rings, and who answers is joined with the caller | it rings, the bot tells who answers whom it has, and he takes the call by a key |
//!
//! The caller hears the destination's [`Hold`] from the first moment until he is joined or is with the bot again. What waits
//! beside him are a channel (`…-person`) and, while the bot asks, a bridge (`…-consult`); whichever way the transfer ends,
//! `Leg::clear` or `Leg::take_back` removes both.

use std::time::Duration;

use tokio::time::timeout;

use super::beside::{Beside, why_not};
use super::leg::{DialplanPlace, ignore_gone};
use super::{Call, CallError, Heard, KeyPlan, Leg, Listen, Note, Prompt};
use crate::asterisk::ari::ops::{BridgePlay, CreateBridge, HangupReason, Originate};
use crate::asterisk::ari::{Ari, AriError, BridgeId, PlaybackId};
use crate::asterisk::number::Plain;
use crate::id::Part;
use crate::policy::{Destination, Hold, Way};
use crate::time::{Moment, WallTime};
use crate::turn::Listening;

/// Asterisk ends a call that nobody answers; it is given this much longer to say so.
const GRACE: Duration = Duration::from_secs(3);

/// How a caller is transferred.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transfer {
    /// Who answers has him.
    Blind,
    /// Who answers is told whom he gets, and takes him by a key; otherwise the caller comes back.
    Attended {
        /// What he is told. That he is to press a key, and which, is for it to say.
        announce: Prompt,
    },
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transferred {
    /// The caller is with the dialplan, or was with the person, who has hung up. The bot is done:
    /// [`Outcome::Left`](crate::bot::Outcome::Left).
    Done,
    /// Nobody took him, for this reason; he is with the bot again.
    NotTaken(String),
}

/// What became of who was called.
enum Reached {
    Taken,
    NotTaken(String),
}

impl Call {
    /// Where the caller may be transferred to.
    #[must_use]
    pub fn destinations(&self) -> &[Destination] {
        self.policy.destinations()
    }

    /// Transfers the caller to a destination of the configuration. It comes back when nobody takes him, or, after a talk that
    /// it waits for, when who took him hangs up.
    ///
    /// # Errors
    /// [`CallError::Refused`] when there is no such destination or a limit is reached: nothing has happened then.
    /// [`CallError::Gone`] when the caller hangs up, in his talk too.
    pub async fn transfer(&mut self, to: &str, how: Transfer) -> Result<Transferred, CallError> {
        let destination = self.policy.find(to)?.clone();
        self.policy.admit(self.facts.id, &self.facts.caller, WallTime::now())?;
        self.answer().await?;
        if let (Transfer::Blind, Way::Extension { context, extension }) = (&how, &destination.way) {
            let place = DialplanPlace {
                context: context.clone(),
                extension: Some(extension.clone()),
                priority: Some(1),
            };
            let status = [("OFFHOOK_STATUS".to_owned(), "TRANSFERRED".to_owned())];
            self.leave(Some(&place), &status).await?;
            self.note_transfer(to, "left to the dialplan");
            return Ok(Transferred::Done);
        }
        self.note_transfer(to, "ringing");
        match self.reach(&destination, how).await {
            Ok(Reached::Taken) => {
                self.note_transfer(to, "taken");
                self.book.with(Some(to));
                let ended = self.until_one_leaves().await;
                self.book.with(None);
                ended.map(|()| Transferred::Done)
            }
            Ok(Reached::NotTaken(why)) => {
                self.note_transfer(to, &why);
                self.leg.take_back().await?;
                Ok(Transferred::NotTaken(why))
            }
            Err(error) if error.is_end() => Err(error),
            Err(error) => {
                self.note_transfer(to, "failed");
                self.leg.take_back().await?;
                Err(error)
            }
        }
    }

    /// Waits until the caller, who is with a person, or that person hangs up.
    ///
    /// # Errors
    /// [`CallError::Gone`] when it was the caller.
    pub(crate) async fn until_one_leaves(&mut self) -> Result<(), CallError> {
        loop {
            match self.beside().await? {
                Some(Beside::PersonGone { .. }) | None => return Ok(()),
                Some(_) => {}
            }
        }
    }

    /// Calls somebody, and joins him with the caller if he takes him.
    async fn reach(&mut self, to: &Destination, how: Transfer) -> Result<Reached, CallError> {
        // What an earlier person did is of no interest.
        while self.beside.try_recv().is_ok() {}
        let hold = self.leg.waiting(&to.hold);
        hold.begin().await?;
        self.leg.ring(to, &self.facts.caller, &self.facts.called).await?;
        let until = Moment::now() + to.ring + GRACE;
        loop {
            let Ok(event) = timeout(until.since(Moment::now()), self.beside()).await else {
                return Ok(Reached::NotTaken(why_not(19).into()));
            };
            match event? {
                Some(Beside::PersonUp) => break,
                Some(Beside::PersonGone { cause }) => return Ok(Reached::NotTaken(why_not(cause).into())),
                Some(Beside::HoldEnded) => hold.begin().await?,
                Some(Beside::Played) => {}
                None => return Err(CallError::MediaEnded),
            }
        }
        if let Transfer::Attended { announce } = how {
            self.leg.consult().await?;
            self.ears.turn_to_person(true);
            let taken = self.asked_whether_he_takes_it(to, announce, hold).await;
            self.ears.turn_to_person(false);
            if let Some(why) = taken? {
                return Ok(Reached::NotTaken(why));
            }
        }
        self.leg.join_person().await?;
        Ok(Reached::Taken)
    }

    /// Tells who was called whom he gets; [`None`] when he takes him, otherwise why not.
    async fn asked_whether_he_takes_it(
        &mut self,
        to: &Destination,
        announce: Prompt,
        hold: Waiting,
    ) -> Result<Option<String>, CallError> {
        // The mailbox is lent out meanwhile: the question needs the whole call.
        let (_, empty) = tokio::sync::mpsc::channel(1);
        let mut beside = std::mem::replace(&mut self.beside, empty);
        let key = to.accept_key;
        let until = to.accept;
        let asked = async {
            let listen =
                Listen::keys(KeyPlan::One).timed(Listening { no_input: until, ..Listening::BALANCED });
            let mut heard = self.ask(announce, listen.clone()).await?;
            let began = Moment::now();
            // Who says "hello?" has not decided yet.
            while matches!(heard, Heard::NoMatch | Heard::Words { .. } | Heard::Failed(_))
                && Moment::now().since(began) < until
            {
                heard = self.listen(listen.clone()).await?;
            }
            Ok(match heard {
                Heard::Keys(pressed) if pressed.starts_with(key) => None,
                Heard::Keys(_) => Some("the call was declined".to_owned()),
                _ => Some("nobody took the call".to_owned()),
            })
        };
        let gone = async {
            loop {
                match beside.recv().await {
                    Some(Beside::PersonGone { .. }) | None => return "who was called hung up".to_owned(),
                    // If Asterisk is gone, so is the caller.
                    Some(Beside::HoldEnded) => drop(hold.begin().await),
                    Some(_) => {}
                }
            }
        };
        let taken = tokio::select! {
            biased;
            why = gone => Ok(Some(why)),
            taken = asked => taken,
        };
        self.beside = beside;
        taken
    }

    /// The next event beside the caller's channel; [`None`] when the engine is ending. An error ends it: the caller is gone.
    pub(super) async fn beside(&mut self) -> Result<Option<Beside>, CallError> {
        let Self { beside, ears, .. } = self;
        let gone = async {
            loop {
                // Keys and sounds mean nothing now.
                if let Err(error) = ears.next().await {
                    return error;
                }
            }
        };
        tokio::select! {
            biased;
            error = gone => Err(error),
            event = beside.recv() => Ok(event),
        }
    }

    fn note_transfer(&self, to: &str, how: &str) {
        self.book.note(Note::Transfer { to: to.to_owned(), how: how.to_owned(), at: Moment::now() });
    }
}

/// What the caller hears while he waits.
struct Waiting {
    ari: Ari,
    bridge: BridgeId,
    playback: PlaybackId,
    hold: Hold,
}

impl Waiting {
    /// He hears it from now on.
    async fn begin(&self) -> Result<(), AriError> {
        let Self { ari, bridge, playback, hold } = self;
        let media = match hold {
            Hold::Music(class) => return ari.bridges().start_moh(bridge, class.as_deref()).await,
            Hold::Ring => "tone:ring".to_owned(),
            Hold::Sound(name) => format!("sound:{name}"),
        };
        let play = BridgePlay { media: vec![media], ..BridgePlay::default() };
        ari.bridges().play(bridge, playback, &play).await.map(drop)
    }
}

impl Leg {
    /// What tells the caller that something is being done for him. What ends (a sound, or a tone at a key of his) is begun again.
    fn waiting(&self, hold: &Hold) -> Waiting {
        Waiting {
            ari: self.ari.clone(),
            bridge: self.main_bridge(),
            playback: PlaybackId::from(&self.id(Part::Hold)),
            hold: hold.clone(),
        }
    }

    /// He hears it no more.
    async fn stop_hold(&self) {
        let stopped = self.ari.playbacks().stop(&PlaybackId::from(&self.id(Part::Hold))).await;
        // Whichever of the two it was, the other one is not there.
        drop(stopped);
        drop(self.ari.bridges().stop_moh(&self.main_bridge()).await);
    }

    /// Calls somebody for the caller.
    async fn ring(&mut self, to: &Destination, caller: &str, called: &str) -> Result<(), CallError> {
        self.free(&self.person()).await;
        self.beside = true;
        let context = match &to.way {
            Way::Extension { context: None, .. } => {
                self.ari.channels().get(&self.channel).await?.dialplan.context
            }
            _ => String::new(),
        };
        let plain = |number: &str| number.parse::<Plain>().ok().map(|number| number.to_string());
        let shown = to.caller_id.clone().or_else(|| plain(caller));
        let mut variables = std::collections::BTreeMap::new();
        variables.insert("__OFFHOOK_CALL".to_owned(), self.call.to_string());
        variables.extend(plain(caller).map(|number| ("__OFFHOOK_CALLER".to_owned(), number)));
        variables.extend(plain(called).map(|number| ("__OFFHOOK_CALLED".to_owned(), number)));
        let wanted = Originate {
            endpoint: to.dial(&context),
            app: Some(self.app.clone()),
            channel_id: Some(self.person()),
            originator: Some(self.channel.clone()),
            timeout: i32::try_from(to.ring.as_secs()).ok(),
            caller_id: shown.map(|number| format!("<{number}>")),
            variables,
            ..Originate::default()
        };
        self.ari.channels().originate(&wanted).await?;
        Ok(())
    }

    /// The bot goes to who was called, and the caller waits.
    async fn consult(&self) -> Result<(), AriError> {
        let consult = self.consult_bridge();
        let mixing = CreateBridge { kind: Some("mixing".into()), ..CreateBridge::default() };
        let bridges = self.ari.bridges();
        bridges.create(&consult, &mixing).await?;
        bridges.remove_channel(&self.main_bridge(), &self.media()).await?;
        bridges.add_channel(&consult, &self.media()).await?;
        bridges.add_channel(&consult, &self.person()).await
    }

    /// Who was called is joined with the caller, and the bot leaves.
    async fn join_person(&self) -> Result<(), AriError> {
        let (main, bridges) = (self.main_bridge(), self.ari.bridges());
        bridges.add_channel(&main, &self.person()).await?;
        self.stop_hold().await;
        for bridge in [main, self.consult_bridge()] {
            match bridges.remove_channel(&bridge, &self.media()).await {
                // It is in one of the two.
                Ok(()) | Err(_) => {}
            }
        }
        ignore_gone(bridges.destroy(&self.consult_bridge()).await)
    }

    /// The caller is with the bot again.
    async fn take_back(&self) -> Result<(), AriError> {
        let bridges = self.ari.bridges();
        ignore_gone(self.ari.channels().hangup(&self.person(), HangupReason::Normal).await)?;
        // Adding it to the one takes it out of the other.
        bridges.add_channel(&self.main_bridge(), &self.media()).await?;
        ignore_gone(bridges.destroy(&self.consult_bridge()).await)?;
        self.stop_hold().await;
        Ok(())
    }

    /// Removes what is beside the caller, if anything is.
    pub(super) async fn clear_beside(&self) {
        let (channels, bridges) = (self.ari.channels(), self.ari.bridges());
        let (person, consult) = (self.person(), self.consult_bridge());
        // What is not there, or is not let go now, is found at the next start.
        let _ = tokio::join!(channels.hangup(&person, HangupReason::Normal), bridges.destroy(&consult));
    }
}
