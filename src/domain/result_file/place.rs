//! Parses `archive.url`.

use std::path::PathBuf;
use std::str::FromStr;

/// A folder, or a bucket and the prefix of its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Folder(PathBuf),
    /// `prefix` has no slash at its ends. It may be empty.
    Bucket {
        name: String,
        prefix: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be file: and a directory, or s3://bucket/prefix")]
pub struct BadPlace;

impl FromStr for Place {
    type Err = BadPlace;

    fn from_str(url: &str) -> Result<Self, BadPlace> {
        if let Some(path) = url.strip_prefix("file:") {
            // `file:///srv/results` means the same as `file:/srv/results`.
            let path = path.strip_prefix("//").unwrap_or(path);
            return match path {
                "" => Err(BadPlace),
                path => Ok(Self::Folder(path.into())),
            };
        }
        let rest = url.strip_prefix("s3://").ok_or(BadPlace)?;
        let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.trim_matches('/');
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        let is_segment = |segment: &str| {
            !matches!(segment, "" | "." | "..") && !segment.contains(char::is_control)
        };
        let is_good = !name.is_empty()
            && name.bytes().all(is_name)
            && !prefix.contains(['?', '#'])
            && (prefix.is_empty() || prefix.split('/').all(is_segment));
        if !is_good {
            return Err(BadPlace);
        }
        Ok(Self::Bucket {
            name: name.to_owned(),
            prefix: prefix.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_folder_or_a_bucket() {
        let folder = |path: &str| Ok(Place::Folder(path.into()));
        let bucket = |name: &str, prefix: &str| {
            Ok(Place::Bucket {
                name: name.into(),
                prefix: prefix.into(),
            })
        };
        for (url, place) in [
            ("file:data/results", folder("data/results")),
            ("file:/srv/results", folder("/srv/results")),
            ("file:///srv/results", folder("/srv/results")),
            ("s3://bucket", bucket("bucket", "")),
            ("s3://bucket/", bucket("bucket", "")),
            ("s3://my.bucket-1/a/b/", bucket("my.bucket-1", "a/b")),
            ("file:", Err(BadPlace)),
            ("file://", Err(BadPlace)),
            ("s3://", Err(BadPlace)),
            ("s3:///prefix", Err(BadPlace)),
            ("s3://user@bucket/prefix", Err(BadPlace)),
            ("s3://bucket/prefix?x=1", Err(BadPlace)),
            ("s3://bucket/a//b", Err(BadPlace)),
            ("s3://bucket/../b", Err(BadPlace)),
            ("gs://bucket", Err(BadPlace)),
            ("data/results", Err(BadPlace)),
            ("", Err(BadPlace)),
        ] {
            assert_eq!(url.parse(), place, "{url}");
        }
    }
}
