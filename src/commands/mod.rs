//! The commands, one file for each family. A command gets its arguments, prints its result, and
//! decides how the process ends.

pub mod api;
pub mod backup;
pub mod check;
pub mod client;
pub mod completions;
pub mod demo;
pub mod init;
pub mod keys;
pub mod listen;
pub mod operate;
pub mod output;
pub mod restore;
pub mod serve;
mod stream;
pub mod table;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use anyhow::Context as _;
use url::Url;

use crate::cli::GivenUrl;
use crate::config::{Config, ConfigError};
use crate::exit::CommandError;

/// Loads the configuration from file and environment.
///
/// # Errors
/// The first error found.
pub fn load_config(path: Option<&Path>) -> Result<Config, ConfigError> {
    Config::load(path, environment()?.into_iter())
}

/// Returns the URL of a service: the given one, or else where the configuration lets it listen, as
/// seen from its own machine. The rest of the configuration is not validated, because only one
/// address of it is needed.
///
/// # Errors
/// The configuration cannot be read (78).
pub fn service_url(given: Option<&GivenUrl>, config: Option<&Path>) -> Result<Url, CommandError> {
    match given.and_then(|given| given.0.as_ref()) {
        Some(url) => Ok(url.clone()),
        None => loopback_url(load_config(config)?.internal.listen),
    }
}

/// Returns the URL of a service that listens on `address`, as seen from its own machine.
pub fn loopback_url(address: SocketAddr) -> Result<Url, CommandError> {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    let url = format!("http://{}/", SocketAddr::new(ip, address.port()));
    Ok(Url::parse(&url).context("the internal listener's address makes no URL")?)
}

/// Returns the process's environment, without variables of others that are not UTF-8.
///
/// # Errors
/// Names a variable of ours that is not.
pub fn environment() -> Result<Vec<(String, String)>, ConfigError> {
    let mut variables = Vec::new();
    for (name, value) in std::env::vars_os() {
        match (name.into_string(), value.into_string()) {
            (Ok(name), Ok(value)) => variables.push((name, value)),
            (name, _) => {
                let name = name.unwrap_or_else(|name| name.to_string_lossy().into_owned());
                if name.starts_with("EVOLINK_RECEIVER") || name == "EVOLINK_API_KEY" {
                    return Err(ConfigError::new(name, "is not UTF-8"));
                }
            }
        }
    }
    Ok(variables)
}
