//! What is wrong with a flow file, and where.

use std::fmt;
use std::path::{Path, PathBuf};

/// Everything that is wrong with one flow file, in the order of the file. Prints one line per fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowErrors {
    /// The faults; at least one.
    pub errors: Vec<FlowError>,
}

/// One fault of a flow file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowError {
    /// The flow file, as it was given to [`Flow::load`](super::Flow::load).
    pub file: PathBuf,
    /// Line, from 1; 0 when the file could not be read at all.
    pub line: usize,
    /// Column in characters, from 1; 0 when the file could not be read at all.
    pub column: usize,
    /// What is wrong and what was expected, in one sentence without a full stop.
    pub problem: String,
    /// What to do about it: a near miss, the names that would be accepted.
    pub hint: Option<String>,
}

impl fmt::Display for FlowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        write!(f, ": {}", self.problem)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for FlowError {}

impl fmt::Display for FlowErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, error) in self.errors.iter().enumerate() {
            if n > 0 {
                writeln!(f)?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for FlowErrors {}

/// Why a call cannot be continued with a flow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// The state was written by a version of Offhook whose states this one cannot read.
    #[error(
        "the call's state has version {found}; this version of Offhook continues calls of version {known}"
    )]
    Version {
        /// The state's version.
        found: u16,
        /// [`FlowState::VERSION`](super::FlowState::VERSION).
        known: u16,
    },
    /// The state belongs to another flow.
    #[error("the call is in the flow '{found}', not in '{here}': start the engine with that flow's file")]
    OtherFlow {
        /// The flow that the state names.
        found: String,
        /// This flow.
        here: String,
    },
    /// The flow file was changed while the call was up and the call's step is gone.
    #[error("the flow '{flow}' has no step '{step}' any more: the call ends with the flow's goodbye")]
    StepGone {
        /// The flow.
        flow: String,
        /// The step that the call was in.
        step: String,
    },
}

/// Gathers faults while a file is read; turns byte offsets into lines.
pub(super) struct Faults<'a> {
    file: &'a Path,
    text: &'a str,
    found: Vec<(usize, FlowError)>,
}

impl<'a> Faults<'a> {
    pub(super) fn new(file: &'a Path, text: &'a str) -> Self {
        Self { file, text, found: Vec::new() }
    }

    /// Notes a fault at the byte `at` of the file.
    pub(super) fn push(&mut self, at: usize, problem: impl Into<String>) {
        self.add(at, problem.into(), None);
    }

    /// Notes a fault at the byte `at`, and what to do about it.
    pub(super) fn push_hint(&mut self, at: usize, problem: impl Into<String>, hint: impl Into<String>) {
        self.add(at, problem.into(), Some(hint.into()));
    }

    /// Notes that the name at `at` is none of `known`: points at the nearest, else lists them.
    pub(super) fn push_unknown<'k>(
        &mut self,
        at: usize,
        problem: impl Into<String>,
        name: &str,
        known: impl IntoIterator<Item = &'k str>,
    ) {
        let known: Vec<&str> = known.into_iter().collect();
        let hint = match nearest(name, &known) {
            Some(near) => Some(format!("did you mean '{near}'?")),
            None if known.is_empty() => None,
            None => Some(format!("known: {}", known.join(", "))),
        };
        self.add(at, problem.into(), hint);
    }

    /// True when nothing is wrong so far.
    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The faults in the order of the file; `Ok` when there are none.
    pub(super) fn finish(mut self) -> Result<(), FlowErrors> {
        if self.found.is_empty() {
            return Ok(());
        }
        self.found.sort_by_key(|(at, _)| *at);
        let mut errors: Vec<FlowError> = self.found.into_iter().map(|(_, error)| error).collect();
        errors.dedup();
        Err(FlowErrors { errors })
    }

    /// The line, from 1, that the byte `at` is in.
    pub(super) fn line(&self, at: usize) -> usize {
        self.position(at).0
    }

    fn add(&mut self, at: usize, problem: String, hint: Option<String>) {
        let (line, column) = self.position(at);
        self.found.push((at, FlowError { file: self.file.to_owned(), line, column, problem, hint }));
    }

    fn position(&self, at: usize) -> (usize, usize) {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |n| n + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }
}

/// The name among `known` that `name` was probably meant to be: at most a third of its letters are wrong.
pub(super) fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let limit = (name.chars().count() / 3).max(1);
    known
        .iter()
        .map(|k| (edits(name, k), *k))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, k)| k)
}

/// Edits between two words: insertions, deletions, replacements and swaps of neighbours (optimal string
/// alignment), ignoring case.
fn edits(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.to_lowercase().chars().collect();
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let differs = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(rows[i - 1][j - 1] + differs);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_miss_is_found_and_a_stranger_is_not() {
        assert_eq!(nearest("gooto", &["goto", "say"]), Some("goto"));
        assert_eq!(nearest("no_imput_ms", &["no_input", "no_input_ms"]), Some("no_input_ms"));
        assert_eq!(nearest("hangup", &["hang_up", "say"]), Some("hang_up"));
        assert_eq!(nearest("banana", &["goto", "say"]), None);
        assert_eq!(nearest("", &["goto"]), None);
    }

    #[test]
    fn faults_come_in_the_order_of_the_file_with_line_and_column() {
        let mut faults = Faults::new(Path::new("a.toml"), "one\ntwö x\n");
        faults.push(9, "late");
        faults.push_hint(0, "early", "do this");
        let errors = faults.finish().unwrap_err();
        assert_eq!(errors.to_string(), "a.toml:1:1: early; do this\na.toml:2:5: late");
    }
}
