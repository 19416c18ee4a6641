//! The TLS handshake of one connection, and why it failed.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::server::Acceptor;
use rustls::{AlertDescription, InvalidMessage};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::http::tls::TlsSource;
use crate::http::tls::expiry::Left;
use crate::observe::app_handshakes::AppHandshakes;
use crate::observe::callback_path::{CallbackPath, HandshakeFailure};

/// What a listener with TLS needs.
#[derive(Clone)]
pub struct Tls {
    pub source: Arc<TlsSource>,
    pub failures: Failures,
}

/// Where handshakes that failed are reported.
#[derive(Clone)]
pub enum Failures {
    /// EvoLink's, on the public listener.
    Callbacks(CallbackPath),
    /// Those of apps, on the internal listener.
    Apps(AppHandshakes),
}

impl Tls {
    /// Returns the stream, or `None` if the handshake failed, which is reported.
    pub async fn shake_hands(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        time_max: Duration,
    ) -> Option<Box<TlsStream<TcpStream>>> {
        // The name that the client asks for: known even if the rest fails.
        let mut name = None;
        let shaking = timeout(time_max, shake(&self.source, stream, &mut name)).await;
        let (reason, error) = match shaking {
            Ok(Ok(stream)) => return Some(stream),
            Ok(Err(error)) => {
                let reason = reason(&error, name.as_deref(), &self.source);
                (reason, error.to_string())
            }
            Err(_elapsed) => {
                let error = format!("not complete after {} ms", time_max.as_millis());
                (HandshakeFailure::Timeout, error)
            }
        };
        let about = match name {
            Some(name) => format!("it asked for {name}: {error}"),
            None => error,
        };
        match &self.failures {
            Failures::Callbacks(path) => path.handshake_failed(reason, peer, &about),
            Failures::Apps(apps) => apps.handshake_failed(reason, peer, &about),
        }
        None
    }
}

async fn shake(
    source: &TlsSource,
    stream: TcpStream,
    name: &mut Option<String>,
) -> io::Result<Box<TlsStream<TcpStream>>> {
    let begun = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    *name = begun.client_hello().server_name().map(str::to_owned);
    let stream = begun.into_stream(source.server_config()).await?;
    Ok(Box::new(stream))
}

/// Clients say differently clearly what they do not like: rustls and OpenSSL name the issuer and the
/// dates, Go says the same of everything.
fn reason(error: &io::Error, name: Option<&str>, source: &TlsSource) -> HandshakeFailure {
    let error = error.get_ref();
    let error = error.and_then(|error| error.downcast_ref::<rustls::Error>());
    match error {
        Some(rustls::Error::AlertReceived(alert)) => match alert {
            AlertDescription::UnknownCA => HandshakeFailure::UnknownCa,
            AlertDescription::CertificateExpired => HandshakeFailure::Expired,
            AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnrecognisedName => refused(name, source),
            AlertDescription::CloseNotify | AlertDescription::UserCanceled => {
                HandshakeFailure::Closed
            }
            _ => HandshakeFailure::Protocol,
        },
        Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
            HandshakeFailure::NotTls
        }
        Some(_) => HandshakeFailure::Protocol,
        // The connection itself failed.
        None => HandshakeFailure::Closed,
    }
}

fn refused(name: Option<&str>, source: &TlsSource) -> HandshakeFailure {
    if name.is_some_and(|name| !source.is_for(name)) {
        HandshakeFailure::WrongName
    } else if source.left() == Left::Expired {
        HandshakeFailure::Expired
    } else {
        HandshakeFailure::CertificateRefused
    }
}
