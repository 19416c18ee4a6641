//! The two names of a task: EvoLink's (`TaskId`) and ours (`SubmissionId`). They have different
//! types, because confusing them would lose a task.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};

use serde::{Serialize, Serializer};
use uuid::Uuid;

use super::timestamp::Timestamp;

/// EvoLink's id of a task: 1 to 128 characters of `[A-Za-z0-9._-]`, such as
/// `task-unified-1757165031-uyujaw3d`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(Box<str>);

impl TaskId {
    pub const BYTES_MAX: usize = 128;

    /// Returns `None` if `text` cannot be a task id.
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

/// Longest name that an app may give its task, in characters.
const REFERENCE_CHARS_MAX: usize = 128;

/// Whether an app may call its task so: 1 to 128 characters without control characters.
pub fn is_reference(text: &str) -> bool {
    let is_short = (1..=REFERENCE_CHARS_MAX).contains(&text.chars().count());
    is_short && !text.contains(char::is_control)
}

/// Our id of a record, created before EvoLink is called. It is a UUIDv7, hyphenated and in lower
/// case. No other spelling is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubmissionId(Uuid);

impl SubmissionId {
    pub const TEXT_BYTES: usize = 36;

    /// Creates an id with the time `now`. Ids that one process creates within a millisecond are
    /// also in order. For that, the first 26 of the random bits are a counter (RFC 9562, section
    /// 6.2, method 1).
    ///
    /// # Panics
    /// If the operating system provides no random bytes: nothing that follows would be safe.
    pub fn new(now: Timestamp) -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let mut random = [0; 10];
        getrandom::fill(&mut random).expect("the operating system gives random bytes");
        let count = COUNTER.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        // The version replaces the four high bits of the first byte. The variant replaces the two
        // high bits of the third byte.
        random[0] = count[0] << 2 | count[1] >> 6;
        random[1] = count[1] << 2 | count[2] >> 6;
        random[2] = count[2] & 0x3f;
        random[3] = count[3];
        Self::with(now, random)
    }

    /// The lowest possible id for `time`. No record has it.
    pub fn first_at(time: Timestamp) -> Self {
        Self::with(time, [0; 10])
    }

    fn with(time: Timestamp, random: [u8; 10]) -> Self {
        // The time has 48 bits in a UUIDv7, which suffice until the year 10889.
        let millis = u64::try_from(time.as_millis())
            .unwrap_or(0)
            .min((1 << 48) - 1);
        Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
    }

    /// The low 64 bits, which differ between ids of the same time.
    pub const fn low_bits(self) -> u64 {
        self.0.as_u64_pair().1
    }

    /// The time at which the id was created. The age of a callback token is measured from it.
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

/// The error for text that is not a UUIDv7 in its canonical spelling.
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
