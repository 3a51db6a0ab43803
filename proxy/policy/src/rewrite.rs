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
        new + query
    }
}

/// The path, and the query with its `?` (empty when there is none).
fn split_query(path_and_query: &str) -> (&str, &str) {
    path_and_query.split_at(path_and_query.find('?').unwrap_or(path_and_query.len()))
}

fn cut_prefix(path: &str, cut: usize, with: &str) -> String {
    format!("{with}{}", path.get(cut..).unwrap_or(""))
}

fn replace_all(find: &Expression, with: &[Substitution], path: &str) -> String {
    let mut new = String::with_capacity(path.len());
    let mut end = 0;
    for groups in find.captures_iter(path) {
        let Some(whole) = groups.get(0) else { continue };
        new.push_str(&path[end..whole.start()]);
        for part in with {
            match part {
                Substitution::Literal(text) => new.push_str(text),
                Substitution::Group(n) => new.push_str(groups.get(*n).map_or("", |group| group.as_str())),
            }
        }
        end = whole.end();
    }
    new.push_str(&path[end..]);
    new
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
            Some(RedirectPath::Whole(new)) if new.contains('?') => new.to_string(),
            Some(RedirectPath::Whole(new)) => format!("{new}{query}"),
            Some(RedirectPath::Prefix { cut, with }) => cut_prefix(path, *cut, with) + query,
        };
        format!("{scheme}://{authority}{target}")
    }

    fn requests_authority(&self, scheme: &str, head: &impl Head) -> String {
        let authority = head.authority();
        let (_, port) = split_authority(authority);
        let stale = scheme != head.scheme() && port.is_some() && port == own_port(head.scheme());
        if stale { host_of(authority).to_string() } else { authority.to_string() }
    }
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

/// A path as Istio's BASE normalisation makes it: `\` becomes `/`, dot segments (also `%2e`) are resolved, and percent
/// escapes are in upper case. `//`, `%2F` and `%5C` stay.
///
/// # Errors
/// The path holds `%00`, which no server is sent.
pub fn normalise(path_and_query: &str) -> Result<Cow<'_, str>, NulInPath> {
    if is_normal(path_and_query) {
        return Ok(Cow::Borrowed(path_and_query));
    }
    let (path, query) = split_query(path_and_query);
    let path = upper_case_escapes(&path.replace('\\', "/"))?;
    let mut kept: Vec<&str> = Vec::new();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    for (index, segment) in segments.iter().enumerate() {
        let last = index + 1 == segments.len();
        match segment.replace("%2E", ".").as_str() {
            "." if last => kept.push(""),
            "." => {}
            ".." => {
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

/// Whether nothing in a path could be written otherwise, as in nearly all.
fn is_normal(path_and_query: &str) -> bool {
    // Of most paths one look at the bytes, many at a time, says that there is nothing to look for.
    let odd = |byte: u8| matches!(byte, b'\\' | b'%' | b'.');
    if path_and_query.bytes().fold(0, |any, byte| any | u8::from(odd(byte))) == 0 {
        return true;
    }
    let mut before = 0;
    for byte in path_and_query.bytes() {
        match byte {
            b'?' => return true,
            b'\\' | b'%' => return false,
            b'.' if before == b'/' => return false,
            other => before = other,
        }
    }
    true
}

/// A path that holds `%00`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NulInPath;

fn upper_case_escapes(path: &str) -> Result<String, NulInPath> {
    let mut out = String::with_capacity(path.len());
    let mut escape = 0;
    for c in path.chars() {
        if c == '%' {
            escape = 2;
            out.push(c);
        } else if escape > 0 && c.is_ascii_hexdigit() {
            escape -= 1;
            out.push(c.to_ascii_uppercase());
        } else {
            escape = 0;
            out.push(c);
        }
    }
    if out.contains("%00") { Err(NulInPath) } else { Ok(out) }
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
            ("/a/./b/.", Ok("/a/b/")),
            ("/a/%2e%2E/b", Ok("/b")),
            ("/a\\b", Ok("/a/b")),
            ("/a//b", Ok("/a//b")),
            ("/a%2fb", Ok("/a%2Fb")),
            ("/.well-known/x", Ok("/.well-known/x")),
            ("/a%00", Err(NulInPath)),
        ];
        for (path, expected) in table {
            assert_eq!(normalise(path).as_deref(), expected.as_ref().map(|p| *p), "{path}");
        }
    }
}
