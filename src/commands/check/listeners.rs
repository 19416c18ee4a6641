//! Checks whether the addresses of the listeners are free, by the kernel's list of sockets. Binding
//! one, if only for an instant, could turn away a service that is just starting.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::found;
use crate::config::{Config, Finding, Level};

/// The state of a listening socket in the kernel's list.
const LISTEN: &str = "0A";

/// Returns a warning for each address in use. It is no error, because the service itself may run.
pub(super) fn listeners(config: &Config) -> Vec<Finding> {
    let taken = listening();
    let public = (config.public.has_callbacks()).then_some(("public.listen", config.public.listen));
    let internal = ("internal.listen", config.internal.listen);
    let wanted = public.into_iter().chain([internal]);
    // Port 0 makes the system choose a port that is free.
    let wanted = wanted.filter(|(_, listen)| listen.port() != 0);
    let in_use = wanted.filter(|(_, listen)| taken.iter().any(|taken| collide(*taken, *listen)));
    in_use
        .map(|(key, listen)| {
            let message = format!(
                "{listen}: in use by another process; it may be the running service itself"
            );
            found(Level::Warning, key, message)
        })
        .collect()
}

/// Returns the addresses at which processes listen. Empty where the system has no such list.
fn listening() -> Vec<SocketAddr> {
    let lists = ["/proc/net/tcp", "/proc/net/tcp6"];
    let lists = lists.map(|list| fs::read_to_string(list).unwrap_or_default());
    let lines = lists.iter().flat_map(|list| list.lines());
    lines.filter_map(listener).collect()
}

/// Reads a line such as `0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 …`.
fn listener(line: &str) -> Option<SocketAddr> {
    let mut words = line.split_whitespace().skip(1);
    let (local, state) = (words.next()?, words.nth(1)?);
    if state != LISTEN {
        return None;
    }
    let (address, port) = local.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    // Words of 32 bits in the order of this machine.
    let word = |at: usize| {
        let word = address.get(at * 8..at * 8 + 8)?;
        Some(u32::from_str_radix(word, 16).ok()?.to_ne_bytes())
    };
    let ip = if address.len() == 8 {
        IpAddr::V4(Ipv4Addr::from(word(0)?))
    } else {
        let words = [word(0)?, word(1)?, word(2)?, word(3)?];
        let bytes: [u8; 16] = words.concat().try_into().ok()?;
        IpAddr::V6(Ipv6Addr::from(bytes))
    };
    Some(SocketAddr::new(ip, port))
}

/// Whether the second address cannot be listened at because of the first.
fn collide(taken: SocketAddr, wanted: SocketAddr) -> bool {
    let (one, other) = (taken.ip().to_canonical(), wanted.ip().to_canonical());
    let covers = |wide: IpAddr, narrow: IpAddr| {
        // The unspecified IPv6 address usually includes all of IPv4.
        wide.is_unspecified() && (wide.is_ipv6() || narrow.is_ipv4())
    };
    taken.port() == wanted.port() && (one == other || covers(one, other) || covers(other, one))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_read_from_the_kernels_list() {
        let listens = |line: &str| listener(line).map(|address| address.to_string());
        let four = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1";
        let six = "   1: 00000000000000000000000001000000:20FB 00000000000000000000000000000000:0000 0A 0:0 00:0 0";
        // The list is in the order of the machine.
        if cfg!(target_endian = "little") {
            assert_eq!(listens(four).as_deref(), Some("127.0.0.1:8080"));
            assert_eq!(listens(six).as_deref(), Some("[::1]:8443"));
        }
        assert_eq!(listens(&four.replace(" 0A ", " 01 ")), None, "connected");
        for other in [
            "  sl  local_address rem_address   st tx_queue",
            "",
            "0: x 0 0A",
        ] {
            assert_eq!(listens(other), None, "{other}");
        }
    }

    #[test]
    fn an_unspecified_address_collides_with_those_of_its_kind() {
        let are =
            |taken: &str, wanted: &str| collide(taken.parse().unwrap(), wanted.parse().unwrap());
        assert!(are("127.0.0.1:80", "127.0.0.1:80"));
        assert!(!are("127.0.0.1:80", "127.0.0.1:81"));
        assert!(!are("127.0.0.1:80", "127.0.0.2:80"));
        assert!(are("0.0.0.0:80", "127.0.0.1:80") && are("127.0.0.1:80", "0.0.0.0:80"));
        assert!(are("[::]:80", "127.0.0.1:80"));
        assert!(!are("0.0.0.0:80", "[::1]:80"));
    }
}
