//! The peer: what the documentation of Asterisk's AMD() says that it does, with the thresholds of its sample configuration.
//!
//! Written from docs.asterisk.org (Dialplan Applications, AMD) and the comments of amd.conf.sample alone. A frame is silent
//! when the mean magnitude of its samples is below a threshold. It is no copy: what the documentation leaves open is
//! decided here, and noted.

use super::corpus::Tick;

/// The thresholds, times in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Amd {
    pub(super) initial_silence: u64,
    pub(super) greeting: u64,
    pub(super) after_greeting_silence: u64,
    pub(super) total_analysis_time: u64,
    pub(super) min_word_length: u64,
    pub(super) between_words_silence: u64,
    pub(super) maximum_number_of_words: u32,
    pub(super) maximum_word_length: u64,
    pub(super) silence_threshold: u16,
}

/// What it says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Status {
    Human,
    Machine,
    NotSure,
}

impl Amd {
    /// The sample configuration, with so many words.
    pub(super) const fn sample(maximum_number_of_words: u32) -> Self {
        Self {
            initial_silence: 2_500,
            greeting: 1_500,
            after_greeting_silence: 800,
            total_analysis_time: 5_000,
            min_word_length: 100,
            between_words_silence: 50,
            maximum_number_of_words,
            maximum_word_length: 5_000,
            silence_threshold: 256,
        }
    }

    /// Its verdict on a call that was answered with the first of these ticks, and how many milliseconds later.
    pub(super) fn judge(&self, ticks: &[Tick]) -> (Status, u64) {
        let (mut silence, mut voice, mut greeting, mut words, mut in_word) = (0, 0, 0, 0, false);
        for (number, tick) in ticks.iter().enumerate() {
            let now = (number as u64 + 1) * 20;
            if tick.magnitude < self.silence_threshold {
                silence += 20;
                if silence >= self.between_words_silence {
                    (in_word, voice) = (false, 0);
                }
                if words == 0 && silence >= self.initial_silence {
                    return (Status::Machine, now);
                }
                if words > 0 && silence >= self.after_greeting_silence {
                    return (Status::Human, now);
                }
            } else {
                voice += 20;
                // What is too short for a word does not end a silence: the documentation does not say.
                if voice >= self.min_word_length && !in_word {
                    in_word = true;
                    words += 1;
                    greeting += voice;
                } else if in_word {
                    greeting += 20;
                }
                if in_word {
                    silence = 0;
                }
                // "If exceeded, then the result is detection as a MACHINE."
                let machine = words > self.maximum_number_of_words
                    || greeting > self.greeting
                    || voice > self.maximum_word_length;
                if machine {
                    return (Status::Machine, now);
                }
            }
            if now >= self.total_analysis_time {
                return (Status::NotSure, now);
            }
        }
        (Status::NotSure, ticks.len() as u64 * 20)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(stretches: &[(u16, usize)]) -> Vec<Tick> {
        let tick = |magnitude| Tick { heard: None, magnitude };
        stretches.iter().flat_map(|(magnitude, ms)| vec![tick(*magnitude); ms / 20]).collect()
    }

    #[test]
    fn it_judges_as_its_documentation_says() {
        let amd = Amd::sample(3);
        let judge = |stretches: &[(u16, usize)]| amd.judge(&ticks(stretches));
        assert_eq!(judge(&[(0, 500), (2_000, 400), (0, 3_000)]), (Status::Human, 1_700));
        assert_eq!(judge(&[(0, 3_000)]), (Status::Machine, 2_500));
        assert_eq!(judge(&[(2_000, 3_000)]).0, Status::Machine);
        let word = [(2_000, 200), (0, 100)];
        assert_eq!(judge(&[word; 4].concat()).0, Status::Machine);
        assert_eq!(judge(&[&word[..], &[(0, 60)]].concat()).0, Status::NotSure);
    }
}
