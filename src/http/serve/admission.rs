//! Caps on the connections of a listener: one in total and one per address. A `ConnectionPermit` is
//! the permit for one connection. Dropping it frees the slot, so no exit path can leak one.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use super::limits::Limits;

#[derive(Debug)]
pub struct Admission {
    connections_max: usize,
    per_address_max: usize,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    taken: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// The permit for one connection.
#[derive(Debug)]
pub struct ConnectionPermit {
    admission: Arc<Admission>,
    address: IpAddr,
}

impl Admission {
    pub fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            connections_max: limits.connections_max,
            per_address_max: limits.connections_per_address_max,
            counts: Mutex::default(),
        })
    }

    /// Returns `None` if the listener, or the budget of this address, is full.
    pub fn try_admit(self: &Arc<Self>, peer: IpAddr) -> Option<ConnectionPermit> {
        let address = counted_address(peer);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let of_address = counts.by_address.get(&address).copied().unwrap_or(0);
        if counts.taken >= self.connections_max || of_address >= self.per_address_max {
            return None;
        }
        counts.taken += 1;
        counts.by_address.insert(address, of_address + 1);
        Some(ConnectionPermit {
            admission: Arc::clone(self),
            address,
        })
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut counts = self
            .admission
            .counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        counts.taken -= 1;
        if let Some(of_address) = counts.by_address.get_mut(&self.address) {
            *of_address -= 1;
            if *of_address == 0 {
                counts.by_address.remove(&self.address);
            }
        }
    }
}

/// The key under which a peer is counted: the /64 network of an IPv6 address, because one client
/// usually has all of it. An IPv4-mapped IPv6 address counts as its IPv4 address.
fn counted_address(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(connections_max: usize, connections_per_address_max: usize) -> Arc<Admission> {
        Admission::new(&Limits {
            connections_max,
            connections_per_address_max,
            ..Limits::public()
        })
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn connections_are_counted_in_total_and_per_address_and_come_back() {
        let admission = admission(3, 2);
        let first = admission.try_admit(address("192.0.2.1")).expect("a permit");
        let _second = admission.try_admit(address("192.0.2.1")).expect("a permit");
        assert!(
            admission.try_admit(address("192.0.2.1")).is_none(),
            "two per address"
        );
        let _third = admission.try_admit(address("192.0.2.2")).expect("a permit");
        assert!(
            admission.try_admit(address("192.0.2.3")).is_none(),
            "three in total"
        );
        drop(first);
        let _again = admission.try_admit(address("192.0.2.3")).expect("a permit");
    }

    #[test]
    fn an_ipv6_network_and_a_mapped_ipv4_address_count_as_one() {
        let admission = admission(9, 1);
        let _v6 = admission
            .try_admit(address("2001:db8:1:2:3::4"))
            .expect("a permit");
        assert!(
            admission
                .try_admit(address("2001:db8:1:2:ffff::1"))
                .is_none()
        );
        let _other = admission
            .try_admit(address("2001:db8:1:3::4"))
            .expect("a permit");
        let _v4 = admission.try_admit(address("192.0.2.1")).expect("a permit");
        assert!(admission.try_admit(address("::ffff:192.0.2.1")).is_none());
    }

    #[test]
    fn no_address_is_remembered_without_a_connection() {
        let admission = admission(9, 9);
        drop(admission.try_admit(address("192.0.2.1")));
        assert!(
            admission
                .counts
                .lock()
                .expect("not poisoned")
                .by_address
                .is_empty()
        );
    }
}
