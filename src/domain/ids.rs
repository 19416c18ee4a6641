//! The two names of a task: EvoLink's (`TaskId`) and ours (`SubmissionId`). They are different types, because to
//! mix them up is to lose a task.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};

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

    /// A fresh id whose time is `now`. Ids that one process makes within a millisecond are in order too: the first 26 of
    /// the random bits count (RFC 9562, section 6.2, method 1).
    ///
    /// # Panics
    /// If the operating system has no randomness to give: nothing that follows would be safe.
    pub fn new(now: Timestamp) -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let mut random = [0; 10];
        getrandom::fill(&mut random).expect("the operating system gives random bytes");
        let count = COUNTER.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        // Version and variant take the four and the two high bits of the first and the third byte.
        random[0] = count[0] << 2 | count[1] >> 6;
        random[1] = count[1] << 2 | count[2] >> 6;
        random[2] = count[2] & 0x3f;
        random[3] = count[3];
        Self::with(now, random)
    }

    /// The lowest id of that time; no record has it.
    pub fn first_at(time: Timestamp) -> Self {
        Self::with(time, [0; 10])
    }

    fn with(time: Timestamp, random: [u8; 10]) -> Self {
        // What a UUIDv7 has room for ends in the year 10889.
        let millis = u64::try_from(time.as_millis())
            .unwrap_or(0)
            .min((1 << 48) - 1);
        Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
    }

    /// Its random half.
    pub const fn low_bits(self) -> u64 {
        self.0.as_u64_pair().1
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
    fn submission_ids_of_one_moment_are_in_order() {
        let now = Timestamp::from_millis(1_757_165_031_007);
        let ids: Vec<SubmissionId> = (0..70_000).map(|_| SubmissionId::new(now)).collect();
        assert!(ids.is_sorted_by(|one, next| one < next && one.to_string() < next.to_string()));
        assert!(SubmissionId::first_at(now) < ids[0]);
        assert!(ids.iter().all(|id| id.made_at() == now));
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
