//! AGI's lines. The parser's own files, as the engine has it.

#[allow(dead_code, reason = "a target uses a part of the parser's face")]
#[path = "../../src/asterisk/agi/environment.rs"]
mod environment;
#[allow(dead_code, reason = "a target uses a part of the parser's face")]
#[path = "../../src/asterisk/agi/wire.rs"]
mod wire;

use crate::dice::Dice;
use crate::targets::in_pieces;
use environment::percent_decoded;
use wire::{Item, Limits, Parser};

/// One input.
pub fn run(input: &[u8], dice: &mut Dice) {
    let small = Limits { line: 200, headers: 20, environment: 1_000, waiting: 20 };
    let limits = if dice.below(4) == 0 { Limits::default() } else { small };
    let make = if dice.below(2) == 0 { Parser::new } else { Parser::of_replies };
    let (mut whole, mut pieces) = (make(limits), make(limits));
    whole.feed(input);
    in_pieces(input, dice, |piece| {
        pieces.feed(piece);
        assert!(
            pieces.held() <= 4 * limits.line + 3 * limits.environment + 8_192,
            "it holds {}",
            pieces.held()
        );
    });
    let mut taken = 0;
    loop {
        let (item, same) = (whole.take(), pieces.take());
        assert_eq!(item, same);
        match item {
            None => break,
            Some(Item::Environment(environment)) => {
                let _ = (
                    environment.script(),
                    environment.query(),
                    environment.arguments(),
                    environment.caller(),
                );
            }
            Some(Item::Reply(reply)) => {
                let _ = (reply.number(), reply.get("endpos"));
                let size = reply.result.len() + reply.text.len() + reply.data.map_or(0, |data| data.len());
                assert!(size <= 6 * limits.line, "{size}");
            }
            Some(Item::HangUp | Item::Refused(_)) => {}
        }
        taken += 1;
    }
    assert!(taken <= limits.waiting);
    let _ = percent_decoded(&String::from_utf8_lossy(input));
}
