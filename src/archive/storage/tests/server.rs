//! The S3 server of the tests. `tests/s3/with_server.sh` starts it. Without it, they are skipped.
//!
//! `EVOLINK_RECEIVER_TEST_S3_URL=s3://bucket` names its bucket. The usual `AWS_…` variables have
//! its address and a user with the right to write.
//! `EVOLINK_RECEIVER_TEST_S3_READER=id:secret` is a user without that right.

use std::ffi::OsString;
use std::net::SocketAddr;

use url::Url;

use super::super::bucket::Bucket;
use super::super::{Place, Storage};

const URL: &str = "EVOLINK_RECEIVER_TEST_S3_URL";
const READER: &str = "EVOLINK_RECEIVER_TEST_S3_READER";

pub struct S3 {
    bucket: String,
    /// A prefix of its own for each test.
    prefix: String,
}

impl S3 {
    /// `None` if there is no server.
    pub fn find() -> Option<Self> {
        let Ok(url) = std::env::var(URL) else {
            let is_ci = std::env::var("CI").as_deref() == Ok("true");
            assert!(!is_ci, "cannot be skipped where CI=true: {URL} is not set");
            eprintln!("skipped: {URL} is not set, see tests/s3/with_server.sh");
            return None;
        };
        let url = format!("{url}/{:016x}", fastrand::u64(..));
        match url.parse() {
            Ok(Place::Bucket { name, prefix }) => Some(Self {
                bucket: name,
                prefix,
            }),
            other => panic!("{URL} must name a bucket: {other:?}"),
        }
    }

    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    pub async fn storage(&self) -> Storage {
        let place = Place::Bucket {
            name: self.bucket.clone(),
            prefix: self.prefix.clone(),
        };
        Storage::open(&place, 0).await.unwrap()
    }

    /// A storage with some variables of its own.
    pub fn storage_with(&self, variables: &[(&str, &str)]) -> Storage {
        self.storage_in(&self.bucket, variables)
    }

    pub fn storage_in(&self, bucket: &str, variables: &[(&str, &str)]) -> Storage {
        let own = variables
            .iter()
            .map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let variables = std::env::vars_os().chain(own);
        Storage::Bucket(Bucket::open_with(variables, bucket, &self.prefix).unwrap())
    }

    /// The id and the secret of a user who may only read.
    pub fn reader() -> (String, String) {
        let reader = std::env::var(READER).unwrap();
        let (id, secret) = reader.split_once(':').unwrap();
        (id.to_owned(), secret.to_owned())
    }

    pub fn address() -> SocketAddr {
        let endpoint: Url = std::env::var("AWS_ENDPOINT_URL").unwrap().parse().unwrap();
        let addresses = endpoint.socket_addrs(|| None).unwrap();
        addresses[0]
    }
}
