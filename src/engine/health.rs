//! How the engine is, over HTTP, for whoever starts it, balances calls over it or watches it.
//!
//! | path | answer |
//! |---|---|
//! | `/live` | 200 as long as the process answers at all |
//! | `/ready` | 200 when it takes calls from one server at least; 503 while it starts or drains, has no server, or has too much to do |
//! | `/health` | 200, and as JSON the servers with their states, the calls, and whom the admission refused |
//!
//! It tells neither numbers nor names of callers. Off unless it has an address, since a port that nobody asked for is one more to
//! guard; off loopback `allow` says who may come.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_util::task::AbortOnDropHandle;

use super::admission::Load;
use super::server::{Server, ServerState, ServerStatus};
use super::{Engine, EngineError, Phase, Shared};
use crate::guard::{Exposure, Guard};
use crate::time::Moment;

/// Connections at once; one more waits for its turn.
const CONNECTIONS: usize = 32;

/// How long somebody may take to ask.
const ASKS_WITHIN: Duration = Duration::from_secs(5);

/// How long one connection may last.
const LASTS: Duration = Duration::from_secs(60);

/// After an error of the listener itself: the limit of open files, usually.
const BREATH: Duration = Duration::from_millis(50);

/// How the engine is at one moment.
#[derive(Debug, Clone, Serialize)]
pub struct Health {
    /// What it is doing; [`None`] while it starts, and when it has ended.
    pub phase: Option<Phase>,
    /// Calls that are up.
    pub calls: usize,
    /// Calls that may be up.
    pub max_calls: usize,
    /// Whether new calls are refused since there is too much to do.
    pub overloaded: bool,
    /// What there was to do in the last second.
    pub load: Load,
    /// Calls that were refused since the start, by reason.
    pub refused: std::collections::BTreeMap<&'static str, u64>,
    /// The servers, in the order of the configuration.
    pub servers: Vec<ServerStatus>,
}

impl Health {
    /// Of an engine that is not there yet, or not any more.
    const NONE: Self = Self {
        phase: None,
        calls: 0,
        max_calls: 0,
        overloaded: false,
        load: Load { late_percent: 0.0, waiting: 0 },
        refused: std::collections::BTreeMap::new(),
        servers: Vec::new(),
    };

    /// Whether calls are taken, from one server at least. Calls that are as many as may be are none the less: that passes.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.why_not().is_none()
    }

    /// Why no calls are taken.
    #[must_use]
    pub fn why_not(&self) -> Option<&'static str> {
        let up = self.servers.iter().any(|server| server.state == ServerState::Up);
        match self.phase {
            None => Some("starting"),
            Some(Phase::Draining | Phase::Goodbye) => Some("draining"),
            Some(Phase::HandingOver) => Some("handing over"),
            Some(Phase::Running) if !up => Some("no server is up"),
            Some(Phase::Running) if self.overloaded => Some("too much to do"),
            Some(Phase::Running) => None,
        }
    }
}

/// Looks at an engine. Cheap to clone; does not keep it.
#[derive(Clone)]
pub struct Watch {
    shared: Weak<Shared>,
    servers: Vec<Weak<Server>>,
}

impl Engine {
    /// Something that tells how the engine is, also after it was given away.
    #[must_use]
    pub fn watch(&self) -> Watch {
        let servers = self.servers.iter().map(Arc::downgrade).collect();
        Watch { shared: Arc::downgrade(&self.shared), servers }
    }
}

impl Watch {
    /// How it is now.
    #[must_use]
    pub fn now(&self) -> Health {
        let Some(shared) = self.shared.upgrade() else { return Health::NONE };
        let servers = self.servers.iter().filter_map(|server| Some(server.upgrade()?.status())).collect();
        let admission = shared.admission();
        let (load, overloaded) = admission.load();
        Health {
            phase: Some(*shared.phase.borrow()),
            calls: admission.calls(),
            max_calls: admission.most(),
            overloaded,
            load,
            refused: admission.refused().map(|(why, count)| (why.word(), count)).collect(),
            servers,
        }
    }
}

/// The listener. Dropping it closes it.
pub struct HealthPage {
    address: SocketAddr,
    listens: AbortOnDropHandle<()>,
}

impl HealthPage {
    /// Listens, and tells of the engine that is `seen`; that it starts, until there is one. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`EngineError::Health`].
    pub async fn open(door: &Exposure, seen: watch::Receiver<Option<Watch>>) -> Result<Self, EngineError> {
        let address = door.bind;
        let told = |source| EngineError::Health { address, source };
        let listener = TcpListener::bind(address).await.map_err(told)?;
        let address = listener.local_addr().map_err(told)?;
        Ok(Self {
            address,
            listens: AbortOnDropHandle::new(tokio::spawn(listen(listener, Guard::new(door), seen))),
        })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for its end, which does not come by itself.
    pub async fn closed(self) {
        let _ = self.listens.await;
    }
}

async fn listen(listener: TcpListener, guard: Guard, seen: watch::Receiver<Option<Watch>>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // Never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((stream, from)) = listener.accept().await else {
            tokio::time::sleep(BREATH).await;
            continue;
        };
        if !guard.admits(from.ip(), Moment::now()) {
            continue;
        }
        let seen = seen.clone();
        tokio::spawn(async move {
            let _ = tokio::time::timeout(LASTS, serve(stream, seen)).await;
            drop(place);
        });
    }
}

async fn serve(stream: TcpStream, seen: watch::Receiver<Option<Watch>>) {
    let answer = service_fn(move |request: Request<Incoming>| {
        let health = seen.borrow().as_ref().map_or(Health::NONE, Watch::now);
        std::future::ready(Ok::<_, Infallible>(respond(request.method(), request.uri().path(), &health)))
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(ASKS_WITHIN).max_buf_size(16 << 10);
    // Who hangs up in the middle has seen enough.
    let _ = http.serve_connection(TokioIo::new(stream), answer).await;
}

fn respond(method: &Method, path: &str, health: &Health) -> Response<Full<Bytes>> {
    if ![Method::GET, Method::HEAD].contains(method) {
        return page(StatusCode::METHOD_NOT_ALLOWED, serde_json::json!({ "error": "ask with GET" }));
    }
    match path {
        "/live" => page(StatusCode::OK, serde_json::json!({ "live": true })),
        "/ready" => match health.why_not() {
            None => page(StatusCode::OK, serde_json::json!({ "ready": true })),
            Some(why) => {
                page(StatusCode::SERVICE_UNAVAILABLE, serde_json::json!({ "ready": false, "why": why }))
            }
        },
        "/health" => page(StatusCode::OK, serde_json::to_value(health).unwrap_or_default()),
        _ => {
            page(StatusCode::NOT_FOUND, serde_json::json!({ "error": "there are /live, /ready and /health" }))
        }
    }
}

fn page(status: StatusCode, body: serde_json::Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body.to_string() + "\n")));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(phase: Phase, states: &[ServerState]) -> Health {
        let server = |state: &ServerState| ServerStatus {
            name: "east".into(),
            peer: "pbx:8088".into(),
            app: "bot".into(),
            state: state.clone(),
            calls: 1,
            capacity: 2,
            version: None,
        };
        Health { phase: Some(phase), servers: states.iter().map(server).collect(), ..Health::NONE }
    }

    #[test]
    fn one_server_that_is_up_is_enough_to_be_ready() {
        let down = ServerState::Down { why: "it is away".into() };
        assert!(health(Phase::Running, &[down.clone(), ServerState::Up]).is_ready());
        assert_eq!(health(Phase::Running, &[down, ServerState::Draining]).why_not(), Some("no server is up"));
        assert_eq!(health(Phase::Draining, &[ServerState::Up]).why_not(), Some("draining"));
        assert_eq!(Health::NONE.why_not(), Some("starting"));
        let busy = Health { overloaded: true, ..health(Phase::Running, &[ServerState::Up]) };
        assert!(!busy.is_ready());
    }

    #[test]
    fn a_page_says_how_it_is_by_its_status() {
        let up = health(Phase::Running, &[ServerState::Up]);
        let status = |method, path, health: &Health| respond(&method, path, health).status().as_u16();
        assert_eq!(status(Method::GET, "/ready", &up), 200);
        assert_eq!(status(Method::GET, "/ready", &Health::NONE), 503);
        assert_eq!(status(Method::GET, "/live", &Health::NONE), 200);
        assert_eq!(status(Method::GET, "/", &up), 404);
        assert_eq!(status(Method::POST, "/ready", &up), 405);
        let json = serde_json::to_value(&up).unwrap();
        assert_eq!(
            (json["phase"].as_str(), json["servers"][0]["state"].as_str()),
            (Some("running"), Some("up"))
        );
    }
}
