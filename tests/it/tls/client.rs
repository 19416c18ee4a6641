//! A TLS client that shows its side of a handshake.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::support::net::echo::EchoServer;

pub async fn handshake(
    server: &EchoServer,
    config: ClientConfig,
) -> std::io::Result<(rustls::ClientConnection, TcpStream)> {
    let tcp = TcpStream::connect(server.address).await?;
    let name = ServerName::try_from("localhost").expect("a name");
    let (tcp, tls) = TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await?
        .into_inner();
    Ok((tls, tcp))
}
