//! Request targets and paths. They are kept as they came or refused, and never changed silently. RFC 9112 §3.2.

use std::borrow::Cow;

use http::uri::PathAndQuery;
use http::{Method, Uri};
use leeboard_policy::exchange::is_path;
use leeboard_policy::request::Secure;

/// A path with its query: `/` and visible characters, but no fragment.
#[derive(Clone, Debug)]
pub(crate) enum Path {
    /// One that HTTP/2 can have as well, shared and not copied.
    Held(PathAndQuery),
    /// One with characters that the http crate has no room for.
    Text(Box<str>),
}

impl Path {
    /// The path that a CONNECT has.
    pub(crate) fn root() -> Self {
        Self::Held(PathAndQuery::from_static("/"))
    }

    /// A path with or without a query; `None` when the text is none.
    pub(crate) fn read(text: &str) -> Option<Self> {
        match PathAndQuery::try_from(text) {
            Ok(held) => Self::whole(held, text.len()),
            Err(_) => is_path(text).then(|| Self::Text(text.into())),
        }
    }

    /// The crate drops a fragment without a word, and takes a query for a path.
    fn whole(held: PathAndQuery, length: usize) -> Option<Self> {
        (held.as_str().len() == length && held.as_str().starts_with('/')).then_some(Self::Held(held))
    }

    pub(crate) fn as_str(&self) -> &str {
        match self {
            Path::Held(held) => held.as_str(),
            Path::Text(text) => text,
        }
    }

    /// The same for HTTP/2, if it can be had there.
    pub(crate) fn for_http2(&self) -> Option<PathAndQuery> {
        match self {
            Path::Held(held) => Some(held.clone()),
            Path::Text(_) => None,
        }
    }
}

/// What a request asks for.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// A path on the host that the head names.
    Path(Path),
    /// A whole URL, or what HTTP/2 has in its stead.
    Url {
        /// `http` or `https`, where the target says it.
        scheme: Option<&'static str>,
        /// How far that asks for TLS.
        secure: Secure,
        /// The host, which goes before the head's; `None` where HTTP/2 leaves it to the head.
        authority: Option<String>,
        /// What is asked of it.
        path: Path,
    },
    /// Where a CONNECT leads.
    Authority(String),
    /// The proxy itself, and no path.
    Asterisk,
    /// Nothing that can be asked for, as it was written.
    Nothing(Box<str>),
}

impl Target {
    /// The target of a request line.
    pub(crate) fn read(method: &Method, text: &str) -> Self {
        let read = match text {
            _ if text.starts_with('/') && method != Method::CONNECT => Path::read(text).map(Target::Path),
            _ if method == Method::CONNECT => Some(Target::Authority(text.to_owned())),
            "*" => (method == Method::OPTIONS).then_some(Target::Asterisk),
            _ => url(text),
        };
        read.unwrap_or_else(|| Target::Nothing(text.into()))
    }

    /// The target of a stream's head.
    pub(crate) fn of_stream(method: &Method, uri: &Uri) -> Self {
        let nothing = || Target::Nothing(uri.to_string().into());
        let authority = uri.authority().map(|authority| authority.as_str().to_owned());
        if method == Method::CONNECT {
            return authority.map_or_else(nothing, Target::Authority);
        }
        let Some(path) = uri.path_and_query() else { return nothing() };
        if path.as_str() == "*" {
            return if method == Method::OPTIONS { Target::Asterisk } else { nothing() };
        }
        let scheme = uri.scheme_str().map(known);
        match (scheme, Path::whole(path.clone(), path.as_str().len())) {
            (Some(None), _) | (_, None) => nothing(),
            (scheme, Some(path)) => {
                let scheme = scheme.flatten();
                let secure = if scheme == Some("https") { Secure::Scheme } else { Secure::No };
                Target::Url { scheme, secure, authority, path }
            }
        }
    }

    /// What of it is a path, as it came, for the log.
    pub(crate) fn path(&self) -> &str {
        match self {
            Target::Path(path) | Target::Url { path, .. } => path.as_str(),
            Target::Nothing(text) => text,
            Target::Asterisk => "*",
            Target::Authority(_) => "",
        }
    }

    /// The host that it names itself.
    pub(crate) fn authority(&self) -> Option<&str> {
        match self {
            Target::Url { authority, .. } => authority.as_deref(),
            Target::Authority(authority) => Some(authority),
            Target::Path(_) | Target::Asterisk | Target::Nothing(_) => None,
        }
    }
}

/// A scheme that is HTTP's, in lower case.
pub(crate) fn known(scheme: &str) -> Option<&'static str> {
    ["http", "https"].into_iter().find(|known| known.eq_ignore_ascii_case(scheme))
}

/// RFC 9112 §3.2.2. An empty path is `/`, also before a query.
fn url(text: &str) -> Option<Target> {
    let (scheme, rest) = text.split_once("://")?;
    let scheme = known(scheme)?;
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let path = match path.starts_with('/') {
        true => Cow::Borrowed(path),
        false => Cow::Owned(format!("/{path}")),
    };
    let secure = if scheme == "https" { Secure::Url } else { Secure::No };
    let path = Path::read(&path)?;
    Some(Target::Url { scheme: Some(scheme), secure, authority: Some(authority.to_owned()), path })
}

#[cfg(test)]
mod tests {
    use http::uri::Authority;
    use leeboard_policy::exchange::{fits_http2, is_authority};

    use super::*;

    #[test]
    fn every_visible_character_stays_as_it_came() {
        for byte in 0..=0x7f_u8 {
            let letter = char::from(byte);
            for text in [format!("/a{letter}b"), format!("/a?b{letter}c")] {
                let legal = byte > b' ' && byte != 0x7f && letter != '#';
                let path = Path::read(&text);
                assert_eq!(path.as_ref().map(Path::as_str), legal.then_some(text.as_str()), "{text:?}");
                assert_eq!(is_path(&text), legal, "{text:?}");
                let held = matches!(path, Some(Path::Held(_)));
                assert_eq!(held, legal && fits_http2(&text), "what the policy knows of HTTP/2: {text:?}");
            }
        }
        let long = format!("/{}", "a".repeat(70_000));
        assert_eq!(matches!(Path::read(&long), Some(Path::Held(_))), fits_http2(&long));
        assert_eq!(Path::read(&long).as_ref().map(Path::as_str), Some(&*long));
        assert!(matches!(Path::read("/\u{e9}"), Some(Path::Held(_))) && fits_http2("/\u{e9}"));
    }

    #[test]
    fn what_the_policy_takes_for_an_authority_http_2_has_too() {
        for text in ["app", "app:80", "a_b.c", "[::1]:80", "127.0.0.1", "a!$&'()*+;=~-._"] {
            assert!(is_authority(text) && Authority::try_from(text).is_ok(), "{text}");
        }
        for byte in 0..=0x7f_u8 {
            let text = format!("a{}b", char::from(byte));
            assert!(!is_authority(&text) || Authority::try_from(text.as_str()).is_ok(), "{text:?}");
        }
    }

    #[test]
    fn targets() {
        let shown = |method: &str, text: &str| {
            let method = Method::from_bytes(method.as_bytes()).expect("a method");
            match Target::read(&method, text) {
                Target::Path(path) => path.as_str().to_owned(),
                Target::Url { scheme, secure, authority, path } => {
                    format!("{scheme:?} {secure:?} {authority:?} {}", path.as_str()).replace("Some", "")
                }
                Target::Authority(authority) => format!("to {authority}"),
                Target::Asterisk => "*".to_owned(),
                Target::Nothing(_) => "-".to_owned(),
            }
        };
        for (method, text, expected) in [
            ("GET", "/a?b", "/a?b"),
            ("GET", "//a", "//a"),
            ("GET", "/a#b", "-"),
            ("GET", "/a?b#c", "-"),
            ("GET", "a", "-"),
            ("GET", "a:80", "-"),
            ("GET", "?a", "-"),
            ("GET", "", "-"),
            ("GET", "*", "-"),
            ("OPTIONS", "*", "*"),
            ("GET", "http://h/a?b", r#"("http") No ("h") /a?b"#),
            ("GET", "HTTP://h", r#"("http") No ("h") /"#),
            ("OPTIONS", "http://h", r#"("http") No ("h") /"#),
            ("GET", "http://h?b=<", r#"("http") No ("h") /?b=<"#),
            ("GET", "https://h:1/a", r#"("https") Url ("h:1") /a"#),
            ("GET", "http:///a", r#"("http") No ("") /a"#),
            ("GET", "http://h#b", "-"),
            ("GET", "ftp://h/a", "-"),
            ("GET", "://h/a", "-"),
            ("CONNECT", "h:443", "to h:443"),
            ("CONNECT", "/a", "to /a"),
        ] {
            assert_eq!(shown(method, text), expected, "{method} {text}");
        }
    }
}
