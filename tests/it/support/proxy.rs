//! A door between the engine and Asterisk's web server that can be shut.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// Passes connections on while it is open.
pub struct Proxy {
    /// Where it listens.
    pub url: String,
    open: watch::Sender<bool>,
    _task: AbortOnDropHandle<()>,
}

impl Proxy {
    /// A door to `to`, open.
    pub async fn to(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let open = watch::Sender::new(true);
        let opened = open.clone();
        let task = tokio::spawn(async move {
            loop {
                let Ok((client, _)) = listener.accept().await else { continue };
                if *opened.borrow() {
                    tokio::spawn(pass(client, to, opened.subscribe()));
                }
            }
        });
        Self { url, open, _task: AbortOnDropHandle::new(task) }
    }

    /// Ends all connections and takes no more.
    pub fn shut(&self) {
        self.open.send_replace(false);
    }

    /// Takes connections again.
    pub fn open(&self) {
        self.open.send_replace(true);
    }

    /// Shuts it for so long.
    pub async fn shut_for(&self, span: Duration) {
        self.shut();
        tokio::time::sleep(span).await;
        self.open();
    }
}

async fn pass(mut client: TcpStream, to: SocketAddr, mut open: watch::Receiver<bool>) {
    let Ok(mut server) = TcpStream::connect(to).await else { return };
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
        _ = open.wait_for(|open| !*open) => {}
    }
}
