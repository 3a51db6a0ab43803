//! An explanation as JSON. `docs/explain.md` describes it; what it describes does not change its meaning.

use leeboard_policy::origin::Origin;
use leeboard_policy::time::Span;
use serde_json::{Value as Json, json};

use super::{Answered, ChosenBy, ClusterTold, Edit, Explanation, Found, Sent, Stretch, Tried};

impl Explanation {
    /// The whole of it.
    pub fn to_json(&self) -> Json {
        let request = &self.request;
        json!({
            "request": {
                "method": request.method, "scheme": request.scheme, "authority": request.authority, "path": request.path,
                "headers": headers(&request.headers),
            },
            // As text, as in the access log: not every reader of JSON has integers of 64 bits.
            "seed": self.seed.to_string(),
            "listener": {
                "name": self.came.listener, "host": self.came.host, "port": self.came.port,
                "port_from": self.came.port_from,
            },
            "host": self.host.as_ref().map(|host| found(host, "domain")),
            "unknown_host_passes": self.came.passes,
            "not_used": self.unused.iter().map(|(of, why)| json!({"origin": origin(of), "why": why})).collect::<Vec<_>>(),
            "definition": self.definition,
            "rules_tried": self.tried.iter().map(tried).collect::<Vec<_>>(),
            "rules_never_for_caller": self.absent.iter().map(tried).collect::<Vec<_>>(),
            "rule": self.rule.as_ref().map(|rule| json!({"name": rule.name, "origin": origin(&rule.origin)})),
            "action": self.action.as_ref().map(|action| json!({"what": action.what, "how": action.how})),
            "cors": self.origin.as_ref().map(|told| json!({
                "origin": told.origin, "preflight": told.preflight, "allowed": told.allowed, "answered": told.answered,
            })),
            "faults": self.faults.iter().map(|fault| json!({
                "what": fault.what, "value": fault.value, "percent": fault.percent, "drawn": fault.drawn,
                "happens": fault.comes, "scope": if fault.of_attempt { "attempt" } else { "request" },
            })).collect::<Vec<_>>(),
            "destination": self.destination(),
            "timeout_ms": self.timeout.map(milliseconds),
            "retries": self.retries.as_ref().map(|retries| json!({
                "attempts": retries.attempts, "per_try_timeout_ms": retries.per_try.map(milliseconds), "on": retries.on,
            })),
            "cluster": self.cluster.as_ref().map(cluster),
            "hash": self.hash.as_ref().map(|(of, hash)| json!({"of": of, "value": hash.map(|hash| format!("{hash:016x}"))})),
            "pick": self.cluster.iter().flat_map(|c| &c.endpoints).find(|e| e.picked).map(|e| &e.address),
            "mirrors": self.mirrors.iter().map(|mirror| json!({
                "cluster": mirror.cluster, "percent": mirror.percent, "drawn": mirror.drawn, "copied": mirror.copied,
            })).collect::<Vec<_>>(),
            "sent": self.sent.as_ref().map(sent),
            "response_edits": edits(&self.response_edits),
            "response_headers": headers(&self.response_headers),
            "timeline": self.timeline.iter().map(stretch).collect::<Vec<_>>(),
            "answer": self.answer.as_ref().map(answered),
            "at_worst": self.at_worst.as_ref().map(answered),
            "settings": self.settings.iter().map(|setting| json!({
                "block": setting.block, "part": setting.part, "origin": origin(&setting.origin),
            })).collect::<Vec<_>>(),
            "notes": self.notes,
        })
    }

    fn destination(&self) -> Option<Json> {
        let chosen = self.chosen.as_ref()?;
        let among: Vec<Json> =
            chosen.among.iter().map(|(cluster, weight)| json!({"cluster": cluster, "weight": weight})).collect();
        let by = match &chosen.by {
            ChosenBy::Only => json!({"how": "only"}),
            ChosenBy::Draw(point, total) => json!({"how": "draw", "drawn": point, "of": total}),
            ChosenBy::Key(key) => json!({"how": "key", "key": key}),
        };
        let cluster = chosen.among.get(chosen.place).map(|(cluster, _)| cluster);
        Some(
            json!({"cluster": cluster, "known": self.cluster.is_some(), "place": chosen.place, "among": among, "by": by}),
        )
    }
}

/// Milliseconds, with a fraction.
fn milliseconds(span: Span) -> f64 {
    span.0 as f64 / 1e6
}

/// `None` for what nobody wrote.
fn origin(origin: &Origin) -> Option<Json> {
    (!origin.file.is_empty()).then(
        || json!({"resource": &*origin.resource, "file": &*origin.file, "line": origin.line, "column": origin.column}),
    )
}

fn tried(tried: &Tried) -> Json {
    let failed = tried.part.as_ref().map(|part| {
        let at = tried.at.as_ref().and_then(origin);
        json!({"part": part, "wanted": tried.wanted, "is": tried.is, "origin": at})
    });
    json!({
        "place": tried.place, "name": tried.name, "origin": origin(&tried.origin), "matches": tried.part.is_none(),
        "delegated_from": tried.root.as_ref().and_then(origin), "failed": failed,
        "held": tried.holds.iter().map(|(part, wanted, is)| json!({"part": part, "wanted": wanted, "is": is})).collect::<Vec<_>>(),
    })
}

fn found(found: &Found, by: &str) -> Json {
    json!({"name": found.name, by: found.by, "origin": origin(&found.origin)})
}

fn headers(headers: &[(String, Vec<u8>)]) -> Vec<Json> {
    headers.iter().map(|(name, value)| json!([name, crate::text(value)])).collect()
}

fn edits(edits: &[Edit]) -> Vec<Json> {
    let by = |edit: &Edit| if edit.of_destination { "destination" } else { "rule" };
    edits.iter().map(|e| json!({"verb": e.verb, "name": e.name, "value": e.value, "by": by(e)})).collect()
}

fn sent(sent: &Sent) -> Json {
    json!({
        "path": sent.path, "authority": sent.authority, "headers": headers(&sent.headers), "edits": edits(&sent.edits),
    })
}

fn cluster(cluster: &ClusterTold) -> Json {
    let limits: Vec<Json> = (cluster.limits.iter())
        .map(|(limit, taken, most)| json!({"limit": limit, "taken": taken, "most": most}))
        .collect();
    let endpoints: Vec<Json> = (cluster.endpoints.iter())
        .map(|endpoint| {
            json!({
                "address": endpoint.address, "labels": endpoint.labels, "weight": endpoint.weight,
                "level": endpoint.level, "active": endpoint.active, "ejected": endpoint.ejected,
                "returns_in_ms": endpoint.returns_in.map(milliseconds), "picked": endpoint.picked,
            })
        })
        .collect();
    json!({
        "name": cluster.name, "host": cluster.host, "subset": cluster.subset, "origin": origin(&cluster.origin),
        "policy": cluster.policy.as_ref().and_then(origin), "balancer": cluster.balancer, "limits": limits,
        "panics": cluster.panics, "endpoints": endpoints, "why_empty": cluster.why_empty,
    })
}

fn stretch(stretch: &Stretch) -> Json {
    json!({
        "what": stretch.what, "attempt": stretch.attempt, "endpoint": stretch.endpoint,
        "from_ms": milliseconds(stretch.from), "until_ms": stretch.until.map(milliseconds),
        "at_most_ms": stretch.at_most.map(milliseconds), "ends": stretch.ends,
    })
}

fn answered(answered: &Answered) -> Json {
    json!({
        "status": answered.status, "flags": answered.flags, "details": answered.details, "reason": answered.reason,
        "location": answered.location, "body": answered.body,
    })
}
