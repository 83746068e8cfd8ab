//! The real `offhook run`, private to a test and gone with it.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use offhook::id::CallId;
use offhook::store::{CallRecord, Store, TurnRecord};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::asterisk::{AsteriskUnderTest, eventually};

/// Numbers that lead to the engine, and a line in Asterisk's log that tells where a caller went on behind `Stasis()`.
pub const DIALPLAN: &str = "
[offhook]
exten => 110,1,Stasis(bot,frontdesk)
 same => n,Goto(after,s,1)
exten => 111,1,Stasis(bot,quick)
 same => n,Goto(after,s,1)
exten => 113,1,Stasis(bot,talker)
 same => n,Goto(after,s,1)
exten => 112,1,Stasis(bot,nobody)
 same => n,Goto(after,s,1)

[after]
exten => s,1,Log(NOTICE,${CALLERID(num)} goes on: ${STASISSTATUS} ${OFFHOOK_STATUS})
 same => n,Answer()
 same => n,Playback(hello-world)
 same => n,Hangup()
";

/// A bot of few words, so that a test of it is short.
const QUICK: &str = r#"
[flow]
name = "quick"
first = "agree"
goodbye = "We are closing now. Goodbye."

[defaults]
no_input_ms = 2500
tries = 3
no_input = ["I did not hear you.", "I still cannot hear you."]
no_match = ["I did not get that.", "I still did not get that."]
give_up = { no_input = "silence", no_match = "lost" }

[grammars]
yes_no = "yes_no.jsgf"

[step.agree]
kind = "ask"
say = "Yes or no?"
grammar = "yes_no"
choices = [
  { meaning = "yes", key = "1", goto = "number" },
  { meaning = "no", key = "2", goto = "bye" },
]

[step.number]
kind = "collect"
say = "Four digits."
digits = 4
inter_digit_ms = 20000
into = "number"
goto = "bye"

[step.bye]
kind = "hang_up"
say = "Goodbye."

[step.silence]
kind = "hang_up"
say = "I hear nothing. Goodbye."

[step.lost]
kind = "hang_up"
say = "I understand nothing. Goodbye."
"#;

/// A bot that has a lot to say.
const TALKER: &str = r#"
[flow]
name = "talker"
first = "talk"
goodbye = "We are closing now. Please call again in a minute. Goodbye."

[step.talk]
kind = "ask"
say = "There is a lot to tell about this house, its rooms and its people, its garden and its trees, and about everybody who has lived in it since it was built."
choices = [{ key = "2", goto = "bye" }]
give_up = "bye"

[step.bye]
kind = "hang_up"
say = "Goodbye."
"#;

/// An engine with the bots `quick`, `talker` and, where it has ears, `frontdesk` (the one of `prompts/`), its store and its
/// recordings in a folder of its own.
///
/// It is killed when this is dropped, and also when this process ends in whatever way: a guard process waits for the end
/// of a pipe that only we hold.
pub struct EngineUnderTest {
    process: Guarded,
    folder: TempDir,
    env: Vec<(String, String)>,
}

/// What an engine should be like.
#[derive(Default)]
pub struct Settings<'a> {
    /// Whether it understands speech, and the front desk is there. Starting takes some seconds longer.
    pub ears: bool,
    /// Whether it records.
    pub recordings: bool,
    /// Variables of the environment, after all others.
    pub env: &'a [(&'a str, &'a str)],
    /// More of the configuration file, after all else.
    pub more: &'a str,
}

impl EngineUnderTest {
    /// Starts one that takes the calls of `asterisk`, and waits until it does.
    pub async fn start(asterisk: &AsteriskUnderTest, settings: Settings<'_>) -> Self {
        let folder = tempfile::Builder::new().prefix("offhook-it-engine-").tempdir().expect("a folder");
        let manifest = env!("CARGO_MANIFEST_DIR");
        let mut config = format!(
            "[asterisk]\nuser = '{}'\npassword = '{}'\n[engine]\nbot = 'quick'\n[media]\nthreads = 1\n\
             [bots.quick]\nflow = 'quick.toml'\n[bots.talker]\nflow = 'talker.toml'\ncapture = false\n",
            asterisk.user, asterisk.password
        );
        if settings.ears {
            config += &format!("[bots.frontdesk]\nflow = '{manifest}/prompts/frontdesk.toml'\n");
        } else {
            config += "[speech]\nrecognizer = 'none'\n";
        }
        config += settings.more;
        std::fs::write(folder.path().join("offhook.toml"), config).expect("a file");
        std::fs::write(folder.path().join("quick.toml"), QUICK).expect("a file");
        std::fs::write(folder.path().join("talker.toml"), TALKER).expect("a file");
        let path = |name: &str| folder.path().join(name).display().to_string();
        let mut env = vec![
            ("OFFHOOK_ASTERISK_URL".to_owned(), asterisk.ari_url.clone()),
            ("OFFHOOK_ASTERISK_APP".to_owned(), "bot".to_owned()),
            ("OFFHOOK_MEDIA_PORT".to_owned(), "0".to_owned()),
            ("OFFHOOK_STORE_PATH".to_owned(), path("calls.sqlite")),
        ];
        if settings.recordings {
            env.push(("OFFHOOK_RECORDING_FOLDER".to_owned(), path("recordings")));
            env.push(("OFFHOOK_MEDIA_CAPTURE".to_owned(), path("captures")));
        }
        env.extend(settings.env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let process = Guarded::start(folder.path(), &env, &[]);
        let mut this = Self { process, folder, env };
        this.ready(0).await;
        this
    }

    /// Starts it again on what it left behind, after its end.
    pub async fn start_again(&mut self) {
        assert!(self.process.child.try_wait().expect("it is our child").is_some(), "it has ended");
        let before = self.log().matches(READY).count();
        self.process = Guarded::start(self.folder.path(), &self.env, &[]);
        self.ready(before).await;
    }

    /// Starts another one that takes over from it, and waits until that one is ready and this one has ended.
    pub async fn take_over(&mut self) {
        let before = self.log().matches(READY).count();
        let next = Guarded::start(self.folder.path(), &self.env, &["--takeover"]);
        let mut old = std::mem::replace(&mut self.process, next);
        self.ready(before).await;
        let ended = eventually(Duration::from_secs(5), "the old engine ends", async || {
            old.child.try_wait().expect("it is our child")
        });
        assert_eq!(ended.await.code(), Some(0));
        // Its guard would remove the folder that both have.
        old.guard.stdin.take().map(|mut pipe| pipe.write_all(b"done\n"));
    }

    /// Gives a bot of the configuration another name, for the next start.
    pub fn rename_bot(&self, from: &str, to: &str) {
        let file = self.folder.path().join("offhook.toml");
        let config = std::fs::read_to_string(&file).expect("it is there");
        std::fs::write(&file, config.replace(&format!("[bots.{from}]"), &format!("[bots.{to}]")))
            .expect("a file");
    }

    async fn ready(&mut self, before: usize) {
        eventually(Duration::from_secs(60), "the engine is ready", async || {
            let ended = self.process.child.try_wait().expect("it is our child");
            assert!(ended.is_none(), "the engine ended at its start: {ended:?}");
            (self.log().matches(READY).count() > before).then_some(())
        })
        .await;
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join(LOG)).unwrap_or_default()
    }

    /// Waits until it has logged `text`.
    pub async fn logs(&self, text: &str, within: Duration) {
        eventually(within, text, async || self.log().contains(text).then_some(())).await;
    }

    /// Its store, to be read.
    pub async fn store(&self) -> Store {
        Store::open_to_read(&self.folder.path().join("calls.sqlite")).await.expect("the store is there")
    }

    /// The one call of this caller, once it is in the store.
    pub async fn call_of(&self, caller: &str) -> CallRecord {
        let store = self.store().await;
        eventually(Duration::from_secs(5), "the call is in the store", async || {
            let calls = store.latest_calls(1_000).await.expect("it can be read");
            let mut his = calls.into_iter().filter(|c| c.call.caller.as_deref() == Some(caller));
            let call = his.next()?.call;
            assert!(his.next().is_none(), "callers of tests call once");
            Some(call)
        })
        .await
    }

    /// The one call of this caller once it is over, and its turns.
    pub async fn ended_call_of(&self, caller: &str) -> (CallRecord, Vec<TurnRecord>) {
        let call = eventually(Duration::from_secs(10), "the call has ended in the store", async || {
            let call = self.call_of(caller).await;
            call.ended.is_some().then_some(call)
        })
        .await;
        let turns = self.store().await.turns(call.id).await.expect("it can be read");
        (call, turns)
    }

    /// Whether the state of this call is still kept for another process.
    pub async fn has_snapshot(&self, call: CallId) -> bool {
        let snapshots = self.store().await.snapshots().await.expect("it can be read");
        snapshots.iter().any(|snapshot| snapshot.call == call)
    }

    /// Where a call's capture is.
    pub fn capture(&self, call: CallId) -> PathBuf {
        self.folder.path().join("captures").join(format!("{call}.pcap"))
    }

    /// Where the part of a call's capture is that a second process made.
    pub fn second_capture(&self, call: CallId) -> PathBuf {
        self.folder.path().join("captures").join(format!("{call}-2.pcap"))
    }

    /// Where a call's recording is.
    pub fn recording(&self, call: CallId, extension: &str) -> PathBuf {
        self.folder.path().join("recordings").join(format!("{call}.{extension}"))
    }

    /// Runs `offhook` with the engine's configuration.
    pub async fn offhook(&self, args: &[&str]) -> Output {
        let config = self.folder.path().join("offhook.toml");
        offhook(args, &config, &self.env).await
    }

    /// Asks it to end.
    pub fn terminate(&self) {
        self.process.signal(Signal::TERM);
    }

    /// Ends it as a crash would.
    pub async fn crash(&mut self) {
        self.process.signal(Signal::KILL);
        self.ended(Duration::from_secs(5)).await;
    }

    /// Waits for its end.
    pub async fn ended(&mut self, within: Duration) -> ExitStatus {
        let child = &mut self.process.child;
        eventually(within, "the engine ends", async || child.try_wait().expect("it is our child")).await
    }
}

impl Drop for EngineUnderTest {
    fn drop(&mut self) {
        drop(ShowLog(self));
    }
}

/// Shows what the engine logged when the test fails.
pub struct ShowLog<'a>(pub &'a EngineUnderTest);

impl Drop for ShowLog<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the engine's log ---\n{}---", self.0.log());
        }
    }
}

/// `offhook` with arguments, a configuration and variables of the environment; killed after half a minute.
pub async fn offhook(args: &[&str], config: &Path, env: &[(String, String)]) -> Output {
    let mut command = tokio::process::Command::from(command(env));
    command.args(args).arg("--config").arg(config).kill_on_drop(true);
    let output = tokio::time::timeout(Duration::from_secs(30), command.output()).await;
    output.unwrap_or_else(|_| panic!("offhook {args:?} does not end")).expect("it runs")
}

const LOG: &str = "log";
const READY: &str = "ready for calls";

/// `offhook` in an environment of its own.
fn command(env: &[(String, String)]) -> Command {
    // Figures are those of a release build: OFFHOOK_TEST_PROGRAM names one.
    let program = std::env::var_os("OFFHOOK_TEST_PROGRAM");
    let mut command = Command::new(program.unwrap_or_else(|| env!("CARGO_BIN_EXE_offhook").into()));
    let strange = std::env::vars().map(|(name, _)| name).filter(|name| name.starts_with("OFFHOOK_"));
    strange.for_each(|name| {
        command.env_remove(name);
    });
    command.envs(env.iter().cloned()).current_dir(env!("CARGO_MANIFEST_DIR"));
    command.stdin(Stdio::null());
    command
}

/// A process that does not survive us.
struct Guarded {
    child: Child,
    /// Kills it and removes its folder when its standard input ends without a word.
    guard: Child,
}

impl Guarded {
    fn start(folder: &Path, env: &[(String, String)], more: &[&str]) -> Self {
        let log = File::options().create(true).append(true).open(folder.join(LOG)).expect("a log");
        let mut command = command(env);
        command.args(["run", "--config"]).arg(folder.join("offhook.toml")).args(more);
        command.env("NO_COLOR", "1").stdout(Stdio::null()).stderr(log);
        let child = command.spawn().expect("it starts");
        let guard = Command::new("bash")
            .args(["-c", r#"trap "" HUP INT TERM; read -r _ || { kill -KILL "$1"; rm -rf "$2"; }"#, "guard"])
            .arg(child.id().to_string())
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("bash is there");
        Self { child, guard }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).expect("a child has an id");
        // Not waited for yet, so that the id is still its own.
        kill_process(pid, signal).expect("it is there");
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(mut pipe) = self.guard.stdin.take() {
            let _ = pipe.write_all(b"done\n");
        }
        let _ = self.guard.wait();
    }
}
