//! What Asterisk says of a call before everything else.

/// What Asterisk says of the call: `agi_channel`, `agi_callerid`, …
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Environment {
    pub(super) headers: Vec<(String, String)>,
}

impl Environment {
    /// Of these lines, for tests.
    pub fn from_headers<K: Into<String>, V: Into<String>>(headers: impl IntoIterator<Item = (K, V)>) -> Self {
        Self { headers: headers.into_iter().map(|(key, value)| (key.into(), value.into())).collect() }
    }

    /// The value of `agi_NAME`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let wanted = |key: &str| key.strip_prefix("agi_").unwrap_or(key) == name;
        self.headers.iter().find(|(key, _)| wanted(key)).map(|(_, value)| value.as_str())
    }

    /// The same, where an empty value and `unknown` are none.
    #[must_use]
    pub fn known(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty() && *value != "unknown")
    }

    /// The channel's name.
    #[must_use]
    pub fn channel(&self) -> &str {
        self.get("channel").unwrap_or_default()
    }

    /// The channel's id.
    #[must_use]
    pub fn uniqueid(&self) -> &str {
        self.get("uniqueid").unwrap_or_default()
    }

    /// The caller's number.
    #[must_use]
    pub fn caller(&self) -> Option<&str> {
        self.known("callerid")
    }

    /// The number in the dialplan.
    #[must_use]
    pub fn extension(&self) -> &str {
        self.get("extension").unwrap_or_default()
    }

    /// The arguments after the script in the dialplan's `AGI(script,a,b)`.
    #[must_use]
    pub fn arguments(&self) -> Vec<&str> {
        (1..).map_while(|index| self.get(&format!("arg_{index}"))).collect()
    }

    /// Which script is wanted: the path of `agi://host/PATH?QUERY`, the first argument of `agi:async`, or the name of the
    /// program.
    #[must_use]
    pub fn script(&self) -> &str {
        let request = self.get("request").unwrap_or_default();
        let path = if request == "async" || request == "agi:async" {
            return self.get("arg_1").unwrap_or_default();
        } else if let Some(script) = self.known("network_script") {
            script
        } else if let Some((_, rest)) = request.split_once("://") {
            rest.split_once('/').map_or("", |(_, path)| path)
        } else {
            request.rsplit('/').next().unwrap_or_default()
        };
        path.split('?').next().unwrap_or_default().trim_matches('/')
    }

    /// The pairs after the `?`, decoded.
    #[must_use]
    pub fn query(&self) -> Vec<(String, String)> {
        let request = self.get("request").unwrap_or_default();
        let query = request.split_once('?').or_else(|| self.get("network_script")?.split_once('?'));
        let Some((_, query)) = query else { return Vec::new() };
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        pairs
            .map(|pair| {
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                (percent_decoded(key), percent_decoded(value))
            })
            .collect()
    }
}

impl std::fmt::Debug for Environment {
    /// Names alone: values are numbers of callers.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.headers.iter().map(|(key, _)| key)).finish()
    }
}

/// The text behind `%20` and its like. What is no such code stays as it is.
#[must_use]
pub fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while index < bytes.len() {
        let code = (bytes[index] == b'%').then(|| bytes.get(index + 1..index + 3)).flatten();
        let code = code
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        if let Some(byte) = code {
            decoded.push(byte);
            index += 3;
        } else {
            decoded.push(bytes[index]);
            index += 1;
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}
