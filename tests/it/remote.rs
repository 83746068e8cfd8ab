//! Programs as bots, on calls through a real Asterisk.

use std::time::Duration;

use offhook::bot::remote::message::{Event, Heard, Sends};
use offhook::phone::agent::Side;
use offhook::phone::script::Step;
use offhook::store::{Disposition, TurnKind};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::support::EngineUnderTest;
use crate::support::caller::{
    HANGS_UP, PATIENCE, REPLIES, SECOND, SILENT, assert_gone, connected, ended_by_bot, phone, play, press,
    say, way_on,
};
use crate::support::engine::{Settings, ShowLog};
use crate::support::remote::{Conversation, Example, Program, TOKEN, asterisk, house, python};

#[tokio::test]
async fn a_program_talks_with_a_caller() {
    let house = house().await;
    let _log = ShowLog(&house.engine);
    let program = house.program("talk");
    let phone = phone("5560101").await;
    let caller = async {
        let call = connected(&phone, &house.asterisk, "121").await;
        let steps = vec![
            Step::BotSpeaks { within: PATIENCE },
            SILENT,
            say("support please").await,
            REPLIES,
            SILENT,
            press("42#"),
            REPLIES,
            HANGS_UP,
        ];
        play(&call, steps).await
    };
    let bot = async {
        let (mut talk, headers) = program.accept().await;
        assert_eq!(headers["authorization"], format!("Bearer {TOKEN}"));
        let started = talk.started().await;
        assert_eq!((started.version, started.resumed, started.outbound), (1, false, false));
        assert_eq!((started.caller.as_str(), started.called.as_str()), ("5560101", "121"));
        assert_eq!(
            (started.bot.as_str(), started.args.len(), started.audio.sends),
            ("talk", 2, Sends::Nothing)
        );
        assert_eq!(headers["offhook-call"].len(), 16);
        let said = talk.want(json!({ "verb": "say", "text": "Welcome." })).await;
        assert!(said.ok);
        assert_eq!(said.said.map(|said| (said.words, said.interrupted)), Some(("Welcome.".into(), false)));
        let phrases =
            json!([{ "say": "sales [please]", "means": "1" }, { "say": "support [please]", "means": "2" }]);
        let asked = talk
            .want(json!({ "verb": "ask", "text": "Sales or support?", "listen": { "phrases": phrases } }))
            .await;
        let Some(Heard::Words { text, meaning, confidence }) = asked.heard else { panic!("{asked:?}") };
        assert_eq!((text.as_str(), meaning.as_str()), ("support please", "2"));
        assert!(confidence > 0.0);
        let number = talk.want(json!({ "verb": "collect", "text": "Your number.", "digits": { "least": 1, "most": 4 }, "terminator": "#" })).await;
        assert_eq!(number.heard, Some(Heard::Keys { keys: "42".into() }));
        assert!(talk.want(json!({ "verb": "say", "text": "Thank you. Goodbye." })).await.ok);
        assert!(talk.want(json!({ "verb": "hang_up" })).await.ok);
        assert_eq!(talk.ended().await, "hung_up");
        assert!(talk.try_next().await.is_none(), "nothing comes after that");
        talk.events.into_iter().map(|(_, event)| event).collect::<Vec<_>>()
    };
    let (report, events) = tokio::join!(caller, bot);
    assert!(ended_by_bot(&report));
    let place = |wanted: fn(&Event) -> bool| events.iter().position(wanted).expect("it is told");
    let began = place(|event| matches!(event, Event::SpeechStarted { .. }));
    let ended = place(|event| matches!(event, Event::SpeechEnded { .. }));
    let partial = place(|event| matches!(event, Event::Partial { .. }));
    let asked =
        events.iter().position(|event| matches!(event, Event::Result(outcome) if outcome.verb == "ask"));
    assert!(began < partial && began < ended && Some(ended) < asked, "{events:?}");
    assert_eq!(events.iter().filter(|event| matches!(event, Event::Key { .. })).count(), 3);
    assert_eq!(
        events.iter().filter(|event| matches!(event, Event::SpeakingStarted { id: Some(_) })).count(),
        4
    );
    let (record, turns) = house.engine.ended_call_of("5560101").await;
    assert_eq!((record.disposition, record.bot.as_str()), (Some(Disposition::Completed), "talk"));
    let kinds: Vec<_> = turns.iter().map(|turn| turn.kind).collect();
    assert_eq!(kinds, [TurnKind::Opening, TurnKind::Voice, TurnKind::Keys]);
    assert_gone(&house.asterisk, &house.engine, &record).await;
}

#[tokio::test]
async fn what_is_said_can_be_stopped_and_interrupted_and_mistakes_are_told() {
    let house = house().await;
    let _log = ShowLog(&house.engine);
    let program = house.program("flowing");
    let phone = phone("5560102").await;
    let long = "There is a lot to tell about this house, its rooms and its people, its garden and its trees, and about everybody who has lived in it.";
    let caller = async {
        let call = connected(&phone, &house.asterisk, "123").await;
        call.wait_bot_speaks(PATIENCE).await.expect("the bot speaks");
        call
    };
    let bot = async {
        let (mut talk, _) = program.call().await;
        let first = talk.begin(json!({ "verb": "say", "text": long })).await;
        let queued = talk.begin(json!({ "verb": "say", "text": "Never heard." })).await;
        talk.until(|event| matches!(event, Event::SpeakingStarted { .. }).then_some(())).await;
        tokio::time::sleep(SECOND).await;
        let stop = talk.begin(json!({ "verb": "stop" })).await;
        let never = talk.result_of(queued).await;
        assert!(!never.ok && never.error.is_some_and(|error| error.contains("before it began")));
        assert!(talk.result_of(stop).await.ok);
        let stopped = talk.result_of(first).await;
        let said = stopped.said.expect("it was said");
        assert!(stopped.ok && stopped.stopped && said.heard_ms > 500 && said.heard_ms < 5_000, "{said:?}");
        assert!(said.words.starts_with("There is") && said.words.len() < long.len(), "{said:?}");
        // Mistakes are told, and change nothing.
        for (wrong, told) in [
            ("{\"verb\":\"shout\",\"id\":\"s\"}", "there is no verb `shout`: there are answer, say"),
            ("nonsense", "this is no message"),
        ] {
            talk.send_anything(Message::text(wrong)).await;
            let error = talk.until(|event| match event {
                Event::Error { error, .. } => Some(error.clone()),
                _ => None,
            });
            assert!(error.await.contains(told));
        }
        let outside = talk.want(json!({ "verb": "play", "file": "../x.wav" })).await;
        assert!(outside.error.is_some_and(|error| error.contains("`files`")));
        let function = talk.want(json!({ "verb": "set_variable", "name": "SHELL(id)", "value": "x" })).await;
        assert!(function.error.is_some_and(|error| error.contains("no name of a variable")));
        let nowhere = talk.want(json!({ "verb": "transfer", "to": "0900123456" })).await;
        assert!(!nowhere.ok);
        let ask = talk.begin(json!({ "verb": "ask", "text": long, "listen": { "key": true } })).await;
        talk.until(|event| matches!(event, Event::SpeakingStarted { .. }).then_some(())).await;
        (talk, ask)
    };
    let (call, (mut talk, ask)) = tokio::join!(caller, bot);
    tokio::time::sleep(SECOND).await;
    let pressed = play(&call, vec![press("7"), REPLIES]);
    let answered = async {
        let asked = talk.result_of(ask).await;
        assert_eq!(asked.heard, Some(Heard::Keys { keys: "7".into() }));
        assert!(asked.said.is_some_and(|said| said.heard_ms > 500 && said.words.starts_with("There is")));
        assert!(
            talk.events.iter().any(|(_, event)| matches!(event, Event::Interrupted { by } if by == "key"))
        );
        // So that the ear tells one sentence from the other.
        tokio::time::sleep(SECOND / 2).await;
        talk.want(json!({ "verb": "say", "text": "Then I leave you." })).await;
        talk.send(json!({ "verb": "leave", "variables": { "OFFHOOK_STATUS": "LEFT_BY_PROGRAM" } })).await;
        assert_eq!(talk.ended().await, "left");
    };
    tokio::join!(pressed, answered);
    assert_eq!(way_on(&house.asterisk, "5560102").await, "SUCCESS LEFT_BY_PROGRAM");
    let (record, _) = house.engine.ended_call_of("5560102").await;
    assert_eq!(record.disposition, Some(Disposition::Transferred));
}

#[tokio::test]
async fn a_program_that_is_not_there_ends_in_an_apology() {
    let house = house().await;
    let _log = ShowLog(&house.engine);
    let phone = phone("5560103").await;
    let call = connected(&phone, &house.asterisk, "122").await;
    let report = play(&call, vec![Step::BotSpeaks { within: PATIENCE }, HANGS_UP]).await;
    assert!(ended_by_bot(&report));
    let (record, turns) = house.engine.ended_call_of("5560103").await;
    assert_eq!(record.disposition, Some(Disposition::Completed));
    assert!(turns[0].reply.text.as_deref().is_some_and(|text| text.starts_with("I am sorry")), "{turns:?}");
    assert_eq!(turns[0].step.as_deref(), Some("fallback"));
}

#[tokio::test]
async fn the_caller_of_a_program_that_dies_hears_the_sentence_to_its_end_and_goes_on_in_the_dialplan() {
    let house = house().await;
    let _log = ShowLog(&house.engine);
    let phone = phone("5560104").await;
    let bot = async {
        let program = house.program("still");
        let (mut talk, _) = program.call().await;
        talk.begin(json!({ "verb": "say", "text": "I was about to say something of importance." })).await;
        talk.until(|event| matches!(event, Event::SpeakingStarted { .. }).then_some(())).await;
        // The process is killed.
        drop((talk, program));
    };
    let call = async {
        let call = connected(&phone, &house.asterisk, "124").await;
        call.wait_bot_speaks(PATIENCE).await.expect("the bot speaks");
        call
    };
    let (call, ()) = tokio::join!(call, bot);
    assert_eq!(way_on(&house.asterisk, "5560104").await, "SUCCESS FAILED", "its fallback is the dialplan");
    let (record, turns) = house.engine.ended_call_of("5560104").await;
    assert_eq!(record.disposition, Some(Disposition::BotFailed));
    assert!(turns[0].reply.heard_ms >= turns[0].reply.total_ms, "what was being said was said to its end");
    call.wait_hangup(PATIENCE).await.expect("the dialplan ends");
}

#[tokio::test]
async fn a_program_that_does_not_say_what_to_do_is_waited_for_with_a_filler_and_then_given_up() {
    let asterisk = asterisk().await;
    let (program, address) = Program::start();
    let more = format!(
        "[bots.still]\nremote = {{ url = 'ws://{address}/', reply_ms = 2500, filler_ms = 600, filler = 'One moment please.', fallback = {{ flow = 'quick.toml' }} }}\n"
    );
    let engine = EngineUnderTest::start(&asterisk, Settings { more: &more, ..Settings::default() }).await;
    let phone = phone("5560105").await;
    let bot = async {
        let (mut talk, _) = program.call().await;
        assert!(talk.want(json!({ "verb": "answer" })).await.ok);
        let error = talk.ended().await;
        assert_eq!(error, "fallback");
    };
    let caller = async {
        let call = connected(&phone, &asterisk, "124").await;
        // The filler, then the flow, which asks.
        play(
            &call,
            vec![
                Step::BotSpeaks { within: PATIENCE },
                SILENT,
                REPLIES,
                SILENT,
                press("2"),
                REPLIES,
                HANGS_UP,
            ],
        )
        .await
    };
    let (report, ()) = tokio::join!(caller, bot);
    assert!(ended_by_bot(&report));
    let (record, turns) = engine.ended_call_of("5560105").await;
    assert_eq!(record.disposition, Some(Disposition::Completed));
    let texts: Vec<_> = turns.iter().filter_map(|turn| turn.reply.text.as_deref()).collect();
    assert_eq!(texts, ["One moment please.", "Goodbye."], "the filler, and what the flow said to his key");
}

#[tokio::test]
async fn nonsense_is_borne_for_a_while() {
    let house = house().await;
    let _log = ShowLog(&house.engine);
    let program = house.program("sound");
    let phone = phone("5560106").await;
    let bot = async {
        let (mut talk, _) = program.call().await;
        for _ in 0..10 {
            talk.send_anything(Message::text("{\"verb\":")).await;
        }
        assert_eq!(talk.ended().await, "fallback");
    };
    let caller = async {
        let call = connected(&phone, &house.asterisk, "125").await;
        play(&call, vec![Step::BotSpeaks { within: PATIENCE }, HANGS_UP]).await
    };
    tokio::join!(caller, bot);
    let (_, turns) = house.engine.ended_call_of("5560106").await;
    assert!(turns[0].reply.text.as_deref().is_some_and(|text| text.starts_with("I am sorry")), "{turns:?}");
}

#[tokio::test]
async fn a_program_that_comes_back_goes_on_from_its_checkpoint_and_so_does_a_new_engine() {
    let asterisk = asterisk().await;
    let (program, address) = Program::start();
    let more = format!("[bots.talk]\nremote = 'ws://{address}/'\n");
    let mut engine = EngineUnderTest::start(&asterisk, Settings { more: &more, ..Settings::default() }).await;
    let phone = phone("5560107").await;
    let (call, mut talk) = tokio::join!(connected(&phone, &asterisk, "121"), async {
        let (mut talk, started) = program.call().await;
        assert_eq!((started.resumed, started.answered, started.state.is_null()), (false, false, true));
        talk.want(json!({ "verb": "say", "text": "Hello." })).await;
        assert!(talk.want(json!({ "verb": "checkpoint", "state": { "at": 1 }, "step": "menu" })).await.ok);
        talk.begin(
            json!({ "verb": "ask", "text": "Press a key.", "listen": { "key": true, "no_input_ms": 60000 } }),
        )
        .await;
        talk.until(|event| matches!(event, Event::SpeakingStarted { .. }).then_some(())).await;
        talk
    });
    // The program is killed and started again.
    drop(talk);
    let (again, started) = program.call().await;
    talk = again;
    assert_eq!((started.resumed, started.answered, &started.state), (true, true, &json!({ "at": 1 })));
    assert!(talk.want(json!({ "verb": "checkpoint", "state": { "at": 2 } })).await.ok);
    let ask =
        json!({ "verb": "ask", "text": "Press a key now.", "listen": { "key": true, "no_input_ms": 60000 } });
    talk.begin(ask.clone()).await;
    talk.until(|event| matches!(event, Event::SpeakingStarted { .. }).then_some(())).await;
    // Until it is on the disk.
    tokio::time::sleep(Duration::from_millis(500)).await;
    engine.crash().await;
    assert!(talk.try_next().await.is_none(), "the engine is gone");
    let (resumed, ()) = tokio::join!(program.call(), engine.start_again());
    let (mut talk, started) = resumed;
    assert_eq!((started.resumed, started.answered, &started.state), (true, true, &json!({ "at": 2 })));
    let asked = talk.begin(ask).await;
    let pressed = async {
        tokio::time::sleep(SECOND).await;
        play(&call, vec![press("5"), REPLIES, HANGS_UP]).await
    };
    let bot = async {
        assert_eq!(talk.result_of(asked).await.heard, Some(Heard::Keys { keys: "5".into() }));
        talk.want(json!({ "verb": "say", "text": "Thank you. Goodbye." })).await;
        talk.want(json!({ "verb": "hang_up" })).await;
    };
    tokio::join!(pressed, bot);
    let (record, _) = engine.ended_call_of("5560107").await;
    assert_eq!(record.disposition, Some(Disposition::Completed));
}

#[tokio::test]
async fn a_worker_registers_and_serves_as_many_calls_as_it_takes() {
    let house = house().await;
    let _log = ShowLog(&house.engine);
    assert!(Conversation::connect(house.workers, Some("another secret")).await.is_err(), "a wrong secret");
    let mut stranger = Conversation::connect(house.workers, None).await.expect("he may say it later");
    let refused = stranger.register(1, None).await;
    assert!(matches!(&refused, Event::Error { error, .. } if error.contains("Authorization")), "{refused:?}");
    let mut worker = Conversation::connect(house.workers, None).await.expect("a connection");
    let registered = worker.register(2, Some(TOKEN)).await;
    assert!(matches!(registered, Event::Registered { version: 1, capacity: 2, .. }), "{registered:?}");
    let phones = [phone("5560111").await, phone("5560112").await, phone("5560113").await];
    let calls = async {
        let (first, second) = tokio::join!(
            connected(&phones[0], &house.asterisk, "127"),
            connected(&phones[1], &house.asterisk, "127")
        );
        (first, second)
    };
    let bot = async {
        let mut ids = Vec::new();
        while ids.len() < 2 {
            let (call, event) = worker.next().await;
            let (Some(call), Event::CallStarted(started)) = (call, event) else { continue };
            worker.about(&call);
            worker.begin(json!({ "verb": "ask", "text": "Hello.", "listen": { "key": true, "no_input_ms": 60000 } })).await;
            ids.push((call, started.caller));
        }
        (worker, ids)
    };
    let ((first, second), (mut worker, ids)) = tokio::join!(calls, bot);
    assert_eq!(ids.len(), 2);
    // A third one finds no room: the fallback.
    let third = connected(&phones[2], &house.asterisk, "127").await;
    play(&third, vec![Step::BotSpeaks { within: PATIENCE }, HANGS_UP]).await;
    // Each call hears of its own key.
    let keys = async {
        tokio::join!(
            play(&first, vec![SILENT, press("1"), REPLIES, HANGS_UP]),
            play(&second, vec![SILENT, press("2"), REPLIES, HANGS_UP])
        );
    };
    let served = async {
        let mut heard = Vec::new();
        while heard.len() < 2 {
            let (call, event) = worker.next().await;
            let (Some(call), Event::Result(outcome)) = (call, event) else { continue };
            if let Some(Heard::Keys { keys }) = &outcome.heard {
                let caller = &ids.iter().find(|(id, _)| *id == call).expect("one of both").1;
                heard.push((caller.clone(), keys.clone()));
                worker.about(&call);
                worker.send(json!({ "verb": "say", "text": "Thank you. Goodbye." })).await;
                worker.send(json!({ "verb": "hang_up" })).await;
            }
        }
        heard.sort();
        heard
    };
    let ((), heard) = tokio::join!(keys, served);
    assert_eq!(heard, [("5560111".to_owned(), "1".to_owned()), ("5560112".to_owned(), "2".to_owned())]);
    let over = json!({ "verb": "say", "text": "Too late.", "call": ids[0].0, "id": 99 });
    worker.send(over).await;
    let told = worker.until(|event| match event {
        Event::Error { error, id: Some(_) } => Some(error.clone()),
        _ => None,
    });
    assert!(told.await.contains("no such call"));
}

#[tokio::test]
async fn a_program_with_ears_and_a_voice_of_its_own() {
    let house = house().await;
    let _log = ShowLog(&house.engine);
    let program = house.program("everything");
    let phone = phone("5560114").await;
    let line = crate::support::caller::line("one two three four five six seven").await;
    let caller = async {
        let call = connected(&phone, &house.asterisk, "126").await;
        let steps =
            vec![Step::BotSpeaks { within: PATIENCE }, SILENT, Step::Say(line.clone()), REPLIES, HANGS_UP];
        play(&call, steps).await
    };
    let bot = async {
        let (mut talk, started) = program.call().await;
        let audio = started.audio;
        assert_eq!((audio.rate, audio.sends), (16_000, Sends::Everything));
        // A second of a tone, faster than it is heard.
        let tone: Vec<u8> = (0..16_000_u32)
            .flat_map(|n| {
                #[expect(clippy::cast_possible_truncation, reason = "it is within")]
                let sample = (f64::from(n) * 0.2).sin().mul_add(8_000.0, 0.0) as i16;
                sample.to_le_bytes()
            })
            .collect();
        let ask =
            talk.begin(json!({ "verb": "ask", "audio": true, "listen": { "no_input_ms": 20000 } })).await;
        for piece in tone.chunks(1_111) {
            talk.sound(audio.stream, piece).await;
        }
        talk.send(json!({ "verb": "audio_end" })).await;
        let asked = talk.result_of(ask).await;
        assert_eq!(asked.heard, Some(Heard::Voice {}));
        assert!(asked.said.is_some_and(|said| said.heard_ms >= 980 && !said.interrupted));
        let first = talk.sound.len();
        let say = talk.begin(json!({ "verb": "say", "audio": true })).await;
        talk.sound(audio.stream, &tone).await;
        talk.send(json!({ "verb": "audio_end" })).await;
        assert!(talk.result_of(say).await.ok);
        assert!(talk.sound.len() > first, "everything is sent, also while the bot speaks");
        talk.want(json!({ "verb": "hang_up" })).await;
        talk
    };
    let (_, talk) = tokio::join!(caller, bot);
    let heard: Vec<i16> =
        talk.sound.concat().as_chunks::<2>().0.iter().map(|pair| i16::from_le_bytes(*pair)).collect();
    assert!(talk.sound.iter().all(|message| message.len() == 640), "20 ms at 16 kHz");
    let loud =
        heard.chunks(320).filter(|frame| frame.iter().any(|sample| sample.unsigned_abs() > 1_000)).count();
    let spoken = line.samples.len() / 160;
    assert!(loud * 2 > spoken, "{loud} loud frames of {spoken} that he said");
}

#[tokio::test]
async fn a_caller_who_hangs_up_is_told_of() {
    let house = house().await;
    let _log = ShowLog(&house.engine);
    let program = house.program("leaving");
    let phone = phone("5560115").await;
    let caller = async {
        let call = connected(&phone, &house.asterisk, "128").await;
        call.wait_bot_speaks(PATIENCE).await.expect("the bot speaks");
        call.hang_up().await.expect("he hangs up");
        assert_eq!(call.wait_hangup(PATIENCE).await.expect("it is over").by, Side::Phone);
    };
    let bot = async {
        let (mut talk, _) = program.call().await;
        talk.begin(json!({ "verb": "say", "text": "This will not be heard to its end, since he hangs up in the middle of it." })).await;
        assert_eq!(talk.ended().await, "caller_hung_up");
    };
    tokio::join!(caller, bot);
    let (record, _) = house.engine.ended_call_of("5560115").await;
    assert_eq!(record.disposition, Some(Disposition::CallerHungUp));
}

#[tokio::test]
async fn the_example_in_python_serves_a_call() {
    let Some(python) = python().await else { return };
    let mut example = Example::start(python, &["examples/remote/python/bot.py", "0"]);
    let line = example.prints("listening on port").await;
    let port = line.rsplit(' ').next().expect("the port");
    let asterisk = asterisk().await;
    let more = format!("[bots.talk]\nremote = 'ws://127.0.0.1:{port}'\n");
    let engine =
        EngineUnderTest::start(&asterisk, Settings { ears: true, more: &more, ..Settings::default() }).await;
    let phone = phone("5560121").await;
    let call = connected(&phone, &asterisk, "121").await;
    let steps = vec![
        Step::BotSpeaks { within: PATIENCE },
        Step::BotSilent { quiet: 2 * SECOND, within: 20 * SECOND },
        say("support please").await,
        REPLIES,
        HANGS_UP,
    ];
    assert!(ended_by_bot(&play(&call, steps).await));
    example.prints("call ended: hung_up").await;
    let (record, turns) = engine.ended_call_of("5560121").await;
    assert_eq!(record.disposition, Some(Disposition::Completed));
    let last = turns.last().and_then(|turn| turn.reply.text.as_deref());
    assert_eq!(last, Some("You want support. Goodbye."));
}

#[tokio::test]
async fn the_example_in_javascript_serves_a_call() {
    let version = std::process::Command::new("node").arg("--version").output();
    let version = version.ok().and_then(|output| String::from_utf8(output.stdout).ok());
    let major =
        version.and_then(|text| text.trim().trim_start_matches('v').split('.').next()?.parse::<u32>().ok());
    let Some(major) = major.filter(|major| *major >= 20) else {
        println!("SKIPPED: the JavaScript example is not tested, since there is no Node.js 20 or later here");
        return;
    };
    let free =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port");
    let asterisk = asterisk().await;
    let more =
        format!("[bots.worker]\nremote = {{ listen = '{free}', token = '{TOKEN}', connect_ms = 10000 }}\n");
    let engine = EngineUnderTest::start(&asterisk, Settings { more: &more, ..Settings::default() }).await;
    let url = format!("ws://{free}");
    let mut arguments = vec!["examples/remote/node/bot.mjs", &url, TOKEN];
    if major < 22 {
        arguments.insert(0, "--experimental-websocket");
    }
    let mut example = Example::start("node", &arguments);
    example.prints("registered").await;
    let phone = phone("5560122").await;
    let call = connected(&phone, &asterisk, "127").await;
    let steps = vec![Step::BotSpeaks { within: PATIENCE }, SILENT, press("2"), REPLIES, HANGS_UP];
    assert!(ended_by_bot(&play(&call, steps).await));
    let (_, turns) = engine.ended_call_of("5560122").await;
    let last = turns.last().and_then(|turn| turn.reply.text.as_deref());
    assert_eq!(last, Some("You want support. Goodbye."));
}
