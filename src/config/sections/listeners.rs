//! The two listeners, the public one's certificate, and the internal one's API keys.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};
use url::Url;

use crate::config::choices::{PublicMode, Scope, TlsMode};
use crate::config::key_digest::KeyDigest;
use crate::config::units::{self, ByteSize, duration};
use crate::domain::key_use::{Credits, KeyLimits};
use crate::domain::timestamp::Timestamp;

/// Longer than proxies and connection pools keep idle connections.
const IDLE_TIMEOUT_OF_CLIENTS: Duration = Duration::from_secs(75);

/// The listener for EvoLink.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Public {
    pub mode: PublicMode,
    pub listen: SocketAddr,
    #[serde(deserialize_with = "units::url")]
    pub base_url: Url,
    pub max_body: ByteSize,
    pub max_connections: usize,
    pub max_connections_per_address: usize,
    #[serde(with = "duration")]
    pub handshake_timeout: Duration,
    #[serde(with = "duration")]
    pub header_timeout: Duration,
    /// `None` means short where clients of the internet connect, and long behind a proxy.
    #[serde(with = "duration::optional")]
    pub idle_timeout: Option<Duration>,
    #[serde(with = "duration")]
    pub body_timeout: Duration,
    #[serde(with = "duration")]
    pub request_timeout: Duration,
    #[serde(with = "duration")]
    pub drain_timeout: Duration,
    /// How often a running service tests itself. Zero means never.
    #[serde(with = "duration")]
    pub self_test: Duration,
    pub tls: Tls,
}

impl Default for Public {
    fn default() -> Self {
        Self {
            mode: PublicMode::Callbacks,
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8443)),
            base_url: Url::parse("https://hooks.example.com").expect("a literal URL"),
            max_body: ByteSize::kib(256),
            // Enough for 500 slow clients of each kind (handshake, head, body) in addition to the
            // good ones. A slow connection holds about 40 KiB of TLS and read buffers, so the worst
            // case is about 80 MiB.
            max_connections: 2048,
            // A proxy in front is one address, so this is generous. No single address can use all
            // connections.
            max_connections_per_address: 1536,
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(5),
            idle_timeout: None,
            body_timeout: Duration::from_secs(5),
            // EvoLink hangs up after 10 s. A 503 that it receives before then makes it retry.
            request_timeout: Duration::from_secs(8),
            // The longest request, then 2 s for the store, add up to the promised 10 s from SIGTERM
            // to exit.
            drain_timeout: Duration::from_secs(8),
            self_test: Duration::ZERO,
            tls: Tls::default(),
        }
    }
}

impl Public {
    /// Returns how long a connection stays open between two requests. A proxy reuses connections,
    /// and gets no answer from one that is closed just then: so it must be the one that closes. Many
    /// do after 60 s.
    pub fn idle_timeout(&self) -> Duration {
        let default = match self.tls.mode {
            TlsMode::Off => IDLE_TIMEOUT_OF_CLIENTS,
            TlsMode::Files | TlsMode::Acme | TlsMode::SelfSigned => Duration::from_secs(5),
        };
        self.idle_timeout.unwrap_or(default)
    }

    /// Whether EvoLink calls us at all.
    pub fn has_callbacks(&self) -> bool {
        self.mode == PublicMode::Callbacks
    }

    /// Returns the path under which the public listener serves callbacks: `base_url`'s path and
    /// `/callbacks/`.
    pub fn callback_path(&self) -> String {
        format!("{}/callbacks/", self.base_url.path().trim_end_matches('/'))
    }

    /// Returns the callback URL for a token, as it is sent to EvoLink.
    pub fn callback_url(&self, token: &str) -> String {
        let base_url = self.base_url.as_str().trim_end_matches('/');
        format!("{base_url}/callbacks/{token}")
    }
}

/// A listener's certificate.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    pub mode: TlsMode,
    /// Required if mode is `files`.
    pub cert_file: Option<PathBuf>,
    /// Required if mode is `files`.
    pub key_file: Option<PathBuf>,
    pub self_signed_dir: PathBuf,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            mode: TlsMode::Files,
            cert_file: None,
            key_file: None,
            self_signed_dir: "data".into(),
        }
    }
}

impl Tls {
    /// No TLS.
    fn off() -> Self {
        Self {
            mode: TlsMode::Off,
            ..Self::default()
        }
    }
}

/// The listener for apps and operators.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Internal {
    pub listen: SocketAddr,
    /// `None` means `http://` (with TLS: `https://`) and `listen`, or `localhost` if `listen` is an
    /// unspecified address.
    #[serde(deserialize_with = "units::optional_url")]
    pub base_url: Option<Url>,
    pub max_body: ByteSize,
    pub max_connections: usize,
    #[serde(with = "duration")]
    pub header_timeout: Duration,
    #[serde(with = "duration")]
    pub idle_timeout: Duration,
    #[serde(deserialize_with = "off_by_default")]
    pub tls: Tls,
    /// Whether each key without the scope `admin` sees only its own tasks.
    pub isolate_keys: bool,
    /// May be empty on loopback only.
    pub api_keys: Vec<ApiKey>,
}

impl Default for Internal {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            base_url: None,
            max_body: ByteSize::kib(1024),
            // Each waiting query and each stream holds one. Lower than the public limit, because
            // callbacks matter more.
            max_connections: 1024,
            header_timeout: Duration::from_secs(15),
            idle_timeout: IDLE_TIMEOUT_OF_CLIENTS,
            tls: Tls::off(),
            isolate_keys: false,
            api_keys: Vec::new(),
        }
    }
}

impl Internal {
    /// The scheme that clients use without a proxy.
    pub const fn scheme(&self) -> &'static str {
        match self.tls.mode {
            TlsMode::Off => "http",
            TlsMode::Files | TlsMode::Acme | TlsMode::SelfSigned => "https",
        }
    }

    /// The names that a self-signed certificate is for: that of the URL, and those that reach the
    /// listener from its own machine.
    pub fn self_signed_names(&self) -> Vec<String> {
        let mut names = vec!["localhost".to_owned()];
        let listen = self.listen.ip();
        let loopback = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        let addresses = loopback.into_iter().chain([listen]);
        names.extend(
            addresses
                .filter(|ip: &IpAddr| !ip.is_unspecified())
                .map(|ip| ip.to_string()),
        );
        let host = self.base_url.as_ref().and_then(Url::host_str);
        names.extend(host.map(|host| host.trim_matches(['[', ']']).to_owned()));
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// A section of TLS whose default is off.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct TlsOffByDefault {
    mode: TlsMode,
    cert_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    self_signed_dir: PathBuf,
}

impl Default for TlsOffByDefault {
    fn default() -> Self {
        let Tls {
            mode,
            cert_file,
            key_file,
            self_signed_dir,
        } = Tls::off();
        Self {
            mode,
            cert_file,
            key_file,
            self_signed_dir,
        }
    }
}

fn off_by_default<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Tls, D::Error> {
    let read = TlsOffByDefault::deserialize(deserializer)?;
    Ok(Tls {
        mode: read.mode,
        cert_file: read.cert_file,
        key_file: read.key_file,
        self_signed_dir: read.self_signed_dir,
    })
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    pub name: String,
    pub sha256: KeyDigest,
    pub scopes: Vec<Scope>,
    #[serde(default)]
    pub submits_per_second: Option<u32>,
    #[serde(default)]
    pub max_waiting: Option<usize>,
    #[serde(default)]
    pub daily_submits: Option<u64>,
    #[serde(default)]
    pub daily_credits: Option<f64>,
    /// The key works until this time.
    #[serde(default, deserialize_with = "units::optional_time")]
    pub expires_at: Option<Timestamp>,
    #[serde(default)]
    pub disabled: bool,
}

impl ApiKey {
    /// A key without limits.
    pub fn new(name: &str, sha256: KeyDigest, scopes: &[Scope]) -> Self {
        Self {
            name: name.to_owned(),
            sha256,
            scopes: scopes.to_vec(),
            submits_per_second: None,
            max_waiting: None,
            daily_submits: None,
            daily_credits: None,
            expires_at: None,
            disabled: false,
        }
    }

    /// Its limits on submits.
    pub fn limits(&self) -> KeyLimits {
        KeyLimits {
            submits_per_second: self.submits_per_second,
            daily_submits: self.daily_submits,
            daily_credits: self.daily_credits.and_then(Credits::of),
        }
    }
}
