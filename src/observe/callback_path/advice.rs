//! What an operator can do about each reason: one sentence.

use super::{CallbackRefusal, HandshakeFailure};

impl CallbackRefusal {
    pub const fn advice(self) -> &'static str {
        match self {
            Self::WrongPath => {
                "callbacks come under the path of public.base_url, and then /callbacks/; a proxy must pass paths on unchanged. Scans of the internet do this, too"
            }
            Self::WrongMethod => {
                "callbacks are POST; a redirect by a proxy turns them into GET. Scans do this, too"
            }
            Self::NoToken => {
                "what follows /callbacks/ is no token of ours; a proxy must pass paths on unchanged"
            }
            Self::UnknownKey => {
                "the URL was made with a key that is not in callback_tokens.key_file: was the file lost or replaced? Put the old key back as another line"
            }
            Self::BadMac => {
                "the token is not as we made it: callback_tokens.key_file has another key of the same id, a proxy changes paths, or somebody guesses"
            }
            Self::Expired => "the URL is older than retention.tasks",
            Self::Encoded => {
                "the body has a Content-Encoding; a proxy in front must not compress requests"
            }
            Self::TooLarge => "raise public.max_body if EvoLink sends such bodies",
            Self::TooSlow => {
                "the body took longer than public.body_timeout: look at the network and the proxy"
            }
            Self::CutOff => {
                "the connection ended within the body: look at the network and the proxy"
            }
            Self::NoRoom => "too many bodies are in memory at once; EvoLink tries again",
            Self::TooManyUnfinished => {
                "too many requests with one token wait for their bodies; somebody may misuse that URL"
            }
            Self::NotRecorded => {
                "the store did not take them: see /readyz?verbose; EvoLink tries again for seconds only"
            }
        }
    }
}

impl HandshakeFailure {
    pub const fn advice(self) -> &'static str {
        match self {
            Self::UnknownCa => {
                "the client does not know the issuer of our certificate: put the leaf and then its intermediates into public.tls.cert_file"
            }
            Self::WrongName => "get a certificate for the host of public.base_url",
            Self::Expired => "renew the certificate; its files are read again by themselves",
            Self::CertificateRefused => {
                "the client refuses our certificate without a reason: see `evolink-receiver check`"
            }
            Self::Protocol => "the client offers nothing that we speak: TLS 1.2 or 1.3, HTTP/1.1",
            Self::NotTls => {
                "what came is not TLS: if a proxy in front ends TLS, set public.tls.mode to \"off\""
            }
            Self::Timeout => "the client did not complete it: look at the network and the proxy",
            Self::Closed => "the client closed the connection",
        }
    }
}
