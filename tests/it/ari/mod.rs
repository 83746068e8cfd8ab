//! ARI against a real Asterisk: every operation, every way to talk.

mod applications;
mod bridges;
mod calls;
mod channels;
mod conformance;
mod coverage;
mod endpoints;
mod engine;
mod failures;
mod outbound;
mod phones;
mod playbacks;
mod recordings;
mod server;
mod sockets;
mod streams;
mod tls;
mod trunks;

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use offhook::asterisk::ari::model::{Event, EventKind};
use offhook::asterisk::ari::ops::Originate;
use offhook::asterisk::ari::{Ari, ChannelId, EventStream, Signal};
use tokio::sync::OnceCell;

use crate::support::{AsteriskUnderTest, Wanted};

/// Numbers that lead into the application of their name, and what the operations need beside them.
const DIALPLAN: &str = "
[offhook]
exten => _it-.,1,Stasis(${EXTEN},dialled)
 same => n,Hangup()
exten => tone,1,Answer()
 same => n,Playtones(dial)
 same => n,Wait(60)
exten => _offer-.,1,StasisBroadcast(5000,^${EXTEN:6}$)
 same => n,Hangup()

[it-after]
exten => s,1,Answer()
 same => n,Wait(30)
";

/// Music that needs no sound files: silence, without an end.
const MUSIC: &str = "
[default]
mode = custom
application = /bin/cat /dev/zero
";

static SERVER: OnceCell<AsteriskUnderTest> = OnceCell::const_new();

/// The Asterisk that the tests of this folder share.
async fn server() -> &'static AsteriskUnderTest {
    let extra = vec![("extensions.conf", DIALPLAN.to_owned()), ("musiconhold.conf", MUSIC.to_owned())];
    SERVER.get_or_init(|| AsteriskUnderTest::start_own(Wanted { extra, ..Wanted::default() })).await
}

/// Whether it is as new as that; says so when it is not.
async fn has(ari: &Ari, wanted: (u32, u32), what: &str) -> bool {
    let version = ari.asterisk().info(&["system"]).await.unwrap().version().expect("a release");
    if version < wanted {
        println!("left out on {version:?}: {what}");
    }
    version >= wanted
}

/// The next signal, which must come; how fast is not the matter of these tests.
async fn signal(events: &mut EventStream) -> Signal {
    tokio::time::timeout(Duration::from_secs(30), events.next()).await.expect("a signal within 30 s")
}

async fn connected(events: &mut EventStream) {
    assert_eq!(signal(events).await, Signal::Connected { first: true });
}

/// The next event that `wanted` makes something of.
async fn wait_for<T>(events: &mut EventStream, mut wanted: impl FnMut(&Event) -> Option<T>) -> T {
    loop {
        if let Signal::Event(event) = signal(events).await
            && let Some(found) = wanted(&event)
        {
            return found;
        }
    }
}

/// The next event of a type.
async fn wait_for_type(events: &mut EventStream, name: &str) -> Event {
    wait_for(events, |event| (event.kind.name() == name).then(|| event.clone())).await
}

async fn wait_for_start(events: &mut EventStream, id: &ChannelId) {
    wait_for(events, |event| match &event.kind {
        EventKind::StasisStart { channel, .. } if channel.id == *id => Some(()),
        _ => None,
    })
    .await;
}

/// A call from the dialplan's echo (600) into `app`.
fn call_from_echo(app: &str, id: &ChannelId) -> Originate {
    Originate {
        endpoint: "Local/600@offhook/n".into(),
        app: Some(app.into()),
        app_args: Some("a,b".into()),
        // The same as the media channel's: nothing is recoded on the way.
        formats: Some("ulaw".into()),
        channel_id: Some(id.clone()),
        variables: BTreeMap::from([("GREETING".into(), "häl lo & more".into())]),
        ..Originate::default()
    }
}

/// The application `app` with a channel in it that says back what it hears.
async fn with_echo(ari: &Ari, app: &str) -> (EventStream, ChannelId) {
    let mut events = ari.events(app);
    connected(&mut events).await;
    let leg = ChannelId::from(format!("{app}-leg"));
    ari.channels().originate(&call_from_echo(app, &leg)).await.unwrap();
    wait_for_start(&mut events, &leg).await;
    (events, leg)
}

/// A socket for RTP.
struct Ears(UdpSocket);

impl Ears {
    fn open() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        Self(socket)
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    /// Packets that come within `span`.
    async fn count(&self, span: Duration) -> usize {
        let mut packet = [0; 2_048];
        while self.0.recv(&mut packet).is_ok() {}
        tokio::time::sleep(span).await;
        std::iter::from_fn(|| self.0.recv(&mut packet).ok()).count()
    }

    /// Waits until audio comes.
    async fn hear(&self, what: &str) {
        for _ in 0..50 {
            if self.count(Duration::from_millis(100)).await > 0 {
                return;
            }
        }
        panic!("nothing is heard: {what}");
    }

    /// Waits until none comes any more.
    async fn hear_nothing(&self, what: &str) {
        for _ in 0..20 {
            if self.count(Duration::from_millis(250)).await == 0 {
                return;
            }
        }
        panic!("it goes on: {what}");
    }

    /// Sends sound to `peer`, and says how much of what comes back within a second is that very sound.
    async fn echo(&self, peer: SocketAddr) -> usize {
        let mut packet = vec![0x55; 172];
        packet[..12].copy_from_slice(&[0x80, 0, 0, 1, 0, 0, 0, 160, 0, 0, 0, 9]);
        let (mut heard, mut back) = ([0; 2_048], 0);
        while self.0.recv(&mut heard).is_ok() {}
        for sequence in 1..50_u32 {
            packet[2..4].copy_from_slice(&(sequence as u16).to_be_bytes());
            packet[4..8].copy_from_slice(&(sequence * 160).to_be_bytes());
            self.0.send_to(&packet, peer).unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
            while let Ok(length) = self.0.recv(&mut heard) {
                back += usize::from(length == 172 && heard[12..172] == packet[12..]);
            }
        }
        back
    }
}
