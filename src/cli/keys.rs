//! `keys`.

use clap::{ArgAction, Args, Subcommand};

use crate::config::{Scope, check_name};

#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Print a new API key, webhook secret or key ring, and the configuration lines for it.
    New(KeysNewArgs),
}

#[derive(Debug, Args)]
pub struct KeysNewArgs {
    /// The user of the key. Tasks show this name as their client.
    #[arg(
        long,
        value_parser = key_name,
        required_unless_present_any = ["webhook", "ring"],
        conflicts_with_all = ["webhook", "ring"]
    )]
    pub name: Option<String>,
    /// The permissions of the key: submit, read, admin.
    #[arg(
        long,
        value_name = "SCOPES",
        value_delimiter = ',',
        required_unless_present_any = ["webhook", "ring"],
        conflicts_with_all = ["webhook", "ring"],
        action = ArgAction::Append
    )]
    pub scopes: Vec<Scope>,
    /// Instead: a secret that signs deliveries to an endpoint.
    #[arg(long, conflicts_with = "ring")]
    pub webhook: bool,
    /// Instead: a key ring of callback URLs, for a ring that is lost or shared by replicas.
    #[arg(long)]
    pub ring: bool,
    /// Print one JSON object: name, key, sha256, scopes; or `secret`; or `ring`.
    #[arg(long)]
    pub json: bool,
}

fn key_name(text: &str) -> Result<String, String> {
    check_name(text).map(|()| text.to_owned())
}
