//! What a call tells about itself, without what is never written down.

use crate::call::Note;
use crate::call::journal::{Input, Turn};
use crate::policy::redact::Redactor;

/// The note without numbers of cards and accounts. What another process needs to take the call up stays whole: it is deleted
/// when the call ends.
pub(super) fn redacted(redactor: &Redactor, mut note: Note) -> Note {
    match &mut note {
        Note::Saying { text, .. } | Note::Partial { text } => redactor.clean(text),
        Note::Played { words: Some(words), .. } => redactor.clean(words),
        Note::Heard { input, .. } => clean_input(redactor, input),
        Note::Result { value: Some(value), .. } => redactor.clean(value),
        Note::Turn(turn) => clean_turn(redactor, turn),
        _ => {}
    }
    note
}

fn clean_input(redactor: &Redactor, input: &mut Input) {
    match input {
        Input::Words { text, meaning, .. } => {
            redactor.clean(text);
            redactor.clean(meaning);
        }
        Input::Keys(keys) => redactor.clean(keys),
        Input::NoMatch | Input::NoInput | Input::Failed(_) => {}
    }
}

fn clean_turn(redactor: &Redactor, turn: &mut Turn) {
    if let Some(input) = &mut turn.input {
        clean_input(redactor, input);
    }
    for spoken in &mut turn.spoken {
        redactor.clean(&mut spoken.text);
        if let Some(words) = &mut spoken.words {
            redactor.clean(words);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Moment;

    #[test]
    fn a_card_is_in_no_note() {
        let card = "4111 1111 1111 1111";
        let words = Input::Words { text: card.into(), meaning: card.replace(' ', ""), confidence: 0.9 };
        for input in [words, Input::Keys(card.replace(' ', ""))] {
            let note = redacted(&Redactor::default(), Note::Heard { input, at: Moment::ZERO });
            let Note::Heard { input: Input::Words { text, .. } | Input::Keys(text), .. } = note else {
                panic!("it is still what was heard")
            };
            assert_eq!(text, "[redacted]");
        }
        let said = Note::Partial { text: format!("it is {card}") };
        let Note::Partial { text } = redacted(&Redactor::default(), said) else { panic!("still a partial") };
        assert_eq!(text, "it is [redacted]");
    }
}
