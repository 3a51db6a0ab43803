//! Finds the rule that a request falls under: port, then host, then the first route that matches.

use core::borrow::Borrow;

use crate::pattern::{HeaderMatch, Pattern};
use crate::request::Head;
use crate::route::{Match, Route};

/// The first route of a list that a request matches.
pub fn first_match<'r>(routes: &'r [Route], head: &impl Head) -> Option<(usize, &'r Route)> {
    routes.iter().enumerate().find(|(_, route)| route.when.holds(head))
}

impl Match {
    /// Whether all parts hold for a request.
    pub fn holds(&self, head: &impl Head) -> bool {
        let (path, query) = head.path();
        self.path.matches(path)
            && fits(&self.method, head.method())
            && fits(&self.scheme, head.scheme())
            && fits(&self.authority, head.authority())
            && self.headers.iter().all(|wanted| wanted.present_and_fitting(head))
            && self.without_headers.iter().all(|unwanted| !unwanted.fitting_or_missing(head))
            && self.query.iter().all(|wanted| query.is_some_and(|query| wanted.matches(query)))
    }
}

fn fits(pattern: &Option<Pattern>, text: &str) -> bool {
    pattern.as_ref().is_none_or(|pattern| pattern.matches(text))
}

impl HeaderMatch {
    /// A missing header matches nothing.
    fn present_and_fitting(&self, head: &impl Head) -> bool {
        head.header(&self.name).is_some_and(|value| self.value.matches(value.borrow()))
    }

    /// A missing header counts as the empty string, save for presence. Envoy: `invert_match` with `treat_missing_header_as_empty`.
    fn fitting_or_missing(&self, head: &impl Head) -> bool {
        match (head.header(&self.name), &self.value) {
            (Some(value), pattern) => pattern.matches(value.borrow()),
            (None, Pattern::Present) => false,
            (None, pattern) => pattern.matches(""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::{PathMatch, QueryMatch, whole};
    use crate::request::tests::Sketch;
    use alloc::vec;

    fn regex(text: &str) -> Pattern {
        Pattern::Regex(whole(text).expect("the test's expression compiles"))
    }

    #[test]
    fn paths() {
        let any_regex = PathMatch::Regex(whole("/v[0-9]+/.*").expect("compiles"));
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
            assert_eq!(when.holds(&Sketch::get("h", target)), *expected, "{path:?} on {target}");
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
            assert_eq!(wanted.holds(&head), *with, "headers {value} on {header:?}");
            assert_eq!(unwanted.holds(&head), *without, "withoutHeaders {value} on {header:?}");
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
            assert_eq!(when.holds(&Sketch::get("h", target)), *expected, "{value} on {target}");
        }
    }

    #[test]
    fn the_authority_is_compared_with_its_port() {
        let when = Match { authority: Some(Pattern::Exact("a:8080".into())), ..Match::default() };
        assert!(when.holds(&Sketch::get("a:8080", "/")));
        assert!(!when.holds(&Sketch::get("a", "/")));
    }
}
