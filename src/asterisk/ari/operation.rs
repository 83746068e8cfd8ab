//! How an operation of ARI is written down: one line each, as Asterisk's own description has it.
//!
//! ```text
//! operations! {
//!     /// What the group is about.
//!     Channels;
//!
//!     /// Hangs up.
//!     DELETE "/channels/{channelId}" => hangup(channel: &ChannelId; reason: HangupReason = "reason") -> ();
//! }
//! ```
//!
//! Before the semicolon stand the path's placeholders in order, after it the parameters with their names on the wire.
//! What is written is also kept as a table ([`Operation`]), which a test compares with what a running Asterisk says of
//! itself.

use std::collections::BTreeMap;
use std::future::Future;

use serde_json::{Map, Value};

use super::{Ari, AriError};

/// One operation, as it is known here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Operation {
    /// The group that has the method: `Channels`.
    pub group: &'static str,
    /// The method: `hangup`.
    pub name: &'static str,
    /// `GET`, `POST`, `PUT` or `DELETE`.
    pub method: &'static str,
    /// The path with its placeholders: `/channels/{channelId}`.
    pub path: &'static str,
    /// The names of the parameters that can be sent (those of the body too, and no placeholders).
    pub parameters: &'static [&'static [&'static str]],
}

/// The names of a parameter set, in groups: those of a struct, or one name.
pub(super) type Names = &'static [&'static [&'static str]];

/// A request on its way: what [`Ari::send`](super::Ari) needs.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: reqwest::Method,
    pub(super) path: &'static str,
    pub(super) segments: Vec<String>,
    pub(super) subject: String,
    pub(super) parameters: Map<String, Value>,
    pub(super) body: Option<Value>,
}

impl Request {
    pub(super) fn new(method: reqwest::Method, path: &'static str) -> Self {
        Self {
            method,
            path,
            segments: Vec::new(),
            subject: String::new(),
            parameters: Map::new(),
            body: None,
        }
    }

    pub(super) fn segment(&mut self, segment: &(impl Segment + ?Sized)) {
        if segment.may_be_shown() && self.subject.is_empty() {
            segment.text().clone_into(&mut self.subject);
        }
        self.segments.push(segment.text().to_owned());
    }

    /// Method and path with placeholders, for errors and log lines.
    pub(super) fn operation(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// What goes into the query, and the body: parameters go into the query of a GET, and into the JSON body of everything
    /// else unless there is another one.
    pub(super) fn carried(&self) -> (Vec<(String, String)>, Option<String>) {
        let body = self.body.as_ref().map(Value::to_string);
        if self.method == reqwest::Method::GET || body.is_some() {
            let query = self.parameters.iter().map(|(name, value)| (name.clone(), as_query(value)));
            return (query.collect(), body);
        }
        let parameters = (!self.parameters.is_empty())
            .then(|| serde_json::to_string(&self.parameters).expect("a map of JSON values is JSON"));
        (Vec::new(), parameters)
    }

    /// The path's segments with the placeholders filled in.
    pub(super) fn filled(&self) -> impl Iterator<Item = &str> {
        let mut values = self.segments.iter();
        self.path.split('/').skip(1).map(move |part| {
            if part.starts_with('{') { values.next().map_or(part, String::as_str) } else { part }
        })
    }
}

/// What can stand for a placeholder of a path.
pub(super) trait Segment {
    fn text(&self) -> &str;

    /// Whether error messages may carry it. Ids may; names of endpoints and mailboxes can be phone numbers.
    fn may_be_shown(&self) -> bool {
        false
    }
}

impl Segment for str {
    fn text(&self) -> &str {
        self
    }
}

/// What can be sent as a parameter.
pub(super) trait Parameter {
    fn put(&self, name: &'static str, request: &mut Request);
}

impl Parameter for str {
    fn put(&self, name: &'static str, request: &mut Request) {
        request.parameters.insert(name.to_owned(), Value::from(self));
    }
}

impl Parameter for String {
    fn put(&self, name: &'static str, request: &mut Request) {
        self.as_str().put(name, request);
    }
}

/// Several values of one name.
impl Parameter for [&str] {
    fn put(&self, name: &'static str, request: &mut Request) {
        // None is not the same as an empty one: `only=` asks for nothing.
        if !self.is_empty() {
            request.parameters.insert(name.to_owned(), Value::from(self));
        }
    }
}

impl Parameter for Vec<String> {
    fn put(&self, name: &'static str, request: &mut Request) {
        if !self.is_empty() {
            request.parameters.insert(name.to_owned(), Value::from(self.as_slice()));
        }
    }
}

macro_rules! plain_parameters {
    ($($type:ty)*) => { $(impl Parameter for $type {
        fn put(&self, name: &'static str, request: &mut Request) {
            request.parameters.insert(name.to_owned(), Value::from(*self));
        }
    })* };
}
plain_parameters! { bool i32 u32 u64 }

impl<T: Parameter> Parameter for Option<T> {
    fn put(&self, name: &'static str, request: &mut Request) {
        if let Some(value) = self {
            value.put(name, request);
        }
    }
}

impl<T: Parameter + ?Sized> Parameter for &T {
    fn put(&self, name: &'static str, request: &mut Request) {
        (**self).put(name, request);
    }
}

/// Channel variables by name.
impl Parameter for BTreeMap<String, String> {
    fn put(&self, name: &'static str, request: &mut Request) {
        if !self.is_empty() {
            let variables: Map<String, Value> =
                self.iter().map(|(k, v)| (k.clone(), Value::from(v.as_str()))).collect();
            request.parameters.insert(name.to_owned(), Value::Object(variables));
        }
    }
}

/// A JSON document that is the whole body; its name is only Asterisk's word for it.
impl Parameter for Value {
    fn put(&self, _: &'static str, request: &mut Request) {
        request.body = Some(self.clone());
    }
}

/// A value in a query: several of one name are separated by commas.
fn as_query(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(as_query).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// A struct of parameters, made by `parameters!`.
pub(super) trait ParameterSet {
    const NAMES: &'static [&'static str];
    fn put_all(&self, request: &mut Request);
}

/// What an operation answers with.
pub(super) trait Answer: Sized {
    fn read(ari: &Ari, request: Request) -> impl Future<Output = Result<Self, AriError>> + Send;
}

/// Nothing is expected; what comes is not read.
impl Answer for () {
    async fn read(ari: &Ari, request: Request) -> Result<Self, AriError> {
        ari.send(&request).await.map(|_| ())
    }
}

/// The raw bytes of a file.
impl Answer for bytes::Bytes {
    async fn read(ari: &Ari, request: Request) -> Result<Self, AriError> {
        // Files do not come over WebSockets (406 from a real server).
        ari.send_by_http(&request).await
    }
}

/// Declares a group of operations and the methods that carry them out.
macro_rules! operations {
    (
        $(#[$group_doc:meta])* $group:ident;
        $($(#[$doc:meta])*
          $method:ident $path:literal => $name:ident(
            $($segment:ident: $segment_type:ty),*
            $(; $($parameter:ident: $parameter_type:ty = $wire:literal),+)?
            $(| $set:ident: &$set_type:ty)?
          ) -> $answer:ty;)+
    ) => {
        $(#[$group_doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $group<'a>(pub(in crate::asterisk::ari) &'a $crate::asterisk::ari::Ari);

        impl $group<'_> {
            /// The operations of this group.
            pub const OPERATIONS: &'static [$crate::asterisk::ari::Operation] = &[$(
                $crate::asterisk::ari::Operation {
                    group: stringify!($group),
                    name: stringify!($name),
                    method: stringify!($method),
                    path: $path,
                    parameters: {
                        const NAMES: $crate::asterisk::ari::operation::Names = &[
                            $($(&[$wire],)+)?
                            $(<$set_type as $crate::asterisk::ari::operation::ParameterSet>::NAMES)?
                        ];
                        NAMES
                    },
                },
            )+];

            $($(#[$doc])*
            ///
            /// # Errors
            ///
            /// Every [`AriError`](crate::asterisk::ari::AriError); its `advice()` says what to do.
            pub async fn $name(
                self,
                $($segment: $segment_type,)*
                $($($parameter: $parameter_type,)+)?
                $($set: &$set_type,)?
            ) -> Result<$answer, $crate::asterisk::ari::AriError> {
                #[allow(unused_imports, reason = "not every operation has every kind of argument")]
                use $crate::asterisk::ari::operation::{Answer as _, Parameter as _, ParameterSet as _};
                #[allow(unused_mut, reason = "an operation without arguments adds nothing")]
                let mut request =
                    $crate::asterisk::ari::operation::Request::new(reqwest::Method::$method, $path);
                $(request.segment($segment);)*
                $($($parameter.put($wire, &mut request);)+)?
                $($set.put_all(&mut request);)?
                <$answer>::read(self.0, request).await
            })+
        }
    };
}

/// Declares a struct of parameters: each field with its type and its name on the wire.
macro_rules! parameters {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty = $wire:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Debug, Default)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)+
        }

        impl $crate::asterisk::ari::operation::ParameterSet for $name {
            const NAMES: &'static [&'static str] = &[$($wire),+];

            fn put_all(&self, request: &mut $crate::asterisk::ari::operation::Request) {
                use $crate::asterisk::ari::operation::Parameter as _;
                $(self.$field.put($wire, request);)+
            }
        }
    };
}

pub(super) use {operations, parameters};
