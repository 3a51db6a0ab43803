//! The field names that the proxy itself looks for, as numbers, and sets of them.

use http::header::HeaderName;

macro_rules! names {
    ($($name:ident $text:literal)*) => {
        /// A name that the proxy itself looks for.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub(crate) enum Name { $($name),*, #[doc = "Any name that nobody looks for."] Other }

        impl Name {
            const TEXTS: &'static [(&'static str, Name)] = &[$(($text, Name::$name)),*];

            /// The name in lower case.
            pub(crate) const fn text(self) -> &'static str {
                match self { $(Name::$name => $text),*, Name::Other => "" }
            }

            /// The name as HTTP/2 has it, without reading it again.
            pub(super) fn header(self) -> Option<HeaderName> {
                match self { $(Name::$name => Some(const { HeaderName::from_static($text) }),)* Name::Other => None }
            }
        }
    };
}

names! {
    Te "te" Host "host" Date "date" Expect "expect" Cookie "cookie" Upgrade "upgrade" Location "location"
    Connection "connection" KeepAlive "keep-alive" UserAgent "user-agent" Server "server" ContentType "content-type"
    ContentLength "content-length" TransferEncoding "transfer-encoding" ProxyConnection "proxy-connection" Trailer "trailer"
    GrpcStatus "grpc-status" GrpcMessage "grpc-message" GrpcTimeout "grpc-timeout"
    RequestId "x-request-id" ForwardedFor "x-forwarded-for" ForwardedProto "x-forwarded-proto"
    Peer "x-leeboard-peer" Reason "x-leeboard-reason" Unprocessed "x-leeboard-unprocessed" Hops "x-leeboard-hops"
    AttemptCount "x-envoy-attempt-count" OriginalPath "x-envoy-original-path" OriginalHost "x-envoy-original-host" ExpectedTimeout "x-envoy-expected-rq-timeout-ms"
    ServiceTime "x-envoy-upstream-service-time" Overloaded "x-envoy-overloaded" RateLimited "x-envoy-ratelimited"
    RetryOn "x-envoy-retry-on" RetryGrpcOn "x-envoy-retry-grpc-on" MaxRetries "x-envoy-max-retries"
    RetriableCodes "x-envoy-retriable-status-codes" RetriableHeaders "x-envoy-retriable-header-names"
    Timeout "x-envoy-upstream-rq-timeout-ms" PerTryTimeout "x-envoy-upstream-rq-per-try-timeout-ms"
    TimeoutAnswer "x-envoy-upstream-rq-timeout-alt-response" StreamDuration "x-envoy-upstream-stream-duration-ms"
    Hedge "x-envoy-hedge-on-per-try-timeout" AltStat "x-envoy-upstream-alt-stat-name" Internal "x-envoy-internal"
    ForceTrace "x-envoy-force-trace" IpTags "x-envoy-ip-tags" OriginalUrl "x-envoy-original-url"
    ClientCert "x-forwarded-client-cert" PeerMetadata "x-envoy-peer-metadata" PeerMetadataId "x-envoy-peer-metadata-id"
}

/// A set of [`Name`]s.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Names(u64);

impl Names {
    /// These names.
    pub(crate) const fn of(names: &[Name]) -> Self {
        let (mut bits, mut at) = (0, 0);
        while at < names.len() {
            bits |= 1 << names[at] as u8;
            at += 1;
        }
        Self(bits)
    }

    /// Adds a name, but for [`Name::Other`].
    pub(super) fn add(&mut self, name: Name) {
        self.0 |= if name == Name::Other { 0 } else { 1 << name as u8 };
    }

    /// The set with one name more.
    pub(crate) const fn and(self, name: Name) -> Self {
        Self(self.0 | 1 << name as u8)
    }

    /// Takes these names away.
    pub(super) fn remove(&mut self, names: Names) {
        self.0 &= !names.0;
    }

    /// Whether both have a name.
    pub(super) fn meets(self, names: Names) -> bool {
        self.0 & names.0 != 0
    }

    /// Whether the set has this name. [`Name::Other`] is in none.
    pub(crate) const fn has(self, name: Name) -> bool {
        !matches!(name, Name::Other) && self.0 >> name as u8 & 1 == 1
    }
}

impl Name {
    /// The number of a name, whatever its case.
    pub(crate) fn of(text: &[u8]) -> Self {
        if text.is_empty() {
            return Name::Other;
        }
        let (known, name) = KNOWN[place(text)];
        if name.len() == text.len() && same(text, name.as_bytes()) { known } else { Name::Other }
    }
}

/// Whether a name is the known one that is as long, whatever its case. Known names are letters and hyphens, and of the bytes
/// that a name may have only their capitals become them by this bit.
fn same(text: &[u8], known: &[u8]) -> bool {
    text.iter().zip(known).fold(0, |differ, (a, b)| differ | ((a | 0x20) ^ b)) == 0
}

/// How many places the known names are spread over.
const PLACES: usize = 256;

/// The place of a name that is not empty, whatever its case. Each known name has one to itself.
const fn place(name: &[u8]) -> usize {
    /// Found by trying.
    const SPREAD: u32 = 0x015c_33b3;
    let length = name.len();
    let letters = u32::from_le_bytes([name[0], name[length / 2], name[length * 3 / 4], name[length - 1]]) | 0x2020_2020;
    let mixed = letters.wrapping_add((length as u32).wrapping_mul(0x0100_0193)).wrapping_mul(SPREAD);
    (mixed >> 24) as usize % PLACES
}

/// The known names by place.
const KNOWN: [(Name, &str); PLACES] = {
    let mut known = [(Name::Other, ""); PLACES];
    let mut at = 0;
    while at < Name::TEXTS.len() {
        let (text, name) = Name::TEXTS[at];
        let place = place(text.as_bytes());
        assert!(known[place].1.is_empty(), "two known names have the same place: try another spread");
        known[place] = (name, text);
        at += 1;
    }
    known
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_name_is_known_in_any_case_and_no_other_is() {
        for (text, name) in Name::TEXTS {
            assert_eq!((Name::of(text.as_bytes()), name.text()), (*name, *text));
            assert_eq!(Name::of(text.to_ascii_uppercase().as_bytes()), *name);
            assert_eq!(Name::of(format!("{text}x").as_bytes()), Name::Other);
        }
        assert!(Name::TEXTS.len() < 64, "a set of names has 64 bits");
        assert_eq!(Name::of(b""), Name::Other);
        assert_eq!(Name::of(&[b'x'; 300]), Name::Other);
    }
}
