//! Certificates: which pairs are accepted, and which ones are made.

use std::fs::{self};
use std::sync::Arc;

use evolink_receiver::clock::Clock;
use evolink_receiver::domain::timestamp::Timestamp;
use evolink_receiver::http::tls::TlsSource;
use evolink_receiver::http::tls::expiry::Left;
use tempfile::TempDir;

use super::client::handshake;
use crate::support::net::certificates::{Files, Pem, serve_tls};
use crate::support::net::raw::RawClient;
use crate::support::net::tls::client_config;

#[test]
fn a_bad_pair_is_refused_with_one_line_that_names_the_file() {
    let (good, other) = (Pem::good(), Pem::good());
    let half = |text: &str| text[..text.len() / 2].to_owned();
    let cases = [
        (
            Pem {
                cert: String::new(),
                key: good.key.clone(),
            },
            "tls.crt holds no certificate in PEM form",
        ),
        (
            Pem {
                cert: "hello".into(),
                key: good.key.clone(),
            },
            "tls.crt holds no certificate in PEM form",
        ),
        (
            Pem {
                cert: half(&good.cert),
                key: good.key.clone(),
            },
            "tls.crt holds a certificate that cannot be used",
        ),
        (
            Pem {
                cert: not_a_certificate(),
                key: good.key.clone(),
            },
            "tls.crt holds a certificate that cannot be used",
        ),
        (
            Pem {
                cert: good.key.clone(),
                key: good.cert.clone(),
            },
            "tls.crt holds no certificate in PEM form",
        ),
        (
            Pem {
                cert: good.cert.clone(),
                key: String::new(),
            },
            "tls.key holds no private key in PEM form",
        ),
        (
            Pem {
                cert: good.cert.clone(),
                key: half(&good.key),
            },
            "tls.key holds a private key that cannot be used",
        ),
        (
            Pem {
                cert: good.cert.clone(),
                key: other.key.clone(),
            },
            "tls.key does not belong to the first certificate in",
        ),
        (
            Pem {
                cert: other.cert.clone() + &good.cert,
                key: good.key.clone(),
            },
            "does not belong to the first certificate",
        ),
    ];
    for (pem, expected) in cases {
        let error = Files::with(&pem)
            .source()
            .err()
            .expect(expected)
            .to_string();
        assert!(
            error.contains(expected),
            "{error:?} should contain {expected:?}"
        );
        assert!(!error.contains('\n'), "{error:?} is one line");
        let quoted = pem.key.lines().skip(1).any(|line| error.contains(line));
        assert!(!quoted, "{error:?} quotes the key");
    }
    let files = Files::with(&good);
    fs::remove_file(&files.key).expect("removed");
    let error = files.source().err().expect("no key file").to_string();
    assert!(
        error.starts_with("could not read ") && error.contains("tls.key"),
        "{error:?}"
    );
}

#[test]
fn a_pair_outside_its_dates_is_served_and_known_to_be() {
    for (pem, left) in [
        (Pem::valid(2020, 2021), Left::Expired),
        (Pem::valid(2090, 2099), Left::NotYet),
        (Pem::good(), Left::Enough),
    ] {
        let source = Files::with(&pem).source().expect("a pair");
        assert_eq!(source.left(), left);
    }
}

fn not_a_certificate() -> String {
    "-----BEGIN CERTIFICATE-----\naGVsbG8gd29ybGQ=\n-----END CERTIFICATE-----\n".to_owned()
}

#[tokio::test]
async fn a_chain_is_served_whole_and_its_expiry_is_known() {
    let (good, other) = (Pem::good(), Pem::good());
    let files = Files::with(&Pem {
        cert: good.cert.clone() + &other.cert,
        key: good.key.clone(),
    });
    let source = Arc::new(files.source().expect("a good pair"));
    assert_eq!(source.not_after().to_string(), "2099-01-01T00:00:00Z");
    assert!(source.certificate_pem().starts_with(&good.cert));
    let server = serve_tls(&source).await;
    let (tls, _) = handshake(&server, client_config(&good.cert))
        .await
        .expect("a handshake");
    assert_eq!(tls.peer_certificates().expect("sent").len(), 2);
}

#[test]
fn a_certificate_is_judged_by_the_systems_clock_and_not_by_the_time_of_the_process() {
    let of_2020 = Pem::valid(2020, 2021);
    let at = |year: i16| {
        let date = jiff::civil::date(year, 6, 1).to_zoned(jiff::tz::TimeZone::UTC);
        Timestamp::from_millis(date.unwrap().timestamp().as_millisecond())
    };
    let dir = tempfile::tempdir().expect("a folder");
    let (cert, key) = (dir.path().join("tls.crt"), dir.path().join("tls.key"));
    std::fs::write(&cert, &of_2020.cert).expect("written");
    std::fs::write(&key, &of_2020.key).expect("written");
    for (process, wall, is_over) in [(2020, 2022, true), (2022, 2020, false)] {
        let clock = Clock::manual(at(process));
        clock.set_wall(at(wall));
        let served = TlsSource::from_files(&cert, &key, clock).expect("a pair");
        let is_expired = served.left() == Left::Expired;
        assert_eq!(is_expired, is_over, "{process} {wall}");
    }
}

#[tokio::test]
async fn a_self_signed_certificate_names_what_it_was_asked_for() {
    let source = Arc::new(
        TlsSource::self_signed(&["localhost".into(), "127.0.0.1".into()], Clock::System)
            .expect("a certificate"),
    );
    let server = serve_tls(&source).await;
    let pem = source.certificate_pem();
    for name in ["localhost", "127.0.0.1"] {
        RawClient::connect_tls(server.address, &pem, name).await;
    }
    let refused =
        RawClient::try_connect_tls(server.address, client_config(&pem), "other.example").await;
    assert!(refused.is_err());
    assert!(TlsSource::self_signed(&["not a näme".into()], Clock::System).is_err());
}

#[test]
fn a_kept_self_signed_pair_is_reused_until_it_is_unusable_or_for_other_names() {
    use std::os::unix::fs::PermissionsExt;
    let dir = TempDir::new().expect("a folder");
    let names = ["localhost".to_owned(), "::1".to_owned()];
    let make = |names: &[String]| {
        TlsSource::self_signed_in(dir.path(), names, Clock::System).expect("a certificate")
    };
    let first = make(&names).certificate_pem();
    let (cert, key) = (
        dir.path().join("self-signed.crt"),
        dir.path().join("self-signed.key"),
    );
    assert_eq!(
        fs::metadata(&key).expect("kept").permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(fs::read_to_string(&cert).expect("kept"), first);
    assert_eq!(make(&names).certificate_pem(), first);
    assert_eq!(
        make(&names[..1]).certificate_pem(),
        first,
        "it covers fewer names too"
    );

    let second = make(&["hooks.example.com".to_owned()]).certificate_pem();
    assert_ne!(second, first);
    fs::write(&key, "damaged").expect("written");
    let names = ["hooks.example.com".to_owned()];
    let third = make(&names).certificate_pem();
    assert_ne!(third, second);
    let old = Pem::valid(2020, 2021);
    fs::write(&cert, old.cert).expect("written");
    fs::write(&key, old.key).expect("written");
    assert_ne!(make(&names).certificate_pem(), third);
    assert_eq!(
        fs::read_dir(dir.path()).expect("a folder").count(),
        2,
        "nothing is left behind"
    );
}

#[test]
fn a_wildcard_covers_one_label_and_an_address_only_itself() {
    let names = ["*.acme.io".to_owned(), "10.0.0.1".to_owned()];
    let source = TlsSource::self_signed(&names, Clock::System).unwrap();
    for (host, is_for) in [
        ("hooks.acme.io", true),
        ("Hooks.ACME.io", true),
        ("10.0.0.1", true),
        ("acme.io", false),
        ("a.hooks.acme.io", false),
        ("hooks.example.io", false),
        ("10.0.0.2", false),
    ] {
        assert_eq!(source.is_for(host), is_for, "{host}");
    }
}
