//! What Asterisk says of itself: versions, modules, applications, endpoints, devices, mailboxes, sounds.

use super::{Timestamp, models};
use crate::asterisk::ari::{BridgeId, ChannelId};

models! {
    /// A Stasis application that somebody registered, and what it gets events of.
    Application {
        needs {
            /// Its name.
            name: String,
        }
        has {
            /// Channels.
            channel_ids: Vec<ChannelId>,
            /// Bridges.
            bridge_ids: Vec<BridgeId>,
            /// Endpoints, `TECH/RESOURCE`.
            endpoint_ids: Vec<String>,
            /// Devices.
            device_names: Vec<String>,
            /// Event types that pass the filter; empty: all.
            events_allowed: Vec<serde_json::Value>,
            /// Event types that do not.
            events_disallowed: Vec<serde_json::Value>,
        }
    }

    /// How Asterisk was built.
    #[derive(Default)]
    BuildInfo {
        has {
            /// The operating system.
            os: String,
            /// Its kernel.
            kernel: String,
            /// Compile-time options.
            options: String,
            /// The machine.
            machine: String,
            /// When.
            date: String,
            /// By whom.
            user: String,
        }
    }

    /// What runs.
    #[derive(Default)]
    SystemInfo {
        has {
            /// The version: `22.10.1~dfsg`.
            version: String,
            /// The id of this server: what events carry as `asterisk_id`.
            entity_id: String,
        }
    }

    /// Whom it runs as.
    #[derive(Default)]
    SetId {
        has {
            /// The user's id.
            user: String,
            /// The group's id.
            group: String,
        }
    }

    /// Its main settings. Limits are `None` where there are none.
    #[derive(Default)]
    ConfigInfo {
        has {
            /// The server's name.
            name: String,
            /// The language of prompts.
            default_language: String,
            /// The most calls at once.
            max_channels: Option<i64>,
            /// The most open files.
            max_open_files: Option<i64>,
            /// The highest load at which it takes calls.
            max_load: Option<f64>,
            /// Whom it runs as.
            setid: SetId,
        }
    }

    /// Since when.
    #[derive(Default)]
    StatusInfo {
        has {
            /// When it was started.
            startup_time: Timestamp,
            /// When it was last reloaded.
            last_reload_time: Timestamp,
        }
    }

    /// What `GET /asterisk/info` says; parts that were not asked for are empty.
    AsteriskInfo {
        has {
            /// How it was built.
            build: BuildInfo,
            /// What runs.
            system: SystemInfo,
            /// Its main settings.
            config: ConfigInfo,
            /// Since when.
            status: StatusInfo,
        }
    }

    /// The answer to a ping.
    AsteriskPing {
        has {
            /// The id of this server.
            asterisk_id: String,
            /// `pong`.
            ping: String,
            /// Its clock.
            timestamp: String,
        }
    }

    /// A module of Asterisk.
    Module {
        needs {
            /// Its file: `res_ari.so`.
            name: String,
        }
        has {
            /// What it is for.
            description: String,
            /// How many use it now.
            use_count: i64,
            /// `Running` or `Not Running`.
            status: String,
            /// `core`, `extended`, `deprecated`.
            support_level: String,
        }
    }

    /// A log that Asterisk writes.
    LogChannel {
        has {
            /// Its file.
            channel: String,
            /// Its type.
            #[serde(rename = "type")]
            kind: String,
            /// Whether it is enabled.
            status: String,
            /// What goes into it.
            configuration: String,
        }
    }

    /// An attribute of dynamic configuration.
    ConfigTuple {
        needs {
            /// Its name.
            attribute: String,
        }
        has {
            /// Its value.
            value: String,
        }
    }

    /// The state of a device.
    DeviceState {
        needs {
            /// The device, for instance `PJSIP/alice` or `Stasis:queue`.
            name: String,
        }
        has {
            /// `UNKNOWN`, `NOT_INUSE`, `INUSE`, `BUSY`, `INVALID`, `UNAVAILABLE`, `RINGING`, `RINGINUSE`, `ONHOLD`.
            state: String,
        }
    }

    /// Somewhere calls go to and come from.
    Endpoint {
        has {
            /// The technology: `PJSIP`.
            technology: String,
            /// Its name there.
            resource: String,
            /// `unknown`, `offline`, `online`.
            state: String,
            /// Its channels.
            channel_ids: Vec<ChannelId>,
        }
    }

    /// A mailbox.
    Mailbox {
        needs {
            /// Its name.
            name: String,
        }
        has {
            /// Messages that were heard.
            old_messages: i64,
            /// Messages that were not.
            new_messages: i64,
        }
    }

    /// A language and a format that a sound is there in.
    FormatLangPair {
        has {
            /// The language.
            language: String,
            /// The format.
            format: String,
        }
    }

    /// A recorded prompt of Asterisk's.
    Sound {
        needs {
            /// Its name.
            id: String,
        }
        has {
            /// What is said.
            text: String,
            /// In which languages and formats it is there.
            formats: Vec<FormatLangPair>,
        }
    }
}

impl AsteriskInfo {
    /// Major and minor version; `None` when the version does not begin with a number (a development build).
    #[must_use]
    pub fn version(&self) -> Option<(u32, u32)> {
        let text = self.system.version.trim_start_matches("GIT-").trim_start_matches("certified-");
        let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        let major = numbers.next()?.ok()?;
        Some((major, numbers.next().and_then(Result::ok).unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asterisk::ari::model::read;

    #[test]
    fn versions_of_every_kind_of_build_are_read() {
        for (text, version) in [
            ("22.10.1~dfsg+~cs6.15.60671435-1", Some((22, 10))),
            ("16.28.0~dfsg-0+deb11u4", Some((16, 28))),
            ("certified-20.7-cert3", Some((20, 7))),
            ("GIT-master-abc", None),
            ("", None),
        ] {
            let body = format!(r#"{{"system":{{"version":"{text}"}}}}"#);
            assert_eq!(read::<AsteriskInfo>(body.as_bytes()).unwrap().version(), version, "{text}");
        }
    }
}
