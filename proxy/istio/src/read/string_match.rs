//! Reads StringMatch: `exact`, `prefix` or `regex`, and maps of them by header or parameter.

use std::sync::Arc;

use leeboard_policy::expression::Expression;

use crate::codes;
use crate::diagnostic::Severity;
use crate::fields::{Field, Fields};
use crate::resources::virtual_service::StringMatch;
use crate::support::STRING_MATCH;

/// What is allowed in a StringMatch besides the usual.
#[derive(Clone, Copy, Default)]
pub(super) struct Form {
    /// `prefix: ""`, which matches everything.
    pub(super) empty_prefix: bool,
    /// `regex: "*"`, which means presence.
    pub(super) star_regex: bool,
}

pub(super) fn string_match(field: Field<'_>, form: Form) -> Option<StringMatch> {
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

pub(super) fn by_name(field: Field<'_>, form: Form) -> Vec<(Arc<str>, StringMatch)> {
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
