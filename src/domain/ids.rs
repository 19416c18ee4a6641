//! The two names of a task: EvoLink's (`TaskId`) and ours (`SubmissionId`). They are different types, because to
//! mix them up is to lose a task.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use uuid::Uuid;

use super::timestamp::Timestamp;

/// EvoLink's id of a task: 1 to 128 of `[A-Za-z0-9._-]`, like `task-unified-1757165031-uyujaw3d`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(Box<str>);

impl TaskId {
    pub const BYTES_MAX: usize = 128;

    /// `None` if `text` cannot be a task id.
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        ((1..=Self::BYTES_MAX).contains(&text.len()) && text.bytes().all(allowed))
            .then(|| Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for TaskId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Our id of a record, made before EvoLink is called: a UUIDv7, shown hyphenated in lower case, and read only so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubmissionId(Uuid);

impl SubmissionId {
    pub const TEXT_BYTES: usize = 36;

    /// A fresh id whose time is `now`.
    ///
    /// # Panics
    /// If the operating system has no randomness to give: nothing that follows would be safe.
    pub fn new(now: Timestamp) -> Self {
        let mut random = [0; 10];
        getrandom::fill(&mut random).expect("the operating system gives random bytes");
        let millis = u64::try_from(now.as_millis()).unwrap_or(0);
        Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
    }

    /// The time at which the id was made; the callback token's age is told by it.
    pub fn made_at(self) -> Timestamp {
        let millis = self.0.as_u128() >> 80;
        Timestamp::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for SubmissionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.as_hyphenated(), f)
    }
}

/// Not a UUIDv7 in its canonical spelling.
#[derive(Debug, thiserror::Error)]
#[error("not a submission id: want a UUIDv7, 36 characters, lower case")]
pub struct InvalidSubmissionId;

impl FromStr for SubmissionId {
    type Err = InvalidSubmissionId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let canonical = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-');
        let uuid = (text.len() == Self::TEXT_BYTES && text.bytes().all(canonical))
            .then(|| Uuid::try_parse(text).ok())
            .flatten()
            .filter(|uuid| uuid.get_version_num() == 7);
        uuid.map(Self).ok_or(InvalidSubmissionId)
    }
}

impl Serialize for SubmissionId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_submission_id_tells_when_it_was_made_and_has_one_spelling() {
        let now = Timestamp::from_millis(1_757_165_031_007);
        let id = SubmissionId::new(now);
        assert_eq!(id.made_at(), now);
        assert_eq!(id.to_string().parse::<SubmissionId>().unwrap(), id);
        assert!(
            id.to_string()
                .to_uppercase()
                .parse::<SubmissionId>()
                .is_err()
        );
        assert!(
            "0198f0a0-0000-4000-8000-000000000000"
                .parse::<SubmissionId>()
                .is_err()
        );
    }

    #[test]
    fn a_task_id_is_bounded_in_length_and_alphabet() {
        assert!(TaskId::parse("task-unified-1757165031-uyujaw3d").is_some());
        assert!(TaskId::parse(&"a".repeat(128)).is_some());
        for bad in ["", "a b", "a/b", "a\0", "ä", &"a".repeat(129)] {
            assert!(TaskId::parse(bad).is_none(), "{bad:?}");
        }
    }
}
