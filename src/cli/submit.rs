//! `submit`: one prompt, and whether to wait for its outcome.

use std::path::PathBuf;

use clap::Args;

use super::ClientArgs;

#[derive(Debug, Args)]
pub struct SubmitArgs {
    /// The description of the image, at most 2000 characters.
    pub prompt: String,
    /// A ratio (16:9) or width and height (1024x768).
    #[arg(long)]
    pub size: Option<String>,
    /// The seed, to get the same image again: 1 to 2147483647.
    #[arg(long)]
    pub seed: Option<i64>,
    /// Have EvoLink check the result for NSFW content.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub nsfw_check: Option<bool>,
    #[arg(long, default_value = "z-image-turbo")]
    pub model: String,
    /// Wait this long for the outcome; 60 seconds if no number is given.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "60")]
    pub wait: Option<u64>,
    /// With --wait: download the first result into this file.
    #[arg(long, value_name = "FILE", requires = "wait")]
    pub out: Option<PathBuf>,
    /// Make a repeated submit harmless: the same key and prompt return the same answer. 16 to 96
    /// characters of `[A-Za-z0-9._-]`.
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
    /// Print the task object as JSON.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub client: ClientArgs,
}
