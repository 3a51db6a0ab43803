//! Reads `http[].match[]`.

use std::sync::Arc;

use super::scope::{Scope, gateways};
use super::string_match::{Form, by_name, string_match};
use crate::codes;
use crate::fields::{Field, Fields};
use crate::names;
use crate::resources::virtual_service::{HttpMatch, StringMatch};
use crate::support::HTTP_MATCH;

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
