//! AGI against a real Asterisk, 22 and 16: the table of commands, FastAGI, Asynchronous AGI.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use offhook::asterisk::agi::{
    AgiError, AsyncAgi, COMMANDS, ChannelState, Command, Patience, Router, Server, ServerConfig, Session,
};
use offhook::asterisk::ami::actions::Command as _;
use offhook::asterisk::ami::actions::{Console, CoreShowChannels, DbGet, Hangup, Originate, Status};
use offhook::asterisk::ami::{Ami, AmiConfig};
use offhook::asterisk::secret::Secret;
use tokio::sync::{Barrier, mpsc};

use crate::support::asterisk::eventually;
use crate::support::{AsteriskUnderTest, Wanted};

const PATIENCE: Duration = Duration::from_secs(30);

const DIALPLAN: &str = "[doors]\n\
    exten => wait,1,Answer()\n same => n,Wait(120)\n\
    exten => agi,1,AGI(agi://127.0.0.1:${PORT}/${SCRIPT}?lang=de,one,two words)\n same => n,Wait(60)\n\
    exten => async,1,Answer()\n same => n,AGI(agi:async,${SCRIPT})\n same => n,Set(DB(doors/after)=${AGISTATUS})\n same => n,Wait(60)\n\
    exten => sub,1,Set(DB(doors/sub)=${ARG1})\n same => n,Return()\n";

async fn start(version: &'static str) -> (AsteriskUnderTest, Ami) {
    let extra = vec![("extensions.conf", DIALPLAN.to_owned())];
    let server =
        AsteriskUnderTest::start_own(Wanted { version: Some(version), extra, ..Wanted::default() }).await;
    let mut config = AmiConfig::new(server.ami_addr.to_string(), server.user, Secret::new(server.password));
    config.timeout = PATIENCE;
    let ami = Ami::new(config).unwrap();
    ami.ready(PATIENCE).await.unwrap();
    (server, ami)
}

async fn fast_agi(router: Router) -> Server {
    let config = ServerConfig { bind: ([127, 0, 0, 1], 0).into(), ..ServerConfig::default() };
    Server::start(config, router).await.unwrap()
}

/// A call whose one half waits and whose other half runs the extension.
fn call(extension: &str, script: &str, port: u16) -> Originate {
    Originate {
        channel: format!("Local/{extension}@doors"),
        context: Some("doors".into()),
        extension: Some("wait".into()),
        priority: Some("1".into()),
        variables: vec![("__SCRIPT".into(), script.into()), ("__PORT".into(), port.to_string())],
        ..Originate::default()
    }
}

async fn table_is_the_servers(version: &'static str) {
    let (_server, ami) = start(version).await;
    let lines = ami.run(&Console { command: "agi show commands".into() }).await.unwrap();
    let mut theirs = BTreeSet::new();
    for line in &lines {
        let line = line.trim_start();
        let Some((dead, rest)) = line.split_once(' ') else { continue };
        if !["Yes", "No"].contains(&dead) {
            continue;
        }
        let name = rest.trim_start().split("   ").next().unwrap().trim();
        theirs.insert((name.to_owned(), dead == "Yes"));
    }
    let ours: BTreeSet<_> = COMMANDS.iter().map(|known| (known.name.to_owned(), known.dead)).collect();
    println!("Asterisk {version}: {}/{} AGI commands", ours.intersection(&theirs).count(), theirs.len());
    assert_eq!(theirs.difference(&ours).collect::<Vec<_>>(), Vec::<&(String, bool)>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_22_is_in_our_table() {
    table_is_the_servers("22").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_16_is_in_our_table() {
    table_is_the_servers("16").await;
}

/// What can be done with a Local channel, the same over every way.
async fn walk(session: Session, over_ami: bool) -> Result<(), AgiError> {
    session.answer().await?;
    assert_eq!(session.channel_status(None).await?, ChannelState::Up);
    let nasty = r#"a "b" \c, ${X} & (d) é"#;
    session.set_variable("DOORS_A", nasty).await?;
    assert_eq!(session.get_variable("DOORS_A").await?.as_deref(), Some(nasty));
    assert_eq!(session.get_variable("DOORS_NONE").await?, None);
    assert_eq!(session.get_full_variable("<${DOORS_A}>", None).await?, Some(format!("<{nasty}>")));
    session.database_put("doors", "key", nasty).await?;
    assert_eq!(session.database_get("doors", "key").await?.as_deref(), Some(nasty));
    session.database_del("doors", "key").await?;
    session.database_del("doors", "key").await?;
    assert_eq!(session.database_get("doors", "key").await?, None);
    session.database_put("doorstree", "a/b", "1").await?;
    session.database_deltree("doorstree", Some("a")).await?;
    assert_eq!(session.database_get("doorstree", "a/b").await?, None);
    assert_eq!(session.exec("Set", "DOORS_B=1").await?, 0);
    assert_eq!(session.get_variable("DOORS_B").await?.as_deref(), Some("1"));
    assert_eq!(session.exec("NoSuchApplication", "").await, Err(AgiError::Failed { command: "EXEC" }));
    session.gosub("doors", "sub", "1", Some("x y")).await?;
    assert_eq!(session.database_get("doors", "sub").await?.as_deref(), Some("x y"));
    session.noop("nothing").await?;
    session.verbose("a line of the log", 3).await?;
    session.set_callerid("5550100").await?;
    session.set_context("doors").await?;
    session.set_extension("wait").await?;
    session.set_priority("1").await?;
    session.set_autohangup(0).await?;
    session.set_music(None).await?;
    let played = session.stream_file("beep", "#", None).await?;
    assert!(played.digit.is_none() && played.endpos.is_some_and(|end| end > 0), "{played:?}");
    // Asynchronous AGI ends with the first command that fails.
    if !over_ami {
        assert_eq!(
            session.stream_file("no-such-file", "", None).await,
            Err(AgiError::Failed { command: "STREAM FILE" })
        );
    }
    session.say_digits("12", "#").await?;
    session.say_number(7, "#").await?;
    let keys = session.get_data("beep", Duration::from_millis(50), 2).await?;
    assert!(keys.timed_out && keys.digits.is_empty(), "{keys:?}");
    assert_eq!(session.get_option("beep", "12", Duration::from_millis(50)).await?.digit, None);
    assert_eq!(session.wait_for_digit(Some(Duration::from_millis(50))).await?, None);
    session.send_text("hello").await?;
    assert!(session.speech_create("none").await.is_err());
    let unknown = session.send(Command::new("NO SUCH COMMAND")).await;
    assert!(matches!(unknown, Err(AgiError::Unknown { .. })), "{unknown:?}");
    let wrong = session.send(Command::new("SET VARIABLE").with("only one")).await;
    assert!(
        matches!(&wrong, Err(AgiError::Usage { usage, .. }) if usage.contains("Sets a variable")),
        "{wrong:?}"
    );
    Ok(())
}

async fn commands_over_fast_agi(version: &'static str) {
    let (_server, ami) = start(version).await;
    let (told, mut tell) = mpsc::channel(2);
    let router = Router::new().on("desk/walk", move |session: Session| {
        let told = told.clone();
        async move {
            let env = session.environment();
            assert_eq!(env.query(), [("lang".to_owned(), "de".to_owned())]);
            assert_eq!(env.arguments(), ["one", "two words"]);
            let done = walk(session, false).await;
            told.send(done.clone()).await.unwrap();
            done
        }
    });
    let server = fast_agi(router).await;
    let calling = call("agi", "desk/walk", server.address().port());
    let (answered, done) = tokio::join!(ami.run(&calling), tokio::time::timeout(PATIENCE, tell.recv()));
    assert!(answered.unwrap().is_answered());
    assert_eq!(done.expect("in time"), Some(Ok(())));
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_do_what_they_say_on_22() {
    commands_over_fast_agi("22").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_do_what_they_say_on_16() {
    commands_over_fast_agi("16").await;
}

async fn commands_over_ami(version: &'static str) {
    let (_server, ami) = start(version).await;
    let (told, mut tell) = mpsc::channel(2);
    let router = Router::new().on("walk", move |session: Session| {
        let told = told.clone();
        async move {
            let done = walk(session.clone(), true).await;
            session.set_extension("async").await?;
            session.set_priority("3").await?;
            told.send(done.clone()).await.unwrap();
            done
        }
    });
    let desk = AsyncAgi::start(ami.clone(), router, 10, Patience::default());
    let calling = call("async", "walk", 0);
    let (answered, done) = tokio::join!(ami.run(&calling), tokio::time::timeout(PATIENCE, tell.recv()));
    assert!(answered.unwrap().is_answered());
    assert_eq!(done.expect("in time"), Some(Ok(())));
    assert_eq!(desk.sessions(), 1);
    // The dialplan goes on after the handler.
    let get = DbGet { family: "doors".into(), key: "after".into() };
    let after = eventually(PATIENCE, "the dialplan goes on", async || ami.run(&get).await.ok()).await;
    assert_eq!(after, "SUCCESS");
    // A script of somebody else's is left to them.
    let theirs = ami.run(&call("async", "theirs", 0)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let status = Status { channel: Some(theirs.channel.clone()), ..Status::default() };
    assert_eq!(ami.run(&status).await.unwrap().len(), 1);
    assert_eq!((desk.sessions(), desk.turned_away()), (1, 0));
    ami.run(&Hangup { channel: theirs.channel, cause: None }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_commands_over_ami_on_22() {
    commands_over_ami("22").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_commands_over_ami_on_16() {
    commands_over_ami("16").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hang_up_is_seen_at_once_in_and_between_commands() {
    let (_server, ami) = start("22").await;
    let (told, mut tell) = mpsc::channel(4);
    let ready = Arc::new(Barrier::new(3));
    let handler = |inside: bool| {
        let (told, ready) = (told.clone(), ready.clone());
        move |session: Session| {
            let (told, ready) = (told.clone(), ready.clone());
            async move {
                session.answer().await?;
                ready.wait().await;
                let ended = if inside {
                    session.wait_for_digit(None).await.map(drop)
                } else {
                    session.while_there(std::future::pending()).await
                };
                let later = session.noop("").await;
                let last = session.last_words().set_variable("DOORS_LAST", "1").await;
                told.send((ended, later, last)).await.unwrap();
                Ok(())
            }
        }
    };
    let router = Router::new().on("in", handler(true)).on("between", handler(false));
    let server = fast_agi(router).await;
    let port = server.address().port();
    let (one, two) = (call("agi", "in", port), call("agi", "between", port));
    let (a, b, _) = tokio::join!(ami.run(&one), ami.run(&two), ready.wait());
    let (a, b) = (a.unwrap(), b.unwrap());
    assert!(a.is_answered() && b.is_answered());
    for called in [a, b] {
        let since = tokio::time::Instant::now();
        ami.run(&Hangup { channel: called.channel, cause: None }).await.unwrap();
        let (ended, later, last) = tokio::time::timeout(PATIENCE, tell.recv()).await.unwrap().unwrap();
        println!("hang-up seen after {:?}", since.elapsed());
        assert!(since.elapsed() < Duration::from_secs(2));
        assert_eq!((ended, later), (Err(AgiError::HungUp), Err(AgiError::HungUp)));
        assert!(last.is_ok(), "{last:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_sessions_at_once() {
    const SESSIONS: usize = 200;
    let (_server, ami) = start("22").await;
    let together = Arc::new(Barrier::new(SESSIONS));
    let right = Arc::new(AtomicUsize::new(0));
    let router = Router::new().on("many", {
        let (together, right) = (together.clone(), right.clone());
        move |session: Session| {
            let (together, right) = (together.clone(), right.clone());
            async move {
                session.answer().await?;
                let own = session.environment().uniqueid().to_owned();
                session.set_variable("OWN", &own).await?;
                // From here on all of them are up.
                together.wait().await;
                for index in 0..20 {
                    session.noop(&index.to_string()).await?;
                    let read = session.get_variable("OWN").await?;
                    assert_eq!(read.as_deref(), Some(own.as_str()));
                }
                right.fetch_add(1, Ordering::Relaxed);
                session.hangup(None).await
            }
        }
    });
    let server = fast_agi(router).await;
    let port = server.address().port();
    for _ in 0..SESSIONS {
        let action = call("agi", "many", port).action().ends_with_response();
        ami.send(&action).await.unwrap();
    }
    eventually(Duration::from_secs(60), "all sessions are done", async || {
        (right.load(Ordering::Relaxed) == SESSIONS).then_some(())
    })
    .await;
    let counts = server.counts();
    println!("{} sessions, {} at once", counts.sessions, counts.most_at_once);
    assert_eq!((counts.sessions, counts.most_at_once, counts.failed), (200, 200, 0));
    eventually(PATIENCE, "no channel is left", async || {
        ami.run(&CoreShowChannels::default()).await.unwrap().is_empty().then_some(())
    })
    .await;
}
