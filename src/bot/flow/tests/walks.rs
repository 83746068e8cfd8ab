//! Calls through flows, input by input.

use proptest::prelude::*;

use super::*;

/// Walks through a flow; each step is an input and the words that must then be said.
fn walk(flow: &Flow, vars: StartVars, steps: &[(Input, &str)]) -> FlowState {
    let mut state = flow.start(vars);
    for (n, (input, words)) in steps.iter().enumerate() {
        flow.advance(&mut state, input.clone());
        let text = said(&flow.action(&state));
        assert!(text.contains(words), "step {n}, after {input:?}: expected '{words}', said '{text}'");
    }
    state
}

#[test]
fn the_front_desk_greets_shortly() {
    let flow = shipped("frontdesk.toml");
    let action = flow.action(&flow.start(vars()));
    let Action::Ask { parts, barge_in, listen, attempt } = &action else { panic!("{action:?}") };
    assert_eq!(parts[0], Part::Text("Hello, this is the front desk.".into()));
    assert_eq!(
        *barge_in,
        BargeInSpec { by_voice: true, by_key: true, protected_ms: 300, ..BargeInSpec::NEVER }
    );
    assert_eq!((listen.grammar.as_deref(), listen.keys.as_str()), (Some("menu"), "1234*0"));
    assert_eq!((listen.no_input_ms, *attempt), (5_000, 1));
    assert_eq!(flow.grammar("menu").unwrap().interpret("sales please").as_deref(), Some("sales"));
}

#[test]
fn a_balance_is_told_by_voice() {
    let flow = shipped("frontdesk.toml");
    let state = walk(
        &flow,
        vars(),
        &[
            (heard("balance"), "What is your account number?"),
            (heard("1234"), "That was one two three four. Is that right?"),
            (heard("yes"), "Your balance is two hundred"),
            (SAID, "What else can I do for you?"),
            (heard("repeat"), "Your balance is two hundred"),
            (SAID, "What else"),
            (heard("goodbye"), "Thank you for calling. Goodbye."),
        ],
    );
    assert!(matches!(flow.action(&state), Action::HangUp { cause: HangUpCause::Normal, .. }));
}

#[test]
fn what_may_be_said_to_the_choices_of_a_question_is_foreseen() {
    let flow = shipped("frontdesk.toml");
    let asked = [
        (heard("balance"), "What is your account number?"),
        (heard("1234"), "That was one two three four. Is that right?"),
    ];
    let state = walk(&flow, vars(), &asked);
    let foreseen: Vec<String> = flow.foreseen(&state).iter().map(|parts| said_in(parts)).collect();
    assert_eq!(foreseen.len(), 2, "{foreseen:?}");
    assert!(foreseen[0].starts_with("Your balance is two hundred"), "{foreseen:?}");
    assert_eq!(foreseen[1], "I am sorry. Let us try once more.");
    // Nobody knows the digits beforehand.
    let collecting = walk(&flow, vars(), &asked[..1]);
    assert!(flow.foreseen(&collecting).is_empty());
}

#[test]
fn a_balance_is_told_by_keys_and_a_wrong_number_is_asked_again() {
    let flow = shipped("frontdesk.toml");
    walk(
        &flow,
        vars(),
        &[
            (keys("4"), "What is your account number?"),
            (keys("12"), "Sorry, I did not get that. Please say the four digits"),
            (keys("1234"), "That was one two three four."),
            (keys("2"), "Let us try once more."),
            (SAID, "What is your account number?"),
            (keys("0000"), "That was zero zero zero zero."),
            (keys("1"), "I cannot find an account zero zero zero zero."),
            (SAID, "What is your account number?"),
            (keys("4711"), "four seven one one"),
            (keys("1"), "one thousand two hundred"),
            (Input::Said { interrupted: true, heard_ms: 10 }, "What else"),
            (keys("0"), "Goodbye."),
        ],
    );
}

#[test]
fn a_call_back_goes_to_the_callers_number_when_there_is_one() {
    let flow = shipped("frontdesk.toml");
    walk(
        &flow,
        vars(),
        &[
            (heard("sales"), "Everybody in sales is on the phone"),
            (heard("yes"), "We will call you back at plus four nine"),
            (SAID, "What else"),
            (keys("2"), "Everybody in support"),
            (heard("no"), "no call back"),
        ],
    );
    let withheld = StartVars { caller: None, ..vars() };
    walk(&flow, withheld, &[(heard("support"), "Your number is withheld"), (SAID, "What else")]);
}

#[test]
fn opening_hours_depend_on_the_day_and_the_hour() {
    let flow = shipped("frontdesk.toml");
    let at = |weekday: &str, hour| StartVars { weekday: weekday.into(), hour, ..vars() };
    for (weekday, hour, words) in [
        ("monday", 9, "open right now"),
        ("friday", 16, "open right now"),
        ("friday", 17, "closed right now"),
        ("monday", 8, "closed right now"),
        ("sunday", 12, "closed right now"),
    ] {
        walk(&flow, at(weekday, hour), &[(keys("3"), "nine to five"), (SAID, words)]);
    }
}

#[test]
fn three_silences_end_in_a_polite_goodbye() {
    let flow = shipped("frontdesk.toml");
    let state = walk(
        &flow,
        vars(),
        &[
            (Input::NoInput, "Sorry, I did not hear you. For sales, press one."),
            (Input::NoInput, "I still cannot hear you. For sales, press one."),
            (Input::NoInput, "I will hang up now."),
        ],
    );
    assert!(flow.action(&state).is_last());
}

#[test]
fn misunderstandings_and_silences_count_together_but_have_sentences_of_their_own() {
    let flow = shipped("frontdesk.toml");
    walk(
        &flow,
        vars(),
        &[
            (Input::NoMatch, "Sorry, I did not get that."),
            (Input::NoInput, "Sorry, I did not hear you."),
            (keys("7"), "I do not understand you today."),
        ],
    );
}

#[test]
fn a_failure_leads_to_on_failure_once() {
    let flow = shipped("frontdesk.toml");
    let state = walk(&flow, vars(), &[(Input::Failed, "something went wrong here")]);
    assert!(matches!(flow.action(&state), Action::HangUp { cause: HangUpCause::Failure, .. }));

    let flow = parse(
        "[flow]\nname='f'\nfirst='a'\ngoodbye='Bye.'\n[flow.on_failure]\ngoto='a'\n\
         [step.a]\nkind='ask'\nsay='A?'\ngrammar='g'\ngoto='a'\ngive_up='a'\n[grammars]\ng=['a']",
    )
    .unwrap();
    let mut state = flow.start(vars());
    flow.advance(&mut state, Input::Failed);
    assert_eq!(said(&flow.action(&state)), "A?");
    flow.advance(&mut state, Input::Failed);
    assert_eq!(
        flow.action(&state),
        Action::HangUp { parts: vec![Part::Text("Bye.".into())], cause: HangUpCause::Failure }
    );
}

#[test]
fn after_the_last_action_nothing_changes() {
    let flow = shipped("frontdesk.toml");
    let mut state = walk(&flow, vars(), &[(keys("0"), "Goodbye.")]);
    let before = state.clone();
    for input in [SAID, keys("1"), Input::NoInput, Input::Failed] {
        flow.advance(&mut state, input);
        assert_eq!(state, before);
    }
}

#[test]
fn the_end_of_a_prompt_does_not_answer_its_question() {
    let flow = shipped("frontdesk.toml");
    let mut state = flow.start(vars());
    let before = state.clone();
    flow.advance(&mut state, SAID);
    assert_eq!(state, before);
}

#[test]
fn the_survey_goes_back_to_the_dialplan_with_its_answers() {
    let flow = shipped("survey.toml");
    let given = [("customer".to_owned(), "Ms Miller".to_owned()), ("other".to_owned(), "x".to_owned())];
    let vars = StartVars { given: given.into(), ..vars() };
    assert!(said(&flow.action(&flow.start(vars.clone()))).starts_with("Hello Ms Miller."));
    let state = walk(
        &flow,
        vars,
        &[(heard("yes"), "problem solved"), (keys("2"), "how friendly"), (heard("5"), "Thank you")],
    );
    assert_eq!(state.variable("other"), None);
    let Action::Continue { place, variables, .. } = flow.action(&state) else { panic!() };
    assert_eq!(
        place,
        DialplanPlace { context: Some("survey".into()), exten: Some("done".into()), priority: Some(1) }
    );
    assert_eq!(variables, [("SURVEY_SOLVED".into(), "no".into()), ("SURVEY_FRIENDLY".into(), "5".into())]);
}

#[test]
fn doubtful_answers_are_no_answers() {
    let flow = parse(
        "[flow]\nname='f'\nfirst='a'\n[defaults]\nmin_confidence=0.5\ngive_up='b'\n\
         [step.a]\nkind='ask'\nsay='A?'\nchoices=[{say='yes',goto='b'}]\n[step.b]\nkind='hang_up'",
    )
    .unwrap();
    let mut state = flow.start(vars());
    let doubtful = |confidence| Input::Heard { meaning: "yes".into(), text: "yes".into(), confidence };
    flow.advance(&mut state, doubtful(0.4));
    assert_eq!(state.step(), "a");
    flow.advance(&mut state, doubtful(f32::NAN));
    assert_eq!(state.step(), "a");
    flow.advance(&mut state, doubtful(0.5));
    assert_eq!(state.step(), "b");
}

#[test]
fn a_collection_takes_its_range_of_digits_and_nothing_else() {
    let flow = parse(
        "[flow]\nname='f'\nfirst='a'\n[defaults]\ngive_up='b'\ntries=10\n\
         [step.a]\nkind='collect'\nsay='N?'\nmin_digits=2\nmax_digits=4\nterminator='#'\ninter_digit_ms=2500\n\
         into='n'\ngoto='b'\n[step.b]\nkind='hang_up'\nsay='{n}'",
    )
    .unwrap();
    let start = flow.start(vars());
    let Action::Collect { keys: Some(spec), listen, .. } = flow.action(&start) else { panic!() };
    assert_eq!(spec, CollectSpec { max: 4, terminator: Some('#'), inter_digit_ms: 2_500 });
    let grammar = flow.grammar(listen.grammar.as_deref().unwrap()).unwrap();
    assert_eq!(grammar.interpret("one two three").as_deref(), Some("123"));
    for (number, fits) in [("1", false), ("12", true), ("1234", true), ("12345", false), ("1*3", false)] {
        for input in [keys(number), heard(number)] {
            let mut state = start.clone();
            flow.advance(&mut state, input);
            assert_eq!(state.step() == "b", fits, "{number}");
        }
    }
    let mut state = start.clone();
    flow.advance(&mut state, keys(""));
    assert_eq!(state.step(), "a");
}

#[test]
fn an_endless_caller_is_told_goodbye() {
    let flow = shipped("frontdesk.toml");
    let mut state = flow.start(vars());
    let turns = (0..1_000).take_while(|_| {
        flow.advance(&mut state, keys("*"));
        !flow.action(&state).is_last()
    });
    assert_eq!(turns.count(), 200);
    assert!(said(&flow.action(&state)).contains("I have to go now"));
}

#[test]
fn a_value_that_feeds_on_itself_stays_small() {
    let flow = parse(
        "[flow]\nname='f'\nfirst='a'\n[step.a]\nkind='ask'\nsay='A?'\ngive_up='a'\n\
         choices=[{key='1',set={x='{x}{x}ab'},goto='a'}]",
    )
    .unwrap();
    let mut state = flow.start(vars());
    for _ in 0..100 {
        flow.advance(&mut state, keys("1"));
    }
    assert_eq!(state.variable("x").unwrap().len(), FlowState::MAX_VALUE_CHARS);
}

#[test]
fn a_call_goes_on_in_another_process_from_any_kind_of_step() {
    let flow = shipped("frontdesk.toml");
    let again = shipped("frontdesk.toml");
    let script = [
        Input::NoInput,
        heard("hours"),
        SAID,
        SAID,
        heard("balance"),
        keys("1"),
        heard("1234"),
        Input::NoMatch,
        heard("yes"),
        SAID,
        keys("1"),
        keys("1"),
        SAID,
        heard("goodbye"),
    ];
    let (mut here, mut there) = (flow.start(vars()), flow.start(vars()));
    for input in script {
        let json = serde_json::to_string(&there).unwrap();
        assert!(json.len() < 500, "{} bytes: {json}", json.len());
        there = serde_json::from_str(&json).unwrap();
        assert_eq!(again.can_continue(&there), Ok(()));
        assert_eq!(flow.action(&here), again.action(&there));
        flow.advance(&mut here, input.clone());
        again.advance(&mut there, input);
        assert_eq!(here, there);
    }
    assert!(flow.action(&here).is_last());
}

#[test]
fn a_state_that_does_not_fit_is_told_and_ends_politely() {
    let flow = shipped("frontdesk.toml");
    let text = serde_json::to_string(&flow.start(vars())).unwrap();
    let change = |from: &str, to: &str| serde_json::from_str::<FlowState>(&text.replace(from, to)).unwrap();
    assert!(matches!(
        flow.can_continue(&change("\"version\":1", "\"version\":2")),
        Err(StateError::Version { found: 2, known: 1 })
    ));
    assert!(matches!(
        flow.can_continue(&change("\"frontdesk\"", "\"other\"")),
        Err(StateError::OtherFlow { .. })
    ));
    for step in ["gone", "look_up"] {
        let mut state = change("\"greeting\"", &format!("\"{step}\""));
        assert!(matches!(flow.can_continue(&state), Err(StateError::StepGone { .. })));
        flow.advance(&mut state, keys("1"));
        assert!(said(&flow.action(&state)).contains("I have to go now"));
    }
}

#[test]
fn the_state_does_not_show_what_was_said() {
    let flow = shipped("frontdesk.toml");
    let state = walk(&flow, vars(), &[(heard("balance"), ""), (keys("4711"), "")]);
    let shown = format!("{state:?} {:?}", vars());
    assert!(!shown.contains("4711") && !shown.contains("30123456"), "{shown}");
}

#[test]
fn what_can_be_prepared_is_listed_once_and_the_greeting_first() {
    let flow = shipped("frontdesk.toml");
    let sentences = flow.fixed_sentences();
    assert!(sentences.contains(&"Hello, this is the front desk."));
    assert!(sentences.contains(&"Thank you for calling. Goodbye."));
    assert!(sentences.iter().all(|s| !s.contains('{')));
    assert_eq!(sentences.iter().filter(|s| s.starts_with("Sorry, I did not hear")).count(), 1);
    let names: Vec<&str> = flow.grammars().map(|(name, _)| name).collect();
    assert_eq!(names, ["digits-4", "menu", "yes_no"]);
    assert!(flow.prompt_files().is_empty());
}

fn any_input() -> impl Strategy<Value = Input> {
    let meanings = prop::sample::select(vec![
        "sales", "support", "hours", "balance", "repeat", "goodbye", "yes", "no", "1234", "0000", "", "ü{x}",
    ]);
    prop_oneof![
        (any::<bool>(), any::<u32>())
            .prop_map(|(interrupted, heard_ms)| Input::Said { interrupted, heard_ms }),
        (meanings, ".{0,40}", any::<f32>()).prop_map(|(meaning, text, confidence)| Input::Heard {
            meaning: meaning.into(),
            text,
            confidence
        }),
        "[0-9*#A-D]{0,6}".prop_map(Input::Keys),
        ".{0,10}".prop_map(Input::Keys),
        Just(Input::NoInput),
        Just(Input::NoMatch),
        prop::option::weighted(0.05, Just(())).prop_map(|rare| rare.map_or(SAID, |()| Input::Failed)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_caller_can_break_the_flow(inputs in prop::collection::vec(any_input(), 1_000), hour in 0_u8..24) {
        for flow in [shipped_once("frontdesk.toml"), shipped_once("survey.toml")] {
            let mut state = flow.start(StartVars { hour, ..vars() });
            for input in &inputs {
                let action = flow.action(&state);
                prop_assert_eq!(&action, &flow.action(&state));
                let silent = matches!(&action, Action::Say { parts, .. } if parts.is_empty());
                prop_assert!(!silent);
                flow.advance(&mut state, input.clone());
                prop_assert!(action.is_last() <= flow.action(&state).is_last());
                prop_assert_eq!(flow.can_continue(&state), Ok(()));
            }
            // A driver that hears nothing more still gets to the end.
            for _ in 0..=2 * 200 {
                flow.advance(&mut state, SAID);
                flow.advance(&mut state, Input::NoInput);
            }
            prop_assert!(flow.action(&state).is_last());
        }
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "[a-z\\[\\].={}\"',0-9 \n]{0,200}") {
        let _ = parse(&text);
        let _ = parse(&format!("[flow]\nname='x'\nfirst='a'\n[step.a]\nkind='ask'\n{text}"));
    }
}

fn shipped_once(name: &str) -> &'static Flow {
    use std::sync::OnceLock;
    static FLOWS: [OnceLock<Flow>; 2] = [OnceLock::new(), OnceLock::new()];
    FLOWS[usize::from(name != "frontdesk.toml")].get_or_init(|| shipped(name))
}

#[test]
fn each_prompt_and_each_listening_has_settings_of_its_own() {
    let text = "\
[flow]
name = \"test\"
first = \"number\"
[defaults]
give_up = \"bye\"
duck_db = 12
resume = false
silences = { limit_ms = 1200, whole_ms = 300 }
[step.number]
kind = \"collect\"
say = \"Which number?\"
digits = 4
into = \"number\"
goto = \"sure\"
hush_after_ms = 260
resume = 2
silences = { whole_ms = 450 }
[step.sure]
kind = \"ask\"
say = \"Sure?\"
duck = false
silence_ms = 800
choices = [{ say = \"yes\", goto = \"bye\" }]
[step.bye]
kind = \"hang_up\"
say = \"Bye.\"
";
    let flow = parse(text).expect("without a fault");
    let mut state = flow.start(vars());
    let Action::Collect { barge_in, listen, .. } = flow.action(&state) else { panic!("it collects") };
    assert_eq!((barge_in.duck, barge_in.duck_db, barge_in.hush_after_ms), (true, Some(12), Some(260)));
    assert_eq!(barge_in.resume, Some(2));
    assert_eq!((listen.silences.whole_ms, listen.silences.limit_ms), (Some(450), Some(1_200)));
    flow.advance(&mut state, keys("1234"));
    let Action::Ask { barge_in, listen, .. } = flow.action(&state) else { panic!("it asks") };
    assert_eq!((barge_in.duck, barge_in.resume), (false, Some(0)));
    assert_eq!((listen.endpointing, listen.silences), (Endpointing::SilenceMs(800), Silences::default()));
}
