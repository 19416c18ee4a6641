//! `keys new`: creates an API key, a secret of an endpoint, or a key ring. It is printed once and
//! stored nowhere.

use std::io::Write;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::ExposeSecret as _;
use serde_json::json;

use crate::cli::KeysNewArgs;
use crate::config::{KeyDigest, Scope};
use crate::domain::callback::KeyRing;
use crate::domain::delivery::signing::SigningSecrets;
use crate::exit::CommandError;

/// Lets secret scanners recognise our keys.
const KEY_PREFIX: &str = "evr_";
/// The key is as long as its hash, so it cannot be guessed.
const KEY_BYTES: usize = 32;

/// Prints the key and the configuration lines for it. What is printed of a secret or a ring is a
/// file of it: the lines are comments.
///
/// # Errors
/// The system provides no randomness, or the output cannot be written.
pub fn new(args: &KeysNewArgs, out: &mut impl Write) -> Result<(), CommandError> {
    match &args.name {
        Some(name) => api_key(args, name, out),
        None if args.ring => ring(args.json, out),
        None => webhook(args.json, out),
    }
}

fn ring(as_json: bool, out: &mut impl Write) -> Result<(), CommandError> {
    let ring = KeyRing::generate().context("could not get random bytes")?;
    let written = if as_json {
        writeln!(out, "{}", json!({ "ring": ring.trim_end() }))
    } else {
        write!(
            out,
            "# A key ring of callback URLs: the content of callback_tokens.key_file.\n\
             {ring}"
        )
    };
    Ok(written.context("could not write the key ring")?)
}

fn webhook(as_json: bool, out: &mut impl Write) -> Result<(), CommandError> {
    let secret = SigningSecrets::generate().context("could not get random bytes")?;
    let secret = secret.expose_secret().trim_end();
    let written = if as_json {
        writeln!(out, "{}", json!({ "secret": secret }))
    } else {
        write!(
            out,
            "# The secret of an endpoint, for its secret_file and for the app:\n\
             {secret}\n\
             \n\
             # For the receiver's configuration:\n\
             # [[forward.endpoints]]\n\
             # name = \"billing\"\n\
             # url = \"http://billing.internal:8000/evolink\"\n\
             # secret_file = \"/run/secrets/billing_whsec\"\n\
             # events = [\"task.completed\", \"task.failed\", \"task.cancelled\"]\n"
        )
    };
    Ok(written.context("could not write the secret")?)
}

fn api_key(args: &KeysNewArgs, name: &str, out: &mut impl Write) -> Result<(), CommandError> {
    let key = fresh_key()?;
    let sha256 = KeyDigest::of(&key);
    let mut scopes: Vec<Scope> = Vec::new();
    for scope in &args.scopes {
        if !scopes.contains(scope) {
            scopes.push(*scope);
        }
    }
    let written = if args.json {
        let line = json!({ "name": name, "key": key, "sha256": sha256, "scopes": scopes });
        writeln!(out, "{line}")
    } else {
        let scopes: Vec<String> = scopes.iter().map(|scope| format!("\"{scope}\"")).collect();
        write!(
            out,
            "# The key, for the app. It is shown only now:\n\
             # {key}\n\
             \n\
             # For the receiver's configuration:\n\
             [[internal.api_keys]]\n\
             name = \"{name}\"\n\
             sha256 = \"{sha256}\"\n\
             scopes = [{}]\n",
            scopes.join(", ")
        )
    };
    Ok(written.context("could not write the key")?)
}

fn fresh_key() -> anyhow::Result<String> {
    let mut random = [0; KEY_BYTES];
    getrandom::fill(&mut random).context("could not get random bytes")?;
    Ok(format!("{KEY_PREFIX}{}", URL_SAFE_NO_PAD.encode(random)))
}
