//! Caps on the connections of a listener: one in total and one per address.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use super::limits::Limits;
use crate::http::permits::{Permit, Permits};

#[derive(Debug)]
pub struct Admission(Arc<Permits<IpAddr>>);

/// The permit for one connection. Dropping it frees the slot.
pub type ConnectionPermit = Permit<IpAddr>;

impl Admission {
    pub fn new(limits: &Limits) -> Self {
        let per_address_max = limits.connections_per_address_max;
        Self(Permits::new(limits.connections_max, per_address_max))
    }

    /// Returns `None` if the listener, or the budget of this address, is full.
    pub fn try_admit(&self, peer: IpAddr) -> Option<ConnectionPermit> {
        self.0.take(Some(counted_address(peer)))
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

    fn admission(connections_max: usize, connections_per_address_max: usize) -> Admission {
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
}
