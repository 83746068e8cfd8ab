//! Reads the steps that listen: `ask` and `collect`.

use std::sync::Arc;

use super::action::{CollectSpec, Endpointing};
use super::grammar;
use super::model::{At, Choice, GiveUp, Kind, Question, Target};
use super::read::{BY, Reader, assignments, into, required_target};
use super::read_prompt::{prompt_value, prompts, required_prompt};
use super::read_turns::{BARGE_IN_KEYS, ENDING_KEYS, barge_in, endpointing, silences};
use super::table::{Table, wrong_type};
use crate::speech::grammar::Grammar;

const QUESTION_KEYS: [&str; 13] = [
    "kind",
    "say",
    "play",
    "say_again",
    "barge_in",
    "no_input_ms",
    "max_speech_ms",
    "min_confidence",
    "tries",
    "no_input",
    "no_match",
    "give_up",
    "private",
];

/// The keys of a telephone.
const KEYS: &str = "0123456789*#ABCD";

pub(super) fn ask(name: &str, table: &Table<'_>, cx: &mut Reader) -> Option<Kind> {
    only(table, &["grammar", "choices", "into", "goto"], cx);
    let other = table.string("goto", &mut cx.faults);
    let into = into(table, cx);
    let mut grammar = table.string("grammar", &mut cx.faults);
    let mut phrases = Phrases::default();
    let mut choices = Vec::new();
    for (n, value) in table.list("choices").unwrap_or_default().into_iter().enumerate() {
        let what = format!("choice {} of {}", n + 1, table.what);
        if let Some(inner) = Table::of(what, value, &mut cx.faults) {
            choices.extend(choice(&inner, grammar.is_some(), other.as_ref(), &mut phrases, cx));
        }
    }
    if !phrases.found.is_empty() && grammar.is_none() {
        let inline = format!("step-{name}");
        let compiled = phrases.compile(&table.what, &inline, cx);
        cx.grammars.insert(inline.clone(), compiled);
        grammar = Some(At { at: table.at("choices"), value: inline });
    }
    if !table.has("choices") && !table.has("grammar") {
        table.missing(
            "choices",
            "a list of { say = [phrases], key = \"1\", goto = \"step\" }, or 'grammar'",
            &mut cx.faults,
        );
    }
    if !table.has("choices") && other.is_none() {
        table.missing("goto", "the step that follows the answer, or 'choices'", &mut cx.faults);
    }
    let question = question(table, grammar, Endpointing::Balanced, cx);
    Some(Kind::Ask { question: question?, choices, other, into })
}

fn choice(
    table: &Table<'_>,
    has_grammar: bool,
    other: Option<&Target>,
    phrases: &mut Phrases,
    cx: &mut Reader,
) -> Option<Choice> {
    table.only(&["say", "meaning", "key", "set", "goto"], &mut cx.faults);
    let key = key(table, "key", cx);
    let mut meaning = table.string("meaning", &mut cx.faults);
    if has_grammar && table.has("say") {
        let problem = format!("{} has 'say', but the step has a grammar", table.what);
        cx.faults.push_hint(
            table.at("say"),
            problem,
            "name what the grammar makes of the words: meaning = …",
        );
        // Most likely it is the meaning that was written there.
        meaning = meaning.or_else(|| table.strings("say", &mut cx.faults)?.into_iter().next());
    } else {
        for text in table.strings("say", &mut cx.faults).unwrap_or_default() {
            let own = meaning.get_or_insert_with(|| At { at: text.at, value: one_spaced(&text.value) });
            phrases.add(&table.what, text.at, &text.value, &own.value, cx);
        }
        if let Some(own) = meaning.as_ref().filter(|m| !table.has("meaning") && m.value.contains(['[', '|']))
        {
            let problem = format!("{} needs a 'meaning', as its first phrase has alternatives", table.what);
            cx.faults.push(own.at, problem);
        }
    }
    let by_voice = table.has("say") || (has_grammar && table.has("meaning"));
    if !by_voice && !table.has("key") {
        let what = if has_grammar { "'meaning' or 'key'" } else { "'say' or 'key'" };
        cx.faults.push(table.at, format!("{} can never be chosen; expected {what}", table.what));
    }
    let goto = match other {
        Some(other) if !table.has("goto") => other.clone(),
        _ => required_target(table, "goto", "the step to go to", cx),
    };
    Some(Choice { meaning, key, set: assignments(table, cx), goto })
}

pub(super) fn collect(_: &str, table: &Table<'_>, cx: &mut Reader) -> Option<Kind> {
    only(
        table,
        &["digits", "min_digits", "max_digits", "terminator", "by", "inter_digit_ms", "into", "goto"],
        cx,
    );
    let digits = digits(table, cx);
    let terminator = key(table, "terminator", cx);
    if let Some(terminator) = terminator.as_ref().filter(|key| key.value.is_ascii_digit()) {
        let problem = format!("{}: 'terminator' cannot be a digit", table.what);
        cx.faults.push_hint(terminator.at, problem, "write \"#\" or \"*\"");
    }
    let (by_voice, by_key) = table.word("by", &BY[..3], &mut cx.faults).unwrap_or((true, true));
    let inter_digit = table.integer("inter_digit_ms", 300..=30_000, &mut cx.faults);
    if !table.has("into") {
        table.missing("into", "the variable that the digits go into", &mut cx.faults);
    }
    let into = into(table, cx);
    let goto = required_target(table, "goto", "the step that follows", cx);
    if by_voice && digits.is_some_and(|(_, max)| max > grammar::MAX_SPOKEN_DIGITS) {
        let most = grammar::MAX_SPOKEN_DIGITS;
        let problem = format!("{}: a spoken number has at most {most} digits", table.what);
        cx.faults.push_hint(table.at, problem, "write by = \"keys\"");
        return None;
    }
    let grammar = digits.filter(|_| by_voice).map(|(min, max)| {
        let name = grammar::digits_name(min, max);
        cx.grammars.insert(name.clone(), Some(grammar::digits(min, max)));
        At { at: table.at, value: name }
    });
    let question = question(table, grammar, Endpointing::Patient, cx)?;
    let (min, max) = digits?;
    let keys = by_key.then(|| CollectSpec {
        max,
        terminator: terminator.map(|key| key.value),
        inter_digit_ms: inter_digit.unwrap_or(cx.defaults.inter_digit_ms),
    });
    Some(Kind::Collect { question, keys, digits: (min, max), into: into?, goto })
}

/// `digits`, or `min_digits` and `max_digits`.
fn digits(table: &Table<'_>, cx: &mut Reader) -> Option<(u8, u8)> {
    let read = |key: &str, cx: &mut Reader| {
        table.integer(key, 1..=30, &mut cx.faults).and_then(|n| u8::try_from(n).ok())
    };
    let (exact, min, max) = (read("digits", cx), read("min_digits", cx), read("max_digits", cx));
    let range = table.has("min_digits") || table.has("max_digits");
    if table.has("digits") {
        if range {
            let problem = format!("{} has both 'digits' and a range", table.what);
            cx.faults.push_hint(table.at("digits"), problem, "'digits' is for an exact length");
        }
        return exact.map(|n| (n, n));
    }
    if !table.has("max_digits") {
        table.missing("digits", "how many, or 'min_digits' and 'max_digits'", &mut cx.faults);
        return None;
    }
    let (min, max) = (if table.has("min_digits") { min? } else { 1 }, max?);
    if min > max {
        let problem = format!("{}: 'min_digits' is {min}, more than 'max_digits', {max}", table.what);
        cx.faults.push(table.at("min_digits"), problem);
        return None;
    }
    Some((min, max))
}

fn question(
    table: &Table<'_>,
    grammar: Option<At<String>>,
    built_in: Endpointing,
    cx: &mut Reader,
) -> Option<Question> {
    let prompt = required_prompt(table, cx);
    let again = table.get("say_again").and_then(|value| prompt_value(table, "say_again", value, cx));
    let mut barge_in = barge_in(table, "barge_in", cx.defaults.ask, cx);
    barge_in.by_voice &= grammar.is_some();
    let endpointing = endpointing(table, cx).or(cx.defaults.endpointing).unwrap_or(built_in);
    let silences = silences(table, cx.defaults.silences, cx);
    let no_input_ms = table.integer("no_input_ms", 500..=60_000, &mut cx.faults);
    let max_speech_ms = table.integer("max_speech_ms", 500..=60_000, &mut cx.faults);
    let give_up = give_up(table, cx).or_else(|| cx.defaults.give_up.clone());
    if give_up.is_none() && !table.has("give_up") {
        let what_for = "the step to go to when nobody answers, here or in [defaults]";
        table.missing("give_up", what_for, &mut cx.faults);
    }
    Some(Question {
        again,
        barge_in,
        grammar,
        endpointing,
        silences,
        no_input_ms: no_input_ms.unwrap_or(cx.defaults.no_input_ms),
        max_speech_ms: max_speech_ms.unwrap_or(cx.defaults.max_speech_ms),
        min_confidence: confidence(table, cx).unwrap_or(cx.defaults.min_confidence),
        tries: tries(table, cx).unwrap_or(cx.defaults.tries),
        no_input: prompts(table, "no_input", cx).unwrap_or_else(|| cx.defaults.no_input.clone()),
        no_match: prompts(table, "no_match", cx).unwrap_or_else(|| cx.defaults.no_match.clone()),
        prompt,
        give_up: give_up?,
    })
}

/// A step name, or one for each failure.
pub(super) fn give_up(table: &Table<'_>, cx: &mut Reader) -> Option<GiveUp> {
    let value = table.get("give_up")?;
    if value.get_ref().is_table() {
        let inner = table.table("give_up", &mut cx.faults)?;
        inner.only(&["no_input", "no_match"], &mut cx.faults);
        let no_input = required_target(&inner, "no_input", "the step to go to after silence", cx);
        let no_match = required_target(&inner, "no_match", "the step to go to after a misunderstanding", cx);
        return Some(GiveUp { no_input, no_match });
    }
    let Some(name) = value.get_ref().as_str() else {
        let expected = "the name of a step, or { no_input = \"step\", no_match = \"step\" }";
        wrong_type(&table.what, "give_up", expected, value, &mut cx.faults);
        return None;
    };
    let target = At { at: value.span().start, value: name.to_owned() };
    Some(GiveUp { no_input: target.clone(), no_match: target })
}

pub(super) fn tries(table: &Table<'_>, cx: &mut Reader) -> Option<u8> {
    table.integer("tries", 1..=10, &mut cx.faults).and_then(|n| u8::try_from(n).ok())
}

#[expect(clippy::cast_possible_truncation, reason = "a number from 0 to 1 of few digits")]
pub(super) fn confidence(table: &Table<'_>, cx: &mut Reader) -> Option<f32> {
    let number = table.number("min_confidence", &mut cx.faults)?;
    if !(0.0..=1.0).contains(&number.value) {
        let problem = format!("{}: 'min_confidence' is {}; expected 0 to 1", table.what, number.value);
        cx.faults.push(number.at, problem);
        return None;
    }
    Some(number.value as f32)
}

/// The phrases of a grammar in the flow file, and where they stand.
#[derive(Default)]
pub(super) struct Phrases {
    found: Vec<(String, String)>,
    at: Vec<usize>,
    /// Some phrase was wrong: the grammar would say less than was meant.
    pub(super) is_torn: bool,
}

impl Phrases {
    /// Takes one in; an empty meaning stands for its own words.
    pub(super) fn add(&mut self, what: &str, at: usize, text: &str, meaning: &str, cx: &mut Reader) {
        let text = one_spaced(text);
        if text.is_empty() {
            cx.faults.push(at, format!("{what} has an empty phrase"));
            self.is_torn = true;
        } else if self.found.iter().any(|(known, _)| *known == text) {
            cx.faults.push(at, format!("{what}: the phrase '{text}' is there twice"));
            self.is_torn = true;
        } else {
            self.found.push((text, meaning.to_owned()));
            self.at.push(at);
        }
    }

    /// The grammar; a fault for each phrase that is none.
    pub(super) fn compile(self, what: &str, name: &str, cx: &mut Reader) -> Option<Arc<Grammar>> {
        let compiled = grammar::of_phrases(name, &self.found);
        compiled
            .map_err(|errors| {
                for (n, error) in errors {
                    cx.faults.push(
                        self.at[n],
                        format!("{what}: the phrase '{}': {}", self.found[n].0, error.what),
                    );
                }
            })
            .ok()
            .filter(|_| !self.is_torn)
    }
}

fn one_spaced(text: &str) -> String {
    text.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// One key of a telephone.
fn key(table: &Table<'_>, name: &str, cx: &mut Reader) -> Option<At<char>> {
    let text = table.scalar(name, &mut cx.faults)?;
    let mut chars = text.value.chars();
    match (chars.next(), chars.next()) {
        (Some(c), None) if KEYS.contains(c) => Some(At { at: text.at, value: c }),
        _ => {
            let problem = format!("{}: '{name}' is '{}'; expected one key", table.what, text.value);
            cx.faults.push_hint(text.at, problem, "keys are 0 to 9, *, # and A to D");
            None
        }
    }
}

fn only(table: &Table<'_>, own: &[&str], cx: &mut Reader) {
    let known = QUESTION_KEYS.iter().chain(&BARGE_IN_KEYS).chain(&ENDING_KEYS).chain(own);
    let known: Vec<&str> = known.copied().collect();
    table.only(&known, &mut cx.faults);
}
