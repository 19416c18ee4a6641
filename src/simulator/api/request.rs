//! The body of a submit, checked against every bound on EvoLink's page about the z-image-turbo
//! interface. Where the page is silent the simulator is strict, so that a client that passes here
//! most likely passes there too. Unknown fields are ignored. `addresses` checks where
//! `callback_url` leads.

use serde_json::{Map, Value};
use url::Url;

use super::error::ApiError;

const MODEL: &str = "z-image-turbo";
const PROMPT_CHARS_MAX: usize = 2000;
const SEED_MAX: u64 = 2_147_483_647;
const SIDE_PIXELS: std::ops::RangeInclusive<u32> = 376..=1536;
const CALLBACK_URL_CHARS_MAX: usize = 2048;

/// The sizes of the preset ratios. EvoLink does not document them; these are about one megapixel,
/// in steps of 16.
const RATIOS: [(&str, u32, u32); 9] = [
    ("1:1", 1024, 1024),
    ("2:3", 832, 1248),
    ("3:2", 1248, 832),
    ("3:4", 864, 1152),
    ("4:3", 1152, 864),
    ("9:16", 720, 1280),
    ("16:9", 1280, 720),
    ("1:2", 704, 1408),
    ("2:1", 1408, 704),
];

/// The three submit routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    Images,
    Videos,
    Audios,
}

impl Route {
    pub const ALL: [Self; 3] = [Self::Images, Self::Videos, Self::Audios];

    pub const fn path(self) -> &'static str {
        match self {
            Self::Images => "/v1/images/generations",
            Self::Videos => "/v1/videos/generations",
            Self::Audios => "/v1/audios/generations",
        }
    }

    /// The `type` of its tasks.
    pub const fn task_type(self) -> &'static str {
        match self {
            Self::Images => "image",
            Self::Videos => "video",
            Self::Audios => "audio",
        }
    }

    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Images => "image/webp",
            Self::Videos => "video/mp4",
            Self::Audios => "audio/wav",
        }
    }

    /// The name of the result file with this number.
    pub fn file_name(self, number: u32) -> String {
        let extension = match self {
            Self::Images => "webp",
            Self::Videos => "mp4",
            Self::Audios => "wav",
        };
        format!("{number}.{extension}")
    }
}

#[derive(Clone, Debug)]
pub struct Generation {
    pub route: Route,
    pub model: String,
    pub prompt: String,
    pub width: u32,
    pub height: u32,
    pub seed: Option<u32>,
    pub callback_url: Option<Url>,
}

impl Generation {
    pub fn parse(route: Route, body: &Value) -> Result<Self, ApiError> {
        let fields = body
            .as_object()
            .ok_or_else(|| ApiError::unreadable("the request body must be a JSON object"))?;
        let model = model(fields)?;
        if (route, model) != (Route::Images, MODEL) {
            return Self::of_any_model(route, model, fields);
        }
        let prompt = prompt(fields)?;
        let (width, height) = size(fields)?;
        let seed = seed(fields)?;
        // The value has no effect in the simulator, but its type is checked.
        match present(fields, "nsfw_check") {
            None | Some(Value::Bool(_)) => {}
            Some(_) => {
                return Err(ApiError::invalid(
                    "nsfw_check",
                    "nsfw_check must be a boolean",
                ));
            }
        }
        Ok(Self {
            route,
            model: model.to_owned(),
            prompt,
            width,
            height,
            seed,
            callback_url: callback_url(fields)?,
        })
    }

    /// The other models have pages of their own, which the simulator does not know. Only the model
    /// and the callback URL are the same everywhere.
    fn of_any_model(
        route: Route,
        model: &str,
        fields: &Map<String, Value>,
    ) -> Result<Self, ApiError> {
        let prompt = fields.get("prompt").and_then(Value::as_str);
        Ok(Self {
            route,
            model: model.to_owned(),
            prompt: prompt.unwrap_or_default().to_owned(),
            width: 1024,
            height: 1024,
            seed: None,
            callback_url: callback_url(fields)?,
        })
    }
}

fn present<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    fields.get(name).filter(|value| !value.is_null())
}

fn text<'a>(
    fields: &'a Map<String, Value>,
    name: &'static str,
) -> Result<Option<&'a str>, ApiError> {
    match present(fields, name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(ApiError::invalid(name, &format!("{name} must be a string"))),
    }
}

fn model(fields: &Map<String, Value>) -> Result<&str, ApiError> {
    let model = text(fields, "model")?.filter(|model| !model.is_empty());
    model.ok_or_else(|| ApiError::invalid("model", "model is required"))
}

fn prompt(fields: &Map<String, Value>) -> Result<String, ApiError> {
    let prompt = text(fields, "prompt")?.unwrap_or_default();
    if prompt.is_empty() {
        return Err(ApiError::invalid("prompt", "prompt is required"));
    }
    if prompt.chars().count() > PROMPT_CHARS_MAX {
        return Err(ApiError::invalid(
            "prompt",
            "prompt must not exceed 2000 characters",
        ));
    }
    Ok(prompt.to_owned())
}

fn size(fields: &Map<String, Value>) -> Result<(u32, u32), ApiError> {
    let Some(size) = text(fields, "size")? else {
        return Ok((1024, 1024));
    };
    if let Some((_, width, height)) = RATIOS.iter().find(|(ratio, ..)| *ratio == size) {
        return Ok((*width, *height));
    }
    size.split_once('x')
        .and_then(|(width, height)| Some((side(width)?, side(height)?)))
        .ok_or_else(|| {
            let message = "size must be a supported ratio, or WxH with sides of 376 to 1536 pixels";
            ApiError::invalid("size", message)
        })
}

/// Parses one side. Refuses a sign, a leading zero and blanks: `u32::from_str` would accept `+512`.
fn side(text: &str) -> Option<u32> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    plain
        .then(|| text.parse().ok())
        .flatten()
        .filter(|side| SIDE_PIXELS.contains(side))
}

fn seed(fields: &Map<String, Value>) -> Result<Option<u32>, ApiError> {
    let Some(seed) = present(fields, "seed") else {
        return Ok(None);
    };
    seed.as_u64()
        .filter(|seed| (1..=SEED_MAX).contains(seed))
        .and_then(|seed| u32::try_from(seed).ok())
        .map(Some)
        .ok_or_else(|| ApiError::invalid("seed", "seed must be an integer from 1 to 2147483647"))
}

fn callback_url(fields: &Map<String, Value>) -> Result<Option<Url>, ApiError> {
    let Some(text) = text(fields, "callback_url")? else {
        return Ok(None);
    };
    let refuse = |message| Err(ApiError::invalid("callback_url", message));
    if text.chars().count() > CALLBACK_URL_CHARS_MAX {
        return refuse("callback_url must not exceed 2048 characters");
    }
    let Ok(url) = Url::parse(text) else {
        return refuse("callback_url is not a URL");
    };
    if url.scheme() != "https" {
        return refuse("callback_url must use HTTPS");
    }
    Ok(Some(url))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn with(name: &str, value: Value) -> Value {
        let mut body = json!({"model": "z-image-turbo", "prompt": "a cute cat"});
        body[name] = value;
        body
    }

    #[test]
    fn every_bound_of_the_page_admits_its_edge() {
        let good = [
            ("prompt", json!("é".repeat(2000))),
            ("size", json!("376x1536")),
            ("size", json!("1536x376")),
            ("size", Value::Null),
            ("seed", json!(1)),
            ("seed", json!(2_147_483_647)),
            ("nsfw_check", json!(true)),
            (
                "callback_url",
                json!(format!("https://example.com/{}", "a".repeat(2048 - 20))),
            ),
            ("unheard_of", json!([1])),
        ];
        for (name, value) in good {
            assert!(
                Generation::parse(Route::Images, &with(name, value.clone())).is_ok(),
                "{name} {value}"
            );
        }
        for (ratio, width, height) in RATIOS {
            let generation = Generation::parse(Route::Images, &with("size", json!(ratio))).unwrap();
            assert_eq!((generation.width, generation.height), (width, height));
            assert!(
                SIDE_PIXELS.contains(&width) && SIDE_PIXELS.contains(&height),
                "{ratio}"
            );
        }
    }
}
