//! The shipped flows, walked through.

use std::path::{Path, PathBuf};

use super::*;

mod checks;
mod walks;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn search() -> SearchPaths {
    SearchPaths { grammars: vec![root().join("models/grammars")] }
}

fn shipped(name: &str) -> Flow {
    Flow::load(&root().join("prompts").join(name), &search()).unwrap_or_else(|errors| panic!("{errors}"))
}

fn parse(text: &str) -> Result<Flow, FlowErrors> {
    Flow::parse(Path::new("test.toml"), text, &search())
}

fn vars() -> StartVars {
    StartVars {
        caller: Some("+4930123456".into()),
        called: Some("100".into()),
        call_id: "0123456789abcdef".into(),
        hour: 10,
        minute: 30,
        weekday: "monday".into(),
        ..StartVars::default()
    }
}

fn heard(meaning: &str) -> Input {
    Input::Heard { meaning: meaning.into(), text: meaning.into(), confidence: 0.9 }
}

fn keys(keys: &str) -> Input {
    Input::Keys(keys.into())
}

const SAID: Input = Input::Said { interrupted: false, heard_ms: 900 };

/// What is said in an action, joined.
fn said(action: &Action) -> String {
    said_in(action.parts())
}

fn said_in(parts: &[Part]) -> String {
    let text = |part: &Part| match part {
        Part::Text(text) => text.clone(),
        Part::File(file) => format!("<{}>", file.display()),
    };
    parts.iter().map(text).collect::<Vec<_>>().join(" ")
}
