//! What objects say of one another: hosts, subsets and ports that are named and not there.

mod delegates;
mod endpoints;
mod gateways;
mod hosts;
mod labels;
pub(super) mod ports;
mod short;
mod subsets;

use super::Checking;
use crate::resources::VirtualService;
use crate::resources::virtual_service::{Destination, HttpAction};

pub(super) fn check(cx: &Checking<'_>) {
    labels::cluster_hosts(cx);
    let known = hosts::Known::gather(cx);
    short::check(cx, &known);
    let lost = hosts::check(cx, &known);
    subsets::check(cx, &lost);
    ports::check(cx);
    let misspelt = labels::check(cx);
    endpoints::check(cx, &misspelt);
    gateways::check(cx);
    delegates::check(cx);
}

/// Every destination that a VirtualService names, mirrors included, with the position of its entry.
pub(super) fn destinations(document: &VirtualService) -> impl Iterator<Item = (usize, &Destination)> {
    let http = document.http.iter().enumerate().flat_map(|(at, entry)| {
        let routed = match &entry.action {
            HttpAction::Route(destinations) => &destinations[..],
            _ => &[],
        };
        let routed = routed.iter().map(|routed| &routed.destination);
        routed.chain(entry.mirrors.iter().map(|mirror| &mirror.destination)).map(move |destination| (at, destination))
    });
    let streams = document.tls.iter().chain(&document.tcp).enumerate();
    http.chain(streams.flat_map(|(at, entry)| entry.route.iter().map(move |routed| (at, &routed.destination))))
}
