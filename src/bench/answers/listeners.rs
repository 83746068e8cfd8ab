//! The recogniser that hears along, in virtual time: what it tells comes as late as its decoder's work makes it.

#[cfg(feature = "pocketsphinx")]
use std::sync::{Mutex, PoisonError};
#[cfg(feature = "pocketsphinx")]
use std::time::Duration;

use super::AnswersError;
use super::corpus::{Tick, Words};
use crate::audio::Frame;
#[cfg(feature = "pocketsphinx")]
use crate::bench::machine::thread_cpu;
#[cfg(feature = "pocketsphinx")]
use crate::speech::pocketsphinx::Examiner;
use crate::speech::pocketsphinx::{PocketSphinxConfig, PocketSphinxRecognizer};
#[cfg(feature = "pocketsphinx")]
use crate::time::Moment;
use crate::turn::answer::Book;
use crate::turn::answer::judge::Judge;
#[cfg(feature = "pocketsphinx")]
use crate::turn::answer::judge::Phase;
#[cfg(feature = "pocketsphinx")]
use crate::turn::answer::listener::{GOES_ON, HEARS};

/// From the decoder to the detector: two channels between threads.
#[cfg(feature = "pocketsphinx")]
const HOP: Duration = Duration::from_millis(2);

/// The recogniser, and decoders that nobody uses.
pub(super) struct Listeners {
    #[cfg_attr(not(feature = "pocketsphinx"), expect(dead_code, reason = "there is none"))]
    recognizer: PocketSphinxRecognizer,
    /// It hears calls in other languages than its own, English, too.
    pub(super) abroad: bool,
    #[cfg(feature = "pocketsphinx")]
    idle: Mutex<Vec<Examiner>>,
}

/// Seconds of work, and of audio.
pub(super) type Work = (f64, f64);

impl Listeners {
    /// Makes the recogniser; [`None`] in a build without one.
    pub(super) fn find(abroad: bool) -> Result<Option<Self>, AnswersError> {
        if !cfg!(feature = "pocketsphinx") {
            return Ok(None);
        }
        let recognizer = PocketSphinxRecognizer::of_answers(PocketSphinxConfig::default())?;
        Ok(Some(Self {
            recognizer,
            abroad,
            #[cfg(feature = "pocketsphinx")]
            idle: Mutex::default(),
        }))
    }

    /// Hears a call's frames from the `first` one on, for as long as the engine would: `judge` decides meanwhile by what the
    /// ears heard and by these words. Without one it hears to the limit.
    #[cfg(feature = "pocketsphinx")]
    pub(super) fn hear(
        &self,
        first: usize,
        frames: &[Frame],
        ticks: &[Tick],
        mut judge: Option<Judge>,
        book: &Book,
    ) -> (Vec<Words>, Work) {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let Some(mut decoder) = idle.or_else(|| self.recognizer.dictation().ok()) else {
            return (Vec::new(), (0.0, 0.0));
        };
        let mut words = Vec::new();
        let (mut busy, mut work, mut audio) = (Moment::ZERO, 0.0, 0.0);
        let most = usize::try_from(HEARS.as_millis() / 20).unwrap_or(usize::MAX);
        let mut begun = decoder.begin_open(None).is_ok();
        let (mut told, mut person) = (0, None);
        for (number, (frame, tick)) in frames.iter().zip(ticks).enumerate().skip(first).take(most) {
            let end = Moment::from_millis((number as u64 + 1) * 20);
            if let Some(judge) = &mut judge {
                while let Some(Words { text, .. }) = words.get(told).filter(|words: &&Words| words.at <= end)
                {
                    judge.hear_words(end, book.tell(text));
                    told += 1;
                }
                judge.hear(end, tick.heard.as_ref(), &mut |_| {});
                match judge.phase() {
                    Phase::Machine | Phase::Over => break,
                    Phase::Person if end.since(*person.get_or_insert(end)) >= GOES_ON => break,
                    _ => {}
                }
            }
            let before = thread_cpu();
            let news = if begun { decoder.feed(frame) } else { Ok(None) };
            let took = thread_cpu().saturating_sub(before);
            begun &= news.is_ok();
            busy = busy.max(end) + took;
            work += took.as_secs_f64();
            audio += 0.02;
            if let Ok(Some(heard)) = news {
                words.push(Words { at: busy + HOP, text: heard.text });
            }
        }
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(decoder);
        (words, (work, audio))
    }

    /// Never called: there is none.
    #[cfg(not(feature = "pocketsphinx"))]
    pub(super) fn hear(
        &self,
        _: usize,
        _: &[Frame],
        _: &[Tick],
        _: Option<Judge>,
        _: &Book,
    ) -> (Vec<Words>, Work) {
        (Vec::new(), (0.0, 0.0))
    }
}
