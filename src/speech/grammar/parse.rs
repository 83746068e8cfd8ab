//! The reader of the JSGF subset.

use std::collections::HashMap;

use super::{Grammar, GrammarError, Node};

/// Groups inside groups inside groups: deeper is a mistake, and would exhaust the stack.
const MAX_DEPTH: usize = 64;
/// Nodes once every reference is written out.
const MAX_NODES: usize = 100_000;

/// Reads a whole grammar: its name, and the alternatives of its public rules.
pub(super) fn grammar(file: &str, text: &str) -> Result<(String, Node), GrammarError> {
    let mut parser = Parser::new(file, 1, text)?;
    parser.header()?;
    let name = parser.grammar_name()?;
    let mut rules = Vec::new();
    while parser.peek().kind != Kind::End {
        rules.push(parser.rule()?);
    }
    let mut by_name = HashMap::new();
    for rule in &rules {
        if by_name.insert(rule.name.as_str(), rule).is_some() {
            return Err(
                parser.error(rule.line, format!("<{}> is defined twice: keep one of the two", rule.name))
            );
        }
    }
    let mut resolver = Resolver { file, rules: by_name, open: Vec::new(), nodes: 0 };
    let mut public = Vec::new();
    for rule in rules.iter().filter(|rule| rule.public) {
        public.push((1.0, resolver.rule(&rule.name, rule.line)?));
    }
    match public.len() {
        0 => {
            Err(parser.error(1, "no rule is public: begin the one that callers say with `public`".to_owned()))
        }
        1 => Ok((name, public.remove(0).1)),
        _ => Ok((name, Node::Alternatives(public))),
    }
}

/// Reads one phrase: the right side of a rule, without references.
pub(super) fn phrase(name: &str, line: usize, text: &str) -> Result<Node, GrammarError> {
    let mut parser = Parser::new(name, line, text)?;
    let raw = parser.alternatives(0)?;
    if parser.peek().kind != Kind::End {
        return Err(parser.expected("a word or the end of the phrase"));
    }
    Resolver { file: name, rules: HashMap::new(), open: Vec::new(), nodes: 0 }.node(&raw)
}

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Word(String),
    Rule(String),
    Tag(String),
    Weight(f32),
    Sign(char),
    End,
}

#[derive(Debug, Clone)]
struct Token {
    kind: Kind,
    line: usize,
}

/// What was written, references not yet followed.
#[derive(Debug)]
enum Raw {
    Word(String),
    Nothing,
    Reference(String, usize),
    Sequence(Vec<Raw>),
    Alternatives(Vec<(f32, Raw)>),
    Optional(Box<Raw>),
    Tagged(Box<Raw>, String),
}

struct Rule {
    name: String,
    line: usize,
    public: bool,
    body: Raw,
}

struct Parser<'a> {
    file: &'a str,
    tokens: Vec<Token>,
    at: usize,
    has_header: bool,
}

impl<'a> Parser<'a> {
    fn new(file: &'a str, first_line: usize, text: &str) -> Result<Self, GrammarError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut parser = Parser { file, tokens: Vec::new(), at: 0, has_header: false };
        if text.len() > Grammar::MAX_BYTES {
            let what = format!("longer than {} bytes: split it", Grammar::MAX_BYTES);
            return Err(parser.error(first_line, what));
        }
        parser.has_header = text.trim_start().starts_with("#JSGF");
        let mut lexer = Lexer { rest: text, line: first_line };
        loop {
            let token = lexer.next().map_err(|(line, what)| parser.error(line, what))?;
            let end = token.kind == Kind::End;
            parser.tokens.push(token);
            if end {
                return Ok(parser);
            }
        }
    }

    fn error(&self, line: usize, what: String) -> GrammarError {
        GrammarError { file: self.file.to_owned(), line, what }
    }

    fn peek(&self) -> &Token {
        // The last token is End, and nobody steps over it.
        &self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    fn step(&mut self) -> Token {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    fn expected(&self, what: &str) -> GrammarError {
        let token = self.peek();
        let found = match &token.kind {
            Kind::Word(word) => format!("the word '{word}'"),
            Kind::Rule(name) => format!("the rule <{name}>"),
            Kind::Tag(tag) => format!("the tag {{{tag}}}"),
            Kind::Weight(weight) => format!("the weight /{weight}/"),
            Kind::Sign(sign) => format!("'{sign}'"),
            Kind::End => "the end of the text".to_owned(),
        };
        self.error(token.line, format!("expected {what}, found {found}"))
    }

    fn sign(&mut self, sign: char, what: &str) -> Result<(), GrammarError> {
        if self.peek().kind == Kind::Sign(sign) {
            self.at += 1;
            return Ok(());
        }
        Err(self.expected(what))
    }

    /// `#JSGF V1.0 ENCODING LOCALE;`
    fn header(&mut self) -> Result<(), GrammarError> {
        if !self.has_header {
            return Err(self.expected("the header `#JSGF V1.0;` in the first line"));
        }
        while !matches!(self.peek().kind, Kind::Sign(';') | Kind::End) {
            self.at += 1;
        }
        self.sign(';', "';' after the header #JSGF V1.0")
    }

    fn grammar_name(&mut self) -> Result<String, GrammarError> {
        match (self.step().kind, self.step().kind) {
            (Kind::Word(keyword), Kind::Word(name)) if keyword == "grammar" => {
                self.sign(';', "';' after the grammar's name")?;
                Ok(name)
            }
            _ => {
                self.at = self.at.saturating_sub(2);
                Err(self.expected("`grammar NAME;` after the header"))
            }
        }
    }

    fn rule(&mut self) -> Result<Rule, GrammarError> {
        const WANTED: &str = "a rule: `<name> = …;` or `public <name> = …;`";
        let mut public = false;
        if let Kind::Word(word) = &self.peek().kind {
            if word == "import" {
                let line = self.peek().line;
                return Err(
                    self.error(line, "`import` is not supported: copy the rule into this file".to_owned())
                );
            }
            if word != "public" {
                return Err(self.expected(WANTED));
            }
            public = true;
            self.at += 1;
        }
        let line = self.peek().line;
        let Kind::Rule(name) = self.peek().kind.clone() else { return Err(self.expected(WANTED)) };
        self.at += 1;
        self.sign('=', &format!("'=' after <{name}>"))?;
        let body = self.alternatives(0)?;
        self.sign(';', &format!("'|', a word or ';' in the rule <{name}>"))?;
        Ok(Rule { name, line, public, body })
    }

    fn alternatives(&mut self, depth: usize) -> Result<Raw, GrammarError> {
        if depth > MAX_DEPTH {
            let line = self.peek().line;
            return Err(
                self.error(line, format!("groups nested more than {MAX_DEPTH} deep: name some as rules"))
            );
        }
        let mut found = Vec::new();
        loop {
            let mut weight = 1.0;
            if let Kind::Weight(written) = self.peek().kind {
                weight = written;
                self.at += 1;
            }
            found.push((weight, self.sequence(depth)?));
            if self.peek().kind != Kind::Sign('|') {
                break;
            }
            self.at += 1;
        }
        if found.len() == 1 { Ok(found.remove(0).1) } else { Ok(Raw::Alternatives(found)) }
    }

    fn sequence(&mut self, depth: usize) -> Result<Raw, GrammarError> {
        let mut found = Vec::new();
        while let Some(mut item) = self.item(depth)? {
            while let Kind::Tag(tag) = &self.peek().kind {
                item = Raw::Tagged(Box::new(item), tag.clone());
                self.at += 1;
            }
            if let Kind::Sign(sign @ ('+' | '*')) = self.peek().kind {
                let line = self.peek().line;
                let what = format!(
                    "'{sign}' is refused: a recogniser puts words that nobody said into an open repetition; write the \
                     exact lengths as alternatives, such as <d> <d> | <d> <d> <d>"
                );
                return Err(self.error(line, what));
            }
            found.push(item);
        }
        match found.len() {
            0 => Err(self.expected("a word, a <rule>, '(' or '['")),
            1 => Ok(found.remove(0)),
            _ => Ok(Raw::Sequence(found)),
        }
    }

    fn item(&mut self, depth: usize) -> Result<Option<Raw>, GrammarError> {
        let token = self.peek().clone();
        let item = match token.kind {
            Kind::Word(word) => {
                if !word.chars().all(|c| c.is_alphanumeric() || "'-_.".contains(c)) {
                    let what = format!(
                        "'{word}' is no word that can be heard: use letters, digits, apostrophes and hyphens, and spell \
                         numbers out"
                    );
                    return Err(self.error(token.line, what));
                }
                self.at += 1;
                Raw::Word(word.to_lowercase())
            }
            Kind::Rule(name) => {
                self.at += 1;
                match name.as_str() {
                    "NULL" => Raw::Nothing,
                    "VOID" => {
                        let what = "<VOID> is not supported: take the alternative out instead".to_owned();
                        return Err(self.error(token.line, what));
                    }
                    _ => Raw::Reference(name, token.line),
                }
            }
            Kind::Sign('(') => {
                self.at += 1;
                let inner = self.alternatives(depth + 1)?;
                self.sign(')', &format!("')' for the '(' in line {}", token.line))?;
                inner
            }
            Kind::Sign('[') => {
                self.at += 1;
                let inner = self.alternatives(depth + 1)?;
                self.sign(']', &format!("']' for the '[' in line {}", token.line))?;
                Raw::Optional(Box::new(inner))
            }
            _ => return Ok(None),
        };
        Ok(Some(item))
    }
}

struct Lexer<'a> {
    rest: &'a str,
    line: usize,
}

type LexResult<T> = Result<T, (usize, String)>;

impl Lexer<'_> {
    fn next(&mut self) -> LexResult<Token> {
        self.skip_space_and_comments()?;
        let line = self.line;
        let Some(first) = self.rest.chars().next() else { return Ok(Token { kind: Kind::End, line }) };
        let kind = match first {
            '<' => Kind::Rule(self.between('<', '>')?.trim().to_owned()),
            '{' => Kind::Tag(self.tag()?),
            '"' => Kind::Word(self.between('"', '"')?.to_owned()),
            '/' => {
                let text = self.between('/', '/')?.trim();
                match text.parse::<f32>() {
                    Ok(weight) if weight.is_finite() && weight > 0.0 => Kind::Weight(weight),
                    _ => {
                        return Err((
                            line,
                            format!("the weight /{text}/ is no number above 0, such as /0.5/"),
                        ));
                    }
                }
            }
            '(' | ')' | '[' | ']' | '|' | ';' | '=' | '+' | '*' | '}' | '>' => {
                self.take(1);
                Kind::Sign(first)
            }
            _ => {
                let end = self
                    .rest
                    .find(|c: char| c.is_whitespace() || "<>{}()[]|;=+*/\"".contains(c))
                    .unwrap_or(self.rest.len());
                Kind::Word(self.take(end).to_owned())
            }
        };
        Ok(Token { kind, line })
    }

    fn take(&mut self, bytes: usize) -> &str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken
    }

    fn between(&mut self, open: char, close: char) -> LexResult<&str> {
        let line = self.line;
        match self.rest[1..].find([close, '\n', ';']) {
            Some(end) if self.rest.as_bytes()[end + 1] == close as u8 => Ok(&self.take(end + 2)[1..=end]),
            _ => Err((line, format!("expected '{close}' in the same line as this '{open}'"))),
        }
    }

    /// A tag ends at the first `}` without a backslash.
    fn tag(&mut self) -> LexResult<String> {
        let mut text = String::new();
        let mut escaped = false;
        for (at, c) in self.rest.char_indices().skip(1) {
            match c {
                _ if escaped => {
                    text.push(c);
                    escaped = false;
                }
                '\\' => escaped = true,
                '}' => {
                    self.take(at + 1);
                    return Ok(text.trim().to_owned());
                }
                '\n' => break,
                _ => text.push(c),
            }
        }
        Err((self.line, "expected '}' in the same line as this '{'".to_owned()))
    }

    fn skip_space_and_comments(&mut self) -> LexResult<()> {
        loop {
            let space = self.rest.len() - self.rest.trim_start().len();
            self.take(space);
            if self.rest.starts_with("//") {
                let end = self.rest.find('\n').unwrap_or(self.rest.len());
                self.take(end);
            } else if self.rest.starts_with("/*") {
                let Some(end) = self.rest.find("*/") else {
                    return Err((self.line, "expected '*/' for the comment that begins here".to_owned()));
                };
                self.take(end + 2);
            } else {
                return Ok(());
            }
        }
    }
}

struct Resolver<'a> {
    file: &'a str,
    rules: HashMap<&'a str, &'a Rule>,
    /// The rules that are being written out, outermost first.
    open: Vec<&'a str>,
    nodes: usize,
}

impl<'a> Resolver<'a> {
    fn error(&self, line: usize, what: String) -> GrammarError {
        GrammarError { file: self.file.to_owned(), line, what }
    }

    fn rule(&mut self, name: &str, line: usize) -> Result<Node, GrammarError> {
        let Some(rule) = self.rules.get(name).copied() else {
            let mut known: Vec<_> = self.rules.keys().map(|name| format!("<{name}>")).collect();
            known.sort();
            let known = if known.is_empty() { "none is defined here".to_owned() } else { known.join(", ") };
            return Err(self.error(line, format!("<{name}> is not defined; the rules are: {known}")));
        };
        if self.open.contains(&name) {
            let what = format!(
                "<{name}> refers to itself (by way of {}): recursion is refused, write the lengths out as alternatives",
                self.open.iter().map(|name| format!("<{name}>")).collect::<Vec<_>>().join(", ")
            );
            return Err(self.error(line, what));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(self.error(line, format!("rules refer to rules more than {MAX_DEPTH} deep")));
        }
        self.open.push(&rule.name);
        let node = self.node(&rule.body);
        self.open.pop();
        node
    }

    fn node(&mut self, raw: &Raw) -> Result<Node, GrammarError> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            let what = format!(
                "the grammar has more than {MAX_NODES} parts once its rules are written out: ask for less"
            );
            return Err(self.error(1, what));
        }
        Ok(match raw {
            Raw::Word(word) => Node::Word(word.clone()),
            Raw::Nothing => Node::Sequence(Vec::new()),
            Raw::Reference(name, line) => self.rule(name, *line)?,
            Raw::Sequence(raws) => {
                Node::Sequence(raws.iter().map(|raw| self.node(raw)).collect::<Result<_, _>>()?)
            }
            Raw::Alternatives(raws) => Node::Alternatives(
                raws.iter().map(|(weight, raw)| Ok((*weight, self.node(raw)?))).collect::<Result<_, _>>()?,
            ),
            Raw::Optional(raw) => Node::Optional(Box::new(self.node(raw)?)),
            Raw::Tagged(raw, tag) => Node::Tagged(Box::new(self.node(raw)?), tag.clone()),
        })
    }
}
