//! The files of the secrets that sign deliveries. They are read at startup and again at intervals,
//! so that a secret can be changed without a restart.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use secrecy::ExposeSecret as _;
use tracing::{info, warn};

use crate::config::{ConfigError, Forward, read_secret_file};
use crate::domain::delivery::signing::SigningSecrets;
use crate::observe::telemetry::CONFIGURATION;
use crate::secret_file;

/// The configuration key of the file that signs deliveries to apps' own addresses.
const OWN_KEY: &str = "forward.secret_file";

/// How often the files are read. A changed secret is in use after at most this time.
pub const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// The files of signing secrets in use.
#[derive(Debug)]
pub struct SigningFiles(ArcSwap<Files>);

/// All files of signing secrets of one configuration.
#[derive(Debug, Default)]
pub struct Files {
    /// Signs for apps' own addresses. `None` if the file could not be read or created, and no app
    /// may name an address.
    own: Option<Arc<SigningFile>>,
    /// The key is the name of the endpoint.
    endpoints: HashMap<String, Arc<SigningFile>>,
}

#[derive(Debug)]
struct SigningFile {
    key: String,
    path: PathBuf,
    current: ArcSwap<SigningSecrets>,
    /// The last error of reading the file, if it was logged.
    refused: Mutex<Option<ConfigError>>,
}

impl SigningFiles {
    /// Reads all files. Creates the file of `forward.secret_file` if it is missing.
    ///
    /// # Errors
    /// Names the configuration key and the file, never the content.
    pub fn open(forward: &Forward) -> Result<Self, ConfigError> {
        let files = Files::default().changed_to(forward)?;
        Ok(Self(ArcSwap::from_pointee(files)))
    }

    /// Reads the files of another configuration, which `replace` puts in use. Those that stay keep
    /// their secrets, even if they cannot be read now.
    ///
    /// # Errors
    /// Those of `open`.
    pub fn prepare(&self, forward: &Forward) -> Result<Files, ConfigError> {
        self.0.load().changed_to(forward)
    }

    pub fn replace(&self, files: Files) {
        self.0.store(Arc::new(files));
    }

    /// The secrets that sign for the standing endpoint `name`. `None` if there is no such endpoint.
    pub fn of_endpoint(&self, name: &str) -> Option<Arc<SigningSecrets>> {
        Some(self.0.load().endpoints.get(name)?.current.load_full())
    }

    /// The secrets that sign for apps' own addresses.
    pub fn own(&self) -> Option<Arc<SigningSecrets>> {
        Some(self.0.load().own.as_ref()?.current.load_full())
    }

    /// Reads all files again. Returns how many could not be read.
    pub fn read_again(&self) -> usize {
        let files = self.0.load();
        let files = files.own.iter().chain(files.endpoints.values());
        files.filter(|file| !file.look()).count()
    }
}

impl Files {
    fn changed_to(&self, forward: &Forward) -> Result<Self, ConfigError> {
        let mut endpoints = HashMap::new();
        for (n, endpoint) in forward.endpoints.iter().enumerate() {
            let (key, path) = (endpoint_key(n), &endpoint.secret_file);
            let before = self.endpoints.get(&endpoint.name);
            let same = before.filter(|file| file.key == key && file.path == *path);
            let file = match same {
                Some(file) => Arc::clone(file),
                None => SigningFile::open(key, path)?.into(),
            };
            endpoints.insert(endpoint.name.clone(), file);
        }
        let own = match &self.own {
            Some(own) => Some(Arc::clone(own)),
            None => match SigningFile::open_or_make(&forward.secret_file) {
                // If no app may name an address, this secret is not needed.
                Err(error) if forward.allowed_hosts.is_empty() => {
                    warn!(target: CONFIGURATION, "{error}; nothing needs it while forward.allowed_hosts is empty");
                    None
                }
                own => Some(own?.into()),
            },
        };
        Ok(Self { own, endpoints })
    }
}

impl SigningFile {
    fn open(key: String, path: &Path) -> Result<Self, ConfigError> {
        let secrets = load(&key, path)?;
        Ok(Self {
            key,
            path: path.to_owned(),
            current: ArcSwap::from_pointee(secrets),
            refused: Mutex::default(),
        })
    }

    fn open_or_make(path: &Path) -> Result<Self, ConfigError> {
        let failed = |error: io::Error| {
            ConfigError::new(
                OWN_KEY,
                format!("{}: {error}", secret_file::shown_path(path)),
            )
        };
        if !path.try_exists().map_err(failed)? {
            let text =
                SigningSecrets::generate().map_err(|error| failed(io::Error::other(error)))?;
            secret_file::make(path, text.expose_secret()).map_err(failed)?;
            info!(target: CONFIGURATION, file = %path.display(), "made a secret that signs deliveries to apps' own addresses, {}: give it to the apps", path.display());
        }
        Self::open(OWN_KEY.to_owned(), path)
    }

    /// Reads the file again. If that fails, the previous secrets stay in use. Returns whether it
    /// succeeded.
    fn look(&self) -> bool {
        let path = self.path.display();
        let refusal = match load(&self.key, &self.path) {
            Ok(secrets) => {
                if secrets != **self.current.load() {
                    info!(target: CONFIGURATION, key = self.key, "{}: {path} has changed: its secrets sign from now on", self.key);
                    self.current.store(Arc::new(secrets));
                }
                None
            }
            Err(error) => Some(error),
        };
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(refusal) = refusal
            .as_ref()
            .filter(|refusal| refused.as_ref() != Some(refusal))
        {
            warn!(target: CONFIGURATION, key = self.key, "{refusal}; the secrets read before stay in use");
        }
        *refused = refusal;
        refused.is_none()
    }
}

/// Reads the secrets in `path`, the file that the configuration key `key` names.
///
/// # Errors
/// Names the configuration key and the file, never the content.
pub fn load(key: &str, path: &Path) -> Result<SigningSecrets, ConfigError> {
    let text = read_secret_file(key, path).map_err(|error| {
        if path.try_exists().unwrap_or(true) {
            return error;
        }
        let make = "make a secret for it with: evolink-receiver keys new --webhook";
        ConfigError::new(key, format!("{}; {make}", error.message))
    })?;
    SigningSecrets::parse(text.expose_secret())
        .map_err(|error| ConfigError::new(key, format!("{}: {error}", path.display())))
}

/// The configuration key of the file of the standing endpoint with index `n`.
pub fn endpoint_key(n: usize) -> String {
    format!("forward.endpoints[{n}].secret_file")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::domain::timestamp::Timestamp;

    const OLD: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    const NEW: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn signature(text: &str) -> String {
        SigningSecrets::parse(text)
            .unwrap()
            .sign("1", Timestamp::default(), "{}")
    }

    #[test]
    fn the_first_start_makes_a_secret_that_the_next_one_and_a_replica_have_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/forward.whsec");
        let signs = || {
            let file = SigningFile::open_or_make(&path).unwrap();
            file.current.load().sign("1", Timestamp::default(), "{}")
        };
        let replicas = std::thread::scope(|scope| {
            let replicas = [(); 8].map(|()| scope.spawn(signs));
            replicas.map(|replica| replica.join().unwrap())
        });
        assert!(replicas.iter().all(|signature| *signature == signs()));
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_secret_is_changed_while_running_and_a_bad_file_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        fs::write(&path, OLD).unwrap();
        let file = SigningFile::open("key".into(), &path).unwrap();
        let sign = || {
            file.look();
            file.current.load().sign("1", Timestamp::default(), "{}")
        };
        assert_eq!(sign(), signature(OLD));
        let both = format!("{NEW}\n{OLD}\n");
        fs::write(&path, &both).unwrap();
        assert_eq!(sign(), signature(&both));
        for bad in ["", "whsec_", "whsec_5ec7e7"] {
            fs::write(&path, bad).unwrap();
            assert_eq!(sign(), signature(&both), "{bad:?}");
            assert!(!file.look(), "it is told");
            let told = file.refused.lock().unwrap().clone().unwrap().to_string();
            assert!(
                told.starts_with("key: ") && !told.contains("5ec7e7"),
                "{told}"
            );
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(sign(), signature(&both));
        fs::write(&path, NEW).unwrap();
        assert_eq!(sign(), signature(NEW));
        assert!(file.look());
        assert_eq!(*file.refused.lock().unwrap(), None);
    }
}
