//! Reads how turns are taken: what may cut a prompt short and how the voice goes down first, and when a caller is done.

use super::action::{BargeInSpec, Endpointing, Silences};
use super::read::{BY, Reader};
use super::table::{Table, wrong_type};

/// The keys of [`barge_in`], but for the one that says who may.
pub(super) const BARGE_IN_KEYS: [&str; 7] =
    ["protected_ms", "duck", "duck_after_ms", "duck_db", "hush_after_ms", "hush_db", "resume"];

/// The keys of [`endpointing`] and [`silences`].
pub(super) const ENDING_KEYS: [&str; 3] = ["endpointing", "silence_ms", "silences"];

/// What may cut the prompt short, by the words at `key`, and what becomes of the prompt until it is known.
pub(super) fn barge_in(table: &Table<'_>, key: &str, default: BargeInSpec, cx: &mut Reader) -> BargeInSpec {
    let by = table.word(key, &BY, &mut cx.faults);
    let (by_voice, by_key) = by.unwrap_or((default.by_voice, default.by_key));
    let mut number =
        |key: &str, range: std::ops::RangeInclusive<u32>| table.integer(key, range, &mut cx.faults);
    let protected = number("protected_ms", 0..=60_000);
    let small = |number: Option<u32>| number.and_then(|n| u16::try_from(n).ok());
    let duck_after_ms = small(number("duck_after_ms", 20..=1_000));
    let hush_after_ms = small(number("hush_after_ms", 40..=5_000));
    let decibels = |number: Option<u32>| number.and_then(|n| u8::try_from(n).ok());
    let duck_db = decibels(number("duck_db", 1..=60));
    let hush_db = decibels(number("hush_db", 0..=90));
    let duck = table.boolean("duck", &mut cx.faults);
    if duck == Some(false) {
        for key in ["duck_after_ms", "duck_db", "hush_after_ms", "hush_db"] {
            if table.has(key) {
                let problem = format!("{} has '{key}', but does not duck", table.what);
                cx.faults.push_hint(table.at(key), problem, "take it out, or duck = false");
            }
        }
    }
    let resume = resume(table, cx);
    BargeInSpec {
        by_voice,
        by_key,
        protected_ms: protected.unwrap_or(default.protected_ms),
        duck: duck.unwrap_or(default.duck),
        duck_after_ms: duck_after_ms.or(default.duck_after_ms),
        duck_db: duck_db.or(default.duck_db),
        hush_after_ms: hush_after_ms.or(default.hush_after_ms),
        hush_db: hush_db.or(default.hush_db),
        resume: resume.or(default.resume),
    }
}

/// How often: true and false are once and never.
fn resume(table: &Table<'_>, cx: &mut Reader) -> Option<u8> {
    let value = table.get("resume")?;
    if let Some(resumes) = value.get_ref().as_bool() {
        return Some(u8::from(resumes));
    }
    if value.get_ref().as_integer().is_none() {
        wrong_type(&table.what, "resume", "true, false, or how often, from 0 to 5", value, &mut cx.faults);
        return None;
    }
    table.integer("resume", 0..=5, &mut cx.faults).and_then(|times| u8::try_from(times).ok())
}

/// `endpointing` or `silence_ms`.
pub(super) fn endpointing(table: &Table<'_>, cx: &mut Reader) -> Option<Endpointing> {
    const PRESETS: [(&str, Endpointing); 3] = [
        ("eager", Endpointing::Eager),
        ("balanced", Endpointing::Balanced),
        ("patient", Endpointing::Patient),
    ];
    let preset = table.word("endpointing", &PRESETS, &mut cx.faults);
    let silence = table.integer("silence_ms", 100..=5_000, &mut cx.faults);
    for other in ["endpointing", "silences"] {
        if table.has(other) && table.has("silence_ms") {
            let problem = format!("{} has both '{other}' and 'silence_ms'", table.what);
            cx.faults.push_hint(table.at("silence_ms"), problem, "keep one of them");
        }
    }
    preset.or(silence.map(Endpointing::SilenceMs))
}

/// `silences`: single ones in place of those of the preset.
pub(super) fn silences(table: &Table<'_>, default: Silences, cx: &mut Reader) -> Silences {
    if table.has("silence_ms") {
        return Silences::default();
    }
    let Some(value) = table.get("silences") else { return default };
    let Some(inner) = Table::of(format!("'silences' of {}", table.what), value, &mut cx.faults) else {
        return default;
    };
    const KEYS: [&str; 8] = [
        "whole_ms",
        "settled_ms",
        "complete_ms",
        "unknown_ms",
        "foreign_ms",
        "incomplete_ms",
        "limit_ms",
        "early_ms",
    ];
    inner.only(&KEYS, &mut cx.faults);
    let mut of = |key: &str, default: Option<u16>| {
        let range = if key == "early_ms" { 80..=500 } else { 100..=5_000 };
        inner.integer(key, range, &mut cx.faults).and_then(|n| u16::try_from(n).ok()).or(default)
    };
    Silences {
        whole_ms: of("whole_ms", default.whole_ms),
        settled_ms: of("settled_ms", default.settled_ms),
        complete_ms: of("complete_ms", default.complete_ms),
        unknown_ms: of("unknown_ms", default.unknown_ms),
        foreign_ms: of("foreign_ms", default.foreign_ms),
        incomplete_ms: of("incomplete_ms", default.incomplete_ms),
        limit_ms: of("limit_ms", default.limit_ms),
        early_ms: of("early_ms", default.early_ms),
    }
}
