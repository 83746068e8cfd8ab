//! Calls that Asterisk offers to several engines with `StasisBroadcast()`: the first to claim one has it.
//!
//! The fuller an engine is, the later it claims: after that share of [`RACE`] of the time that the dialplan waits. So each
//! call goes to the engine with the largest share of its room free, and calls are shared as the capacities are, without a
//! word between the engines. Nobody waits for an engine that is dead, slow or full; nobody has to know how many there are.
//!
//! An engine that has a lot to do hears of calls late, and its claims are on their way for long. It would lose by that what it has
//! room for; so it counts from when Asterisk offered the call ([`Ways`]), and claims as much earlier as its claims take.
//!
//! What decides ([`Offers`], [`Ways`]) takes the time as an argument. One task for each server feeds it, and claims.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::server::Server;
use crate::asterisk::ari::model::Channel;
use crate::asterisk::ari::{AriError, ChannelId};
use crate::time::{Moment, WallTime};

/// The share of the dialplan's patience in which engines claim. The rest is for the claim's way.
const RACE: f64 = 0.6;

/// How long the dialplan waits where it does not say.
const PATIENCE: Duration = Duration::from_millis(500);

/// The longest that it can be told to.
const LONGEST: Duration = Duration::from_secs(60);

/// Offers that may wait at once. One more is left to other engines.
const OFFERS: usize = 1_024;

/// How long a call that was claimed may take to come.
const COMES_WITHIN: Duration = Duration::from_secs(5);

/// How soon a full engine looks again whether somebody has hung up.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The application of the dialplan.
const BROADCAST: &str = "StasisBroadcast";

/// A call that is offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Offer {
    pub channel: ChannelId,
    /// When it was.
    at: Moment,
    /// How long the dialplan waits.
    patience: Duration,
    /// The bot that it names.
    pub bot: Option<String>,
}

impl Offer {
    /// What a channel in `StasisBroadcast()` offers.
    pub fn of(channel: &Channel, at: Moment) -> Self {
        let words = words(channel).unwrap_or_default();
        Self { channel: channel.id.clone(), at, patience: words.patience, bot: words.args.into_iter().next() }
    }
}

/// What stands between the brackets.
struct Words {
    patience: Duration,
    args: Vec<String>,
}

impl Default for Words {
    fn default() -> Self {
        Self { patience: PATIENCE, args: Vec::new() }
    }
}

/// The words of a channel that is in, or came by, `StasisBroadcast([timeout][,filter[,args[,notify]]])`.
fn words(channel: &Channel) -> Option<Words> {
    let plan = &channel.dialplan;
    if plan.app_name != BROADCAST {
        return None;
    }
    let mut fields = plan.app_data.split(',');
    let patience = fields.next().and_then(|text| text.trim().parse().ok()).map(Duration::from_millis);
    let args = fields.nth(1).unwrap_or_default();
    let args = args.split(':').filter(|arg| !arg.is_empty()).map(str::to_owned).collect();
    Some(Words { patience: patience.unwrap_or(PATIENCE).min(LONGEST), args })
}

/// The arguments with which a channel is in an application, as its dialplan has them.
pub(super) fn arguments(channel: &Channel) -> Vec<String> {
    match words(channel) {
        Some(words) => words.args,
        // The first one is the application.
        None => channel.dialplan.app_data.split(',').skip(1).map(str::to_owned).collect(),
    }
}

/// How long offers are on their way to us, by Asterisk's clock and ours: what is more than the shortest of the latest ones is our
/// own delay, however far the clocks are apart.
#[derive(Debug, Default)]
struct Ways(VecDeque<i64>);

impl Ways {
    /// So many are remembered.
    const LATEST: usize = 64;

    /// No more than this is made up for: an Asterisk that puts its clock right is no delay.
    const MOST: Duration = Duration::from_secs(2);

    /// When, by our clock, a call was offered of which we hear `at` this moment, and Asterisk says that it was `stamped`.
    fn offered(&mut self, at: Moment, stamped: Option<WallTime>) -> Moment {
        let Some(WallTime(stamped)) = stamped else { return at };
        let heard = i64::try_from(at.as_nanos() / 1_000_000).unwrap_or(i64::MAX);
        let way = heard.saturating_sub(stamped);
        if self.0.len() == Self::LATEST {
            self.0.pop_front();
        }
        self.0.push_back(way);
        let shortest = self.0.iter().min().copied().unwrap_or(way);
        let late = u64::try_from(way.saturating_sub(shortest)).unwrap_or(0);
        at - Duration::from_millis(late).min(Self::MOST)
    }
}

/// The offers that wait for our claim, oldest first.
#[derive(Debug, Default)]
struct Offers(VecDeque<Offer>);

/// What is next.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// This one is to be claimed now.
    Claim(Offer),
    /// Nothing before then.
    At(Moment),
    /// Nothing.
    Nothing,
}

impl Offers {
    fn push(&mut self, offer: Offer) {
        if self.0.len() < OFFERS {
            self.0.push_back(offer);
        }
    }

    /// Somebody has it, or the caller has gone.
    fn forget(&mut self, channel: &ChannelId) {
        self.0.retain(|offer| offer.channel != *channel);
    }

    /// What to do at `now`, where one more call would fill this `share` of our room.
    fn next(&mut self, now: Moment, share: f64) -> Next {
        self.0.retain(|offer| now < offer.at + offer.patience);
        let Some(first) = self.0.front() else { return Next::Nothing };
        if share > 1.0 {
            return Next::At(now + LOOK_AGAIN);
        }
        let due = first.at + first.patience.mul_f64(RACE * share);
        if now < due {
            return Next::At(due);
        }
        self.0.pop_front().map_or(Next::Nothing, Next::Claim)
    }
}

/// The claims of one server: calls that are on their way to us.
#[derive(Default)]
pub(super) struct Claims {
    made: Mutex<HashMap<ChannelId, Moment>>,
    news: Mutex<Option<mpsc::Sender<News>>>,
    ways: Mutex<Ways>,
    /// How long a claim takes, in microseconds: what the latest ones took on average.
    takes: AtomicU64,
}

/// What the task is told.
enum News {
    Offered(Offer),
    /// Another one has it.
    Taken(ChannelId),
}

impl Claims {
    fn made(&self) -> MutexGuard<'_, HashMap<ChannelId, Moment>> {
        self.made.lock().expect("nothing panics while it holds the claims")
    }

    /// How many calls were claimed and have not come.
    pub fn pending(&self, now: Moment) -> usize {
        let mut made = self.made();
        made.retain(|_, at| now < *at + COMES_WITHIN);
        made.len()
    }

    /// A call has come: whether it had been claimed.
    pub fn comes(&self, channel: &ChannelId) -> bool {
        self.made().remove(channel).is_some()
    }

    /// A call is offered, of which we heard `at` this moment. Never waits.
    pub fn offered(&self, channel: &Channel, at: Moment, stamped: Option<WallTime>) {
        let mut ways = self.ways.lock().expect("nothing panics while it holds the ways");
        let offered = ways.offered(at, stamped);
        drop(ways);
        self.tell(News::Offered(Offer::of(channel, offered)));
    }

    /// How long before its time a claim has to be made.
    fn lead(&self) -> Duration {
        Duration::from_micros(self.takes.load(Ordering::Relaxed)).min(Ways::MOST)
    }

    /// A claim took so long.
    fn took(&self, span: Duration) {
        let span = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        let before = self.takes.load(Ordering::Relaxed);
        self.takes.store(before - before / 8 + span / 8, Ordering::Relaxed);
    }

    /// A call went to an application. Never waits.
    pub fn taken(&self, channel: ChannelId) {
        self.tell(News::Taken(channel));
    }

    fn tell(&self, news: News) {
        let to = self.news.lock().expect("nothing panics while it holds the way to the claims").clone();
        // Who has too many offers to hear of one more leaves it to the others.
        to.map(|to| to.try_send(news));
    }

    /// Begins to claim, where the configuration says so.
    pub fn start(server: &Arc<Server>) -> Option<AbortOnDropHandle<()>> {
        server.section.claims.then(|| {
            let (to, news) = mpsc::channel(OFFERS);
            *server.claims.news.lock().expect("nothing panics while it holds the way to the claims") =
                Some(to);
            AbortOnDropHandle::new(tokio::spawn(run(Arc::clone(server), news)))
        })
    }
}

async fn run(server: Arc<Server>, mut news: mpsc::Receiver<News>) {
    let mut offers = Offers::default();
    loop {
        let now = Moment::now();
        // What is claimed now is there that much later.
        let there = now + server.claims.lead();
        let wake = match offers.next(there, share_with_one_more(&server, now)) {
            Next::Claim(offer) => {
                // Where calls come too fast for us, another engine may have it.
                if server.shared.admission().pace(now) {
                    begin(&server, offer.channel, now);
                }
                continue;
            }
            Next::At(at) => Some(at.since(there)),
            Next::Nothing => None,
        };
        let heard = match wake {
            Some(wake) => tokio::select! {
                heard = news.recv() => heard,
                () = tokio::time::sleep(wake) => continue,
            },
            None => news.recv().await,
        };
        match heard {
            Some(News::Offered(offer)) if wanted(&server, &offer) => offers.push(offer),
            Some(News::Offered(_)) => {}
            Some(News::Taken(channel)) => offers.forget(&channel),
            None => return,
        }
    }
}

/// Whether an offer is one for us at all.
fn wanted(server: &Server, offer: &Offer) -> bool {
    let default = server.shared.config.engine.bot.as_deref();
    server.open().is_ok() && server.shared.services.bot_for(offer.bot.as_deref(), default).is_some()
}

/// The share of our room that one more call would fill: of the server's, or of the engine's if that is the larger one.
#[expect(clippy::cast_precision_loss, reason = "calls are far fewer than what an f64 counts exactly")]
fn share_with_one_more(server: &Server, now: Moment) -> f64 {
    let room = server.room(now);
    let admission = server.shared.admission();
    if server.open().is_err() || admission.look(room).is_err() {
        return f64::INFINITY;
    }
    // Half of the one more: with the whole of it, larger engines get a little more than their share (as seats by d'Hondt's
    // method and by Sainte-Laguë's differ).
    let of = |calls: usize, most: usize| (calls as f64 + 0.5) / most.max(1) as f64;
    // Claims of one server are not counted by the engine yet; those of others are few.
    let pending = room.calls.saturating_sub(server.switchboard.len());
    of(room.calls, room.capacity).max(of(admission.calls() + pending, admission.most()))
}

/// Claims a call; it comes as any other, with its StasisStart.
fn begin(server: &Arc<Server>, channel: ChannelId, now: Moment) {
    server.claims.made().insert(channel.clone(), now);
    let server = Arc::clone(server);
    tokio::spawn(async move {
        let claimed = server.ari.user_events().claim(&channel, &server.app).await;
        server.claims.took(Moment::now().since(now));
        let Err(error) = claimed else { return };
        server.claims.comes(&channel);
        match error {
            AriError::Conflict { .. } | AriError::NotFound { .. } => {
                tracing::debug!(
                    server = server.name,
                    channel = channel.as_str(),
                    "another engine was faster"
                );
            }
            error => tracing::warn!(server = server.name, %error, "a call could not be claimed"),
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(number: u32, at: Moment) -> Offer {
        let channel = ChannelId::from(format!("1.{number}").as_str());
        Offer { channel, at, patience: Duration::from_millis(1_000), bot: None }
    }

    fn channel(app: &str, data: &str) -> Channel {
        let text = serde_json::json!({ "id": "1.1", "dialplan": { "app_name": app, "app_data": data } });
        serde_json::from_value(text).expect("a channel")
    }

    #[test]
    fn the_dialplan_says_how_long_it_waits_and_which_bot_it_means() {
        let of = |data: &str| Offer::of(&channel("StasisBroadcast", data), Moment::ZERO);
        let plain = of("");
        assert_eq!((plain.patience, plain.bot), (PATIENCE, None));
        let full = of("800,^bot-.*,frontdesk:two,yes");
        assert_eq!((full.patience.as_millis(), full.bot.as_deref()), (800, Some("frontdesk")));
        assert_eq!(of(",,frontdesk").bot.as_deref(), Some("frontdesk"));
        assert_eq!(of("99999999999999999").patience, LONGEST);
        assert_eq!(arguments(&channel("StasisBroadcast", "800,,frontdesk:two")), ["frontdesk", "two"]);
        assert_eq!(arguments(&channel("Stasis", "bot,frontdesk,two")), ["frontdesk", "two"]);
    }

    #[test]
    fn a_late_word_counts_from_when_it_was_said_whatever_the_clocks_are() {
        let mut ways = Ways::default();
        let at = Moment::from_millis;
        // Asterisk's clock is an hour ahead.
        let stamp = |ms: i64| Some(WallTime(3_600_000 + ms));
        assert_eq!(ways.offered(at(10_005), stamp(10_000)), at(10_005), "the first one tells nothing");
        assert_eq!(ways.offered(at(11_105), stamp(11_000)), at(11_005), "100 ms later than that");
        assert_eq!(ways.offered(at(12_001), stamp(12_000)), at(12_001));
        assert_eq!(ways.offered(at(13_005), stamp(13_000)), at(13_001));
        assert_eq!(ways.offered(at(14_000), None), at(14_000), "no time, no correction");
        assert_eq!(ways.offered(at(80_000), stamp(10_000)), at(78_000), "a clock that was put right");
    }

    #[test]
    fn a_full_engine_claims_when_somebody_has_hung_up_and_never_too_late() {
        let at = Moment::from_millis;
        let mut offers = Offers::default();
        offers.push(offer(1, at(0)));
        assert_eq!(offers.next(at(10), f64::INFINITY), Next::At(at(30)));
        assert_eq!(offers.next(at(30), 1.0), Next::At(at(600)));
        assert_eq!(offers.next(at(600), 1.0), Next::Claim(offer(1, at(0))));
        offers.push(offer(2, at(1_000)));
        offers.push(offer(3, at(1_001)));
        offers.forget(&offer(2, at(0)).channel);
        assert_eq!(offers.next(at(1_002), 0.0), Next::Claim(offer(3, at(1_001))));
        offers.push(offer(4, at(2_000)));
        assert_eq!(offers.next(at(3_000), 0.0), Next::Nothing, "the dialplan has gone on");
    }

    /// An engine in the game below.
    struct Player {
        capacity: usize,
        calls: usize,
        offers: Offers,
        /// When it looks again.
        wakes: Moment,
        alive: bool,
    }

    /// Calls come to engines with these capacities; news of each takes up to `late` to reach an engine, and so does its claim.
    /// Gives the calls of each. All in virtual time.
    fn share(
        capacities: &[usize],
        calls: u32,
        every: Duration,
        late: Duration,
        dead: Option<usize>,
    ) -> Vec<usize> {
        let mut random = fastrand::Rng::with_seed(7);
        let mut delay = |late: Duration| late.mul_f64(random.f64());
        let player = |capacity: &usize| Player {
            capacity: *capacity,
            calls: 0,
            offers: Offers::default(),
            wakes: Moment::ZERO,
            alive: true,
        };
        let mut players: Vec<Player> = capacities.iter().map(player).collect();
        if let Some(dead) = dead {
            players[dead].alive = false;
        }
        // What is on its way: offers to players, and claims to Asterisk.
        let mut offered: Vec<(Moment, usize, Offer)> = Vec::new();
        let mut claims: Vec<(Moment, usize, ChannelId)> = Vec::new();
        let mut free: Vec<ChannelId> = Vec::new();
        for number in 0..calls {
            let at = Moment::ZERO + every * number;
            free.push(offer(number, at).channel);
            for player in 0..players.len() {
                offered.push((at + delay(late), player, offer(number, at)));
            }
        }
        let end = Moment::ZERO + every * calls + Duration::from_secs(2);
        let mut now = Moment::ZERO;
        while now < end {
            now = now + Duration::from_millis(1);
            for (_, player, offer) in offered.extract_if(.., |(at, ..)| *at <= now) {
                players[player].offers.push(offer);
                players[player].wakes = now;
            }
            for (_, player, channel) in claims.extract_if(.., |(at, ..)| *at <= now) {
                match free.iter().position(|other| *other == channel) {
                    Some(index) => drop(free.swap_remove(index)),
                    // Another one was faster.
                    None => players[player].calls -= 1,
                }
            }
            for (index, player) in players.iter_mut().enumerate().filter(|(_, player)| player.alive) {
                while now >= player.wakes {
                    let share = match player.calls < player.capacity {
                        true => (player.calls as f64 + 0.5) / player.capacity as f64,
                        false => f64::INFINITY,
                    };
                    match player.offers.next(now, share) {
                        Next::Claim(offer) => {
                            player.calls += 1;
                            claims.push((now + delay(late), index, offer.channel));
                        }
                        Next::At(at) => player.wakes = at,
                        Next::Nothing => player.wakes = end + every + late + Duration::from_secs(1),
                    }
                }
            }
        }
        players.iter().map(|player| player.calls).collect()
    }

    /// Every share is within so much of what the capacities say.
    fn assert_fair(capacities: &[usize], shares: &[usize], within: f64) {
        let (room, calls): (usize, usize) = (capacities.iter().sum(), shares.iter().sum());
        for (capacity, share) in capacities.iter().zip(shares) {
            let fair = (calls * capacity) as f64 / room as f64;
            let off = (*share as f64 - fair).abs() / fair;
            assert!(off <= within, "{shares:?} of {capacities:?}: {share} instead of {fair:.0}");
        }
    }

    #[test]
    fn calls_are_shared_as_the_capacities_are() {
        let ms = Duration::from_millis;
        for capacities in [&[200, 200][..], &[200, 100], &[300, 100], &[150, 100, 50]] {
            for (every, late) in [(ms(50), ms(5)), (ms(50), ms(25)), (ms(5), ms(10)), (ms(0), ms(5))] {
                let shares = share(capacities, 200, every, late, None);
                assert_eq!(shares.iter().sum::<usize>(), 200, "{every:?} {late:?}: every call has an engine");
                // All at the same instant is no way of calling; still nobody is left out.
                assert_fair(capacities, &shares, if every.is_zero() { 0.2 } else { 0.1 });
            }
        }
    }

    #[test]
    fn a_dead_engine_holds_nobody_up_and_a_full_one_takes_no_more() {
        let ms = Duration::from_millis;
        assert_eq!(share(&[200, 200], 150, ms(20), ms(10), Some(0)), [0, 150]);
        assert_eq!(share(&[20, 200], 230, ms(20), ms(10), None), [20, 200]);
        assert_eq!(share(&[20, 30], 200, ms(20), ms(10), None), [20, 30]);
    }
}
