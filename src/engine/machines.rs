//! What becomes of a call that we made and a machine answered.
//!
//! The bot talks meanwhile as if a person had answered; when it is found out that none has, it is stopped, and the machine is
//! hung up on, or gets a message where its greeting is over. A beep after that place begins the message anew.

use std::time::Duration;

use super::config::Config;
use crate::audio::Rate;
use crate::call::{Call, CallError, Note, Overheard};
use crate::campaign::plan::Machines;
use crate::id::CallId;
use crate::speech::{Answer, Ask, AskId, Expected, Recognizer, RecognizerSession};
use crate::time::Moment;
use crate::turn::answer::{AnswerSignal, Answerer, Party, Teller, listener};

/// So much longer than the settings say is waited for the place of a message, where no audio comes at all.
const LATE: Duration = Duration::from_secs(5);

/// Who finds out who answered a call that is just answered; [`None`] where the bot talks to whoever did. With the words of
/// `recognizer`, where there is one. Inside a runtime.
pub(super) fn answerer(
    call: CallId,
    config: &Config,
    machines: &Machines,
    recognizer: Option<&dyn Recognizer>,
) -> Option<Box<Answerer>> {
    if *machines == Machines::Talk {
        return None;
    }
    let mut answerer = Box::new(Answerer::new(&config.answering, Rate::Hz8000));
    if let Some(recognizer) = recognizer {
        let (listener, ear, teller) = listener(&config.answering.phrases);
        match recognizer.open(call, ear, Rate::Hz8000) {
            Ok(session) => {
                tokio::spawn(hear(session, teller));
                answerer.listen(listener);
            }
            Err(error) => tracing::debug!(%call, %error, "nobody hears along who answered"),
        }
    }
    answerer.answered(Moment::now());
    Some(answerer)
}

/// Tells what is understood until the detector wants to know no more. A recogniser that cannot is none: the detector decides
/// without it.
async fn hear(mut session: RecognizerSession, teller: Teller) {
    let ask = Ask { id: AskId::default(), expected: Expected::Open };
    if session.asks.send(Some(ask)).await.is_err() {
        return;
    }
    while let Some((_, answer)) = session.answers.recv().await {
        match answer {
            Answer::Partial(heard) => teller.tell(&heard.text),
            Answer::Final(_) | Answer::Failed(_) => return,
            _ => {}
        }
    }
}

/// Waits until a machine is found out; for ever where nobody looks for one, or it is a person beyond doubt. Cancel-safe.
pub(super) async fn found(notes: &mut Option<Overheard>) -> AnswerSignal {
    while let Some(there) = notes {
        match there.next().await {
            Some(Note::Answerer(signal)) if signal.verdict() == Some(Party::Machine) => return signal,
            Some(note) if is_of_a_person(&note) => *notes = None,
            Some(_) => {}
            None => *notes = None,
        }
    }
    std::future::pending().await
}

/// No machine presses keys, and what beeps after a transfer is somebody else's.
fn is_of_a_person(note: &Note) -> bool {
    matches!(note, Note::Key { .. } | Note::Transfer { .. })
}

/// Says `words` to the machine where a message begins.
///
/// # Errors
/// When it hangs up before the words were said, or they could not be said.
pub(super) async fn leave_message(
    call: &mut Call,
    notes: &mut Overheard,
    words: &str,
    config: &Config,
) -> Result<(), CallError> {
    let patience = Duration::from_millis(config.answering.message_limit_ms.into()) + LATE;
    tokio::select! {
        error = call.wait() => return Err(error),
        _ = tokio::time::timeout(patience, place(notes)) => {}
    }
    loop {
        tokio::select! {
            said = call.say(words) => return said.map(drop),
            // What was said so far went into the greeting.
            () = place(notes) => {}
        }
    }
}

/// Waits until it is told where a message begins. Cancel-safe.
async fn place(notes: &mut Overheard) {
    while let Some(note) = notes.next().await {
        if matches!(note, Note::Answerer(signal) if signal.message_begins()) {
            return;
        }
    }
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_presses_keys_or_is_transferred_is_a_person_and_a_beep_later_changes_nothing() {
        let at = Moment::ZERO;
        assert!(is_of_a_person(&Note::Key { key: '1', at }));
        assert!(is_of_a_person(&Note::Transfer { to: "sales".into(), how: "ringing".into(), at }));
        assert!(!is_of_a_person(&Note::Answered { at }));
        assert!(!is_of_a_person(&Note::Partial { text: "leave a message".into() }));
    }
}
