//! What people say without saying anything: words by which a listener shows that he listens, and words that never end a
//! sentence. A list of each per language, in one file, so that a speaker of a language can check it.
//!
//! The lists decide no word by themselves: "okay" in reply to "shall I go on?" is an answer, and what answers the question
//! that was asked is never a backchannel. A language that is not here has the English lists.

/// The lists of a language.
#[derive(Debug, PartialEq, Eq)]
pub struct Manners {
    /// The language as a tag without a region: `en`.
    language: &'static str,
    /// Said while the other one speaks, and meant to leave him the word. May be of several words.
    backchannels: &'static [&'static str],
    /// Words after which more comes: conjunctions, articles, prepositions, fillers.
    open: &'static [&'static str],
}

/// English.
pub const ENGLISH: &Manners = &ALL[0];

const ALL: [Manners; 9] = [
    Manners {
        language: "en",
        backchannels: &[
            "uh-huh",
            "uh huh",
            "uhuh",
            "mhm",
            "mm-hmm",
            "mm hmm",
            "mmhmm",
            "mm",
            "hm",
            "hmm",
            "okay",
            "ok",
            "right",
            "yeah",
            "yep",
            "yes",
            "sure",
            "i see",
            "got it",
            "all right",
            "alright",
            "oh",
            "ah",
            "aha",
            "good",
            "great",
            "fine",
            "really",
            "wow",
        ],
        open: &[
            "and", "or", "but", "so", "because", "then", "if", "that", "which", "who", "the", "a", "an",
            "my", "your", "our", "his", "her", "their", "this", "to", "of", "for", "in", "on", "at", "with",
            "from", "by", "about", "is", "are", "was", "i", "we", "i'd", "i'm", "would", "need", "like",
            "want", "uh", "um", "uhm", "er", "erm", "well", "plus", "dash", "dot",
        ],
    },
    Manners {
        language: "de",
        backchannels: &[
            "mhm",
            "hm",
            "hmm",
            "aha",
            "ja",
            "jaja",
            "ja ja",
            "ja genau",
            "genau",
            "okay",
            "ok",
            "gut",
            "ach so",
            "achso",
            "ach",
            "klar",
            "alles klar",
            "verstehe",
            "ich verstehe",
            "stimmt",
            "richtig",
            "eben",
            "so",
        ],
        open: &[
            "und", "oder", "aber", "weil", "dass", "denn", "wenn", "der", "die", "das", "den", "dem", "des",
            "ein", "eine", "einen", "einem", "einer", "mein", "meine", "ihr", "zu", "zum", "zur", "von",
            "vom", "für", "in", "im", "an", "am", "auf", "mit", "bei", "aus", "ich", "wir", "möchte", "äh",
            "ähm", "öh", "also", "sowie",
        ],
    },
    Manners {
        language: "fr",
        backchannels: &[
            "oui",
            "ouais",
            "mhm",
            "mm",
            "hm",
            "hum",
            "d'accord",
            "ok",
            "okay",
            "bien",
            "très bien",
            "voilà",
            "ah",
            "ah bon",
            "ah oui",
            "je vois",
            "exactement",
            "bon",
            "entendu",
        ],
        open: &[
            "et", "ou", "mais", "donc", "car", "parce", "que", "qui", "si", "le", "la", "les", "l'", "un",
            "une", "des", "du", "de", "mon", "ma", "mes", "votre", "vos", "ce", "cette", "à", "au", "aux",
            "en", "dans", "pour", "avec", "par", "sur", "chez", "je", "j'", "nous", "voudrais", "euh", "heu",
            "alors",
        ],
    },
    Manners {
        language: "es",
        backchannels: &[
            "sí",
            "si",
            "ajá",
            "aja",
            "mhm",
            "mm",
            "hm",
            "vale",
            "ok",
            "okay",
            "bien",
            "muy bien",
            "claro",
            "ya",
            "ya veo",
            "entiendo",
            "de acuerdo",
            "bueno",
            "ah",
            "exacto",
        ],
        open: &[
            "y", "e", "o", "u", "pero", "porque", "que", "si", "el", "la", "los", "las", "un", "una", "unos",
            "unas", "mi", "mis", "su", "sus", "de", "del", "a", "al", "en", "con", "por", "para", "sobre",
            "yo", "quiero", "quisiera", "eh", "em", "este", "pues",
        ],
    },
    Manners {
        language: "it",
        backchannels: &[
            "sì",
            "si",
            "mhm",
            "mm",
            "hm",
            "ok",
            "okay",
            "va bene",
            "bene",
            "certo",
            "capisco",
            "ho capito",
            "ah",
            "esatto",
            "giusto",
            "d'accordo",
            "perfetto",
        ],
        open: &[
            "e", "ed", "o", "ma", "perché", "che", "se", "il", "lo", "la", "i", "gli", "le", "l'", "un",
            "uno", "una", "mio", "mia", "di", "del", "della", "a", "al", "alla", "da", "dal", "in", "nel",
            "con", "su", "per", "io", "vorrei", "ehm", "eh", "allora",
        ],
    },
    Manners {
        language: "nl",
        backchannels: &[
            "ja",
            "jaja",
            "ja ja",
            "mhm",
            "hm",
            "hmm",
            "oké",
            "oke",
            "ok",
            "okay",
            "goed",
            "prima",
            "precies",
            "juist",
            "ik snap het",
            "begrijp ik",
            "ah",
            "aha",
            "klopt",
        ],
        open: &[
            "en", "of", "maar", "want", "omdat", "dat", "die", "als", "de", "het", "een", "mijn", "uw", "te",
            "naar", "van", "voor", "in", "op", "aan", "met", "bij", "uit", "ik", "we", "wij", "wil", "eh",
            "ehm", "uh", "dus",
        ],
    },
    Manners {
        language: "pt",
        backchannels: &[
            "sim", "aham", "uhum", "mhm", "hm", "tá", "ok", "okay", "certo", "entendi", "claro", "bom",
            "tudo bem", "ah", "pois", "pois é", "exato",
        ],
        open: &[
            "e", "ou", "mas", "porque", "que", "se", "o", "a", "os", "as", "um", "uma", "meu", "minha", "de",
            "do", "da", "em", "no", "na", "com", "por", "para", "eu", "quero", "queria", "é", "eh", "hã",
            "então",
        ],
    },
    Manners {
        language: "ru",
        backchannels: &[
            "да",
            "ага",
            "угу",
            "мгм",
            "хм",
            "так",
            "ясно",
            "понятно",
            "понял",
            "поняла",
            "хорошо",
            "ладно",
            "ок",
            "окей",
            "точно",
            "да да",
            "ну да",
            "конечно",
        ],
        open: &[
            "и",
            "или",
            "а",
            "но",
            "что",
            "чтобы",
            "если",
            "потому",
            "как",
            "в",
            "во",
            "на",
            "с",
            "со",
            "к",
            "ко",
            "у",
            "о",
            "об",
            "от",
            "из",
            "для",
            "по",
            "за",
            "при",
            "мой",
            "моя",
            "мне",
            "я",
            "мы",
            "хочу",
            "э",
            "эм",
            "ну",
            "это",
        ],
    },
    Manners {
        language: "pl",
        backchannels: &[
            "tak",
            "no tak",
            "no",
            "mhm",
            "aha",
            "hm",
            "okej",
            "ok",
            "dobrze",
            "dobra",
            "jasne",
            "rozumiem",
            "właśnie",
            "racja",
            "pewnie",
        ],
        open: &[
            "i",
            "a",
            "lub",
            "albo",
            "ale",
            "że",
            "żeby",
            "bo",
            "jeśli",
            "w",
            "we",
            "na",
            "z",
            "ze",
            "do",
            "od",
            "dla",
            "po",
            "za",
            "przy",
            "o",
            "mój",
            "moja",
            "ja",
            "chcę",
            "chciałbym",
            "yyy",
            "eee",
            "więc",
        ],
    },
];

impl Manners {
    /// The lists of a language, given as a tag: `de`, `de-AT`, `pt_BR`.
    #[must_use]
    pub fn of(language: &str) -> &'static Self {
        let tag = language.split(['-', '_']).next().unwrap_or_default();
        ALL.iter().find(|manners| manners.language.eq_ignore_ascii_case(tag)).unwrap_or(ENGLISH)
    }

    /// The language, as a tag without a region.
    #[must_use]
    pub const fn language(&self) -> &'static str {
        self.language
    }

    /// Whether `words` (lower case, separated by one space) are nothing but backchannels: "yeah", "okay i see".
    #[must_use]
    pub fn is_backchannel(&self, words: &str) -> bool {
        let mut rest = words.trim();
        while !rest.is_empty() {
            let fits = |known: &&&str| {
                rest.strip_prefix(**known).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
            };
            // The longest that fits: "ja genau" before "ja".
            let Some(found) = self.backchannels.iter().filter(fits).max_by_key(|known| known.len()) else {
                return false;
            };
            rest = rest[found.len()..].trim_start();
        }
        !words.trim().is_empty()
    }

    /// Whether the last of `words` never ends a sentence.
    #[must_use]
    pub fn ends_open(&self, words: &str) -> bool {
        words.split_whitespace().next_back().is_some_and(|last| self.open.contains(&last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backchannels_are_known_in_every_language_and_nothing_else_is_one() {
        for (language, words) in [
            ("en", "uh-huh"),
            ("en", "okay i see"),
            ("de-AT", "ja genau"),
            ("fr", "oui"),
            ("ru", "угу"),
            ("xx", "mhm"),
        ] {
            assert!(Manners::of(language).is_backchannel(words), "{language}: {words}");
        }
        for words in ["", "okay sales", "yesterday", "no"] {
            assert!(!ENGLISH.is_backchannel(words), "{words}");
        }
    }

    #[test]
    fn a_sentence_does_not_end_in_a_conjunction() {
        assert!(ENGLISH.ends_open("sales and") && ENGLISH.ends_open("my number is uh"));
        assert!(!ENGLISH.ends_open("sales") && !ENGLISH.ends_open(""));
        assert!(Manners::of("de").ends_open("ich hätte gern eine"));
    }

    #[test]
    fn the_lists_are_lower_case_and_name_each_word_once() {
        for manners in &ALL {
            for list in [manners.backchannels, manners.open] {
                for (n, word) in list.iter().enumerate() {
                    assert_eq!(*word, word.to_lowercase());
                    assert!(!list[..n].contains(word), "{}: {word} is there twice", manners.language);
                }
            }
        }
    }
}
