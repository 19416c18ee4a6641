//! The request of the model z-image-turbo: the body of EvoLink's page, parsed and checked against
//! its bounds.
//!
//! A body that passes is within the documented bounds. Any other body for this model never leaves
//! this machine (rule B9 in `docs/rules.md`). Nothing is converted, trimmed or cut.

use serde::Serialize;

use super::InvalidRequest;
use super::members::{self, Prompt, Seed, Size, escaped};
use crate::domain::json::Fields;

/// The name of the model.
pub const NAME: &str = "z-image-turbo";

/// The six members that EvoLink documents. Any other name is probably a typing error, which would
/// cost money.
pub(super) const NAMES: [&str; 6] = [
    "model",
    "prompt",
    "size",
    "seed",
    "nsfw_check",
    "callback_url",
];

/// A request to generate an image, within EvoLink's bounds.
#[derive(Clone, Debug)]
pub struct ZImageTurbo {
    prompt: Prompt,
    size: Option<Size>,
    seed: Option<Seed>,
    nsfw_check: Option<bool>,
    /// Members that EvoLink does not document. They are passed on unchanged.
    unknown: Fields,
}

impl ZImageTurbo {
    /// # Errors
    /// `InvalidRequest` names the member, its bound and the given value.
    pub(super) fn parse(
        fields: &Fields,
        allow_unknown_fields: bool,
    ) -> Result<Self, InvalidRequest> {
        if !allow_unknown_fields {
            refuse_unknown(fields)?;
        }
        let mut unknown = fields.clone();
        for name in NAMES {
            unknown.remove(name);
        }
        Ok(Self {
            prompt: members::prompt(fields)?,
            size: members::size(fields)?,
            seed: members::seed(fields)?,
            nsfw_check: members::nsfw_check(fields)?,
            unknown,
        })
    }

    /// Returns the body. Absent members are not in it.
    pub(super) fn body<'a>(&'a self, callback_url: Option<&'a str>) -> Body<'a> {
        Body {
            model: NAME,
            prompt: self.prompt.as_str(),
            size: self.size.as_ref().map(Size::as_str),
            seed: self.seed.map(Seed::get),
            nsfw_check: self.nsfw_check,
            callback_url,
            unknown: &self.unknown,
        }
    }
}

/// The body of a submit as EvoLink documents it. Must not be printed: it contains the prompt and a
/// callback URL, which is a secret.
#[derive(Serialize)]
pub(super) struct Body<'a> {
    model: &'static str,
    prompt: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nsfw_check: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    callback_url: Option<&'a str>,
    #[serde(flatten)]
    unknown: &'a Fields,
}

fn refuse_unknown(fields: &Fields) -> Result<(), InvalidRequest> {
    let Some(name) = fields.keys().find(|name| !NAMES.contains(name)) else {
        return Ok(());
    };
    let name = escaped(name);
    Err(InvalidRequest {
        message: format!(
            "`{name}` is not a field of this request; the fields are {}",
            NAMES.join(", ")
        ),
        param: Some(name),
    })
}
