//! What is fuzzed. Each is given an input, and dice for how it is cut into pieces; it panics when something is wrong.

use crate::dice::Dice;

/// The targets by name; each has a folder of seeds.
pub const ALL: [(&str, fn(&[u8], &mut Dice)); 2] = [("ami", crate::ami::run), ("agi", crate::agi::run)];

/// Feeds `input` in pieces.
pub fn in_pieces(input: &[u8], dice: &mut Dice, mut feed: impl FnMut(&[u8])) {
    let mut rest = input;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(1 + dice.below(rest.len().min(100)));
        feed(piece);
        rest = after;
    }
}
