//! Anthropic's messages, streamed, as of docs.anthropic.com/en/api/messages-streaming (November 2026; version header
//! `2023-06-01`).

use reqwest::header::HeaderValue;
use serde_json::{Value, json};

use super::sse::Event;
use super::{Fault, Fragments, How, MOST_TEXT, Message, Piece, Protocol, Reader, Request, Usage, short};
use crate::service::Key;

/// The protocol.
pub struct Anthropic;

impl Protocol for Anthropic {
    fn path(&self) -> &'static str {
        "/messages"
    }

    fn headers(&self, key: Option<&Key>) -> Vec<(&'static str, HeaderValue)> {
        let version = ("anthropic-version", HeaderValue::from_static("2023-06-01"));
        let key = key.and_then(|key| Some(("x-api-key", key.header("")?)));
        key.into_iter().chain([version]).collect()
    }

    fn body(&self, request: &Request, how: &How) -> Value {
        let mut body = json!({
            "model": how.model,
            "system": request.system,
            "messages": messages(&request.messages),
            "stream": true,
            "max_tokens": how.max_tokens,
        });
        if let Some(temperature) = how.temperature {
            body["temperature"] = json!(temperature);
        }
        if !request.tools.is_empty() {
            let tools = request.tools.iter().map(|tool| {
                json!({ "name": tool.name, "description": tool.description, "input_schema": tool.parameters })
            });
            body["tools"] = tools.collect();
            body["tool_choice"] = json!({ "type": "auto" });
        }
        for (key, value) in &how.extra {
            body[key] = value.clone();
        }
        body
    }

    fn reader(&self) -> Box<dyn Reader> {
        Box::new(Reading::default())
    }
}

/// The dialog in turns: the protocol wants the caller's and the bot's one after the other, beginning with the caller's, and
/// results of tools in the caller's.
fn messages(dialog: &[Message]) -> Vec<Value> {
    let mut turns: Vec<(&str, Vec<Value>)> = Vec::new();
    for message in dialog {
        let (role, blocks) = match message {
            Message::Caller { text } => ("user", vec![json!({ "type": "text", "text": text })]),
            Message::Bot { text, calls } => {
                let said = (!text.trim().is_empty()).then(|| json!({ "type": "text", "text": text }));
                let wanted = calls.iter().map(|call| {
                    let input: Value = serde_json::from_str(&call.arguments).unwrap_or_else(|_| json!({}));
                    json!({ "type": "tool_use", "id": call.id, "name": call.name, "input": input })
                });
                ("assistant", said.into_iter().chain(wanted).collect())
            }
            Message::Result { call, text, failed } => (
                "user",
                vec![
                    json!({ "type": "tool_result", "tool_use_id": call, "content": text, "is_error": failed }),
                ],
            ),
        };
        if turns.is_empty() && role == "assistant" {
            turns.push(("user", vec![json!({ "type": "text", "text": "<call>The call begins.</call>" })]));
        }
        match turns.last_mut() {
            _ if blocks.is_empty() => {}
            Some((last, so_far)) if *last == role => so_far.extend(blocks),
            _ => turns.push((role, blocks)),
        }
    }
    turns.into_iter().map(|(role, content)| json!({ "role": role, "content": content })).collect()
}

/// One reply.
#[derive(Default)]
struct Reading {
    fragments: Fragments,
    usage: Usage,
    text: usize,
    over: bool,
}

impl Reading {
    fn begin_block(&mut self, index: u64, block: &Value) -> Result<Vec<Piece>, Fault> {
        match block["type"].as_str() {
            Some("tool_use") => {
                let input = &block["input"];
                // It is empty here, and comes in fragments; a server that sends it whole is understood too.
                let whole = input.as_object().is_some_and(|input| !input.is_empty());
                let arguments = if whole { input.to_string() } else { String::new() };
                self.fragments
                    .add(index, block["id"].as_str(), block["name"].as_str(), &arguments)
                    .map_err(Fault::Garbled)?;
                Ok(Vec::new())
            }
            Some("text") => self.text(block["text"].as_str()),
            _ => Ok(Vec::new()),
        }
    }

    fn delta(&mut self, index: u64, delta: &Value) -> Result<Vec<Piece>, Fault> {
        match delta["type"].as_str() {
            Some("text_delta") => self.text(delta["text"].as_str()),
            Some("input_json_delta") => {
                let part = delta["partial_json"].as_str().unwrap_or_default();
                self.fragments.add(index, None, None, part).map_err(Fault::Garbled)?;
                Ok(Vec::new())
            }
            // What a model thinks is not said.
            _ => Ok(Vec::new()),
        }
    }

    fn text(&mut self, text: Option<&str>) -> Result<Vec<Piece>, Fault> {
        let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(Vec::new()) };
        self.text += text.len();
        if self.text > MOST_TEXT {
            return Err(Fault::Garbled(format!("a reply of more than {MOST_TEXT} bytes")));
        }
        Ok(vec![Piece::Text(text.to_owned())])
    }

    /// Numbers that are told replace those told before.
    fn count(&mut self, usage: &Value) -> Vec<Piece> {
        let of = |key: &str| usage[key].as_u64();
        let cached = [of("cache_creation_input_tokens"), of("cache_read_input_tokens")];
        if let Some(input) = of("input_tokens") {
            self.usage.input = input + cached.into_iter().flatten().sum::<u64>();
        }
        if let Some(output) = of("output_tokens") {
            self.usage.output = output;
        }
        vec![Piece::Usage(self.usage)]
    }
}

impl Reader for Reading {
    fn event(&mut self, event: &Event) -> Result<Vec<Piece>, Fault> {
        let said: Value =
            serde_json::from_str(&event.data).map_err(|error| Fault::Garbled(error.to_string()))?;
        let index = said["index"].as_u64().unwrap_or_default();
        match said["type"].as_str().unwrap_or(&event.name) {
            "message_start" => Ok(self.count(&said["message"]["usage"])),
            "content_block_start" => self.begin_block(index, &said["content_block"]),
            "content_block_delta" => self.delta(index, &said["delta"]),
            "message_delta" => {
                let mut pieces = self.count(&said["usage"]);
                if said["delta"]["stop_reason"] == "max_tokens" {
                    pieces.push(Piece::Cut);
                }
                Ok(pieces)
            }
            "message_stop" => {
                self.over = true;
                Ok(self.fragments.finish())
            }
            "error" => {
                let what = said["error"]["message"].as_str().unwrap_or("it did not say why");
                Err(Fault::Told(short(what)))
            }
            // `ping`, `content_block_stop`, and what may be added: the documentation asks to bear with it.
            _ => Ok(Vec::new()),
        }
    }

    fn is_over(&self) -> bool {
        self.over
    }

    fn end(&mut self) -> Result<Vec<Piece>, Fault> {
        if self.over { Ok(Vec::new()) } else { Err(Fault::Ended) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::ToolCall;
    use super::*;

    fn read(events: &[&str]) -> Result<Vec<Piece>, Fault> {
        let (mut reader, mut pieces) = (Anthropic.reader(), Vec::new());
        for data in events {
            pieces.extend(reader.event(&Event { name: String::new(), data: (*data).into() })?);
        }
        pieces.extend(reader.end()?);
        Ok(pieces)
    }

    #[test]
    fn turns_alternate_and_results_are_the_callers() {
        let call = ToolCall { id: "t".into(), name: "x".into(), arguments: "{}".into() };
        let dialog = [
            Message::Bot { text: "Hello.".into(), calls: Vec::new() },
            Message::Caller { text: "One".into() },
            Message::Caller { text: "two".into() },
            Message::Bot { text: String::new(), calls: Vec::new() },
            Message::Bot { text: "Wait.".into(), calls: vec![call] },
            Message::Result { call: "t".into(), text: "no".into(), failed: true },
            Message::Caller { text: "Well?".into() },
        ];
        let turns = messages(&dialog);
        let roles: Vec<_> = turns.iter().map(|turn| turn["role"].as_str().unwrap()).collect();
        assert_eq!(roles, ["user", "assistant", "user", "assistant", "user"]);
        assert_eq!(turns[2]["content"].as_array().map(Vec::len), Some(2));
        assert_eq!(turns[4]["content"][0]["is_error"], true);
        assert_eq!(turns[4]["content"][1]["text"], "Well?");
    }

    #[test]
    fn a_reply_with_a_tool_is_read() {
        let pieces = read(&[
            r#"{"type":"message_start","message":{"usage":{"input_tokens":25,"cache_read_input_tokens":5,"output_tokens":1}}}"#,
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
            r#"{"type":"ping"}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Let me look."}}"#,
            r#"{"type":"content_block_stop","index":0}"#,
            r#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"toolu_1","name":"look_up","input":{}}}"#,
            r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":""}}"#,
            r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"a\": \""}}"#,
            r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"1\"}"}}"#,
            r#"{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":89}}"#,
            r#"{"type":"message_stop"}"#,
        ])
        .expect("read");
        let call =
            ToolCall { id: "toolu_1".into(), name: "look_up".into(), arguments: r#"{"a": "1"}"#.into() };
        assert!(pieces.contains(&Piece::Text("Let me look.".into())));
        assert!(pieces.contains(&Piece::Usage(Usage { input: 30, output: 89 })));
        assert_eq!(pieces.last(), Some(&Piece::Call(call)));
    }

    #[test]
    fn errors_and_streams_that_end_too_soon_are_told() {
        let overloaded = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
        assert_eq!(read(&[overloaded]), Err(Fault::Told("Overloaded".into())));
        assert!(matches!(read(&["no json"]), Err(Fault::Garbled(_))));
        let begun = r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi"}}"#;
        assert_eq!(read(&[begun]), Err(Fault::Ended));
    }
}
