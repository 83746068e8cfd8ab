//! Words that speech outside the grammar falls into.
//!
//! A recogniser that knows only the grammar hears it in everything. Beside each grammar stand common words of every
//! kind of sound; when they fit better than the grammar, nothing was said that was asked for.

use std::collections::BTreeSet;

use super::hearing::DECOY_MARK;
use super::lexicon::Lexicon;
use crate::speech::SpeechError;

/// How likely each decoy is beside a word of the grammar.
pub(super) const PROBABILITY: f32 = 1e-20;

const WORDS: &str = "about account actually afternoon again all also always and answer any anything apple because before \
     being better between bird book bottle boy bread bridge brother building business but buy call can car change \
     chair child church city coffee cold come company computer could country dance daughter did different dinner do \
     dog door down dream early earth enough evening every father finger fish flower food forget found friend from \
     game garden give glass going good green group guess hair half hand happen happy have head hear heart hello high \
     home horse house how husband idea if in into island it job joke juice jump just keep kind kitchen know lady language \
     large laugh learn leave letter light listen little look love lunch machine make maybe measure meeting minute \
     moment money mother mountain mouth much music my name never new night nobody north nothing of off often old only \
     open orange order other our out page paper party people person phone picture place play point possible power price \
     problem put question quick quiet rain reach ready really red right river road room school sea see shall she \
     shoes should shower side simple sister sleep small snow some somebody song sound south spring street strong \
     sugar summer sure table talk teacher tell than thank that the there thing think this those thought today \
     together tomorrow tree trouble truth try turn uncle under until up usually vegetable very visit voice wait walk \
     wall want was watch water weather week what wheel when where which white who why will window winter with woman \
     wonder word work world would write wrong year yellow yesterday you young";

/// The decoys and how they are pronounced.
pub(super) fn pronounced(lexicon: &mut Lexicon) -> Result<Vec<(String, Vec<String>)>, SpeechError> {
    let words: BTreeSet<String> = WORDS.split_whitespace().map(str::to_owned).collect();
    let found = lexicon.look_up(&words, "of decoys")?;
    Ok(found
        .into_iter()
        .map(|(word, phones)| (format!("{DECOY_MARK}{word}"), phones[..1].to_vec()))
        .collect())
}

/// The decoys that may stand beside a grammar of these words: none that is one of them or sounds like one.
pub(super) fn beside(
    decoys: &[(String, Vec<String>)],
    words: &[(String, Vec<String>)],
) -> Vec<(String, Vec<String>)> {
    let taken: BTreeSet<&str> = words.iter().flat_map(|(_, phones)| phones).map(String::as_str).collect();
    decoys.iter().filter(|(_, phones)| !phones.iter().any(|p| taken.contains(p.as_str()))).cloned().collect()
}
