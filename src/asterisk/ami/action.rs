//! One action: its lines, checked before they can be sent.

use super::AmiError;
use super::message::{FromValue, Message};

/// The most bytes that Asterisk takes of one line (its buffer has 1,025 bytes, two of them are the line end).
pub const LONGEST_LINE: usize = 1_022;
/// The most lines that Asterisk takes of one action.
pub const MOST_LINES: usize = 120;

/// An action by its name and lines; what has a type of its own in [`actions`](super::actions) is made from that.
///
/// A line break, a NUL, or a line longer than Asterisk reads is refused when the action is sent: nothing of it goes out. So a
/// value from outside cannot become a line of its own.
#[derive(Clone, PartialEq, Eq)]
pub struct Action {
    name: String,
    headers: Vec<(String, String)>,
    pub(super) ends_with: Ends,
}

/// When the answer to an action is whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Ends {
    /// With the response, or with the list that it announces.
    #[default]
    Response,
    /// With this event of the same ActionID, whatever comes first.
    Event(&'static str),
}

impl Action {
    /// The action `name` without any lines.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), headers: Vec::new(), ends_with: Ends::Response }
    }

    /// With one more line; a key may come several times.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl ToValue) -> Self {
        self.put(&key.into(), value);
        self
    }

    /// Its answer is whole with the event `name` that carries its ActionID, as with FAXStats and OriginateResponse.
    #[must_use]
    pub fn ends_with_event(mut self, name: &'static str) -> Self {
        self.ends_with = Ends::Event(name);
        self
    }

    /// Its answer is whole with the response: for an [`Originate`](super::actions::Originate) whose outcome nobody waits for.
    #[must_use]
    pub fn ends_with_response(mut self) -> Self {
        self.ends_with = Ends::Response;
        self
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its lines.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Adds lines for `value`.
    pub fn put(&mut self, key: &str, value: impl ToValue) {
        value.each(&mut |text| self.headers.push((key.to_owned(), text)));
    }

    /// The bytes that are sent.
    ///
    /// # Errors
    /// [`AmiError::Unsendable`] when a line is not one line, or is more than Asterisk reads.
    pub fn encode(&self, id: &str) -> Result<Vec<u8>, AmiError> {
        let refuse = |key: &str, what: &'static str| AmiError::Unsendable {
            action: printable(&self.name),
            key: printable(key),
            what,
        };
        if self.headers.len() > MOST_LINES {
            return Err(refuse("", "more lines than Asterisk takes (120)"));
        }
        let mut text = String::with_capacity(256);
        let own = [("Action", self.name.as_str()), ("ActionID", id)];
        for (key, value) in own.into_iter().chain(self.headers()) {
            if value.contains(['\r', '\n', '\0']) {
                return Err(refuse(key, "a line break or NUL in a value: it would end the line"));
            }
            let fine = |byte: u8| byte.is_ascii_graphic() && byte != b':' || byte == b' ';
            if key.is_empty() || !key.bytes().all(fine) {
                return Err(refuse(key, "no name of a line"));
            }
            if key.len() + 2 + value.len() > LONGEST_LINE {
                return Err(refuse(key, "longer than Asterisk reads (1,022 bytes with its key)"));
            }
            text.push_str(key);
            text.push_str(": ");
            text.push_str(value);
            text.push_str("\r\n");
        }
        text.push_str("\r\n");
        Ok(text.into_bytes())
    }
}

impl std::fmt::Debug for Action {
    /// Without the values: one of them may be a password or a number.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keys: Vec<&str> = self.headers().map(|(key, _)| key).collect();
        f.debug_struct("Action").field("name", &self.name).field("keys", &keys).finish()
    }
}

/// What of a refused name or key may be shown: its first letters, without what would break a line of a log.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(40).collect()
}

/// What a line of an action is made from. [`None`] and empty lists make no line.
pub trait ToValue {
    /// Hands each value of the line's key to `put`.
    fn each(&self, put: &mut dyn FnMut(String));
}

impl ToValue for str {
    fn each(&self, put: &mut dyn FnMut(String)) {
        put(self.to_owned());
    }
}

impl ToValue for String {
    fn each(&self, put: &mut dyn FnMut(String)) {
        put(self.clone());
    }
}

impl ToValue for bool {
    fn each(&self, put: &mut dyn FnMut(String)) {
        put(if *self { "true" } else { "false" }.to_owned());
    }
}

impl<T: ToValue + ?Sized> ToValue for &T {
    fn each(&self, put: &mut dyn FnMut(String)) {
        (**self).each(put);
    }
}

impl<T: ToValue> ToValue for Option<T> {
    fn each(&self, put: &mut dyn FnMut(String)) {
        if let Some(value) = self {
            value.each(put);
        }
    }
}

impl<T: ToValue> ToValue for Vec<T> {
    fn each(&self, put: &mut dyn FnMut(String)) {
        for value in self {
            value.each(put);
        }
    }
}

/// `NAME=VALUE`, as Asterisk takes channel variables and the lines of a NOTIFY.
impl ToValue for (String, String) {
    fn each(&self, put: &mut dyn FnMut(String)) {
        put(format!("{}={}", self.0, self.1));
    }
}

macro_rules! numbers {
    ($($kind:ty)*) => { $(
        impl ToValue for $kind {
            fn each(&self, put: &mut dyn FnMut(String)) {
                put(self.to_string());
            }
        }
    )* };
}
numbers!(u16 u32 u64 i32 i64);

/// The answer to an action.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Reply {
    /// The response itself.
    pub response: Message,
    /// The events of the list that it announced, in order, without the last one.
    pub items: Vec<Message>,
    /// The event that ended the list, or that the action was to end with.
    pub last: Option<Message>,
}

impl Reply {
    /// The lines that a command of the console printed.
    pub fn output(&self) -> impl Iterator<Item = &str> {
        self.response.all("Output")
    }

    /// A field of the response.
    #[must_use]
    pub fn get<T: FromValue>(&self, key: &str) -> Option<T> {
        self.response.get(key).and_then(T::from_value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_is_lines_that_end_as_asterisk_wants() {
        let action = Action::new("Setvar")
            .with("Variable", "A")
            .with("Value", "b: c")
            .with("Nothing", None::<String>)
            .with("More", vec![("x".to_owned(), "1".to_owned())]);
        let bytes = action.encode("7").unwrap();
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            "Action: Setvar\r\nActionID: 7\r\nVariable: A\r\nValue: b: c\r\nMore: x=1\r\n\r\n"
        );
    }

    #[test]
    fn no_value_becomes_a_line_of_its_own() {
        for (key, value) in [
            ("Value", "x\r\nAction: Command"),
            ("Value", "x\n\n"),
            ("Value", "x\0y"),
            ("A\r\nB", "x"),
            ("A: b", "x"),
            ("", "x"),
        ] {
            let error = Action::new("Setvar").with(key, value).encode("7").unwrap_err();
            assert!(matches!(error, AmiError::Unsendable { .. }), "{key:?} {value:?}");
            assert!(!error.to_string().contains('\n'));
        }
        assert!(Action::new("X\r\nAction: Y").encode("7").is_err());
        assert!(Action::new("X").encode("7\r\n").is_err());
    }

    #[test]
    fn a_line_has_the_length_that_asterisk_reads() {
        let fits = "x".repeat(LONGEST_LINE - "Value: ".len());
        assert!(Action::new("A").with("Value", &fits).encode("1").is_ok());
        assert!(Action::new("A").with("Value", fits + "x").encode("1").is_err());
        let many = vec!["x"; MOST_LINES];
        assert!(Action::new("A").with("V", many.clone()).encode("1").is_ok());
        assert!(Action::new("A").with("V", many).with("W", 1u32).encode("1").is_err());
    }

    #[test]
    fn nothing_prints_the_values() {
        let action = Action::new("Login").with("Secret", "hunter2");
        assert!(!format!("{action:?}").contains("hunter2"));
    }
}
