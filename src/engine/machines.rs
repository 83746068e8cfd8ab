//! What becomes of a call that we made and a machine answered.
//!
//! The bot talks meanwhile as if a person had answered; when it is found out that none has, it is stopped, and the machine is
//! hung up on, or gets a message where its greeting is over. A beep after that place begins the message anew.

use std::time::Duration;

use tokio::sync::mpsc;

use super::config::Config;
use super::dispatch;
use super::server::Server;
use super::switchboard::Stage;
use crate::asterisk::ari::ChannelId;
use crate::asterisk::ari::ops::Continue;
use crate::asterisk::number::Plain;
use crate::audio::Rate;
use crate::call::leg::until;
use crate::call::{Call, CallError, LegEvent, Note, Overheard};
use crate::id::CallId;
use crate::speech::{Answer, Ask, AskId, Expected, Recognizer, RecognizerSession};
use crate::store::{AnsweredBy, Machines};
use crate::time::Moment;
use crate::turn::answer::{
    AnswerSignal, Answerer, FaxTone, Information, Party, Teller, Why, Witnesses, listener,
};

/// So much longer than the settings say is waited for the place of a message, where no audio comes at all.
const LATE: Duration = Duration::from_secs(5);

/// How long AMD() may take: its own limit is 5 s.
const AMD_PATIENCE: Duration = Duration::from_secs(20);

/// Who finds out who answered a call that is just answered, where `told` is what is known already; [`None`] where there is
/// nothing to find out. With the words of `recognizer`, where there is one. Inside a runtime.
pub(super) fn answerer(
    call: CallId,
    config: &Config,
    machines: &Machines,
    told: Option<&AnswerSignal>,
    recognizer: Option<&dyn Recognizer>,
) -> Option<Box<Answerer>> {
    let told = told.and_then(AnswerSignal::verdict);
    if *machines == Machines::Talk || told == Some(Party::Person) {
        return None;
    }
    let mut answerer = early(config);
    if told.is_some() {
        answerer.is_machine(Moment::now());
        return Some(answerer);
    }
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

/// Who answered a call that another process has begun, by what that one wrote down. Nobody is told of this again, so its reason is not kept.
pub(super) fn known(by: AnsweredBy, at: Moment) -> AnswerSignal {
    let (why, heard) = (Why::Words, Witnesses::default());
    match by {
        AnsweredBy::Person => AnswerSignal::Person { at, why, heard },
        AnsweredBy::Machine => AnswerSignal::Machine { at, why, revised: false, heard },
        AnsweredBy::Fax => AnswerSignal::Fax { at, which: FaxTone::Answering },
        AnsweredBy::NoSuchNumber => AnswerSignal::InformationTone { at, which: Information::VacantCode },
        AnsweredBy::NoCircuit => AnswerSignal::InformationTone { at, which: Information::NoCircuit },
    }
}

/// Who finds it out in a call that nobody has answered yet, without words.
pub(super) fn early(config: &Config) -> Box<Answerer> {
    Box::new(Answerer::new(&config.answering, Rate::Hz8000))
}

/// Lets Asterisk's `AMD()` find out who answered, in the dialplan's context `context`: the channel goes there and comes back.
/// [`None`] when it did not find out.
///
/// # Errors
/// When the channel ends there, or does not come back.
pub(super) async fn amd(
    server: &Server,
    id: CallId,
    channel: &ChannelId,
    context: &Plain,
    events: &mut mpsc::Receiver<LegEvent>,
) -> Result<Option<AnswerSignal>, CallError> {
    let channels = server.ari.channels();
    // Outside the application nobody would tell us of its end.
    server.ari.applications().subscribe(&server.app, &[&format!("channel:{channel}")]).await?;
    server.switchboard.set_stage(id, Stage::Away);
    let place = Continue {
        context: Some(context.to_string()),
        extension: Some("s".into()),
        priority: Some(1),
        label: None,
    };
    channels.continue_in_dialplan(channel, &place).await?;
    match tokio::time::timeout(AMD_PATIENCE, until(events, LegEvent::Up)).await {
        Ok(back) => back?,
        Err(_) => {
            dispatch::clear(server, channel).await;
            let what = format!(
                "the context {context} did not bring the call back from AMD(): asterisk/extensions.conf has one that does"
            );
            return Err(CallError::Bot(what));
        }
    }
    server.switchboard.set_stage(id, Stage::Here);
    let status = channels.var(channel, "AMDSTATUS").await?.value;
    Ok(said(&status, Moment::now()))
}

/// What `AMDSTATUS` means.
fn said(status: &str, at: Moment) -> Option<AnswerSignal> {
    let (why, heard) = (Why::Amd, Witnesses::default());
    match status {
        "MACHINE" => Some(AnswerSignal::Machine { at, why, revised: false, heard }),
        "HUMAN" => Some(AnswerSignal::Person { at, why, heard }),
        "NOTSURE" => Some(AnswerSignal::Unsure { at, take_for: Party::Person, heard }),
        _ => None,
    }
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
    fn amd_says_who_answered_or_nothing() {
        let verdict = |status| said(status, Moment::ZERO).and_then(|signal| signal.verdict());
        assert_eq!(verdict("MACHINE"), Some(Party::Machine));
        assert_eq!([verdict("HUMAN"), verdict("NOTSURE")], [Some(Party::Person); 2]);
        assert_eq!([verdict("HANGUP"), verdict("")], [None; 2]);
    }

    #[test]
    fn who_presses_keys_or_is_transferred_is_a_person_and_a_beep_later_changes_nothing() {
        let at = Moment::ZERO;
        assert!(is_of_a_person(&Note::Key { key: '1', at }));
        assert!(is_of_a_person(&Note::Transfer { to: "sales".into(), how: "ringing".into(), at }));
        assert!(!is_of_a_person(&Note::Answered { at }));
        assert!(!is_of_a_person(&Note::Partial { text: "leave a message".into() }));
    }
}
