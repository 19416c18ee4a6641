//! The names of events and of positions in the log.
//!
//! An event id is `{epoch}-{seq}`. The `seq` counts within one store, and repeats after the store
//! was restored from a backup. The epoch names one lifetime of one store, so an event id names one
//! event for ever.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// One lifetime of a store: 8 random characters of `ALPHABET`, 40 bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch([u8; Epoch::BYTES]);

/// Crockford's base32 alphabet in lower case. It lacks the letters i, l, o and u, which are easily
/// misread.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// The name of an event, or of the position right after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EventId {
    pub epoch: Epoch,
    /// 0 names the position before the first event.
    pub seq: i64,
}

/// The position from which a reader wants to continue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cursor {
    Id(EventId),
    /// A `seq` without an epoch, which belongs to the current epoch.
    Seq(i64),
}

/// The start of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochStart {
    pub epoch: Epoch,
    /// The `seq` of the newest event at that time. The events of this epoch come after it.
    pub after: i64,
}

/// All epochs of a store, in order. There is at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Epochs(Vec<EpochStart>);

/// The reason why a store cannot continue from a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// A later epoch began before the cursor's event. So the events in between differ from those
    /// that the reader has read. It misses nothing if it resumes after this `seq`.
    EpochEnded { at: i64 },
    /// The store never had this epoch, or has lost it because an older backup was restored.
    UnknownEpoch,
}

impl Epoch {
    pub const BYTES: usize = 8;

    /// Creates an epoch that no other store has.
    ///
    /// # Panics
    /// If the operating system provides no random bytes: nothing that follows would be safe.
    pub fn random() -> Self {
        let mut bytes = [0; Self::BYTES];
        getrandom::fill(&mut bytes).expect("the operating system provides random bytes");
        Self(bytes.map(|byte| ALPHABET[usize::from(byte % 32)]))
    }

    /// Returns `None` if `text` is not the canonical spelling of an epoch.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; Self::BYTES] = text.as_bytes().try_into().ok()?;
        let is_valid = bytes.iter().all(|byte| ALPHABET.contains(byte));
        is_valid.then_some(Self(bytes))
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("the alphabet is ASCII")
    }
}

impl EventId {
    /// Returns `None` if `text` is not the canonical spelling of an event id.
    pub fn parse(text: &str) -> Option<Self> {
        let (epoch, seq) = text.split_once('-')?;
        Some(Self {
            epoch: Epoch::parse(epoch)?,
            seq: parse_seq(seq)?,
        })
    }
}

impl Cursor {
    /// Returns `None` if `text` is neither an event id nor a `seq`.
    pub fn parse(text: &str) -> Option<Self> {
        let bare = || parse_seq(text).map(Self::Seq);
        EventId::parse(text).map(Self::Id).or_else(bare)
    }

    pub const fn seq(self) -> i64 {
        match self {
            Self::Id(id) => id.seq,
            Self::Seq(seq) => seq,
        }
    }
}

/// Parses a whole number without sign or leading zeros.
fn parse_seq(text: &str) -> Option<i64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let is_plain = is_plain && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_plain)
}

impl Epochs {
    /// Returns `None` if there are no epochs.
    pub fn new(starts: Vec<EpochStart>) -> Option<Self> {
        (!starts.is_empty()).then_some(Self(starts))
    }

    /// The epoch in which the store was created.
    pub fn first(&self) -> Epoch {
        self.0[0].epoch
    }

    /// The epoch of new events.
    pub fn current(&self) -> Epoch {
        self.0[self.0.len() - 1].epoch
    }

    /// The id of the event with this `seq`. Its epoch is the newest one that began before it.
    pub fn id(&self, seq: i64) -> EventId {
        let start = self.0.iter().rev().find(|start| start.after < seq);
        let epoch = start.unwrap_or(&self.0[0]).epoch;
        EventId { epoch, seq }
    }

    /// Returns the `seq` after which to continue from `cursor`, whether or not that event exists.
    ///
    /// # Errors
    /// `Lost` if continuing would skip events silently.
    pub fn resolve(&self, cursor: Cursor) -> Result<i64, Lost> {
        let id = match cursor {
            Cursor::Seq(seq) => return Ok(seq),
            Cursor::Id(id) => id,
        };
        let mut starts = self.0.iter();
        if !starts.any(|start| start.epoch == id.epoch) {
            return Err(Lost::UnknownEpoch);
        }
        // Use the lowest start: a database server that fails over may lose events, so a later epoch
        // may begin at a lower `seq`.
        match starts.map(|start| start.after).min() {
            Some(at) if at < id.seq => Err(Lost::EpochEnded { at }),
            _ => Ok(id.seq),
        }
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.seq)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Seq(seq) => seq.fmt(f),
        }
    }
}

impl Serialize for Epoch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Epoch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom("not an epoch"))
    }
}

impl Serialize for EventId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(starts: &[(&str, i64)]) -> Epochs {
        let start = |(epoch, after): &(&str, i64)| EpochStart {
            epoch: Epoch::parse(epoch).unwrap(),
            after: *after,
        };
        Epochs::new(starts.iter().map(start).collect()).unwrap()
    }

    fn resolve(epochs: &Epochs, cursor: &str) -> Result<i64, Lost> {
        epochs.resolve(Cursor::parse(cursor).unwrap())
    }

    #[test]
    fn an_event_id_has_one_spelling() {
        for text in ["k3v9x2ab-42", "00000000-0", "zzzzzzzz-9223372036854775807"] {
            assert_eq!(EventId::parse(text).unwrap().to_string(), text);
            assert_eq!(Cursor::parse(text).unwrap().to_string(), text);
        }
        for bad in [
            "",
            "-",
            "-1",
            "k3v9x2ab",
            "k3v9x2ab-",
            "k3v9x2ab-042",
            "k3v9x2ab-+1",
            "K3V9X2AB-42",
            "k3v9x2a-42",
            "k3v9x2abc-42",
            "k3v9x2au-42",
            "k3v9x2ab-42-1",
            "k3v9x2ab--1",
            " k3v9x2ab-42",
            "k3v9x2ab-9223372036854775808",
            "k3v9x2ä-42",
            "1.0",
            "01",
        ] {
            assert_eq!(Cursor::parse(bad), None, "{bad:?}");
        }
        assert_eq!(Cursor::parse("42"), Some(Cursor::Seq(42)));
        assert_eq!(Epoch::parse(Epoch::random().as_str()).map(|_| ()), Some(()));
        assert_ne!(Epoch::random(), Epoch::random());
    }

    #[test]
    fn an_event_has_the_epoch_in_whose_range_its_seq_lies() {
        let epochs = epochs(&[
            ("aaaaaaaa", 0),
            ("bbbbbbbb", 50),
            ("cccccccc", 50),
            ("dddddddd", 90),
        ]);
        let of = |seq| epochs.id(seq).to_string();
        assert_eq!(
            [of(0), of(1), of(50)],
            ["aaaaaaaa-0", "aaaaaaaa-1", "aaaaaaaa-50"]
        );
        assert_eq!(
            [of(51), of(90), of(91)],
            ["cccccccc-51", "cccccccc-90", "dddddddd-91"]
        );
        assert_eq!(epochs.current().as_str(), "dddddddd");
    }

    #[test]
    fn a_cursor_is_good_up_to_the_start_of_the_next_epoch() {
        let epochs = epochs(&[("aaaaaaaa", 0), ("bbbbbbbb", 50), ("cccccccc", 90)]);
        let ended = |at| Err(Lost::EpochEnded { at });
        for (cursor, wanted) in [
            ("aaaaaaaa-0", Ok(0)),
            ("aaaaaaaa-50", Ok(50)),
            ("aaaaaaaa-51", ended(50)),
            ("aaaaaaaa-95", ended(50)),
            ("bbbbbbbb-90", Ok(90)),
            ("bbbbbbbb-91", ended(90)),
            ("cccccccc-91", Ok(91)),
            // The `resume_after` of a 410 answer.
            ("cccccccc-50", Ok(50)),
            ("dddddddd-1", Err(Lost::UnknownEpoch)),
            ("77", Ok(77)),
        ] {
            assert_eq!(resolve(&epochs, cursor), wanted, "{cursor}");
        }
    }

    #[test]
    fn an_epoch_that_begins_at_a_lower_seq_ends_all_before_it() {
        let epochs = epochs(&[("aaaaaaaa", 0), ("bbbbbbbb", 100), ("cccccccc", 90)]);
        assert_eq!(
            resolve(&epochs, "aaaaaaaa-95"),
            Err(Lost::EpochEnded { at: 90 })
        );
        assert_eq!(
            resolve(&epochs, "bbbbbbbb-95"),
            Err(Lost::EpochEnded { at: 90 })
        );
        assert_eq!(resolve(&epochs, "aaaaaaaa-90"), Ok(90));
        assert_eq!(epochs.id(95).to_string(), "cccccccc-95");
    }
}
