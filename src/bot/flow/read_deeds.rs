//! Reads the steps that do something besides talking.

use super::model::{At, Deed, Kind, Target};
use super::read::{Reader, check_name, required_target};
use super::read_prompt::{prompt, prompt_value, template};
use super::table::Table;
use super::template::Template;

/// The longest that a look-up may take, in milliseconds, where nothing else is said.
const LOOK_UP_MS: u32 = 2_000;

pub(super) fn transfer(_: &str, table: &Table<'_>, cx: &mut Reader) -> Option<Kind> {
    table.only(&["kind", "say", "play", "to", "announce", "not_taken", "private"], &mut cx.faults);
    let to = required(table, "to", "the name of a [destination.NAME] of the configuration", cx);
    let announce = table.get("announce").and_then(|value| prompt_value(table, "announce", value, cx));
    let failed = required_target(table, "not_taken", "the step to go to when nobody takes the call", cx);
    deed(table, Deed::Transfer { to: to?, announce }, None, Some(failed), cx)
}

pub(super) fn look_up(_: &str, table: &Table<'_>, cx: &mut Reader) -> Option<Kind> {
    table.only(
        &["kind", "say", "play", "url", "query", "into", "timeout_ms", "goto", "failed", "private"],
        &mut cx.faults,
    );
    let url = required(table, "url", "the address of a service that answers with JSON", cx);
    let url = url.and_then(|text| match reqwest::Url::parse(&text.value) {
        Ok(url) if ["http", "https"].contains(&url.scheme()) && url.has_host() => Some(url),
        _ => {
            cx.faults.push(text.at, format!("{}: '{}' is no http or https address", table.what, text.value));
            None
        }
    });
    let query = texts(table, "query", cx);
    let mut into = Vec::new();
    if let Some(inner) = table.table("into", &mut cx.faults) {
        for (name, _) in inner.entries() {
            check_name("variable", &name, cx);
            let Some(pointer) = inner.string(&name.value, &mut cx.faults) else { continue };
            if !pointer.value.is_empty() && !pointer.value.starts_with('/') {
                let problem = format!("{}: '{}' is no JSON pointer", table.what, pointer.value);
                cx.faults.push_hint(pointer.at, problem, "write the way to the value as /customer/name");
            }
            into.push((name, pointer.value));
        }
    }
    let timeout_ms = table.integer("timeout_ms", 50..=30_000, &mut cx.faults).unwrap_or(LOOK_UP_MS);
    let (done, failed) = ways_on(table, cx);
    deed(table, Deed::LookUp { url: url?, query, into, timeout_ms }, Some(done), failed, cx)
}

pub(super) fn set_variables(_: &str, table: &Table<'_>, cx: &mut Reader) -> Option<Kind> {
    table.only(&["kind", "say", "play", "variables", "goto", "failed", "private"], &mut cx.faults);
    if !table.has("variables") {
        table.missing("variables", "a table { NAME = \"value\" } for the caller's channel", &mut cx.faults);
    }
    let variables = texts(table, "variables", cx);
    let (done, failed) = ways_on(table, cx);
    deed(table, Deed::SetVariables(variables), Some(done), failed, cx)
}

pub(super) fn send_keys(_: &str, table: &Table<'_>, cx: &mut Reader) -> Option<Kind> {
    table.only(&["kind", "say", "play", "keys", "goto", "failed", "private"], &mut cx.faults);
    let keys = filled(table, "keys", "the keys to press", cx);
    let (done, failed) = ways_on(table, cx);
    deed(table, Deed::SendKeys(keys?), Some(done), failed, cx)
}

pub(super) fn play_sound(_: &str, table: &Table<'_>, cx: &mut Reader) -> Option<Kind> {
    table.only(&["kind", "say", "play", "sound", "goto", "failed", "private"], &mut cx.faults);
    let sound = filled(table, "sound", "the name of a sound that Asterisk has", cx);
    let (done, failed) = ways_on(table, cx);
    deed(table, Deed::PlaySound(sound?), Some(done), failed, cx)
}

pub(super) fn record(_: &str, table: &Table<'_>, cx: &mut Reader) -> Option<Kind> {
    table.only(&["kind", "say", "play", "name", "max_seconds", "goto", "failed", "private"], &mut cx.faults);
    let name = filled(table, "name", "the name of the recording", cx);
    let max_seconds = table.integer("max_seconds", 0..=86_400, &mut cx.faults).unwrap_or(0);
    let (done, failed) = ways_on(table, cx);
    deed(table, Deed::Record { name: name?, max_seconds }, Some(done), failed, cx)
}

pub(super) fn stop_recording(_: &str, table: &Table<'_>, cx: &mut Reader) -> Option<Kind> {
    table.only(&["kind", "say", "play", "goto", "failed", "private"], &mut cx.faults);
    let (done, failed) = ways_on(table, cx);
    deed(table, Deed::StopRecording, Some(done), failed, cx)
}

pub(super) fn call_back(_: &str, table: &Table<'_>, cx: &mut Reader) -> Option<Kind> {
    table.only(&["kind", "say", "play", "minutes", "goto", "failed", "private"], &mut cx.faults);
    if !table.has("minutes") {
        table.missing("minutes", "after how long the caller is called back", &mut cx.faults);
    }
    let minutes = table.integer("minutes", 0..=43_200, &mut cx.faults);
    let (done, failed) = ways_on(table, cx);
    deed(table, Deed::CallBack { minutes: minutes? }, Some(done), failed, cx)
}

pub(super) fn opt_out(_: &str, table: &Table<'_>, cx: &mut Reader) -> Option<Kind> {
    table.only(&["kind", "say", "play", "goto", "private"], &mut cx.faults);
    let done = required_target(table, "goto", "the step that follows", cx);
    deed(table, Deed::OptOut, Some(done), None, cx)
}

pub(super) fn message(_: &str, table: &Table<'_>, cx: &mut Reader) -> Option<Kind> {
    table.only(&["kind", "say", "play", "to", "text", "goto", "failed", "private"], &mut cx.faults);
    let to = required(table, "to", "the name of a [destination.NAME] of the configuration", cx);
    let text = filled(table, "text", "what is sent", cx);
    let (done, failed) = ways_on(table, cx);
    deed(table, Deed::Message { to: to?, text: text? }, Some(done), failed, cx)
}

fn deed(
    table: &Table<'_>,
    deed: Deed,
    done: Option<Target>,
    failed: Option<Target>,
    cx: &mut Reader,
) -> Option<Kind> {
    let prompt = prompt(table, cx).unwrap_or_default();
    Some(Kind::Do { prompt, deed, done, failed })
}

/// The step that follows, and the one that follows when it could not be done.
fn ways_on(table: &Table<'_>, cx: &mut Reader) -> (Target, Option<Target>) {
    let done = required_target(table, "goto", "the step that follows", cx);
    (done, table.string("failed", &mut cx.faults))
}

fn required(table: &Table<'_>, key: &str, what_for: &str, cx: &mut Reader) -> Option<At<String>> {
    if !table.has(key) {
        table.missing(key, what_for, &mut cx.faults);
    }
    table.string(key, &mut cx.faults)
}

fn filled(table: &Table<'_>, key: &str, what_for: &str, cx: &mut Reader) -> Option<At<Template>> {
    let text = required(table, key, what_for, cx)?;
    template(table, &text, cx)
}

/// A table of names and texts with variables.
fn texts(table: &Table<'_>, key: &str, cx: &mut Reader) -> Vec<(String, At<Template>)> {
    let Some(inner) = table.table(key, &mut cx.faults) else { return Vec::new() };
    let mut all = Vec::new();
    for (name, _) in inner.entries() {
        if let Some(value) = inner.scalar(&name.value, &mut cx.faults)
            && let Some(value) = template(&inner, &value, cx)
        {
            all.push((name.value, value));
        }
    }
    all
}
