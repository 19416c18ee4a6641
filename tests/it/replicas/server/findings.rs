//! What `check` finds about a store on a server.

use evolink_receiver::clock::Clock;
use evolink_receiver::commands::check::surroundings;
use evolink_receiver::config::Config;

/// Returns the findings about the store, as `check` prints them.
pub async fn findings(url: &str) -> Vec<String> {
    findings_about("store.url", url).await
}

/// Returns the findings about `key`, as `check` prints them.
pub async fn findings_about(key: &str, url: &str) -> Vec<String> {
    let mut config = Config::default();
    url.clone_into(&mut config.store.url);
    let findings = surroundings(&config, &Clock::System).await;
    let about_it = findings.iter().filter(|finding| finding.key == key);
    about_it.map(ToString::to_string).collect()
}
