//! The storage in a bucket of an S3-compatible server. For replicas, which share no folder.

use std::ffi::OsString;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::signer::{SignedUrlOptions, Signer as _};
use object_store::{
    ClientOptions, Error, GetOptions, ObjectMeta, ObjectStore as _, ObjectStoreExt as _, PutMode,
    RetryConfig,
};
use reqwest::Method;
use url::Url;

use super::error::says;
use super::{
    Entry, IDENTITY_BYTES_MAX, MARKER, Reading, ShownAs, StorageError, draft, identity, inside,
};
use crate::archive::Digest;
use crate::domain::timestamp::Timestamp;

/// The archiver itself tries again later, so a request is not repeated for long.
const RETRIES_MAX: usize = 3;
const RETRY_TIMEOUT: Duration = Duration::from_mins(3);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest silence of the server, and the longest time for one part of an upload. A server may
/// be silent while it copies a large draft. There is no limit on a whole transfer, because a large
/// file may be read slowly.
const SILENCE_TIMEOUT: Duration = Duration::from_mins(5);

const DRAFTS: &str = "tmp";

#[derive(Clone)]
pub struct Bucket {
    pub(super) store: Arc<AmazonS3>,
    /// The client of uploads, which run on threads of low priority. A connection stays on the
    /// threads that opened it, so nothing else uses these.
    pub(super) uploads: Arc<AmazonS3>,
    prefix: Path,
}

impl Bucket {
    /// The credentials, the region and the endpoint come from the usual `AWS_…` variables.
    pub(super) fn open(name: &str, prefix: &str) -> Result<Self, StorageError> {
        // As everywhere, a variable that is set to nothing counts as absent.
        let set = std::env::vars_os().filter(|(_, value)| !value.is_empty());
        Self::open_with(set, name, prefix)
    }

    pub(super) fn open_with(
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        name: &str,
        prefix: &str,
    ) -> Result<Self, StorageError> {
        let failed = StorageError::bucket("open");
        let options = ClientOptions::new()
            .with_connect_timeout(CONNECT_TIMEOUT)
            .with_read_timeout(SILENCE_TIMEOUT)
            .with_timeout_disabled();
        let retry = RetryConfig {
            max_retries: RETRIES_MAX,
            retry_timeout: RETRY_TIMEOUT,
            ..RetryConfig::default()
        };
        // The variables are applied over our options, so that `AWS_ALLOW_HTTP` has its effect.
        let builder = options_under(variables, options)
            .with_bucket_name(name)
            .with_retry(retry)
            // We delete single objects, and some servers have no other way.
            .with_disable_bulk_delete(true);
        let client = |builder: AmazonS3Builder| Ok(Arc::new(builder.build().map_err(&failed)?));
        Ok(Self {
            store: client(builder.clone())?,
            uploads: client(builder)?,
            prefix: Path::parse(prefix).map_err(|error| failed(error.into()))?,
        })
    }

    pub(super) async fn look(&self) -> Result<(), StorageError> {
        let first = self.store.list(Some(&self.prefix)).try_next().await;
        first.map(|_| ()).map_err(StorageError::bucket("list"))
    }

    pub(super) fn key(&self, digest: Digest) -> Path {
        let name = digest.to_string();
        self.prefix.clone().join(&name[..2]).join(&name[2..])
    }

    pub(super) fn drafts(&self) -> Path {
        self.prefix.clone().join(DRAFTS)
    }

    pub(super) async fn read(
        &self,
        digest: Digest,
        range: Option<Range<u64>>,
    ) -> Result<Reading, StorageError> {
        let key = self.key(digest);
        let mut options = GetOptions::new();
        if range.is_some() {
            // Servers answer a range outside the object in different ways, so get the length first.
            let bytes_total = self.bytes_of(digest).await?;
            let inside = inside(range, bytes_total)?;
            // The whole object needs no range.
            if inside != (0..bytes_total) {
                options = options.with_range(Some(inside));
            }
        }
        let found = self.store.get_opts(&key, options).await;
        let found = found.map_err(StorageError::object("read from"))?;
        Ok(Reading {
            bytes_total: found.meta.size,
            range: found.range.clone(),
            chunks: found
                .into_stream()
                .map_err(StorageError::bucket("read from"))
                .boxed(),
        })
    }

    pub(super) async fn bytes_of(&self, digest: Digest) -> Result<u64, StorageError> {
        Ok(self.head(&self.key(digest)).await?.size)
    }

    async fn head(&self, key: &Path) -> Result<ObjectMeta, StorageError> {
        let found = match self.store.head(key).await {
            // Only an answer with a body says what is missing: the object or the bucket.
            Err(Error::NotFound { .. }) => self.store.get(key).await.map(|found| found.meta),
            found => found,
        };
        found.map_err(StorageError::object("read from"))
    }

    pub(super) async fn delete(&self, digest: Digest) -> Result<(), StorageError> {
        self.remove(&self.key(digest)).await
    }

    /// An object that is stored again between the two requests is deleted. That takes a fetch that
    /// ends in these milliseconds, with bytes that no file has needed for long.
    pub(super) async fn delete_older(
        &self,
        digest: Digest,
        before: Timestamp,
    ) -> Result<bool, StorageError> {
        let key = self.key(digest);
        let is_older = match self.head(&key).await {
            Ok(found) => modified_at(&found) < before,
            Err(StorageError::NotFound) => false,
            Err(error) => return Err(error),
        };
        if is_older {
            self.remove(&key).await?;
        }
        Ok(is_older)
    }

    pub(super) async fn now(&self) -> Result<Timestamp, StorageError> {
        let failed = StorageError::bucket("write to");
        let probe = self.drafts().join(draft::name());
        let put = self.store.put(&probe, Vec::new().into()).await;
        put.map_err(&failed)?;
        let found = self.store.head(&probe).await;
        self.remove(&probe).await?;
        Ok(modified_at(&found.map_err(failed)?))
    }

    fn marker(&self) -> Path {
        self.prefix.clone().join(MARKER)
    }

    pub(super) async fn identity(&self) -> Result<Option<String>, StorageError> {
        let found = self.store.get(&self.marker()).await;
        let found = match found.map_err(StorageError::object("read from")) {
            Ok(found) if found.meta.size <= IDENTITY_BYTES_MAX => found,
            Ok(_) => return Err(StorageError::Damaged),
            Err(StorageError::NotFound) => return Ok(None),
            Err(error) => return Err(error),
        };
        let bytes = found.bytes().await;
        identity(&bytes.map_err(StorageError::bucket("read from"))?).map(Some)
    }

    pub(super) async fn set_identity(&self, identity: &str) -> Result<bool, StorageError> {
        if self.identity().await?.is_some() {
            return Ok(false);
        }
        let marker = self.marker();
        let bytes = identity.to_owned();
        // Another replica may set it at the same time.
        let only_new = PutMode::Create.into();
        let put = self
            .store
            .put_opts(&marker, bytes.clone().into(), only_new)
            .await;
        let put = match put {
            Err(Error::AlreadyExists { .. }) => return Ok(false),
            // Some servers know no conditions.
            Err(error) if says(&error, "NotImplemented") => {
                self.store.put(&marker, bytes.into()).await
            }
            put => put,
        };
        put.map_err(StorageError::bucket("write to"))?;
        Ok(true)
    }

    pub(super) async fn remove(&self, key: &Path) -> Result<(), StorageError> {
        let removed = self.store.delete(key).await;
        match removed.map_err(StorageError::object("delete from")) {
            Ok(()) | Err(StorageError::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(super) fn list(&self) -> BoxStream<'static, Result<Entry, StorageError>> {
        let prefix = self.prefix.clone();
        self.store
            .list(Some(&self.prefix))
            .map_err(StorageError::bucket("list"))
            .try_filter_map(move |found| {
                let entry = entry(&prefix, &found);
                async move { Ok(entry) }
            })
            .boxed()
    }

    pub(super) async fn sweep(&self, before: Timestamp) -> Result<usize, StorageError> {
        let mut drafts = self.store.list(Some(&self.drafts()));
        let mut swept = 0;
        while let Some(found) = drafts.next().await {
            let found = found.map_err(StorageError::bucket("list"))?;
            if modified_at(&found) < before {
                self.remove(&found.location).await?;
                swept += 1;
            }
        }
        Ok(swept)
    }

    pub(super) async fn presign(
        &self,
        digest: Digest,
        lifetime: Duration,
        shown: ShownAs<'_>,
    ) -> Result<Url, StorageError> {
        let key = self.key(digest);
        let shown = SignedUrlOptions::new().with_query([
            ("response-content-type", shown.content_type),
            ("response-content-disposition", shown.content_disposition),
        ]);
        let signed = self
            .store
            .signed_url_opts(Method::GET, &key, lifetime, &shown)
            .await;
        signed.map_err(StorageError::bucket("sign a URL of"))
    }
}

/// Like `AmazonS3Builder::from_env`, but starts with `options` instead of the defaults.
fn options_under(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    options: ClientOptions,
) -> AmazonS3Builder {
    let mut builder = AmazonS3Builder::new().with_client_options(options);
    for (name, value) in variables {
        let name = name.to_str().filter(|name| name.starts_with("AWS_"));
        let key = name.and_then(|name| name.to_ascii_lowercase().parse().ok());
        if let (Some(key), Some(value)) = (key, value.to_str()) {
            builder = builder.with_config(key, value);
        }
    }
    builder
}

/// Returns the entry of an object. `None` if the object is not a kept file.
fn entry(prefix: &Path, found: &ObjectMeta) -> Option<Entry> {
    let below: Vec<_> = found.location.prefix_match(prefix)?.collect();
    let [first, rest] = below.as_slice() else {
        return None;
    };
    let digest = format!("{}{}", first.as_ref(), rest.as_ref());
    Some(Entry {
        digest: digest.parse().ok()?,
        bytes: found.size,
        modified_at: modified_at(found),
    })
}

fn modified_at(found: &ObjectMeta) -> Timestamp {
    Timestamp::from_millis(found.last_modified.timestamp_millis())
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the store: its settings have credentials.
        f.debug_struct("Bucket")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}
