//! Grammars: a subset of JSGF, its vocabulary, and what a sentence of it means.

/// A grammar.
#[derive(Debug)]
pub struct Grammar {}
