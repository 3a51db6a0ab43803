//! Header and trailer fields: in order, spelled as they came, in two allocations.
//!
//! A proxy looks for a dozen names in every head and passes the rest on. A hash map of names pays for each field to make any
//! of them quick to find; a list that knows the dozen names by number finds those without looking at a byte.

use http::header::{HeaderMap, HeaderName, HeaderValue};

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
        }
    };
}

names! {
    Te "te" Host "host" Date "date" Expect "expect" Cookie "cookie" Upgrade "upgrade" Location "location"
    Connection "connection" KeepAlive "keep-alive" UserAgent "user-agent" Server "server" ContentType "content-type"
    ContentLength "content-length" TransferEncoding "transfer-encoding" ProxyConnection "proxy-connection" Trailer "trailer"
    GrpcStatus "grpc-status" GrpcMessage "grpc-message" GrpcTimeout "grpc-timeout"
    RequestId "x-request-id" ForwardedFor "x-forwarded-for" ForwardedProto "x-forwarded-proto"
    Peer "x-leeboard-peer" Reason "x-leeboard-reason"
    AttemptCount "x-envoy-attempt-count" OriginalPath "x-envoy-original-path" ExpectedTimeout "x-envoy-expected-rq-timeout-ms"
    ServiceTime "x-envoy-upstream-service-time" Overloaded "x-envoy-overloaded" RateLimited "x-envoy-ratelimited"
    RetryOn "x-envoy-retry-on" RetryGrpcOn "x-envoy-retry-grpc-on" MaxRetries "x-envoy-max-retries"
    RetriableCodes "x-envoy-retriable-status-codes" RetriableHeaders "x-envoy-retriable-header-names"
    Timeout "x-envoy-upstream-rq-timeout-ms" PerTryTimeout "x-envoy-upstream-rq-per-try-timeout-ms"
    TimeoutAnswer "x-envoy-upstream-rq-timeout-alt-response" StreamDuration "x-envoy-upstream-stream-duration-ms"
    Hedge "x-envoy-hedge-on-per-try-timeout" AltStat "x-envoy-upstream-alt-stat-name" Internal "x-envoy-internal"
    ForceTrace "x-envoy-force-trace"
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

    /// Whether the set has this name. [`Name::Other`] is in none.
    pub(crate) const fn has(self, name: Name) -> bool {
        !matches!(name, Name::Other) && self.0 >> name as u8 & 1 == 1
    }
}

impl Name {
    /// The number of a name, whatever its case.
    pub(crate) fn of(text: &[u8]) -> Self {
        const LONGEST: usize = 40;
        /// The names by length, and where each length begins.
        const fn sorted() -> ([(&'static str, Name); Name::TEXTS.len()], [u8; LONGEST + 2]) {
            let mut list = [("", Name::Other); Name::TEXTS.len()];
            let mut starts = [0; LONGEST + 2];
            let (mut length, mut filled) = (0, 0);
            while length <= LONGEST {
                starts[length] = filled as u8;
                let mut at = 0;
                while at < Name::TEXTS.len() {
                    if Name::TEXTS[at].0.len() == length {
                        list[filled] = Name::TEXTS[at];
                        filled += 1;
                    }
                    at += 1;
                }
                length += 1;
            }
            starts[LONGEST + 1] = filled as u8;
            (list, starts)
        }
        const SORTED: ([(&str, Name); Name::TEXTS.len()], [u8; LONGEST + 2]) = sorted();
        if text.len() > LONGEST {
            return Name::Other;
        }
        let (from, to) = (SORTED.1[text.len()] as usize, SORTED.1[text.len() + 1] as usize);
        let Some(end) = text.last() else { return Name::Other };
        // Most that are as long as a known name differ from it in their first or last letter.
        let likely = |name: &[u8]| name[0] == text[0] | 0x20 && name[name.len() - 1] == end | 0x20;
        let same = |name: &str| likely(name.as_bytes()) && text.eq_ignore_ascii_case(name.as_bytes());
        SORTED.0[from..to].iter().find(|(name, _)| same(name)).map_or(Name::Other, |(_, name)| *name)
    }
}

/// One field: where its name and its value are in the text.
#[derive(Clone, Copy, Debug)]
struct Field {
    known: Name,
    name_length: u16,
    at: u32,
    value_length: u32,
}

/// The fields of one message.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields {
    text: Vec<u8>,
    list: Vec<Field>,
    /// Which of the known names have ever been here.
    seen: Names,
}

impl Fields {
    /// Room for so many fields of so many bytes together.
    pub(crate) fn with_capacity(count: usize, bytes: usize) -> Self {
        Self { text: Vec::with_capacity(bytes), list: Vec::with_capacity(count), seen: Names::default() }
    }

    /// Adds a field that is known to be well-formed.
    pub(crate) fn push(&mut self, name: &[u8], value: &[u8]) {
        self.add(Name::of(name), name, value);
    }

    /// Adds a field of a known name, with a value that is known to be well-formed.
    pub(crate) fn put(&mut self, name: Name, value: &[u8]) {
        self.add(name, name.text().as_bytes(), value);
    }

    fn add(&mut self, known: Name, name: &[u8], value: &[u8]) {
        let at = self.text.len() as u32;
        self.text.extend_from_slice(name);
        self.text.extend_from_slice(value);
        self.seen.0 |= if known == Name::Other { 0 } else { 1 << known as u8 };
        self.list.push(Field { known, name_length: name.len() as u16, at, value_length: value.len() as u32 });
    }

    /// Puts this value in the place of any that the name had.
    pub(crate) fn replace(&mut self, name: Name, value: &[u8]) {
        self.drop_all(Names::of(&[name]));
        self.put(name, value);
    }

    /// The first value of a known name.
    pub(crate) fn get(&self, name: Name) -> Option<&[u8]> {
        self.all(name).next()
    }

    /// The first value of a known name, if it is text.
    pub(crate) fn text(&self, name: Name) -> Option<&str> {
        std::str::from_utf8(self.get(name)?).ok()
    }

    /// Whether a known name is here.
    pub(crate) fn has(&self, name: Name) -> bool {
        self.seen.has(name) && self.list.iter().any(|field| field.known == name)
    }

    /// All values of a known name, in order.
    pub(crate) fn all(&self, name: Name) -> impl Iterator<Item = &[u8]> {
        let list = if self.seen.has(name) { &self.list[..] } else { &[] };
        list.iter().filter(move |field| field.known == name).map(|field| self.value(field))
    }

    /// Calls `each` with every value of any name, in order.
    pub(crate) fn each<'f>(&'f self, name: &str, each: &mut dyn FnMut(&'f [u8])) {
        let known = Name::of(name.as_bytes());
        if known != Name::Other {
            return self.all(known).for_each(each);
        }
        let same =
            |field: &&Field| field.known == Name::Other && self.name(field).eq_ignore_ascii_case(name.as_bytes());
        self.list.iter().filter(same).map(|field| self.value(field)).for_each(each);
    }

    /// All fields in order, spelled as they came.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Name, &[u8], &[u8])> {
        self.list.iter().map(|field| (field.known, self.name(field), self.value(field)))
    }

    /// Takes away all fields of these names.
    pub(crate) fn drop_all(&mut self, names: Names) {
        if self.seen.0 & names.0 != 0 {
            self.list.retain(|field| !names.has(field.known));
            self.seen.0 &= !names.0;
        }
    }

    /// Takes away all fields of a name, whatever its case.
    pub(crate) fn remove(&mut self, name: &[u8]) {
        let known = Name::of(name);
        if known != Name::Other {
            return self.drop_all(Names::of(&[known]));
        }
        let (text, list) = (&self.text, &mut self.list);
        list.retain(|field| {
            let at = field.at as usize;
            field.known != known || !text[at..at + field.name_length as usize].eq_ignore_ascii_case(name)
        });
    }

    /// Adds a field, if HTTP allows such a name and value.
    pub(crate) fn append(&mut self, name: &str, value: &str) {
        if well_formed(name, value) {
            self.push(name.as_bytes(), value.as_bytes());
        }
    }

    /// Sets a field, if HTTP allows such a name and value.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        if well_formed(name, value) {
            self.remove(name.as_bytes());
            self.push(name.as_bytes(), value.as_bytes());
        }
    }

    /// Their size as HTTP/1 writes them.
    pub(crate) fn size(&self) -> usize {
        self.list.iter().map(|field| field.name_length as usize + field.value_length as usize + 4).sum()
    }

    fn name(&self, field: &Field) -> &[u8] {
        &self.text[field.at as usize..][..field.name_length as usize]
    }

    fn value(&self, field: &Field) -> &[u8] {
        &self.text[field.at as usize + field.name_length as usize..][..field.value_length as usize]
    }

    /// What an HTTP/2 message has, whose names are in lower case.
    pub(crate) fn from_map(map: &HeaderMap) -> Self {
        let bytes = map.iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>();
        let mut fields = Self::with_capacity(map.len() + 4, bytes + 128);
        map.iter().for_each(|(name, value)| fields.push(name.as_str().as_bytes(), value.as_bytes()));
        fields
    }

    /// Their form in HTTP/2. What cannot be a field there is left out.
    pub(crate) fn to_map(&self, without: Names) -> HeaderMap {
        let mut map = HeaderMap::with_capacity(self.list.len() + 4);
        let text = bytes::Bytes::copy_from_slice(&self.text);
        for field in self.list.iter().filter(|field| !without.has(field.known)) {
            let from = field.at as usize + field.name_length as usize;
            let value = HeaderValue::from_maybe_shared(text.slice(from..from + field.value_length as usize));
            if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(self.name(field)), value) {
                map.append(name, value);
            }
        }
        map
    }
}

/// Whether HTTP allows such a field. RFC 9110 §5.1, §5.5.
fn well_formed(name: &str, value: &str) -> bool {
    HeaderName::try_from(name).is_ok() && HeaderValue::from_str(value).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(list: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::default();
        list.iter().for_each(|(name, value)| fields.push(name.as_bytes(), value.as_bytes()));
        fields
    }

    fn shown(fields: &Fields) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        fields.iter().map(|(_, name, value)| (text(name), text(value))).collect()
    }

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

    #[test]
    fn what_is_there_is_found_kept_in_order_and_taken_away() {
        let mut all = fields(&[("Host", "a"), ("X-B", "1"), ("TE", "trailers"), ("x-b", "2"), ("HOST", "c")]);
        assert_eq!(all.get(Name::Host), Some(&b"a"[..]));
        assert_eq!(all.all(Name::Host).collect::<Vec<_>>(), [b"a", b"c"]);
        assert_eq!((all.has(Name::Te), all.has(Name::Cookie)), (true, false));
        let mut seen = Vec::new();
        all.each("x-B", &mut |value| seen.push(value.to_vec()));
        assert_eq!(seen, [b"1", b"2"]);
        assert_eq!(all.size(), 9 + 8 + 14 + 8 + 9);
        all.remove(b"X-b");
        all.drop_all(Names::of(&[Name::Te]));
        all.set("X-New", "n");
        all.set("bad name", "n");
        all.append("x-evil", "a\r\nb: c");
        all.replace(Name::Host, b"z");
        let expected = [("X-New", "n"), ("host", "z")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(shown(&all), expected);
        assert!(!all.has(Name::Te));
    }

    #[test]
    fn http_2_has_the_same_fields() {
        let all = fields(&[("X-B", "1"), ("Host", "a"), ("x-b", "2")]);
        let map = all.to_map(Names::of(&[Name::Host]));
        assert_eq!(map.get_all("x-b").iter().collect::<Vec<_>>(), ["1", "2"]);
        let expected = [("x-b", "1"), ("x-b", "2")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(shown(&Fields::from_map(&map)), expected);
    }
}
