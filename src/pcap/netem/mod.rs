//! A bad network in virtual time.
//!
//! [`Netem`] opens no socket and reads no clock: packets go in with the times at which they were sent and come out with the
//! times at which they arrive, or not at all. The same seed gives the same network, packet for packet, on every machine.
//! What a packet is, is the caller's affair.
//!
//! A packet goes through the stages in this order: the sender's clock (drift), loss, duplication, the bottleneck
//! (rate), stalls (blackouts and spikes), delay and jitter, reordering. Each stage draws from a stream of random numbers
//! of its own, so that switching one on does not change what the others do.
//!
//! - `impairment`: what can be wrong with a network: [`Impairment`];
//! - `dice`: the random numbers.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use crate::time::Moment;
use dice::Dice;

pub use impairment::{
    Blackouts, Duplication, Impairment, Jitter, Loss, RateLimit, Reordering, Shape, Spikes,
};

mod dice;
mod impairment;
#[cfg(test)]
mod tests;

/// A packet that came through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arrival<T> {
    /// When.
    pub at: Moment,
    /// Which packet it is: 0 is the first that was sent. A duplicate has its original's number.
    pub number: u64,
    /// What was sent.
    pub packet: T,
}

/// What a network did so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct NetemStats {
    /// Packets that went in.
    pub sent: u64,
    /// Packets lost by [`Impairment::loss`].
    pub lost: u64,
    /// Packets that fell into a blackout that drops.
    pub blacked_out: u64,
    /// Packets for which the bottleneck's queue had no room, or of which too many were on their way.
    pub overflowed: u64,
    /// Packets that came a second time.
    pub duplicated: u64,
    /// Packets held back so that others could overtake them.
    pub reordered: u64,
}

/// A network. Packets that are on their way are kept in memory, at most [`Netem::IN_FLIGHT`].
pub struct Netem<T> {
    impairment: Impairment,
    dice: Stages,
    /// When the first packet went in.
    began: Option<Moment>,
    in_flight: BinaryHeap<Reverse<Flight<T>>>,
    /// Counts what was put in flight, so that what arrives at the same time arrives in the order of sending.
    order: u64,
    /// The latest arrival of those that keep their order.
    latest: Moment,
    /// When the bottleneck will have sent all that it has.
    free_at: Moment,
    /// The channel of Gilbert and Elliott is in its bad state.
    bad: bool,
    spike: Option<(Moment, Moment)>,
    stats: NetemStats,
}

struct Stages {
    loss: Dice,
    duplication: Dice,
    spikes: Dice,
    jitter: Dice,
    reordering: Dice,
}

struct Flight<T> {
    at: Moment,
    order: u64,
    number: u64,
    packet: T,
}

impl<T: Clone> Netem<T> {
    /// Packets that can be on their way at once; what is sent beyond is dropped and counted.
    pub const IN_FLIGHT: usize = 65_536;

    /// A network that has seen no packet.
    #[must_use]
    pub fn new(impairment: Impairment, seed: u64) -> Self {
        let dice = Stages {
            loss: Dice::new(seed, 1),
            duplication: Dice::new(seed, 2),
            spikes: Dice::new(seed, 3),
            jitter: Dice::new(seed, 4),
            reordering: Dice::new(seed, 5),
        };
        Self {
            impairment,
            dice,
            began: None,
            in_flight: BinaryHeap::new(),
            order: 0,
            latest: Moment::ZERO,
            free_at: Moment::ZERO,
            bad: false,
            spike: None,
            stats: NetemStats::default(),
        }
    }

    /// A packet of `size` bytes (with all headers; only the bottleneck asks) is sent. Times do not go back.
    pub fn send(&mut self, now: Moment, size: usize, packet: T) {
        let began = *self.began.get_or_insert(now);
        let number = self.stats.sent;
        self.stats.sent += 1;
        let now = drifted(began, now, self.impairment.drift_ppm);
        if self.is_lost() {
            self.stats.lost += 1;
            return;
        }
        let copies = self.impairment.duplication.filter(|it| self.dice.duplication.chance(it.share));
        if let Some(duplication) = copies {
            self.stats.duplicated += 1;
            self.carry(began, now + duplication.after, size, number, packet.clone());
        }
        self.carry(began, now, size, number, packet);
    }

    /// When the next packet arrives; [`None`] while none is on its way.
    #[must_use]
    pub fn due(&self) -> Option<Moment> {
        self.in_flight.peek().map(|Reverse(flight)| flight.at)
    }

    /// The next packet that has arrived by `now`.
    pub fn poll(&mut self, now: Moment) -> Option<Arrival<T>> {
        self.due().filter(|due| *due <= now)?;
        let Reverse(Flight { at, number, packet, .. }) = self.in_flight.pop()?;
        Some(Arrival { at, number, packet })
    }

    /// What happened so far.
    #[must_use]
    pub const fn stats(&self) -> NetemStats {
        self.stats
    }

    fn is_lost(&mut self) -> bool {
        let dice = &mut self.dice.loss;
        let share = match self.impairment.loss {
            Loss::None => return false,
            Loss::Random { share } => share,
            Loss::GilbertElliott { to_bad, to_good, in_good, in_bad } => {
                self.bad = if self.bad { !dice.chance(to_good) } else { dice.chance(to_bad) };
                if self.bad { in_bad } else { in_good }
            }
        };
        dice.chance(share)
    }

    /// From the sender's side of the bottleneck to the receiver.
    fn carry(&mut self, began: Moment, now: Moment, size: usize, number: u64, packet: T) {
        let Some(out) = self.bottleneck(now, size) else {
            self.stats.overflowed += 1;
            return;
        };
        let Some(out) = self.blackout(began, out) else {
            self.stats.blacked_out += 1;
            return;
        };
        let mut at = self.end_of_spike(out) + self.impairment.delay;
        if let Some(jitter) = self.impairment.jitter {
            at = at + self.dice.jitter.span(jitter.shape);
            if jitter.keep_order {
                at = at.max(self.latest);
            }
        } else {
            at = at.max(self.latest);
        }
        match self.impairment.reordering.filter(|it| self.dice.reordering.chance(it.share)) {
            Some(reordering) => {
                self.stats.reordered += 1;
                at = at + self.dice.reordering.between(reordering.at_least, reordering.at_most);
            }
            None => self.latest = self.latest.max(at),
        }
        if self.in_flight.len() >= Self::IN_FLIGHT {
            self.stats.overflowed += 1;
            return;
        }
        self.order += 1;
        self.in_flight.push(Reverse(Flight { at, order: self.order, number, packet }));
    }

    fn bottleneck(&mut self, now: Moment, size: usize) -> Option<Moment> {
        let Some(RateLimit { bits_per_second, queue }) = self.impairment.rate else { return Some(now) };
        if self.free_at.since(now) > queue {
            return None;
        }
        let nanos = (size as u64).saturating_mul(8_000_000_000) / bits_per_second.max(1);
        self.free_at = self.free_at.max(now) + Duration::from_nanos(nanos);
        Some(self.free_at)
    }

    /// When what comes to the blackout at `at` goes on; [`None`]: never.
    fn blackout(&self, began: Moment, at: Moment) -> Option<Moment> {
        let Some(Blackouts { first, every, length, held }) = self.impairment.blackouts else {
            return Some(at);
        };
        let Some(since) = at.since(began).checked_sub(first) else { return Some(at) };
        let into = match every {
            Some(every) if !every.is_zero() => {
                Duration::from_nanos((since.as_nanos() % every.as_nanos()).try_into().unwrap_or(u64::MAX))
            }
            _ => since,
        };
        if into >= length {
            return Some(at);
        }
        held.then(|| at + (length - into))
    }

    /// When what comes to the spikes at `at` goes on. Spikes come at random, one after another.
    fn end_of_spike(&mut self, at: Moment) -> Moment {
        let Some(Spikes { every, height }) = self.impairment.spikes else { return at };
        let dice = &mut self.dice.spikes;
        let mut next = |from: Moment| {
            let begins = from + dice.span(Shape::Exponential { mean: every });
            (begins, begins + height)
        };
        let mut spike = match self.spike {
            Some(spike) => spike,
            None => next(at),
        };
        while spike.1 <= at {
            // At least a nanosecond on, so that spikes without a pause between them come to an end.
            spike = next(spike.1 + Duration::from_nanos(1));
        }
        self.spike = Some(spike);
        if spike.0 <= at { spike.1 } else { at }
    }
}

/// Sends all `packets` (when, how large, what) through a network; what arrives, in the order of arrival.
pub fn pass<T: Clone>(
    impairment: Impairment,
    seed: u64,
    packets: impl IntoIterator<Item = (Moment, usize, T)>,
) -> (Vec<Arrival<T>>, NetemStats) {
    let mut network = Netem::new(impairment, seed);
    let mut arrived = Vec::new();
    for (at, size, packet) in packets {
        // What arrives before this is sent has left the network by then.
        while let Some(arrival) = network.poll(at) {
            arrived.push(arrival);
        }
        network.send(at, size, packet);
    }
    while let Some(due) = network.due() {
        arrived.extend(network.poll(due));
    }
    (arrived, network.stats())
}

/// `now` on the sender's clock, as the receiver sees it.
fn drifted(began: Moment, now: Moment, ppm: f64) -> Moment {
    let since = now.since(began).as_nanos().min(u128::from(u64::MAX));
    #[expect(
        clippy::cast_precision_loss,
        reason = "days are exact to the microsecond, and drift needs no more"
    )]
    let shift = (since as f64 * ppm / 1e6).round();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "casts from floats saturate")]
    let span = Duration::from_nanos(shift.abs() as u64);
    if shift < 0.0 { now - span } else { now + span }
}

impl<T> PartialEq for Flight<T> {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl<T> Eq for Flight<T> {}

impl<T> PartialOrd for Flight<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Flight<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}
