//! The sections and their defaults. `config.example.toml` says what each key means; here stands only why.

mod listeners;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use url::Url;

pub use self::listeners::{ApiKey, Internal, Public, Tls};
use super::choices::OutcomeEvent;
use super::secret;
use super::units::{self, ByteSize, duration};
use crate::domain::confirmation::Confirm;
use crate::domain::network::Network;
use crate::store::MAX_CONNECTIONS;

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// EvoLink itself, and our account there.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Evolink {
    #[serde(deserialize_with = "units::url")]
    pub base_url: Url,
    /// Ask [`Evolink::read_api_key`] instead: the key may be in a file.
    #[serde(serialize_with = "secret::redacted")]
    pub api_key: Option<SecretString>,
    pub api_key_file: Option<PathBuf>,
    #[serde(with = "duration")]
    pub timeout: Duration,
    pub polls_per_second: u32,
    pub submits_per_second: u32,
    pub allow_unknown_fields: bool,
}

impl Default for Evolink {
    fn default() -> Self {
        Self {
            base_url: Url::parse("https://api.evolink.ai").expect("a literal URL"),
            api_key: None,
            api_key_file: None,
            timeout: Duration::from_secs(30),
            // EvoLink publishes no limit, and asks its upstream for each poll of an image that is not ready. With gaps that
            // double, ten a second are enough for some hundred tasks at a time whose callbacks are all lost.
            polls_per_second: 10,
            // Each costs money: a key in the wrong hands is bounded by this. No app makes so many images for long.
            submits_per_second: 50,
            allow_unknown_fields: false,
        }
    }
}

/// How submits of apps are taken.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Submits {
    #[serde(with = "duration")]
    pub repeat_window: Duration,
}

impl Default for Submits {
    fn default() -> Self {
        Self {
            // The retries of client libraries end within minutes; a person who asks again later
            // means it.
            repeat_window: Duration::from_mins(10),
        }
    }
}

/// Where tasks are kept.
#[derive(Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreConfig {
    #[serde(serialize_with = "units::without_password")]
    pub url: String,
    pub password_file: Option<PathBuf>,
    pub max_connections: u32,
    pub min_free: ByteSize,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            url: "sqlite:data/receiver.db".into(),
            password_file: None,
            max_connections: MAX_CONNECTIONS,
            min_free: ByteSize::kib(64 * 1024),
        }
    }
}

impl fmt::Debug for StoreConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = units::password_struck_out(&self.url);
        f.debug_struct("StoreConfig")
            .field("url", &url)
            .field("password_file", &self.password_file)
            .field("max_connections", &self.max_connections)
            .field("min_free", &self.min_free)
            .finish()
    }
}

/// The key ring that callback tokens are made with.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CallbackTokens {
    pub key_file: PathBuf,
}

impl Default for CallbackTokens {
    fn default() -> Self {
        Self {
            key_file: "data/callback_tokens.key".into(),
        }
    }
}

/// How far callbacks are believed.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Callbacks {
    pub confirm: Confirm,
}

/// How overdue tasks are asked after.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Reconcile {
    #[serde(with = "duration")]
    pub first_poll_after: Duration,
    #[serde(with = "duration")]
    pub interval_min: Duration,
    #[serde(with = "duration")]
    pub give_up_after: Duration,
}

impl Default for Reconcile {
    fn default() -> Self {
        Self {
            first_poll_after: Duration::from_secs(15),
            interval_min: Duration::from_secs(3),
            give_up_after: 24 * HOUR,
        }
    }
}

/// How much is kept of what cannot be applied.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quarantine {
    pub max_entries_per_token: usize,
    pub max_bytes_per_token: ByteSize,
    pub max_entries: u64,
    pub max_bytes: ByteSize,
}

impl Default for Quarantine {
    fn default() -> Self {
        Self {
            max_entries_per_token: 20,
            // Twenty bodies of EvoLink's usual size many times over; four of the largest that are taken in.
            max_bytes_per_token: ByteSize::kib(1024),
            // Every task of a bad day; on a small disk a small part of it.
            max_entries: 10_000,
            max_bytes: ByteSize::kib(256 * 1024),
        }
    }
}

/// Where result files are kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Archive {
    pub enabled: bool,
    #[serde(deserialize_with = "units::place")]
    pub url: String,
    pub allowed_hosts: Vec<String>,
    pub allow_networks: Vec<Network>,
}

impl Default for Archive {
    fn default() -> Self {
        let hosts = ["files.evolink.ai", "media.evolink.ai", "cdn.evolink.ai"];
        Self {
            enabled: true,
            url: "file:data/results".into(),
            allowed_hosts: hosts.map(String::from).to_vec(),
            allow_networks: Vec::new(),
        }
    }
}

/// Where outcomes are delivered to.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Forward {
    pub secret_file: PathBuf,
    pub allowed_hosts: Vec<String>,
    pub allow_networks: Vec<Network>,
    pub endpoints: Vec<Endpoint>,
}

impl Default for Forward {
    fn default() -> Self {
        Self {
            secret_file: "data/forward.whsec".into(),
            allowed_hosts: Vec::new(),
            allow_networks: Vec::new(),
            endpoints: Vec::new(),
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    pub name: String,
    #[serde(deserialize_with = "units::url")]
    pub url: Url,
    pub secret_file: PathBuf,
    pub events: Vec<OutcomeEvent>,
}

/// How long records are kept, and callback tokens with them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    #[serde(with = "duration")]
    pub tasks: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self { tasks: 90 * DAY }
    }
}
