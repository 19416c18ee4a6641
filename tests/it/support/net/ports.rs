//! Free ports of this machine.

/// Returns a port for a listener that is started later. It is below the ports that the system
/// assigns to clients; one of those could be taken by another test's connection before the listener
/// starts.
pub fn free_port() -> u16 {
    (0..1000)
        .map(|_| fastrand::u16(10_000..30_000))
        .find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .unwrap()
}
