//! Reads `loadBalancer`: which endpoints are at hand, and how one is chosen.

use std::sync::Arc;

use crate::codes;
use crate::diagnostic::{Diagnostic, Severity};
use crate::fields::{Cx, Field, Fields};
use crate::resources::destination_rule::{
    Algorithm, Distribute, Failover, HashCookie, HashKey, HashTable, LoadBalancer, LocalityLb, Warmup, ZoneAwareLb,
};
use crate::source::Located;
use crate::support::{
    CONSISTENT_HASH, COOKIE_ATTRIBUTE, DISTRIBUTE, FAILOVER, HASH_COOKIE, LOCALITY, MAGLEV, RING_HASH, WARMUP,
    ZONE_AWARE,
};

/// Istio: the largest table of Maglev.
const MAX_MAGLEV: u64 = 5_000_011;
/// Labels that say where an endpoint is; `failover` speaks of the same.
const TOPOLOGY: [&str; 3] =
    ["topology.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.istio.io/subzone"];

pub(super) fn read(fields: &Fields<'_>) -> LoadBalancer {
    fields.at_most_one(&["simple", "consistentHash"]);
    fields.at_most_one(&["localityLbSetting", "zoneAwareLbSetting"]);
    let simple = fields.get("simple").choice(&[
        ("UNSPECIFIED", 0),
        ("LEAST_CONN", 0),
        ("LEAST_REQUEST", 0),
        ("ROUND_ROBIN", 1),
        ("RANDOM", 2),
        ("PASSTHROUGH", 3),
    ]);
    let algorithm = match (fields.get("consistentHash").block(&CONSISTENT_HASH), simple) {
        (Some(hash), _) => consistent_hash(&hash),
        (None, Some(1)) => Algorithm::RoundRobin,
        (None, Some(2)) => Algorithm::Random,
        (None, Some(3)) => Algorithm::Passthrough,
        (None, _) => Algorithm::LeastRequest,
    };
    LoadBalancer {
        locality: locality(fields.get("localityLbSetting")).map(Box::new),
        zone_aware: zone_aware(fields.get("zoneAwareLbSetting")).map(Box::new),
        warmup: warmup(fields, &algorithm),
        algorithm,
    }
}

fn consistent_hash(fields: &Fields<'_>) -> Algorithm {
    const KEYS: [&str; 4] = ["httpHeaderName", "httpCookie", "useSourceIp", "httpQueryParameterName"];
    fields.at_most_one(&KEYS);
    fields.at_most_one(&["ringHash", "maglev"]);
    fields.at_most_one(&["ringHash", "minimumRingSize"]);
    fields.at_most_one(&["maglev", "minimumRingSize"]);
    let table = hash_table(fields);
    let named = |field: Field<'_>| {
        let name = field.text();
        if name.as_deref() == Some("") {
            field.cx.error(codes::BAD_NAME, field.mark(), format!("`{}` cannot be empty", field.name));
        }
        name
    };
    let header = named(fields.get("httpHeaderName")).map(|name| HashKey::Header(name.to_ascii_lowercase().into()));
    let cookie = cookie(fields.get("httpCookie")).map(|cookie| HashKey::Cookie(Box::new(cookie)));
    let query = named(fields.get("httpQueryParameterName")).map(HashKey::QueryParameter);
    let source = fields.get("useSourceIp").bool().filter(|on| *on).map(|_| HashKey::SourceIp);
    let Some(key) = header.or(cookie).or(query).or(source) else {
        if !fields.has("httpCookie") {
            let message = "nothing is hashed: requests go to the less busy of two endpoints";
            let diagnostic = fields.cx.at(Severity::Warning, codes::NO_EFFECT, fields.mark, message);
            let keys = "name one of `httpHeaderName`, `httpCookie`, `useSourceIp: true` and `httpQueryParameterName`";
            fields.cx.push(diagnostic.help(keys));
        }
        return Algorithm::LeastRequest;
    };
    Algorithm::ConsistentHash { key, table }
}

fn hash_table(fields: &Fields<'_>) -> HashTable {
    let old = fields.get("minimumRingSize");
    if old.node.is_some() {
        let message = "`minimumRingSize` is deprecated here; write `ringHash: {minimumRingSize: …}`";
        fields.cx.warn(codes::DEPRECATED, old.key, message);
    }
    if let Some(maglev) = fields.get("maglev").block(&MAGLEV) {
        let field = maglev.required("tableSize");
        let table_size = size(field).filter(|size| {
            let fits = *size < MAX_MAGLEV && is_prime(*size);
            if !fits {
                let message = format!("`tableSize` is {size}; it must be a prime below {MAX_MAGLEV}");
                field.cx.error(codes::OUT_OF_RANGE, field.mark(), message);
            }
            fits
        });
        return HashTable::Maglev { table_size };
    }
    let ring = fields.get("ringHash").block(&RING_HASH).and_then(|ring| size(ring.get("minimumRingSize")));
    HashTable::Ring { minimum_size: ring.or(size(old)).filter(|size| *size > 0) }
}

fn size(field: Field<'_>) -> Option<u64> {
    field.int(0..=i64::MAX).and_then(|n| u64::try_from(n).ok())
}

fn is_prime(n: u64) -> bool {
    n > 1 && (2..).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d))
}

fn cookie(field: Field<'_>) -> Option<HashCookie> {
    let fields = field.block(&HASH_COOKIE)?;
    let name = fields.required("name");
    let text = name.text();
    if text.as_deref() == Some("") {
        fields.cx.error(codes::BAD_NAME, name.mark(), "a cookie's name cannot be empty");
    }
    let mut attributes: Vec<(Arc<str>, Arc<str>)> = Vec::new();
    for attribute in fields.get("attributes").items(&COOKIE_ATTRIBUTE) {
        let name = attribute.required("name");
        let Some(text) = name.text() else { continue };
        if text.is_empty() {
            fields.cx.error(codes::BAD_NAME, name.mark(), "an attribute's name cannot be empty");
        } else if attributes.iter().any(|(before, _)| *before == text) {
            fields.cx.error(codes::DUPLICATE, name.mark(), format!("the attribute `{text}` is written twice"));
        }
        attributes.push((text, attribute.get("value").text().unwrap_or_default()));
    }
    let path = fields.get("path").text().filter(|path| !path.is_empty());
    Some(HashCookie { name: text?, path, ttl: fields.get("ttl").any_duration(), attributes })
}

pub(super) fn locality(field: Field<'_>) -> Option<LocalityLb> {
    let fields = field.block(&LOCALITY)?;
    fields.at_most_one(&["distribute", "failover"]);
    fields.at_most_one(&["distribute", "failoverPriority"]);
    let distribute: Vec<_> = fields.get("distribute").items(&DISTRIBUTE).iter().map(distribution).collect();
    let from: Vec<_> = distribute.iter().map(|entry| &entry.from).collect();
    check_localities(fields.cx, &from);
    let failover = failover(fields.get("failover"));
    let failover_priority = fields.get("failoverPriority").texts();
    if !failover.is_empty() {
        no_topology(fields.cx, &failover_priority, "beside `failover`");
    }
    Some(LocalityLb { enabled: fields.get("enabled").bool(), distribute, failover, failover_priority })
}

fn distribution(fields: &Fields<'_>) -> Distribute {
    let from = fields.get("from").located();
    let to = fields.get("to");
    let mut shares = Vec::new();
    for (key, node) in to.members() {
        let locality = Located::new(Arc::from(&*key.text), fields.cx.spot(key.mark));
        let share = Field { cx: fields.cx, name: "to", key: key.mark, node: Some(node) };
        shares.extend(share.int(1..=100).and_then(|n| u32::try_from(n).ok()).map(|n| (locality, n)));
    }
    let sum: u32 = shares.iter().map(|(_, share)| share).sum();
    if sum != 100 && shares.len() == to.members().len() {
        fields.cx.error(codes::OUT_OF_RANGE, fields.place("to"), format!("the shares add up to {sum}, not to 100"));
    }
    check_localities(fields.cx, &shares.iter().map(|(locality, _)| locality).collect::<Vec<_>>());
    Distribute { from: super::or_blank(from, fields), to: shares }
}

/// Istio: a locality is of three parts at most, `*` is the last of them, and no two of a list cover one another.
fn check_localities(cx: &Cx, all: &[&Located<Arc<str>>]) {
    for (i, locality) in all.iter().enumerate() {
        let say = |code, message: String| Diagnostic::error(code, &cx.resource, &locality.spot, message);
        let parts: Vec<&str> = locality.split('/').collect();
        let star = parts.iter().position(|part| part.contains('*'));
        let well_formed = parts.len() <= 3
            && parts.iter().all(|part| !part.is_empty())
            && star.is_none_or(|at| at + 1 == parts.len() && parts[at] == "*");
        if !well_formed {
            let message = format!("`{}` is no locality, which is `region/zone/subzone` or ends in `*`", locality.value);
            cx.push(say(codes::BAD_NAME, message));
        } else if let Some(before) = all[..i].iter().find(|before| covers(before, locality) || covers(locality, before))
        {
            let message = format!("`{}` overlaps `{}`", locality.value, before.value);
            cx.push(say(codes::DUPLICATE, message).label(&before.spot, "it is here"));
        }
    }
}

/// Whether every place of `inner` is of `outer`: a missing tail stands for everything.
fn covers(outer: &str, inner: &str) -> bool {
    let outer = outer.trim_end_matches('*').trim_end_matches('/');
    let inner = inner.trim_end_matches('*').trim_end_matches('/');
    outer.is_empty() || inner == outer || inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('/'))
}

fn failover(field: Field<'_>) -> Vec<Failover> {
    let mut found = Vec::new();
    for fields in field.items(&FAILOVER) {
        let region = |name| {
            fields.get(name).checked(codes::BAD_NAME, |region| match region.contains(['/', '*']) {
                true => Err(format!("`{region}` is no region: it has no `/` and no `*`")),
                false => Ok(()),
            })
        };
        let (from, to) = (super::or_blank(region("from"), &fields), super::or_blank(region("to"), &fields));
        if from.value == to.value {
            fields.cx.error(codes::CONFLICT, fields.mark, "a region cannot be its own replacement");
        }
        found.push(Failover { from, to });
    }
    found
}

fn no_topology(cx: &Cx, labels: &[Located<Arc<str>>], place: &str) {
    for label in labels {
        let key = label.split('=').next().unwrap_or_default();
        if TOPOLOGY.contains(&key) {
            let message = format!("`{key}` cannot be in `failoverPriority` {place}");
            cx.push(Diagnostic::error(codes::CONFLICT, &cx.resource, &label.spot, message));
        }
    }
}

fn zone_aware(field: Field<'_>) -> Option<ZoneAwareLb> {
    let fields = field.block(&ZONE_AWARE)?;
    let failover_priority = fields.get("failoverPriority").texts();
    no_topology(fields.cx, &failover_priority, "of `zoneAwareLbSetting`");
    Some(ZoneAwareLb {
        enabled: fields.get("enabled").bool(),
        failover: failover(fields.get("failover")),
        failover_priority,
        min_cluster_size: fields.get("minClusterSize").int(1..=i64::MAX).and_then(|n| u64::try_from(n).ok()),
    })
}

/// Istio: slow start is of ROUND_ROBIN and LEAST_REQUEST; the old field counts where the block is absent.
fn warmup(fields: &Fields<'_>, algorithm: &Algorithm) -> Option<Warmup> {
    let old = fields.get("warmupDurationSecs");
    if old.node.is_some() {
        fields.cx.warn(codes::DEPRECATED, old.key, "`warmupDurationSecs` is deprecated; write `warmup: {duration: …}`");
    }
    let block = fields.get("warmup").block(&WARMUP);
    let name = if block.is_some() { "warmup" } else { "warmupDurationSecs" };
    if fields.has(name) && !matches!(algorithm, Algorithm::LeastRequest | Algorithm::RoundRobin) {
        let message = format!("`{name}` is for ROUND_ROBIN and LEAST_REQUEST only");
        fields.cx.warn(codes::NO_EFFECT, fields.place(name), message);
    }
    let old = old.duration().map(|duration| Warmup { duration, minimum_percent: 10.0, aggression: 1.0 });
    let Some(block) = block else { return old };
    let percent = block.get("minimumPercent").number(|percent| (0.0..=100.0).contains(&percent), "0 to 100");
    let aggression = block.get("aggression").number(|aggression| aggression > 0.0, "more than 0");
    Some(Warmup {
        duration: block.required("duration").duration()?,
        minimum_percent: percent.unwrap_or(10.0),
        aggression: aggression.unwrap_or(1.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localities_cover_one_another() {
        let rows = [
            ("*", "eu/1/a", true),
            ("eu", "eu/1", true),
            ("eu/*", "eu", true),
            ("eu/*", "eu/1/*", true),
            ("eu/1", "eu/10", false),
            ("eu/1", "eu", false),
            ("eu", "us", false),
        ];
        for (outer, inner, wanted) in rows {
            assert_eq!(covers(outer, inner), wanted, "{outer} {inner}");
        }
    }

    #[test]
    fn primes() {
        let found: Vec<u64> = (0..30).filter(|n| is_prime(*n)).collect();
        assert_eq!(found, [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]);
        assert!(is_prime(65_537) && !is_prime(65_536) && !is_prime(2_235 * 2_237));
    }
}
