//! The server itself.

use serde_json::Value;

use crate::asterisk::ari::model::{AsteriskInfo, AsteriskPing, ConfigTuple, LogChannel, Module, Variable};
use crate::asterisk::ari::operation::operations;

operations! {
    /// The server: version, modules, logs, global variables, dynamic configuration.
    Server;

    /// Reads an object of dynamic configuration, for instance `res_pjsip`, `endpoint`, `alice`.
    GET "/asterisk/config/dynamic/{configClass}/{objectType}/{id}" =>
        get_object(class: &str, kind: &str, id: &str) -> Vec<ConfigTuple>;

    /// Makes or changes one: `{"fields": [{"attribute": …, "value": …}]}`.
    PUT "/asterisk/config/dynamic/{configClass}/{objectType}/{id}" =>
        update_object(class: &str, kind: &str, id: &str; fields: &Value = "fields") -> Vec<ConfigTuple>;

    /// Deletes one.
    DELETE "/asterisk/config/dynamic/{configClass}/{objectType}/{id}" =>
        delete_object(class: &str, kind: &str, id: &str) -> ();

    /// Version, build, settings and times; `only` some of `build`, `system`, `config`, `status` (empty: all).
    GET "/asterisk/info" => info(; only: &[&str] = "only") -> AsteriskInfo;

    /// Answers at once (not in the first releases of 16).
    GET "/asterisk/ping" => ping() -> AsteriskPing;

    /// The modules that are loaded.
    GET "/asterisk/modules" => modules() -> Vec<Module>;

    /// One of them, with its suffix: `res_ari.so`.
    GET "/asterisk/modules/{moduleName}" => module(name: &str) -> Module;

    /// Loads one.
    POST "/asterisk/modules/{moduleName}" => load_module(name: &str) -> ();

    /// Unloads one.
    DELETE "/asterisk/modules/{moduleName}" => unload_module(name: &str) -> ();

    /// Has one read its configuration again.
    PUT "/asterisk/modules/{moduleName}" => reload_module(name: &str) -> ();

    /// The logs that are written.
    GET "/asterisk/logging" => logs() -> Vec<LogChannel>;

    /// Starts one: `configuration` is what logger.conf would say, for instance `notice,warning,error`.
    POST "/asterisk/logging/{logChannelName}" => add_log(log: &str; configuration: &str = "configuration") -> ();

    /// Stops one.
    DELETE "/asterisk/logging/{logChannelName}" => delete_log(log: &str) -> ();

    /// Begins a new file; one that was started over ARI is forgotten by it (seen on 22).
    PUT "/asterisk/logging/{logChannelName}/rotate" => rotate_log(log: &str) -> ();

    /// A global variable, or a function that needs no channel.
    GET "/asterisk/variable" => global_var(; variable: &str = "variable") -> Variable;

    /// Sets a global variable.
    POST "/asterisk/variable" => set_global_var(; variable: &str = "variable", value: &str = "value") -> ();
}
