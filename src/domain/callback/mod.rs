//! Callback tokens: the secret part of a callback URL. A valid token proves that this service
//! created the URL, and for which submission or label.
//!
//! A token is `{key id}.{submission id}.{mac}`. In a standing callback URL, which any number of
//! tasks may share, it is `{key id}.-{label}.{mac}`. Tokens are computed from the key ring and
//! never stored. Verifying one needs no query, so a flood of guessed tokens causes no disk access.
//!
//! Everywhere but in tokens the label is marked with `~`. The first version marked it so in tokens,
//! too, and those URLs still work. But some clients escape a `~`, and a token is valid only as it
//! was spelled.

pub mod probe;
mod session;
mod subject;
pub mod token_echo;

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::timestamp::Timestamp;
pub use subject::{InvalidLabel, InvalidSubject, Label, Subject};

/// The first input of every token's MAC. It names the purpose, so that a key that is also used
/// elsewhere cannot be made to sign tokens there.
const PURPOSE: &[u8] = b"evolink-receiver callback token v1\0";

/// The same for signed links to result files.
const LINK_PURPOSE: &[u8] = b"evolink-receiver result link v1\0";

const FINGERPRINT_PURPOSE: &[u8] = b"evolink-receiver callback key fingerprint v1\0";

/// Distinguishes keys without revealing anything about them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFingerprint {
    pub id: String,
    pub fingerprint: [u8; 32],
}

/// What is wrong with a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenFault {
    Malformed,
    /// It names a key that is not in the ring.
    UnknownKey,
    BadMac,
    Expired,
}

/// The keys for callback tokens. The first key makes new tokens. All keys verify, so that tokens in
/// use survive a key rotation.
#[derive(Clone)]
pub struct KeyRing {
    first: Key,
    others: Vec<Key>,
}

#[derive(Clone)]
struct Key {
    id: Box<str>,
    /// Already initialised with the key and with `PURPOSE`.
    mac: Hmac<Sha256>,
    /// The same with other purposes.
    link_mac: Hmac<Sha256>,
    session_mac: Hmac<Sha256>,
    probe_mac: Hmac<Sha256>,
    proof_mac: Hmac<Sha256>,
    fingerprint: [u8; 32],
}

/// The error for text that is not a key ring. Never contains a key.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyRingError {
    #[error(
        "line {0}: want a key id of 1 to 16 of [A-Za-z0-9], a space, and 64 hexadecimal digits"
    )]
    BadLine(usize),
    #[error("line {0}: the key id is there twice")]
    DuplicateId(usize),
    #[error("holds no key")]
    Empty,
}

impl KeyRing {
    /// Parses a key ring: one `id hex` per line. Blank lines and lines that start with `#` are
    /// skipped.
    ///
    /// # Errors
    /// `KeyRingError`, which contains the line number where there is one.
    pub fn parse(text: &str) -> Result<Self, KeyRingError> {
        let mut keys: Vec<Key> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let key = Key::parse(line).ok_or(KeyRingError::BadLine(index + 1))?;
            if keys.iter().any(|other| other.id == key.id) {
                return Err(KeyRingError::DuplicateId(index + 1));
            }
            keys.push(key);
        }
        let mut keys = keys.into_iter();
        let first = keys.next().ok_or(KeyRingError::Empty)?;
        Ok(Self {
            first,
            others: keys.collect(),
        })
    }

    /// Returns the text of a key ring with one new key.
    ///
    /// # Errors
    /// If the operating system provides no random bytes.
    pub fn generate() -> Result<String, getrandom::Error> {
        use fmt::Write as _;
        let mut bytes = [0; 36];
        getrandom::fill(&mut bytes)?;
        let mut hex = String::with_capacity(72);
        for byte in bytes {
            write!(hex, "{byte:02x}").expect("a String takes any text");
        }
        let (id, secret) = hex.split_at(8);
        Ok(format!("{id} {secret}\n"))
    }

    /// The fingerprints of all keys, the first key first.
    pub fn fingerprints(&self) -> Vec<KeyFingerprint> {
        std::iter::once(&self.first)
            .chain(&self.others)
            .map(Key::fingerprint)
            .collect()
    }

    /// Makes the token for `subject` with the first key.
    pub fn mint(&self, subject: &Subject) -> String {
        let subject = &subject.in_tokens()[0];
        format!("{}.{subject}.{}", self.first.id, self.first.mac(subject))
    }

    /// The MACs of all tokens for `subject`, of each key of the ring.
    pub fn macs(&self, subject: &Subject) -> Vec<String> {
        let spellings = subject.in_tokens();
        let keys = std::iter::once(&self.first).chain(&self.others);
        keys.flat_map(|key| spellings.iter().map(|spelling| key.mac(spelling)))
            .collect()
    }

    /// Signs a link with the first key. `link` is the text that the link stands for.
    pub fn sign_link(&self, link: &str) -> String {
        format!("{}.{}", self.first.id, self.first.sign_link(link))
    }

    /// Whether `signature` was made by `sign_link` of this text, with any key of the ring.
    pub fn is_link(&self, link: &str, signature: &str) -> bool {
        let mut keys = std::iter::once(&self.first).chain(&self.others);
        let Some((key_id, mac)) = signature.split_once('.') else {
            return false;
        };
        let key = keys.find(|key| &*key.id == key_id);
        key.is_some_and(|key| key.sign_link(link).as_bytes().ct_eq(mac.as_bytes()).into())
    }

    /// Returns the subject of `token`. A valid token was made with one of our keys, is spelled
    /// exactly as `mint` spells it, and is younger than `lifetime`. Tokens of standing callback
    /// URLs do not expire.
    ///
    /// # Errors
    /// What is wrong with the token: for the log and the metrics. Its sender is not told.
    pub fn verify(
        &self,
        token: &str,
        now: Timestamp,
        lifetime: Duration,
    ) -> Result<Subject, TokenFault> {
        let (key_id, rest) = token.split_once('.').ok_or(TokenFault::Malformed)?;
        let (subject, mac) = rest.split_once('.').ok_or(TokenFault::Malformed)?;
        let key = std::iter::once(&self.first)
            .chain(&self.others)
            .find(|key| &*key.id == key_id)
            .ok_or(TokenFault::UnknownKey)?;
        if !bool::from(key.mac(subject).as_bytes().ct_eq(mac.as_bytes())) {
            return Err(TokenFault::BadMac);
        }
        let subject: Subject = subject.parse().map_err(|_| TokenFault::Malformed)?;
        match subject {
            Subject::Submission(id) if now.since(id.made_at()) >= lifetime => {
                Err(TokenFault::Expired)
            }
            Subject::Submission(_) | Subject::Standing(_) => Ok(subject),
        }
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids = std::iter::once(&self.first)
            .chain(&self.others)
            .map(|key| &key.id);
        f.debug_list().entries(ids).finish()
    }
}

impl Key {
    fn parse(line: &str) -> Option<Self> {
        let (id, hex) = line.split_once(' ')?;
        let hex = hex.trim_start();
        let id_is_good =
            (1..=16).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !id_is_good || hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let mut secret = [0; 32];
        for (index, byte) in secret.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&hex[index * 2..index * 2 + 2], 16).ok()?;
        }
        let mac: Hmac<Sha256> =
            Hmac::new_from_slice(&secret).expect("HMAC takes keys of any length");
        let fingerprint = mac.clone().chain_update(FINGERPRINT_PURPOSE).finalize();
        Some(Self {
            id: id.into(),
            link_mac: mac.clone().chain_update(LINK_PURPOSE),
            session_mac: mac.clone().chain_update(session::SESSION_PURPOSE),
            probe_mac: mac.clone().chain_update(probe::PROBE_PURPOSE),
            proof_mac: mac.clone().chain_update(probe::PROOF_PURPOSE),
            mac: mac.chain_update(PURPOSE),
            fingerprint: fingerprint.into_bytes().into(),
        })
    }

    fn fingerprint(&self) -> KeyFingerprint {
        KeyFingerprint {
            id: self.id.to_string(),
            fingerprint: self.fingerprint,
        }
    }

    fn sign_link(&self, link: &str) -> String {
        let mac = self.link_mac.clone().chain_update(link);
        BASE64_URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
    }

    fn mac(&self, subject: &str) -> String {
        let mac = self.mac.clone().chain_update(subject);
        BASE64_URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::SubmissionId;

    const DAY: Duration = Duration::from_hours(24);

    fn ring() -> KeyRing {
        KeyRing::parse(&format!(
            "k1 {}\nold {}\n",
            "ab".repeat(32),
            "cd".repeat(32)
        ))
        .unwrap()
    }

    #[test]
    fn a_token_vouches_for_its_subject_until_it_is_too_old() {
        let made = Timestamp::from_millis(1_757_165_031_000);
        let subject = Subject::Submission(SubmissionId::new(made));
        let token = ring().mint(&subject);
        assert_eq!(ring().verify(&token, made, DAY), Ok(subject.clone()));
        let last = made.after(DAY).before(Duration::from_millis(1));
        assert_eq!(ring().verify(&token, last, DAY), Ok(subject));
        assert_eq!(
            ring().verify(&token, made.after(DAY), DAY),
            Err(TokenFault::Expired)
        );
    }

    #[test]
    fn a_standing_token_does_not_age_and_outlives_a_rotation() {
        let old = KeyRing::parse(&format!("old {}", "cd".repeat(32))).unwrap();
        let subject = Subject::Standing("shop".parse().unwrap());
        let token = old.mint(&subject);
        assert_eq!(
            ring().verify(&token, Timestamp::from_millis(i64::MAX), DAY),
            Ok(subject)
        );
        let without = KeyRing::parse(&format!("k1 {}", "ab".repeat(32))).unwrap();
        assert_eq!(
            without.verify(&token, Timestamp::from_millis(0), DAY),
            Err(TokenFault::UnknownKey)
        );
    }

    #[test]
    fn a_standing_token_has_only_characters_that_no_client_escapes() {
        for label in ["shop", "a-b_c", "-", "--x"] {
            let subject = Subject::Standing(label.parse().unwrap());
            let token = ring().mint(&subject);
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            assert!(token.bytes().all(plain), "{token}");
            let now = Timestamp::from_millis(0);
            assert_eq!(ring().verify(&token, now, DAY), Ok(subject));
        }
    }

    #[test]
    fn a_standing_url_of_the_first_version_still_works() {
        let subject = Subject::Standing("shop".parse().unwrap());
        let mac = "GjWxj766tCJo1OWDwwa3lPpOwjM0zPfdqMwKIXVq40A";
        let now = Timestamp::from_millis(0);
        let verify = |token: String| ring().verify(&token, now, DAY);
        assert_eq!(verify(format!("k1.~shop.{mac}")), Ok(subject.clone()));
        assert_eq!(verify(format!("k1.-shop.{mac}")), Err(TokenFault::BadMac));
        assert!(ring().macs(&subject).contains(&mac.to_owned()));
    }

    #[test]
    fn any_changed_character_makes_a_token_worthless() {
        let made = Timestamp::from_millis(1_757_165_031_000);
        let token = ring().mint(&Subject::Submission(SubmissionId::new(made)));
        for at in 0..token.len() {
            for replacement in ["0", "a", "A", "_", "."] {
                let mut other = token.clone();
                other.replace_range(at..=at, replacement);
                if other != token {
                    assert!(ring().verify(&other, made, DAY).is_err(), "{other}");
                }
            }
        }
        for other in [
            format!("{token}A"),
            token[..token.len() - 1].to_owned(),
            String::new(),
            "..".into(),
        ] {
            assert!(ring().verify(&other, made, DAY).is_err(), "{other}");
        }
    }

    #[test]
    fn a_ring_is_read_line_by_line() {
        let key = "ab".repeat(32);
        assert!(KeyRing::parse(&KeyRing::generate().unwrap()).is_ok());
        assert_eq!(
            KeyRing::parse("\n# none\n").unwrap_err(),
            KeyRingError::Empty
        );
        assert_eq!(
            KeyRing::parse("k1 abcd").unwrap_err(),
            KeyRingError::BadLine(1)
        );
        assert_eq!(
            KeyRing::parse(&format!("k.1 {key}")).unwrap_err(),
            KeyRingError::BadLine(1)
        );
        assert_eq!(
            KeyRing::parse(&format!("k {key}\nk {key}")).unwrap_err(),
            KeyRingError::DuplicateId(2)
        );
        assert_eq!(format!("{:?}", ring()), r#"["k1", "old"]"#);
    }
}
