//! The inner end of a [`SpeechStream`]: what a synthesiser pours its audio into, whatever its rate and pieces.

use std::future::Future;
use std::time::Duration;

use tokio::sync::mpsc;

use super::words::WordTimes;
use super::{SpeechError, SpeechStream, Utterance};
use crate::audio::g711::Law;
use crate::audio::resample::Converter;

/// Chunks that a stream holds. The longest text gives fewer, so that who makes it need not wait for who listens to it in
/// real time; the memory is taken as they come.
const CHUNKS: usize = 8_192;

/// What one text may become. Who makes more of it has gone mad.
const LONGEST: Duration = Duration::from_secs(300);

/// Where a synthesiser's audio goes.
pub(super) struct Pour {
    chunks: mpsc::Sender<Result<Vec<i16>, SpeechError>>,
    /// When the words end.
    pub times: WordTimes,
    backend: &'static str,
    rate: crate::audio::Rate,
    convert: Option<(u32, Converter)>,
    /// The first byte of a sample whose second is still to come.
    half: Option<u8>,
    /// Samples that went out.
    poured: u64,
}

/// Begins to make an utterance: `work` is given where its audio goes, and is dropped when nobody listens any more: what it
/// holds (a request, a process, a socket) ends with it. Called inside tokio's runtime.
pub(super) fn pour<Work>(
    backend: &'static str,
    utterance: &Utterance,
    work: impl FnOnce(Pour) -> Work,
) -> SpeechStream
where
    Work: Future<Output = Result<(), SpeechError>> + Send + 'static,
{
    let (sender, chunks) = mpsc::channel(CHUNKS);
    let times = WordTimes::default();
    let length = utterance.text.chars().count();
    if length > Utterance::MAX_CHARS {
        let most = Utterance::MAX_CHARS;
        // The channel is new and empty, and its receiver is here.
        let _ = sender.try_send(Err(SpeechError::Rejected(format!(
            "the text to be said has {length} characters: say at most {most} at a time"
        ))));
        return SpeechStream { chunks, times };
    }
    let pour = Pour {
        chunks: sender.clone(),
        times: times.clone(),
        backend,
        rate: utterance.rate,
        convert: None,
        half: None,
        poured: 0,
    };
    if utterance.text.trim().is_empty() {
        return SpeechStream { chunks, times };
    }
    let work = work(pour);
    tokio::spawn(async move {
        tokio::select! {
            biased;
            () = sender.closed() => {}
            done = work => if let Err(error) = done {
                // Who listened may have gone meanwhile.
                let _ = sender.send(Err(error)).await;
            }
        }
    });
    SpeechStream { chunks, times }
}

impl Pour {
    /// Adds samples of that rate.
    pub async fn samples(&mut self, samples: &[i16], hz: u32) -> Result<(), SpeechError> {
        let mut out = Vec::with_capacity(samples.len());
        self.convert(hz, &mut out)?.push(samples, &mut out);
        self.send(out).await
    }

    /// Adds linear samples of 16 bits, low byte first; a piece may end within a sample.
    pub async fn linear(&mut self, bytes: &[u8], hz: u32) -> Result<(), SpeechError> {
        let samples = linear(bytes, &mut self.half);
        self.samples(&samples, hz).await
    }

    /// Adds µ-law of 8 kHz.
    pub async fn ulaw(&mut self, codes: &[u8]) -> Result<(), SpeechError> {
        let mut samples = vec![0; codes.len()];
        Law::Mu.decode_into(codes, &mut samples);
        self.samples(&samples, 8_000).await
    }

    /// All is there.
    pub async fn finish(&mut self) -> Result<(), SpeechError> {
        let mut out = Vec::new();
        if let Some((_, converter)) = &mut self.convert {
            converter.finish(&mut out);
        }
        self.convert = None;
        self.send(out).await
    }

    /// How much went out.
    pub fn poured(&self) -> Duration {
        self.rate.duration(self.poured)
    }

    /// Whether anything went out.
    pub fn has_begun(&self) -> bool {
        self.poured > 0
    }

    fn convert(&mut self, hz: u32, out: &mut Vec<i16>) -> Result<&mut Converter, SpeechError> {
        if self.convert.as_ref().is_none_or(|(from, _)| *from != hz) {
            if let Some((_, mut before)) = self.convert.take() {
                before.finish(out);
            }
            let converter = Converter::new(hz, self.rate).map_err(|error| self.failed(error.to_string()))?;
            self.convert = Some((hz, converter));
        }
        Ok(&mut self.convert.as_mut().expect("it is there or was put there").1)
    }

    async fn send(&mut self, samples: Vec<i16>) -> Result<(), SpeechError> {
        if samples.is_empty() {
            return Ok(());
        }
        self.poured += samples.len() as u64;
        if self.poured() > LONGEST {
            return Err(self.failed("it made more audio of a text than it can take to say it".into()));
        }
        self.chunks.send(Ok(samples)).await.map_err(|_| self.failed("nobody listens any more".into()))
    }

    fn failed(&self, what: String) -> SpeechError {
        SpeechError::Failed { backend: self.backend, what }
    }
}

/// Samples out of bytes, low byte first; `half` is the first byte of one that is not whole yet.
pub(super) fn linear(bytes: &[u8], half: &mut Option<u8>) -> Vec<i16> {
    let mut samples = Vec::with_capacity(bytes.len() / 2 + 1);
    let mut bytes = bytes;
    if let (Some(low), [high, rest @ ..]) = (*half, bytes) {
        samples.push(i16::from_le_bytes([low, *high]));
        (*half, bytes) = (None, rest);
    }
    samples.extend(bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])));
    if let [last] = bytes.chunks_exact(2).remainder() {
        *half = Some(*last);
    }
    samples
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::Rate;

    fn utterance(text: &str) -> Utterance {
        Utterance { text: text.to_owned(), voice: None, rate: Rate::Hz8000 }
    }

    #[tokio::test]
    async fn bytes_may_be_cut_anywhere() {
        let samples: Vec<i16> = (0..2_000).map(|n| n * 13 - 9_000).collect();
        let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        for size in [1, 3, 7, 4_000] {
            let bytes = bytes.clone();
            let mut stream = pour("test", &utterance("hello"), |mut pour| async move {
                for piece in bytes.chunks(size) {
                    pour.linear(piece, 8_000).await?;
                }
                pour.finish().await
            });
            let mut heard = Vec::new();
            while let Some(chunk) = stream.chunks.recv().await {
                heard.extend(chunk.unwrap());
            }
            assert_eq!(heard, samples, "pieces of {size}");
        }
    }

    #[tokio::test]
    async fn dropping_the_stream_drops_the_work() {
        let (dropped, mut told) = mpsc::channel::<()>(1);
        let stream = pour("test", &utterance("hello"), |_| async move {
            let _held = dropped;
            std::future::pending().await
        });
        drop(stream);
        assert!(told.recv().await.is_none());
    }

    #[tokio::test]
    async fn audio_without_an_end_is_cut() {
        let mut stream = pour("test", &utterance("hello"), |mut pour| async move {
            loop {
                pour.samples(&[1; 80_000], 8_000).await?;
            }
        });
        let mut seconds = 0;
        let error = loop {
            match stream.chunks.recv().await.expect("an error is the last") {
                Ok(chunk) => seconds += chunk.len() / 8_000,
                Err(error) => break error,
            }
        };
        assert!(seconds <= 300 && error.to_string().contains("more audio"), "{seconds}, {error}");
    }

    #[tokio::test]
    async fn nothing_to_say_asks_nobody_and_too_much_is_refused() {
        let mut stream = pour("test", &utterance("  \n"), |_| async { panic!("nobody is asked") });
        assert!(stream.chunks.recv().await.is_none());
        let mut stream =
            pour("test", &utterance(&"a".repeat(1_001)), |_| async { panic!("nobody is asked") });
        assert!(stream.chunks.recv().await.unwrap().unwrap_err().to_string().contains("at most 1000"));
    }
}
