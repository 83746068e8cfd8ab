//! What the engine makes of the other doors, against a real Asterisk: routing by AGI, call files, CDR and CEL, and AGI as a
//! process.

use std::io::{BufRead as _, Write as _};
use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::time::Duration;

use offhook::asterisk::ami::actions::{DbDelTree, DbGet, Originate};
use offhook::asterisk::ami::{Ami, AmiConfig};
use offhook::asterisk::callfile::{CallFile, Outcome, Spool, Then};
use offhook::asterisk::cdr::{CallRecords, Disposition};
use offhook::asterisk::secret::Secret;
use offhook::engine::{Config, Doors};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use offhook::phone::script::Step;

use crate::support::asterisk::eventually;
use crate::support::caller::{HANGS_UP, SILENT, connected, phone, play, press, say};
use crate::support::engine::Settings;
use crate::support::{AsteriskUnderTest, EngineUnderTest, Wanted};

const PATIENCE: Duration = Duration::from_secs(30);

const DIALPLAN: &str = "[doors]\n\
    exten => wait,1,Answer()\n same => n,Wait(60)\n\
    exten => short,1,Answer()\n same => n,Wait(1)\n same => n,Hangup()\n\
    exten => _X.,1,Set(CALLERID(num)=${FROM})\n same => n,AGI(agi://127.0.0.1:${PORT}/route)\n\
    \x20same => n,Set(DB(doors/route)=${OFFHOOK_ROUTE}:${OFFHOOK_TARGET}:${OFFHOOK_CONTEXT}:${OFFHOOK_RULE})\n\
    exten => _8X.,1,AGI(agi:async,route)\n\
    \x20same => n,Set(DB(doors/route)=${OFFHOOK_ROUTE}:${OFFHOOK_TARGET}:${OFFHOOK_CONTEXT}:${OFFHOOK_RULE})\n";

async fn start(extra: Vec<(&'static str, String)>) -> (AsteriskUnderTest, Ami) {
    let mut dialplan = DIALPLAN.to_owned();
    let (more, mut all): (Vec<_>, Vec<_>) =
        extra.into_iter().partition(|(file, _)| *file == "extensions.conf");
    more.iter().for_each(|(_, text)| dialplan.push_str(text));
    all.push(("extensions.conf", dialplan));
    let server = AsteriskUnderTest::start_own(Wanted { extra: all, ..Wanted::default() }).await;
    let config = AmiConfig::new(server.ami_addr.to_string(), server.user, Secret::new(server.password));
    let ami = Ami::new(config).unwrap();
    ami.ready(PATIENCE).await.unwrap();
    (server, ami)
}

/// What the dialplan is told for a call.
async fn routed(ami: &Ami, port: u16, called: &str, from: &str) -> String {
    ami.run(&DbDelTree { family: "doors".into(), key: None }).await.ok();
    let call = Originate {
        channel: format!("Local/{called}@doors"),
        context: Some("doors".into()),
        extension: Some("wait".into()),
        priority: Some("1".into()),
        timeout: Some(1_000),
        variables: vec![("__PORT".into(), port.to_string()), ("__FROM".into(), from.into())],
        ..Originate::default()
    };
    ami.run(&call).await.unwrap();
    let get = DbGet { family: "doors".into(), key: "route".into() };
    eventually(PATIENCE, "the route is told", async || ami.run(&get).await.ok()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dialplan_is_told_where_calls_go() {
    let (server, ami) = start(Vec::new()).await;
    // A look-up that knows one number, is slow about another and talks nonsense about the rest.
    let crm = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let crm_port = crm.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = crm.accept().await.unwrap();
            tokio::spawn(async move {
                let mut request = vec![0; 4_096];
                let length = stream.read(&mut request).await.unwrap();
                let line =
                    String::from_utf8_lossy(&request[..length]).lines().next().unwrap_or_default().to_owned();
                let body = if line.contains("caller=5550001") {
                    r#"{"extension":"42","context":"vip"}"#
                } else if line.contains("caller=5550002") {
                    tokio::time::sleep(Duration::from_secs(5)).await;
                    r#"{"bot":"desk"}"#
                } else if line.contains("caller=5550003") {
                    r#"{"extension":"1&PJSIP/2","context":"vip"}"#
                } else {
                    "{}"
                };
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("offhook.toml");
    let text = format!(
        "[ami]\naddress = '{}'\nsecret = 'offhook'\n[agi]\nbind = '127.0.0.1:0'\nover_ami = true\n[bots.desk]\nflow = 'desk.toml'\n\
         [[route]]\ncalled = '_1XX'\nbot = 'desk'\n\
         [[route]]\nname = 'evening'\ncalled = '_2.'\nhours = '00:00-24:00'\nqueue = 'sales'\n\
         [[route]]\ncalled = '_3.'\nlookup = 'http://127.0.0.1:{crm_port}/route'\nlookup_timeout_ms = 400\nqueue = 'crm'\n\
         [[route]]\ncalled = '_8.'\nrefuse = 'busy'\n",
        server.ami_addr
    );
    std::fs::write(&file, text).unwrap();
    let config = Config::load(&file, std::iter::empty()).unwrap();
    let doors = Doors::open(&config, || 3).await.unwrap();
    let port = doors.fast_agi().unwrap().address().port();
    doors.ami().unwrap().ready(PATIENCE).await.unwrap();
    for (called, from, told) in [
        ("100", "5550001", "bot:desk::1"),
        ("200", "5550001", "queue:sales::evening"),
        ("300", "5550001", "extension:42:vip:3"),
        ("300", "5550002", "queue:crm::3"),
        ("300", "5550003", "queue:crm::3"),
        ("300", "5550004", "queue:crm::3"),
        ("999", "5550001", "bot:desk::default"),
        // Over AMI.
        ("8123", "5550001", "refuse:busy::4"),
    ] {
        assert_eq!(routed(&ami, port, called, from).await, told, "{called} from {from}");
    }
    drop(doors);
    // A full engine takes no more.
    let doors = Doors::open(&config, || usize::MAX).await.unwrap();
    let port = doors.fast_agi().unwrap().address().port();
    assert_eq!(routed(&ami, port, "100", "5550001").await, "refuse:congestion::default");
}

#[tokio::test(flavor = "multi_thread")]
async fn call_files_are_calls_and_their_results_are_read_back() {
    let (server, ami) = start(Vec::new()).await;
    let spool = Spool::new(server.dir.join("spool"));
    std::fs::create_dir_all(spool.done()).unwrap();
    let plain = |text: &str| text.parse().unwrap();
    let then = || Then::Dialplan { context: plain("doors"), extension: plain("short"), priority: plain("1") };
    let mut records = ami.events(&["VarSet"]);
    let good = CallFile::dial("Local/wait@doors", then()).variable(&plain("DOORS_FILE"), "x=y; z");
    spool.submit(&plain("good"), &good).unwrap();
    let bad = CallFile::dial("Local/nothing@doors", then()).retries(0, Duration::from_secs(1));
    spool.submit(&plain("bad"), &bad).unwrap();
    let later = offhook::time::WallTime(offhook::time::WallTime::now().0 + 3_600_000);
    spool.submit(&plain("later"), &good.clone().not_before(later)).unwrap();
    let outcome = async |name: &str, wanted: Outcome| {
        eventually(PATIENCE, name, async || (spool.outcome(&plain(name)).unwrap() == wanted).then_some(()))
            .await;
    };
    outcome("good", Outcome::Completed).await;
    outcome("bad", Outcome::Expired).await;
    outcome("later", Outcome::Waiting).await;
    assert!(spool.withdraw(&plain("later")).unwrap());
    let set = loop {
        let offhook::asterisk::ami::Signal::Event(event) = records.next().await else { continue };
        if event.message.get("Variable") == Some("DOORS_FILE") {
            break event;
        }
    };
    assert_eq!(set.message.get("Value"), Some("x=y; z"));
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_a_call_come_together_over_ami() {
    let extra = vec![
        ("cdr_manager.conf", include_str!("../../asterisk/cdr_manager.conf").to_owned()),
        ("cel.conf", include_str!("../../asterisk/cel.conf").to_owned()),
    ];
    let (_server, ami) = start(extra).await;
    let mut events = CallRecords::events(&ami);
    let mut records = CallRecords::new(100);
    let call = Originate {
        channel: "Local/short@doors".into(),
        application: Some("Wait".into()),
        data: Some("2".into()),
        ..Originate::default()
    };
    let answered = ami.run(&call).await.unwrap();
    assert!(answered.is_answered());
    let id = answered.uniqueid.clone();
    let both = |records: &CallRecords| {
        records.get(&id).is_some_and(|call| call.is_over() && !call.details.is_empty())
    };
    tokio::time::timeout(PATIENCE, records.follow(&mut events, both)).await.expect("the call ends");
    let call = records.take(&id).unwrap();
    println!("{} records, {} steps, billsec {:?}", call.details.len(), call.steps.len(), call.billsec());
    assert_eq!(call.disposition(), Some(Disposition::Answered));
    assert!(call.billsec().is_some_and(|seconds| seconds <= 3));
    assert!(call.steps.iter().filter(|step| step.event == "CHAN_START").count() >= 2);
}

#[tokio::test]
async fn what_asterisk_says_of_a_call_is_shown_with_it() {
    let extra = vec![
        ("extensions.conf", crate::support::engine::DIALPLAN.to_owned()),
        ("cdr_manager.conf", include_str!("../../asterisk/cdr_manager.conf").to_owned()),
        ("cel.conf", include_str!("../../asterisk/cel.conf").to_owned()),
    ];
    let asterisk = AsteriskUnderTest::start_own(Wanted { extra, ..Wanted::default() }).await;
    let ami = asterisk.ami_addr.to_string();
    let env = [("OFFHOOK_AMI_ADDRESS", ami.as_str()), ("OFFHOOK_AMI_SECRET", asterisk.password)];
    let engine = EngineUnderTest::start(&asterisk, Settings { env: &env, ..Settings::default() }).await;
    engine.logs("signed in", PATIENCE).await;
    let caller = phone("5559001").await;
    let call = connected(&caller, &asterisk, "111").await;
    play(&call, vec![SILENT, press("2"), HANGS_UP]).await;
    let (record, _) = engine.ended_call_of("5559001").await;
    let told = eventually(PATIENCE, "CDR and CEL", async || {
        let told = engine.store().await.server_record(record.id).await.unwrap()?;
        let over = told.steps.iter().any(|step| step.event == "LINKEDID_END");
        (over && !told.details.is_empty()).then_some(told)
    })
    .await;
    assert!(told.whole && told.billed_seconds.is_some(), "{:?}", told.steps);
    let own = told.details.iter().find(|detail| detail.source.as_deref() == Some("5559001"));
    let own = own.expect("a record of the caller's");
    assert_eq!((own.disposition.as_str(), own.destination.as_deref()), ("ANSWERED", Some("111")));
    let shown = engine.offhook(&["calls", record.id.as_str()]).await;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    println!("{shown}");
    assert!(shown.contains("  cdr  5559001 → 111, answered") && shown.contains("BRIDGE_ENTER"), "{shown}");
    let listed = engine.offhook(&["calls"]).await;
    assert!(String::from_utf8_lossy(&listed.stdout).contains("BILLED"));
}

#[tokio::test]
async fn an_engine_says_at_its_start_which_of_its_doors_are_open() {
    let asterisk = crate::support::asterisk().await;
    let open = [
        ("OFFHOOK_ASTERISK_APP", "it-open-doors"),
        ("OFFHOOK_MEDIA_BIND", "0.0.0.0"),
        ("OFFHOOK_MEDIA_ADVERTISE", "127.0.0.1"),
        ("OFFHOOK_MEDIA_TRANSPORT", "audiosocket"),
        ("OFFHOOK_MEDIA_AUDIOSOCKET_PORT", "0"),
        ("OFFHOOK_AGI_BIND", "127.0.0.1:0"),
    ];
    let engine = EngineUnderTest::start(asterisk, Settings { env: &open, ..Settings::default() }).await;
    engine.logs("ready for calls", PATIENCE).await;
    let log = engine.log();
    let warnings: Vec<&str> = log.lines().filter(|line| line.contains("these doors are open")).collect();
    assert_eq!(warnings.len(), 1, "{log}");
    assert!(
        warnings[0].contains("AudioSocket on 0.0.0.0:") && warnings[0].contains("under [media]"),
        "{log}"
    );
    assert!(!warnings[0].contains("FastAGI"), "{log}");
    assert!(log.contains("FastAGI on 127.0.0.1:0 (this machine alone, no password)"), "{log}");
}

/// Asterisk may run in a root of its own: there the program is found by way of this very process.
fn eagi_script(server: &AsteriskUnderTest, arguments: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let (program, house) = (env!("CARGO_BIN_EXE_offhook"), env!("CARGO_MANIFEST_DIR"));
    let command = format!("unset OFFHOOK_TEST_PROGRAM; cd '{house}' && exec '{program}' {arguments}");
    let text = format!(
        "#!/bin/sh\n[ -x '{program}' ] && {{ {command}; }}\nexec chroot /proc/{}/root /bin/sh -c \"{command}\"\n",
        std::process::id()
    );
    let file = server.dir.join("spool/eagi");
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_on_a_real_channel_says_digits_to_a_program_with_eagi() {
    let dialplan = "[offhook](+)\nexten => 700,1,Answer()\n same => n,EAGI(${ASTSPOOLDIR}/eagi)\n\
        \x20same => n,Set(DB(doors/heard)=${SAID_STATUS}:${SAID}:${AGISTATUS})\n same => n,Wait(5)\n";
    let (server, ami) = start(vec![("extensions.conf", dialplan.to_owned())]).await;
    eagi_script(
        &server,
        "agi listen --grammar digits:4 --variable SAID --wait 30 --prompt please-try-call-later",
    );
    let caller = phone("5559002").await;
    let call = connected(&caller, &server, "700").await;
    // The prompt says that the program is there.
    play(&call, vec![Step::BotSpeaks { within: PATIENCE }, SILENT, say("one two three four").await]).await;
    let get = DbGet { family: "doors".into(), key: "heard".into() };
    let heard = eventually(PATIENCE, "the dialplan goes on", async || ami.run(&get).await.ok()).await;
    assert_eq!(
        heard,
        "MATCH:1234:SUCCESS",
        "{}",
        std::fs::read_to_string(server.dir.join("log/console.log")).unwrap()
    );
}

/// Eight seconds that begin with a spoken word, as EAGI would give them.
fn spoken(text: &str, file: &Path) {
    use offhook::audio::Rate;
    use offhook::speech::flite::{FliteConfig, FliteSynthesizer};
    use offhook::speech::{Synthesizer as _, Utterance};
    let flite = FliteSynthesizer::new(FliteConfig::default()).unwrap();
    let said = Utterance { text: text.into(), voice: None, rate: Rate::Hz8000 };
    let mut stream = flite.synthesize(&said);
    let mut samples = vec![0_i16; 4_000];
    while let Some(chunk) = stream.chunks.blocking_recv() {
        samples.extend(chunk.unwrap());
    }
    samples.resize(64_000, 0);
    let bytes: Vec<u8> = samples.into_iter().flat_map(i16::to_le_bytes).collect();
    std::fs::write(file, bytes).unwrap();
}

/// Runs `offhook agi listen` as Asterisk would: what it says is answered line by line; what it said, and its last words.
fn listen(audio: &Path, enhanced: &str) -> (Vec<String>, bool, String) {
    let mut process = Process::new("bash")
        .args(["-c", "exec 3<\"$2\"; exec \"$1\" agi listen --grammar yes_no --variable SAID", "bash"])
        .arg(env!("CARGO_BIN_EXE_offhook"))
        .arg(audio)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_remove("OFFHOOK_TEST_PROGRAM")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = process.stdin.take().unwrap();
    write!(input, "agi_request: offhook\nagi_channel: Local/1\nagi_enhanced: {enhanced}\n\n").unwrap();
    let mut said = Vec::new();
    for line in std::io::BufReader::new(process.stdout.take().unwrap()).lines() {
        said.push(line.unwrap());
        writeln!(input, "200 result=1").unwrap();
    }
    let ended = process.wait_with_output().unwrap();
    (said, ended.status.success(), String::from_utf8_lossy(&ended.stderr).into_owned())
}

#[test]
fn a_process_with_eagi_hears_the_caller_and_sets_variables() {
    let folder = tempfile::tempdir().unwrap();
    let audio = folder.path().join("audio");
    spoken("yes", &audio);
    let (lines, fine, error) = listen(&audio, "1.0");
    assert!(fine, "{lines:?} {error}");
    assert_eq!(lines[..3], ["ANSWER", r#"SET VARIABLE "SAID" "yes""#, r#"SET VARIABLE "SAID_TEXT" "yes""#]);
    assert!(lines[3].starts_with(r#"SET VARIABLE "SAID_CONFIDENCE" ""#), "{lines:?}");
    assert_eq!(lines[4], r#"SET VARIABLE "SAID_STATUS" "MATCH""#);
    std::fs::write(&audio, vec![0; 160_000]).unwrap();
    let (lines, fine, error) = listen(&audio, "1.0");
    assert!(fine && lines == ["ANSWER", r#"SET VARIABLE "SAID_STATUS" "NOINPUT""#], "{lines:?} {error}");
    let (lines, fine, error) = listen(&audio, "0.0");
    assert!(lines.is_empty() && !fine && error.contains("EAGI("), "{lines:?} {error}");
}
