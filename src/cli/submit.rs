//! `submit`: one prompt, and whether to wait for its outcome.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use strum::VariantArray as _;

use super::ClientArgs;
use crate::domain::kind::Kind;

fn kinds() -> impl TypedValueParser<Value = Kind> {
    let names = Kind::VARIANTS.iter().map(<&str>::from);
    PossibleValuesParser::new(names).map(|name| name.parse().expect("one of the names"))
}

#[derive(Debug, Args)]
pub struct SubmitArgs {
    /// The description of the image, video or sound. Some models need none.
    #[arg(required_unless_present_any = ["body", "field"])]
    pub prompt: Option<String>,
    /// What to make.
    #[arg(long, default_value = "image", value_parser = kinds())]
    pub kind: Kind,
    /// A ratio (16:9) or width and height (1024x768).
    #[arg(long)]
    pub size: Option<String>,
    /// The seed, to get the same image again: 1 to 2147483647.
    #[arg(long)]
    pub seed: Option<i64>,
    /// Have EvoLink check the result for NSFW content.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub nsfw_check: Option<bool>,
    /// EvoLink's name of the model. Without it, z-image-turbo.
    #[arg(long, conflicts_with = "body")]
    pub model: Option<String>,
    /// Another field of the model. VALUE is JSON, or else a text. May be repeated.
    #[arg(long, value_name = "NAME=VALUE", conflicts_with = "body")]
    pub field: Vec<String>,
    /// Send the JSON in this file as it is.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["prompt", "size", "seed", "nsfw_check"])]
    pub body: Option<PathBuf>,
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
    /// Your own name for the task, at most 128 characters: it is shown with the task, and
    /// `tasks list --reference` finds it.
    #[arg(long, value_name = "NAME")]
    pub reference: Option<String>,
    /// Print the task object as JSON.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub client: ClientArgs,
}
