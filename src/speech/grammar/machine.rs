//! The automaton behind a grammar: states joined by words, by nothing, or by a tag.

use std::collections::HashMap;
use std::rc::Rc;

use super::Node;

/// More states than this make a grammar too large to match between two frames.
const MAX_STATES: usize = 20_000;

/// Edges leave a state in order of preference: the first way written wins.
#[derive(Debug)]
pub(super) struct Machine {
    states: Vec<Vec<(Edge, usize)>>,
    end: usize,
    /// For each state the tags on the way to the end, where all ways from it have the same.
    settled: Vec<Option<Box<str>>>,
}

#[derive(Debug)]
enum Edge {
    Word(String),
    /// With the weight of the alternative that begins here, 0 to 1.
    Nothing(f32),
    Tag(String),
}

/// The automaton without tags and empty edges, equal states merged. States are in an order in which every edge leads to
/// a state before its own.
pub(super) struct Compact {
    pub states: Vec<CompactState>,
    pub start: usize,
}

/// One of its states.
pub(super) struct CompactState {
    /// A sentence may end here.
    pub accepts: bool,
    /// Words that may follow.
    pub words: Vec<Step>,
}

/// A word, the state that it leads to, and its weight.
type Step = (String, usize, f32);

/// The tags met on a way, newest first; shared by the ways that branch off it.
type Tags<'a> = Option<Rc<Met<'a>>>;

struct Met<'a> {
    tag: &'a str,
    before: Tags<'a>,
}

/// The tags of a way, in the order in which they were met.
fn meaning_of(mut way: Tags<'_>) -> String {
    let mut tags = Vec::new();
    while let Some(met) = way {
        tags.push(met.tag);
        way = met.before.clone();
    }
    tags.into_iter().rev().collect()
}

impl Compact {
    /// Without the states that only lead from nowhere. Edges lead to earlier states, so one pass from the last finds all.
    fn reachable(mut self) -> Self {
        let mut reached = vec![false; self.states.len()];
        reached[self.start] = true;
        for index in (0..self.states.len()).rev().filter(|index| *index <= self.start) {
            if reached[index] {
                self.states[index].words.iter().for_each(|(_, to, _)| reached[*to] = true);
            }
        }
        let mut number = vec![0; reached.len()];
        for (kept, index) in (0..reached.len()).filter(|index| reached[*index]).enumerate() {
            number[index] = kept;
        }
        let mut keep = reached.iter();
        self.states.retain(|_| *keep.next().expect("one for each state"));
        for (_, to, _) in self.states.iter_mut().flat_map(|state| &mut state.words) {
            *to = number[*to];
        }
        Self { start: number[self.start], states: self.states }
    }
}

impl Machine {
    /// Compiles `root`; the error is a sentence for the user.
    pub(super) fn new(root: &Node) -> Result<Self, String> {
        let mut machine = Self { states: vec![Vec::new()], end: 0, settled: Vec::new() };
        machine.end = machine.add(root, 0)?;
        machine.settle();
        Ok(machine)
    }

    /// Whether every sentence that begins with `words` means the same, whatever follows.
    pub(super) fn is_settled<'w>(&self, words: impl Iterator<Item = &'w str>) -> bool {
        let mut meaning: Option<String> = None;
        for (state, tags) in self.run(words) {
            let Some(rest) = &self.settled[state] else { return false };
            let mut tagged = meaning_of(tags);
            tagged.push_str(rest);
            // Without tags a sentence means its words: each that follows changes it.
            if tagged.is_empty() || meaning.as_ref().is_some_and(|known| *known != tagged) {
                return false;
            }
            meaning = Some(tagged);
        }
        meaning.is_some()
    }

    /// Finds where the meaning of a sentence is settled. Edges lead from a state to a later one.
    fn settle(&mut self) {
        let mut settled: Vec<Option<Box<str>>> = vec![None; self.states.len()];
        settled[self.end] = Some(Box::default());
        for index in (0..self.states.len()).rev().filter(|index| *index != self.end) {
            let mut ways = self.states[index].iter().map(|(edge, to)| {
                let rest = settled[*to].as_deref()?;
                Some(if let Edge::Tag(tag) = edge { format!("{tag}{rest}") } else { rest.to_owned() })
            });
            let first = ways.next().flatten();
            settled[index] =
                first.filter(|first| ways.all(|way| way.as_ref() == Some(first))).map(Into::into);
        }
        self.settled = settled;
    }

    pub(super) fn accepts_nothing_said(&self) -> bool {
        self.run(std::iter::empty()).iter().any(|(state, _)| *state == self.end)
    }

    pub(super) fn interpret<'w>(&self, words: impl Iterator<Item = &'w str> + Clone) -> Option<String> {
        let mut ways = self.run(words.clone());
        let index = ways.iter().position(|(state, _)| *state == self.end)?;
        let way = ways.swap_remove(index).1;
        let Some(met) = way else {
            let mut words = words.peekable();
            // Silence is no sentence: a grammar that accepts it is refused.
            words.peek()?;
            return Some(words.collect::<Vec<_>>().join(" "));
        };
        Some(meaning_of(Some(met)))
    }

    pub(super) fn is_prefix<'w>(&self, words: impl Iterator<Item = &'w str>) -> bool {
        !self.run(words).is_empty()
    }

    pub(super) fn is_final<'w>(&self, words: impl Iterator<Item = &'w str>) -> bool {
        let ways = self.run(words);
        let goes_on = |state: usize| self.states[state].iter().any(|(edge, _)| matches!(edge, Edge::Word(_)));
        ways.iter().any(|(state, _)| *state == self.end) && !ways.iter().any(|(state, _)| goes_on(*state))
    }

    pub(super) fn sentences(&self, limit: usize) -> Vec<(String, String)> {
        let mut found = Vec::new();
        let mut words = Vec::new();
        self.walk(0, &mut words, &mut found, limit);
        found.into_iter().filter_map(|text| self.interpret(text.split(' ')).map(|m| (text, m))).collect()
    }

    /// The smallest automaton that this one folds into. Edges lead from a state to a later one, so the states are folded
    /// from the last to the first, and two that accept the same and lead to the same places become one.
    pub(super) fn compact(&self) -> Compact {
        let mut states: Vec<CompactState> = Vec::new();
        let mut by_words: HashMap<String, usize> = HashMap::new();
        // For each state: whether a sentence may end there, and the words that may follow.
        let mut folded: Vec<(bool, Vec<Step>)> = Vec::new();
        folded.resize_with(self.states.len(), Default::default);
        let mut class = vec![usize::MAX; self.states.len()];
        for index in (0..self.states.len()).rev() {
            let mut accepts = index == self.end;
            let mut words: Vec<Step> = Vec::new();
            let mut add = |word: &str, to: usize, weight: f32| match words
                .iter_mut()
                .find(|(w, t, _)| w == word && *t == to)
            {
                Some(same) => same.2 = same.2.max(weight),
                None => words.push((word.to_owned(), to, weight)),
            };
            for (edge, to) in &self.states[index] {
                let weight = match edge {
                    Edge::Word(word) => {
                        add(word, class[*to], 1.0);
                        continue;
                    }
                    Edge::Nothing(weight) => *weight,
                    Edge::Tag(_) => 1.0,
                };
                accepts |= folded[*to].0;
                folded[*to].1.iter().for_each(|(word, to, w)| add(word, *to, w * weight));
            }
            words.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
            let key = format!("{accepts} {words:?}");
            class[index] = *by_words.entry(key).or_insert_with(|| {
                states.push(CompactState { accepts, words: words.clone() });
                states.len() - 1
            });
            folded[index] = (accepts, words);
        }
        Compact { start: class[0], states }.reachable()
    }

    fn walk<'a>(&'a self, state: usize, words: &mut Vec<&'a str>, found: &mut Vec<String>, limit: usize) {
        if found.len() >= limit {
            return;
        }
        if state == self.end && !words.is_empty() {
            let text = words.join(" ");
            if !found.contains(&text) {
                found.push(text);
            }
        }
        for (edge, next) in &self.states[state] {
            match edge {
                Edge::Word(word) => {
                    words.push(word);
                    self.walk(*next, words, found, limit);
                    words.pop();
                }
                Edge::Nothing(_) | Edge::Tag(_) => self.walk(*next, words, found, limit),
            }
        }
    }

    /// Adds the states of `node` after `from`; gives the state where it ends.
    fn add(&mut self, node: &Node, from: usize) -> Result<usize, String> {
        match node {
            Node::Word(word) => self.step(from, Edge::Word(word.clone())),
            Node::Sequence(nodes) => nodes.iter().try_fold(from, |at, node| self.add(node, at)),
            Node::Alternatives(nodes) => {
                let mut ends = Vec::with_capacity(nodes.len());
                let heaviest = nodes.iter().map(|(weight, _)| *weight).fold(f32::MIN_POSITIVE, f32::max);
                for (weight, node) in nodes {
                    let start = self.step(from, Edge::Nothing(weight / heaviest))?;
                    ends.push(self.add(node, start)?);
                }
                let join = self.state()?;
                ends.into_iter().for_each(|end| self.states[end].push((Edge::Nothing(1.0), join)));
                Ok(join)
            }
            Node::Optional(node) => {
                let start = self.step(from, Edge::Nothing(1.0))?;
                let end = self.add(node, start)?;
                let join = self.step(end, Edge::Nothing(1.0))?;
                self.states[from].push((Edge::Nothing(1.0), join));
                Ok(join)
            }
            Node::Tagged(node, tag) => {
                let end = self.add(node, from)?;
                self.step(end, Edge::Tag(tag.clone()))
            }
        }
    }

    fn state(&mut self) -> Result<usize, String> {
        if self.states.len() == MAX_STATES {
            return Err(format!(
                "the grammar has more than {MAX_STATES} states once its rules are written out: ask for less in one question"
            ));
        }
        self.states.push(Vec::new());
        Ok(self.states.len() - 1)
    }

    fn step(&mut self, from: usize, edge: Edge) -> Result<usize, String> {
        let to = self.state()?;
        self.states[from].push((edge, to));
        Ok(to)
    }

    /// The states that `words` lead to, each with the tags of the preferred way to it, preferred ways first.
    fn run<'w>(&self, words: impl Iterator<Item = &'w str>) -> Vec<(usize, Tags<'_>)> {
        let mut seen = vec![0_u32; self.states.len()];
        let mut ways = Vec::new();
        self.close(0, None, 1, &mut seen, &mut ways);
        for (word, generation) in words.zip(2..) {
            let mut next = Vec::new();
            for (state, tags) in &ways {
                for (edge, to) in &self.states[*state] {
                    if matches!(edge, Edge::Word(w) if w == word) {
                        self.close(*to, tags.clone(), generation, &mut seen, &mut next);
                    }
                }
            }
            ways = next;
            if ways.is_empty() {
                break;
            }
        }
        ways
    }

    /// Follows the edges without a word, in order; visits each state once. Without recursion: depth is unbounded.
    fn close<'a>(
        &'a self,
        state: usize,
        tags: Tags<'a>,
        generation: u32,
        seen: &mut [u32],
        ways: &mut Vec<(usize, Tags<'a>)>,
    ) {
        let mut stack = vec![(state, tags)];
        while let Some((state, tags)) = stack.pop() {
            if std::mem::replace(&mut seen[state], generation) == generation {
                continue;
            }
            for (edge, to) in self.states[state].iter().rev() {
                match edge {
                    Edge::Word(_) => {}
                    Edge::Nothing(_) => stack.push((*to, tags.clone())),
                    Edge::Tag(tag) => stack.push((*to, Some(Rc::new(Met { tag, before: tags.clone() })))),
                }
            }
            ways.push((state, tags));
        }
    }
}
