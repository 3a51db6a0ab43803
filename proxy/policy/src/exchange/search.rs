//! Which rule a request falls under: the listener's, or that of the host which it names.

use crate::live::Live;
use crate::matching::Asked;
use crate::narrate::{Narrator, PortFrom, Reason};
use crate::request::{Entrance, Head};
use crate::snapshot::{RuleId, VirtualHost, split_authority};
use crate::verdict::Verdict;

pub(super) fn find_rule<N: Narrator>(
    live: &Live,
    entrance: Entrance,
    head: &impl Head,
    narrator: &mut N,
) -> Result<RuleId, Verdict> {
    let snapshot = live.snapshot();
    let listener_port = match entrance {
        Entrance::Inbound(index) => {
            if let (true, Some(inbound)) = (N::HEARS, snapshot.inbound().get(index)) {
                narrator.hear(Reason::Inbound(inbound));
            }
            return Ok(RuleId::Inbound(index as u32));
        }
        Entrance::Outbound { port } => port,
    };
    let (host, authority_port) = split_authority(head.authority());
    let port = listener_port.or(authority_port).unwrap_or(80);
    if N::HEARS {
        let from = match (listener_port, authority_port) {
            (Some(_), _) => PortFrom::Connection,
            (None, Some(_)) => PortFrom::Authority,
            (None, None) => PortFrom::Default,
        };
        narrator.hear(Reason::Outbound { host: &host, port, from });
    }
    let Some(index) = snapshot.find_host(port, &host) else {
        let passes = snapshot.passthrough().is_some();
        narrator.hear(Reason::UnknownHost { passes });
        return if passes { Ok(RuleId::Passthrough) } else { Err(Verdict::UnknownHost) };
    };
    let virtual_host = snapshot.hosts().get(index);
    let found = virtual_host.and_then(|host| host.routes.find(head));
    if let (true, Some(virtual_host)) = (N::HEARS, virtual_host) {
        tell(virtual_host, &host, head, found, narrator);
    }
    let route = found.ok_or(Verdict::NoRoute)?;
    Ok(RuleId::Host(index as u32, route as u32))
}

/// Tells the host, and its rules in order as far as they count: through the matcher that has found one of them.
fn tell(host: &VirtualHost, name: &str, head: &impl Head, found: Option<usize>, narrator: &mut impl Narrator) {
    narrator.hear(Reason::Host { host, domain: host.domain_of(name).unwrap_or_default() });
    let asked = Asked::of(head);
    let tried = found.map_or(host.routes.len(), |found| found + 1);
    for (place, route) in host.routes.iter().enumerate().take(tried) {
        narrator.hear(Reason::Rule { place, route, mismatch: route.when.mismatch(&asked) });
    }
}
