//! What the reader and the checks find, with the line of each.

use super::*;

/// A flow of three steps without a fault; its lines are changed by the tests.
const GOOD: &str = "\
[flow]
name = \"test\"
first = \"menu\"
[defaults]
give_up = \"bye\"
[grammars]
yes_no = \"yes_no.jsgf\"
[step.menu]
kind = \"ask\"
say = \"Sales or support?\"
choices = [
  { say = \"sales\", key = \"1\", goto = \"number\" },
  { say = \"support\", key = \"2\", goto = \"sure\" },
]
[step.number]
kind = \"collect\"
say = \"Which number?\"
digits = 4
into = \"number\"
goto = \"sure\"
[step.sure]
kind = \"ask\"
say = \"Sure?\"
grammar = \"yes_no\"
choices = [
  { meaning = \"yes\", key = \"1\", goto = \"bye\" },
  { meaning = \"no\", key = \"2\", goto = \"menu\" },
]
[step.bye]
kind = \"hang_up\"
say = \"Bye.\"
";

fn faults(text: &str) -> Vec<String> {
    let errors = parse(text).expect_err("this flow has a fault").errors;
    errors.iter().map(|error| error.to_string().replacen("test.toml:", "", 1)).collect()
}

/// Puts `to` in place of `from` in the good flow and expects these faults, written `line:column: sentence`.
#[track_caller]
fn expect(from: &str, to: &str, expected: &[&str]) {
    assert!(GOOD.contains(from), "'{from}' is not in the flow");
    assert_eq!(faults(&GOOD.replacen(from, to, 1)), expected);
}

#[test]
fn a_good_flow_has_no_fault() {
    parse(GOOD).unwrap();
}

#[test]
fn a_key_or_word_that_is_not_known_is_told_with_a_near_miss() {
    expect(
        "goto = \"number\"",
        "gotoo = \"number\"",
        &["12:31: choice 1 of step 'menu' has no key 'gotoo'; did you mean 'goto'?"],
    );
    expect("[defaults]", "[default]", &["4:2: the file has no key 'default'; did you mean 'defaults'?"]);
    expect("[flow]", "[flo]", &["1:2: the file has no key 'flo'; did you mean 'flow'?"]);
    expect(
        "kind = \"collect\"",
        "kind = \"colect\"",
        &["16:8: step 'number': 'kind' cannot be 'colect'; did you mean 'collect'?"],
    );
    expect(
        "kind = \"hang_up\"",
        "kind = \"hang_up\"\ncause = \"sunny\"",
        &["31:9: step 'bye': 'cause' cannot be 'sunny'; \
         known: normal, busy, congestion, no_answer, rejected, failure"],
    );
    expect(
        "into = ",
        "endpointing = \"eagre\"\nsilence_ms = 300\ninto = ",
        &[
            "19:15: step 'number': 'endpointing' cannot be 'eagre'; did you mean 'eager'?",
            "20:1: step 'number' has both 'endpointing' and 'silence_ms'; keep one of them",
        ],
    );
}

#[test]
fn a_key_that_is_missing_is_told_with_what_it_is_for() {
    expect(
        "kind = \"collect\"\n",
        "",
        &[
            "15:7: step 'number' needs 'kind', one of: say, ask, collect, branch, set, transfer, look_up, set_variables, \
         send_keys, play_sound, record, stop_recording, call_back, opt_out, message, hang_up, \
         continue_in_dialplan",
        ],
    );
    expect(
        "into = \"number\"\n",
        "",
        &["15:7: step 'number' needs 'into', the variable that the digits go into"],
    );
    expect(
        "digits = 4\n",
        "",
        &["15:7: step 'number' needs 'digits', how many, or 'min_digits' and 'max_digits'"],
    );
    expect("name = \"test\"\n", "", &["1:1: [flow] needs 'name', a short name for logs and lists"]);
    expect("say = \"Sure?\"\n", "", &["21:7: step 'sure' needs 'say', a sentence, or 'play', a WAV file"]);
    let needs = |line: usize, step: &str| {
        format!(
            "{line}:7: step '{step}' needs 'give_up', the step to go to when nobody answers, here or in [defaults]"
        )
    };
    expect("give_up = \"bye\"\n", "", &[&needs(7, "menu"), &needs(14, "number"), &needs(20, "sure")]);
}

#[test]
fn a_value_of_the_wrong_type_or_size_is_told_with_what_is_expected() {
    expect(
        "goto = \"number\"",
        "goto = 3",
        &["12:38: choice 1 of step 'menu': 'goto' is a whole number; expected a text"],
    );
    expect(
        "digits = 4",
        "digits = 4.5",
        &["18:10: step 'number': 'digits' is a number with a fraction; expected a whole number from 1 to 30"],
    );
    expect(
        "digits = 4",
        "digits = 40",
        &["18:10: step 'number': 'digits' is 40; expected a whole number from 1 to 30"],
    );
    expect(
        "digits = 4",
        "digits = 17",
        &["15:7: step 'number': a spoken number has at most 16 digits; write by = \"keys\""],
    );
    expect(
        "digits = 4",
        "min_digits = 5\nmax_digits = 4",
        &["18:1: step 'number': 'min_digits' is 5, more than 'max_digits', 4"],
    );
    expect(
        "give_up = \"bye\"",
        "give_up = \"bye\"\nmin_confidence = 1.5",
        &["6:18: [defaults]: 'min_confidence' is 1.5; expected 0 to 1"],
    );
    let long = format!("say = \"{}\"", "a".repeat(1_001));
    expect(
        "say = \"Bye.\"",
        &long,
        &["31:7: this text has 1001 characters; expected at most 1000; make it a list of shorter texts"],
    );
}

#[test]
fn a_target_that_is_not_there_is_told() {
    expect("first = \"menu\"", "first = \"manu\"", &["3:9: there is no step 'manu'; did you mean 'menu'?"]);
    expect(
        "goto = \"number\"",
        "goto = \"billing\"",
        &["12:38: there is no step 'billing'; known: menu, number, sure, bye"],
    );
    expect(
        "give_up = \"bye\"",
        "give_up = { no_input = \"by\", no_match = \"bye\" }",
        &["5:24: there is no step 'by'; did you mean 'bye'?"],
    );
    expect(
        "[defaults]",
        "[flow.on_failure]\ngoto = \"sorry\"\n[defaults]",
        &["5:8: there is no step 'sorry'; known: menu, number, sure, bye"],
    );
}

#[test]
fn a_step_that_no_way_leads_to_is_told() {
    expect(
        "[step.bye]",
        "[step.lost]\nkind = \"hang_up\"\n[step.bye]",
        &["29:7: step 'lost' can never be reached; go to it somewhere, or remove it"],
    );
    let reached = GOOD.replace("[defaults]", "[flow.on_failure]\ngoto = \"lost\"\n[defaults]")
        + "[step.lost]\nkind = \"hang_up\"\n";
    parse(&reached).unwrap();
}

#[test]
fn steps_that_go_round_without_listening_are_told_once() {
    let round = "kind = \"say\"\ngoto = \"again\"\n";
    let again = "[step.again]\nkind = \"branch\"\nelse = \"bye\"\n\
                 cases = [{ when = \"hour\", above = 12, goto = \"sure\" }, { when = \"hour\", equals = 3, goto = \"once\" }]\n\
                 [step.once]\nkind = \"set\"\nset = { n = 1 }\ngoto = \"bye\"\n";
    let text = GOOD.replace("kind = \"hang_up\"\n", round) + again;
    assert_eq!(
        faults(&text),
        [
            "29:7: these steps go round for ever without listening: 'bye' → 'again' → 'bye'",
            "37:7: these steps go round for ever without listening: 'once' → 'bye' → 'again' → 'once'",
        ]
    );
}

#[test]
fn a_prompt_file_that_cannot_be_played_is_told() {
    expect(
        "say = \"Bye.\"",
        "play = \"bye.wav\"",
        &["31:8: there is no prompt file 'bye.wav'; the path is relative to the folder of the flow file"],
    );
    expect(
        "say = \"Bye.\"",
        "play = \"bye.wav\"\nsay = \"Bye.\"",
        &["31:1: step 'bye' has both 'say' and 'play'; \
         mix them in one list: say = [{ play = \"chime.wav\" }, \"Hello.\"]"],
    );

    let folder = tempfile::tempdir().unwrap();
    let flow = folder.path().join("flow.toml");
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 8_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    hound::WavWriter::create(folder.path().join("chime.wav"), spec).unwrap().finalize().unwrap();
    let text = GOOD.replace("say = \"Bye.\"", "say = [{ play = \"chime.wav\" }, \"Bye.\"]");
    std::fs::write(&flow, &text).unwrap();
    let read = Flow::load(&flow, &search()).unwrap();
    assert_eq!(read.prompt_files(), [folder.path().join("chime.wav")]);

    std::fs::write(folder.path().join("chime.wav"), "no sound").unwrap();
    let errors = Flow::load(&flow, &search()).unwrap_err().to_string();
    assert!(errors.contains(":31:17: ") && errors.contains("no WAV file that can be played"), "{errors}");
}

#[test]
fn a_grammar_that_is_absent_or_wrong_is_told() {
    let errors = faults(&GOOD.replace("yes_no.jsgf", "yes_nope.jsgf"));
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].starts_with("7:10: grammar 'yes_no': there is no file 'yes_nope.jsgf'; looked for "));
    expect(
        "grammar = \"yes_no\"",
        "grammar = \"yesno\"",
        &["24:11: step 'sure': there is no grammar 'yesno' in [grammars]; did you mean 'yes_no'?"],
    );

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("yes_no.jsgf");
    std::fs::write(&path, "#JSGF V1.0;\ngrammar yes_no;\npublic <a> = yes {yes\n").unwrap();
    let errors = Flow::parse(&folder.path().join("flow.toml"), GOOD, &search()).unwrap_err().errors;
    assert_eq!((errors.len(), errors[0].line), (1, 7));
    assert!(errors[0].problem.contains("yes_no.jsgf:3: "), "{}", errors[0]);
}

#[test]
fn a_grammar_may_be_phrases_in_the_file() {
    for grammar in ["[\"yes\", \"no\"]", "{ yes = [\"yes [please]\", \"sure\"], no = \"no\" }"] {
        parse(&GOOD.replace("\"yes_no.jsgf\"", grammar)).unwrap();
    }
    expect("\"yes_no.jsgf\"", "[]", &["7:10: grammar 'yes_no' has no phrase"]);
    expect(
        "\"yes_no.jsgf\"",
        "7",
        &["7:10: grammar 'yes_no' is a whole number; \
         expected a file name, a list of phrases, or a table { meaning = [phrases] }"],
    );
    expect(
        "\"yes_no.jsgf\"",
        "[\"yes\", 1, \"yes\"]",
        &[
            "7:18: grammar 'yes_no' is a whole number; expected a phrase",
            "7:21: grammar 'yes_no': the phrase 'yes' is there twice",
            "26:15: step 'sure': the grammar 'yes_no' never means 'no'; known: yes",
        ][..2],
    );
}

#[test]
fn a_choice_that_can_never_be_made_is_told() {
    expect(
        "meaning = \"yes\"",
        "meaning = \"yess\"",
        &["26:15: step 'sure': the grammar 'yes_no' never means 'yess'; did you mean 'yes'?"],
    );
    expect(
        "  { meaning = \"yes\", key = \"1\", goto = \"bye\" },\n",
        "",
        &["24:11: step 'sure': the grammar 'yes_no' can mean 'yes', but no choice does; \
         add a choice, or 'goto' for everything else"],
    );
    expect(
        "say = \"sales\", key = \"1\",",
        "",
        &["12:3: choice 1 of step 'menu' can never be chosen; expected 'say' or 'key'"],
    );
    expect(
        "meaning = \"yes\", key = \"1\"",
        "say = \"yes\"",
        &["26:5: choice 1 of step 'sure' has 'say', but the step has a grammar; \
         name what the grammar makes of the words: meaning = …"],
    );
}

#[test]
fn choices_do_not_take_each_others_key_phrase_or_meaning() {
    expect(
        "key = \"2\"",
        "key = \"1\"",
        &["13:28: step 'menu': the key '1' is taken by the choice in line 12"],
    );
    expect(
        "say = \"sales\"",
        "say = [\"sales\", \"support\"]",
        &["13:11: choice 2 of step 'menu': the phrase 'support' is there twice"],
    );
    expect(
        "say = \"sales\"",
        "say = \"[the] support\", meaning = \"sales\"",
        &["13:11: step 'menu': the grammar 'step-menu' never means 'support'; known: sales"],
    );
    expect(
        "meaning = \"no\"",
        "meaning = \"yes\"",
        &[
            "24:11: step 'sure': the grammar 'yes_no' can mean 'no', but no choice does; \
             add a choice, or 'goto' for everything else",
            "27:15: step 'sure': the meaning 'yes' is taken by the choice in line 26",
        ],
    );
}

#[test]
fn what_is_no_key_of_a_telephone_is_told() {
    for wrong in ["\"12\"", "\"\"", "\"x\"", "12"] {
        let text = wrong.trim_matches('"');
        let fault = format!(
            "13:28: choice 2 of step 'menu': 'key' is '{text}'; expected one key; keys are 0 to 9, *, # and A to D"
        );
        expect("key = \"2\"", &format!("key = {wrong}"), &[&fault]);
    }
    expect(
        "into = ",
        "terminator = 5\ninto = ",
        &["19:14: step 'number': 'terminator' cannot be a digit; write \"#\" or \"*\""],
    );
    parse(&GOOD.replace("key = \"2\"", "key = 2")).unwrap();
}

#[test]
fn a_variable_that_nothing_sets_is_told() {
    expect(
        "say = \"Bye.\"",
        "say = \"Bye {numbr}.\"",
        &["31:7: step 'bye': nothing sets the variable 'numbr'; did you mean 'number'?"],
    );
    expect(
        "goto = \"number\"",
        "set = { a = \"{b}\" }, goto = \"number\"",
        &[
            "12:43: step 'menu': nothing sets the variable 'b'; known: a, call_id, called, caller, heard, hour, \
         language, meaning, minute, number, weekday",
        ],
    );
    expect(
        "first = \"menu\"",
        "first = \"menu\"\ngiven = [\"customer\"]\ngoodbye = \"Bye, {custom}.\"",
        &["5:11: [flow]: nothing sets the variable 'custom'; did you mean 'customer'?"],
    );
    expect(
        "into = \"number\"",
        "into = \"caller\"",
        &["19:8: 'caller' is set by Offhook itself; choose another name"],
    );
}

#[test]
fn a_variable_that_is_only_set_later_is_told() {
    let text = "[flow]\nname='t'\nfirst='a'\n[step.a]\nkind='say'\nsay='{x}'\ngoto='b'\n\
                [step.b]\nkind='set'\nset={x=1}\ngoto='c'\n[step.c]\nkind='hang_up'\nsay='{x}'\n";
    let errors = faults(text);
    assert_eq!(errors.len(), 1);
    assert!(
        errors[0]
            .starts_with("6:5: step 'a': the variable 'x' is used before any step on the way has set it")
    );
}

#[test]
fn a_text_that_is_no_template_is_told() {
    expect(
        "say = \"Bye.\"",
        "say = \"Bye {number|digit} {x.\"",
        &[
            "31:7: step 'bye': nothing can be spoken as 'digit'; did you mean 'digits'?",
            "31:7: step 'bye': a '{' in this text is not closed; a brace itself is written twice: {{",
        ],
    );
}

#[test]
fn a_phrase_that_is_none_is_told_where_it_stands() {
    expect(
        "say = \"sales\"",
        "say = [\"sales\", \"(buying\"]",
        &[
            "12:21: step 'menu': the phrase '(buying': expected ')' for the '(' in line 1, found the end of the text",
        ],
    );
    expect(
        "say = \"sales\"",
        "say = \"[the] sales\"",
        &["12:11: choice 1 of step 'menu' needs a 'meaning', as its first phrase has alternatives"],
    );
}

#[test]
fn what_is_not_toml_is_told_alone_and_in_full() {
    expect("[flow]", "[flow", &["1:6: not TOML: unclosed table, expected `]`"]);
    assert_eq!(faults("a = \nb = 'x\n").len(), 2);
}

#[test]
fn steps_without_names_are_told() {
    assert_eq!(
        faults("[flow]\nname='t'\nfirst='a'\n[[step]]\nname='a'\n"),
        ["4:1: 'step' is a list; expected tables with names; write [step.NAME] for [[step]]",]
    );
    expect(
        "[step.bye]",
        "[step.Bye]",
        &[
            "5:11: there is no step 'bye'; did you mean 'Bye'?",
            "26:40: there is no step 'bye'; did you mean 'Bye'?",
            "29:7: 'Bye' cannot be the name of a step; \
         a name has lower-case letters, digits and underscores, and begins with a letter",
        ],
    );
}

#[test]
fn all_faults_come_at_once_in_the_order_of_the_file() {
    let text = GOOD
        .replace("first = \"menu\"", "first = \"manu\"")
        .replace("key = \"2\", goto = \"sure\"", "key = \"1\", goto = \"sure\"")
        .replace("digits = 4", "digits = \"four\"")
        .replace("meaning = \"no\"", "meaning = \"nö\"")
        .replace("say = \"Bye.\"", "sey = \"Bye.\"");
    assert_eq!(
        faults(&text),
        [
            "3:9: there is no step 'manu'; did you mean 'menu'?",
            "13:28: step 'menu': the key '1' is taken by the choice in line 12",
            "18:10: step 'number': 'digits' is a text; expected a whole number from 1 to 30",
            "27:15: step 'sure': the grammar 'yes_no' never means 'nö'; did you mean 'no'?",
            "31:1: step 'bye' has no key 'sey'; did you mean 'say'?",
        ]
    );
}

#[test]
fn a_file_that_is_not_there_is_told() {
    let errors = Flow::load(Path::new("/nowhere/flow.toml"), &search()).unwrap_err();
    assert!(errors.to_string().starts_with("/nowhere/flow.toml: the flow cannot be read: "), "{errors}");
}

/// `docs/flows.md` and the reader know the same keys, and its example is a flow.
#[test]
fn the_documentation_has_every_key_and_a_flow_that_works() {
    let page = std::fs::read_to_string(root().join("docs/flows.md")).unwrap();
    let example: String = page
        .lines()
        .skip_while(|line| *line != "    [flow]")
        .take_while(|line| line.is_empty() || line.starts_with("    "))
        .map(|line| format!("{line}\n"))
        .collect();
    parse(&example).unwrap();

    // What a step does not know is told with all that it does.
    let mut keys = Vec::new();
    for kind in [
        "say",
        "ask",
        "collect",
        "branch",
        "set",
        "transfer",
        "look_up",
        "set_variables",
        "send_keys",
        "play_sound",
        "record",
        "stop_recording",
        "call_back",
        "message",
        "hang_up",
        "continue_in_dialplan",
    ] {
        let text = format!("[flow]\nxx = 1\n[defaults]\nxx = 1\n[step.a]\nkind = \"{kind}\"\nxx = 1\n");
        let choices = "choices = [{ xx = 1 }]\ncases = [{ xx = 1 }]\n";
        let hints = faults(&format!("{text}{choices}"));
        let known = hints.iter().filter_map(|fault| fault.split_once("known: "));
        keys.extend(known.flat_map(|(_, list)| list.split(", ").map(str::to_owned).collect::<Vec<_>>()));
    }
    assert!(keys.len() > 100);
    for key in keys {
        assert!(page.contains(&format!("`{key}`")), "docs/flows.md says nothing of '{key}'");
    }
}

#[test]
fn how_turns_are_taken_is_checked_key_by_key() {
    let with = |keys: &str, wanted: &[&str]| {
        let to = format!("{keys}\ninto = ");
        expect("into = ", &to, wanted);
    };
    with(
        "silences = { limt_ms = 900 }",
        &["19:14: 'silences' of step 'number' has no key 'limt_ms'; did you mean 'limit_ms'?"],
    );
    with(
        "silences = { limit_ms = 50 }",
        &["19:25: 'silences' of step 'number': 'limit_ms' is 50; expected a whole number from 100 to 5000"],
    );
    with(
        "silence_ms = 700\nsilences = { whole_ms = 200 }",
        &["19:1: step 'number' has both 'silences' and 'silence_ms'; keep one of them"],
    );
    with(
        "duck = false\nduck_db = 12",
        &["20:1: step 'number' has 'duck_db', but does not duck; take it out, or duck = false"],
    );
    with(
        "resume = \"often\"",
        &["19:10: step 'number': 'resume' is a text; expected true, false, or how often, from 0 to 5"],
    );
    with("resume = 9", &["19:10: step 'number': 'resume' is 9; expected a whole number from 0 to 5"]);
}
