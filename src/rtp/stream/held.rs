//! Packets that are held back until what is missing before them comes or is given up.

use super::timing::Timing;
use crate::prefetch::prefetch;
use crate::rtp::Seq;
use crate::rtp::packet::{Header, Packet};
use crate::time::Moment;

/// Packets that can be held back at once.
pub(super) const SLOTS: u16 = 16;

/// Packets held, their payloads in one piece of memory that is as large as the call's format asks.
pub(super) struct HeldPackets {
    slots: [Option<Held>; SLOTS as usize],
    arena: Box<[u8]>,
    /// How much of `arena` is taken.
    used: usize,
    /// How many of `slots` are taken; nearly always none, and then they are not looked at.
    count: usize,
}

/// One of them, without its payload.
#[derive(Clone, Copy)]
pub(super) struct Held {
    pub(super) header: Header,
    pub(super) arrived: Moment,
    pub(super) timing: Timing,
    start: usize,
    len: usize,
}

/// Why a packet was not held.
pub(super) enum Refused {
    /// It is held already.
    Duplicate,
    /// Others must go first.
    NoRoom,
}

impl HeldPackets {
    /// Asks for the memory that says whether there are any.
    pub(super) fn prefetch(&self) {
        prefetch(&self.count);
    }

    /// Room for `bytes` of payload.
    pub(super) fn new(bytes: usize) -> Self {
        Self { slots: [None; SLOTS as usize], arena: vec![0; bytes].into(), used: 0, count: 0 }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn has(&self, seq: Seq) -> bool {
        self.count > 0 && self.slots[index(seq)].is_some_and(|held| held.header.seq == seq)
    }

    pub(super) fn hold(&mut self, now: Moment, packet: &Packet<'_>, timing: Timing) -> Result<(), Refused> {
        if self.slots[index(packet.header.seq)].is_some() {
            return Err(Refused::Duplicate);
        }
        let len = packet.payload.len();
        if self.used + len > self.arena.len() {
            self.compact();
        }
        let Some(place) = self.arena.get_mut(self.used..self.used + len) else { return Err(Refused::NoRoom) };
        place.copy_from_slice(packet.payload);
        let held = Held { header: packet.header, arrived: now, timing, start: self.used, len };
        self.slots[index(packet.header.seq)] = Some(held);
        self.used += len;
        self.count += 1;
        Ok(())
    }

    /// Takes a packet out, if it is here. Its payload stays where it is until another is held.
    pub(super) fn take(&mut self, seq: Seq) -> Option<Held> {
        if self.count == 0 {
            return None;
        }
        let held = self.slots[index(seq)].take_if(|held| held.header.seq == seq)?;
        self.count -= 1;
        if self.count == 0 {
            self.used = 0;
        }
        Some(held)
    }

    /// Lends the memory of payloads, so that one can be read while the stream goes on; to be given back by
    /// [`give_back`](Self::give_back) before anything else is held.
    pub(super) fn lend(&mut self) -> Box<[u8]> {
        std::mem::take(&mut self.arena)
    }

    pub(super) fn give_back(&mut self, arena: Box<[u8]>) {
        self.arena = arena;
    }

    /// The first to arrive of those held.
    pub(super) fn oldest(&self) -> Option<Moment> {
        if self.count == 0 { None } else { self.slots.iter().flatten().map(|held| held.arrived).min() }
    }

    /// When the first packet arrived that overtook `seq`; [`None`] when none did.
    pub(super) fn overtaken_at(&self, seq: Seq) -> Option<Moment> {
        if self.count == 0 {
            return None;
        }
        let overtakers = self.slots.iter().flatten().filter(|held| held.header.seq.after(seq) > 0);
        overtakers.map(|held| held.arrived).min()
    }

    /// The first in order of those held, where `next` is awaited.
    pub(super) fn first(&self, next: Seq) -> Option<Seq> {
        if self.count == 0 {
            return None;
        }
        self.slots.iter().flatten().map(|held| held.header.seq).min_by_key(|seq| seq.after(next))
    }

    /// Bytes that this keeps, apart from itself.
    pub(super) const fn bytes(&self) -> usize {
        self.arena.len()
    }

    /// Moves the payloads together.
    fn compact(&mut self) {
        let mut order: [usize; SLOTS as usize] = std::array::from_fn(|slot| slot);
        order.sort_unstable_by_key(|slot| self.slots[*slot].map_or(usize::MAX, |held| held.start));
        self.used = 0;
        for slot in order {
            if let Some(held) = &mut self.slots[slot] {
                self.arena.copy_within(held.start..held.start + held.len, self.used);
                held.start = self.used;
                self.used += held.len;
            }
        }
    }
}

impl Held {
    /// Its payload in the memory that was lent.
    pub(super) fn payload<'a>(&self, arena: &'a [u8]) -> &'a [u8] {
        arena.get(self.start..self.start + self.len).unwrap_or_default()
    }
}

fn index(seq: Seq) -> usize {
    usize::from(seq.0 % SLOTS)
}
