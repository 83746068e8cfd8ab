//! Reads a flow file into the model. Every fault is noted and reading goes on, so that all come at once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::de::DeTable;

use super::action::{BargeInSpec, Endpointing, HangUpCause, Silences};
use super::error::Faults;
use super::grammar::Grammars;
use super::model::{Assignments, At, Case, GiveUp, Kind, PlaceTemplate, Prompt, Step, Steps, Target, Test};
use super::read_deeds as deeds;
use super::read_prompt::{prompt, prompt_value, prompts, required_prompt, template};
use super::read_question as question;
use super::read_turns::{self, BARGE_IN_KEYS, ENDING_KEYS, barge_in};
use super::table::{Table, Value, scalar_text, wrong_type};
use super::template::is_name;
use super::{Flow, SearchPaths};
use crate::speech::grammar::Grammar;

/// What reading a step needs to know of the rest of the file.
pub(super) struct Reader<'f> {
    pub(super) faults: Faults<'f>,
    /// The folder of the flow file.
    pub(super) folder: PathBuf,
    pub(super) defaults: Defaults,
    /// By name; [`None`] for one that is wrong.
    pub(super) grammars: BTreeMap<String, Option<Arc<Grammar>>>,
}

/// `[defaults]`.
pub(super) struct Defaults {
    pub(super) endpointing: Option<Endpointing>,
    pub(super) silences: Silences,
    pub(super) no_input_ms: u32,
    pub(super) max_speech_ms: u32,
    pub(super) inter_digit_ms: u32,
    pub(super) min_confidence: f32,
    pub(super) tries: u8,
    pub(super) ask: BargeInSpec,
    pub(super) say: BargeInSpec,
    pub(super) no_input: Vec<Prompt>,
    pub(super) no_match: Vec<Prompt>,
    pub(super) give_up: Option<GiveUp>,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            endpointing: None,
            silences: Silences::default(),
            no_input_ms: 5_000,
            max_speech_ms: 10_000,
            inter_digit_ms: 3_000,
            min_confidence: 0.0,
            tries: 3,
            ask: BargeInSpec { by_voice: true, by_key: true, ..BargeInSpec::NEVER },
            say: BargeInSpec { by_key: true, ..BargeInSpec::NEVER },
            no_input: Vec::new(),
            no_match: Vec::new(),
            give_up: None,
        }
    }
}

/// Who may cut a prompt short, or answer: voice, keys.
pub(super) const BY: [(&str, (bool, bool)); 4] = [
    ("voice_and_keys", (true, true)),
    ("voice", (true, false)),
    ("keys", (false, true)),
    ("never", (false, false)),
];

const FLOW_KEYS: [&str; 9] =
    ["name", "description", "language", "voice", "first", "goodbye", "given", "max_turns", "on_failure"];
const DEFAULTS_KEYS: [&str; 10] = [
    "no_input_ms",
    "max_speech_ms",
    "inter_digit_ms",
    "min_confidence",
    "tries",
    "ask_barge_in",
    "say_barge_in",
    "no_input",
    "no_match",
    "give_up",
];

/// What was read: the flow, and whether every step in the file could be.
pub(super) struct ReadFlow {
    pub(super) flow: Flow,
    /// The names in `[step]`, read or not.
    pub(super) step_names: Vec<At<String>>,
    /// The names of its grammars, usable or not.
    pub(super) grammar_names: Vec<String>,
}

/// Reads the document. [`None`] when it has no `[flow]` to speak of; the faults tell why.
pub(super) fn document<'f>(
    path: &'f Path,
    root: &DeTable<'_>,
    search: &SearchPaths,
    faults: Faults<'f>,
) -> (Option<ReadFlow>, Faults<'f>) {
    let folder = path.parent().map(Path::to_owned).unwrap_or_default();
    let mut cx = Reader { faults, folder, defaults: Defaults::default(), grammars: BTreeMap::new() };
    let root = Table::new("the file", 0, root);
    root.only(&["flow", "defaults", "grammars", "step"], &mut cx.faults);
    if let Some(table) = root.get_or_near("defaults").and_then(|v| Table::of("[defaults]", v, &mut cx.faults))
    {
        cx.defaults = defaults(&table, &mut cx);
    }
    if let Some(table) = root.get_or_near("grammars").and_then(|v| Table::of("[grammars]", v, &mut cx.faults))
    {
        grammars(&table, search, &mut cx);
    }
    let (steps, step_names) = steps(&root, &mut cx);
    let flow = match root.get_or_near("flow") {
        None => {
            root.missing("flow", "a table with the flow's name and its first step", &mut cx.faults);
            None
        }
        Some(value) => {
            Table::of("[flow]", value, &mut cx.faults).and_then(|table| flow(&table, steps, &mut cx))
        }
    };
    let Reader { faults, grammars, .. } = cx;
    let read = flow.map(|flow| ReadFlow {
        grammar_names: grammars.keys().cloned().collect(),
        flow: Flow { grammars: grammars.into_iter().filter_map(|(n, g)| Some((n, g?))).collect(), ..flow },
        step_names,
    });
    (read, faults)
}

fn flow(table: &Table<'_>, steps: Steps, cx: &mut Reader) -> Option<Flow> {
    table.only(&FLOW_KEYS, &mut cx.faults);
    let name = table.string("name", &mut cx.faults);
    if !table.has("name") {
        table.missing("name", "a short name for logs and lists", &mut cx.faults);
    }
    let first = table.string("first", &mut cx.faults);
    if !table.has("first") {
        table.missing("first", "the name of the step that a call begins with", &mut cx.faults);
    }
    let text = |key: &str, cx: &mut Reader| table.string(key, &mut cx.faults).map(|t| t.value);
    let on_failure = table.table("on_failure", &mut cx.faults).map(|failure| {
        failure.only(&["goto"], &mut cx.faults);
        required_target(&failure, "goto", "the name of a step", cx)
    });
    let given = table.strings("given", &mut cx.faults).unwrap_or_default();
    given.iter().for_each(|name| check_name("variable", name, cx));
    Some(Flow {
        description: text("description", cx),
        language: text("language", cx).unwrap_or_else(|| "en".to_owned()),
        voice: text("voice", cx),
        goodbye: table
            .get("goodbye")
            .and_then(|value| prompt_value(table, "goodbye", value, cx))
            .unwrap_or_default(),
        given,
        max_turns: table
            .integer("max_turns", 1..=10_000, &mut cx.faults)
            .and_then(|n| u16::try_from(n).ok())
            .unwrap_or(200),
        on_failure,
        name: name?.value,
        first: first?,
        steps,
        grammars: Grammars::new(),
    })
}

fn defaults(table: &Table<'_>, cx: &mut Reader) -> Defaults {
    let known = DEFAULTS_KEYS.iter().chain(&BARGE_IN_KEYS).chain(&ENDING_KEYS);
    table.only(&known.copied().collect::<Vec<_>>(), &mut cx.faults);
    let built_in = Defaults::default();
    Defaults {
        endpointing: read_turns::endpointing(table, cx),
        silences: read_turns::silences(table, built_in.silences, cx),
        no_input_ms: table
            .integer("no_input_ms", 500..=60_000, &mut cx.faults)
            .unwrap_or(built_in.no_input_ms),
        max_speech_ms: table
            .integer("max_speech_ms", 500..=60_000, &mut cx.faults)
            .unwrap_or(built_in.max_speech_ms),
        inter_digit_ms: table
            .integer("inter_digit_ms", 300..=30_000, &mut cx.faults)
            .unwrap_or(built_in.inter_digit_ms),
        min_confidence: question::confidence(table, cx).unwrap_or(built_in.min_confidence),
        tries: question::tries(table, cx).unwrap_or(built_in.tries),
        ask: barge_in(table, "ask_barge_in", built_in.ask, cx),
        say: barge_in(table, "say_barge_in", built_in.say, cx),
        no_input: prompts(table, "no_input", cx).unwrap_or_default(),
        no_match: prompts(table, "no_match", cx).unwrap_or_default(),
        give_up: question::give_up(table, cx),
    }
}

fn grammars(table: &Table<'_>, search: &SearchPaths, cx: &mut Reader) {
    for (name, value) in table.entries() {
        check_name("grammar", &name, cx);
        let what = format!("grammar '{}'", name.value);
        let grammar = if let Some(file) = value.get_ref().as_str() {
            grammar_file(&what, value.span().start, file, search, cx)
        } else {
            grammar_of_phrases(&what, &name.value, value, cx)
        };
        // A grammar that is wrong is known all the same, so that its fault is told once.
        cx.grammars.insert(name.value, grammar);
    }
}

fn grammar_file(
    what: &str,
    at: usize,
    file: &str,
    search: &SearchPaths,
    cx: &mut Reader,
) -> Option<Arc<Grammar>> {
    let places = || std::iter::once(&cx.folder).chain(&search.grammars);
    let Some(path) = places().map(|folder| folder.join(file)).find(|path| path.is_file()) else {
        let looked: Vec<String> = places().map(|folder| folder.join(file).display().to_string()).collect();
        let hint = format!("looked for {}", looked.join(", "));
        cx.faults.push_hint(at, format!("{what}: there is no file '{file}'"), hint);
        return None;
    };
    Grammar::load(&path).map_err(|error| cx.faults.push(at, format!("{what}: {error}"))).ok().map(Arc::new)
}

/// A list of phrases, each its own meaning, or a table of meanings with their phrases.
fn grammar_of_phrases(what: &str, name: &str, value: Value<'_>, cx: &mut Reader) -> Option<Arc<Grammar>> {
    let mut found: Vec<(Value<'_>, String)> = Vec::new();
    if let Some(list) = value.get_ref().as_array() {
        found.extend(list.iter().map(|phrase| (phrase, String::new())));
    } else if value.get_ref().is_table() {
        let table = Table::of(what, value, &mut cx.faults)?;
        for (meaning, _) in table.entries() {
            let phrases = table.list(&meaning.value).unwrap_or_default();
            found.extend(phrases.into_iter().map(|phrase| (phrase, meaning.value.clone())));
        }
    } else {
        let expected = "a file name, a list of phrases, or a table { meaning = [phrases] }";
        wrong_type(what, "", expected, value, &mut cx.faults);
        return None;
    }
    if found.is_empty() {
        cx.faults.push(value.span().start, format!("{what} has no phrase"));
        return None;
    }
    let mut phrases = question::Phrases::default();
    for (phrase, meaning) in found {
        match phrase.get_ref().as_str() {
            Some(text) => phrases.add(what, phrase.span().start, text, &meaning, cx),
            None => {
                wrong_type(what, "", "a phrase", phrase, &mut cx.faults);
                phrases.is_torn = true;
            }
        }
    }
    phrases.compile(what, name, cx)
}

fn steps(root: &Table<'_>, cx: &mut Reader) -> (Steps, Vec<At<String>>) {
    let (mut steps, mut names) = (Steps::new(), Vec::new());
    let Some(value) = root.get_or_near("step") else {
        root.missing("step", "at least one [step.NAME]", &mut cx.faults);
        return (steps, names);
    };
    if value.get_ref().is_array() {
        let at = value.span().start;
        cx.faults.push_hint(
            at,
            "'step' is a list; expected tables with names",
            "write [step.NAME] for [[step]]",
        );
        return (steps, names);
    }
    let Some(table) = Table::of("[step]", value, &mut cx.faults) else { return (steps, names) };
    for (name, value) in table.entries() {
        check_name("step", &name, cx);
        let table = Table::of(format!("step '{}'", name.value), value, &mut cx.faults);
        if let Some(mut table) = table {
            table.at = name.at;
            if let Some(kind) = step(&name.value, &table, cx) {
                let private = table.boolean("private", &mut cx.faults).unwrap_or(false);
                steps.insert(name.value.clone(), Step { at: name.at, kind, private });
            }
        }
        names.push(name);
    }
    (steps, names)
}

fn step(name: &str, table: &Table<'_>, cx: &mut Reader) -> Option<Kind> {
    type Read = fn(&str, &Table<'_>, &mut Reader) -> Option<Kind>;
    const KINDS: [(&str, Read); 17] = [
        ("say", say),
        ("ask", question::ask),
        ("collect", question::collect),
        ("branch", branch),
        ("set", set),
        ("transfer", deeds::transfer),
        ("look_up", deeds::look_up),
        ("set_variables", deeds::set_variables),
        ("send_keys", deeds::send_keys),
        ("play_sound", deeds::play_sound),
        ("record", deeds::record),
        ("stop_recording", deeds::stop_recording),
        ("call_back", deeds::call_back),
        ("opt_out", deeds::opt_out),
        ("message", deeds::message),
        ("hang_up", hang_up),
        ("continue_in_dialplan", continue_in_dialplan),
    ];
    if !table.has("kind") {
        let known = KINDS.map(|(word, _)| word).join(", ");
        table.missing("kind", &format!("one of: {known}"), &mut cx.faults);
        return None;
    }
    table.word("kind", &KINDS, &mut cx.faults)?(name, table, cx)
}

fn say(_: &str, table: &Table<'_>, cx: &mut Reader) -> Option<Kind> {
    let known = ["kind", "say", "play", "barge_in", "goto", "private"].into_iter().chain(BARGE_IN_KEYS);
    table.only(&known.collect::<Vec<_>>(), &mut cx.faults);
    let prompt = required_prompt(table, cx);
    let nothing = |key: &str| table.list(key).is_some_and(|list| list.is_empty());
    if nothing("say") || nothing("play") {
        cx.faults.push(table.at, format!("{} says nothing", table.what));
    }
    let barge_in = barge_in(table, "barge_in", cx.defaults.say, cx);
    let goto = required_target(table, "goto", "the step that follows", cx);
    Some(Kind::Say { prompt, barge_in, goto })
}

fn branch(_: &str, table: &Table<'_>, cx: &mut Reader) -> Option<Kind> {
    table.only(&["kind", "cases", "else"], &mut cx.faults);
    let otherwise = required_target(table, "else", "the step to go to when no case holds", cx);
    if !table.has("cases") {
        table.missing(
            "cases",
            "a list of { when = \"variable\", equals = \"value\", goto = \"step\" }",
            &mut cx.faults,
        );
    }
    let mut cases = Vec::new();
    for (n, value) in table.list("cases").unwrap_or_default().into_iter().enumerate() {
        let what = format!("case {} of {}", n + 1, table.what);
        if let Some(table) = Table::of(what, value, &mut cx.faults) {
            cases.extend(case(&table, cx));
        }
    }
    Some(Kind::Branch { cases, otherwise })
}

fn case(table: &Table<'_>, cx: &mut Reader) -> Option<Case> {
    const TESTS: [&str; 8] =
        ["equals", "differs_from", "one_of", "is_set", "at_least", "at_most", "above", "below"];
    let known: Vec<&str> = ["when", "set", "goto"].into_iter().chain(TESTS).collect();
    table.only(&known, &mut cx.faults);
    let variable = table.string("when", &mut cx.faults);
    if !table.has("when") {
        table.missing("when", "the name of a variable", &mut cx.faults);
    }
    let mut tests = Vec::new();
    tests.extend(table.scalar("equals", &mut cx.faults).map(|t| Test::Equals(t.value)));
    tests.extend(table.scalar("differs_from", &mut cx.faults).map(|t| Test::Differs(t.value)));
    tests.extend(table.boolean("is_set", &mut cx.faults).map(Test::IsSet));
    tests.extend(table.number("at_least", &mut cx.faults).map(|n| Test::AtLeast(n.value)));
    tests.extend(table.number("at_most", &mut cx.faults).map(|n| Test::AtMost(n.value)));
    tests.extend(table.number("above", &mut cx.faults).map(|n| Test::Above(n.value)));
    tests.extend(table.number("below", &mut cx.faults).map(|n| Test::Below(n.value)));
    if let Some(values) = table.list("one_of") {
        let texts: Vec<String> = values.iter().filter_map(|value| scalar_text(value)).collect();
        if texts.len() < values.len() {
            let at = table.at("one_of");
            cx.faults.push(at, format!("{}: 'one_of' expects a list of texts or numbers", table.what));
        }
        tests.push(Test::OneOf(texts));
    }
    if !TESTS.iter().any(|key| table.has(key)) {
        let problem = format!("{} has no condition; expected one of: {}", table.what, TESTS.join(", "));
        cx.faults.push(table.at, problem);
    }
    let goto = required_target(table, "goto", "the step to go to when it holds", cx);
    Some(Case { variable: variable?, tests, set: assignments(table, cx), goto })
}

fn set(_: &str, table: &Table<'_>, cx: &mut Reader) -> Option<Kind> {
    table.only(&["kind", "set", "goto"], &mut cx.faults);
    if !table.has("set") {
        table.missing("set", "a table { variable = \"value\" }", &mut cx.faults);
    }
    let goto = required_target(table, "goto", "the step that follows", cx);
    Some(Kind::Set { set: assignments(table, cx), goto })
}

fn hang_up(_: &str, table: &Table<'_>, cx: &mut Reader) -> Option<Kind> {
    table.only(&["kind", "say", "play", "cause"], &mut cx.faults);
    let prompt = prompt(table, cx).unwrap_or_default();
    let cause = table.word("cause", &HangUpCause::WORDS, &mut cx.faults);
    Some(Kind::HangUp { prompt, cause: cause.unwrap_or(HangUpCause::Normal) })
}

fn continue_in_dialplan(_: &str, table: &Table<'_>, cx: &mut Reader) -> Option<Kind> {
    table.only(&["kind", "say", "play", "context", "exten", "priority", "variables"], &mut cx.faults);
    let prompt = prompt(table, cx).unwrap_or_default();
    let text = |key: &str, cx: &mut Reader| {
        let text = table.string(key, &mut cx.faults)?;
        template(table, &text, cx)
    };
    let place = PlaceTemplate {
        context: text("context", cx),
        exten: text("exten", cx),
        priority: table.integer("priority", 1..=10_000, &mut cx.faults),
    };
    let mut variables = Vec::new();
    if let Some(table) = table.table("variables", &mut cx.faults) {
        for (name, _) in table.entries() {
            if let Some(value) = table.scalar(&name.value, &mut cx.faults)
                && let Some(value) = template(&table, &value, cx)
            {
                variables.push((name.value, value));
            }
        }
    }
    Some(Kind::Continue { prompt, place, variables })
}

/// The table at `set`: variables and what they become.
pub(super) fn assignments(table: &Table<'_>, cx: &mut Reader) -> Assignments {
    let Some(table) = table.table("set", &mut cx.faults) else { return Vec::new() };
    let mut all = Vec::new();
    for (name, _) in table.entries() {
        check_name("variable", &name, cx);
        if let Some(value) = table.scalar(&name.value, &mut cx.faults)
            && let Some(value) = template(&table, &value, cx)
        {
            all.push((name, value));
        }
    }
    all
}

/// The step that `key` names. When it names none, the fault is noted and the target leads nowhere.
pub(super) fn required_target(table: &Table<'_>, key: &str, what_for: &str, cx: &mut Reader) -> Target {
    if !table.has(key) {
        table.missing(key, what_for, &mut cx.faults);
    }
    table.string(key, &mut cx.faults).unwrap_or(At { at: table.at, value: String::new() })
}

/// The variable that `into` names.
pub(super) fn into(table: &Table<'_>, cx: &mut Reader) -> Option<At<String>> {
    let name = table.string("into", &mut cx.faults)?;
    check_name("variable", &name, cx);
    Some(name)
}

pub(super) fn check_name(what: &str, name: &At<String>, cx: &mut Reader) {
    if !is_name(&name.value) {
        let problem = format!("'{}' cannot be the name of a {what}", name.value);
        let hint = "a name has lower-case letters, digits and underscores, and begins with a letter";
        cx.faults.push_hint(name.at, problem, hint);
    }
}
