//! Seeded chance, and what it does to an input.

/// The longest input, in bytes.
pub const LONGEST: usize = 8_192;

/// What parsers are likely to stumble over.
const WORDS: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b"\n\n",
    b"\0",
    b": ",
    b":",
    b"\xef\xbb\xbf",
    b"\xff",
    b"\xc3",
    b" ",
    b"(",
    b")",
    b") ",
    b"\"",
    b"=",
    b"%",
    b"%0A",
    b"%zz",
    b"-1",
    b"99999999999999999999",
    b"Response: Follows\r\n",
    b"--END COMMAND--",
    b"Event: ",
    b"Response: ",
    b"ActionID: ",
    b"EventList: start\r\n",
    b"Output: ",
    b"HANGUP\n",
    b"200 result=",
    b"520-",
    b"520 End\n",
    b"511 ",
    b"510 x\n",
    b"100 Trying\n",
    b"agi_request: ",
    b"endpos=",
    b"text0=\"",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b"null",
    b"\\u0000",
    b"1e999",
];

/// Random numbers that follow from a seed and an index (SplitMix64).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64, index: u64) -> Self {
        let mut dice =
            Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ index.wrapping_mul(0xD1B5_4A32_D192_ED03));
        dice.next();
        dice
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below `limit`; 0 when that is 0.
    pub fn below(&mut self, limit: usize) -> usize {
        if limit == 0 { 0 } else { (self.next() % limit as u64) as usize }
    }

    /// Mostly short; one in eight times up to `most`.
    fn length(&mut self, most: usize) -> usize {
        let most = if self.below(8) == 0 { most } else { 20 };
        1 + self.below(most)
    }

    /// A place to cut at, up to the end.
    fn range(&mut self, length: usize) -> (usize, usize) {
        let from = self.below(length + 1);
        let span = if self.below(4) == 0 { length - from } else { (length - from).min(32) };
        (from, from + self.below(span + 1))
    }

    /// Makes an input out of the seeds: one of them with up to eight things done to it.
    pub fn mutate(&mut self, seeds: &[Vec<u8>], input: &mut Vec<u8>) {
        input.clear();
        input.extend_from_slice(&seeds[self.below(seeds.len())]);
        for _ in 0..=self.below(8) {
            self.mutate_once(seeds, input);
        }
        input.truncate(LONGEST);
    }

    fn mutate_once(&mut self, seeds: &[Vec<u8>], input: &mut Vec<u8>) {
        let at = self.below(input.len() + 1);
        let (from, to) = self.range(input.len());
        match self.below(9) {
            0 if at < input.len() => input[at] ^= 1 << self.below(8),
            1 if at < input.len() => input[at] = self.next() as u8,
            2 => drop(input.drain(from..to)),
            3 => {
                let part = input[from..to].to_vec();
                input.splice(at..at, part);
            }
            4 => {
                let word = WORDS[self.below(WORDS.len())];
                input.splice(at..at, word.iter().copied());
            }
            5 => {
                let other = &seeds[self.below(seeds.len())];
                let (from, to) = self.range(other.len());
                input.splice(at..at, other[from..to].iter().copied());
            }
            6 => input.truncate(at),
            7 => {
                // Long lines and many of them.
                let word = WORDS[self.below(WORDS.len())];
                let part = word.repeat(self.length(200));
                input.splice(at..at, part);
            }
            _ => {
                let part = vec![self.next() as u8; self.length(2_000)];
                input.splice(at..at, part);
            }
        }
    }
}
