//! Dials campaigns: takes contacts from the book as fast as their plans and trunks allow, calls them, and writes down how
//! each call ended.
//!
//! The book decides whom and when, [`Pace`] how many, [`Gate`] the moment; a call is made as any other that goes out, under the
//! attempt's own id. So what the engine's store has of a call tells how the attempt ended, also to the next process.
//!
//! A book that cannot be reached is tried again for ever: meanwhile nobody new is called, calls that are up go on, and what
//! they come to is written when it is back.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use self::ending::closing;
use self::gate::Gate;
use super::outbound::places;
use super::server::Server;
use super::ways::Ways;
use super::{Phase, Shared};
use crate::campaign::pace::{People, Wish};
use crate::campaign::plan::Pacing;
use crate::campaign::{
    self, Book, Campaign, CampaignError, CampaignId, Closing, Courier, Disposition, Engine, OpenAttempt,
    Pace, Zones,
};
use crate::id::CallId;
use crate::time::{Moment, WallTime};

mod attempt;
mod ending;
mod gate;

/// How often it is looked whether somebody is to be called.
const EVERY: Duration = Duration::from_millis(100);

/// How often campaigns are read from the book.
const READ_EVERY: Duration = Duration::from_secs(1);

/// How often what is ours is kept ours, and what others left is looked for.
const RENEW_EVERY: Duration = Duration::from_secs(10);

/// How often it is looked whether a call is over.
const LOOK: Duration = Duration::from_millis(50);

/// How long its record may take to be written.
const WRITTEN: Duration = Duration::from_secs(5);

/// How long is waited for a book that does not answer.
const AGAIN: Duration = Duration::from_secs(2);

/// An attempt of ours of which nothing is known here is left over when it is so old, in milliseconds.
const LEFT_OVER_MS: i64 = 15_000;

/// Numbers that wait to be put on the list.
const OPT_OUTS: usize = 1_000;

/// Who writes down whom nobody is to call again. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct OptOuts(mpsc::Sender<(CallId, String)>);

impl OptOuts {
    /// One, and where what it is told comes out.
    pub fn new() -> (Self, mpsc::Receiver<(CallId, String)>) {
        let (sender, told) = mpsc::channel(OPT_OUTS);
        (Self(sender), told)
    }

    /// The other side of a call, at this number, is called by nobody from now on.
    pub fn add(&self, call: CallId, number: &str) {
        if self.0.try_send((call, number.to_owned())).is_err() {
            tracing::error!(
                %call,
                "somebody who does not want to be called could not be put on the list: `offhook never-call add` does it by hand"
            );
        }
    }
}

/// The dialler of an engine; it ends when this is dropped.
pub(super) struct Dialler {
    _task: AbortOnDropHandle<()>,
    stop: CancellationToken,
}

impl Drop for Dialler {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Begins to dial, as long as the engine takes calls.
pub(super) fn start(
    shared: &Arc<Shared>,
    servers: &[Arc<Server>],
    opt_outs: mpsc::Receiver<(CallId, String)>,
) -> Dialler {
    let stop = CancellationToken::new();
    let work = run(Arc::clone(shared), servers.to_vec(), opt_outs, stop.clone());
    Dialler { _task: AbortOnDropHandle::new(tokio::spawn(work)), stop }
}

async fn run(
    shared: Arc<Shared>,
    servers: Vec<Arc<Server>>,
    opt_outs: mpsc::Receiver<(CallId, String)>,
    stop: CancellationToken,
) {
    let book = open(&shared).await;
    let listing = list(book.clone(), shared.config.policy.country.clone(), opt_outs);
    if !shared.config.campaigns.dial {
        return listing.await;
    }
    let telling = async {
        match shared.services.web.get() {
            Ok(web) => Courier::new(book.clone(), web).run(stop.clone()).await,
            Err(error) => tracing::error!(%error, "nobody is told of the outcomes of campaigns"),
        }
    };
    let ways = match Ways::open(&shared.config, &servers) {
        Ok(ways) => ways,
        Err(error) => {
            tracing::error!(%error, "this engine calls for no campaign");
            return listing.await;
        }
    };
    let work = Work {
        me: me(&shared),
        ways,
        servers,
        book: book.clone(),
        pace: Arc::default(),
        gate: Arc::new(Mutex::new(Gate::new(Moment::now()))),
        up: Arc::default(),
        mine: Arc::default(),
        shared: Arc::clone(&shared),
    };
    tokio::join!(listing, telling, work.run());
}

/// The book, as soon as it can be had.
async fn open(shared: &Shared) -> Book {
    let (zones, store) = (Zones::of_system(), &shared.config.store);
    let url = store.url.as_ref().map(|url| url.reveal());
    let mut told = false;
    loop {
        match Book::open(url, &store.path, Arc::clone(&zones)).await {
            Ok(book) => return book,
            Err(error) if !told => {
                tracing::error!(%error, "the book of campaigns cannot be opened; trying again");
                told = true;
            }
            Err(_) => {}
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// This engine in a book that it shares: each has a store of its own.
fn me(shared: &Shared) -> Engine {
    let path = shared.store.path();
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy();
    Engine(format!("{}@{host}:{}", shared.config.asterisk.app, path.display()))
}

/// Puts onto the list of all campaigns whom nobody is to call again.
async fn list(book: Book, country: Option<String>, mut opt_outs: mpsc::Receiver<(CallId, String)>) {
    while let Some((call, number)) = opt_outs.recv().await {
        let why = Some("asked for during a call");
        let add = || book.never_call(&number, None, country.as_deref(), why, WallTime::now()).boxed();
        match patiently(add).await {
            Ok(_) => tracing::info!(%call, "nobody calls the other side again"),
            Err(error) => tracing::error!(
                %call,
                %error,
                "somebody who does not want to be called could not be put on the list: say in [policy] of which `country` numbers without a code are"
            ),
        }
    }
}

/// Does it until the book answers.
async fn patiently<'a, T>(
    mut attempt: impl FnMut() -> BoxFuture<'a, Result<T, CampaignError>>,
) -> Result<T, CampaignError> {
    let mut told = false;
    loop {
        match attempt().await {
            Err(error @ CampaignError::Database { .. }) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(%error, "the book of campaigns cannot be written; trying again");
                }
                tokio::time::sleep(AGAIN).await;
            }
            other => return other,
        }
    }
}

/// Calls of a campaign.
#[derive(Debug, Clone, Copy, Default)]
struct Up {
    ringing: u32,
    talking: u32,
}

impl Up {
    const fn which(&mut self, talks: bool) -> &mut u32 {
        if talks { &mut self.talking } else { &mut self.ringing }
    }
}

/// A call among those that count, however it ends.
struct Counted {
    up: Arc<Mutex<HashMap<CampaignId, Up>>>,
    campaign: CampaignId,
    talks: bool,
}

impl Counted {
    fn rings(up: &Arc<Mutex<HashMap<CampaignId, Up>>>, campaign: CampaignId) -> Self {
        lock(up).entry(campaign).or_default().ringing += 1;
        Self { up: Arc::clone(up), campaign, talks: false }
    }

    fn talks(&mut self, talks: bool) {
        self.leaves();
        self.talks = talks;
        let mut up = lock(&self.up);
        *up.entry(self.campaign).or_default().which(talks) += 1;
    }

    fn leaves(&self) {
        let mut up = lock(&self.up);
        let count = up.entry(self.campaign).or_default().which(self.talks);
        *count = count.saturating_sub(1);
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.leaves();
    }
}

/// An attempt that a task sees to, until it is done or has panicked: then the next look finds it.
struct Mine(Arc<Mutex<HashSet<CallId>>>, CallId);

impl Drop for Mine {
    fn drop(&mut self) {
        lock(&self.0).remove(&self.1);
    }
}

#[derive(Clone)]
struct Work {
    shared: Arc<Shared>,
    servers: Vec<Arc<Server>>,
    book: Book,
    me: Engine,
    ways: Ways,
    pace: Arc<Mutex<Pace>>,
    gate: Arc<Mutex<Gate>>,
    up: Arc<Mutex<HashMap<CampaignId, Up>>>,
    /// The attempts that a task of ours sees to.
    mine: Arc<Mutex<HashSet<CallId>>>,
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What may be known of campaigns from one look to the next.
#[derive(Default)]
struct Seen {
    campaigns: Vec<Campaign>,
    read: Option<Instant>,
    kept: Option<Instant>,
    is_away: bool,
}

impl Work {
    async fn run(self) {
        let mut every = tokio::time::interval(EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seen = Seen::default();
        loop {
            every.tick().await;
            let (inherited, phase) = (*self.shared.inherited.borrow(), *self.shared.phase.borrow());
            if !inherited || phase == Phase::HandingOver {
                continue;
            }
            match self.look(&mut seen, phase == Phase::Running).await {
                Ok(()) if std::mem::take(&mut seen.is_away) => {
                    tracing::info!("the book of campaigns is back");
                }
                Ok(()) => {}
                Err(error) => {
                    if !std::mem::replace(&mut seen.is_away, true) {
                        tracing::warn!(%error, "the book of campaigns cannot be read; nobody new is called");
                    }
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    /// Looks whether something is to be done, and begins it; without `dials` it just keeps what is ours.
    async fn look(&self, seen: &mut Seen, dials: bool) -> Result<(), CampaignError> {
        let now = Instant::now();
        let due = |last: Option<Instant>, every| last.is_none_or(|at| now.duration_since(at) >= every);
        if due(seen.kept, RENEW_EVERY) {
            self.keep(seen.kept.is_none()).await?;
            lock(&self.gate).forget(Moment::now());
            seen.kept = Some(now);
        }
        if !dials {
            return Ok(());
        }
        if due(seen.read, READ_EVERY) {
            let mut campaigns = self.book.campaigns().await?;
            campaigns.retain(|campaign| campaign.state == campaign::State::Running);
            seen.campaigns = campaigns;
            seen.read = Some(now);
        }
        self.order(&seen.campaigns).await
    }

    /// Begins as many calls as there may be.
    async fn order(&self, campaigns: &[Campaign]) -> Result<(), CampaignError> {
        let room: usize = self.servers.iter().map(|server| places(server)).sum();
        if campaigns.is_empty() || room == 0 {
            return Ok(());
        }
        let now = WallTime::now();
        let up = lock(&self.up).clone();
        let wishes: Vec<_> = campaigns.iter().map(|campaign| wish(campaign, &up)).collect();
        let load = self.book.trunk_load().await?;
        let room = u32::try_from(room).unwrap_or(u32::MAX);
        let orders = lock(&self.pace).next(Moment::now(), &wishes, &load, room);
        for order in orders {
            let Some(campaign) = campaigns.iter().find(|campaign| campaign.id == order.campaign) else {
                continue;
            };
            for contact in
                self.book.claim(campaign, &self.me, &order.trunk, now, order.calls as usize).await?
            {
                let (campaign, trunk) = (campaign.clone(), order.trunk.clone());
                let counted = Counted::rings(&self.up, campaign.id);
                self.see_to(contact.attempt, async move |work| {
                    work.call(&campaign, &contact, trunk, counted).await
                });
            }
        }
        Ok(())
    }

    /// Lets a task see to an attempt to its end.
    fn see_to<F>(&self, id: CallId, how: impl FnOnce(Self) -> F)
    where
        F: Future<Output = Result<(), CampaignError>> + Send + 'static,
    {
        lock(&self.mine).insert(id);
        let (mine, work) = (Mine(Arc::clone(&self.mine), id), how(self.clone()));
        self.shared.tasks.spawn(async move {
            let _mine = mine;
            match work.await {
                // Whoever closed it had a reason.
                Ok(()) | Err(CampaignError::NotOpen(_)) => {}
                Err(error) => tracing::warn!(attempt = %id, %error, "an attempt is left to the next look"),
            }
        });
    }
}

/// How long ago it was started or resumed.
fn since_start(campaign: &Campaign) -> Duration {
    let since = campaign.started.map_or(0, |started| WallTime::now().0.saturating_sub(started.0));
    Duration::from_millis(u64::try_from(since).unwrap_or_default())
}

/// What a campaign would do now.
fn wish<'a>(campaign: &'a Campaign, up: &HashMap<CampaignId, Up>) -> Wish<'a> {
    let Up { ringing, talking } = up.get(&campaign.id).copied().unwrap_or_default();
    let people = match campaign.plan.pacing {
        Pacing::Progressive => None,
        Pacing::Predictive { people, .. } => {
            let busy = talking.min(people);
            Some(People { free: people - busy, busy })
        }
    };
    Wish {
        campaign: campaign.id,
        plan: &campaign.plan,
        since_start: since_start(campaign),
        ringing,
        talking,
        people,
    }
}

impl Work {
    /// Waits until it is known whether a call that an earlier process made is here; where it is, for its answer.
    async fn here(&self, id: CallId) -> Option<(Arc<Server>, oneshot::Receiver<Result<(), String>>)> {
        let given_up = Instant::now() + 12 * WRITTEN;
        loop {
            // First this: a server has told of its calls when it is there.
            let all_there = self.servers.iter().all(|server| *server.connected.borrow());
            let on = |server: &Arc<Server>| Some((Arc::clone(server), server.switchboard.on_answer(id)?));
            let found = self.servers.iter().find_map(on);
            if found.is_some() || all_there || Instant::now() > given_up {
                return found;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until the call is over here.
    async fn over(&self, id: CallId) {
        while self.servers.iter().any(|server| server.switchboard.has(id)) {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// How the call ended, by what the engine wrote of it; [`None`] when another process has it.
    async fn ending(&self, campaign: &Campaign, id: CallId) -> Option<Closing> {
        let mut patience = WRITTEN;
        loop {
            self.over(id).await;
            if *self.shared.phase.borrow() == Phase::HandingOver {
                return None;
            }
            let record = self.shared.store.find_call(id.as_str()).await.ok().flatten();
            if let Some(record) = record.map(|summary| summary.call).filter(|call| call.ended.is_some()) {
                return Some(closing(&record, &campaign.plan));
            }
            if patience.is_zero() {
                let note = Some("what became of the call is not in the store".to_owned());
                return Some(Closing { note, ..Closing::new(Disposition::Lost) });
            }
            // A server that is away may have the call still: it is waited for twelve times as long.
            let all_there = self.servers.iter().all(|server| *server.connected.borrow());
            patience = patience.saturating_sub(if all_there { LOOK } else { LOOK / 12 });
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Keeps what is ours, and ends what was left open: by an earlier process of ours (`first`), by engines that do not keep
    /// theirs, and by a book that went away in the middle of a claim.
    async fn keep(&self, first: bool) -> Result<(), CampaignError> {
        let now = WallTime::now();
        self.book.renew(&self.me, now).await?;
        let is_old = |attempt: &OpenAttempt| first || attempt.claimed.0 < now.0 - LEFT_OVER_MS;
        let mut left: Vec<_> = self.book.open_attempts(&self.me).await?.into_iter().filter(is_old).collect();
        for attempt in self.book.abandoned(now).await? {
            if attempt.engine != self.me && self.book.take_over(&attempt, &self.me, now).await? {
                left.push(attempt);
            }
        }
        for attempt in left {
            if !lock(&self.mine).contains(&attempt.attempt) {
                self.see_to(attempt.attempt, async move |work| work.resolve(&attempt).await);
            }
        }
        Ok(())
    }

    /// Ends an attempt that nobody sees to: its call is up here still, or its record says how it ended.
    async fn resolve(&self, left: &OpenAttempt) -> Result<(), CampaignError> {
        if left.dialled.is_none() {
            return self.book.give_back(left.attempt, WallTime::now()).await;
        }
        let campaign = self.book.campaign(&left.campaign_name).await?;
        if let Some((server, told)) = self.here(left.attempt).await {
            let mut counted = Counted::rings(&self.up, campaign.id);
            self.ways.watch_again(&server, left.attempt, campaign.plan.ring);
            if let Ok(Ok(())) = told.await {
                self.answered(left.attempt, &mut counted).await?;
            }
        }
        let Some(closing) = self.ending(&campaign, left.attempt).await else { return Ok(()) };
        patiently(|| self.book.finish(&campaign, left.attempt, &closing, WallTime::now()).boxed()).await
    }
}
