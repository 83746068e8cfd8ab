//! What the engine's own notes say, which of its doors are open, and the ways to ARI besides HTTP.

use std::net::TcpListener;
use std::time::Duration;

use tokio::time::timeout;

use super::Doctor;
use super::report::{Fix, OURS, Step};
use crate::asterisk::ari::{Ari, AriConfig, Requests, Signal};
use crate::engine::config::EventsBy;
use crate::store::{Outage, Store, StoreError};
use crate::time::WallTime;

/// How long Asterisk may take to connect to us; it tries every half second where websocket_client.conf says nothing else.
const PATIENCE: Duration = Duration::from_secs(5);

/// Outages that are counted.
const LOOKED_AT: u32 = 1_000;

/// A day in milliseconds.
const DAY: i64 = 86_400_000;

impl<Say: FnMut(&super::Check)> Doctor<'_, Say> {
    /// What the engine has noted of its Asterisk.
    pub(super) async fn outages(&mut self) {
        let path = &self.what.config.store.path;
        let read = async {
            let store = Store::open_to_read(path).await?;
            store.outages(&self.what.app, LOOKED_AT).await
        };
        match read.await {
            // No engine has run here, or one of another version.
            Err(StoreError::Missing { .. } | StoreError::Older { .. }) => {}
            Err(error) => self.failed(Step::Outages, error.to_string(), Vec::new()),
            Ok(outages) => {
                let found = told(&outages, WallTime::now());
                self.fine(Step::Outages, found);
            }
        }
    }

    /// Which of the engine's doors are open to other machines.
    pub(super) fn doors(&mut self) {
        let doors = self.what.config.exposures();
        let open: Vec<_> = doors.iter().filter_map(|door| Some((door, door.advice()?))).collect();
        if open.is_empty() {
            let all: Vec<String> = doors.iter().map(ToString::to_string).collect();
            return match all.is_empty() {
                true => {}
                false => self.fine(Step::Doors, all.join("; ")),
            };
        }
        let what: Vec<String> = open.iter().map(|(door, _)| door.to_string()).collect();
        let fixes = open.iter().map(|(door, advice)| Fix::new(format!("{OURS} {}", door.section), advice));
        self.failed(Step::Doors, format!("open to everybody: {}", what.join("; ")), fixes.collect());
    }

    /// The ways that the engine takes besides HTTP.
    pub(super) async fn ways(&mut self) {
        let section = &self.what.config.asterisk;
        let Ok(config) = section.ari(self.what.config.engine.max_calls) else { return };
        if section.events == EventsBy::Connect {
            if config.requests == Requests::WebSocket {
                self.requests(config).await;
            }
            return;
        }
        self.outbound(config).await;
    }

    /// A request over a WebSocket that we make.
    async fn requests(&mut self, config: AriConfig) {
        let asked = async { Ari::new(config)?.asterisk().ping().await };
        match asked.await {
            Ok(_) => self.fine(Step::Requests, "Asterisk answers requests over its WebSocket"),
            Err(error) => {
                let fixes = vec![
                    Fix::new(format!("{OURS} [asterisk]"), "requests = \"http\""),
                    Fix::new("modules.conf [modules]", "load = res_http_websocket.so"),
                ];
                let what = format!("{error} (it takes Asterisk 20.14, 21.9, 22.4 or later)");
                self.failed(Step::Requests, what, fixes);
            }
        }
    }

    /// Waits for Asterisk at the engine's own place, unless an engine is there.
    async fn outbound(&mut self, config: AriConfig) {
        let Some(listen) = &config.listen else { return };
        let (bind, tls) = (listen.bind, listen.tls.is_some());
        let app = listen.apps.last().cloned().unwrap_or_else(|| self.what.app.clone());
        if let Err(error) = TcpListener::bind(bind)
            && error.kind() == std::io::ErrorKind::AddrInUse
        {
            let found = format!("something listens on {bind} already: the engine, if it runs");
            return self.fine(Step::Outbound, found);
        }
        let ari = match Ari::new(config) {
            Ok(ari) => ari,
            Err(error) => {
                let fix = Fix::new(
                    format!("{OURS} [asterisk]"),
                    "listen = an address of this machine and a free port",
                );
                return self.failed(Step::Outbound, error.to_string(), vec![fix]);
            }
        };
        let mut events = ari.events(&app);
        let connected = async {
            while !matches!(events.next().await, Signal::Connected { .. }) {}
            ari.asterisk().ping().await
        };
        match timeout(PATIENCE, connected).await {
            Ok(Ok(_)) => self.fine(Step::Outbound, format!("Asterisk connects to {bind} for '{app}'")),
            Ok(Err(error)) => self.failed(Step::Outbound, error.to_string(), Vec::new()),
            Err(_) => {
                let scheme = if tls { "wss" } else { "ws" };
                let user = ari.user();
                let fixes = vec![
                    Fix::new("websocket_client.conf [offhook-ari]", format!("uri = {scheme}://{bind}/ari")),
                    Fix::new(
                        "websocket_client.conf [offhook-ari]",
                        format!("username = {user}, and its password"),
                    ),
                    Fix::new("ari.conf [offhook-outbound]", format!("apps = {app}")),
                ];
                let what = format!("Asterisk did not connect to {bind} for '{app}' within {PATIENCE:?}");
                self.failed(Step::Outbound, what, fixes);
            }
        }
    }
}

/// The latest restart, and how often events were missing since yesterday.
fn told(outages: &[Outage], now: WallTime) -> String {
    let Some(last) = outages.first() else { return "the engine has noted none".to_owned() };
    let seconds = |from: WallTime, to: WallTime| {
        let ms = to.0.saturating_sub(from.0).max(0);
        format!("{}.{} s", ms / 1_000, ms % 1_000 / 100)
    };
    let of_late = outages.iter().filter(|outage| outage.from.0 > now.0 - DAY).count();
    let restart = outages.iter().find_map(|outage| Some((outage, outage.restarted?)));
    let restart = restart.map_or_else(String::new, |(outage, restarted)| {
        format!(
            "Asterisk was restarted at {restarted}; the engine was back {} after its start, {} after it had lost it. ",
            seconds(restarted, outage.to),
            seconds(outage.from, outage.to)
        )
    });
    format!(
        "{restart}{of_late} in the last 24 hours; the last one at {} for {}: {}",
        last.from,
        seconds(last.from, last.to),
        last.why
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_is_told_with_how_long_it_took() {
        let at = |seconds: i64| WallTime(1_795_249_800_000 + seconds * 1_000);
        let outage = |from: i64, restarted: Option<i64>| Outage {
            server: "pbx:8088".into(),
            app: "bot".into(),
            from: at(from),
            to: at(from + 3),
            restarted: restarted.map(at),
            why: "the connection broke".into(),
        };
        assert_eq!(told(&[], at(0)), "the engine has noted none");
        let text = told(&[outage(100, None), outage(50, Some(52)), outage(-90_000, Some(0))], at(200));
        assert_eq!(
            text,
            format!(
                "Asterisk was restarted at {}; the engine was back 1.0 s after its start, 3.0 s after it had lost it. \
                 2 in the last 24 hours; the last one at {} for 3.0 s: the connection broke",
                at(52),
                at(100)
            )
        );
    }
}
