//! Gemini Live over a WebSocket, from its public documentation: "Live API - WebSockets API reference" (ai.google.dev/api/live), "Live API
//! capabilities guide" and "Session management", as of November 2026.
//!
//! Its own detection of activity is off; `activityStart` and `activityEnd` are ours. It has no truncation: of an answer that was
//! interrupted it keeps what it had sent. What begins as speech is held back until it has gone on for a while, since it cannot be
//! taken back.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::dialect::{Coding, Dialect, Setup, Told, text_of};
use crate::bot::tools::ToolCall;

/// The model, where the file names none.
pub(super) const MODEL: &str = "gemini-live-2.5-flash-preview";

/// Where it is.
pub(super) const URL: &str = "wss://generativelanguage.googleapis.com/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent";

/// Bytes of 16 kHz that are held back: as long as a cough or an "uh-huh" may take to be told from speech.
const HELD_BACK: usize = 2 * 16_000 * 12 / 10;

#[derive(Default)]
pub(super) struct Gemini {
    /// What is held back, while the caller speaks.
    held: Option<Vec<u8>>,
    /// He may be done: held back for longer.
    paused: bool,
    /// `activityStart` was sent.
    active: bool,
    /// By what the session can be gone on with.
    handle: Option<String>,
    /// An answer is on its way.
    answering: bool,
}

impl Gemini {
    fn audio(bytes: &[u8]) -> Value {
        let audio = json!({ "mimeType": "audio/pcm;rate=16000", "data": STANDARD.encode(bytes) });
        json!({ "realtimeInput": { "audio": audio } })
    }

    /// What was held back goes on.
    fn release(&mut self) -> Vec<Value> {
        let Some(held) = self.held.take() else { return Vec::new() };
        let mut messages = Vec::new();
        if !std::mem::replace(&mut self.active, true) {
            messages.push(json!({ "realtimeInput": { "activityStart": {} } }));
        }
        messages.extend(held.chunks(32_000).map(Self::audio));
        messages
    }

    fn began(&mut self) -> Option<Told> {
        (!std::mem::replace(&mut self.answering, true)).then_some(Told::Began)
    }
}

impl Dialect for Gemini {
    fn hears(&self) -> Coding {
        Coding::Linear(16_000)
    }

    fn speaks(&self) -> Coding {
        Coding::Linear(24_000)
    }

    fn setup(&mut self, setup: &Setup<'_>) -> Vec<Value> {
        let section = setup.section;
        let mut generation =
            json!({ "responseModalities": ["AUDIO"], "maxOutputTokens": section.max_tokens });
        if let Some(voice) = &section.voice {
            generation["speechConfig"] =
                json!({ "voiceConfig": { "prebuiltVoiceConfig": { "voiceName": voice } } });
        }
        let model = section.model.as_deref().unwrap_or(MODEL).trim_start_matches("models/");
        let mut wanted = json!({
            "model": format!("models/{model}"),
            "generationConfig": generation,
            "systemInstruction": { "parts": [{ "text": setup.instructions }] },
            "realtimeInputConfig": { "automaticActivityDetection": { "disabled": true } },
            "inputAudioTranscription": {},
            "outputAudioTranscription": {},
            "sessionResumption": {},
            "contextWindowCompression": { "slidingWindow": {} },
        });
        if let Some(handle) = &self.handle {
            wanted["sessionResumption"] = json!({ "handle": handle });
        }
        if !setup.tools.is_empty() {
            let tools = setup.tools.iter().map(|tool| {
                json!({ "name": tool.name, "description": tool.description, "parameters": tool.parameters })
            });
            wanted["tools"] = json!([{ "functionDeclarations": tools.collect::<Vec<_>>() }]);
        }
        let handle = self.handle.take();
        *self = Self::default();
        let mut messages = vec![json!({ "setup": wanted })];
        if handle.is_none() && !setup.history.is_empty() {
            let turns = setup.history.iter().map(|(bot, text)| {
                json!({ "role": if *bot { "model" } else { "user" }, "parts": [{ "text": text }] })
            });
            let turns: Vec<_> = turns.collect();
            messages.push(json!({ "clientContent": { "turns": turns, "turnComplete": false } }));
        }
        self.handle = handle;
        messages
    }

    fn speech_began(&mut self) -> Vec<Value> {
        self.held = Some(Vec::new());
        self.paused = false;
        Vec::new()
    }

    fn speech(&mut self, bytes: &[u8]) -> Vec<Value> {
        match &mut self.held {
            Some(held) => {
                held.extend_from_slice(bytes);
                // A pause this early may be its end, and it may have been nothing.
                let long = held.len() >= HELD_BACK && (!self.paused || held.len() >= 2 * HELD_BACK);
                if long { self.release() } else { Vec::new() }
            }
            None if self.active => vec![Self::audio(bytes)],
            None => Vec::new(),
        }
    }

    fn speech_paused(&mut self) {
        self.paused = true;
    }

    fn speech_taken_back(&mut self) -> Vec<Value> {
        self.held = None;
        match std::mem::take(&mut self.active) {
            true => vec![json!({ "realtimeInput": { "activityEnd": {} } })],
            false => Vec::new(),
        }
    }

    fn speech_ended(&mut self) -> Vec<Value> {
        let mut messages = self.release();
        if std::mem::take(&mut self.active) {
            messages.push(json!({ "realtimeInput": { "activityEnd": {} } }));
        }
        messages
    }

    /// It answers by itself, to what was said and to what tools told.
    fn answer(&mut self) -> Vec<Value> {
        Vec::new()
    }

    /// `activityStart` does it; until then what comes is not played.
    fn cancel(&mut self) -> Vec<Value> {
        self.release()
    }

    fn cut(&mut self, _: &str, _: Duration) -> Vec<Value> {
        Vec::new()
    }

    fn text(&mut self, text: &str) -> Vec<Value> {
        let turns = json!([{ "role": "user", "parts": [{ "text": text }] }]);
        vec![json!({ "clientContent": { "turns": turns, "turnComplete": true } })]
    }

    fn result(&mut self, call: &ToolCall, output: &str) -> Vec<Value> {
        let response = json!({ "id": call.id, "name": call.name, "response": { "result": output } });
        vec![json!({ "toolResponse": { "functionResponses": [response] } })]
    }

    /// Words would take back the tools that it waits for.
    fn filler(&mut self) -> Vec<Value> {
        Vec::new()
    }

    fn read(&mut self, text: &str) -> Vec<Told> {
        let Ok(message) = serde_json::from_str::<Value>(text) else { return Vec::new() };
        let mut told = Vec::new();
        if message.get("setupComplete").is_some() {
            told.push(Told::Ready);
        }
        if let Some(content) = message.get("serverContent") {
            self.content(content, &mut told);
        }
        if let Some(calls) = message.pointer("/toolCall/functionCalls").and_then(Value::as_array) {
            told.extend(self.began());
            told.extend(calls.iter().map(|call| {
                Told::Tool(ToolCall {
                    id: text_of(call, "/id").to_owned(),
                    name: text_of(call, "/name").to_owned(),
                    arguments: call.get("args").map(Value::to_string).unwrap_or_default(),
                })
            }));
        }
        if let Some(ids) = message.pointer("/toolCallCancellation/ids").and_then(Value::as_array) {
            told.push(Told::ToolsCancelled(
                ids.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            ));
        }
        if let Some(tokens) = message.pointer("/usageMetadata/totalTokenCount").and_then(Value::as_u64) {
            told.push(Told::Used(tokens));
        }
        if message.pointer("/sessionResumptionUpdate/resumable") == Some(&Value::Bool(true)) {
            let handle = text_of(&message, "/sessionResumptionUpdate/newHandle").to_owned();
            self.handle = Some(handle.clone()).filter(|handle| !handle.is_empty());
            told.push(Told::Resume(handle));
        }
        if message.get("goAway").is_some() {
            told.push(Told::GoAway);
        }
        told
    }
}

impl Gemini {
    fn content(&mut self, content: &Value, told: &mut Vec<Told>) {
        let parts = content.pointer("/modelTurn/parts").and_then(Value::as_array);
        for part in parts.into_iter().flatten() {
            if !text_of(part, "/inlineData/mimeType").starts_with("audio/pcm") {
                continue;
            }
            if let Ok(bytes) = STANDARD.decode(text_of(part, "/inlineData/data")) {
                told.extend(self.began());
                told.push(Told::Audio { item: "answer".into(), bytes });
            }
        }
        let text = text_of(content, "/inputTranscription/text");
        if !text.is_empty() {
            told.push(Told::CallerText(text.to_owned()));
        }
        let text = text_of(content, "/outputTranscription/text");
        if !text.is_empty() {
            told.push(Told::BotText(text.to_owned()));
        }
        let over = |name: &str| content.get(name) == Some(&Value::Bool(true));
        if over("interrupted") || over("turnComplete") {
            self.answering = false;
            told.push(Told::Done { failed: None });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cough_is_never_sent_and_a_sentence_is_sent_whole() {
        let mut service = Gemini::default();
        service.speech_began();
        assert!(service.speech(&[1; 640]).is_empty(), "it may be a cough");
        assert!(service.speech_taken_back().is_empty(), "it was one: nothing was said");
        service.speech_began();
        service.speech(&[1; 640]);
        let ended = service.speech_ended();
        assert!(ended[0].pointer("/realtimeInput/activityStart").is_some());
        assert_eq!(text_of(&ended[1], "/realtimeInput/audio/mimeType"), "audio/pcm;rate=16000");
        assert!(ended[2].pointer("/realtimeInput/activityEnd").is_some());
        service.speech_began();
        let sent: usize = (0..100).map(|_| service.speech(&[1; 640]).len()).sum();
        assert!(sent > 35, "a long sentence goes on as it comes: {sent}");
        assert_eq!(service.speech_ended().len(), 1);
    }

    #[test]
    fn what_it_says_is_understood() {
        let mut service = Gemini::default();
        let audio = json!({ "inlineData": { "mimeType": "audio/pcm;rate=24000", "data": "AQI=" } });
        let message = json!({ "serverContent": { "modelTurn": { "parts": [audio] }, "outputTranscription": { "text": "Hi" } } });
        let read = service.read(&message.to_string());
        assert_eq!(
            read,
            [
                Told::Began,
                Told::Audio { item: "answer".into(), bytes: vec![1, 2] },
                Told::BotText("Hi".into())
            ]
        );
        let over =
            service.read(r#"{"serverContent":{"turnComplete":true},"usageMetadata":{"totalTokenCount":9}}"#);
        assert_eq!(over, [Told::Done { failed: None }, Told::Used(9)]);
        let tool =
            service.read(r#"{"toolCall":{"functionCalls":[{"id":"1","name":"hang_up","args":{"a":1}}]}}"#);
        assert!(matches!(&tool[1], Told::Tool(call) if call.arguments == "{\"a\":1}"));
        let resumed = service.read(
            r#"{"sessionResumptionUpdate":{"newHandle":"h","resumable":true},"goAway":{"timeLeft":"10s"}}"#,
        );
        assert_eq!(resumed, [Told::Resume("h".into()), Told::GoAway]);
        for strange in ["", "[]", "{\"serverContent\":7}", "{\"toolCall\":{\"functionCalls\":[7]}}"] {
            let _ = service.read(strange);
        }
    }
}
