//! What a callback URL was made for: a submission, or the tasks that an app submits by itself.

use std::fmt;
use std::str::FromStr;

use crate::domain::ids::SubmissionId;

/// How the label of a standing callback URL is marked: with `-` in the tokens that are made, with
/// `~` elsewhere. No submission id begins with either.
const MARKS: [char; 2] = ['-', '~'];

/// The subject that a callback token is valid for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    Submission(SubmissionId),
    /// Any task that an app submits to EvoLink itself with a standing callback URL. The label names
    /// that URL.
    Standing(Label),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Submission(id) => write!(f, "{id}"),
            Self::Standing(label) => write!(f, "~{label}"),
        }
    }
}

impl Subject {
    /// The spellings in tokens, the one of new tokens first.
    pub(super) fn in_tokens(&self) -> Vec<String> {
        match self {
            Self::Submission(id) => vec![id.to_string()],
            Self::Standing(label) => MARKS.map(|mark| format!("{mark}{label}")).to_vec(),
        }
    }
}

/// The error for text that is not a subject.
#[derive(Debug, thiserror::Error)]
#[error("want a submission id, or ~ and the label of a shared callback URL")]
pub struct InvalidSubject;

impl FromStr for Subject {
    type Err = InvalidSubject;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix(MARKS) {
            Some(label) => label
                .parse()
                .map(Self::Standing)
                .map_err(|_| InvalidSubject),
            None => text
                .parse()
                .map(Self::Submission)
                .map_err(|_| InvalidSubject),
        }
    }
}

/// The label of a standing callback URL: 1 to 64 characters of `[A-Za-z0-9_-]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Label(Box<str>);

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The error for text that is not a label.
#[derive(Debug, thiserror::Error)]
#[error("a label is 1 to 64 of [A-Za-z0-9_-]")]
pub struct InvalidLabel;

impl FromStr for Label {
    type Err = InvalidLabel;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        let valid = (1..=64).contains(&text.len()) && text.bytes().all(allowed);
        valid.then(|| Self(text.into())).ok_or(InvalidLabel)
    }
}
