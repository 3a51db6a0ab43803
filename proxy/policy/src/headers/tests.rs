//! Templates that are read and rendered, and the order in which headers change.

use super::*;
use alloc::format;

/// Headers of a request in order, and of a response.
#[derive(Default)]
struct Message {
    request: Vec<(String, String)>,
    response: Vec<(String, String)>,
}

fn joined<'a>(headers: &'a [(String, String)], name: &str) -> Option<Cow<'a, [u8]>> {
    let values: Vec<&str> = headers.iter().filter(|(known, _)| known == name).map(|(_, value)| &**value).collect();
    (!values.is_empty()).then(|| values.join(",").into_bytes().into())
}

impl Facts for Message {
    fn request(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        joined(&self.request, name)
    }
    fn response(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        joined(&self.response, name)
    }
    fn other(&self, operator: &Operator, out: &mut Vec<u8>) -> bool {
        match operator {
            Operator::Hostname => out.extend_from_slice(b"here"),
            Operator::Environment(name) if &**name == "HOME" => out.extend_from_slice(b"/root"),
            _ => return false,
        }
        true
    }
}

impl HeaderEdit for Message {
    fn remove(&mut self, name: &str) {
        self.request.retain(|(known, _)| known != name);
    }
    fn set(&mut self, name: &str, value: &[u8]) {
        self.remove(name);
        self.append(name, value);
    }
    fn append(&mut self, name: &str, value: &[u8]) {
        self.request.push((name.into(), String::from_utf8(value.to_vec()).expect("text")));
    }
}

/// Has a value that is no text.
struct Odd;

impl Facts for Odd {
    fn request(&self, _name: &str) -> Option<Cow<'_, [u8]>> {
        Some(b"a\xff\xfeb"[..].into())
    }
    fn response(&self, _name: &str) -> Option<Cow<'_, [u8]>> {
        None
    }
    fn other(&self, _operator: &Operator, _out: &mut Vec<u8>) -> bool {
        false
    }
}

fn message(headers: &[(&str, &str)]) -> Message {
    let request = headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    Message { request, ..Message::default() }
}

fn template(text: &str) -> Template {
    Template::parse(text).expect("a template")
}

#[test]
fn templates_are_read_and_rendered() {
    let mut facts = message(&[(":path", "/a?b"), ("x", "abcdef"), ("empty", ""), ("umlaut", "äöü")]);
    facts.response.push(("server".into(), "s".into()));
    #[rustfmt::skip]
    let table = [
        // template, in a header, in the access log
        ("", "", ""),
        ("text", "text", "text"),
        ("100%%", "100%", "100%"),
        ("%%REQ(x)%%", "%REQ(x)%", "%REQ(x)%"),
        ("%REQ(X)%", "abcdef", "abcdef"),
        ("<%REQ(x)%>", "<abcdef>", "<abcdef>"),
        ("%REQ(:PATH)%", "/a?b", "/a?b"),
        ("%REQ(X):3%", "abc", "abc"),
        ("%REQ(X):0%", "", ""),
        ("%REQ(X):99%", "abcdef", "abcdef"),
        ("%REQ(UMLAUT):3%", "ä", "ä"),
        ("%REQ(none)%", "", "-"),
        ("%REQ(none?x):2%", "ab", "ab"),
        ("%REQ(x?none)%", "abcdef", "abcdef"),
        ("%REQ(none?gone)%", "", "-"),
        ("%REQ(empty?x)%", "", ""),
        ("%RESP(Server)%%RESP(none?server)%", "ss", "ss"),
        ("%RESP(x)%", "", "-"),
        ("%HOSTNAME%/%ENVIRONMENT(HOME)%", "here//root", "here//root"),
        ("%ENVIRONMENT(GONE)%", "", "-"),
        ("%UPSTREAM_HOST%", "", "-"),
        ("a%TRACE_ID%b", "ab", "a-b"),
        ("%DYNAMIC_METADATA(envoy.lb:key):7%", "", "-"),
        ("%CEL(request.headers['x'] + (a))%|", "|", "-|"),
        ("%START_TIME(%Y/%m/%dT%H:%M:%S%z)%", "", "-"),
        ("%REQ(x)%)", "abcdef)", "abcdef)"),
    ];
    for (text, header, log) in table {
        let (template, mut out, mut line) = (template(text), Vec::new(), Vec::new());
        template.render(&facts, &mut out);
        template.render_or("-", &facts, &mut line);
        assert_eq!((&*out, &*line), (header.as_bytes(), log.as_bytes()), "{text}");
    }
    let mut copied = Vec::new();
    template("[%REQ(x):3%]").render(&Odd, &mut copied);
    assert_eq!(copied, b"[a\xff\xfe]", "bytes that are no text are copied");
    assert_eq!(template("a%%b"), Template::literal("a%b"), "text is one part");
    assert_eq!(template(""), Template::literal(""));
}

#[test]
fn every_operator_has_a_name_of_its_own() {
    for (name, operator) in &PLAIN {
        assert_eq!(template(&format!("%{name}%")), Template(Vec::from([Part::Operator(operator.clone())])), "{name}");
    }
}

#[test]
fn what_cannot_be_filled_is_known_by_name() {
    assert!(UNFILLED.is_sorted() && UNFILLED.iter().all(|name| PLAIN.iter().all(|(known, _)| known != name)));
    for name in UNFILLED {
        assert_eq!(template(&format!("%{name}%%{name}(a:b)%%HOSTNAME%")).unfilled().collect::<Vec<_>>(), [name, name]);
    }
}

#[test]
fn mistakes_are_told_with_their_place() {
    use TemplateProblem::{Parameters, Unbalanced, Unknown};
    #[rustfmt::skip]
    let table = [
        ("%", 0, Unbalanced),
        ("50% off", 2, Unbalanced),
        ("a%%%", 3, Unbalanced),
        ("%REQ(x)", 0, Unbalanced),
        ("%REQ(x%", 0, Unbalanced),
        ("ä%HOSTNAME", 2, Unbalanced),
        ("%hostname%", 0, Unbalanced),
        ("%HOSTNAME%%", 10, Unbalanced),
        ("%HOSTNAME% %NO_SUCH%", 11, Unknown("NO_SUCH".into())),
        ("%REQ%", 0, Parameters("REQ".into())),
        ("%REQ()%", 0, Parameters("REQ".into())),
        ("%REQ(a?)%", 0, Parameters("REQ".into())),
        ("%REQ(a?b?c)%", 0, Parameters("REQ".into())),
        ("%REQ(a):%", 0, Parameters("REQ".into())),
        ("%REQ(a):-1%", 0, Parameters("REQ".into())),
        ("%HOSTNAME()%", 0, Parameters("HOSTNAME".into())),
        ("%HOSTNAME:3%", 0, Parameters("HOSTNAME".into())),
        ("%ENVIRONMENT%", 0, Parameters("ENVIRONMENT".into())),
    ];
    for (text, position, kind) in table {
        assert_eq!(Template::parse(text), Err(TemplateError { position, kind }), "{text}");
    }
}

/// `-name` removes, `name=value` sets, `name+value` adds.
fn ops(text: &str) -> HeaderOps {
    let mut ops = Changes::default();
    for word in text.split_whitespace() {
        if let Some(name) = word.strip_prefix('-') {
            ops.remove.push(name.into());
        } else if let Some((name, value)) = word.split_once('=') {
            ops.set.push((name.into(), template(value)));
        } else if let Some((name, value)) = word.split_once('+') {
            ops.add.push((name.into(), template(value)));
        }
    }
    ops.into()
}

#[test]
fn headers_change_in_order() {
    #[rustfmt::skip]
    let table = [
        // route, destination, with one destination, with several
        ("", "", "x=0", "x=0"),
        ("x=r", "", "x=r", "x=r"),
        ("x+r", "x+d", "x=0 x=r x=d", "x=0 x=d x=r"),
        ("x=r", "x=d", "x=d", "x=r"),
        ("-x", "x+d", "x=d", ""),
        ("x+r", "-x", "x=r", "x=r"),
        ("x=r", "-x", "x=r", "x=r"),
        // A set of either level comes before any add when there is one destination.
        ("x+r", "x=d", "x=d x=r", "x=d x=r"),
        ("x=r", "x+d", "x=r x=d", "x=r"),
        ("-x x=1 x+2", "", "x=1 x=2", "x=1 x=2"),
        // Values are worked out after removals and before anything is set.
        ("y=%REQ(x)%", "", "x=0 y=0", "x=0 y=0"),
        ("-x y=%REQ(x)%", "", "", ""),
        ("x=1 y=%REQ(x)%", "", "x=1 y=0", "x=1 y=0"),
        ("y=%REQ(x)%", "x=d", "y=0 x=d", "x=d y=d"),
        // An empty value is not added, nor does it overwrite.
        ("x= y+ z=%REQ(none)%", "", "x=0", "x=0"),
    ];
    for (route, destination, single, several) in table {
        for (several_destinations, expected) in [(false, single), (true, several)] {
            let mut message = message(&[("x", "0")]);
            apply(&ops(route), &ops(destination), several_destinations, &mut message);
            let found: Vec<_> = message.request.iter().map(|(name, value)| format!("{name}={value}")).collect();
            assert_eq!(found.join(" "), expected, "route {route}, destination {destination}, {several_destinations}");
        }
    }
    assert!(ops("").is_empty() && !ops("-x").is_empty());
}
