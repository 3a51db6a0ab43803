//! Reads a destination: the host, subset and port that a route, a mirror or a stream leads to.

use super::or_blank;
use crate::codes;
use crate::fields::{Field, Fields};
use crate::names;
use crate::resources::virtual_service::Destination;
use crate::source::Located;
use crate::support::{DESTINATION, PORT_SELECTOR};

/// Istio: a list of destinations is not empty where one is required, and of several one has a weight.
pub(super) fn check_weights(field: Field<'_>, weights: &[u32], required: bool) {
    if required && field.node.is_some() && weights.is_empty() && !field.cx.failed() {
        field.cx.error(codes::MISSING, field.key, "`route` has no destination");
    }
    if weights.len() > 1 && weights.iter().all(|weight| *weight == 0) {
        field.cx.error(codes::OUT_OF_RANGE, field.key, "the weights of several destinations cannot all be 0");
    }
    if let ([0], [entry]) = (weights, field.list())
        && let Some(weight) = entry.get("weight").filter(|weight| weight.raw() == Some("0"))
    {
        let message = "weight 0 on the only destination still takes all";
        field.cx.warn(codes::SOLE_WEIGHT_ZERO, weight.mark, message);
    }
}

/// Istio: Destination. `around` is what it stands in.
pub(super) fn destination(field: Field<'_>, around: &Fields<'_>) -> Destination {
    let Some(fields) = field.block_of(&DESTINATION, "host") else {
        return Destination { host: Located::new("".into(), around.spot()), subset: None, port: None };
    };
    let host = fields.required("host").checked(codes::BAD_HOST, |host| match host {
        "*" => Err("a destination cannot be `*`".into()),
        host => names::wildcard_domain(host),
    });
    let port = fields.get("port").block_of(&PORT_SELECTOR, "number").and_then(|port| {
        let number = port.required("number");
        number.port().map(|value| Box::new(Located::new(value, fields.cx.spot(number.mark()))))
    });
    let subset = fields.get("subset").located().filter(|subset| !subset.is_empty());
    if let Some(subset) = &subset {
        fields.cx.check(codes::BAD_NAME, fields.get("subset").mark(), names::dns_label(subset));
    }
    Destination { host: or_blank(host, &fields), subset, port }
}
