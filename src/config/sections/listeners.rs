//! The two listeners, the certificate of the one and the API keys of the other.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::config::choices::{Scope, TlsMode};
use crate::config::key_digest::KeyDigest;
use crate::config::units::{self, ByteSize, duration};

/// What EvoLink reaches.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Public {
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
    #[serde(with = "duration")]
    pub body_timeout: Duration,
    #[serde(with = "duration")]
    pub request_timeout: Duration,
    #[serde(with = "duration")]
    pub drain_timeout: Duration,
    pub tls: Tls,
}

impl Default for Public {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8443)),
            base_url: Url::parse("https://hooks.example.com").expect("a literal URL"),
            max_body: ByteSize::kib(256),
            // Room for 500 slow clients of each kind (handshake, head, body) beside the good ones. A slow
            // connection holds some 40 KiB of TLS and read buffers, so the worst case is about 80 MiB.
            max_connections: 2048,
            // Generous, since a proxy in front is one address; yet no address alone can take every place.
            max_connections_per_address: 1536,
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(5),
            body_timeout: Duration::from_secs(5),
            // EvoLink hangs up at 10 s: a 503 that it still hears makes it try again.
            request_timeout: Duration::from_secs(8),
            // The longest request, and then 2 s for the store, make the promised 10 s from SIGTERM to exit.
            drain_timeout: Duration::from_secs(8),
            tls: Tls::default(),
        }
    }
}

impl Public {
    /// The path under which the public listener serves callbacks: the path of `base_url`, then `/callbacks/`.
    pub fn callback_path(&self) -> String {
        format!("{}/callbacks/", self.base_url.path().trim_end_matches('/'))
    }

    /// What EvoLink is told to call.
    pub fn callback_url(&self, token: &str) -> String {
        let base_url = self.base_url.as_str().trim_end_matches('/');
        format!("{base_url}/callbacks/{token}")
    }
}

/// The public listener's certificate.
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

/// What apps and operators reach.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Internal {
    pub listen: SocketAddr,
    pub max_connections: usize,
    /// Empty is allowed on loopback only.
    pub api_keys: Vec<ApiKey>,
}

impl Default for Internal {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            // Each waiting query and each stream holds one; fewer than the public side, which must win.
            max_connections: 1024,
            api_keys: Vec::new(),
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    pub name: String,
    pub sha256: KeyDigest,
    pub scopes: Vec<Scope>,
}
