//! Checks the internal listener's TLS, and whether the URL of the listener agrees with it.

use url::Url;

use crate::config::findings::Found;
use crate::config::{Internal, Level, TlsMode};

pub(super) fn check(found: &mut Found, internal: &Internal) {
    let tls = &internal.tls;
    match tls.mode {
        TlsMode::Files => {
            for (key, file) in [
                ("internal.tls.cert_file", &tls.cert_file),
                ("internal.tls.key_file", &tls.key_file),
            ] {
                let message = "missing: internal.tls.mode \"files\" needs it";
                found.error_unless(file.is_some(), key, message);
            }
        }
        TlsMode::Acme => found.add(
            Level::Error,
            "internal.tls.mode",
            "\"acme\" is for the public listener only: an authority proves that a name is ours over the internet, which does not reach this listener; use files or self-signed",
        ),
        TlsMode::SelfSigned => {}
        TlsMode::Off => {
            let file = tls.cert_file.as_ref().or(tls.key_file.as_ref());
            found.warn_if(
                file.is_some(),
                "internal.tls.mode",
                "is \"off\", so cert_file and key_file are not used; \"files\" uses them",
            );
        }
    }
    let scheme = internal.base_url.as_ref().map(Url::scheme);
    found.warn_if(
        tls.mode != TlsMode::Off && scheme == Some("http"),
        "internal.base_url",
        "is http, but this listener speaks TLS: URLs that we hand out work only through a proxy that calls us over https",
    );
}
