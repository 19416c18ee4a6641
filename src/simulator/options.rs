//! The settings of a simulator. The defaults are EvoLink's documented numbers, except that a task
//! ends after two seconds, to keep trials and tests short.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::simulator::plan::faults::Faults;

#[derive(Clone)]
pub struct Options {
    pub listen: SocketAddr,
    /// The simulator's URL as seen from outside, used in result URLs. `None` means `http://` and
    /// the bound address.
    pub public_url: Option<String>,
    /// The only accepted bearer token. `None` accepts any that is not empty.
    pub api_key: Option<String>,
    pub allow_private_callbacks: bool,
    /// PEM file of certificates that callbacks trust in addition to the system's, such as a
    /// receiver's self-signed one.
    pub callback_ca_file: Option<PathBuf>,
    /// More such certificates, as PEM bytes.
    pub callback_ca_pem: Option<Vec<u8>>,
    pub task_duration: Duration,
    /// `task_info.estimated_time` of every task, in seconds.
    pub estimated_time_s: u32,
    pub callback_timeout: Duration,
    /// The delays before the second, third and later attempts of a callback.
    pub retry_delays: Vec<Duration>,
    pub result_ttl: Duration,
    /// Credits are counted in thousandths.
    pub credits_milli: u64,
    pub price_milli: u64,
    /// Whether `Idempotency-Key` has an effect. Off by default, because EvoLink does not document
    /// the header.
    pub idempotency_keys: bool,
    /// The most tasks that are kept and that run at once. Beyond it, the oldest are forgotten.
    pub tasks_max: usize,
    /// The most entries in each of the logs of submits, queries and callback attempts.
    pub log_max: usize,
    pub faults: Faults,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            public_url: None,
            api_key: None,
            allow_private_callbacks: false,
            callback_ca_file: None,
            callback_ca_pem: None,
            task_duration: Duration::from_secs(2),
            estimated_time_s: 10,
            callback_timeout: Duration::from_secs(10),
            retry_delays: [1, 2, 4].map(Duration::from_secs).to_vec(),
            result_ttl: Duration::from_hours(24),
            credits_milli: 100_000_000,
            price_milli: 26,
            idempotency_keys: false,
            tasks_max: 100_000,
            log_max: 100_000,
            faults: Faults::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_the_documented_numbers() {
        let options = Options::default();
        assert_eq!(options.callback_timeout, Duration::from_secs(10));
        assert_eq!(options.retry_delays, [1, 2, 4].map(Duration::from_secs));
        assert_eq!(options.result_ttl, Duration::from_hours(24));
        assert_eq!((options.price_milli, options.estimated_time_s), (26, 10));
        assert!(!options.allow_private_callbacks && !options.idempotency_keys);
    }
}
