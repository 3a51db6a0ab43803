//! Header and trailer fields in their order and spelling, stored in two buffers that the next message reuses.
//!
//! A proxy looks for a dozen names in every head and passes the rest on. A hash map hashes every field to make any of
//! them quick to find. A list in which the known names are numbers finds those without comparing bytes.

mod names;
mod spare;

use http::header::{HeaderMap, HeaderName, HeaderValue};

pub(crate) use self::names::{Name, Names};
pub(crate) use self::spare::forget;

/// One field: where its name and its value are in the text.
#[derive(Clone, Copy, Debug)]
struct Field {
    known: Name,
    /// Whether it stands in the text as it is written: `name: value` and a line end.
    plain: bool,
    name_at: u32,
    name_end: u32,
    value_at: u32,
    value_end: u32,
}

/// What is written between a name and its value, and behind the value.
const COLON: &[u8] = b": ";
const END: &[u8] = b"\r\n";

/// Writes one field.
pub(crate) fn line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    for part in [name, COLON, value, END] {
        out.extend_from_slice(part);
    }
}

/// The fields of one message.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields {
    text: Vec<u8>,
    list: Vec<Field>,
    /// Which of the known names have ever been here.
    seen: Names,
}

impl Drop for Fields {
    fn drop(&mut self) {
        spare::leave(std::mem::take(&mut self.text), std::mem::take(&mut self.list));
    }
}

impl Fields {
    /// Room for so many fields of so many bytes together, as they are written.
    pub(crate) fn with_capacity(count: usize, bytes: usize) -> Self {
        let (text, list) = spare::take(count, bytes);
        Self { text, list, seen: Names::default() }
    }

    /// The fields that a parser has found in the text of a head, which is copied as a whole; and whether each line of the head
    /// ends in CRLF, for parsers take LF alone as well.
    ///
    /// # Panics
    /// When a field is not in the text.
    pub(crate) fn of_head(head: &[u8], list: &[httparse::Header<'_>]) -> (Self, bool) {
        let offset = |part: &[u8]| part.as_ptr().addr().wrapping_sub(head.as_ptr().addr());
        let first = list.first().map_or(head.len(), |field| offset(field.name.as_bytes()));
        let text = &head[first..];
        // Some are always added on the way.
        let mut fields = Self::with_capacity(list.len() + 6, text.len() + 384);
        fields.text.extend_from_slice(text);
        for field in list {
            // A value that is empty may be anywhere.
            let (name_at, value_at) = (offset(field.name.as_bytes()) - first, offset(field.value).wrapping_sub(first));
            let name_end = name_at + field.name.len();
            let value_at = if field.value.is_empty() { name_end + COLON.len() } else { value_at };
            let value_end = value_at + field.value.len();
            assert!(value_end <= text.len(), "a field is in its head");
            let plain = text[name_end..].starts_with(COLON)
                && value_at == name_end + COLON.len()
                && text[value_end..].starts_with(END);
            fields.index(Field {
                known: Name::of(field.name.as_bytes()),
                plain,
                name_at: name_at as u32,
                name_end: name_end as u32,
                value_at: value_at as u32,
                value_end: value_end as u32,
            });
        }
        // A parser lets no CR pass but before LF.
        let signed = |byte: &u8| i8::from(*byte == b'\r') - i8::from(*byte == b'\n');
        let alone: i32 = head.chunks(i8::MAX as usize).map(|part| i32::from(part.iter().map(signed).sum::<i8>())).sum();
        (fields, alone == 0)
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
        let name_at = self.text.len();
        let name_end = name_at + name.len();
        let value_at = name_end + COLON.len();
        self.text.reserve(name.len() + value.len() + COLON.len() + END.len());
        line(&mut self.text, name, value);
        self.index(Field {
            known,
            plain: true,
            name_at: name_at as u32,
            name_end: name_end as u32,
            value_at: value_at as u32,
            value_end: (value_at + value.len()) as u32,
        });
    }

    fn index(&mut self, field: Field) {
        self.seen.add(field.known);
        self.list.push(field);
    }

    /// Writes all fields but these. Those that stand in the text as they are written are copied together.
    pub(crate) fn write(&self, out: &mut Vec<u8>, without: Names) {
        let mut run = 0..0;
        for field in self.list.iter().filter(|field| !without.has(field.known)) {
            if field.plain && field.name_at as usize == run.end {
                run.end = field.value_end as usize + END.len();
                continue;
            }
            out.extend_from_slice(&self.text[run]);
            if field.plain {
                run = field.name_at as usize..field.value_end as usize + END.len();
            } else {
                run = 0..0;
                line(out, self.name(field), self.value(field));
            }
        }
        out.extend_from_slice(&self.text[run]);
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
        if self.seen.meets(names) {
            self.list.retain(|field| !names.has(field.known));
            self.seen.remove(names);
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
            field.known != known || !text[field.name_at as usize..field.name_end as usize].eq_ignore_ascii_case(name)
        });
    }

    /// Adds a field, if HTTP allows such a name and value.
    pub(crate) fn append(&mut self, name: &str, value: &[u8]) {
        if well_formed(name, value) {
            self.push(name.as_bytes(), value);
        }
    }

    /// Sets a field, if HTTP allows such a name and value.
    pub(crate) fn set(&mut self, name: &str, value: &[u8]) {
        if well_formed(name, value) {
            self.remove(name.as_bytes());
            self.push(name.as_bytes(), value);
        }
    }

    /// Their size as HTTP/1 writes them.
    pub(crate) fn size(&self) -> usize {
        self.list
            .iter()
            .map(|f| (f.name_end - f.name_at + f.value_end - f.value_at) as usize + COLON.len() + END.len())
            .sum()
    }

    fn name(&self, field: &Field) -> &[u8] {
        &self.text[field.name_at as usize..field.name_end as usize]
    }

    fn value(&self, field: &Field) -> &[u8] {
        &self.text[field.value_at as usize..field.value_end as usize]
    }

    /// What an HTTP/2 message has, whose names are in lower case.
    pub(crate) fn from_map(map: &HeaderMap) -> Self {
        let bytes = map.iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>();
        let mut fields = Self::with_capacity(map.len() + 4, bytes + map.len() * 4 + 128);
        map.iter().for_each(|(name, value)| fields.push(name.as_str().as_bytes(), value.as_bytes()));
        fields
    }

    /// Their form in HTTP/2, with some more behind them. What cannot be a field there is left out.
    pub(crate) fn to_map(&self, without: Names, more: impl IntoIterator<Item = (Name, HeaderValue)>) -> HeaderMap {
        let more = more.into_iter();
        let mut map = HeaderMap::with_capacity(self.list.len() + more.size_hint().1.unwrap_or(0));
        let text = bytes::Bytes::copy_from_slice(&self.text);
        for field in self.list.iter().filter(|field| !without.has(field.known)) {
            let value = text.slice(field.value_at as usize..field.value_end as usize);
            let value = HeaderValue::from_maybe_shared(value);
            let name = field.known.header().or_else(|| HeaderName::from_bytes(self.name(field)).ok());
            if let (Some(name), Ok(mut value)) = (name, value) {
                value.set_sensitive(hardly_twice(field.known, &value));
                map.append(name, value);
            }
        }
        for (known, mut value) in more {
            value.set_sensitive(value.is_sensitive() || hardly_twice(known, &value));
            if let Some(name) = known.header() {
                map.append(name, value);
            }
        }
        map
    }
}

/// A value of any other name that is as long is an identifier or a token, more likely than not.
const LONG: usize = 32;

/// Whether the peer had better not keep this field in its table for another message. Each one that it keeps drives out one
/// that many messages share, and is compared with all later ones of its name, the oldest first.
fn hardly_twice(name: Name, value: &HeaderValue) -> bool {
    match name {
        Name::RequestId | Name::GrpcTimeout | Name::OriginalPath | Name::Date => true,
        Name::ServiceTime => value.len() > 1,
        Name::Other => value.len() >= LONG,
        _ => false,
    }
}

/// Whether HTTP allows such a field. RFC 9110 §5.1, §5.5.
fn well_formed(name: &str, value: &[u8]) -> bool {
    HeaderName::try_from(name).is_ok() && HeaderValue::from_bytes(value).is_ok()
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
        all.set("X-New", b"n");
        all.set("bad name", b"n");
        all.append("x-evil", b"a\r\nb: c");
        all.replace(Name::Host, b"z");
        let expected = [("X-New", "n"), ("host", "z")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(shown(&all), expected);
        assert!(!all.has(Name::Te));
    }

    #[test]
    fn a_head_is_written_as_it_came_but_for_what_was_changed() {
        let read = |head: &str| {
            let mut room = [httparse::EMPTY_HEADER; 16];
            let head = head.as_bytes();
            let mut parsed = httparse::Request::new(&mut room);
            let used = parsed.parse(head).expect("a head").unwrap();
            Fields::of_head(&head[..used], parsed.headers).0
        };
        #[rustfmt::skip]
        let table = [
            // as it came, without `te` and with a field more
            ("A: 1\r\nB: 2\r\n", "A: 1\r\nB: 2\r\n"),
            ("TE: x\r\nA: 1\r\nB: 2\r\nTE: y\r\nC: 3\r\nD: \r\nTE: z\r\n", "A: 1\r\nB: 2\r\nC: 3\r\nD: \r\n"),
            ("A:1\r\nB:  2\r\nC: 3 \r\nD: 4\r\nE:\r\nF: \t \r\n", "A: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\nE: \r\nF: \r\n"),
            ("A: 1\nB: 2\r\n", "A: 1\r\nB: 2\r\n"),
            ("te: x\r\n", ""),
            ("", ""),
        ];
        for (lines, expected) in table {
            let mut fields = read(&format!("GET /a/b HTTP/1.1\r\n{lines}\r\n"));
            assert_eq!(fields.size(), lines_size(&fields), "{lines:?}");
            fields.put(Name::Server, b"s");
            let mut out = b"before ".to_vec();
            fields.write(&mut out, Names::of(&[Name::Te]));
            let out = String::from_utf8(out).expect("text");
            assert_eq!(out, format!("before {expected}server: s\r\n"), "{lines:?}");
        }
    }

    fn lines_size(fields: &Fields) -> usize {
        fields.iter().map(|(_, name, value)| name.len() + value.len() + 4).sum()
    }

    #[test]
    fn names_and_values_may_be_as_long_as_a_head() {
        let (name, value) = ("n".repeat(70_000), "v".repeat(80_000));
        let all = fields(&[("a", "1"), (&name, &value), ("b", "2")]);
        let expected = [("a", "1"), (&*name, &*value), ("b", "2")];
        assert_eq!(shown(&all), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(all.size(), 70_000 + 80_000 + 4 * 3 + 4);
    }

    #[test]
    fn http_2_has_the_same_fields() {
        let all = fields(&[("X-B", "1"), ("Host", "a"), ("x-b", "2")]);
        let map = all.to_map(Names::of(&[Name::Host]), []);
        assert_eq!(map.get_all("x-b").iter().collect::<Vec<_>>(), ["1", "2"]);
        let expected = [("x-b", "1"), ("x-b", "2")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(shown(&Fields::from_map(&map)), expected);
    }

    #[test]
    fn http_2_keeps_what_comes_again() {
        #[rustfmt::skip]
        let table = [
            ("x-request-id", "7", true), ("grpc-timeout", "1S", true), ("x-envoy-upstream-service-time", "9", false),
            ("x-envoy-upstream-service-time", "10", true), ("user-agent", "a/1", false), ("x-kind", "7", false),
            ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", true),
        ];
        for (name, value, expected) in table {
            let map = fields(&[(name, value)]).to_map(Names::default(), []);
            assert_eq!(map[name].is_sensitive(), expected, "{name} {value}");
        }
    }
}
