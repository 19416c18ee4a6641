//! The arguments that clients of a running service share.

use std::path::PathBuf;

use clap::Args;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::path;
use crate::config::read_secret_file;
use crate::exit::{CommandError, Exit};

/// The internal listener's default address, as seen from the same machine.
pub const SERVICE_URL: &str = "http://127.0.0.1:8080";

/// The arguments of commands that list.
#[derive(Debug, Clone, Args)]
pub struct PageArgs {
    /// The most rows to show.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=200))]
    pub limit: u16,
    /// Continue where an earlier page ended (its `next`).
    #[arg(long)]
    pub cursor: Option<String>,
    /// Print the page as JSON.
    #[arg(long)]
    pub json: bool,
}

/// The arguments of commands that are clients of a running service's internal API.
#[derive(Debug, Clone, Args)]
pub struct ClientArgs {
    /// The URL of the service's internal listener; by default the one in the configuration, or
    /// port 8080 of this machine.
    #[arg(long, value_name = "URL", env = "EVOLINK_RECEIVER_URL", value_parser = GivenUrl::parse)]
    pub url: Option<GivenUrl>,
    /// On the service's own machine: its configuration file, for its address.
    #[arg(long, value_name = "FILE", env = "EVOLINK_RECEIVER_CONFIG", value_parser = path)]
    pub config: Option<PathBuf>,
    /// The API key. Prefer the file or the environment: everyone on the machine can see a command
    /// line.
    #[arg(
        long,
        value_name = "KEY",
        env = "EVOLINK_RECEIVER_API_KEY",
        hide_env_values = true
    )]
    pub api_key: Option<SecretString>,
    /// The file that holds the API key.
    #[arg(
        long,
        value_name = "FILE",
        env = "EVOLINK_RECEIVER_API_KEY_FILE",
        value_parser = path
    )]
    pub api_key_file: Option<PathBuf>,
}

impl ClientArgs {
    /// Returns the API key, or `None` if none was given. A service on loopback without keys needs
    /// none.
    ///
    /// # Errors
    /// Key and file are both given, or the file cannot be read or is empty.
    pub fn read_api_key(&self) -> Result<Option<SecretString>, CommandError> {
        let is_given = |key: &&SecretString| !key.expose_secret().is_empty();
        let api_key = self.api_key.as_ref().filter(is_given);
        let file = self.api_key_file.as_deref();
        let file = file.filter(|file| !file.as_os_str().is_empty());
        match (api_key, file) {
            (Some(_), Some(_)) => Err(CommandError::new(
                Exit::Usage,
                "give --api-key or --api-key-file (or the environment variable of one), not both",
            )),
            (Some(api_key), None) => Ok(Some(one_key("--api-key", api_key.clone())?)),
            (None, Some(file)) => {
                let api_key = read_secret_file("--api-key-file", file)?;
                let named = format!("--api-key-file: {}", file.display());
                Ok(Some(one_key(&named, api_key)?))
            }
            (None, None) => Ok(None),
        }
    }
}

/// Refuses what cannot be a key, such as all that `keys new` prints.
fn one_key(given: &str, api_key: SecretString) -> Result<SecretString, CommandError> {
    if api_key
        .expose_secret()
        .bytes()
        .all(|byte| byte.is_ascii_graphic())
    {
        return Ok(api_key);
    }
    let wanted = "must hold the API key alone, such as evr_…, without blanks or other lines";
    Err(CommandError::new(Exit::Config, format!("{given} {wanted}")))
}

/// A service's URL; `None` if it was given as nothing, which counts as absent.
#[derive(Debug, Clone)]
pub struct GivenUrl(pub Option<Url>);

impl GivenUrl {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            // As everywhere, an empty environment variable counts as absent.
            return Ok(Self(None));
        }
        service_url(text).map(|url| Self(Some(url)))
    }
}

fn service_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    if !["http", "https"].contains(&url.scheme()) || !url.has_host() {
        Err("must be http:// or https://".into())
    } else if !url.username().is_empty() || url.password().is_some() {
        Err("must not hold a user or a password".into())
    } else if url.query().is_some() || url.fragment().is_some() {
        Err("must not have a query or a fragment".into())
    } else {
        Ok(url)
    }
}
