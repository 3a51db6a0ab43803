//! Faults, mirrors and other doings of an entry that come to something else than they seem to.

use super::super::{Checking, duration};
use super::Entry;
use crate::annotations::{self, FAULT_SCOPE};
use crate::codes;
use crate::compile::names::complete;
use crate::resources::virtual_service::{Destination, HttpAction};

pub(super) fn check(cx: &Checking<'_>, at: &Entry<'_>) {
    match &at.entry.action {
        HttpAction::Route(_) => {
            faults(cx, at);
            mirrors(cx, at);
        }
        HttpAction::Redirect(_) | HttpAction::Direct(_) => forward_only(cx, at),
        HttpAction::Delegate(_) => {}
    }
}

fn faults(cx: &Checking<'_>, at: &Entry<'_>) {
    let (meta, path) = (&at.document.meta, at.path.to("fault"));
    let Some(fault) = &at.entry.fault else { return };
    if let Some((_, percent)) = fault.abort.filter(|(_, percent)| *percent > 0.0) {
        let retried = at.entry.retries.as_ref().is_some_and(|retries| retries.attempts > 0);
        if percent >= 100.0 {
            let message = "every request is aborted: the destination is never called";
            let at = path.to("abort").to("percentage").to("value");
            cx.tell(cx.info(codes::ALL_ABORTED, meta, &at, message));
        } else if retried && !annotations::faults_in_attempts(&meta.annotations) {
            let message = "an injected abort is not retried: faults come once, before the first try";
            let complaint = cx.info(codes::FAULT_NOT_RETRIED, meta, &path.to("abort"), message);
            let complaint =
                complaint.help(format!("annotate the object with `{FAULT_SCOPE}: attempt` to watch retries work"));
            let retries = cx.spot(meta, &at.path.to("retries"));
            cx.tell(complaint.label(&retries, "these retries never see it"));
        }
    }
    if let (Some((delay, percent)), Some(timeout)) = (fault.delay, at.entry.timeout)
        && percent > 0.0
        && delay >= timeout
    {
        let (delay, timeout) = (duration(delay), duration(timeout));
        let message = format!("a delay of {delay} is not cut by timeout {timeout}: it comes before the timeout begins");
        let complaint = cx.warning(codes::DELAY_BEFORE_TIMEOUT, meta, &path.to("delay").to("fixedDelay"), message);
        let there = cx.spot(meta, &at.path.to("timeout"));
        cx.tell(
            complaint
                .label(&there, "it begins after the delay")
                .help("test the caller's patience with it, not this entry's"),
        );
    }
}

fn mirrors(cx: &Checking<'_>, at: &Entry<'_>) {
    let HttpAction::Route(routed) = &at.entry.action else { return };
    let [only] = &routed[..] else { return };
    let own = at.document.meta.namespace();
    let same = |a: &Destination, b: &Destination| {
        complete(&a.host.value, own, cx.domain()) == complete(&b.host.value, own, cx.domain())
            && a.subset.as_ref().map(|subset| &subset.value) == b.subset.as_ref().map(|subset| &subset.value)
            && a.port.as_ref().map(|port| port.value) == b.port.as_ref().map(|port| port.value)
    };
    if let Some(mirror) = at.entry.mirrors.iter().find(|mirror| same(&mirror.destination, &only.destination)) {
        let spot = &mirror.destination.host.spot;
        let message = "copies go to where the requests go: the same endpoints do the work twice";
        let complaint =
            crate::diagnostic::Diagnostic::warning(codes::MIRROR_OF_ITSELF, &at.document.meta.resource, spot, message);
        cx.tell(complaint.label(&only.destination.host.spot, "the requests go here"));
    }
}

/// Settings of forwarded requests, where none is forwarded.
fn forward_only(cx: &Checking<'_>, at: &Entry<'_>) {
    let entry = at.entry;
    let action = if matches!(entry.action, HttpAction::Redirect(_)) { "redirects" } else { "answers by itself" };
    let written = [
        ("timeout", entry.timeout.is_some()),
        ("retries", entry.retries.is_some()),
        ("mirror", !entry.mirrors.is_empty()),
    ];
    for (name, _) in written.into_iter().filter(|(_, written)| *written) {
        let name =
            if name == "mirror" && !cx.is_written(&at.document.meta, &at.path.to(name)) { "mirrors" } else { name };
        let message = format!("`{name}` has no effect on an entry that {action}");
        let spot = cx.key(&at.document.meta, &at.path.to(name));
        let resource = &at.document.meta.resource;
        cx.tell(crate::diagnostic::Diagnostic::warning(codes::FORWARD_ONLY, resource, &spot, message));
    }
}
