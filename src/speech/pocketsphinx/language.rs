//! A small language model out of sentences, for what is said when a call is answered.
//!
//! Trigrams, bigrams and single words by absolute discounting (Ney, Essen and Kneser, "On structuring probabilistic dependences in
//! stochastic language modelling", 1994), as text in the ARPA format that the library reads. Some hundred words are decoded at a
//! tenth of what the model of the package costs, and what nearly everybody says is heard better.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// What is shipped.
pub(super) const ANSWERS: &str = include_str!("../../../models/answers/sentences.txt");

/// What is taken from each count and given to what was never seen.
const DISCOUNT: f64 = 0.7;

/// The beginning and the end of a sentence.
const BEGIN: &str = "<s>";
const END: &str = "</s>";

/// Counts of rows of words.
type Counts<'a> = BTreeMap<Vec<&'a str>, f64>;

/// The sentences of a file, and the words that may stand anywhere.
pub(super) struct Sentences<'a> {
    sentences: Vec<Vec<&'a str>>,
    anywhere: Vec<&'a str>,
}

/// Probabilities of rows of words of one length, and what is left for others behind each row that is one shorter.
#[derive(Default)]
struct Rows<'a> {
    probable: Counts<'a>,
    left: Counts<'a>,
}

impl<'a> Sentences<'a> {
    /// Reads a sentence a line, with a number in front where it is said more often; `#` begins a comment, `[` a section, `=` words
    /// that may stand anywhere.
    pub(super) fn read(text: &'a str) -> Self {
        let (mut sentences, mut anywhere) = (Vec::new(), Vec::new());
        for line in text.lines().filter(|line| !line.starts_with(['#', '['])) {
            match line.strip_prefix('=') {
                Some(words) => anywhere.extend(words.split_whitespace()),
                None if line.trim().is_empty() => {}
                None => {
                    let words: Vec<&str> = line.split_whitespace().collect();
                    let times = words[0].parse().ok();
                    let words = if times.is_some() { words[1..].to_vec() } else { words };
                    sentences.extend(std::iter::repeat_n(words, times.unwrap_or(1)));
                }
            }
        }
        Self { sentences, anywhere }
    }

    /// All words.
    pub(super) fn vocabulary(&self) -> BTreeSet<String> {
        let all = self.sentences.iter().flatten().chain(&self.anywhere);
        all.map(|word| (*word).to_owned()).collect()
    }

    /// The model in the ARPA format.
    pub(super) fn arpa(&self) -> String {
        let mut counts: [Counts<'a>; 3] = Default::default();
        for sentence in &self.sentences {
            let mut row = vec![BEGIN];
            row.extend(sentence);
            row.push(END);
            for (length, counts) in (1..).zip(&mut counts) {
                for words in row.windows(length).filter(|words| *words != [BEGIN]) {
                    *counts.entry(words.to_vec()).or_default() += 1.0;
                }
            }
        }
        let [mut one, two, three] = counts;
        for word in &self.anywhere {
            *one.entry(vec![word]).or_default() += 1.0;
        }
        let all: f64 = one.values().sum();
        one.values_mut().for_each(|count| *count /= all);
        let singles = Rows { probable: one, left: Counts::new() };
        let pairs = Rows::discounted(two, |row| singles.of(row, None));
        let triples = Rows::discounted(three, |row| pairs.of(row, Some(&singles)));
        let mut text = format!(
            "\\data\\\nngram 1={}\nngram 2={}\nngram 3={}\n\n\\1-grams:\n-99 {BEGIN} {:.4}\n",
            singles.probable.len() + 1,
            pairs.probable.len(),
            triples.probable.len(),
            pairs.left_behind(&[BEGIN]),
        );
        singles.write(&mut text, Some(&pairs));
        text.push_str("\n\\2-grams:\n");
        pairs.write(&mut text, Some(&triples));
        text.push_str("\n\\3-grams:\n");
        triples.write(&mut text, None);
        text.push_str("\n\\end\\\n");
        text
    }
}

impl<'a> Rows<'a> {
    /// Takes the discount from each count; `shorter` gives the probability of a row without its first word.
    fn discounted(counts: Counts<'a>, shorter: impl Fn(&[&'a str]) -> f64) -> Self {
        let mut behind: BTreeMap<Vec<&str>, Vec<(Vec<&'a str>, f64)>> = BTreeMap::new();
        for (row, count) in counts {
            behind.entry(row[..row.len() - 1].to_vec()).or_default().push((row, count));
        }
        let mut rows = Self::default();
        for (history, seen) in behind {
            let all: f64 = seen.iter().map(|(_, count)| count).sum();
            #[expect(clippy::cast_precision_loss, reason = "dozens")]
            let free = DISCOUNT * seen.len() as f64 / all;
            let known: f64 = seen.iter().map(|(row, _)| shorter(&row[1..])).sum();
            rows.left.insert(history, free / (1.0 - known).max(1e-6));
            rows.probable.extend(seen.into_iter().map(|(row, count)| (row, (count - DISCOUNT) / all)));
        }
        rows
    }

    /// The probability of a row's last word behind the others.
    fn of(&self, row: &[&'a str], shorter: Option<&Self>) -> f64 {
        let left = || self.left.get(&row[..row.len() - 1]).copied().unwrap_or(1.0);
        let seen = self.probable.get(row).copied();
        seen.unwrap_or_else(|| shorter.map_or(0.0, |shorter| left() * shorter.of(&row[1..], None)))
    }

    /// The logarithm of what is left behind a row.
    fn left_behind(&self, row: &[&'a str]) -> f64 {
        self.left.get(row).copied().unwrap_or(1.0).max(1e-9).log10()
    }

    fn write(&self, text: &mut String, longer: Option<&Self>) {
        for (row, share) in &self.probable {
            let _ = write!(text, "{:.4} {}", share.max(1e-9).log10(), row.join(" "));
            if let Some(longer) = longer {
                let _ = write!(text, " {:.4}", longer.left_behind(row));
            }
            text.push('\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_a_word_adds_up_to_one() {
        let text = "# greetings\nleave a message\nleave a message\nleave your name\n= smith jones\n";
        let sentences = Sentences::read(text);
        assert_eq!(sentences.vocabulary().len(), 7);
        let arpa = sentences.arpa();
        assert!(arpa.starts_with("\\data\\\nngram 1=9\n") && arpa.ends_with("\\end\\\n"), "{arpa}");
        let number = |line: &str| {
            let mut words: Vec<&str> = line.split(' ').collect();
            let share: f64 = words.remove(0).parse().expect("a logarithm");
            (words.join(" "), 10_f64.powf(share))
        };
        let singles: f64 =
            arpa.lines().skip_while(|l| *l != "\\1-grams:").skip(2).take(8).map(|l| number(l).1).sum();
        assert!((singles - 1.0).abs() < 1e-3, "{singles}");
        let behind: Vec<_> = arpa.lines().map(str::trim).filter(|l| l.contains(" leave a")).collect();
        assert!(behind.iter().any(|line| number(line).1 > 0.3), "{behind:?}");
    }

    #[test]
    fn the_shipped_sentences_are_words_and_nothing_else() {
        let sentences = Sentences::read(ANSWERS);
        let letters = |word: &String| word.chars().all(|c| c.is_ascii_lowercase() || c == '\'');
        assert!(sentences.vocabulary().iter().all(letters));
        assert!(sentences.sentences.len() > 100 && !sentences.anywhere.is_empty());
    }
}
