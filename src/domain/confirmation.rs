//! Whether what a callback tells is believed at once, or EvoLink is asked first: `callbacks.confirm`.
//!
//! A callback is unsigned: whoever has its URL can send one. So an outcome that came by callback may be kept as a claim,
//! which ends nothing before EvoLink itself has said the same. EvoLink's own answers, to a submit or to a poll, are
//! never doubted; a replay is what it was when it came first. `Task::see` asks here; what becomes of a claim is its business.

use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use url::Url;

use super::observation::{Observation, Source};
use super::polling::Pace;

/// Which outcomes that came by callback EvoLink is asked about before they are published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub enum Confirm {
    #[default]
    Never,
    Suspicious,
    Always,
}

/// Why an outcome is not believed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Doubt {
    /// EvoLink itself has not named this task id yet, neither in answer to a submit nor to a poll: the callback comes
    /// early, after a submit of unknown outcome or of a refused one, to a record that was gone, by a standing URL.
    LateId,
    /// In a form that EvoLink does not document (`Observation::is_documented`).
    UnknownShape,
    /// A result is not where EvoLink's results are.
    UnlistedHost,
    /// Another outcome than the recorded one, which stays whatever EvoLink answers.
    Conflict,
    /// Nothing is wrong with it: `always` doubts them all.
    Always,
}

/// What is confirmed, and how it is told from the rest. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Confirmation {
    pub confirm: Confirm,
    pub hosts: ListedHosts,
}

/// What the operator has decided about tasks.
#[derive(Clone, Debug)]
pub struct Policy {
    pub pace: Pace,
    pub confirmation: Confirmation,
}

impl From<Pace> for Policy {
    /// Nothing is confirmed.
    fn from(pace: Pace) -> Self {
        Self {
            pace,
            confirmation: Confirmation::default(),
        }
    }
}

impl Confirmation {
    /// Why an outcome that came by way of `first` is not believed at once; `None` if it is. `vouched`: EvoLink itself has
    /// named the task id.
    pub fn doubt(&self, seen: &Observation, first: Source, vouched: bool) -> Option<Doubt> {
        if first.is_evolinks_word() || self.confirm == Confirm::Never {
            return None;
        }
        if !vouched {
            Some(Doubt::LateId)
        } else if !seen.is_documented {
            Some(Doubt::UnknownShape)
        } else if !seen.results.iter().all(|url| self.hosts.lists(url)) {
            Some(Doubt::UnlistedHost)
        } else {
            (self.confirm == Confirm::Always).then_some(Doubt::Always)
        }
    }

    /// Whether EvoLink is asked about a second, different outcome.
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

impl Doubt {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LateId => "late_id",
            Self::UnknownShape => "unknown_shape",
            Self::UnlistedHost => "unlisted_host",
            Self::Conflict => "conflict",
            Self::Always => "always",
        }
    }
}

/// The hosts of `archive.allowed_hosts`, normalised: `name`, or `*.domain` for all names below `domain`.
#[derive(Clone, Debug, Default)]
pub struct ListedHosts(Arc<[String]>);

impl ListedHosts {
    pub fn new(patterns: &[String]) -> Self {
        Self(patterns.iter().map(|pattern| normal(pattern)).collect())
    }

    /// Whether `url` is an https address on a listed host, at the usual port and without user information. What cannot be
    /// parsed is not listed.
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
        // With its dot, so that `*.a.io` admits neither `a.io` nor `ba.io`.
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
