//! Signatures of the dashboard's sessions, with the same key ring as callback tokens.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hmac::Mac as _;
use subtle::ConstantTimeEq as _;

use super::{Key, KeyRing};

/// The first input of every session's MAC.
pub(super) const SESSION_PURPOSE: &[u8] = b"evolink-receiver dashboard session v1\0";

impl KeyRing {
    /// Signs a session with the first key. `session` is the text that the session stands for.
    pub fn sign_session(&self, session: &str) -> String {
        self.first.sign_session(session)
    }

    /// Whether `signature` was made by `sign_session` of this text, with any key of the ring.
    pub fn is_session(&self, session: &str, signature: &str) -> bool {
        let keys = std::iter::once(&self.first).chain(&self.others);
        keys.fold(false, |found, key| {
            let signed = key.sign_session(session);
            found | bool::from(signed.as_bytes().ct_eq(signature.as_bytes()))
        })
    }
}

impl Key {
    fn sign_session(&self, session: &str) -> String {
        let mac = self.session_mac.clone().chain_update(session);
        BASE64_URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
    }
}
