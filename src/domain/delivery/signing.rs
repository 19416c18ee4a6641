//! Signs deliveries as Standard Webhooks specifies. Each secret of the endpoint's file adds a
//! signature, so that an endpoint can switch from one secret to the next and verify every delivery.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderMap;
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};
use standardwebhooks::Webhook;

use crate::domain::timestamp::Timestamp;

const PREFIX: &str = "whsec_";

/// The bounds of Standard Webhooks for a secret.
const BYTES_MIN: usize = 24;
const BYTES_MAX: usize = 64;

/// During a rotation an endpoint has the old secret and the new one. A third one was probably
/// forgotten.
const SECRETS_MAX: usize = 2;

/// The length of a secret that this program generates.
const BYTES_MADE: usize = 32;

/// The secrets of one endpoint.
pub struct SigningSecrets(Vec<SecretSlice<u8>>);

/// The error for text that is not a file of secrets. Never contains a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SigningError {
    #[error("line {0}: want whsec_ and the base64 of 24 to 64 bytes")]
    BadLine(usize),
    #[error("line {0}: one secret too many; two sign at once, so take out the one before last")]
    TooMany(usize),
    #[error("holds no secret")]
    Empty,
}

impl SigningSecrets {
    /// Parses one `whsec_…` per line. Blank lines and lines that start with `#` are skipped.
    ///
    /// # Errors
    /// `SigningError`, which contains the line number where there is one.
    pub fn parse(text: &str) -> Result<Self, SigningError> {
        let mut secrets = Vec::new();
        for (number, line) in (1..).zip(text.lines().map(str::trim)) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let secret = parse_secret(line).ok_or(SigningError::BadLine(number))?;
            if secrets.len() == SECRETS_MAX {
                return Err(SigningError::TooMany(number));
            }
            secrets.push(secret);
        }
        if secrets.is_empty() {
            return Err(SigningError::Empty);
        }
        Ok(Self(secrets))
    }

    /// Returns the text of a file with one new secret.
    ///
    /// # Errors
    /// If the operating system provides no random bytes.
    pub fn generate() -> Result<SecretString, getrandom::Error> {
        let mut bytes = [0; BYTES_MADE];
        getrandom::fill(&mut bytes)?;
        Ok(format!("{PREFIX}{}\n", BASE64_STANDARD.encode(bytes)).into())
    }

    /// Returns the value of the header `webhook-signature` for the delivery `id` that is sent at
    /// `at`.
    pub fn sign(&self, id: &str, at: Timestamp, body: &str) -> String {
        let signatures = self.0.iter().map(|secret| {
            // The crate accepts a single secret, and refuses a body that is not text. `body` is
            // text.
            let webhook = Webhook::from_bytes(secret.expose_secret().to_vec());
            let signed = webhook.and_then(|key| key.sign(id, at.as_seconds(), body.as_bytes()));
            signed.expect("bytes are a key, and text is a body")
        });
        signatures.collect::<Vec<_>>().join(" ")
    }
}

impl SigningSecrets {
    /// Verifies the signature of a webhook, by the system's clock.
    ///
    /// # Errors
    /// Why no secret made it.
    pub fn verify(&self, headers: &HeaderMap, body: &[u8]) -> Result<(), String> {
        let mut why = SigningError::Empty.to_string();
        for secret in &self.0 {
            let webhook = Webhook::from_bytes(secret.expose_secret().to_vec());
            match webhook.and_then(|webhook| webhook.verify(body, headers)) {
                Ok(()) => return Ok(()),
                Err(error) => why = error.to_string(),
            }
        }
        Err(why)
    }
}

impl PartialEq for SigningSecrets {
    /// Compares in variable time. Both sides are our own files, so there is no timing attack.
    fn eq(&self, other: &Self) -> bool {
        let bytes = |secrets: &Self| {
            let secrets = secrets.0.iter();
            secrets
                .map(|secret| secret.expose_secret().to_vec())
                .collect::<Vec<_>>()
        };
        bytes(self) == bytes(other)
    }
}

impl fmt::Debug for SigningSecrets {
    /// Omits the secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningSecrets({})", self.0.len())
    }
}

fn parse_secret(line: &str) -> Option<SecretSlice<u8>> {
    let bytes = BASE64_STANDARD.decode(line.strip_prefix(PREFIX)?).ok()?;
    let is_bounded = (BYTES_MIN..=BYTES_MAX).contains(&bytes.len());
    is_bounded.then(|| bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test vector of Standard Webhooks.
    const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    const ID: &str = "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk";
    const BODY: &str = r#"{"email":"test@example.com","username":"test_user"}"#;
    const SIGNATURE: &str = "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=";

    /// `MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw` from the Standard Webhooks documentation.
    const OTHER: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn at() -> Timestamp {
        Timestamp::from_millis(1_649_367_553_999)
    }

    fn of(bytes: usize) -> String {
        format!("{PREFIX}{}", BASE64_STANDARD.encode(vec![7; bytes]))
    }

    #[test]
    fn the_signature_is_that_of_the_standards_vector_and_two_secrets_sign_side_by_side() {
        let one = SigningSecrets::parse(SECRET).unwrap();
        assert_eq!(one.sign(ID, at(), BODY), SIGNATURE);
        let other = SigningSecrets::parse(OTHER).unwrap().sign(ID, at(), BODY);
        let both = format!("# to come\r\n{OTHER}\r\n\r\n  {SECRET}  \n# end");
        let both = SigningSecrets::parse(&both).unwrap();
        assert_eq!(both.sign(ID, at(), BODY), format!("{other} {SIGNATURE}"));
    }

    #[test]
    fn the_standards_own_verifier_takes_what_is_signed_with_either_secret_and_nothing_else() {
        let both = SigningSecrets::parse(&format!("{SECRET}\n{OTHER}")).unwrap();
        let now = crate::clock::Clock::System.now();
        let headers = HeaderMap::from_iter(
            [
                ("webhook-id", "42".to_owned()),
                ("webhook-timestamp", now.as_seconds().to_string()),
                ("webhook-signature", both.sign("42", now, BODY)),
            ]
            .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap())),
        );
        for (secret, is_one) in [(SECRET, true), (OTHER, true), (&of(32), false)] {
            let verifier = Webhook::new(secret).unwrap();
            let taken = verifier.verify(BODY.as_bytes(), &headers);
            assert_eq!(taken.is_ok(), is_one);
            assert!(verifier.verify(b"{}", &headers).is_err());
            let own = SigningSecrets::parse(secret).unwrap();
            assert_eq!(own.verify(&headers, BODY.as_bytes()).is_ok(), is_one);
            assert!(own.verify(&headers, b"{}").is_err());
        }
    }

    #[test]
    fn a_secret_has_24_to_64_bytes_its_prefix_and_at_most_one_beside_it() {
        let parse = |text: &str| SigningSecrets::parse(text).map(|secrets| secrets.0.len());
        for bytes in [24, 32, 64] {
            assert_eq!(parse(&of(bytes)), Ok(1));
        }
        for bad in [
            of(23),
            of(65),
            SECRET.replace(PREFIX, ""),
            SECRET.replace('+', "-"),
            format!("{SECRET}="),
            format!("{SECRET} {OTHER}"),
            format!("{SECRET} # a secret"),
        ] {
            assert_eq!(
                parse(&format!("\n{bad}")),
                Err(SigningError::BadLine(2)),
                "{bad}"
            );
        }
        let three = format!("{SECRET}\n{OTHER}\n{}", of(24));
        assert_eq!(parse(&three), Err(SigningError::TooMany(3)));
        for empty in ["", "\n", "# whsec_"] {
            assert_eq!(parse(empty), Err(SigningError::Empty));
        }
    }

    #[test]
    fn a_secret_of_our_own_making_is_one_and_no_two_are_the_same() {
        let [one, other] = [(); 2].map(|()| SigningSecrets::generate().unwrap());
        assert_ne!(one.expose_secret(), other.expose_secret());
        let secrets = SigningSecrets::parse(one.expose_secret()).unwrap();
        assert_eq!(secrets.0[0].expose_secret().len(), BYTES_MADE);
        assert_eq!(format!("{secrets:?}"), "SigningSecrets(1)");
    }
}
