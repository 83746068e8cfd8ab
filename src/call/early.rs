//! What is heard of a call that we make before anybody answers it: ringing, announcements (early media).

use tokio::sync::mpsc;

use super::{Call, CallError, Gone, LegEvent, Note};
use crate::media::MediaEvent;
use crate::time::Moment;
use crate::turn::answer::{AnswerSignal, Information};

/// How a call stands that was dialled with early media.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Early {
    /// It was answered.
    Answered,
    /// The network played the tones of a call that failed; nobody waits for what it says behind them.
    Failed(Information),
}

impl Call {
    /// Waits until who we call answers, and hears what the network plays meanwhile. `rings` is told when it rings there, by the
    /// network's word or by ear. `judged` is whether it is to be found out who answered. Nothing was said yet on the call.
    ///
    /// # Errors
    /// [`CallError::Gone`] with the cause when nobody answers.
    pub async fn wait_for_answer(
        &mut self,
        judged: bool,
        mut rings: impl FnMut(),
    ) -> Result<Early, CallError> {
        loop {
            tokio::select! {
                // An answer that is there already comes first.
                biased;
                event = self.ears.leg.recv() => match event {
                    Some(LegEvent::Up) => {
                        self.ears.control.answered(Moment::now(), judged)?;
                        return Ok(Early::Answered);
                    }
                    Some(LegEvent::Ringing) => rings(),
                    Some(LegEvent::Gone(gone)) => return Err(CallError::Gone(gone)),
                    Some(LegEvent::MediaLost) => return Err(CallError::Gone(Gone::MediaLost)),
                    Some(_) => {}
                    None => return Err(CallError::MediaEnded),
                },
                signal = heard(&mut self.ears.events) => match signal? {
                    AnswerSignal::Ringing { .. } => rings(),
                    signal @ AnswerSignal::InformationTone { which, .. } => {
                        self.book.note(Note::Answerer(signal));
                        return Ok(Early::Failed(which));
                    }
                    _ => {}
                },
            }
        }
    }
}

/// What is found out next by ear. Cancel-safe.
async fn heard(events: &mut mpsc::Receiver<MediaEvent>) -> Result<AnswerSignal, CallError> {
    loop {
        match events.recv().await {
            Some(MediaEvent::Answer(signal)) => return Ok(signal),
            Some(_) => {}
            None => return Err(CallError::MediaEnded),
        }
    }
}
