//! The answer with an archived file: whole, in part, or not at all if the client has it already
//! (RFC 9110, sections 13 and 14).

use std::ops::Range;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use tracing::error;

use super::{ArchiveAccess, given_up};
use crate::archive::Digest;
use crate::archive::content::Format;
use crate::archive::fetch::{Following, Head};
use crate::archive::storage::{ShownAs, StorageError};
use crate::domain::ids::TaskId;
use crate::domain::result_file::{FileCopy, FileState};
use crate::http::internal::InternalState;
use crate::http::internal::error::ApiError;
use crate::store::read::TaskView;
use crate::store::results::ShownFile;

/// Files never run as a page, whatever their bytes are.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; sandbox";

/// A file never changes, so a client may keep it.
const CACHE_CONTROL: &str = "private, max-age=86400, immutable";

/// How long a redirect to the bucket works. A client follows it at once; a longer time would
/// lengthen that of a signed link.
const REDIRECT_LIFETIME: Duration = Duration::from_mins(1);

/// The part of a file that a request wants.
enum Part {
    Whole,
    Range(Range<u64>),
    /// The range is outside the file.
    None,
}

/// Answers with the copy of `file`.
pub async fn answer(
    state: &InternalState,
    archive: &ArchiveAccess,
    view: &TaskView,
    file: &ShownFile,
    headers: &HeaderMap,
    is_head: bool,
) -> Result<Response, ApiError> {
    let copy = file
        .copy
        .as_ref()
        .ok_or_else(|| ApiError::not_archived(None))?;
    let digest: Digest = copy.sha256.parse().map_err(|_| ApiError::internal())?;
    let etag = format!("\"{}\"", copy.sha256);
    if has_already(headers, &etag) {
        let headers = [(header::ETAG, etag)];
        return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    // A URL that is signed for GET does not work for HEAD.
    if archive.redirects && !is_head {
        let disposition = disposition(view, file, &copy.content_type);
        let shown = ShownAs {
            content_type: &copy.content_type,
            content_disposition: &disposition,
        };
        let signed = archive
            .storage
            .presign(digest, REDIRECT_LIFETIME, shown)
            .await;
        if let Some(url) = signed.map_err(|error| unavailable(&error))? {
            let headers = [
                (header::LOCATION, url.to_string()),
                (header::CACHE_CONTROL, "no-store".to_owned()),
            ];
            return Ok((StatusCode::FOUND, headers).into_response());
        }
    }
    let part = part(headers, &etag, copy.bytes);
    let (status, range) = match part {
        Part::Whole => (StatusCode::OK, None),
        Part::Range(range) => (StatusCode::PARTIAL_CONTENT, Some(range)),
        Part::None => {
            let total = [(header::CONTENT_RANGE, format!("bytes */{}", copy.bytes))];
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, total).into_response());
        }
    };
    let length = range
        .as_ref()
        .map_or(copy.bytes, |range| range.end - range.start);
    let body = if is_head {
        Body::empty()
    } else {
        match archive.storage.read(digest, range.clone()).await {
            Ok(reading) => Body::from_stream(reading.chunks.map(logged)),
            Err(StorageError::NotFound) => return Err(lost(state, file, copy).await),
            Err(error) => return Err(unavailable(&error)),
        }
    };
    let mut response = (status, body).into_response();
    let answered = response.headers_mut();
    answered.insert(header::CONTENT_LENGTH, length.into());
    if let Some(range) = range {
        let text = format!("bytes {}-{}/{}", range.start, range.end - 1, copy.bytes);
        insert(answered, header::CONTENT_RANGE, &text);
    }
    insert(answered, header::ETAG, &etag);
    insert(answered, header::ACCEPT_RANGES, "bytes");
    insert(answered, header::CACHE_CONTROL, CACHE_CONTROL);
    describe(answered, view, file, &copy.content_type);
    Ok(response)
}

/// Answers with a file while it is being fetched. If the fetch fails, the connection is closed
/// before the end, so that the client does not take the file for whole.
pub fn answer_while_it_arrives(
    view: &TaskView,
    file: &ShownFile,
    following: &Following,
    head: Head,
) -> Response {
    let mut response = Body::from_stream(following.chunks()).into_response();
    let answered = response.headers_mut();
    if let Some(total) = head.bytes_total {
        answered.insert(header::CONTENT_LENGTH, total.into());
    }
    insert(answered, header::CACHE_CONTROL, "no-store");
    describe(answered, view, file, head.content_type);
    response
}

/// Adds the headers that say what the file is, and keep it from being run.
fn describe(headers: &mut HeaderMap, view: &TaskView, file: &ShownFile, content_type: &str) {
    insert(headers, header::CONTENT_TYPE, content_type);
    insert(headers, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    insert(
        headers,
        header::CONTENT_SECURITY_POLICY,
        CONTENT_SECURITY_POLICY,
    );
    let disposition = disposition(view, file, content_type);
    insert(headers, header::CONTENT_DISPOSITION, &disposition);
}

fn disposition(view: &TaskView, file: &ShownFile, content_type: &str) -> String {
    let name = file_name(view, file, content_type);
    format!("inline; filename=\"{name}\"")
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(name, value);
    }
}

/// Returns a file name that needs no escape: task id, number, and an extension for the type.
fn file_name(view: &TaskView, file: &ShownFile, content_type: &str) -> String {
    let task = &view.record.task;
    let id = task.task_id().map(TaskId::to_string);
    let id = id.unwrap_or_else(|| task.submission_id.to_string());
    let format = Format::of_content_type(content_type);
    let extension = format.map_or("bin", Format::extension);
    format!("{id}-{}.{extension}", file.id.number())
}

/// Whether `If-None-Match` has `etag`, the version of the file.
fn has_already(headers: &HeaderMap, etag: &str) -> bool {
    let values = headers.get_all(header::IF_NONE_MATCH).iter();
    let mut tags = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim);
    tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

/// Reads `Range`. A range that is not understood, several ranges, and a range of another version
/// (`If-Range`) count as absent.
fn part(headers: &HeaderMap, etag: &str, bytes: u64) -> Part {
    let text = |name| {
        headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    };
    let Some(range) = text(header::RANGE) else {
        return Part::Whole;
    };
    if text(header::IF_RANGE).is_some_and(|version| version != etag) {
        return Part::Whole;
    }
    let Some(range) = range.strip_prefix("bytes=").map(str::trim) else {
        return Part::Whole;
    };
    let Some((first, last)) = range.split_once('-') else {
        return Part::Whole;
    };
    let number = |text: &str| -> Option<u64> {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let range = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(bytes),
        (Some(first), None) if last.is_empty() => first..bytes,
        (None, Some(suffix)) if first.is_empty() => bytes.saturating_sub(suffix)..bytes,
        _ => return Part::Whole,
    };
    if range.is_empty() {
        Part::None
    } else {
        Part::Range(range)
    }
}

/// Logs an error that cuts the body off, because the client only sees a broken connection.
fn logged<T>(chunk: Result<T, StorageError>) -> Result<T, StorageError> {
    if let Err(error) = &chunk {
        error!(error = %error, "a file could not be read to its end: {error}");
    }
    chunk
}

fn unavailable(error: &StorageError) -> ApiError {
    error!(error = %error, "the archive failed a request: {error}");
    ApiError::archive_unavailable()
}

/// The copy is missing although its row says that it is there. It is fetched again if EvoLink still
/// offers the file. Otherwise it is gone, unless somebody puts the copy back.
async fn lost(state: &InternalState, file: &ShownFile, copy: &FileCopy) -> ApiError {
    error!(file.id = %file.id, sha256 = copy.sha256, "an archived file is missing in the storage");
    let reason = "its copy is missing in the archive";
    let losing = state
        .recorder
        .lose_copy(file.id, copy.sha256.clone(), reason.to_owned());
    match losing.await {
        // EvoLink does not offer it any more.
        Ok(Some(FileState::Archived)) => given_up(reason),
        Ok(_) => ApiError::not_archived(Some(reason)),
        Err(error) => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ETAG: &str = "\"ab\"";

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| (name.clone(), value.parse().unwrap()))
            .collect()
    }

    fn shown(range: &str, if_range: Option<&str>) -> String {
        let mut given = vec![(header::RANGE, range)];
        given.extend(if_range.map(|version| (header::IF_RANGE, version)));
        match part(&headers(&given), ETAG, 10) {
            Part::Whole => "whole".to_owned(),
            Part::Range(range) => format!("{}..{}", range.start, range.end),
            Part::None => "none".to_owned(),
        }
    }

    #[test]
    fn one_range_is_answered_and_anything_else_with_the_whole_file() {
        for (range, wanted) in [
            ("bytes=0-0", "0..1"),
            ("bytes=2-5", "2..6"),
            ("bytes=2-", "2..10"),
            ("bytes=2-99999999999999999999999", "2..10"),
            ("bytes=-3", "7..10"),
            ("bytes=-30", "0..10"),
            ("bytes=9-", "9..10"),
            ("bytes=10-", "none"),
            ("bytes=-0", "none"),
            ("bytes=99999999999999999999999-", "none"),
            ("bytes=5-2", "whole"),
            ("bytes=0-1,3-4", "whole"),
            ("bytes=-", "whole"),
            ("bytes=a-b", "whole"),
            ("lines=1-2", "whole"),
        ] {
            assert_eq!(shown(range, None), wanted, "{range}");
        }
        assert_eq!(shown("bytes=2-5", Some(ETAG)), "2..6");
        assert_eq!(shown("bytes=2-5", Some("\"cd\"")), "whole");
        assert_eq!(shown("bytes=2-5", Some("W/\"ab\"")), "whole");
    }

    #[test]
    fn if_none_match_recognises_the_version_that_the_client_has() {
        for (tags, has) in [
            (ETAG, true),
            ("\"cd\", \"ab\"", true),
            ("W/\"ab\"", true),
            ("*", true),
            ("\"cd\"", false),
        ] {
            let given = headers(&[(header::IF_NONE_MATCH, tags)]);
            assert_eq!(has_already(&given, ETAG), has, "{tags}");
        }
    }
}
