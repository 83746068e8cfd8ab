//! Sessions against an Asterisk that plays a script; the real one is in tests/it/agi.rs.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::*;

struct Far(BufReader<TcpStream>);

impl Far {
    async fn call(server: &Server, script: &str) -> Self {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        let hello = format!(
            "agi_network: yes\nagi_network_script: {script}\nagi_request: agi://h/{script}\nagi_channel: Local/1\n\n"
        );
        stream.write_all(hello.as_bytes()).await.unwrap();
        Self(BufReader::new(stream))
    }

    async fn hear(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).await.unwrap();
        line.trim_end().to_owned()
    }

    async fn say(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).await.unwrap();
    }
}

async fn server(router: Router) -> Server {
    let config = ServerConfig { bind: ([127, 0, 0, 1], 0).into(), ..ServerConfig::default() };
    Server::start(config, router).await.unwrap()
}

/// A server whose one handler tells what it did.
async fn with<H: AsyncHandler>(handler: H) -> (Server, mpsc::Receiver<Result<(), AgiError>>) {
    let (told, tell) = mpsc::channel(10);
    let handler = std::sync::Arc::new(handler);
    let router = Router::new().on("test", move |session: Session| {
        let (told, handler) = (told.clone(), handler.clone());
        async move {
            let done = handler.go(session).await;
            told.send(done.clone()).await.unwrap();
            done
        }
    });
    (server(router).await, tell)
}

trait AsyncHandler: Send + Sync + 'static {
    fn go(&self, session: Session) -> impl Future<Output = Result<(), AgiError>> + Send;
}

impl<F, Done> AsyncHandler for F
where
    F: Fn(Session) -> Done + Send + Sync + 'static,
    Done: Future<Output = Result<(), AgiError>> + Send,
{
    fn go(&self, session: Session) -> impl Future<Output = Result<(), AgiError>> + Send {
        self(session)
    }
}

#[tokio::test]
async fn a_handler_gives_commands_and_the_dialplan_goes_on() {
    let (server, mut told) = with(|session: Session| async move {
        session.answer().await?;
        assert_eq!(session.get_variable("A").await?.as_deref(), Some("x (y)"));
        assert_eq!(session.get_variable("NONE").await?, None);
        let keys = session.get_data("beep", Duration::from_secs(1), 4).await?;
        assert_eq!((keys.digits.as_str(), keys.timed_out), ("12", true));
        let played = session.stream_file("hi", "#", None).await?;
        assert_eq!(played, Played { digit: Some('#'), endpos: Some(800) });
        assert_eq!(session.exec("Nonsense", "").await, Err(AgiError::Failed { command: "EXEC" }));
        assert_eq!(session.tdd_mode(Tdd::On).await, Err(AgiError::Unknown { command: "TDD MODE" }));
        let wrong = session.say_digits("a", "").await;
        assert!(matches!(wrong, Err(AgiError::Usage { usage, .. }) if usage.contains("Usage: SAY")));
        Ok(())
    })
    .await;
    let mut far = Far::call(&server, "test?a=b").await;
    for (heard, answer) in [
        ("ANSWER", "200 result=0"),
        ("GET VARIABLE \"A\"", "200 result=1 (x (y))"),
        ("GET VARIABLE \"NONE\"", "200 result=0"),
        ("GET DATA \"beep\" \"1000\" \"4\"", "200 result=12 (timeout)"),
        ("STREAM FILE \"hi\" \"#\"", "200 result=35 endpos=800"),
        ("EXEC \"Nonsense\" \"\"", "200 result=-2"),
        ("TDD MODE \"on\"", "510 Invalid or unknown command"),
        ("SAY DIGITS \"a\" \"\"", "520-Invalid command syntax.\nUsage: SAY DIGITS\n520 End of proper usage."),
    ] {
        assert_eq!(far.hear().await, heard);
        far.say(&format!("{answer}\n")).await;
    }
    assert_eq!(told.recv().await.unwrap(), Ok(()));
    assert_eq!(far.0.read(&mut [0; 10]).await.unwrap(), 0, "the end of the connection ends AGI");
}

#[tokio::test]
async fn a_hang_up_ends_the_command_that_runs_and_every_later_one() {
    let (server, mut told) = with(|session: Session| async move {
        assert_eq!(session.wait_for_digit(None).await, Err(AgiError::HungUp));
        assert!(session.is_over());
        assert_eq!(session.get_variable("A").await, Err(AgiError::HungUp));
        let last = session.last_words();
        assert_eq!(last.get_variable("A").await?.as_deref(), Some("1"));
        last.answer().await
    })
    .await;
    let mut far = Far::call(&server, "test").await;
    assert_eq!(far.hear().await, "WAIT FOR DIGIT \"-1\"");
    far.say("HANGUP\n").await;
    assert_eq!(far.hear().await, "GET VARIABLE \"A\"");
    // First what the command that was cut short is answered with.
    far.say("200 result=-1\n200 result=1 (1)\n").await;
    assert_eq!(told.recv().await.unwrap(), Err(AgiError::HungUp));
}

#[tokio::test]
async fn a_hang_up_between_commands_drops_what_is_waited_for() {
    let (server, mut told) = with(|session: Session| async move {
        session.noop("").await?;
        session.while_there(std::future::pending::<()>()).await
    })
    .await;
    let mut far = Far::call(&server, "test").await;
    far.hear().await;
    far.say("200 result=0\nHANGUP\n").await;
    assert_eq!(told.recv().await.unwrap(), Err(AgiError::HungUp));
}

#[tokio::test]
async fn a_connection_that_breaks_is_a_hang_up_too() {
    let (server, mut told) = with(|session: Session| async move {
        let first = session.wait_for_digit(None).await;
        assert!(matches!(first, Err(AgiError::Closed(_))), "{first:?}");
        session.noop("").await
    })
    .await;
    let mut far = Far::call(&server, "test").await;
    far.hear().await;
    drop(far);
    assert!(told.recv().await.unwrap().unwrap_err().is_over());
}

#[tokio::test]
async fn a_command_that_was_given_up_is_waited_for_before_the_next() {
    let (server, mut told) = with(|session: Session| async move {
        let early = tokio::time::timeout(Duration::from_millis(50), session.wait_for_digit(None)).await;
        assert!(early.is_err());
        session.get_variable("A").await.map(|value| assert_eq!(value.as_deref(), Some("b")))
    })
    .await;
    let mut far = Far::call(&server, "test").await;
    assert_eq!(far.hear().await, "WAIT FOR DIGIT \"-1\"");
    tokio::time::sleep(Duration::from_millis(100)).await;
    far.say("200 result=49\n").await;
    assert_eq!(far.hear().await, "GET VARIABLE \"A\"");
    far.say("200 result=1 (b)\n").await;
    assert_eq!(told.recv().await.unwrap(), Ok(()));
}

#[tokio::test]
async fn the_connection_ends_with_the_handler_although_a_command_still_runs() {
    let (server, mut told) = with(|session: Session| async move {
        let early = tokio::time::timeout(Duration::from_millis(20), session.wait_for_digit(None)).await;
        assert!(early.is_err());
        Ok(())
    })
    .await;
    let mut far = Far::call(&server, "test").await;
    far.hear().await;
    assert_eq!(told.recv().await.unwrap(), Ok(()));
    assert_eq!(far.0.read(&mut [0; 10]).await.unwrap(), 0);
}

#[tokio::test]
async fn who_is_not_known_or_one_too_many_is_turned_away() {
    let config =
        ServerConfig { bind: ([127, 0, 0, 1], 0).into(), most_sessions: 1, ..ServerConfig::default() };
    let router = Router::new().on("wait", |session: Session| async move {
        session.over().await;
        Ok(())
    });
    let server = Server::start(config, router).await.unwrap();
    let mut unknown = Far::call(&server, "nothing").await;
    assert_eq!(unknown.0.read(&mut [0; 10]).await.unwrap(), 0);
    let mut first = Far::call(&server, "wait").await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut second = Far::call(&server, "wait").await;
    assert!(matches!(second.0.read(&mut [0; 10]).await, Ok(0) | Err(_)));
    first.say("HANGUP\n").await;
    assert_eq!(first.0.read(&mut [0; 10]).await.unwrap(), 0);
    let counts = server.counts();
    assert_eq!((counts.turned_away, counts.most_at_once), (1, 1), "{counts:?}");
    assert_eq!(counts.failed, 1, "{counts:?}");
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_goes_on_after_the_hang_up_is_dropped() {
    let (ours, far) = tokio::io::duplex(4_096);
    let (reader, writer) = tokio::io::split(ours);
    let router = Router::new().on("stubborn", |_session: Session| std::future::pending());
    let (mut far_reader, mut far_writer) = tokio::io::split(far);
    far_writer.write_all(b"agi_request: x\n\nHANGUP\n").await.unwrap();
    let ended = process::serve(reader, writer, &router, "stubborn", std::future::pending()).await;
    assert!(matches!(ended, Err(AgiError::Handler(_))), "{ended:?}");
    let mut rest = Vec::new();
    let _ = far_reader.read_to_end(&mut rest).await;
}

#[tokio::test]
async fn a_signal_to_the_process_ends_the_command_that_runs() {
    let (ours, mut far) = tokio::io::duplex(4_096);
    let (reader, writer) = tokio::io::split(ours);
    let router =
        Router::new().on("x", |session: Session| async move { session.wait_for_digit(None).await.map(drop) });
    far.write_all(b"agi_request: x\n\n").await.unwrap();
    let mut line = [0; 20];
    let signal = async {
        far.read_exact(&mut line).await.unwrap();
    };
    let ended = process::serve(reader, writer, &router, "x", signal).await;
    assert_eq!(ended, Err(AgiError::HungUp));
}
