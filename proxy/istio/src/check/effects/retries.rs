//! Retries that cannot happen, do not help, or do harm.

use leeboard_policy::time::Span;

use super::super::shadowed::cover::{covers, everything, takes};
use super::super::{Checking, duration};
use super::Entry;
use crate::codes;
use crate::locations::Path;
use crate::resources::virtual_service::{HttpAction, HttpMatch, Retries, StringMatch};

pub(super) fn check(cx: &Checking<'_>, at: &Entry<'_>) {
    let HttpAction::Route(_) = &at.entry.action else { return };
    let Some(retries) = at.entry.retries.as_ref().filter(|retries| retries.attempts > 0) else { return };
    let path = at.path.to("retries");
    if let Some(timeout) = at.entry.timeout {
        times(cx, at, retries, timeout, &path);
    }
    match &retries.retry_on {
        None => {
            let message = "without `retryOn` an answer of 503 is not repeated, only what was never processed";
            let complaint = cx.info(codes::RETRY_DEFAULTS, &at.document.meta, &path.to("attempts"), message);
            cx.tell(complaint.help("write `retryOn: 5xx` if these requests may be repeated"));
        }
        Some(conditions) => {
            let conditions: Vec<&str> = conditions.iter().map(|condition| &**condition).collect();
            on_nothing(cx, at, &conditions, &path);
            not_safe(cx, at, &conditions, &path);
        }
    }
}

fn times(cx: &Checking<'_>, at: &Entry<'_>, retries: &Retries, timeout: Span, path: &Path) {
    let meta = &at.document.meta;
    if let Some(backoff) = retries.backoff.filter(|backoff| *backoff >= timeout) {
        let message =
            format!("the pause before a retry, up to {}, outlasts timeout {}", duration(backoff), duration(timeout));
        cx.tell(cx.warning(codes::BACKOFF_TOO_LONG, meta, &path.to("backoff"), message));
    }
    let Some(one) = retries.per_try_timeout else { return };
    let limit = cx.spot(meta, &at.path.to("timeout"));
    if one >= timeout {
        let message =
            format!("perTryTimeout {} never strikes: timeout {} comes first", duration(one), duration(timeout));
        let complaint = cx.warning(codes::PER_TRY_IGNORED, meta, &path.to("perTryTimeout"), message);
        return cx.tell(complaint.label(&limit, "this ends the request"));
    }
    let tries = u64::from(retries.attempts) + 1;
    let all = Span(one.0.saturating_mul(tries));
    if all > timeout {
        let message = format!(
            "attempts {} × perTryTimeout {} can never fit in timeout {}: with the first try they take {}",
            retries.attempts,
            duration(one),
            duration(timeout),
            duration(all)
        );
        let complaint = cx.warning(codes::RETRIES_DO_NOT_FIT, meta, &path.to("attempts"), message);
        let fit = (timeout.0 / one.0).saturating_sub(1);
        let help = match fit {
            0 => format!("raise `timeout` above {}", duration(all)),
            fit => format!("raise `timeout` above {}, or write `attempts: {fit}`", duration(all)),
        };
        cx.tell(complaint.label(&limit, "this ends the request").help(help));
    }
}

fn on_nothing(cx: &Checking<'_>, at: &Entry<'_>, conditions: &[&str], path: &Path) {
    let status = conditions.iter().any(|condition| condition.parse::<u16>().is_ok());
    let path = path.to("retryOn");
    let meta = &at.document.meta;
    if conditions.contains(&"retriable-status-codes") && !status {
        let message = "`retriable-status-codes` repeats nothing: no status is listed beside it";
        let complaint = cx.warning(codes::RETRY_ON_NOTHING, meta, &path, message);
        cx.tell(complaint.help("add the status, as in `retryOn: 503,retriable-status-codes`"));
    } else if conditions.contains(&"retriable-headers") {
        let message = "`retriable-headers` repeats nothing: Istio has no field for the headers";
        cx.tell(cx.warning(codes::RETRY_ON_NOTHING, meta, &path, message));
    }
}

/// Methods that are not repeated lightly.
const UNSAFE: [&str; 2] = ["POST", "PATCH"];

fn not_safe(cx: &Checking<'_>, at: &Entry<'_>, conditions: &[&str], path: &Path) {
    let harmful = |condition: &&&str| {
        matches!(**condition, "5xx" | "gateway-error" | "reset")
            || condition.parse::<u16>().is_ok_and(|status| (500..600).contains(&status))
    };
    let Some(condition) = conditions.iter().find(harmful) else { return };
    let asks = |rule: &HttpMatch, method: &str| rule.method.as_ref().is_some_and(|wanted| takes(wanted, method));
    let meta = &at.document.meta;
    for (number, rule) in at.entry.matches.iter().enumerate() {
        if let Some(method) = UNSAFE.iter().find(|method| asks(rule, method)) {
            let message = format!("`{condition}` repeats {method} requests that may have been processed");
            let complaint = cx.warning(codes::RETRY_NOT_SAFE, meta, &path.to("retryOn"), message);
            let there = cx.spot(meta, &at.path.to("match").to(number).to("method"));
            let complaint = complaint.label(&there, "they are matched here");
            return cx.tell(
                complaint.help("write `retryOn: connect-failure,refused-stream`, or give writes an entry of their own"),
            );
        }
    }
    // Without a method all are matched, unless an earlier entry has taken them. `gateway-error` alone is mostly from a proxy.
    if *condition == "gateway-error" || !reaches(at, "POST") {
        return;
    }
    let message = format!("`{condition}` also repeats POST requests, which may have been processed");
    let complaint = cx.info(codes::RETRY_NOT_SAFE, meta, &path.to("retryOn"), message);
    cx.tell(complaint.help("give writes an entry of their own before this one, matched by `method`"));
}

/// Whether requests of a method reach an entry that does not ask for one.
fn reaches(at: &Entry<'_>, method: &str) -> bool {
    let open: Vec<HttpMatch> = match at.entry.matches.is_empty() {
        true => vec![everything(&at.entry.spot)],
        false => at.entry.matches.iter().filter(|rule| rule.method.is_none()).cloned().collect(),
    };
    let earlier = || at.document.http[..at.at].iter().flat_map(|entry| &entry.matches);
    open.into_iter().any(|rule| {
        let narrowed = HttpMatch { method: Some(StringMatch::Exact(method.into())), ..rule };
        !earlier().any(|before| covers(before, &narrowed))
    })
}
