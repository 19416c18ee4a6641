//! Checks of `[archive]`, and of how long archived files are kept.

use std::time::Duration;

use super::host_patterns;
use crate::config::findings::Found;
use crate::config::hosts::Ports;
use crate::config::{Archive, ByteSize, Config, Level, OutcomeEvent};
use crate::domain::result_file::Place;
use crate::store::is_postgres;

/// The longest lifetime of a signed link: that of S3 (AWS, "Sharing objects with presigned URLs").
const LINK_LIFETIME_MAX: Duration = Duration::from_hours(7 * 24);

/// More fetches at a time would only share the same bandwidth.
const FETCHES_AT_ONCE_MAX: usize = 64;

/// A single object of S3 has at most 5 GiB if it is copied in one request.
const FILE_BYTES_MAX: ByteSize = ByteSize::kib(5 * 1024 * 1024);

const PIXELS_MAX: u64 = 1_000_000_000;

pub(super) fn archive(found: &mut Found, config: &Config) {
    let archive = &config.archive;
    let place: Result<Place, _> = archive.url.parse();
    if let Err(error) = &place {
        found.add(Level::Error, "archive.url", error.to_string());
    }
    host_patterns(
        found,
        "archive.allowed_hosts",
        &archive.allowed_hosts,
        Ports::Refused,
    );
    bounds(found, archive);
    let is_bucket = matches!(place, Ok(Place::Bucket { .. }));
    found.error_unless(
        is_bucket || !archive.redirect_to_bucket,
        "archive.redirect_to_bucket",
        "needs an archive.url that begins with s3://",
    );
    found.warn_if(
        archive.enabled && !is_bucket && is_postgres(&config.store.url),
        "archive.url",
        "is a directory of this machine: replicas that share a database must share the archive too, as a bucket or a shared directory",
    );
    found.warn_if(
        archive.enabled && archive.allowed_hosts.is_empty() && archive.allow_networks.is_empty(),
        "archive.allowed_hosts",
        "is empty, so no result can be archived",
    );
    endpoints(found, config);
}

fn bounds(found: &mut Found, archive: &Archive) {
    found.within(
        "archive.link_lifetime",
        archive.link_lifetime,
        Duration::from_secs(1),
        LINK_LIFETIME_MAX,
    );
    for (key, size) in [
        ("archive.max_image", archive.max_image),
        ("archive.max_audio", archive.max_audio),
        ("archive.max_video", archive.max_video),
    ] {
        let least = ByteSize::kib(1);
        found.error_unless(
            (least..=FILE_BYTES_MAX).contains(&size),
            key,
            format!("must be from {least} to {FILE_BYTES_MAX}, is {size}"),
        );
    }
    let pixels = archive.max_pixels;
    found.error_unless(
        (1..=PIXELS_MAX).contains(&pixels),
        "archive.max_pixels",
        format!("must be from 1 to {PIXELS_MAX}, is {pixels}"),
    );
    let fetches = archive.fetches_at_once;
    found.error_unless(
        (1..=FETCHES_AT_ONCE_MAX).contains(&fetches),
        "archive.fetches_at_once",
        format!("must be from 1 to {FETCHES_AT_ONCE_MAX}, is {fetches}"),
    );
}

fn endpoints(found: &mut Found, config: &Config) {
    for (number, endpoint) in config.forward.endpoints.iter().enumerate() {
        found.error_unless(
            config.archive.enabled || !endpoint.events.contains(&OutcomeEvent::Archived),
            format!("forward.endpoints[{number}].events"),
            "has task.archived, which never comes while archive.enabled is false",
        );
    }
}
