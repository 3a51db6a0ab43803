//! What becomes of a path and of a redirect's location, and how a path is made plain before it is looked at.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::expression::Expression;
use crate::request::Head;
use crate::route::{Redirect, RedirectPath, Rewrite, Substitution};
use crate::snapshot::split_authority;

impl Rewrite {
    /// The path and query that are sent on.
    pub fn apply(&self, path_and_query: &str) -> String {
        let (path, query) = split_query(path_and_query);
        let new = match self {
            Rewrite::Prefix { cut, with } => cut_prefix(path, *cut, with),
            Rewrite::Whole(with) => with.to_string(),
            Rewrite::Regex { find, with } => replace_all(find, with, path),
        };
        rooted(new) + query
    }
}

/// A path with the `/` at its beginning that every path has.
fn rooted(path: String) -> String {
    if path.starts_with('/') { path } else { format!("/{path}") }
}

/// The path, and the query with its `?` (empty when there is none).
fn split_query(path_and_query: &str) -> (&str, &str) {
    path_and_query.split_at(path_and_query.find('?').unwrap_or(path_and_query.len()))
}

fn cut_prefix(path: &str, cut: usize, with: &str) -> String {
    format!("{with}{}", path.get(cut..).unwrap_or(""))
}

fn replace_all(find: &Expression, with: &[Substitution], path: &str) -> String {
    let path = path.as_bytes();
    let mut new = Vec::with_capacity(path.len());
    let mut end = 0;
    for groups in find.captures_iter(path) {
        let Some(whole) = groups.get(0) else { continue };
        new.extend_from_slice(&path[end..whole.start()]);
        for part in with {
            new.extend_from_slice(match part {
                Substitution::Literal(text) => text.as_bytes(),
                Substitution::Group(n) => groups.get(*n).map_or(b"", |group| group.as_bytes()),
            });
        }
        end = whole.end();
    }
    new.extend_from_slice(&path[end..]);
    String::from_utf8(new).unwrap_or_else(|torn| with_escapes(torn.as_bytes()))
}

/// A path in which a letter of several bytes was torn apart, with escapes for what is left of it.
fn with_escapes(path: &[u8]) -> String {
    let mut text = String::with_capacity(path.len() + 8);
    for chunk in path.utf8_chunks() {
        text.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("%{byte:02X}")));
    }
    text
}

impl Redirect {
    /// The `location` of the answer to a request. Envoy: absolute; the request's port is kept unless host or port are
    /// replaced, and a port that is some scheme's own is dropped when the scheme changes.
    pub fn location(&self, head: &impl Head) -> String {
        let scheme = self.scheme.as_deref().unwrap_or(head.scheme());
        let authority = match (&self.authority, self.port) {
            (Some(authority), None) => authority.to_string(),
            (authority, Some(port)) => {
                let host = host_of(authority.as_deref().unwrap_or(head.authority()));
                if own_port(scheme) == Some(port) { host.to_string() } else { format!("{host}:{port}") }
            }
            (None, None) => self.requests_authority(scheme, head),
        };
        let (path, query) = split_query(head.path_and_query());
        let target = match &self.path {
            None => format!("{path}{query}"),
            Some(RedirectPath::Whole(new)) if new.contains('?') => rooted(new.to_string()),
            Some(RedirectPath::Whole(new)) => rooted(new.to_string()) + query,
            Some(RedirectPath::Prefix { cut, with }) => rooted(cut_prefix(path, *cut, with)) + query,
        };
        visible(format!("{scheme}://{authority}{target}"))
    }

    fn requests_authority(&self, scheme: &str, head: &impl Head) -> String {
        let authority = head.authority();
        let (_, port) = split_authority(authority);
        let stale = scheme != head.scheme() && port.is_some() && port == own_port(head.scheme());
        if stale { host_of(authority).to_string() } else { authority.to_string() }
    }
}

/// A text without control characters, which no field holds.
fn visible(text: String) -> String {
    if !text.contains(|c: char| c.is_ascii_control()) {
        return text;
    }
    text.chars().map(|c| if c.is_ascii_control() { format!("%{:02X}", u32::from(c)) } else { c.to_string() }).collect()
}

/// The port of a scheme that is not written in URLs.
pub fn own_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

fn host_of(authority: &str) -> &str {
    match (split_authority(authority), authority.rfind(':')) {
        ((_, Some(_)), Some(colon)) => &authority[..colon],
        _ => authority,
    }
}

/// A path as Istio's BASE normalisation makes it, so that one place has one spelling: `\` becomes `/`, escapes of unreserved
/// characters are decoded, and dot segments are resolved, also with parameters behind them (`..;a`). Other escapes, `//` and an
/// invalid `%` stay as they came, and so does the query. Better than Envoy: `%2e%2e;` is a dot segment too.
///
/// # Errors
/// The path holds `%00`, which no server is sent.
pub fn normalise(path_and_query: &str) -> Result<Cow<'_, str>, NulInPath> {
    match oddity(path_and_query) {
        None => return Ok(Cow::Borrowed(path_and_query)),
        Some(Oddity::Nul) => return Err(NulInPath),
        Some(Oddity::Spelling) => {}
    }
    let (path, query) = split_query(path_and_query);
    let path = decoded(path);
    if path.contains("%00") {
        return Err(NulInPath);
    }
    let mut kept: Vec<&str> = Vec::new();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    for (index, segment) in segments.iter().enumerate() {
        let last = index + 1 == segments.len();
        match segment.split(';').next() {
            Some(".") if last => kept.push(""),
            Some(".") => {}
            Some("..") => {
                kept.pop();
                if last {
                    kept.push("");
                }
            }
            _ => kept.push(segment),
        }
    }
    Ok(Cow::Owned(format!("/{}{query}", kept.join("/"))))
}

/// Something in a path for which it may not stay as it came.
enum Oddity {
    Spelling,
    Nul,
}

/// The first in a path; there is none in nearly all.
fn oddity(path_and_query: &str) -> Option<Oddity> {
    // Of most paths one look at the bytes, many at a time, says that there is nothing to look for.
    let odd = |byte: u8| matches!(byte, b'\\' | b'%' | b'.');
    if path_and_query.bytes().fold(0, |any, byte| any | u8::from(odd(byte))) == 0 {
        return None;
    }
    let bytes = path_and_query.as_bytes();
    let mut before = 0;
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'?' => return None,
            b'\\' => return Some(Oddity::Spelling),
            b'.' if before == b'/' => return Some(Oddity::Spelling),
            b'%' => match escaped(&bytes[at..]) {
                Some(0) => return Some(Oddity::Nul),
                Some(byte) if unreserved(byte) => return Some(Oddity::Spelling),
                _ => {}
            },
            _ => {}
        }
        before = *byte;
    }
    None
}

/// A path that holds `%00`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NulInPath;

/// The byte that an escape at the beginning stands for.
fn escaped(bytes: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*bytes.get(at)?).to_digit(16);
    (bytes.first() == Some(&b'%')).then_some(())?;
    u8::try_from(digit(1)? << 4 | digit(2)?).ok()
}

/// RFC 3986 §2.3.
fn unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// A path whose escapes of unreserved characters are decoded, and whose `\` is `/`. One that would complete an escape which is
/// none yet (`%%361`) stays, or a server that decodes once more would see another path than the rules did.
fn decoded(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(c) = rest.chars().next() {
        match escaped(rest.as_bytes()) {
            Some(byte) if unreserved(byte) && !completes(out.as_bytes(), byte) => {
                out.push(char::from(byte));
                rest = &rest[3..];
            }
            // The digits of an escape that stays belong to it.
            Some(_) => {
                out.push_str(&rest[..3]);
                rest = &rest[3..];
            }
            None => {
                out.push(if c == '\\' { '/' } else { c });
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    out
}

/// Whether a hexadecimal digit would make an escape of a `%` that is none.
fn completes(before: &[u8], byte: u8) -> bool {
    let open = match before {
        [.., b'%'] => true,
        [.., b'%', digit] => digit.is_ascii_hexdigit(),
        _ => false,
    };
    open && byte.is_ascii_hexdigit()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::HeaderOps;
    use crate::request::tests::Sketch;
    use alloc::vec;

    #[test]
    fn paths_are_rewritten_as_strings() {
        let old = Rewrite::Regex {
            find: Expression::part("/old/(.*)").expect("compiles"),
            with: vec![Substitution::Literal("/new/".into()), Substitution::Group(1)],
        };
        let every = Rewrite::Regex {
            find: Expression::part("a").expect("compiles"),
            with: vec![Substitution::Literal("<".into()), Substitution::Group(0), Substitution::Literal(">".into())],
        };
        let tail = Rewrite::Regex {
            find: Expression::part("/regex/(.*)").expect("compiles"),
            with: vec![Substitution::Group(1)],
        };
        let prefix = |cut, with: &str| Rewrite::Prefix { cut, with: with.into() };
        #[rustfmt::skip]
        let table: &[(Rewrite, &str, &str)] = &[
            (prefix(2, "/b"), "/abc?x=1", "/bbc?x=1"),
            (prefix(3, "/"), "/a/b", "/b"),
            (prefix(2, "/"), "/a/b", "//b"),
            (Rewrite::Whole("/z/".into()), "/a?q", "/z/?q"),
            (Rewrite::Whole("/x".into()), "/v1/y", "/x"),
            (prefix(1, "/v2"), "/foo", "/v2foo"),
            (old, "/old/a?k=v", "/new/a?k=v"),
            (every, "/aba?a", "/<a>b<a>?a"),
            // What lacks its slash is given it.
            (prefix(4, ""), "/api/x", "/x"),
            (prefix(4, ""), "/api?q", "/?q"),
            (prefix(9, "v2/"), "/noslash/x", "/v2/x"),
            (Rewrite::Whole("v2".into()), "/a?q", "/v2?q"),
            (tail, "/regex/http://b/x?q", "/http://b/x?q"),
        ];
        for (rewrite, path, expected) in table {
            assert_eq!(rewrite.apply(path), *expected, "{rewrite:?}");
        }
    }

    #[test]
    fn locations() {
        let none = Redirect {
            path: None,
            authority: None,
            scheme: None,
            port: None,
            status: 301,
            response_headers: HeaderOps::default(),
        };
        let whole = |path: &str| Some(RedirectPath::Whole(path.into()));
        #[rustfmt::skip]
        let table: Vec<(Redirect, &str, &str, &str)> = vec![
            (Redirect { path: whole("/x"), ..none.clone() }, "h", "/a?b=1", "http://h/x?b=1"),
            (Redirect { path: whole("/x?c=2"), ..none.clone() }, "h", "/a?b=1", "http://h/x?c=2"),
            (Redirect { scheme: Some("https".into()), ..none.clone() }, "a:8080", "/p", "https://a:8080/p"),
            (Redirect { scheme: Some("https".into()), ..none.clone() }, "a:80", "/p", "https://a/p"),
            (Redirect { authority: Some("b".into()), ..none.clone() }, "a:8080", "/p", "http://b/p"),
            (Redirect { authority: Some("b:9".into()), ..none.clone() }, "a:8080", "/p", "http://b:9/p"),
            (Redirect { port: Some(8443), scheme: Some("https".into()), ..none.clone() }, "a:80", "/p", "https://a:8443/p"),
            (Redirect { port: Some(443), scheme: Some("https".into()), ..none.clone() }, "a:80", "/p", "https://a/p"),
            (Redirect { path: Some(RedirectPath::Prefix { cut: 4, with: "/new".into() }), ..none.clone() }, "a", "/old/x?q", "http://a/new/x?q"),
            (Redirect { path: whole("new/path"), ..none.clone() }, "app:80", "/a?b", "http://app:80/new/path?b"),
            (Redirect { path: whole("/a\r\nb\u{e9}"), ..none.clone() }, "a", "/a", "http://a/a%0D%0Ab\u{e9}"),
        ];
        for (redirect, authority, path, expected) in table {
            assert_eq!(redirect.location(&Sketch::get(authority, path)), expected);
        }
    }

    #[test]
    fn paths_are_made_plain() {
        #[rustfmt::skip]
        let table = [
            ("/a/b?x=/../y", Ok("/a/b?x=/../y")),
            ("/a/../b", Ok("/b")),
            ("/..", Ok("/")),
            ("/../../../b", Ok("/b")),
            ("/a/./b/.", Ok("/a/b/")),
            ("/a/%2e%2E/b", Ok("/b")),
            ("/a/.%2e/b", Ok("/b")),
            ("/a\\b", Ok("/a/b")),
            ("/a\\..\\b", Ok("/b")),
            ("/a//b", Ok("/a//b")),
            ("/a//b/../c", Ok("/a//c")),
            ("/.well-known/x", Ok("/.well-known/x")),
            ("/a/...;/b", Ok("/a/...;/b")),
            ("/a%00", Err(NulInPath)),
            ("/%61%00", Err(NulInPath)),
            ("/a?%00", Ok("/a?%00")),
            // Escapes of what needs none.
            ("/%61dmin", Ok("/admin")),
            ("/a%7eb%2Dc%5f", Ok("/a~b-c_")),
            ("/a?%61", Ok("/a?%61")),
            ("/a?b\\c", Ok("/a?b\\c")),
            // All others, and what is no escape.
            ("/a%2fb", Ok("/a%2fb")),
            ("/a%2Fb%5c..%20", Ok("/a%2Fb%5c..%20")),
            ("/%61%2fb", Ok("/a%2fb")),
            ("/a%c3%A4", Ok("/a%c3%A4")),
            ("/a%b", Ok("/a%b")),
            ("/%61%b", Ok("/a%b")),
            ("/a%", Ok("/a%")),
            ("/a%zz/./%2", Ok("/a%zz/%2")),
            ("/%2561dmin", Ok("/%2561dmin")),
            ("/%%361dmin", Ok("/%%361dmin")),
            ("/%6%31dmin", Ok("/%6%31dmin")),
            ("/%%7edmin", Ok("/%~dmin")),
            // Dot segments with parameters.
            ("/x/..;/admin", Ok("/admin")),
            ("/x/..;a=b/admin", Ok("/admin")),
            ("/.;/admin", Ok("/admin")),
            ("/.;p/admin", Ok("/admin")),
            ("/x/.;", Ok("/x/")),
            ("/x/..;", Ok("/")),
            ("/x/%2e%2e;/admin", Ok("/admin")),
            ("/a;p=../x", Ok("/a;p=../x")),
            ("/a/..%3b/x", Ok("/a/..%3b/x")),
            ("/;/a", Ok("/;/a")),
        ];
        for (path, expected) in table {
            assert_eq!(normalise(path).as_deref(), expected.as_ref().map(|p| *p), "{path}");
        }
    }

    #[test]
    fn what_is_plain_stays_and_what_needs_nothing_is_not_copied() {
        assert!(matches!(normalise("/a%20b/c.d?e=%61/../"), Ok(Cow::Borrowed(_))));
        // All paths of up to six of these: a spelling that hides behind another would show.
        let letters = ["/", ".", "%", "6", "1", "%61", "%2e", ";", "\\", "a"];
        let mut paths = vec![String::new()];
        for _ in 0..5 {
            let longer = paths.iter().flat_map(|path| letters.iter().map(move |letter| format!("{path}{letter}")));
            paths = longer.collect();
            for path in &paths {
                let path = format!("/{path}");
                let plain = normalise(&path).unwrap_or_else(|_| panic!("{path} holds no %00"));
                assert_eq!(normalise(&plain).as_deref(), Ok(&*plain), "{path}");
                let hidden = plain.split('/').any(|segment| matches!(segment.split(';').next(), Some("." | "..")));
                assert!(!hidden && !plain.contains('\\'), "{path} is {plain}");
            }
        }
    }
}
