//! Transfers through real channels: the caller meets a person, and comes back when nobody takes him.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use offhook::phone::{KeyTiming, Phone, PhoneCall, PhoneConfig};
use offhook::store::{CallRecord, Disposition};
use offhook::time::Moment;
use tempfile::TempDir;

use super::support::asterisk::{AsteriskUnderTest, Wanted, eventually};
use super::support::caller::{PATIENCE, SECOND, assert_empty, assert_gone, connected, line, phone};
use super::support::engine::{DIALPLAN, EngineUnderTest, Settings, ShowLog};

/// Numbers whose callers are transferred at once, each in its way.
const NUMBERS: &str = "
[offhook]
exten => 121,1,Stasis(bot,asked)
exten => 122,1,Stasis(bot,blind)
exten => 123,1,Stasis(bot,beyond)
exten => 124,1,Stasis(bot,short)
exten => 125,1,Stasis(bot,handy)
exten => 126,1,Stasis(bot,promise)
exten => 127,1,Stasis(bot,asking)

[people]
exten => hall,1,NoOp()
 same => n,Log(NOTICE,the hall has ${CALLERID(num)}: ${OFFHOOK_STATUS} ${NOTE})
 same => n,Playback(hello-world)
 same => n,Hangup()
";

/// A flow that transfers to `to` and says so when nobody takes the call.
fn flow(to: &str, announce: bool) -> String {
    let announce = if announce {
        "announce = 'Somebody is on the line for you. Press one to take the call.'"
    } else {
        ""
    };
    format!(
        "[flow]\nname = 'transfers'\nfirst = 'put'\ngoodbye = 'Goodbye.'\n\
         [step.put]\nkind = 'transfer'\nsay = 'One moment.'\nto = '{to}'\n{announce}\nnot_taken = 'sorry'\n\
         [step.sorry]\nkind = 'hang_up'\nsay = 'There is nobody who could speak with you. Goodbye.'\n"
    )
}

/// What a flow can do besides.
const HANDY: &str = "
[flow]
name = 'handy'
first = 'greet'
goodbye = 'Goodbye.'

[step.greet]
kind = 'play_sound'
sound = 'hello-world'
goto = 'keys'

[step.keys]
kind = 'send_keys'
keys = '42#'
goto = 'tape'

[step.tape]
kind = 'record'
name = 'handy-{call_id}'
max_seconds = 20
goto = 'code'

[step.code]
kind = 'collect'
say = 'Your code, please.'
digits = 4
into = 'code'
private = true
give_up = 'leave'
goto = 'stop'

[step.stop]
kind = 'stop_recording'
goto = 'note'

[step.note]
kind = 'set_variables'
variables = { NOTE = 'code given' }
goto = 'leave'

[step.leave]
kind = 'transfer'
to = 'hall'
not_taken = 'bye'

[step.bye]
kind = 'hang_up'
say = 'Goodbye.'
";

/// Promises a call at once.
const PROMISE: &str = "
[flow]
name = 'promise'
first = 'promise'
goodbye = 'Goodbye.'

[step.promise]
kind = 'call_back'
minutes = 0
goto = 'bye'
failed = 'no'

[step.bye]
kind = 'hang_up'
say = 'We will call you.'

[step.no]
kind = 'hang_up'
say = 'We cannot call you.'
";

/// Asks a service who calls.
fn asking(url: &str) -> String {
    format!(
        "[flow]\nname = 'asking'\nfirst = 'ask'\ngoodbye = 'Goodbye.'\n\
         [step.ask]\nkind = 'look_up'\nurl = '{url}'\nquery = {{ number = '{{caller}}' }}\n\
         into = {{ name = '/customer/name', visits = '/visits' }}\ntimeout_ms = 1000\ngoto = 'greet'\nfailed = 'sorry'\n\
         [step.greet]\nkind = 'hang_up'\nsay = 'Hello {{name}}, this is visit {{visits}}.'\n\
         [step.sorry]\nkind = 'hang_up'\nsay = 'I do not know you.'\n"
    )
}

/// A service that knows one number; gives its address.
fn service() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut request = [0; 1_024];
            let length = stream.read(&mut request).unwrap_or(0);
            let known = String::from_utf8_lossy(&request[..length]).contains("number=5550413");
            let body = r#"{"customer":{"name":"Ada"},"visits":3}"#;
            let (status, body) = if known { ("200 OK", body) } else { ("404 Not Found", "{}") };
            let head =
                format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(format!("{head}{body}").as_bytes());
        }
    });
    format!("http://{address}/who")
}

/// An Asterisk, an engine, and a telephone at which a colleague sits.
struct Office {
    asterisk: AsteriskUnderTest,
    engine: EngineUnderTest,
    colleague: Phone,
    _flows: TempDir,
}

impl Office {
    async fn open() -> Self {
        let colleague = Phone::start(PhoneConfig::loopback("colleague")).await.expect("a phone");
        let aor = format!(
            "[colleague]\ntype=endpoint\naors=colleague\ncontext=offhook\ndisallow=all\nallow=ulaw\n\
             direct_media=no\n[colleague]\ntype=aor\ncontact=sip:colleague@{}\n",
            colleague.address()
        );
        let extra = vec![("extensions.conf", format!("{DIALPLAN}{NUMBERS}")), ("pjsip.conf", aor)];
        let asterisk = AsteriskUnderTest::start_own(Wanted { extra, ..Wanted::default() }).await;
        let flows = tempfile::Builder::new().prefix("offhook-it-flows-").tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            let path = flows.path().join(name);
            std::fs::write(&path, text).expect("a file");
            path.display().to_string()
        };
        let more = format!(
            "[bots.asked]\nflow = '{}'\n[bots.blind]\nflow = '{}'\n[bots.beyond]\nflow = '{}'\n\
             [bots.short]\nflow = '{}'\n[bots.handy]\nflow = '{}'\n[bots.promise]\nflow = '{}'\n\
             [bots.asking]\nflow = '{}'\n\
             [call_back]\ntrunk = 'colleague'\nnumbers = ['_5550412']\nbot = 'talker'\n\
             [destination.desk]\ndescription = 'a colleague'\nendpoint = 'colleague'\n\
             [destination.brief]\nendpoint = 'colleague'\nring_seconds = 2\n\
             [destination.hall]\nextension = 'hall'\ncontext = 'people'\n\
             [recording]\nannounce = 'This call is recorded.'\n",
            write("asked.toml", &flow("desk", true)),
            write("blind.toml", &flow("desk", false)),
            write("beyond.toml", &flow("hall", false)),
            write("short.toml", &flow("brief", true)),
            write("handy.toml", HANDY),
            write("promise.toml", PROMISE),
            write("asking.toml", &asking(&service())),
        );
        let settings = Settings { more: &more, recordings: true, ..Settings::default() };
        let engine = EngineUnderTest::start(&asterisk, settings).await;
        Self { asterisk, engine, colleague, _flows: flows }
    }

    async fn call(&self, number: &str, extension: &str) -> (Phone, PhoneCall) {
        let phone = phone(number).await;
        let call = connected(&phone, &self.asterisk, extension).await;
        (phone, call)
    }

    /// The colleague's telephone rings, and he answers.
    async fn answer(&self) -> PhoneCall {
        let incoming = self.colleague.expect_call(PATIENCE).await.expect("it rings");
        let call = incoming.answer().await.expect("it is there");
        call.wait_answered(PATIENCE).await.expect("he has answered");
        call
    }

    /// The call is over, in this way, and nothing of it is left.
    async fn over(&self, number: &str, disposition: Disposition, note: &str) -> CallRecord {
        let (record, _) = self.engine.ended_call_of(number).await;
        assert_eq!(record.disposition, Some(disposition), "{:?}", record.note);
        assert!(record.note.as_deref().unwrap_or_default().contains(note), "{:?}", record.note);
        assert_gone(&self.asterisk, &self.engine, &record).await;
        assert_empty(&self.asterisk).await;
        record
    }
}

async fn voice(words: &str) -> Vec<i16> {
    line(words).await.samples.to_vec()
}

/// What one says the other hears.
async fn assert_hears(speaker: &PhoneCall, listener: &PhoneCall) {
    // It may ring still.
    listener.wait_bot_silent(Duration::from_millis(400), PATIENCE).await.expect("nobody speaks");
    let began = Moment::now();
    speaker.say(voice("can you hear me").await).await.expect("the call is up");
    let heard = listener.wait_onset_since(began, PATIENCE).await;
    heard.unwrap_or_else(|error| {
        panic!("he is not heard since {began:?}: {error}; {:?}", listener.segments())
    });
    listener.wait_bot_silent(Duration::from_millis(400), PATIENCE).await.expect("and no more");
}

/// The caller heard something in each stretch of `most` since `from`.
fn assert_never_in_silence(caller: &PhoneCall, from: Moment, to: Moment, most: Duration) {
    let mut last = from;
    for segment in caller.segments().iter().filter(|segment| segment.last_voiced >= from) {
        let gap = segment.onset.since(last);
        assert!(gap <= most, "{gap:?} of silence: {:?}", caller.segments());
        last = last.max(segment.last_voiced);
    }
    let gap = to.since(last);
    assert!(gap <= most, "{gap:?} of silence at the end: {:?}", caller.segments());
}

/// From one ring to the next of the tone that Asterisk has for the United States, and some.
const CADENCE: Duration = Duration::from_millis(4_600);

#[tokio::test]
async fn who_is_told_whom_he_gets_takes_the_call_by_a_key_and_the_bot_leaves() {
    let office = Office::open().await;
    let _log = ShowLog(&office.engine);
    let (_phone, caller) = office.call("5550401", "121").await;
    let began = caller.wait_bot_speaks(PATIENCE).await.expect("the bot speaks");
    let colleague = office.answer().await;
    colleague.wait_bot_speaks(PATIENCE).await.expect("he is told");
    colleague.wait_bot_silent(SECOND, PATIENCE).await.expect("to the end");
    // Not a key of the caller's, who hears it ring.
    caller.press("1", KeyTiming::default()).await.expect("the call is up");
    // Long enough for the next ring, and one more.
    tokio::time::sleep(2 * CADENCE).await;
    assert_never_in_silence(&caller, began, Moment::now(), CADENCE);
    colleague.press("1", KeyTiming::default()).await.expect("the call is up");
    office.engine.logs("a transfer call=", PATIENCE).await;
    office.engine.logs("how=\"taken\"", PATIENCE).await;
    caller.wait_bot_silent(SECOND, PATIENCE).await.expect("it rings no more");
    assert_hears(&caller, &colleague).await;
    assert_hears(&colleague, &caller).await;
    let bridges = office.asterisk.cli("bridge show all").await;
    let joined =
        bridges.lines().find(|line| line.contains("-bridge")).expect("they have a bridge").to_owned();
    assert!(joined.split_whitespace().any(|word| word == "2"), "the two are alone in it: {bridges}");
    assert!(!bridges.contains("-consult"), "{bridges}");
    colleague.hang_up().await.expect("the call is up");
    caller.wait_hangup(PATIENCE).await.expect("the caller is let go");
    office.over("5550401", Disposition::Transferred, "transferred to desk: taken").await;
}

#[tokio::test]
async fn who_is_not_taken_comes_back_to_the_bot() {
    let office = Office::open().await;
    let _log = ShowLog(&office.engine);
    // He declines by another key.
    let (_phone, caller) = office.call("5550402", "121").await;
    let began = caller.wait_bot_speaks(PATIENCE).await.expect("the bot speaks");
    let colleague = office.answer().await;
    colleague.wait_bot_speaks(PATIENCE).await.expect("he is told");
    // He may be let go before the last packet of the key is out.
    let _ = colleague.press("3", KeyTiming::default()).await;
    colleague.wait_hangup(PATIENCE).await.expect("he is let go");
    comes_back(&office, &caller, "5550402", "the call was declined", began).await;
    // The line is busy.
    let (_phone, caller) = office.call("5550403", "122").await;
    let began = caller.wait_bot_speaks(PATIENCE).await.expect("the bot speaks");
    let incoming = office.colleague.expect_call(PATIENCE).await.expect("it rings");
    incoming.refuse(486, "Busy Here").await.expect("it is there");
    comes_back(&office, &caller, "5550403", "the line is busy", began).await;
    // Nobody answers.
    let (_phone, caller) = office.call("5550404", "124").await;
    let began = caller.wait_bot_speaks(PATIENCE).await.expect("the bot speaks");
    let incoming = office.colleague.expect_call(PATIENCE).await.expect("it rings");
    incoming.ring().await.expect("it is there");
    comes_back(&office, &caller, "5550404", "nobody answered", began).await;
    // He answers, is told, and hangs up.
    let (_phone, caller) = office.call("5550405", "121").await;
    let began = caller.wait_bot_speaks(PATIENCE).await.expect("the bot speaks");
    let colleague = office.answer().await;
    colleague.wait_bot_speaks(PATIENCE).await.expect("he is told");
    colleague.hang_up().await.expect("the call is up");
    comes_back(&office, &caller, "5550405", "who was called hung up", began).await;
}

/// The caller hears that nobody takes him, after no silence, and the call ends.
async fn comes_back(office: &Office, caller: &PhoneCall, number: &str, why: &str, began: Moment) {
    office.engine.logs(&format!("how=\"{why}\""), PATIENCE).await;
    let back = Moment::now();
    caller.wait_onset_since(back, PATIENCE).await.expect("the bot speaks again");
    caller.wait_hangup(PATIENCE).await.expect("the bot says goodbye");
    let ended = caller.segments().last().expect("something was heard").last_voiced;
    assert_never_in_silence(caller, began, ended, CADENCE);
    office.over(number, Disposition::Completed, why).await;
}

#[tokio::test]
async fn a_caller_who_hangs_up_while_he_is_transferred_leaves_nothing_behind() {
    let office = Office::open().await;
    let _log = ShowLog(&office.engine);
    let (_phone, caller) = office.call("5550406", "121").await;
    let incoming = office.colleague.expect_call(PATIENCE).await.expect("it rings");
    incoming.ring().await.expect("it is there");
    caller.hang_up().await.expect("the call is up");
    office.over("5550406", Disposition::CallerHungUp, "").await;
    drop(incoming);
    // While the colleague is told of him.
    let (_phone, caller) = office.call("5550407", "121").await;
    let colleague = office.answer().await;
    colleague.wait_bot_speaks(PATIENCE).await.expect("he is told");
    caller.hang_up().await.expect("the call is up");
    colleague.wait_hangup(PATIENCE).await.expect("he is let go");
    office.over("5550407", Disposition::CallerHungUp, "").await;
    // While they talk.
    let (_phone, caller) = office.call("5550408", "122").await;
    let colleague = office.answer().await;
    office.engine.logs("how=\"taken\"", PATIENCE).await;
    assert_hears(&colleague, &caller).await;
    caller.hang_up().await.expect("the call is up");
    colleague.wait_hangup(PATIENCE).await.expect("he is let go");
    office.over("5550408", Disposition::CallerHungUp, "taken").await;
}

#[tokio::test]
async fn two_who_talk_are_not_disturbed_by_a_crash_of_the_engine() {
    let mut office = Office::open().await;
    let (_phone, caller) = office.call("5550409", "122").await;
    let colleague = office.answer().await;
    office.engine.logs("how=\"taken\"", PATIENCE).await;
    assert_hears(&caller, &colleague).await;
    office.engine.crash().await;
    assert_hears(&colleague, &caller).await;
    office.engine.start_again().await;
    office.engine.logs("left=Talking", PATIENCE).await;
    assert_hears(&caller, &colleague).await;
    office.engine.take_over().await;
    assert_hears(&colleague, &caller).await;
    let _log = ShowLog(&office.engine);
    colleague.hang_up().await.expect("the call is up");
    caller.wait_hangup(PATIENCE).await.expect("the caller is let go");
    office.over("5550409", Disposition::Transferred, "").await;
}

#[tokio::test]
async fn the_dialplan_has_a_caller_who_is_transferred_to_an_extension() {
    let office = Office::open().await;
    let _log = ShowLog(&office.engine);
    let (_phone, caller) = office.call("5550410", "123").await;
    caller.wait_hangup(PATIENCE).await.expect("the dialplan has an end");
    office.over("5550410", Disposition::Transferred, "left to the dialplan").await;
    assert!(logged(&office.asterisk, "the hall has 5550410: TRANSFERRED").await);
}

#[tokio::test]
async fn a_flow_plays_records_presses_keys_and_keeps_a_secret() {
    let office = Office::open().await;
    let _log = ShowLog(&office.engine);
    let (_phone, caller) = office.call("5550411", "125").await;
    let record = office.engine.call_of("5550411").await;
    caller.wait_bot_speaks(PATIENCE).await.expect("Asterisk's sound is heard");
    let recording = format!("handy-{}", record.id);
    eventually(PATIENCE, "the recording has begun", async || {
        let asked = office.engine.store().await.snapshots().await.expect("it can be read");
        asked.iter().any(|state| state.state["step"] == "code").then_some(())
    })
    .await;
    caller.press("4711", KeyTiming::default()).await.expect("the call is up");
    caller.wait_hangup(PATIENCE).await.expect("the dialplan has an end");
    let (record, turns) = office.engine.ended_call_of("5550411").await;
    assert_eq!(record.disposition, Some(Disposition::Transferred));
    let heard: Vec<_> = turns.iter().filter_map(|turn| turn.heard.keys.as_deref()).collect();
    let said: Vec<_> = turns.iter().filter_map(|turn| turn.reply.text.as_deref()).collect();
    assert_eq!((heard, said), (vec!["[private]"], vec!["This call is recorded. [private]"]));
    assert!(!office.engine.log().contains("4711"));
    assert!(logged(&office.asterisk, "the hall has 5550411: TRANSFERRED code given").await);
    let stored = office.asterisk.dir.join("spool/recording").join(format!("{recording}.wav"));
    eventually(PATIENCE, "the call was recorded", async || (size(&stored) > 4_000).then_some(())).await;
    assert_gone(&office.asterisk, &office.engine, &record).await;
}

#[tokio::test]
async fn who_was_promised_a_call_is_called_at_his_own_number_and_nobody_else_is() {
    let office = Office::open().await;
    let _log = ShowLog(&office.engine);
    for (number, said) in [("5550412", "We will call you."), ("5550499", "We cannot call you.")] {
        let (_phone, caller) = office.call(number, "126").await;
        caller.wait_hangup(PATIENCE).await.expect("the bot says goodbye");
        let (_, turns) = office.engine.ended_call_of(number).await;
        let text = turns[0].reply.text.clone().unwrap_or_default();
        assert!(text.ends_with(said), "{text}");
    }
    let incoming = office.colleague.expect_call(PATIENCE).await.expect("it rings");
    assert_eq!(incoming.to_user(), "5550412");
    let back = incoming.answer().await.expect("it is there");
    back.wait_bot_speaks(PATIENCE).await.expect("the bot speaks");
    back.hang_up().await.expect("the call is up");
    assert!(office.colleague.expect_call(3 * SECOND).await.is_err(), "nobody else is called");
}

#[tokio::test]
async fn a_flow_asks_a_service_who_calls() {
    let office = Office::open().await;
    let _log = ShowLog(&office.engine);
    for (number, said) in [("5550413", "Hello Ada, this is visit 3."), ("5550414", "I do not know you.")] {
        let (_phone, caller) = office.call(number, "127").await;
        caller.wait_hangup(PATIENCE).await.expect("the bot says goodbye");
        let (_, turns) = office.engine.ended_call_of(number).await;
        let text = turns[0].reply.text.clone().unwrap_or_default();
        assert!(text.ends_with(said), "{text}");
    }
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |file| file.len())
}

async fn logged(asterisk: &AsteriskUnderTest, text: &str) -> bool {
    let log = asterisk.dir.join("log/messages.log");
    eventually(PATIENCE, text, async || std::fs::read_to_string(&log).ok()?.contains(text).then_some(true))
        .await
}
