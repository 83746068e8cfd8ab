//! One message of AMI: its lines, and what they mean.

/// What a server sent: its `Key: value` lines in their order. Keys are compared without regard to case.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    headers: Vec<(Box<str>, String)>,
    pub(super) whole: bool,
}

impl Default for Message {
    fn default() -> Self {
        Self { headers: Vec::new(), whole: true }
    }
}

impl Message {
    /// A message of these lines, for tests and for programs that replay what was kept.
    pub fn from_headers<K: AsRef<str>, V: Into<String>>(headers: impl IntoIterator<Item = (K, V)>) -> Self {
        let headers = headers.into_iter().map(|(key, value)| (key.as_ref().into(), value.into()));
        Self { headers: headers.collect(), whole: true }
    }

    /// The first value of `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| value.as_str())
    }

    /// Every value of `key`, in order.
    pub fn all<'a>(&'a self, key: &str) -> impl Iterator<Item = &'a str> {
        self.headers
            .iter()
            .filter(move |(name, _)| name.eq_ignore_ascii_case(key))
            .map(|(_, value)| value.as_str())
    }

    /// All lines in their order.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(key, value)| (&**key, value.as_str()))
    }

    /// The channel variables that came along (`ChanVariable: NAME=VALUE`, as `channelvars` of manager.conf says).
    pub fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.all("ChanVariable").filter_map(|pair| pair.split_once('='))
    }

    /// The event's name; [`None`] for a response.
    #[must_use]
    pub fn event(&self) -> Option<&str> {
        // `OriginateResponse` has a line `Response` of its own: the first line decides.
        let (key, value) = self.headers.first()?;
        key.eq_ignore_ascii_case("Event").then_some(value.as_str())
    }

    /// What a response says (`Success`, `Error`, `Goodbye`, …); [`None`] for an event.
    #[must_use]
    pub fn response(&self) -> Option<&str> {
        let (key, value) = self.headers.first()?;
        key.eq_ignore_ascii_case("Response").then_some(value.as_str())
    }

    /// Whether it is a response, and not a refusal.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.response().is_some_and(|said| !said.eq_ignore_ascii_case("Error"))
    }

    /// Which action it belongs to.
    #[must_use]
    pub fn action_id(&self) -> Option<&str> {
        self.get("ActionID").filter(|id| !id.is_empty())
    }

    /// Whether it is as the server sent it: nothing was too long to be kept.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// How many lines it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.headers.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.headers.is_empty()
    }

    pub(super) fn push(&mut self, key: &str, value: &str) {
        self.headers.push((key.into(), value.to_owned()));
    }

    pub(super) fn last_value_mut(&mut self) -> Option<&mut String> {
        self.headers.last_mut().map(|(_, value)| value)
    }
}

impl std::fmt::Debug for Message {
    /// Names of keys alone: values are numbers of callers and what they say.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.event().or(self.response()).unwrap_or("?");
        let keys: Vec<&str> = self.headers().map(|(key, _)| key).collect();
        f.debug_struct("Message").field("is", &name).field("keys", &keys).finish()
    }
}

/// What a value of a message is read as.
pub trait FromValue: Sized {
    /// The value, or [`None`] when it is none of this kind.
    fn from_value(text: &str) -> Option<Self>;
}

impl FromValue for String {
    fn from_value(text: &str) -> Option<Self> {
        // What Asterisk prints for a name or number that it does not have.
        Some(if text == "<unknown>" { Self::new() } else { text.to_owned() })
    }
}

impl FromValue for bool {
    fn from_value(text: &str) -> Option<Self> {
        Some(["yes", "true", "1", "on", "y", "t"].iter().any(|word| text.eq_ignore_ascii_case(word)))
    }
}

macro_rules! numbers {
    ($($kind:ty)*) => { $(
        impl FromValue for $kind {
            fn from_value(text: &str) -> Option<Self> {
                text.trim().parse().ok()
            }
        }
    )* };
}
numbers!(u16 u32 u64 i32 i64 f64);

/// How a field of a record is had from a message: required ones have a default where the server leaves them out, for
/// no two versions send the same.
pub trait Field: Sized {
    /// The field `key` of `message`.
    fn read(message: &Message, key: &str) -> Self;
}

impl<T: FromValue + Default> Field for T {
    fn read(message: &Message, key: &str) -> Self {
        message.get(key).and_then(T::from_value).unwrap_or_default()
    }
}

impl<T: FromValue> Field for Option<T> {
    fn read(message: &Message, key: &str) -> Self {
        message.get(key).filter(|text| !text.is_empty()).and_then(T::from_value)
    }
}

/// A record that is read from a message.
pub trait Record: Sized {
    /// The record; what the message lacks has its default.
    fn read(message: &Message) -> Self;
}
