//! Words that give the other side away, for calls with a recogniser.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::settings::Phrases;

/// What machines and persons say, by language. Only what the other kind hardly ever says: no "you have reached", which
/// receptionists say too.
type Lists = (&'static str, &'static [&'static str], &'static [&'static str]);

const BUILT_IN: [Lists; 5] = [
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
            "your call is very important",
            "leave a short message",
            "leave a brief message",
            "leave us a message",
            "wait for the beep",
            "wait for the tone",
            "take your call",
            "answer the phone",
            "answer your call",
            "record your name",
            "the phone right now",
            "available right now",
            "available at the moment",
            "call you back as soon",
            "return your call",
            "missed your call",
            "you know what to do",
            "another call or away",
            "away from my desk",
            "nobody is at home",
            "not at home",
            "automated voice",
            "your call cannot",
            "your call could not",
            "cannot be completed",
            "number you have dialed",
            "number you dialed",
            "number you have called",
            "number you are calling",
            "person you are calling",
            "person you are trying",
            "party you are trying",
            "subscriber you have",
            "customer you",
            "out of service",
            "no longer in service",
            "switched off",
            "turned off",
            "out of range",
            "the coverage area",
            "cannot be reached",
            "try again later",
            "try your call again",
            "check the number",
            "call again later",
            "dial again",
            "please hang up",
            "hang up and dial",
            "nine one one",
            "office is closed",
            "office is now closed",
            "office is currently closed",
            "are closed",
            "are currently closed",
            "office hours",
            "business hours",
            "opening hours",
            "our hours are",
            "monday to friday",
            "monday through friday",
            "following options",
            "press one",
            "press two",
            "press three",
            "press zero",
            "press pound",
            "stay on the line",
            "please leave",
            "leave us a",
            "leave a detailed",
            "leave a voicemail",
            "to leave a message",
            "after the signal",
            "record your",
            "not in the office",
            "out of the office",
            "not here",
            "on vacation",
            "on holiday until",
            "away until",
            "can't get to the phone",
            "can't answer",
            "cannot answer",
            "can't take",
            "cannot take",
            "couldn't take",
            "call me on my",
            "reach me",
            "text me",
            "is full",
            "accept messages",
            "accept new messages",
            "accept calls",
            "accepting calls",
            "accepting messages",
            "has been diverted",
            "being diverted",
            "has been changed",
            "has been transferred",
            "does not exist",
            "not been recognised",
            "is not answering",
            "not reachable",
            "not connected",
            "unable to connect",
            "unable to complete",
            "cannot be connected",
            "could not be",
            "your call will be",
            "in a queue",
            "in the queue",
            "lines are busy",
            "agents are",
            "representatives are",
            "operators are",
            "all circuits",
            "remain on the line",
            "please try again",
            "please try later",
            "please call back",
            "call back later",
            "call back during",
            "for holding",
            "your patience",
            "enter your",
            "please dial",
            "press four",
            "press five",
            "press six",
            "press nine",
            "press star",
            "press hash",
            "press the",
            "is closed",
            "closed for",
            "will reopen",
            "we are open",
            "hours of operation",
            "speak after",
            "recorded message",
            "automated message",
            "being recorded",
            "for quality",
            "get back to you",
            "call you back when",
            "are not home",
            "nobody is home",
            "no one is home",
            "nobody is in",
            "there is nobody",
            "call may be recorded",
        ],
        &[
            "how can I help",
            "how may I help",
            "what can I do for you",
            "can I help you",
            "may I help you",
            "how may I direct",
            "who is this",
            "who's this",
            "who is calling",
            "who's calling",
            "who's there",
            "who am I speaking",
            "who am I talking",
            "may I have your",
            "can you hold",
            "hang on",
            "hold on a",
            "just a second",
            "just a moment",
            "just a minute",
            "are you there",
            "anybody there",
            "my name is",
            "can you hear me",
            "hardly hear you",
            "how are you",
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

/// With what machines begin, and persons at work; and the words that a short answer of a person is made of. In English alone.
const OPENINGS: &[&str] = &[
    "you have reached",
    "you've reached",
    "thank you for calling",
    "thanks for calling",
    "welcome to",
    "the mailbox",
    "the voicemail",
    "the number you",
    "the person you",
    "your call",
    "we're sorry",
    "I'm not",
    "I am not",
    "is not",
];
const GREETINGS: &[&str] = &[
    "hello",
    "hi",
    "hey",
    "yes",
    "yeah",
    "yep",
    "good",
    "morning",
    "afternoon",
    "evening",
    "speaking",
    "please",
    "okay",
    "there",
];

/// What breath, clicks and noise are heard as: they are no words of anybody.
const FILLERS: &[&str] = &["if", "the", "a", "of", "or", "oh", "and", "off", "um"];

/// What the words of whoever answered say about him.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    /// Only a machine says such words.
    Machine,
    /// Only a person does.
    Person,
    /// Machines begin so, and persons at work.
    Opening,
    /// A person's short answer, and nothing else so far.
    Greeting,
    /// The words are more a machine's than a person's, one with another.
    LikelyMachine,
    /// They are more a person's.
    LikelyPerson,
    /// Nothing.
    Nothing,
}

/// What the words of each side are learned from: sentences under the heads `[machines]` and `[persons]`.
const SENTENCES: &str = include_str!("../../../models/answers/sentences.txt");

/// A word that just one side says speaks no louder than this, in natural logarithms of odds.
const LOUDEST: f32 = 2.5;

/// From such sums of them on the words are more a machine's, and a person's.
const LIKELY_MACHINE: f32 = 8.0;
const LIKELY_PERSON: f32 = -1.0;

/// The lists, ready to be looked for.
#[derive(Clone, Debug)]
pub struct Book {
    machine: Vec<String>,
    person: Vec<String>,
    openings: Vec<String>,
    odds: &'static [(&'static str, f32)],
}

/// For each word the logarithm of the odds that a machine says it, in order of the words.
static ODDS: LazyLock<Vec<(&'static str, f32)>> = LazyLock::new(|| {
    let mut counts: BTreeMap<&str, [f32; 2]> = BTreeMap::new();
    let mut all = [0.0; 2];
    let mut who = None;
    for line in SENTENCES.lines().filter(|line| !line.starts_with(['#', '='])) {
        match line {
            "[machines]" => who = Some(0),
            "[persons]" => who = Some(1),
            _ if line.starts_with('[') => who = None,
            _ => {
                let Some(who) = who else { continue };
                // How often a sentence is said is of no matter here: its words are known by other sentences too.
                for word in
                    line.split_whitespace().filter(|word| !word.starts_with(|c: char| c.is_ascii_digit()))
                {
                    counts.entry(word).or_default()[who] += 1.0;
                    all[who] += 1.0;
                }
            }
        }
    }
    let odds = |[machine, person]: [f32; 2]| ((machine + 0.5) / all[0]).ln() - ((person + 0.5) / all[1]).ln();
    counts.into_iter().map(|(word, counts)| (word, odds(counts).clamp(-LOUDEST, LOUDEST))).collect()
});

impl Book {
    /// The lists that are built in, with those of some languages replaced or added.
    #[must_use]
    pub fn new(given: &BTreeMap<String, Phrases>) -> Self {
        let openings = OPENINGS.iter().map(|phrase| plain(phrase).collect::<String>()).collect();
        let mut book = Self { machine: Vec::new(), person: Vec::new(), openings, odds: &ODDS };
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

    /// What such words tell; that a machine says them where both do. Allocates nothing.
    #[must_use]
    pub fn tell(&self, text: &str) -> Told {
        let said = |phrases: &[String]| phrases.iter().any(|phrase| contains(text, phrase));
        if said(&self.machine) {
            Told::Machine
        } else if said(&self.person) {
            Told::Person
        } else if said(&self.openings) {
            Told::Opening
        } else if greets(text) {
            Told::Greeting
        } else {
            let odds = self.odds(text);
            if odds >= LIKELY_MACHINE {
                Told::LikelyMachine
            } else if odds <= LIKELY_PERSON {
                Told::LikelyPerson
            } else {
                Told::Nothing
            }
        }
    }
}

impl Book {
    /// The logarithm of the odds that a machine says these words, each by itself. In English alone; allocates nothing.
    pub(crate) fn odds(&self, text: &str) -> f32 {
        let of = |word: &str| {
            let found = self.odds.binary_search_by(|(known, _)| (*known).cmp(word));
            found.map_or(0.0, |at| self.odds[at].1)
        };
        text.split_whitespace().map(of).sum()
    }
}

/// Whether there are words of short answers, and no others but such as noise is heard as.
fn greets(text: &str) -> bool {
    let known = |word: &str, all: &[&str]| all.iter().any(|known| known.eq_ignore_ascii_case(word));
    text.split_whitespace().any(|word| known(word, GREETINGS))
        && text.split_whitespace().all(|word| known(word, GREETINGS) || known(word, FILLERS))
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
            assert_eq!(book.tell(text), Told::Machine, "{text}");
        }
        for text in ["Good morning, how may I help you?", "Was kann ich für Sie tun?"] {
            assert_eq!(book.tell(text), Told::Person, "{text}");
        }
        for text in ["", "…", "Miller and sons", "I shall leave amessage", "İ"] {
            assert_eq!(book.tell(text), Told::Nothing, "{text}");
        }
        for (text, told) in [
            ("hello", Told::Greeting),
            ("Hello yes", Told::Greeting),
            ("hello you've reached", Told::Opening),
            ("if hello", Told::Greeting),
            ("if", Told::Nothing),
            ("hello this number", Told::LikelyPerson),
            ("sorry hello just let me", Told::LikelyPerson),
            ("the subscriber number is engaged temporarily subscriber", Told::LikelyMachine),
        ] {
            assert_eq!(book.tell(text), told, "{text}");
        }
    }

    #[test]
    fn a_language_that_is_given_replaces_its_list() {
        let mine = Phrases { machine: vec!["squawk".into(), " ".into()], person: Vec::new() };
        let book = Book::new(&BTreeMap::from([("en".to_owned(), mine)]));
        assert_eq!(book.tell("Squawk!"), Told::Machine);
        assert_eq!(book.tell("leave a message"), Told::Nothing);
        assert_eq!(book.tell("nach dem Signalton"), Told::Machine);
        assert_eq!(book.tell("anything"), Told::Nothing);
    }
}
