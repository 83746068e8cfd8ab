//! Audio that somebody else makes, on its way into a verb: taken as fast as it comes, handed over as it is heard.

use tokio::sync::mpsc;

use crate::speech::words::WordTimes;
use crate::speech::{SpeechError, SpeechStream};

/// Audio is handed over in pieces of at most this many samples.
const PIECE: usize = 8_000;

/// The near end of a stream that a verb says. What waits in it is bounded by whoever fills it, who asks
/// [`waiting`](Self::waiting).
pub(super) struct Sink {
    /// Gone when the last was handed over, which is how the verb learns of the end.
    sender: Option<mpsc::Sender<Result<Vec<i16>, SpeechError>>>,
    waiting: Vec<i16>,
    ended: bool,
}

impl Sink {
    /// Both ends.
    pub fn open() -> (Self, SpeechStream) {
        let (sender, chunks) = mpsc::channel(1);
        let sink = Self { sender: Some(sender), waiting: Vec::new(), ended: false };
        (sink, SpeechStream { chunks, times: WordTimes::default() })
    }

    /// More of it; nothing after its end.
    pub fn push(&mut self, samples: &[i16]) {
        if !self.ended {
            self.waiting.extend_from_slice(samples);
        }
    }

    /// Samples that were not taken yet.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Nothing more comes.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// Nothing more comes, and what waits is not wanted either.
    pub fn cut(&mut self) {
        self.waiting.clear();
        self.ended = true;
    }

    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// Hands over what waits as the verb takes it; comes back after each piece, true when that was the last or nobody wants
    /// more, and not at all while there is nothing to do. Cancel-safe.
    pub async fn pour(&mut self) -> bool {
        let Some(sender) = self.sender.as_ref().filter(|_| self.ended || !self.waiting.is_empty()) else {
            return std::future::pending().await;
        };
        if !self.waiting.is_empty() {
            let Ok(permit) = sender.reserve().await else {
                // The verb is over: nobody wants the rest.
                self.cut();
                self.sender = None;
                return true;
            };
            let rest = self.waiting.split_off(self.waiting.len().min(PIECE));
            permit.send(Ok(std::mem::replace(&mut self.waiting, rest)));
        }
        let last = self.ended && self.waiting.is_empty();
        if last {
            self.sender = None;
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_pushed_is_taken_in_pieces_and_ends() {
        let (mut sink, mut stream) = Sink::open();
        sink.push(&vec![1; PIECE + 10]);
        sink.end();
        sink.push(&[2]);
        assert!(!sink.pour().await);
        assert_eq!(stream.chunks.recv().await.map(|chunk| chunk.map(|c| c.len()).ok()), Some(Some(PIECE)));
        assert!(sink.pour().await, "that was the last");
        assert_eq!(stream.chunks.recv().await.map(|chunk| chunk.map(|c| c.len()).ok()), Some(Some(10)));
        assert!(stream.chunks.recv().await.is_none(), "the verb learns of the end");
        let more = tokio::time::timeout(std::time::Duration::from_secs(1), sink.pour()).await;
        assert!(more.is_err(), "there is nothing more to do");
    }

    #[tokio::test]
    async fn nobody_is_held_up_by_a_verb_that_is_over() {
        let (mut sink, stream) = Sink::open();
        drop(stream);
        sink.push(&[1]);
        assert!(sink.pour().await);
    }
}
