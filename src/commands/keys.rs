//! `keys new`: creates an API key. It is printed once and stored nowhere.

use std::io::Write;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use crate::cli::KeysNewArgs;
use crate::config::{KeyDigest, Scope};
use crate::exit::CommandError;

/// Lets secret scanners recognise our keys.
const KEY_PREFIX: &str = "evr_";
/// The key is as long as its hash, so it cannot be guessed.
const KEY_BYTES: usize = 32;

/// Prints the key and the configuration lines that admit it.
///
/// # Errors
/// The system provides no randomness, or the output cannot be written.
pub fn new(args: &KeysNewArgs, out: &mut impl Write) -> Result<(), CommandError> {
    let key = fresh_key()?;
    let sha256 = KeyDigest::of(&key);
    let mut scopes: Vec<Scope> = Vec::new();
    for scope in &args.scopes {
        if !scopes.contains(scope) {
            scopes.push(*scope);
        }
    }
    let written = if args.json {
        let line = json!({ "name": args.name, "key": key, "sha256": sha256, "scopes": scopes });
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
             name = \"{}\"\n\
             sha256 = \"{sha256}\"\n\
             scopes = [{}]\n",
            args.name,
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
