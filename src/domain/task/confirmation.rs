//! Decides whether an outcome from a callback is published at once, or only after EvoLink has
//! confirmed it (`callbacks.confirm`).
//!
//! Callbacks are unsigned: anybody who has a callback URL can send one. So an outcome from a
//! callback may be kept as an unconfirmed outcome (`Claim`). It does not end the task until EvoLink
//! itself reports the same. EvoLink's own answers to submits and polls are always trusted. A
//! replayed observation is treated like the source that it first came from. `Task::see` applies
//! these decisions and keeps the unconfirmed outcome.

use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;
use url::Url;

use super::polling::Pace;
use crate::domain::kind::Kind;
use crate::domain::observation::{Observation, Source, Status};

/// Selects which outcomes from callbacks EvoLink must confirm before they are published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub enum Confirm {
    #[default]
    Never,
    Suspicious,
    Always,
}

/// The reason why an outcome needs confirmation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr)]
#[strum(const_into_str, serialize_all = "snake_case")]
pub enum Doubt {
    /// EvoLink sends the callbacks of audio tasks in stages, and does not document the status of the
    /// first ones. Half of the results may be missing.
    Staged,
    /// EvoLink itself has not named this task id yet, neither in its answer to a submit nor to a
    /// poll. The callback came before that answer or after a submit that was refused or has an
    /// unknown outcome. Or it came for a record that no longer existed, or through a standing
    /// callback URL.
    LateId,
    /// The body has a form that EvoLink does not document (`Observation::is_documented`).
    UnknownShape,
    /// A result is not on one of the hosts where EvoLink keeps results.
    UnlistedHost,
    /// The outcome differs from the recorded one. The recorded one stays, whatever EvoLink answers.
    Conflict,
    /// Nothing is suspicious, but `always` requires confirmation of every outcome.
    Always,
}

/// The confirmation policy: which outcomes need confirmation, and the expected hosts of results.
/// Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Confirmation {
    pub confirm: Confirm,
    pub hosts: ListedHosts,
}

/// The operator's policy for tasks.
#[derive(Clone, Debug)]
pub struct Policy {
    pub pace: Pace,
    pub confirmation: Confirmation,
}

impl From<Pace> for Policy {
    /// A policy that requires no confirmation.
    fn from(pace: Pace) -> Self {
        Self {
            pace,
            confirmation: Confirmation::default(),
        }
    }
}

impl Confirmation {
    /// Returns why an outcome needs confirmation, or `None` if it can be published at once. `first`
    /// is the source that the observation first came from. `vouched` means that EvoLink itself has
    /// named the task id.
    pub fn doubt(
        &self,
        seen: &Observation,
        kind: Option<Kind>,
        first: Source,
        vouched: bool,
    ) -> Option<Doubt> {
        if first.is_evolinks_word() {
            return None;
        }
        if kind == Some(Kind::Audio) && seen.status == Status::Completed {
            return Some(Doubt::Staged);
        }
        if self.confirm == Confirm::Never {
            return None;
        }
        if !vouched {
            Some(Doubt::LateId)
        } else if !seen.is_documented {
            Some(Doubt::UnknownShape)
        } else if !seen.urls().all(|url| self.hosts.lists(url)) {
            Some(Doubt::UnlistedHost)
        } else {
            (self.confirm == Confirm::Always).then_some(Doubt::Always)
        }
    }

    /// Whether EvoLink is polled about a second outcome that differs from the recorded one.
    pub fn doubts_conflict(&self, first: Source) -> bool {
        !first.is_evolinks_word() && self.confirm != Confirm::Never
    }
}

impl Confirm {
    pub const ALL: [Self; 3] = [Self::Never, Self::Suspicious, Self::Always];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Suspicious => "suspicious",
            Self::Always => "always",
        }
    }
}

impl FromStr for Confirm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL
            .into_iter()
            .find(|confirm| confirm.as_str() == text);
        known.ok_or_else(|| format!("unknown variant {text:?}, expected never, suspicious, always"))
    }
}

impl TryFrom<String> for Confirm {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Confirm> for &'static str {
    fn from(confirm: Confirm) -> Self {
        confirm.as_str()
    }
}

/// The hosts of `archive.allowed_hosts`, normalised: `name`, or `*.domain` for all names below
/// `domain`.
#[derive(Clone, Debug, Default)]
pub struct ListedHosts(Arc<[String]>);

impl ListedHosts {
    pub fn new(patterns: &[String]) -> Self {
        Self(patterns.iter().map(|pattern| normal(pattern)).collect())
    }

    /// Whether `url` is an https URL on a listed host, with the default port and without user
    /// information. A text that cannot be parsed is not listed.
    pub fn lists(&self, url: &str) -> bool {
        let Ok(url) = Url::parse(url) else {
            return false;
        };
        let is_plain = url.scheme() == "https"
            && url.port().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        let host = url.host_str().map(normal);
        is_plain && host.is_some_and(|host| self.0.iter().any(|pattern| admits(pattern, &host)))
    }
}

fn normal(host: &str) -> String {
    let host = host.strip_suffix('.').unwrap_or(host);
    host.to_ascii_lowercase()
}

fn admits(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix('*') {
        // `below` starts with a dot, so `*.a.io` matches neither `a.io` nor `ba.io`.
        Some(below) => host.len() > below.len() && host.ends_with(below),
        None => pattern == host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listed_host_is_listed_in_every_spelling_of_its_own_and_of_nobody_elses() {
        let patterns = ["Files.EvoLink.ai", "*.cdn.example"].map(String::from);
        let hosts = ListedHosts::new(&patterns);
        for listed in [
            "https://files.evolink.ai/0.webp",
            "https://FILES.evolink.ai./0.webp?sig=1",
            "https://files.evolink.ai:443/0.webp",
            "https://a.cdn.example/0",
            "https://a.b.cdn.example/0",
            "https://ｆiles.evolink.ai/0",
        ] {
            assert!(hosts.lists(listed), "{listed}");
        }
        for unlisted in [
            "http://files.evolink.ai/0.webp",
            "https://files.evolink.ai:8443/0",
            "https://user@files.evolink.ai/0",
            "https://:pw@files.evolink.ai/0",
            "https://evil.example/?files.evolink.ai",
            "https://evil.example#@files.evolink.ai/",
            "https://files.evolink.ai@evil.example/",
            "https://files.evolink.ai.evil.example/",
            "https://evilfiles.evolink.ai/",
            "https://cdn.example/",
            "https://evilcdn.example/",
            "https://.cdn.example/",
            "https://127.0.0.1/0",
            "ftp://files.evolink.ai/",
            "//files.evolink.ai/0",
            "/0.webp",
            "https://",
            "",
        ] {
            assert!(!hosts.lists(unlisted), "{unlisted}");
        }
    }

    #[test]
    fn a_choice_has_one_spelling() {
        for confirm in Confirm::ALL {
            assert_eq!(confirm.as_str().parse(), Ok(confirm));
        }
        assert!("Always".parse::<Confirm>().is_err());
    }
}
