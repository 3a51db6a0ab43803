//! The run as JSON: every round, so that nothing needs to be measured again to be computed otherwise.

use serde_json::{Map, Value, json};

use super::{BASES, Machine};
use crate::compare::{Comparison, Measured};
use crate::lab::Plan;
use crate::suites::Table;

/// The whole run.
pub(crate) fn json(comparison: &Comparison, machine: &Machine, plan: &Plan) -> Value {
    let bases = BASES.iter().filter_map(|name| comparison.base(name));
    json!({
        "suite": comparison.suite.name,
        "machine": {
            "cpu": machine.cpu,
            "cores": machine.cores,
            "kernel": machine.kernel,
            "load_average": machine.load_average,
        },
        "plan": {
            "connections": plan.connections,
            "rate": plan.rate,
            "seconds": plan.seconds,
            "warmup": plan.warmup,
            "patience": plan.patience,
            "body": plan.body,
            "idle": plan.idle,
            "large": plan.large,
        },
        "peers": comparison.measured.iter().map(|entry| peer(comparison, entry)).collect::<Vec<_>>(),
        "ratios": bases.map(|base| (base.peer.name.to_owned(), ratios(comparison, base))).collect::<Map<_, _>>(),
        "skipped": comparison.skipped.iter().map(|peer| json!({"name": peer.name, "get": peer.get})).collect::<Vec<_>>(),
    })
}

fn peer(comparison: &Comparison, entry: &Measured) -> Value {
    let medians: Map<String, Value> = comparison
        .suite
        .metrics
        .iter()
        .filter_map(|metric| Some((metric.key.to_owned(), json!(entry.median(metric.key)?))))
        .collect();
    json!({
        "name": entry.peer.name,
        "about": entry.peer.about,
        "version": entry.version,
        "failure": entry.failure,
        "unable": entry.unable,
        "medians": medians,
        "rounds": entry.rounds,
    })
}

fn ratios(comparison: &Comparison, base: &Measured) -> Value {
    let compared = || {
        let metrics = comparison.suite.metrics.iter();
        metrics.filter(|metric| metric.table == Table::Compared)
    };
    comparison
        .measured
        .iter()
        .map(|entry| {
            let row: Map<String, Value> = compared()
                .filter_map(|metric| Some((metric.key.to_owned(), json!(entry.ratio(base, metric)?))))
                .collect();
            (entry.peer.name.to_owned(), Value::Object(row))
        })
        .collect::<Map<_, _>>()
        .into()
}

#[cfg(test)]
mod tests {
    use super::super::tests::sample;
    use super::*;

    #[test]
    fn the_document_holds_every_round() {
        let plan = Plan {
            connections: 32,
            rate: 5000.0,
            seconds: 3.0,
            warmup: 0.5,
            patience: 0.0,
            body: 128,
            idle: 10,
            large: 10,
        };
        let document = json(&sample(), &Machine::look(), &plan);
        assert_eq!(document["suite"], "h1");
        assert_eq!(document["peers"][0]["rounds"][1]["cpu_us"], 12.0);
        assert_eq!(document["peers"][0]["medians"]["cpu_us"], 11.0);
        assert_eq!(document["peers"][2]["rounds"], json!([null, null]));
        assert_eq!(document["peers"][2]["failure"], "no port");
        assert_eq!(document["ratios"]["haproxy"]["leeboard"]["cpu_us"], 0.5);
        assert_eq!(document["ratios"].get("envoy"), None);
        assert_eq!(document["skipped"][0]["name"], "envoy");
    }
}
