//! The sections and their defaults. `config.example.toml` explains each key; the comments here say
//! only why a default has its value.

mod listeners;
mod log;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use url::Url;

pub use self::listeners::{ApiKey, Internal, Public, Tls};
pub use self::log::Log;
use super::choices::OutcomeEvent;
use super::secret;
use super::units::{self, ByteSize, duration};
use crate::domain::egress::network::Network;
use crate::domain::generation::models::ModelList;
use crate::domain::task::confirmation::Confirm;
use crate::store::MAX_CONNECTIONS;

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// EvoLink's API, and our account there.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Evolink {
    #[serde(deserialize_with = "units::url")]
    pub base_url: Url,
    /// Call [`Evolink::read_api_key`] instead of reading this: the key may be in a file.
    #[serde(serialize_with = "secret::redacted")]
    pub api_key: Option<SecretString>,
    pub api_key_file: Option<PathBuf>,
    /// Whether `api_key` came from the environment variable `EVOLINK_API_KEY`.
    #[serde(skip)]
    pub is_key_of_environment: bool,
    #[serde(with = "duration")]
    pub timeout: Duration,
    pub polls_per_second: u32,
    pub submits_per_second: u32,
    pub allow_unknown_fields: bool,
    pub models: ModelList,
    pub pass_unknown_tasks: bool,
}

impl Default for Evolink {
    fn default() -> Self {
        Self {
            base_url: Url::parse("https://api.evolink.ai").expect("a literal URL"),
            api_key: None,
            api_key_file: None,
            is_key_of_environment: false,
            timeout: Duration::from_secs(30),
            // EvoLink publishes no limit, and asks its own upstream for each poll of an unfinished
            // image. The intervals between polls double, so ten polls a second are enough for some
            // hundred tasks at a time whose callbacks are all lost.
            polls_per_second: 10,
            // Each submit costs money, so this limits the damage of a stolen key. No app submits
            // this many for long.
            submits_per_second: 50,
            allow_unknown_fields: false,
            models: ModelList::new(vec!["*".to_owned()]),
            pass_unknown_tasks: true,
        }
    }
}

/// The handling of submits from apps.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Submits {
    #[serde(with = "duration")]
    pub repeat_window: Duration,
}

impl Default for Submits {
    fn default() -> Self {
        Self {
            // Client libraries stop retrying within minutes. A person who submits the same later
            // means it.
            repeat_window: Duration::from_mins(10),
        }
    }
}

/// The store of tasks.
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
        let url = units::with_password_redacted(&self.url);
        f.debug_struct("StoreConfig")
            .field("url", &url)
            .field("password_file", &self.password_file)
            .field("max_connections", &self.max_connections)
            .field("min_free", &self.min_free)
            .finish()
    }
}

/// The key ring for callback tokens.
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

/// The choice of callbacks to confirm with EvoLink before they count.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Callbacks {
    pub confirm: Confirm,
}

/// The polling of overdue tasks.
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

/// The limits on stored bodies that could not be applied.
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
            // Enough for twenty bodies many times EvoLink's usual size, or four of the largest that
            // are accepted.
            max_bytes_per_token: ByteSize::kib(1024),
            // Enough for every task of a bad day, and little even on a small disk.
            max_entries: 10_000,
            max_bytes: ByteSize::kib(256 * 1024),
        }
    }
}

/// The storage for result files.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Archive {
    pub enabled: bool,
    #[serde(deserialize_with = "units::place")]
    pub url: String,
    pub allowed_hosts: Vec<String>,
    pub allow_networks: Vec<Network>,
    pub rewrite_results: bool,
    #[serde(with = "duration")]
    pub link_lifetime: Duration,
    pub redirect_to_bucket: bool,
    pub min_free: ByteSize,
    pub fetches_at_once: usize,
    pub max_image: ByteSize,
    pub max_audio: ByteSize,
    pub max_video: ByteSize,
    pub max_pixels: u64,
}

impl Default for Archive {
    fn default() -> Self {
        let hosts = ["files.evolink.ai", "media.evolink.ai", "cdn.evolink.ai"];
        Self {
            enabled: true,
            url: "file:data/results".into(),
            allowed_hosts: hosts.map(String::from).to_vec(),
            allow_networks: Vec::new(),
            rewrite_results: false,
            link_lifetime: HOUR,
            redirect_to_bucket: false,
            // Far above `store.min_free`, so that archiving stops long before submits do.
            min_free: ByteSize::kib(1024 * 1024),
            // Each takes up to a MiB of memory, and a few of them use all the bandwidth.
            fetches_at_once: 8,
            // EvoLink's largest images have a few MiB, its largest videos some hundred.
            max_image: ByteSize::kib(32 * 1024),
            max_audio: ByteSize::kib(64 * 1024),
            max_video: ByteSize::kib(2 * 1024 * 1024),
            // A photograph of a good camera, and 160 MB when a reader decodes it.
            max_pixels: 40_000_000,
        }
    }
}

/// The destinations of outcomes.
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

/// The time that records are kept. Callback tokens expire with them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    #[serde(with = "duration")]
    pub tasks: Duration,
    #[serde(with = "duration")]
    pub events: Duration,
    #[serde(with = "duration")]
    pub observations: Duration,
    #[serde(with = "duration")]
    pub results: Duration,
    #[serde(with = "duration")]
    pub deliveries: Duration,
    #[serde(with = "duration")]
    pub deliveries_dead: Duration,
    #[serde(with = "duration")]
    pub quarantine: Duration,
    pub export_to: Option<PathBuf>,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            tasks: 90 * DAY,
            // A reader of the log that was away for a month has lost its place.
            events: 30 * DAY,
            observations: 30 * DAY,
            results: 30 * DAY,
            // Nobody asks about what has arrived. A dead one may still be sent by an operator.
            deliveries: 7 * DAY,
            deliveries_dead: 30 * DAY,
            quarantine: 30 * DAY,
            export_to: None,
        }
    }
}
