//! Pages of other origins: whether they may call, what their preflight requests are answered, and which headers tell the
//! browser so. Istio: `corsPolicy`. Envoy: the filter `envoy.filters.http.cors`.

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::pattern::Pattern;
use crate::request::Head;

/// A route's rules for pages of other origins. Lists are joined with commas; an empty one is not told.
#[derive(Clone, Debug, Default)]
pub struct Cors {
    /// Who may call. Envoy: a pattern that matches `*` matches every origin.
    pub origins: Vec<Pattern>,
    /// Methods that may be used; `*` is whichever is asked for.
    pub methods: Arc<str>,
    /// Headers that may be sent; `*` is whichever are asked for.
    pub headers: Arc<str>,
    /// Headers of responses that the page may see.
    pub exposed: Arc<str>,
    /// How many seconds a preflight's answer holds.
    pub max_age: Option<u64>,
    /// Whether the page's cookies may be sent along.
    pub credentials: bool,
    /// Whether a preflight request of an origin that may not call is answered here, without leave, instead of sent on.
    /// Istio: `unmatchedPreflights: IGNORE`.
    pub ignores_unmatched: bool,
}

/// What is done about one request for its origin.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Grant {
    /// Whether the request is a preflight that is answered here, with 200.
    pub(crate) answers: bool,
    /// Headers that the response is given, in place of any of the same names.
    pub(crate) headers: Vec<(&'static str, Arc<[u8]>)>,
}

impl Cors {
    /// What these rules do about a request; `None` is nothing.
    pub(crate) fn decide(&self, head: &impl Head) -> Option<Box<Grant>> {
        let origin = head.header("origin").filter(|origin| !origin.is_empty())?;
        let preflight = preflight(head);
        if !self.origins.iter().any(|allowed| allowed.matches(b"*") || allowed.matches(&origin)) {
            let ignored = preflight.is_some() && self.ignores_unmatched;
            return ignored.then(|| Box::new(Grant { answers: true, headers: Vec::new() }));
        }
        let mut headers = Vec::new();
        headers.push(("access-control-allow-origin", Arc::from(&*origin)));
        if self.credentials {
            headers.push(("access-control-allow-credentials", b"true"[..].into()));
        }
        if !self.exposed.is_empty() {
            headers.push(("access-control-expose-headers", self.exposed.clone().into()));
        }
        let Some(method) = &preflight else { return Some(Box::new(Grant { answers: false, headers })) };
        let echoed = |allowed: &Arc<str>, asked: Option<&[u8]>| match &**allowed {
            "" => None,
            "*" => asked.map(Arc::from),
            _ => Some(Arc::<[u8]>::from(allowed.clone())),
        };
        let asked_headers = head.header("access-control-request-headers");
        let more = [
            ("access-control-allow-methods", echoed(&self.methods, Some(method))),
            ("access-control-allow-headers", echoed(&self.headers, asked_headers.as_deref())),
            ("access-control-max-age", self.max_age.map(|age| age.to_string().into_bytes().into())),
        ];
        headers.extend(more.into_iter().filter_map(|(name, value)| Some((name, value?))));
        Some(Box::new(Grant { answers: true, headers }))
    }
}

/// The method that a preflight asks for. Envoy: an `OPTIONS` that names an origin and the method that shall follow.
pub(crate) fn preflight<'h>(head: &'h impl Head) -> Option<alloc::borrow::Cow<'h, [u8]>> {
    let asked = head.header("access-control-request-method").filter(|method| !method.is_empty());
    asked.filter(|_| head.method() == "OPTIONS")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::tests::Sketch;
    use alloc::string::String;
    use alloc::vec;

    fn full() -> Cors {
        Cors {
            origins: vec![Pattern::Exact("http://a".into()), Pattern::Prefix("http://b.".into())],
            methods: "GET,POST".into(),
            headers: "x-a,x-b".into(),
            exposed: "x-c".into(),
            max_age: Some(86_400),
            credentials: true,
            ignores_unmatched: false,
        }
    }

    fn simple(origin: &str) -> Sketch {
        Sketch::get("h", "/").with("origin", origin)
    }

    fn preflight(origin: &str) -> Sketch {
        let asked = simple(origin).with("access-control-request-method", "PUT");
        Sketch { method: "OPTIONS".into(), ..asked.with("access-control-request-headers", "x-q, x-r") }
    }

    /// What is done, as `answered` or `passed` and the headers without their common beginning.
    fn told(cors: &Cors, head: &Sketch) -> String {
        let Some(grant) = cors.decide(head) else { return "nothing".into() };
        let mut text = String::from(if grant.answers { "answered" } else { "passed" });
        for (name, value) in &grant.headers {
            text.push_str(&alloc::format!("; {}: {}", &name["access-control-".len()..], value.escape_ascii()));
        }
        text
    }

    #[test]
    fn requests() {
        let any = Cors { origins: vec![Pattern::Exact("*".into())], ..Cors::default() };
        let echo = Cors { methods: "*".into(), headers: "*".into(), ..any.clone() };
        let ignoring = Cors { ignores_unmatched: true, ..full() };
        let closed = Cors::default();
        let told_a = "passed; allow-origin: http://a; allow-credentials: true; expose-headers: x-c";
        let options = Sketch { method: "OPTIONS".into(), ..simple("http://a") };
        let no_headers =
            Sketch { method: "OPTIONS".into(), ..simple("http://z").with("access-control-request-method", "PUT") };
        #[rustfmt::skip]
        let table: [(&str, &Cors, Sketch, &str); 14] = [
            ("an allowed origin", &full(), simple("http://a"), told_a),
            ("by prefix", &full(), simple("http://b.c"), "passed; allow-origin: http://b.c; allow-credentials: true; expose-headers: x-c"),
            ("another origin", &full(), simple("http://c"), "nothing"),
            ("no origin", &full(), Sketch::get("h", "/"), "nothing"),
            ("an empty origin", &full(), simple(""), "nothing"),
            ("a preflight", &full(), preflight("http://a"),
             "answered; allow-origin: http://a; allow-credentials: true; expose-headers: x-c; allow-methods: GET,POST; \
              allow-headers: x-a,x-b; max-age: 86400"),
            ("OPTIONS that asks for no method", &full(), options, told_a),
            ("a preflight's headers without its method", &full(), Sketch { method: "GET".into(), ..preflight("http://a") }, told_a),
            ("another origin's preflight", &full(), preflight("http://c"), "nothing"),
            ("is ignored", &ignoring, preflight("http://c"), "answered"),
            ("but not what is no preflight", &ignoring, simple("http://c"), "nothing"),
            ("any origin", &any, preflight("http://z"), "answered; allow-origin: http://z"),
            ("what is asked for is granted", &echo, preflight("http://z"), "answered; allow-origin: http://z; allow-methods: PUT; allow-headers: x-q, x-r"),
            ("and what is not is not", &echo, no_headers, "answered; allow-origin: http://z; allow-methods: PUT"),
        ];
        for (what, cors, head, expected) in table {
            assert_eq!(told(cors, &head), expected, "{what}");
        }
        assert_eq!(told(&closed, &simple("http://a")), "nothing", "nobody is allowed");
    }
}
