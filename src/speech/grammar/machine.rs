//! The automaton behind a grammar: states joined by words, by nothing, or by a tag.

use std::rc::Rc;

use super::Node;

/// More states than this make a grammar too large to match between two frames.
const MAX_STATES: usize = 20_000;

/// Edges leave a state in order of preference: the first way written wins.
#[derive(Debug)]
pub(super) struct Machine {
    states: Vec<Vec<(Edge, usize)>>,
    end: usize,
}

#[derive(Debug)]
enum Edge {
    Word(String),
    Nothing,
    Tag(String),
}

/// The tags met on a way, newest first; shared by the ways that branch off it.
type Tags<'a> = Option<Rc<Met<'a>>>;

struct Met<'a> {
    tag: &'a str,
    before: Tags<'a>,
}

impl Machine {
    /// Compiles `root`; the error is a sentence for the user.
    pub(super) fn new(root: &Node) -> Result<Self, String> {
        let mut machine = Self { states: vec![Vec::new()], end: 0 };
        machine.end = machine.add(root, 0)?;
        Ok(machine)
    }

    pub(super) fn accepts_nothing_said(&self) -> bool {
        self.run(std::iter::empty()).iter().any(|(state, _)| *state == self.end)
    }

    pub(super) fn interpret<'w>(&self, words: impl Iterator<Item = &'w str> + Clone) -> Option<String> {
        let mut ways = self.run(words.clone());
        let index = ways.iter().position(|(state, _)| *state == self.end)?;
        let mut tags = Vec::new();
        let mut way = ways.swap_remove(index).1;
        while let Some(met) = way {
            tags.push(met.tag);
            way = met.before.clone();
        }
        if tags.is_empty() {
            let mut words = words.peekable();
            // Silence is no sentence: a grammar that accepts it is refused.
            words.peek()?;
            return Some(words.collect::<Vec<_>>().join(" "));
        }
        Some(tags.into_iter().rev().collect())
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
                Edge::Nothing | Edge::Tag(_) => self.walk(*next, words, found, limit),
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
                for (_, node) in nodes {
                    let start = self.step(from, Edge::Nothing)?;
                    ends.push(self.add(node, start)?);
                }
                let join = self.state()?;
                ends.into_iter().for_each(|end| self.states[end].push((Edge::Nothing, join)));
                Ok(join)
            }
            Node::Optional(node) => {
                let start = self.step(from, Edge::Nothing)?;
                let end = self.add(node, start)?;
                let join = self.step(end, Edge::Nothing)?;
                self.states[from].push((Edge::Nothing, join));
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
                    Edge::Nothing => stack.push((*to, tags.clone())),
                    Edge::Tag(tag) => stack.push((*to, Some(Rc::new(Met { tag, before: tags.clone() })))),
                }
            }
            ways.push((state, tags));
        }
    }
}
