//! Words that give the other side away, for calls with a recogniser.

use std::collections::BTreeMap;

use super::Party;
use super::settings::Phrases;

/// What machines and persons say, by language. Only what the other kind hardly ever says: no "you have reached", which
/// receptionists say too.
const BUILT_IN: [(&str, &[&str], &[&str]); 5] = [
    (
        "en",
        &[
            "leave a message",
            "leave your message",
            "leave me a message",
            "leave your name",
            "after the tone",
            "after the beep",
            "at the tone",
            "at the beep",
            "mailbox",
            "voicemail",
            "voice mail",
            "answering machine",
            "not available",
            "is unavailable",
            "can't take your call",
            "cannot take your call",
            "can't come to the phone",
            "cannot come to the phone",
            "unable to answer",
            "unable to take your call",
            "record your message",
            "get back to you as soon",
            "not in service",
            "has been disconnected",
            "your call has been forwarded",
            "your call is important",
        ],
        &[
            "how can I help",
            "how may I help",
            "what can I do for you",
            "who is this",
            "who is calling",
            "who's there",
        ],
    ),
    (
        "de",
        &[
            "Nachricht",
            "Signalton",
            "Piepton",
            "nach dem Ton",
            "Mailbox",
            "Anrufbeantworter",
            "hinterlassen Sie",
            "nicht erreichbar",
            "nicht zu erreichen",
            "nicht vergeben",
            "rufe Sie zurück",
            "rufen Sie zurück",
        ],
        &["was kann ich für Sie tun", "wie kann ich Ihnen helfen", "wer ist da", "wer spricht"],
    ),
    (
        "es",
        &[
            "deje su mensaje",
            "deje un mensaje",
            "deja tu mensaje",
            "dejar un mensaje",
            "después de la señal",
            "después del tono",
            "al oír la señal",
            "buzón",
            "contestador",
            "no está disponible",
            "no puedo atender",
        ],
        &["en qué puedo ayudar", "quién habla", "de parte de quién"],
    ),
    (
        "fr",
        &[
            "laissez un message",
            "laissez votre message",
            "laissez-moi un message",
            "laisser un message",
            "après le bip",
            "après le signal",
            "messagerie",
            "boîte vocale",
            "répondeur",
            "pas disponible",
            "pas attribué",
        ],
        &["que puis-je faire", "puis-je vous aider", "qui est à l'appareil"],
    ),
    (
        "it",
        &[
            "lasciate un messaggio",
            "lascia un messaggio",
            "lasciare un messaggio",
            "dopo il segnale",
            "dopo il bip",
            "segreteria",
            "casella vocale",
            "non è raggiungibile",
            "non è al momento raggiungibile",
        ],
        &["come posso aiutar", "chi parla"],
    ),
];

/// The lists, ready to be looked for.
#[derive(Clone, Debug)]
pub(super) struct Book {
    machine: Vec<String>,
    person: Vec<String>,
}

impl Book {
    /// The lists that are built in, with those of some languages replaced or added.
    pub(super) fn new(given: &BTreeMap<String, Phrases>) -> Self {
        let mut book = Self { machine: Vec::new(), person: Vec::new() };
        for (language, machine, person) in BUILT_IN {
            if !given.contains_key(language) {
                book.machine.extend(machine.iter().map(|phrase| plain(phrase).collect::<String>()));
                book.person.extend(person.iter().map(|phrase| plain(phrase).collect::<String>()));
            }
        }
        for phrases in given.values() {
            book.machine.extend(phrases.machine.iter().map(|phrase| plain(phrase).collect::<String>()));
            book.person.extend(phrases.person.iter().map(|phrase| plain(phrase).collect::<String>()));
        }
        // An empty phrase would be in everything.
        book.machine.retain(|phrase| !phrase.trim().is_empty());
        book.person.retain(|phrase| !phrase.trim().is_empty());
        book
    }

    /// Who says such words; a machine where both do. Allocates nothing.
    pub(super) fn who_says(&self, text: &str) -> Option<Party> {
        let said = |phrases: &[String]| phrases.iter().any(|phrase| contains(text, phrase));
        if said(&self.machine) {
            Some(Party::Machine)
        } else if said(&self.person) {
            Some(Party::Person)
        } else {
            None
        }
    }
}

/// Lower case, with one space for whatever stands between words and none at the edges.
fn plain(text: &str) -> impl Iterator<Item = char> + '_ {
    let letters = text.trim_matches(|c: char| !c.is_alphanumeric()).chars().flat_map(char::to_lowercase);
    let mut spaced = false;
    letters.filter_map(move |c| {
        let space = !c.is_alphanumeric();
        let again = space && spaced;
        spaced = space;
        (!again).then_some(if space { ' ' } else { c })
    })
}

/// Whether a phrase begins at the beginning of a word of the text.
fn contains(text: &str, phrase: &str) -> bool {
    let mut inside = false;
    text.char_indices().any(|(at, c)| {
        let begins = c.is_alphanumeric() && !inside;
        inside = c.is_alphanumeric();
        if !begins {
            return false;
        }
        let mut said = plain(&text[at..]);
        phrase.chars().all(|wanted| said.next() == Some(wanted))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_machines_and_of_persons_are_known_in_five_languages() {
        let book = Book::new(&BTreeMap::new());
        for text in [
            "Please LEAVE a   message",
            "i can't come to the phone right now",
            "hinterlassen sie eine nachricht nach dem signalton",
            "Deje su mensaje después de la señal",
            "laissez-moi un message après le bip",
            "lasciate un messaggio",
        ] {
            assert_eq!(book.who_says(text), Some(Party::Machine), "{text}");
        }
        for text in ["Good morning, how may I help you?", "Was kann ich für Sie tun?"] {
            assert_eq!(book.who_says(text), Some(Party::Person), "{text}");
        }
        for text in ["", "hello", "…", "Miller and sons", "I shall leave amessage", "İ"] {
            assert_eq!(book.who_says(text), None, "{text}");
        }
    }

    #[test]
    fn a_language_that_is_given_replaces_its_list() {
        let mine = Phrases { machine: vec!["squawk".into(), " ".into()], person: Vec::new() };
        let book = Book::new(&BTreeMap::from([("en".to_owned(), mine)]));
        assert_eq!(book.who_says("Squawk!"), Some(Party::Machine));
        assert_eq!(book.who_says("leave a message"), None);
        assert_eq!(book.who_says("nach dem Signalton"), Some(Party::Machine));
        assert_eq!(book.who_says("anything"), None);
    }
}
