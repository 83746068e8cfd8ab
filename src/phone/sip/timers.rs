//! When a message goes again over UDP (RFC 3261 section 17).

use std::time::Duration;

use crate::time::Moment;

/// The round trip that SIP assumes.
pub const T1: Duration = Duration::from_millis(500);

/// The longest time between two copies of what is not an INVITE.
pub const T2: Duration = Duration::from_secs(4);

/// How long a transaction lives: 64 × [`T1`].
pub const LIFE: Duration = Duration::from_secs(32);

/// What a [`Resend`] asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fire {
    /// Nothing to do yet.
    Nothing,
    /// Send the message again.
    Again,
    /// Nobody answered in [`LIFE`].
    GiveUp,
}

/// The timers of one message that waits for its answer: A and B, E and F, G and H of RFC 3261, by their caps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Resend {
    next: Option<Moment>,
    interval: Duration,
    cap: Duration,
    deadline: Moment,
}

impl Resend {
    /// For an INVITE request first sent at `now`: doubles without a cap until a response comes.
    #[must_use]
    pub fn invite(now: Moment) -> Self {
        Self { next: Some(now + T1), interval: T1, cap: LIFE, deadline: now + LIFE }
    }

    /// For any other request, and for the final response to an INVITE, first sent at `now`: doubles up to [`T2`].
    #[must_use]
    pub fn other(now: Moment) -> Self {
        Self { cap: T2, ..Self::invite(now) }
    }

    /// No more copies: a provisional response came. The deadline stays.
    pub fn quiet(&mut self) {
        self.next = None;
    }

    /// Moves the deadline: to the end of ringing once an INVITE is being worked on, or to soon after a CANCEL.
    pub fn give_up_at(&mut self, deadline: Moment) {
        self.deadline = deadline;
    }

    /// When [`poll`](Self::poll) wants to be called next.
    #[must_use]
    pub fn due(&self) -> Moment {
        self.next.map_or(self.deadline, |next| next.min(self.deadline))
    }

    /// What to do at `now`. After a pause of the process that held several copies, one is sent.
    pub fn poll(&mut self, now: Moment) -> Fire {
        if now >= self.deadline {
            return Fire::GiveUp;
        }
        match self.next {
            Some(next) if now >= next => {
                self.interval = (self.interval * 2).min(self.cap);
                self.next = Some(now + self.interval);
                Fire::Again
            }
            _ => Fire::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copies(mut timer: Resend) -> (Vec<f64>, f64) {
        let mut sent = Vec::new();
        loop {
            let at = timer.due();
            match timer.poll(at) {
                Fire::Again => sent.push(at.millis_from(Moment::ZERO)),
                Fire::GiveUp => return (sent, at.millis_from(Moment::ZERO)),
                Fire::Nothing => panic!("due, and nothing to do"),
            }
        }
    }

    #[test]
    fn an_invite_goes_seven_times_in_32_seconds() {
        let (sent, gave_up) = copies(Resend::invite(Moment::ZERO));
        assert_eq!(sent, [500.0, 1_500.0, 3_500.0, 7_500.0, 15_500.0, 31_500.0]);
        assert!((gave_up - 32_000.0).abs() < 1e-6);
    }

    #[test]
    fn a_bye_goes_every_four_seconds_in_the_end() {
        let (sent, _) = copies(Resend::other(Moment::ZERO));
        assert_eq!(
            sent,
            [500.0, 1_500.0, 3_500.0, 7_500.0, 11_500.0, 15_500.0, 19_500.0, 23_500.0, 27_500.0, 31_500.0]
        );
    }

    #[test]
    fn a_provisional_response_ends_the_copies_but_not_the_wait() {
        let mut timer = Resend::invite(Moment::ZERO);
        timer.quiet();
        timer.give_up_at(Moment::from_millis(180_000));
        assert_eq!(timer.poll(Moment::from_millis(60_000)), Fire::Nothing);
        assert_eq!(timer.poll(Moment::from_millis(180_000)), Fire::GiveUp);
    }
}
