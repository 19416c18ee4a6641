//! Checks where tasks are kept: in a file or on a server.

use std::net::IpAddr;

use url::Url;

use crate::config::findings::Found;
use crate::config::{Level, StoreConfig};

pub(super) fn store(found: &mut Found, store: &StoreConfig) {
    let (key, url) = ("store.url", &store.url);
    if store.is_postgres() {
        return postgres(found, store);
    }
    found.error_unless(
        store.password_file.is_none(),
        "store.password_file",
        "is for postgres:// only",
    );
    let file = url.strip_prefix("sqlite:").map(|rest| {
        let rest = rest.split('?').next().unwrap_or(rest);
        rest.strip_prefix("//").unwrap_or(rest)
    });
    let is_file = file.is_some_and(|file| !file.is_empty() && !file.contains(":memory:"));
    found.error_unless(
        is_file,
        key,
        "must be sqlite: and the path of a file, as in \"sqlite:data/receiver.db\", or postgres://USER@HOST/DATABASE",
    );
}

fn postgres(found: &mut Found, store: &StoreConfig) {
    let key = "store.url";
    let Ok(url) = Url::parse(&store.url) else {
        return found.add(Level::Error, key, "must be postgres://USER@HOST/DATABASE");
    };
    let option = |name| url.query_pairs().find(|(key, _)| key == name);
    let is_socket = option("host").is_some();
    let host = url.host_str().unwrap_or_default();
    let is_local = is_socket
        || host == "localhost"
        || host
            .trim_matches(['[', ']'])
            .parse()
            .is_ok_and(|ip: IpAddr| ip.is_loopback());
    found.error_unless(
        url.has_host() || is_socket,
        key,
        "must name a host: postgres://USER@HOST/DATABASE",
    );
    found.error_unless(
        option("password").is_none(),
        key,
        "must not have a password after '?': it would be shown; use store.password_file",
    );
    found.error_unless(
        store.password_file.is_none() || url.password().is_none(),
        "store.password_file",
        "is set together with a password in store.url; keep one of them",
    );
    let is_verified = option("sslmode").is_some_and(|(_, mode)| mode == "verify-full");
    found.warn_if(
        !is_verified && !is_local,
        key,
        "does not check who the server is: with sslmode=verify-full and sslrootcert=FILE nobody can stand in for it",
    );
}
