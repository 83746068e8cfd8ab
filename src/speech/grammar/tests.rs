//! Tests of grammars, in the words of a front desk.

use proptest::prelude::*;

use super::*;

const DESK: &str = "#JSGF V1.0 UTF-8 en;
/* The front desk. */
grammar desk;
public <answer> = [<wish>] (sales | the sales department) {sales} [please]   // with a comment
    | /0.5/ support {support} | goodbye;
<wish> = I would like | I need;
";

fn desk() -> Grammar {
    Grammar::parse("desk.jsgf", DESK).expect("the desk's grammar is right")
}

fn refused(text: &str) -> String {
    Grammar::parse("x.jsgf", text).expect_err("refused").to_string()
}

fn body(rules: &str) -> String {
    format!("#JSGF V1.0;\ngrammar x;\n{rules}")
}

#[test]
fn tags_say_what_a_sentence_means_and_a_sentence_without_means_itself() {
    let desk = desk();
    assert_eq!(desk.name(), "desk");
    assert_eq!(desk.interpret("the sales department please").as_deref(), Some("sales"));
    assert_eq!(desk.interpret("I would like sales").as_deref(), Some("sales"));
    assert_eq!(desk.interpret("goodbye").as_deref(), Some("goodbye"));
    assert_eq!(desk.interpret("support please"), None);
    assert_eq!(desk.interpret(""), None);
    assert_eq!(Grammar::digits(4).interpret("one two three four").as_deref(), Some("1234"));
}

#[test]
fn a_beginning_is_told_from_a_whole_and_from_one_that_cannot_go_on() {
    let desk = desk();
    assert!(desk.is_prefix("") && desk.is_prefix("i need the") && !desk.is_complete("i need the"));
    assert!(desk.is_complete("sales") && !desk.is_final("sales"));
    assert!(desk.is_final("sales please") && !desk.is_prefix("please"));
    let digits = Grammar::any_length_of_digits(2..=3);
    assert!(digits.is_complete("one two") && !digits.is_final("one two") && digits.is_final("one two three"));
}

#[test]
fn the_first_way_written_wins() {
    let text = body("public <a> = go {first} | go {second};");
    assert_eq!(Grammar::parse("x", &text).expect("right").interpret("go").as_deref(), Some("first"));
}

#[test]
fn phrases_declared_inline_make_a_grammar() {
    let desk = [("[the] sales [department]", "sales"), ("Tech-support", "support"), ("nobody", "")];
    let grammar = Grammar::from_phrases("inline", desk).expect("right");
    assert_eq!(grammar.interpret("the sales department").as_deref(), Some("sales"));
    assert_eq!(grammar.interpret("nobody").as_deref(), Some("nobody"));
    assert!(grammar.vocabulary().contains("tech-support"));
    let error = Grammar::from_phrases("inline", [("yes", ""), ("no (", "")]).expect_err("refused");
    assert_eq!((error.line, error.file.as_str()), (2, "inline"));
    assert!(Grammar::from_phrases("none", [("", ""); 0]).is_err());
}

#[test]
fn errors_name_the_line_and_what_was_expected() {
    let cases = [
        ("hello".to_owned(), "x.jsgf:1: expected the header `#JSGF V1.0;`"),
        ("#JSGF V1.0;\npublic <a> = b;".to_owned(), "x.jsgf:2: expected `grammar NAME;`"),
        (body("<a> = b;"), "no rule is public"),
        (body("public <a> = b"), "x.jsgf:3: expected '|', a word or ';' in the rule <a>, found the end"),
        (body("public <a> = b |\n ;"), "x.jsgf:4: expected a word, a <rule>, '(' or '[', found ';'"),
        (body("public <a> = (b;"), "expected ')' for the '(' in line 3, found ';'"),
        (body("public <a> = b {tag;\n"), "x.jsgf:3: expected '}'"),
        (body("public <a> = <b>;"), "<b> is not defined; the rules are: <a>"),
        (body("public <a> = <b>;\n<b> = c <a>;"), "x.jsgf:4: <a> refers to itself"),
        (body("<d> = one;\npublic <a> = <d>+;"), "x.jsgf:4: '+' is refused"),
        (body("public <a> = (b)*;"), "exact lengths as alternatives"),
        (body("public <a> = [b];"), "accepts silence"),
        (body("public <a> = /x/ b;"), "the weight /x/ is no number"),
        (body("public <a> = 10%;"), "'10%' is no word"),
        (body("public <a> = b;\npublic <a> = c;"), "x.jsgf:4: <a> is defined twice"),
        (body("import <b.c>;"), "`import` is not supported"),
        (body("/* open"), "x.jsgf:3: expected '*/'"),
    ];
    for (text, wanted) in cases {
        let error = refused(&text);
        assert!(error.contains(wanted), "{text:?} gave {error:?}, not {wanted:?}");
    }
}

/// Whether a finite state grammar in Sphinx's format accepts `words`.
fn fsg_accepts(fsg: &str, words: &str) -> bool {
    let number = |key: &str| -> usize {
        let line = fsg.lines().find(|line| line.starts_with(key)).expect("there");
        line.split(' ').nth(1).expect("a number").parse().expect("a number")
    };
    let close = |mut states: Vec<usize>| {
        let mut at = 0;
        while at < states.len() {
            for line in fsg.lines().filter(|line| line.starts_with("TRANSITION")) {
                let parts: Vec<&str> = line.split(' ').collect();
                let to = parts[2].parse().expect("a state");
                if parts.len() == 4 && parts[1] == states[at].to_string() && !states.contains(&to) {
                    states.push(to);
                }
            }
            at += 1;
        }
        states
    };
    let mut states = close(vec![number("START_STATE")]);
    for word in words.split(' ') {
        let mut next = Vec::new();
        for line in fsg.lines().filter(|line| line.starts_with("TRANSITION")) {
            let parts: Vec<&str> = line.split(' ').collect();
            let from = parts[1].parse().expect("a state");
            if parts.get(4) == Some(&word) && states.contains(&from) {
                next.push(parts[2].parse().expect("a state"));
            }
        }
        states = close(next);
    }
    states.contains(&number("FINAL_STATE"))
}

#[test]
fn what_is_written_for_the_recogniser_is_the_same_language() {
    let desk = desk();
    let fsg = desk.to_fsg("desk");
    for (sentence, _) in desk.sentences(100) {
        assert!(fsg_accepts(&fsg, &sentence), "{sentence}");
    }
    assert!(!fsg_accepts(&fsg, "the sales") && !fsg_accepts(&fsg, "sales support"));
    assert!(fsg.contains("5e-1 support") && fsg.contains("1e0 goodbye"));
    // One state between each two digits, not one for each digit.
    assert!(Grammar::digits(4).to_fsg("d").contains("NUM_STATES 6\n"));
}

#[test]
fn the_grammars_that_are_shipped_are_right() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models/grammars");
    let cases = [
        ("yes_no.jsgf", "no", "no"),
        ("digit.jsgf", "seven", "7"),
        ("four_digits.jsgf", "zero nine one one", "0911"),
        ("frontdesk_menu.jsgf", "I would like to speak to sales please", "sales"),
        ("frontdesk_menu.jsgf", "what are your opening hours", "hours"),
        ("months.jsgf", "february", "2"),
        ("days.jsgf", "sunday", "sunday"),
    ];
    for (file, sentence, meaning) in cases {
        let grammar = Grammar::load(dir.join(file)).expect("right");
        assert_eq!(grammar.interpret(sentence).as_deref(), Some(meaning), "{file}");
    }
    assert!(
        Grammar::load(dir.join("nothing.jsgf")).expect_err("absent").to_string().contains("nothing.jsgf")
    );
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "[#JSGFV1.0;<>|()\\[\\]{}/+* \na-c\"\\\\]{0,200}") {
        let _ = Grammar::parse("x", &text);
        let _ = Grammar::parse("x", &body(&text));
        let _ = Grammar::from_phrases("x", [(text, "")]);
    }
}

#[test]
fn words_are_begun_complete_whole_or_foreign_also_where_parts_are_optional() {
    let desk = desk();
    let of = |words: &str| desk.progress(words);
    assert_eq!([of(""), of("i"), of("i need the"), of("the sales")], [Progress::Begun; 4]);
    assert_eq!([of("sales"), of("i would like the sales department")], [Progress::Settled; 2]);
    assert_eq!([of("sales please"), of("support"), of("goodbye")], [Progress::Whole; 3]);
    assert_eq!([of("please"), of("support please"), of("weather")], [Progress::Foreign; 3]);
    let digits = Grammar::any_length_of_digits(2..=4);
    let of = |words: &str| digits.progress(words);
    assert_eq!(
        [of("one"), of("one two"), of("one two three")],
        [Progress::Begun, Progress::Complete, Progress::Complete]
    );
    assert_eq!(
        [of("one two three four"), of("one two three four five")],
        [Progress::Whole, Progress::Foreign]
    );
}

#[test]
fn words_are_settled_where_whatever_follows_means_the_same() {
    let of = |phrases: &[(&str, &str)], words: &str| {
        Grammar::from_phrases("x", phrases.iter().copied()).expect("right").progress(words)
    };
    let answers = [("yes [please]", "yes"), ("no [thank you]", "no"), ("no [not now]", "later")];
    assert_eq!(of(&answers, "yes"), Progress::Settled);
    assert_eq!(of(&answers, "no"), Progress::Complete, "\"no not now\" is another answer");
    assert_eq!(of(&answers, "no thank you"), Progress::Whole);
    // Without tags the words are the meaning.
    assert_eq!(of(&[("yes [please]", "")], "yes"), Progress::Complete);
    let both = [("sales [please]", "sales"), ("sales figures", "figures"), ("help (me | us) [now]", "help")];
    assert_eq!([of(&both, "sales"), of(&both, "help us")], [Progress::Complete, Progress::Settled]);
    assert_eq!(of(&both, "help"), Progress::Begun, "the meaning is known, but it is no sentence yet");
}

#[test]
fn a_grammar_tells_what_kind_of_answer_it_expects() {
    let of = |phrases: &[(&str, &str)]| Grammar::from_phrases("x", phrases.iter().copied()).expect("right");
    assert_eq!(of(&[("yes [please]", "yes"), ("sure", "yes"), ("no", "no")]).expects(), Expects::YesNo);
    assert_eq!(of(&[("jawohl", "ja"), ("nein", "nein")]).expects(), Expects::YesNo);
    assert_eq!(of(&[("yes", "yes"), ("no", "no"), ("maybe", "maybe")]).expects(), Expects::Menu);
    assert_eq!(Grammar::digits(4).expects(), Expects::Digits { least: 4, most: 4 });
    let to_six = Grammar::any_length_of_digits(2..=6);
    assert_eq!(to_six.expects(), Expects::Digits { least: 2, most: 6 });
    assert_eq!(desk().expects(), Expects::Menu);
}

proptest! {
    /// The walker and the machine are two ways to the same answer.
    #[test]
    fn progress_agrees_with_the_machine(words in proptest::collection::vec(
        proptest::sample::select(vec!["i", "would", "like", "need", "the", "sales", "department", "please", "support", "x"]), 0..7,
    )) {
        let (desk, words) = (desk(), words.join(" "));
        let wanted = match (desk.is_prefix(&words), desk.is_complete(&words), desk.is_final(&words)) {
            (_, _, true) => Progress::Whole,
            // All that may follow in this grammar are other words for the same.
            (_, true, _) => Progress::Settled,
            (true, ..) => Progress::Begun,
            _ => Progress::Foreign,
        };
        prop_assert_eq!(desk.progress(&words), wanted);
    }
}
