//! OpenAI's chat completions, streamed, as of platform.openai.com/docs/api-reference/chat (November 2026); llama.cpp's server,
//! vLLM and Ollama speak the same. What one of them leaves out or adds is borne with.

use reqwest::header::HeaderValue;
use serde_json::{Value, json};

use super::sse::Event;
use super::{Fault, Fragments, How, MOST_TEXT, Message, Piece, Protocol, Reader, Request, Usage, short};
use crate::service::Key;

/// The protocol.
pub struct OpenAi;

impl Protocol for OpenAi {
    fn path(&self) -> &'static str {
        "/chat/completions"
    }

    fn headers(&self, key: Option<&Key>) -> Vec<(&'static str, HeaderValue)> {
        key.and_then(|key| Some(("authorization", key.header("Bearer")?))).into_iter().collect()
    }

    fn body(&self, request: &Request, how: &How) -> Value {
        let system = json!({ "role": "system", "content": request.system });
        let messages: Vec<Value> =
            std::iter::once(system).chain(request.messages.iter().map(message)).collect();
        let mut body = json!({
            "model": how.model,
            "messages": messages,
            "stream": true,
            "stream_options": { "include_usage": true },
            "max_tokens": how.max_tokens,
        });
        if let Some(temperature) = how.temperature {
            body["temperature"] = json!(temperature);
        }
        if !request.tools.is_empty() {
            let tools = request.tools.iter().map(|tool| {
                json!({ "type": "function", "function": {
                    "name": tool.name, "description": tool.description, "parameters": tool.parameters } })
            });
            body["tools"] = tools.collect();
            body["tool_choice"] = json!("auto");
        }
        for (key, value) in &how.extra {
            body[key] = value.clone();
        }
        // What a service does not know, it may refuse: `max_completion_tokens` in the extra keys goes before its old name.
        if how.extra.contains_key("max_completion_tokens")
            && let Some(body) = body.as_object_mut()
        {
            body.remove("max_tokens");
        }
        body
    }

    fn reader(&self) -> Box<dyn Reader> {
        Box::new(Reading::default())
    }
}

fn message(message: &Message) -> Value {
    match message {
        Message::Caller { text } => json!({ "role": "user", "content": text }),
        Message::Bot { text, calls } if calls.is_empty() => json!({ "role": "assistant", "content": text }),
        Message::Bot { text, calls } => {
            let calls = calls.iter().map(|call| {
                json!({ "id": call.id, "type": "function",
                    "function": { "name": call.name, "arguments": call.arguments } })
            });
            let text = Some(text).filter(|text| !text.is_empty());
            json!({ "role": "assistant", "content": text, "tool_calls": calls.collect::<Vec<_>>() })
        }
        Message::Result { call, text, .. } => {
            json!({ "role": "tool", "tool_call_id": call, "content": text })
        }
    }
}

/// One reply.
#[derive(Default)]
struct Reading {
    fragments: Fragments,
    text: usize,
    /// Its last choice has ended; the usage may follow.
    stopped: bool,
    over: bool,
}

impl Reading {
    fn delta(&mut self, delta: &Value, pieces: &mut Vec<Piece>) -> Result<(), Fault> {
        if let Some(text) = delta["content"].as_str().filter(|text| !text.is_empty()) {
            self.text += text.len();
            if self.text > MOST_TEXT {
                return Err(Fault::Garbled(format!("a reply of more than {MOST_TEXT} bytes")));
            }
            pieces.push(Piece::Text(text.to_owned()));
        }
        for (n, call) in delta["tool_calls"].as_array().into_iter().flatten().enumerate() {
            let function = &call["function"];
            // Where no index is told, a call comes whole.
            let index = call["index"].as_u64().unwrap_or(n as u64);
            let arguments = match &function["arguments"] {
                Value::String(text) => text.clone(),
                Value::Null => String::new(),
                // Some servers forget to make text of it.
                other => other.to_string(),
            };
            self.fragments
                .add(index, call["id"].as_str(), function["name"].as_str(), &arguments)
                .map_err(Fault::Garbled)?;
        }
        Ok(())
    }
}

impl Reader for Reading {
    fn event(&mut self, event: &Event) -> Result<Vec<Piece>, Fault> {
        let mut pieces = Vec::new();
        let data = event.data.trim();
        if data == "[DONE]" {
            self.over = true;
            return Ok(self.fragments.finish());
        }
        if data.is_empty() {
            return Ok(pieces);
        }
        let chunk: Value = serde_json::from_str(data).map_err(|error| Fault::Garbled(error.to_string()))?;
        let error = &chunk["error"];
        if !error.is_null() {
            let what = error["message"].as_str().or(error.as_str()).unwrap_or("it did not say why");
            return Err(Fault::Told(short(what)));
        }
        if let Some(choice) = chunk["choices"].get(0) {
            self.delta(&choice["delta"], &mut pieces)?;
            if let Some(why) = choice["finish_reason"].as_str() {
                self.stopped = true;
                if why == "length" {
                    pieces.push(Piece::Cut);
                }
                pieces.append(&mut self.fragments.finish());
            }
        }
        let usage = &chunk["usage"];
        if let (Some(input), Some(output)) =
            (usage["prompt_tokens"].as_u64(), usage["completion_tokens"].as_u64())
        {
            pieces.push(Piece::Usage(Usage { input, output }));
        }
        Ok(pieces)
    }

    fn is_over(&self) -> bool {
        self.over
    }

    fn end(&mut self) -> Result<Vec<Piece>, Fault> {
        // Some servers leave the last line out.
        if self.over || self.stopped { Ok(self.fragments.finish()) } else { Err(Fault::Ended) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{ToolCall, ToolSpec};
    use super::*;

    fn how() -> How {
        How { model: "m".into(), temperature: Some(0.5), max_tokens: 200, extra: serde_json::Map::new() }
    }

    fn read(events: &[&str]) -> Result<Vec<Piece>, Fault> {
        let (mut reader, mut pieces) = (OpenAi.reader(), Vec::new());
        for data in events {
            pieces.extend(reader.event(&Event { name: String::new(), data: (*data).into() })?);
        }
        pieces.extend(reader.end()?);
        Ok(pieces)
    }

    #[test]
    fn a_dialog_with_tools_becomes_a_body() {
        let call = ToolCall { id: "c1".into(), name: "look_up".into(), arguments: "{\"n\":1}".into() };
        let request = Request {
            system: "Be kind.".into(),
            messages: vec![
                Message::Caller { text: "Hi".into() },
                Message::Bot { text: String::new(), calls: vec![call] },
                Message::Result { call: "c1".into(), text: "42".into(), failed: false },
            ],
            tools: vec![ToolSpec {
                name: "look_up".into(),
                description: "d".into(),
                parameters: json!({ "type": "object" }),
            }],
        };
        let body = OpenAi.body(&request, &how());
        assert_eq!(body["messages"][0], json!({ "role": "system", "content": "Be kind." }));
        assert_eq!(body["messages"][2]["tool_calls"][0]["function"]["arguments"], "{\"n\":1}");
        assert_eq!(body["messages"][2]["content"], Value::Null);
        assert_eq!(body["messages"][3], json!({ "role": "tool", "tool_call_id": "c1", "content": "42" }));
        assert_eq!(
            (&body["tool_choice"], &body["stream_options"]["include_usage"]),
            (&json!("auto"), &json!(true))
        );
        let mut how = how();
        how.extra.insert("max_completion_tokens".into(), json!(7));
        let body = OpenAi.body(&request, &how);
        assert_eq!((body.get("max_tokens"), &body["max_completion_tokens"]), (None, &json!(7)));
    }

    #[test]
    fn text_fragments_of_tools_and_usage_are_read() {
        let pieces = read(&[
            r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#,
            r#"{"choices":[{"index":0,"delta":{"content":"One mo"}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"id":"b","function":{"name":"two","arguments":""}}]}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"one","arguments":"{\"x"}}]}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"\":1}"}}]}}]}"#,
            r#"{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"#,
            r#"{"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":5}}"#,
            "[DONE]",
        ])
        .expect("read");
        let call = |id: &str, name: &str, arguments: &str| {
            Piece::Call(ToolCall { id: id.into(), name: name.into(), arguments: arguments.into() })
        };
        let expected = [
            Piece::Text("One mo".into()),
            call("a", "one", "{\"x\":1}"),
            call("b", "two", ""),
            Piece::Usage(Usage { input: 10, output: 5 }),
        ];
        assert_eq!(pieces, expected);
    }

    #[test]
    fn errors_in_mid_stream_and_streams_that_end_too_soon_are_told() {
        assert_eq!(
            read(&[r#"{"error":{"message":"overloaded","type":"server_error"}}"#]),
            Err(Fault::Told("overloaded".into()))
        );
        assert!(matches!(read(&["{"]), Err(Fault::Garbled(_))));
        assert!(matches!(read(&[r#"{"choices":[{"delta":{"content":"Hi"}}]}"#]), Err(Fault::Ended)));
        let whole = read(&[r#"{"choices":[{"delta":{"content":"Hi"},"finish_reason":"length"}]}"#]);
        assert_eq!(whole, Ok(vec![Piece::Text("Hi".into()), Piece::Cut]), "without a last line");
        let many: Vec<_> = (0..20)
            .map(|n| format!(r#"{{"choices":[{{"delta":{{"tool_calls":[{{"index":{n},"function":{{"name":"x"}}}}]}}}}]}}"#))
            .collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        assert!(matches!(read(&many), Err(Fault::Garbled(_))), "a model that wants everything");
    }

    proptest! {
        #[test]
        fn nothing_that_a_server_says_makes_it_panic(
            data in prop::collection::vec("[\\{\\}\\[\\]\":,a-z0-9 ]{0,80}|\\{\"choices\":\\[\\{\"delta\":(null|\\{\\}|7|\"x\")\\}\\]\\}", 0..6)
        ) {
            let data: Vec<_> = data.iter().map(String::as_str).collect();
            let _ = read(&data);
        }
    }
}
