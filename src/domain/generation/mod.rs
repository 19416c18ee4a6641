//! The request of an app: the body of EvoLink's z-image-turbo page, parsed and checked against its
//! bounds.
//!
//! A body that passes `Generation::parse` is within EvoLink's documented bounds. Any other body
//! never leaves this machine (rule B9 in `docs/rules.md`). Nothing is converted, trimmed or cut:
//! EvoLink receives what the app sent.

mod fingerprint;
mod members;
mod repeated;
#[cfg(test)]
mod tests;

use serde::Serialize;

use super::json::{Fields, JsonError};
pub use fingerprint::Fingerprint;
use members::escaped;
pub use members::{Model, Prompt, Seed, Size};

/// The six members that EvoLink documents. Any other name is probably a typing error, which would
/// cost money.
const NAMES: [&str; 6] = [
    "model",
    "prompt",
    "size",
    "seed",
    "nsfw_check",
    "callback_url",
];

/// A request to generate an image, within EvoLink's bounds.
#[derive(Clone, Debug)]
pub struct Generation {
    pub model: Model,
    pub prompt: Prompt,
    pub size: Option<Size>,
    pub seed: Option<Seed>,
    pub nsfw_check: Option<bool>,
    /// The app's own address for deliveries. EvoLink never sees it. Whether its host is allowed is
    /// not checked here.
    pub callback_url: Option<String>,
    /// Members that EvoLink does not document. They are passed on unchanged.
    unknown: Fields,
}

/// Why a body is not a valid request. Safe to show to the app that sent it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct InvalidRequest {
    /// The invalid member, or `None` if the whole body is invalid.
    pub param: Option<String>,
    pub message: String,
}

impl Generation {
    /// Parses and checks the body of a submit.
    ///
    /// # Errors
    /// `InvalidRequest` names the member, its bound and the given value.
    pub fn parse(body: &[u8], allow_unknown_fields: bool) -> Result<Self, InvalidRequest> {
        let fields = Fields::parse(body);
        if matches!(fields, Ok(_) | Err(JsonError::RepeatedKey { .. })) {
            refuse_repeated(body)?;
        }
        let fields = fields?;
        if !allow_unknown_fields {
            refuse_unknown(&fields)?;
        }
        let mut unknown = fields.clone();
        for name in NAMES {
            unknown.remove(name);
        }
        Ok(Self {
            model: members::model(&fields)?,
            prompt: members::prompt(&fields)?,
            size: members::size(&fields)?,
            seed: members::seed(&fields)?,
            nsfw_check: members::nsfw_check(&fields)?,
            callback_url: members::callback_url(&fields)?,
            unknown,
        })
    }

    /// Returns the body for EvoLink, with the `callback_url` of this service if it has one, and
    /// never with the app's. Absent members are not sent.
    pub fn to_evolink<'a>(&'a self, callback_url: Option<&'a str>) -> EvolinkRequest<'a> {
        self.request(callback_url)
    }

    /// Returns the body without a callback URL, for the store. A callback URL is a secret.
    pub fn to_record(&self) -> EvolinkRequest<'_> {
        self.request(None)
    }

    /// Returns the same hash for two bodies that are equal as values. The order of keys, white
    /// space and escapes make no difference. Numbers are compared by their text.
    pub fn fingerprint(&self) -> Fingerprint {
        let request = self.request(self.callback_url.as_deref());
        Fingerprint::of(
            &serde_json::value::to_raw_value(&request).expect("a request has a JSON form"),
        )
    }

    fn request<'a>(&'a self, callback_url: Option<&'a str>) -> EvolinkRequest<'a> {
        EvolinkRequest {
            model: self.model.as_str(),
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
pub struct EvolinkRequest<'a> {
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

impl From<JsonError> for InvalidRequest {
    fn from(error: JsonError) -> Self {
        Self {
            param: None,
            message: error.to_string(),
        }
    }
}

fn refuse_repeated(body: &[u8]) -> Result<(), InvalidRequest> {
    let Some(name) = repeated::member(body) else {
        return Ok(());
    };
    let name = escaped(&name);
    Err(InvalidRequest {
        message: format!("`{name}` occurs twice in the request"),
        param: Some(name),
    })
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
