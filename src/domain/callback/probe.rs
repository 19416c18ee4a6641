//! Probes: with one, a receiver asks whether its public URL leads to a receiver with its key ring.
//! A probe is sent as a callback is, and its answer proves that the key is known there. It tells of
//! no task and writes nothing.
//!
//! Its token is `{key id}.probe-{seconds}-{nonce}.{mac}`. No callback token is a probe's and no
//! probe's is a callback token: the MACs have different purposes.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use super::KeyRing;
use crate::domain::timestamp::Timestamp;

pub(super) const PROBE_PURPOSE: &[u8] = b"evolink-receiver probe v1\0";

pub(super) const PROOF_PURPOSE: &[u8] = b"evolink-receiver answer to a probe v1\0";

const MARK: &str = "probe-";

/// How far the clocks of the two ends may differ.
const AGE_MAX: Duration = Duration::from_mins(5);

/// The token of a probe, and the proof that must come back.
#[derive(Clone, PartialEq, Eq)]
pub struct Probe {
    pub token: String,
    pub proof: String,
}

/// Whether `token` is spelled as a probe's.
pub fn is_probe(token: &str) -> bool {
    let subject = token.split('.').nth(1);
    subject.is_some_and(|subject| subject.starts_with(MARK))
}

impl KeyRing {
    /// Makes a probe with the first key. No two probes should have the same `nonce`.
    pub fn probe(&self, now: Timestamp, nonce: u32) -> Probe {
        let subject = format!("{MARK}{}-{nonce:08x}", now.as_seconds());
        let key = &self.first;
        Probe {
            token: format!("{}.{subject}.{}", key.id, sign(&key.probe_mac, &subject)),
            proof: sign(&key.proof_mac, &subject),
        }
    }

    /// Returns the proof for a probe that a receiver with this ring made not long ago. `None` for
    /// any other token.
    pub fn answer_probe(&self, token: &str, now: Timestamp) -> Option<String> {
        let (key_id, rest) = token.split_once('.')?;
        let (subject, mac) = rest.split_once('.')?;
        let mut keys = std::iter::once(&self.first).chain(&self.others);
        let key = keys.find(|key| &*key.id == key_id)?;
        let expected = sign(&key.probe_mac, subject);
        if !bool::from(expected.as_bytes().ct_eq(mac.as_bytes())) {
            return None;
        }
        let (seconds, _) = subject.strip_prefix(MARK)?.split_once('-')?;
        let made = Timestamp::from_millis(seconds.parse::<i64>().ok()?.checked_mul(1000)?);
        let is_fresh = now.since(made) <= AGE_MAX && made.since(now) <= AGE_MAX;
        is_fresh.then(|| sign(&key.proof_mac, subject))
    }
}

fn sign(mac: &Hmac<Sha256>, subject: &str) -> String {
    let mac = mac.clone().chain_update(subject);
    BASE64_URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    fn ring(key: &str) -> KeyRing {
        KeyRing::parse(&format!("k1 {}\n", key.repeat(32))).unwrap()
    }

    #[test]
    fn a_probe_is_answered_by_a_receiver_with_the_same_key_for_five_minutes() {
        let now = Timestamp::from_millis(1_757_165_031_000);
        let probe = ring("ab").probe(now, 7);
        assert!(is_probe(&probe.token) && probe.token.len() < 160);
        for (at, is_answered) in [
            (now, true),
            (now.after(AGE_MAX), true),
            (now.before(AGE_MAX), true),
            (now.after(AGE_MAX * 2), false),
            (now.before(AGE_MAX * 2), false),
        ] {
            let proof = ring("ab").answer_probe(&probe.token, at);
            assert_eq!(proof, is_answered.then(|| probe.proof.clone()), "{at}");
        }
        assert_eq!(ring("cd").answer_probe(&probe.token, now), None);
        assert_ne!(ring("ab").probe(now, 8).proof, probe.proof);
    }

    #[test]
    fn no_probe_is_a_callback_token_and_no_callback_token_a_probe() {
        let now = Timestamp::from_millis(1_757_165_031_000);
        let ring = ring("ab");
        let probe = ring.probe(now, 7);
        assert!(ring.verify(&probe.token, now, DAY).is_err());
        let with_proof = probe.token.rsplit_once('.').unwrap().0;
        let with_proof = format!("{with_proof}.{}", probe.proof);
        assert!(ring.verify(&with_proof, now, DAY).is_err());
        assert_eq!(ring.answer_probe(&with_proof, now), None);
        let standing = ring.mint(&super::super::Subject::Standing(
            "probe-1-2".parse().unwrap(),
        ));
        assert!(!is_probe(&standing));
        assert_eq!(ring.answer_probe(&standing, now), None);
    }
}
