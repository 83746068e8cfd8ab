//! Reads what is said: prompts, and texts with variables.

use super::model::{At, Item, Prompt};
use super::read::Reader;
use super::table::{Table, Value, wrong_type};
use super::template::{Format, Template, TemplateError};

/// The prompt at `say` or `play`; empty when the fault was noted.
pub(super) fn required_prompt(table: &Table<'_>, cx: &mut Reader) -> Prompt {
    if !table.has("say") && !table.has("play") {
        table.missing("say", "a sentence, or 'play', a WAV file", &mut cx.faults);
    }
    prompt(table, cx).unwrap_or_default()
}

/// The prompt at `say` or `play`; [`None`] when there is neither.
pub(super) fn prompt(table: &Table<'_>, cx: &mut Reader) -> Option<Prompt> {
    if table.has("say") && table.has("play") {
        let problem = format!("{} has both 'say' and 'play'", table.what);
        let hint = "mix them in one list: say = [{ play = \"chime.wav\" }, \"Hello.\"]";
        cx.faults.push_hint(table.at("play"), problem, hint);
    }
    if let Some(value) = table.get("say") {
        return prompt_value(table, "say", value, cx);
    }
    let files = table.strings("play", &mut cx.faults)?;
    Some(Prompt(files.into_iter().map(|file| prompt_file(file, cx)).collect()))
}

/// A prompt: a text, `{ say = … }`, `{ play = … }`, or a list of these.
pub(super) fn prompt_value(
    table: &Table<'_>,
    key: &str,
    value: Value<'_>,
    cx: &mut Reader,
) -> Option<Prompt> {
    let list: Vec<Value<'_>> =
        value.get_ref().as_array().map_or_else(|| vec![value], |list| list.iter().collect());
    let mut items = Vec::new();
    for value in list {
        if let Some(text) = value.get_ref().as_str() {
            let text = At { at: value.span().start, value: text.to_owned() };
            items.extend(template(table, &text, cx).map(Item::Text));
        } else if value.get_ref().is_table() {
            let inner = Table::of(format!("'{key}' of {}", table.what), value, &mut cx.faults)?;
            inner.only(&["say", "play"], &mut cx.faults);
            items.extend(required_prompt(&inner, cx).0);
        } else {
            let expected = "a sentence, { play = \"file.wav\" }, or a list of these";
            wrong_type(&table.what, key, expected, value, &mut cx.faults);
        }
    }
    Some(Prompt(items))
}

/// Prompts, one per attempt: each entry of the list at `key` is one.
pub(super) fn prompts(table: &Table<'_>, key: &str, cx: &mut Reader) -> Option<Vec<Prompt>> {
    let values = table.list(key)?;
    Some(values.into_iter().filter_map(|value| prompt_value(table, key, value, cx)).collect())
}

fn prompt_file(file: At<String>, cx: &Reader) -> Item {
    Item::File(At { at: file.at, value: cx.folder.join(file.value) })
}

/// A text with variables.
pub(super) fn template(table: &Table<'_>, text: &At<String>, cx: &mut Reader) -> Option<At<Template>> {
    let what = &table.what;
    match Template::parse(&text.value) {
        Ok(value) => return Some(At { at: text.at, value }),
        Err(errors) => {
            for error in errors {
                match error {
                    TemplateError::Unclosed => {
                        let problem = format!("{what}: a '{{' in this text is not closed");
                        cx.faults.push_hint(text.at, problem, "a brace itself is written twice: {{");
                    }
                    TemplateError::Unopened => {
                        let problem = format!("{what}: a '}}' in this text has no '{{' before it");
                        cx.faults.push_hint(text.at, problem, "a brace itself is written twice: }}");
                    }
                    TemplateError::BadName(name) => {
                        let problem = format!("{what}: '{{{name}}}' is no name of a variable");
                        let hint = "a name has lower-case letters, digits and underscores";
                        cx.faults.push_hint(text.at, problem, hint);
                    }
                    TemplateError::UnknownFormat(word) => {
                        let problem = format!("{what}: nothing can be spoken as '{word}'");
                        let known = Format::WORDS.iter().map(|(word, _)| *word);
                        cx.faults.push_unknown(text.at, problem, &word, known);
                    }
                }
            }
        }
    }
    None
}
