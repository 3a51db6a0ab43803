//! Reads `http[].match[]`.

use std::sync::Arc;

use leeboard_policy::expression::Expression;

use super::virtual_service::{Scope, gateways};
use crate::codes;
use crate::diagnostic::Severity;
use crate::fields::{Field, Fields};
use crate::names;
use crate::resources::virtual_service::{HttpMatch, StringMatch};
use crate::support::{HTTP_MATCH, STRING_MATCH};

pub(super) fn read(field: Field<'_>, scope: Scope) -> Vec<HttpMatch> {
    field.items(&HTTP_MATCH).iter().map(|fields| one(fields, scope)).collect()
}

fn one(fields: &Fields<'_>, scope: Scope) -> HttpMatch {
    let plain = Form::default();
    HttpMatch {
        spot: fields.spot(),
        name: fields.get("name").text().unwrap_or_default(),
        uri: string_match(fields.get("uri"), Form { empty_prefix: true, ..plain }),
        ignore_uri_case: fields.get("ignoreUriCase").bool().unwrap_or(false),
        scheme: string_match(fields.get("scheme"), plain),
        method: string_match(fields.get("method"), plain),
        authority: string_match(fields.get("authority"), plain),
        headers: headers(fields.get("headers"), plain, scope),
        without_headers: headers(fields.get("withoutHeaders"), Form { star_regex: true, ..plain }, scope),
        query_params: by_name(fields.get("queryParams"), plain),
        port: fields.get("port").int(0..=65535).and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0),
        source_labels: fields.get("sourceLabels").checked_labels(),
        source_namespace: fields.get("sourceNamespace").filled(codes::BAD_NAME, names::dns_label).map(|ns| ns.value),
        gateways: {
            fields.get("statPrefix").text();
            gateways(fields.get("gateways")).into_iter().map(|gateway| gateway.value).collect()
        },
    }
}

/// What is allowed in a StringMatch besides the usual.
#[derive(Clone, Copy, Default)]
pub(super) struct Form {
    /// `prefix: ""`, which matches everything.
    empty_prefix: bool,
    /// `regex: "*"`, which means presence.
    star_regex: bool,
}

fn string_match(field: Field<'_>, form: Form) -> Option<StringMatch> {
    field.block_of(&STRING_MATCH, "exact").and_then(|fields| pattern_of(&fields, form))
}

pub(super) fn pattern_of(fields: &Fields<'_>, form: Form) -> Option<StringMatch> {
    fields.at_most_one(&["exact", "prefix", "regex"]);
    let exact = fields.get("exact").text().map(StringMatch::Exact);
    let prefix = fields.get("prefix");
    let regex = fields.get("regex");
    let prefix_text = prefix.text();
    if prefix_text.as_deref() == Some("") && !form.empty_prefix {
        fields.cx.error(
            codes::BAD_VALUE,
            prefix.mark(),
            "an empty prefix matches everything; write `{}` to ask for presence",
        );
    }
    let star = form.star_regex && regex.node.and_then(|node| node.raw()) == Some("*");
    let regex = if star {
        Some(StringMatch::Present)
    } else {
        regex.regex(Expression::whole).map(|regex| StringMatch::Regex(Box::new(regex)))
    };
    let written = !fields.present(&["exact", "prefix", "regex"]).is_empty();
    let found = exact.or(prefix_text.map(StringMatch::Prefix)).or(regex);
    found.or((!written).then_some(StringMatch::Present))
}

fn by_name(field: Field<'_>, form: Form) -> Vec<(Arc<str>, StringMatch)> {
    let mut found: Vec<(Arc<str>, StringMatch)> = Vec::new();
    for (key, node) in field.members() {
        // Istio's decoder takes it for presence, its schema refuses it.
        if node.is_null() {
            let message = format!("`{}` has no condition", key.text);
            let at = field.cx.at(Severity::Error, codes::BAD_VALUE, key.mark, message);
            field.cx.push(at.help("write `{}` to ask whether it is there, whatever its value"));
            continue;
        }
        let condition = Field { cx: field.cx, name: "condition", key: key.mark, node: Some(node) };
        found.extend(string_match(condition, form).map(|pattern| (Arc::from(&*key.text), pattern)));
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found.shrink_to_fit();
    found
}

fn headers(field: Field<'_>, form: Form, scope: Scope) -> Vec<(Arc<str>, StringMatch)> {
    for (key, _) in field.members() {
        if key.text.starts_with("@request.auth.claims") {
            if !scope.gateway_only {
                field.cx.error(codes::BAD_NAME, key.mark, "claims of a token are matched at gateways only");
            }
        } else {
            field.cx.check(codes::BAD_NAME, key.mark, names::match_header(&key.text));
        }
    }
    let lower = |(name, pattern): (Arc<str>, StringMatch)| (Arc::from(name.to_ascii_lowercase()), pattern);
    let mut found: Vec<(Arc<str>, StringMatch)> = by_name(field, form).into_iter().map(lower).collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}
