//! What rewrites and redirects make of a path.

use leeboard_policy::exchange::{is_authority, is_path};

use super::super::Checking;
use super::super::shadowed::cover::{covers, everything, takes};
use super::Entry;
use crate::codes;
use crate::compile::routes::actions::{substitution, without_blanks};
use crate::compile::routes::headers::is_host;
use crate::diagnostic::Diagnostic;
use crate::locations::Path;
use crate::resources::virtual_service::{
    HeaderOperations, HttpAction, HttpMatch, RedirectPath, RewritePath, StringMatch,
};

pub(super) fn check(cx: &Checking<'_>, at: &Entry<'_>) {
    forms(cx, at);
    match &at.entry.action {
        HttpAction::Redirect(redirect) => {
            if let Some(RedirectPath::Prefix(with)) = &redirect.path {
                surgery(cx, at, with, &at.path.to("redirect").to("prefixRewrite"));
            }
            redirects(cx, at);
        }
        _ => match at.entry.rewrite.as_ref().and_then(|rewrite| rewrite.path.as_ref()) {
            Some(RewritePath::Uri(with)) => {
                surgery(cx, at, &without_blanks(with), &at.path.to("rewrite").to("uri"));
            }
            Some(RewritePath::Regex { find, with }) => {
                if let Err(message) = substitution(with, find.captures_len()) {
                    let spot = cx.spot(&at.document.meta, &at.path.to("rewrite").to("uriRegexRewrite").to("rewrite"));
                    cx.tell(Diagnostic::error(codes::BAD_VALUE, &at.document.meta.resource, &spot, message));
                }
            }
            None => {}
        },
    }
}

/// Texts that are to be paths or hosts and are neither.
fn forms(cx: &Checking<'_>, at: &Entry<'_>) {
    let no_path = |text: &str, path: Path| {
        // What a blank is for is known.
        let text = text.trim_matches(' ');
        if text.is_empty() || is_path(text) {
            return;
        }
        let message = match text.split_once("://") {
            Some(_) => format!("`{text}` is a whole URL and no path"),
            None if text.starts_with('/') => format!("`{}` holds what no path can", text.escape_debug()),
            None => format!("`{text}` does not begin with `/`, and is sent as `/{text}`"),
        };
        cx.tell(cx.warning(codes::NO_PATH, &at.document.meta, &path, message));
    };
    let no_authority = |text: &str, path: Path| {
        if !is_authority(text) {
            let message = format!("`{text}` is no host with or without a port");
            cx.tell(cx.warning(codes::NO_AUTHORITY, &at.document.meta, &path, message));
        }
    };
    let hosts = |operations: &HeaderOperations, path: Path| {
        for (verb, list) in [("set", &operations.set), ("add", &operations.add)] {
            for (name, value) in list.iter().filter(|(name, _)| is_host(name)) {
                no_authority(value, path.to(verb).to(name.to_string()));
            }
        }
    };
    match &at.entry.action {
        HttpAction::Redirect(redirect) => {
            let path = at.path.to("redirect");
            match &redirect.path {
                Some(RedirectPath::Uri(uri)) => no_path(uri.split('#').next().unwrap_or_default(), path.to("uri")),
                Some(RedirectPath::Prefix(with)) if !with.is_empty() => no_path(with, path.to("prefixRewrite")),
                Some(RedirectPath::Prefix(_)) | None => {}
            }
            redirect.authority.iter().for_each(|authority| no_authority(authority, path.to("authority")));
        }
        HttpAction::Route(destinations) => {
            let rewrite = at.entry.rewrite.as_ref();
            if let Some(RewritePath::Uri(with)) = rewrite.and_then(|rewrite| rewrite.path.as_ref()) {
                no_path(with, at.path.to("rewrite").to("uri"));
            }
            if let Some(authority) = rewrite.and_then(|rewrite| rewrite.authority.as_ref()) {
                no_authority(authority, at.path.to("rewrite").to("authority"));
            }
            hosts(&at.entry.headers.request, at.path.to("headers").to("request"));
            for (number, destination) in destinations.iter().enumerate() {
                let path = at.path.to("route").to(number).to("headers").to("request");
                hosts(&destination.headers.request, path);
            }
        }
        HttpAction::Direct(_) | HttpAction::Delegate(_) => {}
    }
}

/// The matched prefix gives way character by character; without a path in the match it is the leading `/`.
fn surgery(cx: &Checking<'_>, at: &Entry<'_>, with: &str, path: &Path) {
    if with.is_empty() {
        return;
    }
    let whole = [everything(&at.entry.spot)];
    let rules: &[HttpMatch] = if at.entry.matches.is_empty() { &whole } else { &at.entry.matches };
    for (number, rule) in rules.iter().enumerate() {
        let prefix = match &rule.uri {
            None | Some(StringMatch::Present) => "/",
            Some(StringMatch::Prefix(prefix)) => prefix,
            _ => continue,
        };
        let (code, example) = match (prefix.ends_with('/'), with.ends_with('/')) {
            (false, true) if !prefix.is_empty() && !taken_before(at, number, rule, prefix) => {
                (codes::REWRITE_SLASHES, format!("{prefix}/x"))
            }
            (true, false) => (codes::REWRITE_GLUES, format!("{prefix}x")),
            _ => continue,
        };
        let made = format!("{with}{}", &example[prefix.len()..]);
        let message = format!("`{example}` becomes `{made}`");
        let complaint = cx.warning(code, &at.document.meta, path, message);
        let there = cx.spot(&at.document.meta, &at.path.to("match").to(number).to("uri"));
        let help = match code {
            codes::REWRITE_SLASHES => format!("match `{prefix}/` before `{prefix}`, so that the slash is replaced too"),
            _ => format!("write `{with}/`"),
        };
        let complaint =
            if at.entry.matches.is_empty() { complaint } else { complaint.label(&there, "this is what it replaces") };
        return cx.tell(complaint.help(help));
    }
}

/// Whether what is below the prefix is matched before: then it is for the prefix alone.
fn taken_before(at: &Entry<'_>, number: usize, rule: &HttpMatch, prefix: &str) -> bool {
    let below = HttpMatch { uri: Some(StringMatch::Prefix(format!("{prefix}/").into())), ..rule.clone() };
    let entries = at.document.http[..at.at].iter().flat_map(|entry| &entry.matches);
    entries.chain(&at.entry.matches[..number.min(at.entry.matches.len())]).any(|before| covers(before, &below))
}

/// A redirect to where the same entry redirects again.
fn redirects(cx: &Checking<'_>, at: &Entry<'_>) {
    let HttpAction::Redirect(redirect) = &at.entry.action else { return };
    if redirect.authority.is_some() || redirect.scheme.is_some() || redirect.port.is_some() {
        return;
    }
    let (name, again) = match &redirect.path {
        Some(RedirectPath::Uri(uri)) => {
            let target = uri.split(['?', '#']).next().unwrap_or_default();
            let any = at.entry.matches.is_empty();
            let loops = |rule: &HttpMatch| {
                let plain = rule.headers.is_empty() && rule.query_params.is_empty() && rule.without_headers.is_empty();
                plain && rule.method.is_none() && rule.uri.as_ref().is_none_or(|wanted| takes(wanted, target))
            };
            ("uri", (any || at.entry.matches.iter().any(loops)).then(|| target.to_owned()))
        }
        Some(RedirectPath::Prefix(with)) => {
            let grows = |rule: &HttpMatch| match &rule.uri {
                Some(StringMatch::Prefix(prefix)) => with.starts_with(&**prefix),
                None | Some(StringMatch::Present) => with.starts_with('/'),
                _ => false,
            };
            ("prefixRewrite", at.entry.matches.iter().any(grows).then(|| with.to_string()))
        }
        None => return,
    };
    if let Some(target) = again {
        let message = format!("`{target}` is redirected again by this entry, without end");
        cx.tell(cx.warning(codes::REDIRECT_LOOP, &at.document.meta, &at.path.to("redirect").to(name), message));
    }
}
