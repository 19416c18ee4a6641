//! Classifies addresses by who may be called there. Follows IANA's registries of special-purpose
//! addresses, and the cloud providers' documents for the addresses of their metadata services.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Metadata services outside the link-local range, which most clouds use: Alibaba, Oracle and
/// Azure. On IPv6: Amazon, Google and Scaleway.
const METADATA_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(192, 0, 0, 192),
    Ipv4Addr::new(168, 63, 129, 16),
];
const METADATA_V6: [Ipv6Addr; 3] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A public address on the internet.
    Public,
    /// This machine.
    Loopback,
    /// A private network, such as the operator's own.
    Private,
    /// Any other address: for documentation, tests, protocols or future use.
    Reserved,
    /// An address that is never called.
    Never(Never),
}

/// The kinds of addresses that are never called, whatever a list allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Never {
    Unspecified,
    LinkLocal,
    Metadata,
    Multicast,
    Broadcast,
}

impl Class {
    /// Classifies `address`. An IPv4 address inside an IPv6 address is classified as itself,
    /// because a gateway would send the request there.
    pub fn of(address: IpAddr) -> Self {
        match meant(address) {
            IpAddr::V4(address) => of_v4(address),
            IpAddr::V6(address) => of_v6(address),
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Public => "a public address",
            Self::Loopback => "a loopback address",
            Self::Private => "a private address",
            Self::Reserved => "a reserved address",
            Self::Never(Never::Unspecified) => "the unspecified address",
            Self::Never(Never::LinkLocal) => "a link-local address",
            Self::Never(Never::Metadata) => "a cloud's metadata address",
            Self::Never(Never::Multicast) => "a multicast address",
            Self::Never(Never::Broadcast) => "the broadcast address",
        })
    }
}

/// Returns the IPv4 address if the IPv6 address is only another notation for one.
pub(super) fn meant(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else {
        return address;
    };
    match v6.segments() {
        // IPv4-mapped, NAT64 with its well-known prefix, and 6to4.
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => inside(high, low).into(),
        _ => address,
    }
}

fn of_v4(address: Ipv4Addr) -> Class {
    if METADATA_V4.contains(&address) || address == Ipv4Addr::new(169, 254, 169, 254) {
        return Class::Never(Never::Metadata);
    }
    match address.octets() {
        [0, ..] => Class::Never(Never::Unspecified),
        [127, ..] => Class::Loopback,
        [169, 254, ..] => Class::Never(Never::LinkLocal),
        [224..=239, ..] => Class::Never(Never::Multicast),
        [255, 255, 255, 255] => Class::Never(Never::Broadcast),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => Class::Private,
        // Protocol assignments, documentation (three ranges), the former 6to4 relay, benchmarks,
        // and addresses for future use.
        [192, 0, 0 | 2, _]
        | [198, 51, 100, _]
        | [203, 0, 113, _]
        | [192, 88, 99, _]
        | [198, 18 | 19, ..]
        | [240..=255, ..] => Class::Reserved,
        _ => Class::Public,
    }
}

fn of_v6(address: Ipv6Addr) -> Class {
    if address.is_unspecified() {
        return Class::Never(Never::Unspecified);
    }
    if address.is_loopback() {
        return Class::Loopback;
    }
    if METADATA_V6.contains(&address) {
        return Class::Never(Never::Metadata);
    }
    match address.segments() {
        // NAT64 with a local prefix, IPv4-translated, and IPv4-compatible addresses. They are not
        // public addresses, and may lead to a forbidden one.
        [0x64, 0xff9b, 1, .., high, low] | [0, 0, 0, 0, 0xffff | 0, 0, high, low] => {
            match of_v4(inside(high, low)) {
                Class::Public => Class::Reserved,
                class => class,
            }
        }
        [0xff00..=0xffff, ..] => Class::Never(Never::Multicast),
        [0xfe80..=0xfebf, ..] => Class::Never(Never::LinkLocal),
        [0xfc00..=0xfdff, ..] => Class::Private,
        // Protocol assignments (among them Teredo) and documentation (two ranges). They lie within
        // the range that is otherwise public.
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Class::Reserved,
        [0x2000..=0x3fff, ..] => Class::Public,
        _ => Class::Reserved,
    }
}

fn inside(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))
}
