//! OpenAI Realtime over a WebSocket, from its public documentation: "Realtime conversations", "Voice activity detection" and the
//! references "Client events" and "Server events" of the platform's pages, as of November 2026. Names of the general
//! availability; the audio events of the beta are understood as well.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::dialect::{Coding, Dialect, Setup, Told, text_of};
use crate::bot::tools::ToolCall;

/// The model, where the file names none.
pub(super) const MODEL: &str = "gpt-realtime";

/// Where it is.
pub(super) const URL: &str = "wss://api.openai.com/v1/realtime";

#[derive(Default)]
pub(super) struct OpenAi {
    /// Whether anything is in its input buffer.
    heard: bool,
}

impl Dialect for OpenAi {
    fn hears(&self) -> Coding {
        Coding::Ulaw
    }

    fn speaks(&self) -> Coding {
        Coding::Ulaw
    }

    fn setup(&mut self, setup: &Setup<'_>) -> Vec<Value> {
        let section = setup.section;
        let tools = setup.tools.iter().map(|tool| {
            json!({ "type": "function", "name": tool.name, "description": tool.description, "parameters": tool.parameters })
        });
        // Voices are told apart here, not there.
        let mut input = json!({ "format": { "type": "audio/pcmu" }, "turn_detection": null });
        if let Some(model) = &section.transcribe {
            input["transcription"] = json!({ "model": model });
        }
        let mut output = json!({ "format": { "type": "audio/pcmu" } });
        if let Some(voice) = &section.voice {
            output["voice"] = voice.clone().into();
        }
        let session = json!({
            "type": "realtime",
            "output_modalities": ["audio"],
            "instructions": setup.instructions,
            "audio": { "input": input, "output": output },
            "tools": tools.collect::<Vec<_>>(),
            "tool_choice": "auto",
            "max_output_tokens": section.max_tokens,
        });
        self.heard = false;
        let mut messages = vec![json!({ "type": "session.update", "session": session })];
        messages.extend(setup.history.iter().map(|(bot, text)| {
            let (role, kind) = if *bot { ("assistant", "output_text") } else { ("user", "input_text") };
            let content = json!([{ "type": kind, "text": text }]);
            json!({ "type": "conversation.item.create", "item": { "type": "message", "role": role, "content": content } })
        }));
        messages
    }

    fn speech_began(&mut self) -> Vec<Value> {
        Vec::new()
    }

    fn speech(&mut self, bytes: &[u8]) -> Vec<Value> {
        self.heard = true;
        vec![json!({ "type": "input_audio_buffer.append", "audio": STANDARD.encode(bytes) })]
    }

    fn speech_paused(&mut self) {}

    fn speech_taken_back(&mut self) -> Vec<Value> {
        match std::mem::take(&mut self.heard) {
            true => vec![json!({ "type": "input_audio_buffer.clear" })],
            false => Vec::new(),
        }
    }

    fn speech_ended(&mut self) -> Vec<Value> {
        match std::mem::take(&mut self.heard) {
            true => vec![json!({ "type": "input_audio_buffer.commit" })],
            false => Vec::new(),
        }
    }

    fn answer(&mut self) -> Vec<Value> {
        vec![json!({ "type": "response.create" })]
    }

    fn cancel(&mut self) -> Vec<Value> {
        vec![json!({ "type": "response.cancel" })]
    }

    fn cut(&mut self, item: &str, heard: Duration) -> Vec<Value> {
        let heard = u64::try_from(heard.as_millis()).unwrap_or(u64::MAX);
        vec![
            json!({ "type": "conversation.item.truncate", "item_id": item, "content_index": 0, "audio_end_ms": heard }),
        ]
    }

    fn text(&mut self, text: &str) -> Vec<Value> {
        let content = json!([{ "type": "input_text", "text": text }]);
        let item = json!({ "type": "message", "role": "user", "content": content });
        let mut messages = vec![json!({ "type": "conversation.item.create", "item": item })];
        messages.extend(self.answer());
        messages
    }

    fn result(&mut self, call: &ToolCall, output: &str) -> Vec<Value> {
        let item = json!({ "type": "function_call_output", "call_id": call.id, "output": output });
        vec![json!({ "type": "conversation.item.create", "item": item })]
    }

    fn filler(&mut self) -> Vec<Value> {
        let what = "Say in a few words that you are still looking, and nothing else.";
        vec![
            json!({ "type": "response.create", "response": { "instructions": what, "tool_choice": "none" } }),
        ]
    }

    fn read(&mut self, text: &str) -> Vec<Told> {
        let Ok(message) = serde_json::from_str::<Value>(text) else { return Vec::new() };
        let told = match text_of(&message, "/type") {
            "session.updated" => Told::Ready,
            "response.created" => Told::Began,
            "response.output_audio.delta" | "response.audio.delta" => {
                let Ok(bytes) = STANDARD.decode(text_of(&message, "/delta")) else { return Vec::new() };
                Told::Audio { item: text_of(&message, "/item_id").to_owned(), bytes }
            }
            "response.output_audio_transcript.delta" | "response.audio_transcript.delta" => {
                Told::BotText(text_of(&message, "/delta").to_owned())
            }
            "conversation.item.input_audio_transcription.completed" => {
                Told::CallerText(text_of(&message, "/transcript").to_owned())
            }
            "response.function_call_arguments.done" => Told::Tool(ToolCall {
                id: text_of(&message, "/call_id").to_owned(),
                name: text_of(&message, "/name").to_owned(),
                arguments: text_of(&message, "/arguments").to_owned(),
            }),
            "response.done" => {
                let failed = match text_of(&message, "/response/status") {
                    "failed" => {
                        let what = text_of(&message, "/response/status_details/error/message");
                        Some(if what.is_empty() { "it failed" } else { what }.to_owned())
                    }
                    _ => None,
                };
                let tokens = message.pointer("/response/usage/total_tokens").and_then(Value::as_u64);
                return tokens.map(Told::Used).into_iter().chain([Told::Done { failed }]).collect();
            }
            "error" => {
                let (code, kind) = (text_of(&message, "/error/code"), text_of(&message, "/error/type"));
                // What was too late to matter.
                let harmless = [
                    "response_cancel_not_active",
                    "input_audio_buffer_commit_empty",
                    "conversation_already_has_active_response",
                    "item_truncate_invalid_item_id",
                ];
                if harmless.contains(&code) {
                    return Vec::new();
                }
                let lasting = ["invalid_api_key", "insufficient_quota", "model_not_found"].contains(&code)
                    || kind == "authentication_error";
                Told::Error { lasting, what: text_of(&message, "/error/message").to_owned() }
            }
            _ => return Vec::new(),
        };
        vec![told]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_caller_says_goes_on_as_it_comes_and_is_committed_once() {
        let mut service = OpenAi::default();
        assert!(service.speech_ended().is_empty(), "nothing was said");
        let appended = service.speech(&[0xff, 0x7f]);
        assert_eq!(appended[0]["audio"], "/38=");
        assert_eq!(service.speech_ended()[0]["type"], "input_audio_buffer.commit");
        assert!(service.speech_taken_back().is_empty());
        service.speech(&[1]);
        assert_eq!(service.speech_taken_back()[0]["type"], "input_audio_buffer.clear");
        assert_eq!(service.cut("item_1", Duration::from_millis(740))[0]["audio_end_ms"], 740);
    }

    #[test]
    fn what_it_says_is_understood_and_what_is_strange_is_not() {
        let mut service = OpenAi::default();
        let mut read = |message: Value| service.read(&message.to_string());
        assert_eq!(
            read(json!({ "type": "response.output_audio.delta", "item_id": "i", "delta": "/38=" })),
            [Told::Audio { item: "i".into(), bytes: vec![0xff, 0x7f] }]
        );
        assert_eq!(
            read(
                json!({ "type": "response.done", "response": { "status": "completed", "usage": { "total_tokens": 12 } } })
            ),
            [Told::Used(12), Told::Done { failed: None }]
        );
        let failed =
            json!({ "status": "failed", "status_details": { "error": { "message": "overloaded" } } });
        assert_eq!(
            read(json!({ "type": "response.done", "response": failed })),
            [Told::Done { failed: Some("overloaded".into()) }]
        );
        assert_eq!(read(json!({ "type": "error", "error": { "code": "response_cancel_not_active" } })), []);
        let error = read(json!({ "type": "error", "error": { "code": "invalid_api_key", "message": "no" } }));
        assert!(matches!(error[..], [Told::Error { lasting: true, .. }]));
        for strange in
            ["", "{", "[]", "{\"type\":7}", "{\"type\":\"response.output_audio.delta\",\"delta\":\"?\"}"]
        {
            assert_eq!(service.read(strange), []);
        }
    }
}
