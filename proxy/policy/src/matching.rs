//! What a rule asks of a request, and whether the request has it. There is one matcher: the index only tells it where to look.

use crate::pattern::{HeaderMatch, PathMatch, Pattern, QueryMatch};
use crate::request::Head;
use crate::route::Match;

/// A request as rules look at it: its head, with the path told from the query once for all of them.
#[derive(Debug)]
pub struct Asked<'h, H> {
    pub(crate) head: &'h H,
    /// The path without its query.
    pub(crate) path: &'h str,
    /// The query without its `?`.
    pub(crate) query: Option<&'h str>,
}

impl<'h, H: Head> Asked<'h, H> {
    /// What a head asks for.
    pub fn of(head: &'h H) -> Self {
        let (path, query) = head.path();
        Self { head, path, query }
    }
}

/// The first part of a match that does not hold for a request.
#[derive(Clone, Copy, Debug)]
pub enum Mismatch<'m> {
    /// The path.
    Path(&'m PathMatch),
    /// The method.
    Method(&'m Pattern),
    /// The scheme.
    Scheme(&'m Pattern),
    /// The authority.
    Authority(&'m Pattern),
    /// A header that is missing or otherwise.
    Header(&'m HeaderMatch),
    /// A header that should not be so.
    Without(&'m HeaderMatch),
    /// A query parameter that is missing or otherwise.
    Query(&'m QueryMatch),
}

impl Match {
    /// Whether all parts hold for a request.
    pub fn holds(&self, asked: &Asked<'_, impl Head>) -> bool {
        self.mismatch(asked).is_none()
    }

    /// The first part that does not hold for a request; `None` when all do.
    pub fn mismatch(&self, asked: &Asked<'_, impl Head>) -> Option<Mismatch<'_>> {
        let head = asked.head;
        if !self.path.matches(asked.path) {
            return Some(Mismatch::Path(&self.path));
        }
        if let Some(pattern) = self.method.as_deref().filter(|pattern| !pattern.matches(head.method().as_bytes())) {
            return Some(Mismatch::Method(pattern));
        }
        if let Some(pattern) = self.scheme.as_deref().filter(|pattern| !pattern.matches(head.scheme().as_bytes())) {
            return Some(Mismatch::Scheme(pattern));
        }
        if let Some(pattern) = self.authority.as_deref().filter(|pattern| !pattern.matches(head.authority().as_bytes()))
        {
            return Some(Mismatch::Authority(pattern));
        }
        let missing = self.headers.iter().find(|wanted| !wanted.present_and_fitting(head));
        let unwanted = || self.without_headers.iter().find(|unwanted| unwanted.fitting_or_missing(head));
        let unasked = || self.query.iter().find(|wanted| !asked.query.is_some_and(|query| wanted.matches(query)));
        let of_headers = missing.map(Mismatch::Header).or_else(|| unwanted().map(Mismatch::Without));
        of_headers.or_else(|| unasked().map(Mismatch::Query))
    }
}

impl HeaderMatch {
    /// A missing header matches nothing, a repeated one when one of its values does. Envoy: since 1.39.
    fn present_and_fitting(&self, head: &impl Head) -> bool {
        self.fits_one(head).unwrap_or(false)
    }

    /// A missing header counts as the empty string, save for presence. Envoy: `invert_match` with `treat_missing_header_as_empty`.
    fn fitting_or_missing(&self, head: &impl Head) -> bool {
        match (self.fits_one(head), &self.value) {
            (Some(fits), _) => fits,
            (None, Pattern::Present) => false,
            (None, pattern) => pattern.matches(b""),
        }
    }

    /// Whether one of the header's values fits; `None` when it has none.
    fn fits_one(&self, head: &impl Head) -> Option<bool> {
        let mut fits = None;
        each_value(head, &self.name, |value| fits = Some(fits == Some(true) || self.value.matches(value)));
        fits
    }
}

/// Calls `each` with every value of a header as rules look at it; those of pseudo-headers too.
pub(crate) fn each_value(head: &impl Head, name: &str, mut each: impl FnMut(&[u8])) {
    if name.starts_with(':') || name == "host" {
        return head.header(name).into_iter().for_each(|value| each(&value));
    }
    head.values(name, &mut |value| each(value));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expression::Expression;
    use crate::pattern::{PathMatch, QueryMatch};
    use crate::request::tests::Sketch;
    use alloc::vec;

    fn regex(text: &str) -> Pattern {
        Pattern::Regex(Expression::whole(text).expect("the test's expression compiles"))
    }

    #[test]
    fn paths() {
        let any_regex = PathMatch::Regex(Expression::whole("/v[0-9]+/.*").expect("compiles"));
        #[rustfmt::skip]
        let table: &[(PathMatch, &str, bool)] = &[
            (PathMatch::Any, "/x", true),
            (PathMatch::Exact("/a".into()), "/a", true),
            (PathMatch::Exact("/a".into()), "/a/", false),
            (PathMatch::Exact("/a".into()), "/a?q=1", true),
            (PathMatch::Exact("/a".into()), "/A", false),
            (PathMatch::ExactIgnoreCase("/a".into()), "/A", true),
            (PathMatch::Prefix("/a".into()), "/abc", true),
            (PathMatch::Prefix("/a/".into()), "/a", false),
            (PathMatch::Prefix("".into()), "/a", true),
            (PathMatch::PrefixIgnoreCase("/aB".into()), "/AbC", true),
            (PathMatch::PrefixIgnoreCase("/abc".into()), "/ab", false),
            (any_regex.clone(), "/v1/y", true),
            (any_regex.clone(), "/v1", false),
            (any_regex, "/x/v1/y", false),
        ];
        for (path, target, expected) in table {
            let when = Match { path: path.clone(), ..Match::default() };
            assert_eq!(when.holds(&Asked::of(&Sketch::get("h", target))), *expected, "{path:?} on {target}");
        }
    }

    #[test]
    fn headers() {
        #[rustfmt::skip]
        let table: &[(Pattern, Option<&str>, bool, bool)] = &[
            // pattern, header x, as `headers`, as `withoutHeaders`
            (Pattern::Present, None, false, true),
            (Pattern::Present, Some(""), true, false),
            (Pattern::Exact("".into()), None, false, false),
            (Pattern::Exact("".into()), Some(""), true, false),
            (Pattern::Exact("a".into()), None, false, true),
            (Pattern::Exact("a".into()), Some("a"), true, false),
            (Pattern::Exact("a".into()), Some("b"), false, true),
            (Pattern::Prefix("p".into()), None, false, true),
            (Pattern::Prefix("p".into()), Some("pq"), true, false),
            (regex("abc"), Some("abcd"), false, true),
            (regex("a|abcd"), Some("abcd"), true, false),
        ];
        for (value, header, with, without) in table {
            let mut head = Sketch::get("h", "/");
            if let Some(text) = header {
                head = head.with("x", text);
            }
            let x = HeaderMatch { name: "x".into(), value: value.clone() };
            let wanted = Match { headers: vec![x.clone()], ..Match::default() };
            let unwanted = Match { without_headers: vec![x], ..Match::default() };
            assert_eq!(wanted.holds(&Asked::of(&head)), *with, "headers {value} on {header:?}");
            assert_eq!(unwanted.holds(&Asked::of(&head)), *without, "withoutHeaders {value} on {header:?}");
        }
    }

    #[test]
    fn repeated_headers() {
        #[rustfmt::skip]
        let table: &[(Pattern, &[&str], bool)] = &[
            // pattern, values of x, whether `headers` holds; `withoutHeaders` is the contrary
            (Pattern::Exact("a".into()), &["a", "b"], true),
            (Pattern::Exact("a".into()), &["b", "a"], true),
            (Pattern::Exact("a,b".into()), &["a", "b"], false),
            (Pattern::Exact("a,b".into()), &["a,b"], true),
            (Pattern::Exact("a".into()), &["b", "c"], false),
            (Pattern::Prefix("p".into()), &["b", "pq"], true),
            (regex("b+"), &["a", "bb"], true),
            (regex("a,b"), &["a", "b"], false),
            (Pattern::Present, &["", ""], true),
        ];
        for (value, values, expected) in table {
            let head = values.iter().fold(Sketch::get("h", "/"), |head, value| head.with("x", value));
            let x = HeaderMatch { name: "x".into(), value: value.clone() };
            let wanted = Match { headers: vec![x.clone()], ..Match::default() };
            let unwanted = Match { without_headers: vec![x], ..Match::default() };
            assert_eq!(wanted.holds(&Asked::of(&head)), *expected, "headers {value} on {values:?}");
            assert_eq!(unwanted.holds(&Asked::of(&head)), !*expected, "withoutHeaders {value} on {values:?}");
        }
    }

    #[test]
    fn values_that_are_no_text_are_compared_byte_by_byte() {
        #[rustfmt::skip]
        let table: &[(Pattern, &[u8], bool)] = &[
            // pattern, the value of x, whether `headers` holds; `withoutHeaders` is the contrary. As Envoy 1.40 answers.
            (Pattern::Present, b"\xff", true),
            (Pattern::Exact("".into()), b"\xff", false),
            (Pattern::Exact("admin".into()), b"admin\xff", false),
            (Pattern::Exact("\u{e9}".into()), b"\xc3\xa9", true),
            (Pattern::Exact("\u{e9}".into()), b"\xe9", false),
            (Pattern::Prefix("admin".into()), b"admin\xff", true),
            (Pattern::Prefix("admin".into()), b"\xffadmin", false),
            (Pattern::Prefix("".into()), b"\xff", true),
            (regex("admin.*"), b"admin\xff", true),
            (regex("adm.n"), b"adm\xffn", true),
            (regex("adm.n"), b"adm\xc3\xa9n", false),
            (regex("[^b]*"), b"admin\xff", true),
            (regex(r"\W*"), b"\xff", true),
            (regex("."), b"\xe9", true),
            (regex("."), b"\xc3\xa9", false),
            (regex(r"\xe9"), b"\xe9", true),
            (regex("\u{e9}"), b"\xc3\xa9", true),
            (regex("\u{e9}"), b"\xe9", false),
        ];
        for (value, bytes, expected) in table {
            let head = Sketch::get("h", "/").with("x", bytes);
            let x = HeaderMatch { name: "x".into(), value: value.clone() };
            let wanted = Match { headers: vec![x.clone()], ..Match::default() };
            let unwanted = Match { without_headers: vec![x], ..Match::default() };
            let shown = bytes.escape_ascii();
            assert_eq!(wanted.holds(&Asked::of(&head)), *expected, "headers {value} on {shown}");
            assert_eq!(unwanted.holds(&Asked::of(&head)), !*expected, "withoutHeaders {value} on {shown}");
        }
    }

    #[test]
    fn query_parameters() {
        #[rustfmt::skip]
        let table: &[(Pattern, &str, bool)] = &[
            (Pattern::Exact("a".into()), "/?q=a", true),
            (Pattern::Exact("a".into()), "/?q=b&q=a", false),
            (Pattern::Exact("a".into()), "/?Q=a", false),
            (Pattern::Exact("".into()), "/?q", true),
            (Pattern::Present, "/?x=1&q", true),
            (Pattern::Present, "/", false),
            (Pattern::Exact("a%20b".into()), "/?q=a%20b", true),
        ];
        for (value, target, expected) in table {
            let when = Match { query: vec![QueryMatch { name: "q".into(), value: value.clone() }], ..Match::default() };
            assert_eq!(when.holds(&Asked::of(&Sketch::get("h", target))), *expected, "{value} on {target}");
        }
    }

    #[test]
    fn the_authority_is_compared_with_its_port() {
        let when = Match { authority: Some(Pattern::Exact("a:8080".into()).into()), ..Match::default() };
        assert!(when.holds(&Asked::of(&Sketch::get("a:8080", "/"))));
        assert!(!when.holds(&Asked::of(&Sketch::get("a", "/"))));
    }
}
