//! Judging IP addresses by where they lead.
//!
//! Invariant: an IPv6 address that carries an IPv4 address (mapped, compatible, NAT64, 6to4) is judged as the IPv4
//! address, and whatever is in no block known to be public is not public.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::Host;

/// Where an address leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AddressClass {
    /// The public internet.
    Public,
    /// This machine.
    Loopback,
    /// Private, carrier-grade NAT, unique or site local.
    Private,
    /// Link local.
    LinkLocal,
    /// A cloud's metadata service: credentials for whoever can ask.
    Metadata,
    /// `0.0.0.0/8` or `::`, which many systems treat as this machine.
    Unspecified,
    /// Multicast.
    Multicast,
    /// Documentation, benchmarking, future use, tunnels and everything unknown.
    Reserved,
}

impl AddressClass {
    pub(crate) const fn refusal(self) -> &'static str {
        match self {
            Self::Public => "the policy does not allow public addresses here",
            Self::Loopback => "the policy does not allow addresses of this machine",
            Self::Private => "the policy does not allow private addresses",
            Self::LinkLocal => "link-local addresses are never allowed",
            Self::Metadata => "cloud metadata services are never allowed",
            Self::Unspecified => "the unspecified address is never allowed",
            Self::Multicast => "multicast addresses are never allowed",
            Self::Reserved => "reserved addresses are never allowed",
        }
    }
}

/// Judges an address.
#[must_use]
pub fn classify(address: IpAddr) -> AddressClass {
    match address {
        IpAddr::V4(v4) => classify_v4(v4),
        IpAddr::V6(v6) => classify_v6(v6),
    }
}

/// Judges a host without resolving it: literals, and the names that always mean one class. `None`: it must be resolved.
#[must_use]
pub fn classify_host(host: &Host<&str>) -> Option<AddressClass> {
    match host {
        Host::Ipv4(v4) => Some(classify_v4(*v4)),
        Host::Ipv6(v6) => Some(classify_v6(*v6)),
        Host::Domain(name) => {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            match name.as_str() {
                "localhost" | "localhost.localdomain" | "ip6-localhost" | "ip6-loopback" => {
                    Some(AddressClass::Loopback)
                }
                "metadata.google.internal" | "metadata.goog" | "instance-data" => {
                    Some(AddressClass::Metadata)
                }
                name if name.ends_with(".localhost") => Some(AddressClass::Loopback),
                _ => None,
            }
        }
    }
}

/// Metadata services outside link-local space, or worth naming inside it: AWS, GCP, Azure; AWS containers; Azure's
/// wire server; Alibaba; Oracle.
const METADATA_V4: [Ipv4Addr; 5] = [
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(169, 254, 170, 2),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(192, 0, 0, 192),
];

fn classify_v4(v4: Ipv4Addr) -> AddressClass {
    if METADATA_V4.contains(&v4) {
        return AddressClass::Metadata;
    }
    match v4.octets() {
        [0, ..] => AddressClass::Unspecified,
        [127, ..] => AddressClass::Loopback,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => {
            AddressClass::Private
        }
        [169, 254, ..] => AddressClass::LinkLocal,
        [224..=239, ..] => AddressClass::Multicast,
        [192, 0, 0 | 2, _]
        | [192, 88, 99, _]
        | [198, 18..=19, ..]
        | [198, 51, 100, _]
        | [203, 0, 113, _] => AddressClass::Reserved,
        [240..=255, ..] => AddressClass::Reserved,
        [1..=223, ..] => AddressClass::Public,
    }
}

fn classify_v6(v6: Ipv6Addr) -> AddressClass {
    let segments = v6.segments();
    match segments {
        [0, 0, 0, 0, 0, 0, 0, 0] => AddressClass::Unspecified,
        [0, 0, 0, 0, 0, 0, 0, 1] => AddressClass::Loopback,
        // Mapped, translated (RFC 2765), compatible, and NAT64's well-known prefix.
        [0, 0, 0, 0, 0, 0xffff | 0, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        // 6to4.
        | [0x2002, high, low, ..] => classify_v4(embedded(high, low)),
        // AWS's metadata service over IPv6.
        [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254] => AddressClass::Metadata,
        [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => AddressClass::Private,
        [0xfe80..=0xfebf, ..] => AddressClass::LinkLocal,
        [0xff00..=0xffff, ..] => AddressClass::Multicast,
        // Teredo and other protocol assignments, ORCHID, benchmarking; documentation.
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => AddressClass::Reserved,
        [0x2000..=0x3fff, ..] => AddressClass::Public,
        _ => AddressClass::Reserved,
    }
}

const fn embedded(high: u16, low: u16) -> Ipv4Addr {
    let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
    Ipv4Addr::new(a, b, c, d)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use url::Url;

    use super::*;

    fn class(text: &str) -> AddressClass {
        classify(text.parse().expect("an address"))
    }

    #[test]
    fn every_kind_of_address_is_told_apart() {
        use AddressClass::{
            LinkLocal, Loopback, Metadata, Multicast, Private, Public, Reserved, Unspecified,
        };
        for (text, expected) in [
            ("1.1.1.1", Public),
            ("127.0.0.1", Loopback),
            ("127.255.255.254", Loopback),
            ("10.0.0.1", Private),
            ("172.15.0.1", Public),
            ("172.16.0.1", Private),
            ("172.31.255.255", Private),
            ("172.32.0.1", Public),
            ("192.168.1.1", Private),
            ("100.64.0.1", Private),
            ("100.128.0.1", Public),
            ("169.254.1.1", LinkLocal),
            ("169.254.169.254", Metadata),
            ("100.100.100.200", Metadata),
            ("168.63.129.16", Metadata),
            ("192.0.0.192", Metadata),
            ("0.0.0.0", Unspecified),
            ("0.1.2.3", Unspecified),
            ("224.0.0.1", Multicast),
            ("240.0.0.1", Reserved),
            ("255.255.255.255", Reserved),
            ("198.18.0.1", Reserved),
            ("203.0.113.9", Reserved),
            ("2606:4700:4700::1111", Public),
            ("::", Unspecified),
            ("::1", Loopback),
            ("::ffff:127.0.0.1", Loopback),
            ("::ffff:169.254.169.254", Metadata),
            ("::7f00:1", Loopback),
            ("::ffff:0:10.0.0.1", Private),
            ("64:ff9b::a9fe:a9fe", Metadata),
            ("64:ff9b::101:101", Public),
            ("64:ff9b:1::1", Reserved),
            ("2002:7f00:1::", Loopback),
            ("2001::1", Reserved),
            ("2001:db8::1", Reserved),
            ("fe80::1", LinkLocal),
            ("fec0::1", Private),
            ("fd12::1", Private),
            ("fd00:ec2::254", Metadata),
            ("ff02::1", Multicast),
            ("100::1", Reserved),
            ("4000::1", Reserved),
        ] {
            assert_eq!(class(text), expected, "{text}");
        }
    }

    #[test]
    fn a_host_is_judged_however_it_is_written() {
        for (url, expected) in [
            ("http://2130706433/", Some(AddressClass::Loopback)),
            ("http://0x7f.1/", Some(AddressClass::Loopback)),
            ("http://0177.0.0.1/", Some(AddressClass::Loopback)),
            ("http://127.1/", Some(AddressClass::Loopback)),
            ("http://0xa9fea9fe/", Some(AddressClass::Metadata)),
            ("http://１２７.０.０.１/", Some(AddressClass::Loopback)),
            ("http://[::ffff:7f00:1]/", Some(AddressClass::Loopback)),
            ("http://LOCALHOST./", Some(AddressClass::Loopback)),
            ("http://a.localhost/", Some(AddressClass::Loopback)),
            (
                "http://metadata.google.internal/",
                Some(AddressClass::Metadata),
            ),
            ("http://example.com/", None),
        ] {
            let url = Url::parse(url).expect("a URL");
            assert_eq!(
                classify_host(&url.host().expect("a host")),
                expected,
                "{url}"
            );
        }
        assert!(
            Url::parse("http://[fe80::1%25eth0]/").is_err(),
            "zone ids are no part of a URL's host"
        );
        assert!(
            Url::parse("http://[fe80::1%eth0]/").is_err(),
            "zone ids are no part of a URL's host"
        );
    }

    proptest! {
        #[test]
        fn wrapping_an_ipv4_address_in_ipv6_never_changes_its_class(bits: u32) {
            let v4 = Ipv4Addr::from(bits);
            let [a, b, c, d] = v4.octets();
            let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            let expected = classify(v4.into());
            prop_assert_eq!(classify(v4.to_ipv6_mapped().into()), expected);
            prop_assert_eq!(classify(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low).into()), expected);
            prop_assert_eq!(classify(Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1).into()), expected);
        }

        #[test]
        fn what_std_knows_to_be_local_is_never_public(bits: u32) {
            let v4 = Ipv4Addr::from(bits);
            let local = v4.is_loopback() || v4.is_private() || v4.is_link_local() || v4.is_multicast()
                || v4.is_broadcast() || v4.is_documentation() || v4.is_unspecified();
            prop_assert!(!(local && classify(v4.into()) == AddressClass::Public));
        }

        #[test]
        fn only_global_unicast_and_nat64_are_public_in_ipv6(bits: u128) {
            let v6 = Ipv6Addr::from(bits);
            if classify(v6.into()) == AddressClass::Public {
                let first = v6.segments()[0];
                prop_assert!((0x2000..=0x3fff).contains(&first) || first == 0x64 || first == 0);
            }
        }
    }
}
