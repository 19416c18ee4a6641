//! Keys with a closed set of values. The text form is the same in TOML, the environment, the
//! command line and the output.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::closest::closest;
use crate::domain::event::EventType;

/// Defines an enum whose variants have one spelling each, with the conversions both ways.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "&'static str")]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// Lists all spellings, for messages.
            pub fn known() -> String {
                let known = Self::ALL.iter().map(|choice| choice.as_str());
                known.collect::<Vec<_>>().join(", ")
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                let known = Self::ALL.iter().copied().find(|choice| choice.as_str() == text);
                known.ok_or_else(|| {
                    let meant = closest(text, Self::ALL.iter().map(|choice| choice.as_str()));
                    let advice = meant.map(|meant| format!("; did you mean {meant}?"));
                    let advice = advice.unwrap_or_default();
                    format!("unknown variant {text:?}, expected {}{advice}", Self::known())
                })
            }
        }

        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }

        impl From<$name> for &'static str {
            fn from(choice: $name) -> Self {
                choice.as_str()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

choice! {
    /// How the outcomes of tasks come.
    PublicMode {
        /// EvoLink calls us, and what it does not tell is polled.
        Callbacks = "callbacks",
        /// Nothing can call us: no callback URL is attached, and all outcomes are polled.
        PollOnly = "poll-only",
    }
}

choice! {
    /// The source of a listener's certificate.
    TlsMode {
        /// Read from `cert_file` and `key_file`, and read again when they change.
        Files = "files",
        /// Obtained from an ACME authority. Not available in this version.
        Acme = "acme",
        /// Created by the receiver itself: no client trusts it unless it is given to it.
        SelfSigned = "self-signed",
        /// No TLS: a proxy in front terminates it.
        Off = "off",
    }
}

choice! {
    /// A permission of an API key.
    Scope {
        Submit = "submit",
        Read = "read",
        Admin = "admin",
    }
}

choice! {
    /// The events that an endpoint can subscribe to.
    OutcomeEvent {
        Completed = "task.completed",
        Failed = "task.failed",
        Cancelled = "task.cancelled",
        Updated = "task.updated",
        Archived = "task.archived",
    }
}

impl OutcomeEvent {
    pub const fn event_type(self) -> EventType {
        match self {
            Self::Completed => EventType::Completed,
            Self::Failed => EventType::Failed,
            Self::Cancelled => EventType::Cancelled,
            Self::Updated => EventType::Updated,
            Self::Archived => EventType::Archived,
        }
    }
}
