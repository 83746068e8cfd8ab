//! What a running Asterisk says of itself, beside what is known here.

use std::collections::{BTreeMap, BTreeSet};

use offhook::asterisk::ari::{Ari, model};
use serde_json::Value;

use super::server;
use crate::support::{AsteriskUnderTest, Wanted};

/// Asterisk's own description of its interface.
struct Description {
    /// `METHOD /path` and its parameters (those of the path left out).
    operations: BTreeMap<String, BTreeSet<String>>,
    /// Model and its fields.
    models: BTreeMap<String, BTreeSet<String>>,
    /// The models that are events.
    events: BTreeSet<String>,
}

async fn describe(asterisk: &AsteriskUnderTest) -> Description {
    let base = &asterisk.ari_url;
    offhook::asterisk::tls::install();
    let http = reqwest::Client::new();
    let page = async |path: &str| -> Value {
        let request = http.get(format!("{base}/api-docs/{path}")).basic_auth("offhook", Some("offhook"));
        request.send().await.unwrap().json().await.unwrap()
    };
    let mut description =
        Description { operations: BTreeMap::new(), models: BTreeMap::new(), events: BTreeSet::new() };
    let listed = |value: &Value| value.as_array().cloned().unwrap_or_default();
    for resource in listed(&page("resources.json").await["apis"]) {
        let path =
            resource["path"].as_str().unwrap().trim_start_matches("/api-docs/").replace("{format}", "json");
        let page = page(&path).await;
        for api in listed(&page["apis"]) {
            for operation in listed(&api["operations"]) {
                let name = format!(
                    "{} {}",
                    operation["httpMethod"].as_str().unwrap(),
                    api["path"].as_str().unwrap()
                );
                let parameters = listed(&operation["parameters"]);
                let sent = parameters.iter().filter(|p| p["paramType"] != "path");
                description
                    .operations
                    .insert(name, sent.map(|p| p["name"].as_str().unwrap().to_owned()).collect());
            }
        }
        for (name, model) in page["models"].as_object().into_iter().flatten() {
            let fields =
                model["properties"].as_object().into_iter().flatten().map(|(field, _)| field.clone());
            description.models.insert(name.clone(), fields.collect());
            let kinds = listed(&model["subTypes"])
                .into_iter()
                .filter(|_| ["Message", "Event"].contains(&name.as_str()));
            description.events.extend(kinds.filter_map(|kind| kind.as_str().map(str::to_owned)));
        }
    }
    description
}

/// What is known here.
fn known() -> BTreeMap<String, BTreeSet<String>> {
    Ari::operations()
        .map(|operation| {
            let names = operation.parameters.iter().copied().flatten().map(|name| (*name).to_owned());
            (format!("{} {}", operation.method, operation.path), names.collect())
        })
        .collect()
}

/// Compares everything, prints the count, and gives what is wrong and what this server lacks.
async fn compare(asterisk: &AsteriskUnderTest) -> (Vec<String>, Vec<String>) {
    let described = describe(asterisk).await;
    let version = asterisk.ari().asterisk().info(&["system"]).await.unwrap().system.version;
    let (mut wrong, mut lacks) = (Vec::new(), Vec::new());
    let whole = operations(&described, &mut wrong);
    println!("Asterisk {version}: {whole}/{} operations with their parameters", described.operations.len());
    let (events, models) = fields(&described, &mut wrong);
    let there = described.events.iter().filter(|e| described.models.contains_key(*e)).count();
    println!("Asterisk {version}: {events}/{there} events with their fields");
    println!(
        "Asterisk {version}: {models}/{} other models with their fields",
        described.models.len() - there
    );
    for operation in known().keys().filter(|o| !described.operations.contains_key(*o)) {
        lacks.push(operation.clone());
    }
    for (name, _) in model::described() {
        if !described.models.contains_key(theirs(name)) {
            lacks.push(name.to_owned());
        }
    }
    (wrong, lacks)
}

/// How many operations are here with all their parameters. What newer versions know may be more; less is a gap.
fn operations(described: &Description, wrong: &mut Vec<String>) -> usize {
    let known = known();
    let mut whole = 0;
    for (name, parameters) in &described.operations {
        // The events socket is `Ari::events`, not a request; its parameters are that function's arguments.
        let ours = if name == "GET /events" {
            Some(&["app", "subscribeAll"].map(str::to_owned).into())
        } else {
            known.get(name)
        };
        let Some(ours) = ours else {
            wrong.push(format!("{name} is missing"));
            continue;
        };
        let missing: Vec<_> = parameters.difference(ours).filter(|p| !left_out(name, p)).collect();
        if missing.is_empty() {
            whole += 1;
        } else {
            wrong.push(format!("{name} lacks {missing:?}"));
        }
    }
    whole
}

/// How many events, and how many other models, are here with all their fields.
fn fields(described: &Description, wrong: &mut Vec<String>) -> (usize, usize) {
    let known: BTreeMap<&str, BTreeSet<&str>> =
        model::described().map(|(name, fields)| (theirs(name), fields.iter().copied().collect())).collect();
    let (mut events, mut models) = (0, 0);
    for (name, fields) in &described.models {
        let missing: Vec<&String> = match name.as_str() {
            // What all messages and events have is `Event`, with its type in its kind.
            "Message" | "Event" => {
                let ours = ["type", "asterisk_id", "application", "timestamp"];
                fields.iter().filter(|field| !ours.contains(&field.as_str())).collect()
            }
            // Without fields, and nothing answers with it.
            "Dialed" => fields.iter().collect(),
            name => {
                let Some(ours) = known.get(name) else {
                    wrong.push(format!("{name} is missing"));
                    continue;
                };
                let field =
                    |field: &&String| !ours.contains(if *field == "type" { "kind" } else { field.as_str() });
                fields.iter().filter(field).collect()
            }
        };
        if !missing.is_empty() {
            wrong.push(format!("{name} lacks {missing:?}"));
        } else if described.events.contains(name) {
            events += 1;
        } else {
            models += 1;
        }
    }
    (events, models)
}

/// Asterisk's name for a model of ours.
fn theirs(name: &str) -> &str {
    match name {
        "CallerId" => "CallerID",
        "Dialplan" => "DialplanCEP",
        "RtpStatistics" => "RTPstat",
        "RestHeader" => "RESTHeader",
        "RestParameter" => "RESTQueryStringParameter",
        "RestRequest" => "RESTRequest",
        name => name,
    }
}

#[tokio::test]
async fn everything_that_asterisk_describes_is_here() {
    let (wrong, lacks) = compare(server().await).await;
    println!("known here and not there: {lacks:?}");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn everything_that_the_oldest_asterisk_describes_is_here() {
    let oldest = AsteriskUnderTest::start_own(Wanted { version: Some("16"), ..Wanted::default() }).await;
    let (wrong, lacks) = compare(&oldest).await;
    println!("it lacks:\n  {}", lacks.join("\n  "));
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(lacks.iter().any(|l| l == "POST /events/claim"), "it is an old one: {lacks:?}");
}

/// Parameters that are known in another way: the reason's number goes with the reason, an id of ours with the operation that
/// has it in its path.
fn left_out(operation: &str, parameter: &str) -> bool {
    parameter == "reason_code"
        || matches!(
            (operation, parameter),
            ("POST /bridges", "bridgeId")
                | ("POST /bridges/{bridgeId}/play" | "POST /channels/{channelId}/play", "playbackId")
                | ("POST /channels/{channelId}/snoop", "snoopId")
        )
}
