//! The client against a server that plays a script; the real one is in tests/it/ami.rs.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::actions::{Console, DbPut, FaxStatistics, Originate, QueueStatus, Setvar};
use super::*;
use crate::asterisk::secret::Secret;

struct Far {
    stream: BufReader<TcpStream>,
}

impl Far {
    async fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = listener.accept().await.unwrap();
        let mut this = Self { stream: BufReader::new(stream) };
        this.say("Asterisk Call Manager/9.0.0\r\n").await;
        this
    }

    async fn say(&mut self, text: &str) {
        self.stream.get_mut().write_all(text.as_bytes()).await.unwrap();
    }

    /// The next action: its lines.
    async fn hear(&mut self) -> Vec<(String, String)> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            assert!(self.stream.read_line(&mut line).await.unwrap() > 0, "the client went away");
            let line = line.trim_end_matches(['\r', '\n']);
            if line.is_empty() {
                return lines;
            }
            let (key, value) = line.split_once(": ").unwrap();
            lines.push((key.to_owned(), value.to_owned()));
        }
    }

    /// The next action's name and id.
    async fn action(&mut self) -> (String, String) {
        let lines = self.hear().await;
        let get = |key: &str| lines.iter().find(|line| line.0 == key).map(|line| line.1.clone()).unwrap();
        (get("Action"), get("ActionID"))
    }

    async fn sign_in(&mut self) {
        let challenge = self.action().await;
        assert_eq!(challenge.0, "Challenge");
        self.say(&format!("Response: Success\r\nActionID: {}\r\nChallenge: 840415273\r\n\r\n", challenge.1))
            .await;
        let login = self.hear().await;
        let key = login.iter().find(|line| line.0 == "Key").expect("signs in by MD5");
        assert_eq!(key.1, "81c3ab5534a432bec402f6d988ee45b4");
        assert!(!login.iter().any(|line| line.1 == "secret"), "the secret itself stays with us");
        self.say(
            "Response: Success\r\nActionID: offhook-sign-in\r\n\r\nEvent: FullyBooted\r\nUptime: 1\r\n\r\n",
        )
        .await;
    }
}

async fn connect() -> (Ami, Far, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut config = AmiConfig::new(address, "offhook", Secret::new("secret"));
    config.timeout = Duration::from_secs(2);
    let ami = Ami::new(config).unwrap();
    let mut far = Far::accept(&listener).await;
    far.sign_in().await;
    assert_eq!(ami.ready(Duration::from_secs(5)).await.unwrap(), "9.0.0");
    (ami, far, listener)
}

#[tokio::test]
async fn a_list_of_a_thousand_events_between_two_other_actions_ends_up_where_it_belongs() {
    let (ami, mut far, _listener) = connect().await;
    let mut events = ami.events(&["Newchannel"]);
    let script = async {
        let list = far.action().await.1;
        let (setvar, put) = (far.action().await, far.action().await);
        assert_eq!((setvar.0.as_str(), put.0.as_str()), ("Setvar", "DBPut"));
        far.say(&format!("Response: Success\r\nActionID: {list}\r\nEventList: start\r\n\r\n")).await;
        for index in 0..1_000 {
            let mut text = format!("Event: QueueMember\r\nActionID: {list}\r\nPenalty: {index}\r\n\r\n");
            if index == 200 {
                text += &format!("Response: Success\r\nActionID: {}\r\n\r\n", setvar.1);
            }
            if index == 800 {
                text +=
                    &format!("Response: Error\r\nMessage: Family not found\r\nActionID: {}\r\n\r\n", put.1);
            }
            if index % 10 == 0 {
                text += &format!("Event: Newchannel\r\nUniqueid: {index}\r\n\r\n");
            }
            far.say(&text).await;
        }
        far.say(&format!("Event: QueueStatusComplete\r\nActionID: {list}\r\nEventList: Complete\r\n\r\n"))
            .await;
        far
    };
    let (list, setvar, put) = (QueueStatus::default(), Setvar::default(), DbPut::default());
    let asked = async { tokio::join!(ami.run(&list), ami.run(&setvar), ami.run(&put)) };
    let (_far, (list, setvar, put)) = tokio::join!(script, asked);
    let penalties: Vec<u32> = list.unwrap().members.iter().map(|member| member.penalty).collect();
    assert_eq!(penalties, (0..1_000).collect::<Vec<_>>());
    setvar.unwrap();
    assert!(put.unwrap_err().is_gone());
    for index in (0..1_000).step_by(10) {
        let Signal::Event(event) = events.next().await else { panic!("an event") };
        let events::EventKind::Newchannel(new) = event.kind() else { panic!("{event:?}") };
        assert_eq!(new.uniqueid, index.to_string());
    }
}

#[tokio::test]
async fn an_answer_that_is_an_event_is_waited_for_and_other_events_pass() {
    let (ami, mut far, _listener) = connect().await;
    let mut hangups = ami.events(&["Hangup"]);
    let script = async {
        let fax = far.action().await.1;
        let call = far.hear().await;
        assert!(call.contains(&("Async".into(), "true".into())), "{call:?}");
        let id = &call[1].1;
        far.say(&format!(
            "Event: OriginateResponse\r\nActionID: {id}\r\nResponse: Failure\r\nReason: 5\r\n\r\n"
        ))
        .await;
        far.say("Event: Hangup\r\nCause: 17\r\n\r\n").await;
        far.say(&format!("Response: Success\r\nActionID: {id}\r\n\r\n")).await;
        far.say(&format!(
            "Response: Success\r\nActionID: {fax}\r\nMessage: FAXStats event will follow\r\n\r\n"
        ))
        .await;
        far.say(&format!("Event: FAXStats\r\nActionID: {fax}\r\nCompletedFAXes: 3\r\n\r\n")).await;
    };
    let (stats, call) =
        (FaxStatistics::default(), Originate { channel: "Local/1@a".into(), ..Originate::default() });
    let asked = async { tokio::join!(ami.run(&stats), ami.run(&call)) };
    let ((), (stats, call)) = tokio::join!(script, asked);
    assert_eq!(stats.unwrap().completed, 3);
    let call = call.unwrap();
    assert!(!call.is_answered() && call.reason == 5);
    assert!(matches!(hangups.next().await, Signal::Event(event) if event.name() == "Hangup"));
}

#[tokio::test]
async fn an_outage_is_told_and_what_waits_for_an_answer_fails() {
    let (ami, mut far, listener) = connect().await;
    let mut events = ami.events(&[]);
    let command = Console { command: "core show version".into() };
    let (failed, ()) = tokio::join!(ami.run(&command), async {
        far.action().await;
        drop(far);
    });
    assert!(matches!(failed, Err(AmiError::Lost { .. })), "{failed:?}");
    assert_eq!(failed.unwrap_err().advice(), crate::asterisk::Advice::Retry);
    while !matches!(events.next().await, Signal::Disconnected { .. }) {}
    let mut far = Far::accept(&listener).await;
    far.sign_in().await;
    assert_eq!(events.next().await, Signal::Connected { first: false });
    assert_eq!(ami.counts().connections, 2);
    let (again, ()) = tokio::join!(ami.run(&command), async {
        let id = far.action().await.1;
        far.say(&format!("Response: Follows\r\nPrivilege: Command\r\nActionID: {id}\r\nAsterisk 1.4\n\nx: y\n--END COMMAND--\r\n\r\n"))
            .await;
    });
    assert_eq!(again.unwrap(), ["Asterisk 1.4", "", "x: y"]);
}

#[tokio::test]
async fn a_wrong_secret_is_told_at_once_and_shown_nowhere() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let ami = Ami::new(AmiConfig::new(address, "offhook", Secret::new("hunter2"))).unwrap();
    let mut far = Far::accept(&listener).await;
    let id = far.action().await.1;
    far.say(&format!("Response: Success\r\nActionID: {id}\r\nChallenge: 1\r\n\r\n")).await;
    far.action().await;
    far.say("Response: Error\r\nMessage: Authentication failed\r\n\r\n").await;
    let error = ami.ready(Duration::from_secs(10)).await.unwrap_err();
    assert!(matches!(error, AmiError::Disconnected { why: Why::Unauthorized, .. }), "{error}");
    assert!(error.to_string().contains("manager.conf"), "{error}");
    assert!(!format!("{error} {error:?} {ami:?}").contains("hunter2"));
}

#[tokio::test]
async fn an_action_that_cannot_be_one_is_not_sent() {
    let (ami, mut far, _listener) = connect().await;
    let evil = Setvar { variable: "A".into(), value: "1\r\nAction: Logoff".into(), ..Setvar::default() };
    assert!(matches!(ami.run(&evil).await, Err(AmiError::Unsendable { .. })));
    let fine = Setvar { variable: "A".into(), value: "1".into(), ..Setvar::default() };
    let (answer, ()) = tokio::join!(ami.run(&fine), async {
        let (name, id) = far.action().await;
        assert_eq!(name, "Setvar");
        far.say(&format!("Response: Success\r\nActionID: {id}\r\n\r\n")).await;
    });
    answer.unwrap();
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_a_time_out_and_the_connection_stays() {
    let (ami, mut far, _listener) = connect().await;
    let slow = Console { command: "slow".into() };
    let (lost, id) = tokio::join!(ami.run(&slow), async { far.action().await.1 });
    assert!(matches!(lost, Err(AmiError::Timeout { .. })), "{lost:?}");
    let mut events = ami.events(&[]);
    far.say(&format!("Response: Success\r\nActionID: {id}\r\n\r\nEvent: After\r\n\r\n")).await;
    assert!(matches!(events.next().await, Signal::Event(event) if event.name() == "After"));
}
