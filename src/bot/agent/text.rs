//! What a model writes, as something that can be said: markdown, emoji and links out, clause by clause. Deciding code.

/// Words of the first clause before it may end at a comma: the caller hears something soon, and not just "Well,".
const FIRST_WORDS: usize = 3;

/// A later clause ends at a comma only when it is longer than this, in bytes.
const LONG: usize = 110;

/// No clause is longer than this.
const LONGEST: usize = 240;

/// Words with a full stop that ends no sentence.
const ABBREVIATIONS: [&str; 26] = [
    "mr", "mrs", "ms", "dr", "st", "no", "nr", "e.g", "i.e", "etc", "vs", "prof", "jr", "sr", "approx",
    "a.m", "p.m", "u.s", "z.b", "d.h", "ca", "bzw", "tel", "inc", "ltd", "co",
];

/// Cuts a stream of text into clauses that can be said. The first comes early.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    held: String,
    in_code: bool,
    /// Whether a clause has come out.
    begun: bool,
}

impl Splitter {
    /// Adds text; clauses that are complete come out, ready to be said.
    pub fn push(&mut self, text: &str) -> Vec<String> {
        self.held.push_str(text);
        let mut clauses = Vec::new();
        while let Some(end) = self.boundary() {
            let rest = self.held.split_off(end);
            let clause = std::mem::replace(&mut self.held, rest);
            self.emit(&clause, &mut clauses);
        }
        clauses
    }

    /// What is left at the end.
    pub fn finish(&mut self) -> Option<String> {
        let mut clauses = Vec::new();
        let clause = std::mem::take(&mut self.held);
        self.emit(&clause, &mut clauses);
        (self.in_code, self.begun) = (false, false);
        clauses.pop()
    }

    fn emit(&mut self, raw: &str, clauses: &mut Vec<String>) {
        let clause = clean(raw, &mut self.in_code);
        if !clause.is_empty() {
            self.begun = true;
            clauses.push(clause);
        }
    }

    /// Where the first clause of what is held ends, if that is known.
    fn boundary(&self) -> Option<usize> {
        let text = &self.held;
        let mut last_blank = 0;
        let mut chars = text.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            let end = at + c.len_utf8();
            let next = chars.peek().map(|(_, next)| *next);
            if c.is_whitespace() && at > 0 {
                last_blank = end;
            }
            let so_far = &text[..end];
            let ends = match c {
                '\n' => !so_far.trim().is_empty(),
                '.' | '!' | '?' | '…' | '。' | '！' | '？' => ends_sentence(so_far, next),
                ',' | ';' | ':' | '–' | '—' => {
                    next.is_some_and(char::is_whitespace) && self.may_end_at_comma(so_far)
                }
                _ => false,
            };
            if ends {
                return Some(end);
            }
            if end > LONGEST {
                return Some(if last_blank > 0 { last_blank } else { end });
            }
        }
        None
    }

    fn may_end_at_comma(&self, so_far: &str) -> bool {
        let spoken = so_far.trim();
        if self.begun { spoken.len() > LONG } else { spoken.split_whitespace().count() >= FIRST_WORDS }
    }
}

/// Whether the mark at the end of `so_far` ends a sentence; `next` is what follows, if it is there yet.
fn ends_sentence(so_far: &str, next: Option<char>) -> bool {
    let Some(next) = next else { return false };
    let closes = next.is_whitespace() || matches!(next, '"' | '\'' | ')' | '”' | '»');
    if !closes && so_far.is_char_boundary(so_far.len()) && !so_far.ends_with(['。', '！', '？']) {
        return false;
    }
    let word = so_far.split_whitespace().next_back().unwrap_or_default();
    let Some(word) = word.strip_suffix('.') else { return true };
    let word = word.trim_start_matches(['(', '"', '\'', '*', '_']).to_lowercase();
    let initial = word.chars().count() == 1 && word.chars().all(char::is_alphabetic);
    // "1." at the beginning of a line numbers an item of a list.
    let line = so_far.rsplit('\n').next().unwrap_or_default().trim();
    let numbers =
        line.strip_suffix('.').is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    !initial && !numbers && !ABBREVIATIONS.contains(&word.as_str())
}

/// A clause as it is said; empty when nothing of it can be. `in_code` tells whether a block of code is open.
fn clean(raw: &str, in_code: &mut bool) -> String {
    let mut out = String::with_capacity(raw.len());
    for (n, part) in raw.split("```").enumerate() {
        if n > 0 {
            *in_code = !*in_code;
        }
        if *in_code {
            continue;
        }
        for line in part.lines() {
            inline(line_of(line), &mut out);
            out.push(' ');
        }
    }
    let words: Vec<&str> = out.split_whitespace().collect();
    let said = words.join(" ");
    if said.chars().any(char::is_alphanumeric) { said } else { String::new() }
}

/// A line without what marks it: headings, items, quotations, rules and tables.
fn line_of(line: &str) -> &str {
    let mut line = line.trim();
    if line.len() >= 3 && line.chars().all(|c| matches!(c, '-' | '=' | '*' | '_' | '|' | ':' | ' ')) {
        return "";
    }
    loop {
        let without = line.trim_start_matches(['#', '>', '|']).trim_start();
        let item = without
            .strip_prefix("- ")
            .or_else(|| without.strip_prefix("* "))
            .or_else(|| without.strip_prefix("• "));
        let number = without.split_once(['.', ')']).filter(|(number, rest)| {
            (1..=2).contains(&number.len())
                && number.bytes().all(|b| b.is_ascii_digit())
                && rest.starts_with(' ')
        });
        let next = item.or(number.map(|(_, rest)| rest.trim_start())).unwrap_or(without);
        if next.len() == line.len() {
            return line;
        }
        line = next;
    }
}

/// The words of a line: links by their texts, addresses by their hosts, no emphasis, no emoji, no tags, no stage directions.
fn inline(line: &str, out: &mut String) {
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        match c {
            '[' => {
                // A link by its text; anything else in brackets is a mark, and not said.
                if let Some((text, behind)) = after.split_once(']') {
                    match behind.strip_prefix('(').and_then(|url| url.split_once(')')) {
                        Some((_, behind)) => {
                            inline(text, out);
                            rest = behind;
                        }
                        None => rest = behind,
                    }
                    continue;
                }
            }
            '<' => {
                if let Some((tag, behind)) = after.split_once('>')
                    && tag.starts_with(|c: char| c.is_alphabetic() || c == '/')
                {
                    rest = behind;
                    continue;
                }
            }
            'h' if rest.starts_with("http://") || rest.starts_with("https://") => {
                let end = rest
                    .find(|c: char| c.is_whitespace() || matches!(c, ')' | ']' | '>' | '"'))
                    .unwrap_or(rest.len());
                let (url, behind) = rest.split_at(end);
                let kept = url.trim_end_matches(['.', ',', '!', '?', ';', ':']);
                let host = kept.split_once("://").map_or("", |(_, host)| host);
                let host = host.split(['/', '?', '#']).next().unwrap_or_default();
                out.push_str(host.strip_prefix("www.").unwrap_or(host));
                out.push_str(&url[kept.len()..]);
                rest = behind;
                continue;
            }
            '*' | '`' | '~' | '#' | '^' | '\\' => {
                // A star between numbers is "times", in code or in mathematics; on a telephone it is nothing or a key.
                rest = after;
                continue;
            }
            '_' if out.ends_with(char::is_alphanumeric) && after.starts_with(char::is_alphanumeric) => {
                out.push(' ');
                rest = after;
                continue;
            }
            '_' => {
                rest = after;
                continue;
            }
            '|' => {
                out.push_str(", ");
                rest = after;
                continue;
            }
            _ if is_picture(c) => {
                out.push(' ');
                rest = after;
                continue;
            }
            _ => {}
        }
        out.push(if c.is_control() { ' ' } else { c });
        rest = after;
    }
}

/// Emoji, their modifiers and dingbats.
fn is_picture(c: char) -> bool {
    matches!(u32::from(c),
        0x1F000..=0x1FAFF | 0x2600..=0x27BF | 0x2B00..=0x2BFF | 0x2190..=0x21FF | 0x2300..=0x23FF | 0xFE00..=0xFE0F
        | 0x200D | 0x20E3 | 0xE0000..=0xE007F | 0xE000..=0xF8FF)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The clauses of a text that comes in pieces of `size` characters.
    fn clauses(text: &str, size: usize) -> Vec<String> {
        let mut splitter = Splitter::default();
        let chars: Vec<char> = text.chars().collect();
        let mut clauses: Vec<String> = Vec::new();
        for piece in chars.chunks(size) {
            clauses.extend(splitter.push(&piece.iter().collect::<String>()));
        }
        clauses.extend(splitter.finish());
        clauses
    }

    #[test]
    fn the_first_clause_comes_at_a_comma_and_the_next_ones_are_sentences() {
        let text = "Of course I can, let me see. The shop is open from 9.30 a.m. to 5 p.m., and on Sunday it is not. Anything else?";
        for size in [1, 3, 7, 500] {
            assert_eq!(
                clauses(text, size),
                [
                    "Of course I can,",
                    "let me see.",
                    "The shop is open from 9.30 a.m. to 5 p.m., and on Sunday it is not.",
                    "Anything else?"
                ],
                "in pieces of {size}"
            );
        }
        assert_eq!(clauses("Well, yes. Right.", 4), ["Well, yes.", "Right."]);
    }

    #[test]
    fn nothing_is_cut_inside_numbers_names_and_abbreviations() {
        let text = "That makes 1,204.50 euros. Ask Dr. J. Smith or St. Mary. It's no. 5.";
        assert_eq!(
            clauses(text, 2),
            ["That makes 1,204.50 euros.", "Ask Dr. J. Smith or St. Mary.", "It's no. 5."]
        );
    }

    #[test]
    fn what_cannot_be_said_is_left_out() {
        let text = "## Hours\n\n1. **Monday** to *Friday* 😀\n- see [our page](https://example.com/x) or https://www.example.org/a?b=c.\n\n---\n```\nlet x = 1;\n```\nThat's `all` [laughs] <b>now</b> my_name.";
        let said = clauses(text, 5);
        assert_eq!(
            said.join(" | "),
            "Hours | Monday to Friday | see our page or example.org. | That's all now my name."
        );
    }

    #[test]
    fn a_clause_without_an_end_is_cut_between_words() {
        let pieces = clauses(&"word ".repeat(200), 9);
        assert!(pieces.iter().all(|piece| piece.len() <= LONGEST));
        assert_eq!(pieces.join(" ").matches("word").count(), 200);
        assert!(clauses(&"x".repeat(1_000), 100).iter().all(|piece| piece.len() <= LONGEST + 4));
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_a_text_comes(text in "[a-zA-Z0-9 .,!?*_\\[\\]()<>#`|\n😀é:/-]{0,300}", size in 1_usize..40) {
            prop_assert_eq!(clauses(&text, size), clauses(&text, 1));
            prop_assert!(clauses(&text, size).iter().all(|clause| clause.len() <= 2 * LONGEST && !clause.contains('\n')));
        }
    }
}
