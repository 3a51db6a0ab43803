//! Weights that do not share out what they seem to.

use super::super::{Checking, list};
use super::Entry;
use crate::codes;
use crate::resources::virtual_service::{HttpAction, RouteDestination};

/// Sums between these, other than 100, look like slips.
const NEARLY_ALL: std::ops::RangeInclusive<u32> = 90..=110;

pub(super) fn check(cx: &Checking<'_>, at: &Entry<'_>) {
    let HttpAction::Route(destinations) = &at.entry.action else { return };
    let meta = &at.document.meta;
    let path = at.path.to("route");
    if let [only] = &destinations[..] {
        if only.weight != 0 && only.weight != 100 {
            let message = format!("weight {} on the only destination means nothing: it takes all", only.weight);
            let complaint = cx.warning(codes::SOLE_WEIGHT, meta, &path.to(0).to("weight"), message);
            cx.tell(complaint.help("leave `weight` out, or add the destination that takes the rest"));
        }
        return;
    }
    let sum: u32 = destinations.iter().map(|destination| destination.weight).fold(0, u32::saturating_add);
    if sum == 100 || !NEARLY_ALL.contains(&sum) {
        return;
    }
    let share = |destination: &RouteDestination| {
        let to = &destination.destination;
        let name = to.subset.as_ref().map_or(&to.host.value, |subset| &subset.value);
        format!("{name} gets {:.1} %", f64::from(destination.weight) * 100.0 / f64::from(sum))
    };
    let message = format!("the weights add up to {sum}: {}", list(destinations.iter().map(share)));
    let last = destinations.len() - 1;
    let complaint = cx.warning(codes::WEIGHT_SUM, meta, &path.to(last).to("weight"), message);
    cx.tell(complaint.help("weights are relative; let them add up to 100 to read them as percentages"));
}
