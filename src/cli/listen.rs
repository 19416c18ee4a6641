//! `listen`: an endpoint for webhooks while an app is written.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub struct ListenArgs {
    /// The address to listen on, plain HTTP.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9000")]
    pub listen: SocketAddr,
    /// The file of the secret that signs, as the endpoint's `secret_file` in the configuration.
    /// Without it, signatures are not verified.
    #[arg(long, value_name = "FILE")]
    pub secret_file: Option<PathBuf>,
    /// The status to answer with. A webhook whose signature is wrong is answered 401.
    #[arg(long, value_name = "STATUS", default_value_t = 204, value_parser = clap::value_parser!(u16).range(200..600))]
    pub answer: u16,
    /// Print each webhook as one line of JSON.
    #[arg(long)]
    pub json: bool,
}
