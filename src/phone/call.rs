//! One call of the phone, as tests and scripts hold it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::{sleep, timeout};

use super::PhoneError;
use super::agent::{CallKey, Ending};
use super::ear::{Ear, EarStats, Heard, Segment};
use super::line::{Command, Offer, Parts, Shared};
use super::media::{Listening, Order};
use super::voice::{KeyTiming, Pressed, Spoken, event_of};
use crate::time::Moment;

/// When a wait for silence looks again that found packets missing.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How far a call is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// The first provisional response above 100.
    pub ringing: Option<(u16, Moment)>,
    pub answered_at: Option<Moment>,
    pub ending: Option<Ending>,
}

/// A call to the phone that nobody has answered yet. Dropping it refuses the call as busy.
pub struct IncomingCall {
    shared: Arc<Shared>,
    offer: Offer,
    taken: bool,
}

impl IncomingCall {
    pub(super) fn new(shared: Arc<Shared>, offer: Offer) -> Self {
        Self { shared, offer, taken: false }
    }

    /// When the kernel received the INVITE.
    #[must_use]
    pub fn came(&self) -> Moment {
        self.offer.came
    }

    /// The From header of the INVITE.
    #[must_use]
    pub fn from(&self) -> &str {
        &self.offer.from
    }

    /// The user that was called.
    #[must_use]
    pub fn to_user(&self) -> &str {
        &self.offer.to_user
    }

    /// Says that it rings.
    ///
    /// # Errors
    /// [`PhoneError::Gone`] when the phone was stopped.
    pub async fn ring(&self) -> Result<(), PhoneError> {
        self.shared.command(Command::Ring(self.offer.key)).await
    }

    /// Says 183 and lets audio go both ways before it is answered: announcements, tones of the network (early media).
    ///
    /// # Errors
    /// [`PhoneError::Bind`] when no RTP port is free, [`PhoneError::Gone`].
    pub async fn progress(mut self) -> Result<EarlyCall, PhoneError> {
        let key = self.offer.key;
        let (call, parts) = self.shared.prepare()?;
        self.taken = true;
        self.shared.command(Command::Progress { key, call }).await?;
        Ok(EarlyCall(PhoneCall::new(Arc::clone(&self.shared), key, parts)))
    }

    /// Answers. [`PhoneCall::wait_answered`] tells when the call is up, or that the caller had given up before.
    ///
    /// # Errors
    /// [`PhoneError::Bind`] when no RTP port is free, [`PhoneError::Gone`].
    pub async fn answer(mut self) -> Result<PhoneCall, PhoneError> {
        let key = self.offer.key;
        let (call, parts) = self.shared.prepare()?;
        self.taken = true;
        self.shared.command(Command::Accept { key, call }).await?;
        Ok(PhoneCall::new(Arc::clone(&self.shared), key, parts))
    }

    /// Refuses with a code of 300 to 699: 486 is busy, 603 declined.
    ///
    /// # Errors
    /// [`PhoneError::Gone`] when the phone was stopped.
    pub async fn refuse(mut self, code: u16, reason: &str) -> Result<(), PhoneError> {
        self.taken = true;
        let (key, code, reason) = (self.offer.key, code.clamp(300, 699), reason.replace(['\r', '\n'], " "));
        self.shared.command(Command::Refuse { key, code, reason }).await
    }
}

impl Drop for IncomingCall {
    fn drop(&mut self) {
        if !self.taken {
            let (key, reason) = (self.offer.key, "Busy Here".to_owned());
            let _ = self.shared.commands.try_send(Command::Refuse { key, code: 486, reason });
        }
    }
}

/// A call to the phone whose audio goes both ways before it is answered. Dropping it refuses the call.
pub struct EarlyCall(PhoneCall);

impl EarlyCall {
    /// Says samples at 8 kHz to who calls, and waits until the last one is on the wire.
    ///
    /// # Errors
    /// As [`PhoneCall::say`].
    pub async fn say(&self, samples: Vec<i16>) -> Result<Spoken, PhoneError> {
        self.0.still_up()?;
        self.0.order_saying(samples).wait().await
    }

    /// Answers, as [`IncomingCall::answer`] does.
    ///
    /// # Errors
    /// [`PhoneError::Gone`].
    pub async fn answer(self) -> Result<PhoneCall, PhoneError> {
        self.0.shared.command(Command::AcceptEarly(self.0.key)).await?;
        Ok(self.0)
    }

    /// Refuses after all, with a code of 300 to 699.
    ///
    /// # Errors
    /// [`PhoneError::Gone`] when the phone was stopped.
    pub async fn refuse(self, code: u16, reason: &str) -> Result<(), PhoneError> {
        let (key, code, reason) = (self.0.key, code.clamp(300, 699), reason.replace(['\r', '\n'], " "));
        self.0.shared.command(Command::Refuse { key, code, reason }).await
    }
}

impl Shared {
    pub(super) async fn command(&self, command: Command) -> Result<(), PhoneError> {
        self.commands.send(command).await.map_err(|_| PhoneError::Gone)
    }
}

/// A call of the phone, from dialling or answering to the end. Dropping it hangs up.
///
/// Methods take `&self` and may be used from several tasks: one may speak while another listens.
pub struct PhoneCall {
    shared: Arc<Shared>,
    key: CallKey,
    listening: Arc<Listening>,
    progress: watch::Receiver<Progress>,
}

impl PhoneCall {
    pub(super) fn new(shared: Arc<Shared>, key: CallKey, parts: Parts) -> Self {
        Self { shared, key, listening: parts.listening, progress: parts.progress }
    }

    /// When the call was answered: the 200 came, or went.
    #[must_use]
    pub fn answered_at(&self) -> Option<Moment> {
        self.progress.borrow().answered_at
    }

    /// The first provisional response above 100, and when it came.
    #[must_use]
    pub fn ringing(&self) -> Option<(u16, Moment)> {
        self.progress.borrow().ringing
    }

    /// How the call ended, if it has.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        self.progress.borrow().ending.clone()
    }

    /// Waits until the call is up and gives the moment.
    ///
    /// # Errors
    /// [`PhoneError::Ended`] when it was refused, [`PhoneError::TimedOut`].
    pub async fn wait_answered(&self, within: Duration) -> Result<Moment, PhoneError> {
        let mut progress = self.progress.clone();
        let waiting = progress.wait_for(|p| p.answered_at.is_some() || p.ending.is_some());
        let state = timed("an answer", within, waiting).await?.map_err(|_| PhoneError::Gone)?.clone();
        match (state.answered_at, state.ending) {
            (Some(at), _) => Ok(at),
            (None, Some(ending)) => Err(PhoneError::Ended(ending)),
            (None, None) => Err(PhoneError::Gone),
        }
    }

    /// Ends the call: BYE when it is up, CANCEL while it rings. Returns at once.
    ///
    /// # Errors
    /// [`PhoneError::Gone`] when the phone was stopped.
    pub async fn hang_up(&self) -> Result<(), PhoneError> {
        self.shared.command(Command::HangUp(self.key)).await
    }

    /// Waits for the end of the call, whoever ends it.
    ///
    /// # Errors
    /// [`PhoneError::TimedOut`] when it goes on.
    pub async fn wait_hangup(&self, within: Duration) -> Result<Ending, PhoneError> {
        let mut progress = self.progress.clone();
        let waiting = progress.wait_for(|p| p.ending.is_some());
        let state =
            timed("the end of the call", within, waiting).await?.map_err(|_| PhoneError::Gone)?.clone();
        state.ending.ok_or(PhoneError::Gone)
    }

    /// Says samples at 8 kHz, behind what is being said already, and waits until the last one is on the wire.
    ///
    /// # Errors
    /// [`PhoneError::Ended`] when the call ended before, [`PhoneError::Busy`] when too much waits already.
    pub async fn say(&self, samples: Vec<i16>) -> Result<Spoken, PhoneError> {
        self.start_saying(samples)?.wait().await
    }

    /// Says samples at 8 kHz without waiting.
    ///
    /// # Errors
    /// [`PhoneError::Ended`] when the call is over, [`PhoneError::NotUp`] before it is answered.
    pub fn start_saying(&self, samples: Vec<i16>) -> Result<OnTheWire<Spoken>, PhoneError> {
        self.up()?;
        Ok(self.order_saying(samples))
    }

    fn order_saying(&self, samples: Vec<i16>) -> OnTheWire<Spoken> {
        let (told, done) = oneshot::channel();
        self.shared.media.tell(Order::Say { key: self.key, samples, told });
        OnTheWire { done, progress: self.progress.clone() }
    }

    /// Presses keys (0 to 9, *, #, A to D), behind what is being said, and waits until the last one is let go.
    ///
    /// # Errors
    /// [`PhoneError::NoKey`]; otherwise as [`say`](Self::say).
    pub async fn press(&self, keys: &str, timing: KeyTiming) -> Result<Pressed, PhoneError> {
        self.start_pressing(keys, timing)?.wait().await
    }

    /// Presses keys without waiting.
    ///
    /// # Errors
    /// [`PhoneError::NoKey`], [`PhoneError::Ended`].
    pub fn start_pressing(&self, keys: &str, timing: KeyTiming) -> Result<OnTheWire<Pressed>, PhoneError> {
        let codes = keys.chars().map(|key| event_of(key).ok_or(PhoneError::NoKey(key)));
        let keys = codes.collect::<Result<Vec<_>, _>>()?;
        self.up()?;
        let (told, done) = oneshot::channel();
        self.shared.media.tell(Order::Press { key: self.key, keys, timing, told });
        Ok(OnTheWire { done, progress: self.progress.clone() })
    }

    /// Falls silent: what waits to be said is dropped.
    pub fn hush(&self) {
        self.shared.media.tell(Order::Hush { key: self.key });
    }

    /// Looks at what was heard. The call's media thread waits meanwhile: be brief.
    pub fn with_ear<T>(&self, look: impl FnOnce(&Ear) -> T) -> T {
        look(&self.listening.ear())
    }

    /// Waits until the bot speaks; gives the onset. If it speaks already, that is the onset of now.
    ///
    /// # Errors
    /// [`PhoneError::TimedOut`], [`PhoneError::Ended`].
    pub async fn wait_bot_speaks(&self, within: Duration) -> Result<Moment, PhoneError> {
        let found = self.wait_for(|ear, _| ear.speaking().map(|s| s.onset).ok_or(None));
        timed("speech of the bot", within, found).await?
    }

    /// Waits for the first onset of the bot's speech at or after `since`, which may be past.
    ///
    /// # Errors
    /// [`PhoneError::TimedOut`], [`PhoneError::Ended`].
    pub async fn wait_onset_since(&self, since: Moment, within: Duration) -> Result<Moment, PhoneError> {
        let found = self.wait_for(move |ear, _| ear.onset_since(since).ok_or(None));
        timed("speech of the bot", within, found).await?
    }

    /// Waits until the bot has been silent for `quiet`; gives the moment of its last voiced packet, or when the
    /// waiting began if it never spoke.
    ///
    /// # Errors
    /// [`PhoneError::TimedOut`], [`PhoneError::Ended`].
    pub async fn wait_bot_silent(&self, quiet: Duration, within: Duration) -> Result<Moment, PhoneError> {
        let began = Moment::now();
        let found = self.wait_for(move |ear, now| {
            let last = ear.last_voiced().unwrap_or(began);
            if ear.known_until(now).since(last) >= quiet {
                Ok(last)
            } else {
                Err(Some((last + quiet).max(now + LOOK_AGAIN)))
            }
        });
        timed("silence of the bot", within, found).await?
    }

    /// The segments of speech that were heard so far, oldest first.
    #[must_use]
    pub fn segments(&self) -> Vec<Segment> {
        self.with_ear(|ear| ear.segments().collect())
    }

    /// Counts and gaps of what was heard.
    #[must_use]
    pub fn stats(&self) -> EarStats {
        self.with_ear(|ear| ear.stats().clone())
    }

    /// All that was heard, as samples; empty when the phone records nothing.
    #[must_use]
    pub fn heard(&self) -> Heard {
        let recording = self.with_ear(|ear| ear.recording().to_vec());
        Heard::of(&recording)
    }

    /// Waits for the bot's reply to what the caller said; gives the time from the end of the caller's speech on the
    /// wire to the bot's first audio at the ear.
    ///
    /// # Errors
    /// [`PhoneError::TimedOut`], [`PhoneError::Ended`].
    pub async fn wait_reply(&self, spoken: &Spoken, within: Duration) -> Result<Duration, PhoneError> {
        let end = spoken.last_voiced.unwrap_or(spoken.finished);
        Ok(self.wait_onset_since(end, within).await?.since(end))
    }

    /// What [`wait_reply`](Self::wait_reply) waits for, if it has come.
    #[must_use]
    pub fn reply_latency(&self, spoken: &Spoken) -> Option<Duration> {
        let end = spoken.last_voiced.unwrap_or(spoken.finished);
        self.with_ear(|ear| ear.onset_since(end)).map(|onset| onset.since(end))
    }

    /// From the onset of the caller's voice on the wire to the last voiced packet of what the bot was saying then.
    /// [`None`] when the bot was not speaking, or goes on.
    #[must_use]
    pub fn barge_in_latency(&self, spoken: &Spoken) -> Option<Duration> {
        let onset = spoken.onset?;
        let mut segments = self.segments().into_iter();
        let interrupted = segments.find(|s| s.onset <= onset && s.last_voiced >= onset)?;
        interrupted.over.then(|| interrupted.last_voiced.since(onset))
    }

    fn up(&self) -> Result<(), PhoneError> {
        self.still_up()?;
        self.answered_at().map(drop).ok_or(PhoneError::NotUp)
    }

    fn still_up(&self) -> Result<(), PhoneError> {
        match self.ending() {
            Some(ending) => Err(PhoneError::Ended(ending)),
            None => Ok(()),
        }
    }

    /// Asks `look` again whenever something changed in the ear, or at the moment that it names.
    async fn wait_for(
        &self,
        look: impl Fn(&Ear, Moment) -> Result<Moment, Option<Moment>>,
    ) -> Result<Moment, PhoneError> {
        loop {
            // Made before looking: a change in between is not missed.
            let changed = self.listening.changed.notified();
            let now = Moment::now();
            let again = match look(&self.listening.ear(), now) {
                Ok(found) => return Ok(found),
                Err(again) => again,
            };
            self.still_up()?;
            let nap = again.map_or(Duration::from_secs(1), |at| at.since(now));
            tokio::select! {
                () = changed => {}
                () = sleep(nap) => {}
            }
        }
    }
}

impl Drop for PhoneCall {
    fn drop(&mut self) {
        if self.ending().is_none() {
            // With a full queue of orders the SIP task hangs up when the phone itself is dropped.
            let _ = self.shared.commands.try_send(Command::HangUp(self.key));
        }
    }
}

/// Something that is on its way to the wire.
pub struct OnTheWire<T> {
    done: oneshot::Receiver<T>,
    progress: watch::Receiver<Progress>,
}

impl<T> OnTheWire<T> {
    /// Waits until its last packet is out.
    ///
    /// # Errors
    /// [`PhoneError::Ended`] when the call ended before, [`PhoneError::Busy`] when it was dropped unsaid.
    pub async fn wait(self) -> Result<T, PhoneError> {
        match self.done.await {
            Ok(done) => Ok(done),
            Err(_) => {
                let ending = self.progress.borrow().ending.clone();
                Err(ending.map_or(PhoneError::Busy, PhoneError::Ended))
            }
        }
    }
}

async fn timed<T>(what: &str, within: Duration, waiting: impl Future<Output = T>) -> Result<T, PhoneError> {
    timeout(within, waiting).await.map_err(|_| PhoneError::TimedOut { what: what.to_owned(), after: within })
}
