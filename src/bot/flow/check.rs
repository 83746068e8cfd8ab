//! Looks a flow over once it is read: what each part alone cannot tell.

use std::collections::{BTreeMap, BTreeSet};

use super::Flow;
use super::error::{Faults, nearest};
use super::grammar::meanings;
use super::model::{At, Choice, Deed, Kind, Question, Step, Target};
use super::read::ReadFlow;
use crate::speech::Utterance;

/// Variables that every call has.
pub(super) const BUILT_IN: [&str; 9] =
    ["caller", "called", "call_id", "language", "hour", "minute", "weekday", "heard", "meaning"];

/// Notes every fault of the flow.
pub(super) fn check(read: &ReadFlow, faults: &mut Faults) {
    let names: Vec<&str> = read.step_names.iter().map(|name| name.value.as_str()).collect();
    targets(&read.flow, &names, faults);
    for (name, step) in &read.flow.steps {
        prompts(step, faults);
        if let Kind::Ask { question, choices, other, .. } = &step.kind {
            keys(name, choices, faults);
            answers(name, read, question, choices, other.as_ref(), faults);
        }
    }
    goodbye_files(&read.flow, faults);
    // Ways through the flow mean little while a step on them could not be read.
    if read.flow.steps.len() == names.len() {
        let graph = Graph::new(&read.flow, &names);
        graph.unreachable(faults);
        graph.spinning(faults);
        graph.variables(faults);
    }
}

fn targets(flow: &Flow, names: &[&str], faults: &mut Faults) {
    if names.is_empty() {
        return;
    }
    let all = flow.steps.values().flat_map(Step::targets).chain([&flow.first]).chain(&flow.on_failure);
    let unknown: BTreeMap<usize, &str> =
        all.map(|t| (t.at, t.value.as_str())).filter(|(_, t)| !t.is_empty() && !names.contains(t)).collect();
    for (at, name) in unknown {
        faults.push_unknown(at, format!("there is no step '{name}'"), name, names.iter().copied());
    }
}

fn prompts(step: &Step, faults: &mut Faults) {
    for prompt in step.prompts() {
        texts_fit(prompt.texts().map(|text| (text.at, text.value.fixed())), faults);
        prompt.files().for_each(|file| wav(file.at, &file.value, faults));
    }
}

fn goodbye_files(flow: &Flow, faults: &mut Faults) {
    flow.goodbye.files().for_each(|file| wav(file.at, &file.value, faults));
    texts_fit(flow.goodbye.texts().map(|text| (text.at, text.value.fixed())), faults);
}

fn texts_fit<'t>(texts: impl Iterator<Item = (usize, Option<&'t str>)>, faults: &mut Faults) {
    for (at, text) in texts {
        let chars = text.unwrap_or_default().chars().count();
        if chars > Utterance::MAX_CHARS {
            let problem =
                format!("this text has {chars} characters; expected at most {}", Utterance::MAX_CHARS);
            faults.push_hint(at, problem, "make it a list of shorter texts");
        }
    }
}

fn wav(at: usize, path: &std::path::Path, faults: &mut Faults) {
    if !path.is_file() {
        let problem = format!("there is no prompt file '{}'", path.display());
        faults.push_hint(at, problem, "the path is relative to the folder of the flow file");
    } else if let Err(error) = hound::WavReader::open(path) {
        faults.push(at, format!("'{}' is no WAV file that can be played: {error}", path.display()));
    }
}

fn keys(name: &str, choices: &[Choice], faults: &mut Faults) {
    let mut taken: BTreeMap<char, usize> = BTreeMap::new();
    let mut known: BTreeMap<&str, usize> = BTreeMap::new();
    for choice in choices {
        if let Some(key) = &choice.key
            && let Some(first) = taken.insert(key.value, key.at)
        {
            let line = faults.line(first);
            faults.push(
                key.at,
                format!("step '{name}': the key '{}' is taken by the choice in line {line}", key.value),
            );
        }
        if let Some(meaning) = &choice.meaning
            && let Some(first) = known.insert(&meaning.value, meaning.at)
        {
            let line = faults.line(first);
            let problem = format!(
                "step '{name}': the meaning '{}' is taken by the choice in line {line}",
                meaning.value
            );
            faults.push(meaning.at, problem);
        }
    }
}

/// The grammar is there, gives every meaning that is chosen by, and none that leads nowhere.
fn answers(
    name: &str,
    read: &ReadFlow,
    question: &Question,
    choices: &[Choice],
    other: Option<&Target>,
    faults: &mut Faults,
) {
    let Some(grammar) = &question.grammar else { return };
    if !read.grammar_names.contains(&grammar.value) {
        let problem = format!("step '{name}': there is no grammar '{}' in [grammars]", grammar.value);
        let known = read.grammar_names.iter().map(String::as_str).filter(|name| !name.contains('-'));
        faults.push_unknown(grammar.at, problem, &grammar.value, known);
        return;
    }
    let Some(given) = read.flow.grammars.get(&grammar.value).and_then(|grammar| meanings(grammar)) else {
        return;
    };
    let mut chosen = BTreeSet::new();
    for meaning in choices.iter().filter_map(|choice| choice.meaning.as_ref()) {
        chosen.insert(meaning.value.as_str());
        if !given.contains(&meaning.value) {
            let problem =
                format!("step '{name}': the grammar '{}' never means '{}'", grammar.value, meaning.value);
            faults.push_unknown(meaning.at, problem, &meaning.value, given.iter().map(String::as_str));
        }
    }
    // A misspelt meaning stands for one of those that seem to be left over.
    if other.is_none() && chosen.iter().all(|meaning| given.contains(*meaning)) {
        for meaning in given.iter().filter(|meaning| !chosen.contains(meaning.as_str())) {
            let problem = format!(
                "step '{name}': the grammar '{}' can mean '{meaning}', but no choice does",
                grammar.value
            );
            faults.push_hint(grammar.at, problem, "add a choice, or 'goto' for everything else");
        }
    }
}

/// The ways through a flow. A target that does not exist counts as the step that was probably meant.
struct Graph<'f> {
    flow: &'f Flow,
    names: &'f [&'f str],
    /// Steps in the order of the file.
    order: Vec<(&'f str, &'f Step)>,
    reached: BTreeSet<&'f str>,
    /// True when some target leads nowhere: then what looks unreachable may not be.
    torn: bool,
}

impl<'f> Graph<'f> {
    fn new(flow: &'f Flow, names: &'f [&'f str]) -> Self {
        let mut order: Vec<_> = flow.steps.iter().map(|(name, step)| (name.as_str(), step)).collect();
        order.sort_by_key(|(_, step)| step.at);
        let mut graph = Self { flow, names, order, reached: BTreeSet::new(), torn: false };
        let mut open: Vec<&Target> = std::iter::once(&flow.first).chain(&flow.on_failure).collect();
        while let Some(target) = open.pop() {
            match graph.step(target) {
                None => graph.torn = true,
                Some((name, step)) => {
                    if graph.reached.insert(name) {
                        open.extend(step.targets());
                    }
                }
            }
        }
        graph
    }

    fn step(&self, target: &Target) -> Option<(&'f str, &'f Step)> {
        let name = match self.flow.steps.get_key_value(&target.value) {
            Some((name, _)) => name.as_str(),
            None => nearest(&target.value, self.names)?,
        };
        self.flow.steps.get(name).map(|step| (name, step))
    }

    fn next(&self, step: &'f Step) -> impl Iterator<Item = (&'f str, &'f Step)> {
        step.targets().into_iter().filter_map(|target| self.step(target))
    }

    fn unreachable(&self, faults: &mut Faults) {
        if self.torn {
            return;
        }
        for (name, step) in self.order.iter().filter(|(name, _)| !self.reached.contains(name)) {
            faults.push_hint(
                step.at,
                format!("step '{name}' can never be reached"),
                "go to it somewhere, or remove it",
            );
        }
    }

    /// Circles of steps that never listen: the caller could not get out.
    fn spinning(&self, faults: &mut Faults) {
        let mut told: BTreeSet<&str> = BTreeSet::new();
        for (name, step) in self.order.iter().filter(|(_, step)| !step.listens()) {
            if !told.contains(name)
                && let Some(circle) = self.circle(name)
            {
                let path = circle.iter().chain([name]).map(|n| format!("'{n}'")).collect::<Vec<_>>();
                let problem =
                    format!("these steps go round for ever without listening: {}", path.join(" → "));
                faults.push(step.at, problem);
                told.extend(circle);
            }
        }
    }

    /// The steps of a shortest way from `start` back to it through steps that do not listen.
    fn circle(&self, start: &'f str) -> Option<Vec<&'f str>> {
        let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
        let mut open = std::collections::VecDeque::from([start]);
        while let Some(name) = open.pop_front() {
            for (next, _) in self.next(&self.flow.steps[name]).filter(|(_, step)| !step.listens()) {
                if next == start {
                    let mut path = vec![name];
                    while let Some(before) = came_from.get(path[path.len() - 1]) {
                        path.push(before);
                    }
                    path.reverse();
                    return Some(path);
                }
                if next != start && !came_from.contains_key(next) {
                    came_from.insert(next, name);
                    open.push_back(next);
                }
            }
        }
        None
    }

    /// A variable is used only where some way that leads there has set it.
    fn variables(&self, faults: &mut Faults) {
        let given = self.flow.given.iter().map(|name| name.value.as_str());
        let from_start: BTreeSet<&str> = BUILT_IN.into_iter().chain(given).collect();
        self.assigned(faults);
        let everywhere: BTreeSet<&str> =
            self.order.iter().flat_map(|(_, step)| sets(step)).chain(from_start.iter().copied()).collect();
        let before = self.set_before(&from_start, &everywhere);
        let mut complain = |user: &str, at: usize, name: &str, known: &BTreeSet<&str>| {
            if known.contains(name) {
                return;
            }
            let problem = if everywhere.contains(name) {
                format!("{user}: the variable '{name}' is used before any step on the way has set it")
            } else {
                format!("{user}: nothing sets the variable '{name}'")
            };
            faults.push_unknown(at, problem, name, known.iter().copied());
        };
        for (name, step) in self.order.iter().filter(|(name, _)| self.reached.contains(name)) {
            let user = format!("step '{name}'");
            let mut known = before[name].clone();
            if matches!(step.kind, Kind::Ask { .. } | Kind::Set { .. } | Kind::Branch { .. }) {
                // What the step itself sets may be used by what it sets next.
                known.extend(sets(step));
            }
            for text in step.templates() {
                text.value.variables().for_each(|used| complain(&user, text.at, used, &known));
            }
            if let Kind::Branch { cases, .. } = &step.kind {
                cases.iter().for_each(|case| complain(&user, case.variable.at, &case.variable.value, &known));
            }
        }
        for text in self.flow.goodbye.texts() {
            text.value.variables().for_each(|used| complain("[flow]", text.at, used, &everywhere));
        }
    }

    /// For each step, the variables that some way from the start to it may have set.
    fn set_before(
        &self,
        start: &BTreeSet<&'f str>,
        all: &BTreeSet<&'f str>,
    ) -> BTreeMap<&'f str, BTreeSet<&'f str>> {
        let mut before: BTreeMap<&str, BTreeSet<&str>> =
            self.order.iter().map(|(name, _)| (*name, start.clone())).collect();
        // Things can go wrong anywhere, so the way through `on_failure` may have set everything.
        if let Some((name, _)) = self.flow.on_failure.as_ref().and_then(|target| self.step(target)) {
            before.insert(name, all.clone());
        }
        let mut changed = true;
        while changed {
            changed = false;
            for (name, step) in &self.order {
                let mut after = before[name].clone();
                after.extend(sets(step));
                for (next, _) in self.next(step) {
                    let known = before.entry(next).or_default();
                    let size = known.len();
                    known.extend(after.iter().copied());
                    changed |= known.len() > size;
                }
            }
        }
        before
    }

    /// Nothing sets a variable that every call has.
    fn assigned(&self, faults: &mut Faults) {
        let set = self.order.iter().flat_map(|(_, step)| assigned(step)).chain(&self.flow.given);
        for name in set.filter(|name| BUILT_IN.contains(&name.value.as_str())) {
            let problem = format!("'{}' is set by Offhook itself", name.value);
            faults.push_hint(name.at, problem, "choose another name");
        }
    }
}

fn sets(step: &Step) -> impl Iterator<Item = &str> {
    assigned(step).into_iter().map(|name| name.value.as_str())
}

fn assigned(step: &Step) -> Vec<&At<String>> {
    match &step.kind {
        Kind::Set { set, .. } => set.iter().map(|(name, _)| name).collect(),
        Kind::Branch { cases, .. } => cases.iter().flat_map(|c| &c.set).map(|(name, _)| name).collect(),
        Kind::Ask { choices, into, .. } => {
            choices.iter().flat_map(|c| &c.set).map(|(name, _)| name).chain(into).collect()
        }
        Kind::Collect { into, .. } => vec![into],
        Kind::Do { deed: Deed::LookUp { into, .. }, .. } => into.iter().map(|(name, _)| name).collect(),
        Kind::Say { .. } | Kind::Do { .. } | Kind::HangUp { .. } | Kind::Continue { .. } => Vec::new(),
    }
}
