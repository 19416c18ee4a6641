//! `check` of certificates.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use evolink_receiver::clock::Clock;
use evolink_receiver::config::TlsMode;
use evolink_receiver::domain::timestamp::Timestamp;
use evolink_receiver::http::tls::TlsSource;

use super::place::Place;
use crate::support::net::certificates::Pem;

const DAY: Duration = Duration::from_hours(24);

#[tokio::test]
async fn a_certificate_is_announced_to_expire_and_a_wrong_one_is_an_error() {
    let mut place = Place::new();
    assert_eq!(
        place.finding("public.tls.mode").await,
        "ok      public.tls.mode: off: a proxy ends TLS"
    );
    place.config.public.tls.mode = TlsMode::Files;
    let (cert, key) = (place.path("tls.crt"), place.path("tls.key"));
    place.config.public.tls.cert_file = Some(cert.clone());
    place.config.public.tls.key_file = Some(key.clone());
    let absent = place.certificate().await;
    assert!(
        absent.starts_with("error   public.tls: could not read tls.crt: "),
        "{absent}"
    );

    let pem = Pem::valid(2020, 2030);
    fs::write(&cert, &pem.cert).unwrap();
    fs::write(&key, &pem.key).unwrap();
    let end: jiff::Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
    let end = Timestamp::from_millis(end.as_millisecond());
    for (days, says) in [
        (30, "ok      public.tls: tls.crt: valid until 2030"),
        (
            20,
            "warning public.tls: tls.crt: expires within 21 days, at 2030",
        ),
        (
            6,
            "warning public.tls: tls.crt: expires within 7 days, at 2030",
        ),
        (
            1,
            "warning public.tls: tls.crt: expires within a day, at 2030",
        ),
    ] {
        place.clock = Clock::manual(end.before(DAY * days));
        let finding = place.certificate().await;
        assert!(finding.starts_with(says), "{days}: {finding}");
    }
    place.clock = Clock::manual(end.after(DAY));
    let expired = place.certificate().await;
    assert!(
        expired.starts_with("error   public.tls: the certificate in tls.crt expired"),
        "{expired}"
    );

    place.clock = Clock::System;
    fs::write(&key, Pem::good().key).unwrap();
    let other = place.certificate().await;
    assert!(
        other.starts_with("error   public.tls: the key in tls.key does not belong"),
        "{other}"
    );
}

#[tokio::test]
async fn a_certificate_for_another_name_than_evolink_calls_is_a_warning() {
    let mut place = Place::new();
    let pem = Pem::good();
    let (cert, key) = (place.path("tls.crt"), place.path("tls.key"));
    fs::write(&cert, &pem.cert).unwrap();
    fs::write(&key, &pem.key).unwrap();
    place.config.public.tls.mode = TlsMode::Files;
    place.config.public.tls.cert_file = Some(cert);
    place.config.public.tls.key_file = Some(key);
    let warning =
        "warning public.tls: tls.crt: is not for hooks.example.com, the host of public.base_url: ";
    let finding = place.certificate().await;
    assert!(finding.contains(warning), "{finding}");
    place.config.public.base_url = "https://localhost/in".parse().unwrap();
    let finding = place.certificate().await;
    assert!(
        finding.starts_with("ok ") && !finding.contains("is not for"),
        "{finding}"
    );
}

#[tokio::test]
async fn a_chain_that_evolink_refuses_is_named_with_what_to_do() {
    let mut place = Place::new();
    let (cert, key) = (place.path("tls.crt"), place.path("tls.key"));
    place.config.public.base_url = "https://localhost".parse().unwrap();
    place.config.public.tls.mode = TlsMode::Files;
    place.config.public.tls.cert_file = Some(cert.clone());
    place.config.public.tls.key_file = Some(key.clone());
    let [leaf, intermediate, root] = Pem::chain("localhost");
    let of = |parts: &[&Pem]| parts.iter().map(|pem| &*pem.cert).collect::<String>();
    let authority = Pem::of_ca();
    let alone = Pem::good();
    let one = "holds one certificate: append that of its issuer";
    let order = "certificate 1 is not followed by that of its issuer";
    for (chain, of_key, says) in [
        (of(&[&leaf, &intermediate]), &leaf, ""),
        (of(&[&leaf, &intermediate, &root]), &leaf, ""),
        (of(&[&leaf]), &leaf, one),
        (of(&[&leaf, &root]), &leaf, order),
        (of(&[&leaf, &root, &intermediate]), &leaf, order),
        (
            of(&[&leaf, &intermediate, &leaf]),
            &leaf,
            "certificate 2 is not followed",
        ),
        (
            of(&[&authority]),
            &authority,
            "begins with the certificate of an authority",
        ),
        (
            of(&[&intermediate, &leaf]),
            &intermediate,
            "begins with the certificate of an authority",
        ),
        (of(&[&alone]), &alone, "is signed by itself"),
    ] {
        fs::write(&cert, chain).unwrap();
        fs::write(&key, &of_key.key).unwrap();
        let finding = place.certificate().await;
        let mut lines = finding.lines();
        assert!(lines.next().unwrap().starts_with("ok  "), "{finding}");
        let warning = lines.next().unwrap_or_default();
        assert_eq!(says.is_empty(), warning.is_empty(), "{finding}");
        let start = format!("warning public.tls: tls.crt: {says}");
        assert!(says.is_empty() || warning.starts_with(&start), "{finding}");
    }
}

#[tokio::test]
async fn a_private_key_that_others_may_read_is_a_warning() {
    let mut place = Place::new();
    let pem = Pem::good();
    let (cert, key) = (place.path("tls.crt"), place.path("tls.key"));
    fs::write(&cert, &pem.cert).unwrap();
    fs::write(&key, &pem.key).unwrap();
    place.config.public.tls.mode = TlsMode::Files;
    place.config.public.tls.cert_file = Some(cert);
    place.config.public.tls.key_file = Some(key.clone());
    for (mode, says) in [
        (
            0o644,
            "warning public.tls.key_file: tls.key: others may read it: mode 644",
        ),
        (0o600, ""),
    ] {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(place.finding("public.tls.key_file").await, says);
    }
}

#[tokio::test]
async fn a_self_signed_certificate_is_there_or_will_be_made() {
    let mut place = Place::new();
    place.config.public.tls.mode = TlsMode::SelfSigned;
    let key = "public.tls.self_signed_dir";
    let made = format!("ok      {key}: self-signed.crt: will be made");
    assert_eq!(place.finding(key).await, made);
    TlsSource::self_signed_in(place.folder.path(), &["localhost".into()], Clock::System).unwrap();
    let there = place.certificate().await;
    assert!(
        there.starts_with("ok      public.tls: self-signed.crt: valid until "),
        "{there}"
    );
    fs::write(place.path("self-signed.crt"), "damaged").unwrap();
    let anew = place.finding(key).await;
    assert!(
        anew.starts_with("warning ") && anew.ends_with("; the start makes a new pair"),
        "{anew}"
    );
}
