//! The form of a server's URL. One that is misspelled is refused before any part of it is shown,
//! because a part of the password may be where the host or the database should be.

use std::net::IpAddr;

use url::Url;

const NO_HOST: &str = "must name a host: postgres://USER@HOST/DATABASE";

const MISPLACED: &str = "has a '@' behind the host: write '/', '?', '#', '&' and '@' in a user or password as %2F, %3F, %23, %26 and %40";

const ODD_NAME: &str = "has '@', ':' or '/' in the name of the database or of the host, where a part of the password may be: \
     such names are not supported";

/// Returns what is wrong with the form of `url`. Quotes no part of it.
pub fn refusal(url: &str) -> Option<&'static str> {
    let rest = ["postgres://", "postgresql://"]
        .iter()
        .find_map(|scheme| url.strip_prefix(scheme));
    let Some(rest) = rest else {
        return Some(NO_HOST);
    };
    let host_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (path, query) = rest[host_end..]
        .split_once('?')
        .unwrap_or((&rest[host_end..], ""));
    // Values may contain '@', as the users of some clouds do. They are never shown.
    let mut names = query
        .split('&')
        .filter_map(|parameter| parameter.split('=').next());
    if path.contains('@') || names.any(|name| name.contains('@')) {
        return Some(MISPLACED);
    }
    // The driver reports a URL that cannot be parsed, and quotes nothing.
    let url = Url::parse(url).ok()?;
    let is_odd = is_odd_path(url.path())
        || url.host_str().is_some_and(is_odd_host)
        || url.query_pairs().any(|(name, value)| match &*name {
            "dbname" => value.contains(['@', ':', '/']),
            "host" => is_odd_host(&value),
            _ => false,
        });
    is_odd.then_some(ODD_NAME)
}

fn is_odd_path(path: &str) -> bool {
    let database = path.trim_start_matches('/').to_ascii_lowercase();
    ["/", ":", "%2f", "%3a", "%40"]
        .iter()
        .any(|odd| database.contains(odd))
}

/// `host`: a name, an address, or the folder of a socket, possibly percent-encoded.
fn is_odd_host(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    let is_address = host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    !is_address
        && ["@", ":", "%40", "%3a"]
            .iter()
            .any(|odd| host.contains(odd))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_urls_are_accepted() {
        for url in [
            "postgres://u@db/x",
            "postgresql://u:p%40ss%2F@db.internal:5432/x?sslmode=verify-full&sslrootcert=/run/ca.pem",
            "postgres://u@[::1]:5432/x",
            "postgres:///x?host=/var/run/postgresql",
            "postgres://u@%2Frun%2Fpostgresql/x",
            "postgres://u@db?dbname=x&user=u@tenant&host=::1",
            "postgres://db",
        ] {
            assert_eq!(refusal(url), None, "{url}");
        }
    }

    #[test]
    fn a_password_in_a_wrong_place_is_refused() {
        for url in [
            "postgres:u:p@h/d",
            "postgres:/u:p@h/d",
            "postgres:///u:p@h/d?host=/tmp",
            "postgres:////u:p%40h/d?host=/tmp",
            "postgres://u:12/p@h/d",
            "postgres://u:12?p@h/d",
            "postgres://u:12?p&b@h/d",
            "postgres://u:12#p@h/d",
            "postgres://u@h/d?dbname=u:p",
            "postgres:///d?host=u:p@h",
            "postgres://u@h/u%3Ap",
        ] {
            assert!(refusal(url).is_some(), "{url}");
        }
    }
}
