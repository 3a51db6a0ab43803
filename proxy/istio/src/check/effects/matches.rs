//! Matches that hold for no request, or for others than they seem to.

use leeboard_policy::expression::Expression;

use super::super::references::ports::called;
use super::super::shadowed::cover::takes;
use super::super::{Checking, list};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::locations::{Path, way};
use crate::names;
use crate::resources::virtual_service::{HttpMatch, StringMatch};
use crate::resources::{Meta, VirtualService};

const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"];

pub(super) fn check(cx: &Checking<'_>, document: &VirtualService) {
    for (entry, route) in document.http.iter().enumerate() {
        for (number, rule) in route.matches.iter().enumerate() {
            let at = At { cx, document, path: way!["spec", "http", entry, "match", number] };
            at.port(rule);
            at.sources(rule);
            at.words(rule);
            at.uri(rule);
            at.values(rule);
            at.contradiction(rule);
        }
    }
}

/// A match, and where it stands.
struct At<'a, 'r> {
    cx: &'a Checking<'r>,
    document: &'a VirtualService,
    path: Path,
}

impl At<'_, '_> {
    fn meta(&self) -> &Meta {
        &self.document.meta
    }

    fn port(&self, rule: &HttpMatch) {
        let Some(port) = rule.port.filter(|_| self.document.gateways.is_empty()) else { return };
        let Some(view) = self.cx.view(self.document.meta.namespace()) else { return };
        let called = called(self.cx, self.document, view);
        if called.is_empty() || called.contains(&port) {
            return;
        }
        let message = format!("port {port} is never the listener's: these hosts are called on {}", list(&called));
        let complaint = self.cx.warning(codes::PORT_NEVER, self.meta(), &self.path.to("port"), message);
        self.cx.tell(complaint.help("the port is that of the service, not of its endpoints"));
    }

    fn sources(&self, rule: &HttpMatch) {
        if rule.gateways.is_empty() {
            return;
        }
        let name = match (rule.source_labels.is_empty(), &rule.source_namespace) {
            (false, _) => "sourceLabels",
            (true, Some(_)) => "sourceNamespace",
            (true, None) => return,
        };
        let spot = self.cx.key(self.meta(), &self.path.to(name));
        let message = format!("`{name}` is not looked at: the match names `gateways`");
        let complaint = Diagnostic::warning(codes::SOURCE_IGNORED, &self.meta().resource, &spot, message);
        let there = self.cx.key(self.meta(), &self.path.to("gateways"));
        self.cx.tell(complaint.label(&there, "this alone decides"));
    }

    /// Methods and schemes.
    fn words(&self, rule: &HttpMatch) {
        if let Some(StringMatch::Exact(method)) = &rule.method
            && !METHODS.contains(&&**method)
        {
            let upper = method.to_ascii_uppercase();
            let meant = METHODS.into_iter().find(|known| *known == upper);
            let near = meant.or_else(|| names::nearest(&upper, METHODS.into_iter()));
            if let Some(near) = near {
                self.never("method", &format!("no request has the method `{method}`"), near);
            }
        }
        if let Some(StringMatch::Exact(scheme)) = &rule.scheme
            && !matches!(&**scheme, "http" | "https")
        {
            let near = names::nearest(scheme, ["http", "https"].into_iter()).unwrap_or("http");
            self.never("scheme", &format!("no request has the scheme `{scheme}`"), near);
        }
    }

    fn never(&self, field: &'static str, message: &str, near: &str) {
        let path = self.path.to(field).to("exact");
        let complaint = self.cx.warning(codes::METHOD_CASE, self.meta(), &path, message);
        self.cx.tell(complaint.help(format!("did you mean `{near}`?")));
    }

    fn uri(&self, rule: &HttpMatch) {
        let (form, text) = match &rule.uri {
            Some(StringMatch::Exact(text)) => ("exact", text),
            Some(StringMatch::Prefix(text)) if !text.is_empty() => ("prefix", text),
            _ => return,
        };
        let why = if text.contains('?') {
            "the query is no part of it: match `queryParams`"
        } else if text.contains('#') {
            "a fragment is never sent"
        } else if !text.starts_with('/') && (form, &**text) != ("exact", "*") {
            "a path begins with `/`"
        } else if text.split('/').any(|part| matches!(part, "." | "..")) {
            "`.` and `..` are resolved before it is matched"
        } else {
            return;
        };
        let message = format!("no request has the path `{text}`: {why}");
        self.cx.tell(self.cx.warning(codes::PATH_NEVER, self.meta(), &self.path.to("uri").to(form), message));
    }

    /// Regular expressions and plain values, wherever they stand.
    fn values(&self, rule: &HttpMatch) {
        let single =
            [("uri", &rule.uri), ("authority", &rule.authority), ("method", &rule.method), ("scheme", &rule.scheme)];
        for (field, text) in single {
            if let Some(StringMatch::Regex(regex)) = text {
                self.regex(regex, &self.path.to(field).to("regex"));
            }
        }
        let maps = [
            ("headers", &rule.headers),
            ("withoutHeaders", &rule.without_headers),
            ("queryParams", &rule.query_params),
        ];
        for (field, map) in maps {
            for (name, text) in map {
                let path = self.path.to(field).to(name.to_string());
                self.value(field, name, text, &path);
            }
        }
    }

    fn value(&self, field: &str, name: &str, text: &StringMatch, path: &Path) {
        match text {
            StringMatch::Regex(regex) => self.regex(regex, &path.to("regex")),
            StringMatch::Exact(value) if value.is_empty() && field != "withoutHeaders" => {
                let message = format!("`exact: \"\"` asks for an empty `{name}`, not for its presence");
                let complaint = self.cx.warning(codes::EXACT_EMPTY, self.meta(), &path.to("exact"), message);
                self.cx.tell(complaint.help(format!("write `{name}: {{}}` to ask whether it is there")));
            }
            StringMatch::Exact(value) if field != "queryParams" && value.trim() != &**value => {
                let message = format!("`{name}` never has this value: blanks around it are taken away on arrival");
                self.cx.tell(self.cx.warning(codes::BLANKS_NEVER, self.meta(), &path.to("exact"), message));
            }
            _ => {}
        }
    }

    /// An expression without an operator must be the whole value.
    fn regex(&self, regex: &Expression, path: &Path) {
        let inner = regex.as_str();
        if inner.is_empty() || inner.contains(|c: char| r"\.+*?()|[]{}^$".contains(c)) {
            return;
        }
        let message = format!("`{inner}` must be the whole value: an expression matches from end to end");
        let complaint = self.cx.warning(codes::REGEX_WITHOUT_PATTERN, self.meta(), path, message);
        self.cx.tell(complaint.help(format!("write `exact` for that, or `.*{inner}.*` for a part of it")));
    }

    /// What must be there must not be ruled out.
    fn contradiction(&self, rule: &HttpMatch) {
        for (name, unwanted) in &rule.without_headers {
            let Some((_, wanted)) = rule.headers.iter().find(|(known, _)| known == name) else { continue };
            let impossible = match (unwanted, wanted) {
                (StringMatch::Present, _) => true,
                (unwanted, StringMatch::Exact(value)) => takes(unwanted, value),
                _ => false,
            };
            if impossible {
                let message = format!("`{name}` is asked for and ruled out: the match never holds");
                let spot = self.cx.key(self.meta(), &self.path.to("withoutHeaders").to(name.to_string()));
                let complaint = Diagnostic::warning(codes::CONTRADICTION, &self.meta().resource, &spot, message);
                let there = self.cx.key(self.meta(), &self.path.to("headers").to(name.to_string()));
                self.cx.tell(complaint.label(&there, "it is asked for here"));
            }
        }
    }
}
