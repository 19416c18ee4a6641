//! Where the listener's certificate comes from, and how it is replaced while connections continue.
//! Invariant: whatever happens to the files, the pair in use has passed every check but, at the
//! start, that of its dates, and a handshake never sees a half-replaced pair. `app` builds the source and runs `watch`; `check`
//! uses the same constructor.

pub mod certificate;
pub mod chain;
pub mod expiry;
pub mod known;
mod listener;

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use rustls::ServerConfig;
use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::clock::Clock;
use crate::files;
pub use certificate::TlsError;
use certificate::{Identity, PemPair};
use expiry::{ExpiryLog, Left};
pub use listener::Listener;

/// The source of the certificate for new handshakes.
pub struct TlsSource {
    listener: Listener,
    current: ArcSwap<Current>,
    /// `None` if the pair exists in memory only.
    files: Option<Files>,
    /// The content that was last refused, so that each content is reported once.
    refused: Mutex<Option<Refused>>,
    clock: Clock,
}

/// The result of a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reloaded {
    Unchanged,
    Replaced,
}

struct Current {
    identity: Identity,
    fingerprint: Fingerprint,
}

struct Files {
    cert: PathBuf,
    key: PathBuf,
}

struct Refused {
    fingerprint: Fingerprint,
    is_reported: bool,
}

/// SHA-256 of the contents of both files, or of the error from reading them.
type Fingerprint = [u8; 32];

impl TlsSource {
    /// Loads the pair of mode `files`. The certificate file contains the chain, leaf first. Its dates
    /// are not checked: outcomes come by polling until it is renewed.
    pub fn from_files(cert_file: &Path, key_file: &Path, clock: Clock) -> Result<Self, TlsError> {
        let pair = PemPair::read(cert_file, key_file)?;
        let files = Files {
            cert: cert_file.to_owned(),
            key: key_file.to_owned(),
        };
        Self::from_pair(&pair, Some(files), clock)
    }

    /// Creates a pair as in mode `self-signed`, but in memory only, for tests. Names are DNS names
    /// or IP addresses.
    pub fn self_signed(names: &[String], clock: Clock) -> Result<Self, TlsError> {
        let (cert, key) = (
            Path::new("the self-signed certificate"),
            Path::new("the self-signed key"),
        );
        let pair = PemPair::self_signed(names, cert, key, time(&clock))?;
        Self::from_pair(&pair, None, clock)
    }

    /// Loads the pair of mode `self-signed`: `self-signed.crt` and `self-signed.key` in `dir`. It
    /// is stored so that clients that trust the certificate can continue to do so. If the pair is
    /// missing, expired, damaged or for other names, this creates a new one.
    pub fn self_signed_in(dir: &Path, names: &[String], clock: Clock) -> Result<Self, TlsError> {
        Self::self_signed_of(Listener::Public, dir, names, clock)
    }

    /// The same for either listener.
    pub fn self_signed_of(
        listener: Listener,
        dir: &Path,
        names: &[String],
        clock: Clock,
    ) -> Result<Self, TlsError> {
        let (cert, key) = listener.self_signed_files(dir);
        if cert.exists() && key.exists() {
            match Self::from_files(&cert, &key, clock.clone()) {
                Ok(kept) if !kept.covers(names) => {
                    info!("the self-signed certificate is for other names: making a new one");
                }
                Ok(kept) => match kept.left() {
                    Left::Enough | Left::Days(_) => return Ok(kept.of(listener)),
                    Left::Expired | Left::NotYet => {
                        info!("the self-signed certificate is not valid now: making a new one");
                    }
                },
                Err(error) => {
                    warn!(error = %error, "the self-signed certificate is unusable, making a new one: {error}");
                }
            }
        }
        let pair = PemPair::self_signed(names, &cert, &key, time(&clock))?;
        let written = write_file(&key, &pair.key_pem, 0o600)
            .and_then(|()| write_file(&cert, &pair.cert_pem, 0o644));
        match written {
            // The service must start on a full disk, because the start is what frees space.
            Err(TlsError::Write { source, .. }) if source.kind() == ErrorKind::StorageFull => {
                warn!("the disk is full: the new self-signed certificate is kept in memory only");
                return Ok(Self::from_pair(&pair, None, clock)?.of(listener));
            }
            written => written?,
        }
        let source = Self::from_pair(&pair, Some(Files { cert, key }), clock)?;
        Ok(source.of(listener))
    }

    /// The files of the public listener's self-signed certificate and its key.
    pub fn self_signed_files(dir: &Path) -> (PathBuf, PathBuf) {
        Listener::Public.self_signed_files(dir)
    }

    /// The same certificate, for another listener.
    #[must_use]
    pub fn of(self, listener: Listener) -> Self {
        Self { listener, ..self }
    }

    /// The configuration for one handshake. A later handshake may get another one.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.load().identity.server_config)
    }

    /// The chain in use, for clients that have to trust a self-signed certificate.
    pub fn certificate_pem(&self) -> String {
        self.current.load().identity.certificate_pem.clone()
    }

    /// When the certificate in use becomes valid.
    pub fn not_before(&self) -> Timestamp {
        self.current.load().identity.not_before
    }

    /// When the certificate in use expires.
    pub fn not_after(&self) -> Timestamp {
        self.current.load().identity.not_after
    }

    /// How soon the certificate in use expires.
    pub fn left(&self) -> Left {
        Left::until(self.not_before(), self.not_after(), time(&self.clock))
    }

    /// Checks the files now. If there is an error, the current pair stays in use. This reads files,
    /// so do not call it in async code.
    pub fn reload(&self) -> Result<Reloaded, TlsError> {
        self.look().map_err(|(_fingerprint, error)| error)
    }

    /// Reloads every `every`, and immediately when `reload` is notified, until `shutdown`. Logs the
    /// results.
    pub async fn watch(
        self: Arc<Self>,
        every: Duration,
        reload: Arc<Notify>,
        shutdown: CancellationToken,
    ) {
        let mut ticks = interval_at(Instant::now() + every, every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut expiry = ExpiryLog::of(self.listener);
        loop {
            expiry.look(self.not_before(), self.not_after(), time(&self.clock));
            let is_asked_for = tokio::select! {
                () = shutdown.cancelled() => return,
                () = reload.notified() => true,
                _ = ticks.tick() => false,
            };
            let source = Arc::clone(&self);
            let looked =
                tokio::task::spawn_blocking(move || source.look_and_report(is_asked_for)).await;
            if let Err(error) = looked {
                error!(error = %error, "looking for a new certificate failed: {error}");
            }
        }
    }

    fn from_pair(pair: &PemPair, files: Option<Files>, clock: Clock) -> Result<Self, TlsError> {
        let current = Current {
            identity: pair.check()?,
            fingerprint: fingerprint(&Ok(pair)),
        };
        Ok(Self {
            listener: Listener::Public,
            current: ArcSwap::from_pointee(current),
            files,
            refused: Mutex::default(),
            clock,
        })
    }

    /// Returns why clients that call `host` would refuse the chain in use.
    pub fn faults(&self, host: Option<&str>) -> Vec<String> {
        let current = self.current.load();
        let faults = current.identity.chain_faults.iter();
        let mut faults: Vec<String> = faults.map(ToString::to_string).collect();
        if let Some(host) = host.filter(|host| !self.is_for(host)) {
            faults.push(match self.listener {
                Listener::Public => format!(
                    "is not for {host}, the host of public.base_url: EvoLink will refuse it, and callbacks will not arrive"
                ),
                Listener::Internal => format!(
                    "is not for {host}, the host of internal.base_url: apps that check it cannot connect"
                ),
            });
        }
        faults
    }

    /// Whether the certificate in use is for `host`: a DNS name, or an IP address without brackets.
    pub fn is_for(&self, host: &str) -> bool {
        let current = self.current.load();
        let under = host.split_once('.').map(|(_, domain)| domain);
        current.identity.names.iter().any(|name| {
            let wildcard = name.strip_prefix("*.");
            name.eq_ignore_ascii_case(host)
                || wildcard.is_some_and(|domain| {
                    under.is_some_and(|under| under.eq_ignore_ascii_case(domain))
                })
        })
    }

    fn covers(&self, names: &[String]) -> bool {
        let current = self.current.load();
        names
            .iter()
            .all(|name| current.identity.names.contains(name))
    }

    fn look(&self) -> Result<Reloaded, (Fingerprint, TlsError)> {
        let Some(files) = &self.files else {
            return Ok(Reloaded::Unchanged);
        };
        let read = PemPair::read(&files.cert, &files.key);
        let fingerprint = fingerprint(&read.as_ref());
        if fingerprint == self.current.load().fingerprint {
            return Ok(Reloaded::Unchanged);
        }
        // Check a refused pair again at every reload: it may be refused today because it is valid
        // from tomorrow.
        let is_valid = matches!(self.left(), Left::Enough | Left::Days(_));
        let checked = read.and_then(|pair| {
            let identity = pair.check()?;
            // One that is not valid now replaces another of that kind only.
            if is_valid {
                pair.check_dates(&identity, time(&self.clock))?;
            }
            Ok(identity)
        });
        let identity = checked.map_err(|error| (fingerprint, error))?;
        self.current.store(Arc::new(Current {
            identity,
            fingerprint,
        }));
        Ok(Reloaded::Replaced)
    }

    fn look_and_report(&self, is_asked_for: bool) {
        let (looked, name) = (self.look(), self.listener.as_str());
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        match looked {
            Ok(found) => {
                *refused = None;
                if found == Reloaded::Replaced {
                    let not_after = self.not_after();
                    info!(tls.not_after = %not_after, listener = name, "serving a new certificate, valid until {not_after}");
                } else if is_asked_for {
                    info!(listener = name, "the certificate is unchanged");
                }
            }
            Err((fingerprint, error)) => {
                // A check may happen after one file was replaced and before the other. So, unless a
                // reload was requested, an error is reported only if it persists.
                let (is_seen, is_reported) = match &*refused {
                    Some(last) if last.fingerprint == fingerprint => (true, last.is_reported),
                    _ => (false, false),
                };
                let report = !is_reported && (is_seen || is_asked_for);
                if report {
                    error!(error = %error, listener = name, "keeping the old certificate: {error}");
                }
                *refused = Some(Refused {
                    fingerprint,
                    is_reported: is_reported || report,
                });
            }
        }
    }
}

/// The system's time, which clients use to check the certificate too.
fn time(clock: &Clock) -> Timestamp {
    Timestamp::from_millisecond(clock.wall_now().as_millis()).unwrap_or(Timestamp::MAX)
}

fn fingerprint(read: &Result<&PemPair, &TlsError>) -> Fingerprint {
    let mut hash = Sha256::new();
    match read {
        Ok(pair) => {
            hash.update(pair.cert_pem.len().to_le_bytes());
            hash.update(&pair.cert_pem);
            hash.update(&pair.key_pem);
        }
        Err(error) => hash.update(error.to_string()),
    }
    hash.finalize().into()
}

fn write_file(file: &Path, content: &[u8], mode: u32) -> Result<(), TlsError> {
    files::replace(file, mode, |new| new.write_all(content)).map_err(|source| TlsError::Write {
        file: file.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_pair_is_reported_once_and_not_before_it_stays() {
        let dir = tempfile::tempdir().expect("a folder");
        let source = TlsSource::self_signed_in(dir.path(), &["localhost".into()], Clock::System)
            .expect("a pair");
        let cert = dir.path().join("self-signed.crt");
        let good = std::fs::read(&cert).expect("kept");
        let reports = |is_asked_for| {
            let log = tempfile::NamedTempFile::new().expect("a file");
            let writer = Mutex::new(log.reopen().expect("the same file"));
            let subscriber = tracing_subscriber::fmt()
                .with_writer(writer)
                .with_ansi(false)
                .finish();
            tracing::subscriber::with_default(subscriber, || source.look_and_report(is_asked_for));
            let log = std::fs::read_to_string(log.path()).expect("a log");
            log.matches("keeping the old certificate").count()
        };

        for (content, expected) in [
            ("half a copy", [0, 1, 0, 0]),
            ("another fault", [0, 1, 0, 0]),
        ] {
            std::fs::write(&cert, content).expect("written");
            assert_eq!([false; 4].map(reports), expected, "{content}");
        }
        std::fs::write(&cert, "a third fault").expect("written");
        assert_eq!(
            [true, false, false].map(reports),
            [1, 0, 0],
            "at once when asked for"
        );
        std::fs::write(&cert, good).expect("written");
        assert_eq!(reports(false), 0);
    }
}
