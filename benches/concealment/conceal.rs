//! Conceals losses in a stream of samples, for `benches/concealment/table.py`.
//!
//!     conceal 8000|16000 offhook|alone PATTERN < IN > OUT
//!
//! IN and OUT are 16-bit little-endian samples; PATTERN has a character for each 20 ms of it: 1 where it is lost.
//! `offhook` makes use of the packet after a hole, as the engine does; `alone` knows only what was before.

use std::io::{Read, Write};

use offhook::audio::Rate;
use offhook::audio::conceal::Concealer;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [hz, how, pattern] = &arguments[..] else {
        anyhow::bail!("conceal 8000|16000 offhook|alone PATTERN")
    };
    let rate = if hz == "16000" { Rate::Hz16000 } else { Rate::Hz8000 };
    let frame = rate.hz() as usize / 50;
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes)?;
    let mut samples: Vec<i16> =
        bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect();

    let lost: Vec<bool> = pattern.bytes().map(|mark| mark == b'1').collect();
    let mut concealer = Concealer::new(rate);
    let mut at = 0;
    // Runs of lost frames and of heard ones in turn.
    for run in lost.chunk_by(|a, b| a == b) {
        let length = run.len() * frame;
        let (run_of, after) = samples[at..].split_at_mut(length);
        match (run[0], after.first_chunk::<160>()) {
            (false, _) => run_of.chunks_mut(frame).for_each(|frame| concealer.heard(frame)),
            (true, Some(_)) if how == "offhook" => concealer.between(run_of, &after[..frame]),
            (true, _) => run_of.chunks_mut(frame).for_each(|frame| concealer.missing(frame)),
        }
        at += length;
    }
    let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    std::io::stdout().write_all(&bytes)?;
    Ok(())
}
