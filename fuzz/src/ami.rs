//! AMI's messages. The parser's own files, as the engine has them.

#[allow(dead_code, reason = "a target uses a part of the parser's face")]
#[path = "../../src/asterisk/ami/message.rs"]
mod message;
#[allow(dead_code, reason = "a target uses a part of the parser's face")]
#[path = "../../src/asterisk/ami/wire.rs"]
mod wire;

use crate::dice::Dice;
use crate::targets::in_pieces;
use wire::{Limits, Parser};

/// One input.
pub fn run(input: &[u8], dice: &mut Dice) {
    // Sometimes as the engine has it, mostly with limits that inputs reach.
    let small = Limits { line: 200, headers: 20, message: 1_000, waiting: 50 };
    let limits = if dice.below(4) == 0 { Limits::default() } else { small };
    let (mut whole, mut pieces) = (Parser::new(limits), Parser::new(limits));
    whole.feed(input);
    in_pieces(input, dice, |piece| {
        pieces.feed(piece);
        assert!(pieces.held() <= 3 * limits.line + limits.message + 8_192, "it holds {}", pieces.held());
    });
    assert_eq!(whole.greeting(), pieces.greeting());
    assert_eq!(whole.dropped(), pieces.dropped());
    let mut taken = 0;
    loop {
        let (message, same) = (whole.take(), pieces.take());
        assert_eq!(message, same);
        let Some(message) = message else { break };
        taken += 1;
        assert!(!message.is_empty() && message.len() <= limits.headers);
        let size: usize = message.headers().map(|(key, value)| key.len() + value.len()).sum();
        // A byte that is no UTF-8 is shown as three.
        assert!(size <= 3 * limits.message + limits.line, "{size}");
        assert!(message.event().is_none() || message.response().is_none());
        let _ = (message.action_id(), message.is_success(), message.variables().count());
    }
    assert!(taken <= limits.waiting);
}
