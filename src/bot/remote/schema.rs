//! `docs/remote-protocol.schema.json` out of the types of the messages. With `OFFHOOK_WRITE_SCHEMA` set the test writes the file
//! anew; without it the file has to be what it would write.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::message::{Event, RequestId, VERSION, Verb};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/remote-protocol.schema.json");

/// The schema of every message, as text.
fn schema() -> String {
    let generator = || SchemaSettings::draft2020_12().into_generator();
    let mut defs = Map::new();
    let mut add = |name: &str, schema: schemars::Schema, around: &[(&str, Value)]| {
        let mut schema = schema.to_value();
        let fields = schema.as_object_mut().expect("a schema is an object");
        fields.remove("$schema");
        if let Some(more) = fields.remove("$defs") {
            defs.extend(more.as_object().cloned().unwrap_or_default());
        }
        let resolve = defs.clone();
        let variants = fields.get_mut("oneOf").and_then(Value::as_array_mut);
        for variant in variants.into_iter().flatten() {
            // What is around a message stands beside its own fields, so those of a type of its own have to stand there too.
            let of = variant.get("$ref").and_then(Value::as_str).and_then(|path| path.rsplit('/').next());
            if let Some(Value::Object(of)) = of.and_then(|name| resolve.get(name)).cloned() {
                let variant = variant.as_object_mut().expect("a schema is an object");
                variant.remove("$ref");
                for (key, value) in of {
                    match (variant.get_mut(&key), value) {
                        (Some(Value::Object(there)), Value::Object(more)) => there.extend(more),
                        (Some(Value::Array(there)), Value::Array(more)) => there.extend(more),
                        (Some(_), _) => {}
                        (None, value) => {
                            variant.insert(key, value);
                        }
                    }
                }
            }
            let fields = variant["properties"].as_object_mut().expect("a message has fields");
            for (name, schema) in around {
                fields.entry(*name).or_insert_with(|| schema.clone());
            }
            variant["additionalProperties"] = false.into();
        }
        defs.insert(name.into(), schema);
    };
    let call = json!({ "type": "string", "description": "The call that it is about. A program with a connection for each call need not say it." });
    let of_event = json!({ "type": "string", "description": "The call that it is about." });
    let id = json!({ "$ref": "#/$defs/RequestId", "description": "What the result of the verb carries; without it there is none." });
    add("Event", generator().into_root_schema_for::<Event>(), &[("call", of_event)]);
    add("Verb", generator().into_root_schema_for::<Verb>(), &[("call", call), ("id", id)]);
    let request_id = generator().into_root_schema_for::<RequestId>();
    add("RequestId", request_id, &[]);
    let whole = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": format!("Offhook's protocol for programs as bots, version {VERSION}"),
        "description": "Every text message: events go to the program, verbs come from it. See docs/remote.md.",
        "oneOf": [{ "$ref": "#/$defs/Event" }, { "$ref": "#/$defs/Verb" }],
        "$defs": defs,
    });
    serde_json::to_string_pretty(&whole).expect("it is JSON") + "\n"
}

#[test]
fn the_schema_in_the_documentation_is_that_of_the_messages() {
    let schema = schema();
    if std::env::var_os("OFFHOOK_WRITE_SCHEMA").is_some() {
        std::fs::write(FILE, &schema).expect("it can be written");
    }
    let there = std::fs::read_to_string(FILE).unwrap_or_default();
    assert!(
        there == schema,
        "the messages have changed: OFFHOOK_WRITE_SCHEMA=1 cargo test --lib bot::remote::schema, and raise VERSION where programs that were right are wrong now"
    );
}

#[test]
fn the_schema_tells_messages_from_what_is_none() {
    let schema = serde_json::from_str(&schema()).expect("it is JSON");
    let validator = jsonschema::validator_for(&schema).expect("it is a schema");
    for right in [
        json!({ "verb": "say", "id": 1, "text": "Hello." }),
        json!({ "verb": "say", "id": "a", "call": "x", "text": ["Hello.", { "file": "a.wav" }], "interrupt": "both" }),
        json!({ "verb": "ask", "id": 2, "text": "Which?", "listen": { "phrases": ["sales", { "say": "help", "means": "h" }] } }),
        json!({ "verb": "stop" }),
        json!({ "verb": "collect", "digits": { "least": 2, "most": 4 } }),
        json!({ "event": "speech_started", "call": "x", "at_ms": 12 }),
        json!({ "event": "result", "call": "x", "id": 1, "verb": "say", "ok": true, "said": { "words": "Hello.", "heard_ms": 300, "interrupted": false } }),
    ] {
        let errors: Vec<_> = validator.iter_errors(&right).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{right}: {errors:?}");
    }
    for wrong in [
        json!({ "verb": "shout" }),
        json!({ "verb": "say", "txt": "Hello." }),
        json!({ "verb": "say", "text": 7 }),
        json!({ "verb": "collect" }),
        json!({ "event": "result", "id": 1 }),
        json!([]),
    ] {
        assert!(!validator.is_valid(&wrong), "{wrong}");
    }
}
