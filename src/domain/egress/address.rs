//! What an address is to whoever would call it. After IANA's registries of special addresses, and the clouds' own documents for
//! where their metadata services are.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Outside of the link-local range, where most clouds have theirs: Alibaba, Oracle, Azure; and on IPv6 Amazon, Google, Scaleway.
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
    /// Anyone on the internet may have it.
    Public,
    /// This machine.
    Loopback,
    /// A network of the operator's own.
    Private,
    /// None of these: for documentation, tests, protocols, or the future.
    Reserved,
    /// Whoever asks.
    Never(Never),
}

/// What nobody is sent to, whatever a list says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Never {
    Unspecified,
    LinkLocal,
    Metadata,
    Multicast,
    Broadcast,
}

impl Class {
    /// An IPv4 address inside an IPv6 address is judged as itself: it is where a gateway would send us.
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

/// The IPv4 address where an IPv6 address is only another way to say it.
pub(super) fn meant(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else {
        return address;
    };
    match v6.segments() {
        // Mapped; NAT64 by its well-known prefix; 6to4.
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
        // Protocols, documentation (three), the old relay of 6to4, benchmarks, and what may come one day.
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
        // NAT64 by a local prefix, translated, compatible: nobody's public address, and perhaps a way to a worse one.
        [0x64, 0xff9b, 1, .., high, low] | [0, 0, 0, 0, 0xffff | 0, 0, high, low] => {
            match of_v4(inside(high, low)) {
                Class::Public => Class::Reserved,
                class => class,
            }
        }
        [0xff00..=0xffff, ..] => Class::Never(Never::Multicast),
        [0xfe80..=0xfebf, ..] => Class::Never(Never::LinkLocal),
        [0xfc00..=0xfdff, ..] => Class::Private,
        // Protocols (Teredo among them) and documentation (two), all within what is public otherwise.
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Class::Reserved,
        [0x2000..=0x3fff, ..] => Class::Public,
        _ => Class::Reserved,
    }
}

fn inside(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))
}
