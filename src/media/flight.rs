//! What has been handed to the transport and not been heard yet: on RTP and AudioSocket nothing, on WebSocket what is in
//! Asterisk's queue.
//!
//! Frames are numbered as they leave, and acknowledged by number when they begin to be heard. The ends of plays stand
//! between them, so that a play is told to be over when its last frame has been heard, on every transport.

use std::collections::VecDeque;
use std::time::Duration;

use super::PlayEnd;
use super::playout::Notice;
use crate::audio::PTIME;
use crate::audio::ring::PlayId;
use crate::time::Moment;

/// Frames and ends that can be on their way; far more than any transport lets wait.
const ROOM: usize = 128;

/// A frame lasts a little less than 20 ms when two clocks measure it.
const NEARLY_A_FRAME: Duration = Duration::from_millis(18);

/// What is on its way, oldest first.
#[derive(Debug)]
pub(super) struct Flight {
    items: VecDeque<Item>,
    /// The play whose frames are being heard.
    account: Option<Account>,
    next: u32,
    /// When the newest acknowledged frame began to be heard.
    begun: Moment,
    /// The play that goes out as good as silent.
    hushed: Option<PlayId>,
    /// The transport acknowledges by itself and later; otherwise a frame that left is heard.
    deferred: bool,
}

#[derive(Clone, Copy, Debug)]
enum Item {
    /// A frame, of a play or of silence.
    Frame { number: u32, play: Option<PlayId> },
    /// Everything before it has been thrown away over there.
    Fence { number: u32 },
    /// Nothing more comes of a play.
    End { play: PlayId, end: PlayEnd },
}

#[derive(Clone, Copy, Debug)]
struct Account {
    play: PlayId,
    heard: Duration,
    /// The end of it that went out as good as silent, and so was not heard after all.
    hushed: Duration,
}

impl Flight {
    pub(super) fn new(deferred: bool) -> Self {
        let items = VecDeque::with_capacity(ROOM);
        Self { items, account: None, next: 0, begun: Moment::ZERO, hushed: None, deferred }
    }

    /// A frame leaves. Its number.
    pub(super) fn frame(&mut self, play: Option<PlayId>, notice: &mut dyn FnMut(Notice)) -> u32 {
        let number = self.number();
        self.push(Item::Frame { number, play }, notice);
        number
    }

    /// This play goes out as good as silent from now on; [`None`]: what is played is heard.
    pub(super) const fn hush(&mut self, play: Option<PlayId>) {
        self.hushed = play;
    }

    /// A play is over once what is on its way has been heard.
    pub(super) fn end(&mut self, now: Moment, play: PlayId, end: PlayEnd, notice: &mut dyn FnMut(Notice)) {
        self.push(Item::End { play, end }, notice);
        self.settle(now, notice);
    }

    /// What is on its way will not be heard, but for what is acknowledged before the fence is. The fence's number.
    pub(super) fn fence(&mut self, notice: &mut dyn FnMut(Notice)) -> u32 {
        let number = self.number();
        self.push(Item::Fence { number }, notice);
        number
    }

    /// Whether anything of plays up to `last` is on its way, and nothing of later ones.
    pub(super) fn holds_only(&self, last: PlayId) -> bool {
        let mut plays = self.plays().peekable();
        plays.peek().is_some() && plays.all(|play| play <= last)
    }

    /// Whether all that is on its way is silence.
    pub(super) fn is_silent(&self) -> bool {
        self.plays().next().is_none()
    }

    fn plays(&self) -> impl Iterator<Item = PlayId> + '_ {
        let since_fence = self.items.iter().rev().take_while(|item| !matches!(item, Item::Fence { .. }));
        since_fence.filter_map(|item| if let Item::Frame { play, .. } = item { *play } else { None })
    }

    /// The frame of this number begins to be heard, or the fence of this number has been reached.
    pub(super) fn reached(&mut self, now: Moment, number: u32, notice: &mut dyn FnMut(Notice)) {
        if !self.items.iter().any(
            |item| matches!(item, Item::Frame { number: n, .. } | Item::Fence { number: n } if *n == number),
        ) {
            return;
        }
        while let Some(item) = self.items.pop_front() {
            match item {
                Item::End { play, end } => self.tell(play, end, notice),
                Item::Frame { number: n, play } if n == number => {
                    self.begun = now;
                    if let Some(play) = play {
                        self.credit(play, notice);
                    }
                    break;
                }
                Item::Fence { number: n } if n == number => {
                    // What was thrown away ended then.
                    self.begun = Moment::ZERO;
                    break;
                }
                Item::Frame { .. } | Item::Fence { .. } => {}
            }
        }
        self.settle(now, notice);
    }

    /// The newest frame did not leave after all.
    pub(super) fn refused(&mut self) {
        if let Some(Item::Frame { .. }) = self.items.back() {
            self.items.pop_back();
        }
    }

    /// Tells the ends that have been reached.
    pub(super) fn settle(&mut self, now: Moment, notice: &mut dyn FnMut(Notice)) {
        while let Some(Item::End { play, end }) = self.items.front().copied() {
            if self.deferred && now.since(self.begun) < NEARLY_A_FRAME {
                return;
            }
            self.items.pop_front();
            self.tell(play, end, notice);
        }
    }

    /// Nothing more will be acknowledged: what is on its way was not heard.
    pub(super) fn give_up(&mut self, notice: &mut dyn FnMut(Notice)) {
        while let Some(item) = self.items.pop_front() {
            if let Item::End { play, end } = item {
                self.tell(play, end, notice);
            }
        }
    }

    fn number(&mut self) -> u32 {
        self.next = self.next.wrapping_add(1);
        self.next
    }

    fn push(&mut self, item: Item, notice: &mut dyn FnMut(Notice)) {
        if self.items.len() == ROOM
            && let Some(Item::End { play, end }) = self.items.pop_front()
        {
            self.tell(play, end, notice);
        }
        self.items.push_back(item);
    }

    fn credit(&mut self, play: PlayId, notice: &mut dyn FnMut(Notice)) {
        match &mut self.account {
            Some(account) if account.play == play => {
                account.heard += PTIME;
                // Of what came back to level the whole counts: nobody repeats a word out of its middle.
                account.hushed =
                    if self.hushed == Some(play) { account.hushed + PTIME } else { Duration::ZERO };
            }
            account => {
                *account = Some(Account { play, heard: PTIME, hushed: Duration::ZERO });
                notice(Notice::Started { play });
            }
        }
    }

    fn tell(&mut self, play: PlayId, end: PlayEnd, notice: &mut dyn FnMut(Notice)) {
        let account = self.account.filter(|account| account.play == play);
        let heard = account.map_or(Duration::ZERO, |account| account.heard - account.hushed);
        notice(Notice::Ended { play, heard, end });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: PlayId = PlayId(1);
    const TWO: PlayId = PlayId(2);

    fn at(ms: u64) -> Moment {
        Moment::from_millis(1_000 + ms)
    }

    /// What is noticed, as text.
    fn noticed(work: impl FnOnce(&mut dyn FnMut(Notice))) -> Vec<String> {
        let mut said = Vec::new();
        work(&mut |notice| {
            said.push(match notice {
                Notice::Started { play } => format!("{} starts", play.0),
                Notice::Ended { play, heard, end } => {
                    format!("{} {end:?} after {} ms", play.0, heard.as_millis())
                }
                Notice::Began(_) => unreachable!("a flight announces nothing"),
            });
        });
        said
    }

    #[test]
    fn what_went_out_hushed_was_not_heard_unless_it_came_back_to_level() {
        let mut told = Vec::new();
        let mut flight = Flight::new(false);
        let frames = |flight: &mut Flight, count: usize, hushed: bool| {
            flight.hush(hushed.then_some(ONE));
            for _ in 0..count {
                flight.frame(Some(ONE), &mut |_| ());
                let number = flight.next;
                flight.reached(at(0), number, &mut |_| ());
            }
        };
        frames(&mut flight, 5, false);
        frames(&mut flight, 3, true);
        frames(&mut flight, 2, false);
        frames(&mut flight, 4, true);
        flight.end(at(0), ONE, PlayEnd::BargedIn, &mut |notice| told.push(notice));
        let [Notice::Ended { heard, .. }] = told[..] else { panic!("{} notices", told.len()) };
        assert_eq!(heard, Duration::from_millis(200));
    }

    #[test]
    fn a_play_is_over_when_its_last_frame_has_been_heard() {
        let mut flight = Flight::new(true);
        let [a, b] = [0, 0].map(|_| flight.frame(Some(ONE), &mut |_| ()));
        assert!(noticed(|out| flight.end(at(0), ONE, PlayEnd::Finished, out)).is_empty());
        assert_eq!(noticed(|out| flight.reached(at(20), a, out)), ["1 starts"]);
        assert!(noticed(|out| flight.reached(at(40), b, out)).is_empty(), "it begins only");
        assert!(noticed(|out| flight.settle(at(50), out)).is_empty());
        assert_eq!(noticed(|out| flight.settle(at(60), out)), ["1 Finished after 40 ms"]);
    }

    #[test]
    fn the_next_frame_proves_that_the_last_one_was_heard() {
        let mut flight = Flight::new(true);
        let last = flight.frame(Some(ONE), &mut |_| ());
        flight.end(at(0), ONE, PlayEnd::Finished, &mut |_| ());
        let silence = flight.frame(None, &mut |_| ());
        flight.reached(at(20), last, &mut |_| ());
        assert_eq!(noticed(|out| flight.reached(at(37), silence, out)), ["1 Finished after 20 ms"]);
    }

    #[test]
    fn a_flush_counts_what_was_heard_before_it_and_nothing_else() {
        let mut flight = Flight::new(true);
        let frames = [0; 4].map(|_| flight.frame(Some(ONE), &mut |_| ()));
        flight.reached(at(20), frames[0], &mut |_| ());
        assert!(flight.holds_only(ONE));
        let fence = flight.fence(&mut |_| ());
        assert!(flight.is_silent(), "all of it was thrown away");
        assert!(noticed(|out| flight.end(at(30), ONE, PlayEnd::Flushed, out)).is_empty());
        let two = flight.frame(Some(TWO), &mut |_| ());
        // It was on its way to us when we flushed.
        flight.reached(at(40), frames[1], &mut |_| ());
        let told = noticed(|out| flight.reached(at(41), fence, out));
        assert_eq!(told, ["1 Flushed after 40 ms"]);
        assert_eq!(noticed(|out| flight.reached(at(60), two, out)), ["2 starts"]);
    }

    #[test]
    fn on_a_transport_that_does_not_queue_what_left_is_heard() {
        let mut flight = Flight::new(false);
        let frame = flight.frame(Some(ONE), &mut |_| ());
        assert_eq!(noticed(|out| flight.reached(at(0), frame, out)), ["1 starts"]);
        flight.frame(Some(ONE), &mut |_| ());
        flight.refused();
        assert_eq!(
            noticed(|out| flight.end(at(20), ONE, PlayEnd::Finished, out)),
            ["1 Finished after 20 ms"]
        );
    }

    #[test]
    fn a_number_that_nobody_gave_is_no_acknowledgement() {
        let mut flight = Flight::new(true);
        flight.frame(Some(ONE), &mut |_| ());
        assert!(noticed(|out| flight.reached(at(0), 77, out)).is_empty());
        assert!(!flight.is_silent());
    }

    #[test]
    fn a_far_end_that_never_answers_fills_no_memory() {
        let mut flight = Flight::new(true);
        for i in 0..1_000 {
            flight.frame(Some(PlayId(i)), &mut |_| ());
            flight.end(at(0), PlayId(i), PlayEnd::Finished, &mut |_| ());
        }
        assert_eq!(flight.items.len(), ROOM);
        assert!(flight.items.capacity() <= 2 * ROOM);
    }
}
