//! What the live demo prints: the screen that says what runs where, and the line that says what goes on.

use std::fmt::Write;
use std::path::Path;

use crate::metrics::Metrics;
use crate::topology::{Ports, Replica, local};

/// One row of the screen's table: a replica, its ports, the process ids of its app and its Leeboard.
pub(crate) type Row = (Replica, Ports, Option<u32>, Option<u32>);

/// The whole screen.
pub(crate) fn screen(rows: &[Row], config: &Path, work: &Path) -> String {
    let mut text = String::from(
        "\nEach service has a Leeboard beside it. It takes the service's calls (inbound) and makes its calls (outbound).\n\
         All ports are on 127.0.0.1.\n\n",
    );
    let id = |id: &Option<u32>| id.map_or_else(|| "-".to_owned(), |id| id.to_string());
    let mut row = |cells: [&str; 8]| {
        let [replica, service, app, app_id, inbound, outbound, metrics, id] = cells;
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "  {replica:<13} {service:<24} {app:>6} {app_id:>8}   {inbound:>7} {outbound:>8} {metrics:>7} {id:>8}"
        );
    };
    row(["replica", "service", "app at", "pid", "inbound", "outbound", "metrics", "pid"]);
    for (replica, ports, app, leeboard) in rows {
        row([
            replica.name,
            &format!("{} {}", replica.service.name(), replica.version),
            &ports.app.to_string(),
            &id(app),
            &ports.inbound.to_string(),
            &ports.outbound.to_string(),
            &ports.metrics.to_string(),
            &id(leeboard),
        ]);
    }
    let _ = writeln!(text, "\nTry, in another terminal:\n\n{}", suggestions(rows, config));
    let _ = writeln!(text, "Logs, access logs and databases: {}", work.display());
    let _ = writeln!(text, "Ctrl-C stops everything.\n");
    text
}

fn suggestions(rows: &[Row], config: &Path) -> String {
    let of = |name: &str| rows.iter().find(|row| row.0.name == name);
    let (Some(gateway), Some(victim), Some(external)) = (of("gateway"), of("user-v1-b"), of("external-b")) else {
        return String::new();
    };
    let entry = local(gateway.1.inbound);
    let routes = config.join("routes.yaml").display().to_string();
    let kill = [victim.2, victim.3].into_iter().flatten().map(|id| id.to_string()).collect::<Vec<_>>().join(" ");
    let mut text = String::new();
    for (what, how) in [
        ("ask", format!("curl -i {entry}/api/v1/users/1")),
        ("ask for v2 by name", format!("curl -i -H 'x-canary: v2' {entry}/api/v1/users/1")),
        ("order something", format!("curl {entry}/api/v1/orders -d '{{\"user_id\": \"1\", \"total\": 100}}'")),
        ("move the canary", format!("edit the weights of user-service in {routes} and save")),
        ("inject a fault", "raise a percentage under order-service in the same file".to_owned()),
        ("lose a replica", format!("kill -9 {kill}     (it comes back after a while)")),
        (
            "make a replica fail",
            format!("curl -X PUT {}/behaviour -d '{{\"fail_percent\": 100}}'", local(external.1.app)),
        ),
        ("scrape the metrics", format!("curl {}/stats/prometheus", local(gateway.1.metrics))),
        ("look inside", format!("curl '{}/clusters?format=json'", local(gateway.1.admin))),
    ] {
        let _ = writeln!(text, "  {what:<20} {how}");
    }
    text
}

/// The counters the line is made of, as they stood at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Counters {
    /// Calls that `user-service` answered below 500, v1 and v2.
    users: [f64; 2],
    calls: f64,
    /// Answers of 500 and above that left the gateway.
    errors: f64,
    retries: f64,
    mirrored: f64,
    faults: f64,
}

impl Counters {
    /// Reads them from the metrics of all Leeboards.
    pub(crate) fn of(metrics: &Metrics) -> Counters {
        let users = |version| {
            let labels = [
                ("reporter", "source"),
                ("destination_service_name", "user-service"),
                ("destination_version", version),
            ];
            metrics.sum("istio_requests_total", &labels)
        };
        let gateway = [("reporter", "destination"), ("destination_service_name", "api-gateway")];
        let errors = metrics.values_of("response_code", "istio_requests_total", &gateway);
        let errors = errors.iter().filter(|code| code.parse().is_ok_and(|code: u16| code >= 500)).map(|code| {
            let [reporter, service] = gateway;
            metrics.sum("istio_requests_total", &[reporter, service, ("response_code", code)])
        });
        Counters {
            users: ["v1", "v2"].map(users),
            calls: metrics.sum("istio_requests_total", &gateway),
            errors: errors.sum(),
            retries: metrics.sum("leeboard_retries_total", &[]),
            mirrored: metrics.sum("leeboard_mirrors_total", &[]),
            faults: metrics.sum("leeboard_faults_total", &[]),
        }
    }

    /// The line about what happened since `before`. A Leeboard that came back begins at zero: that is no negative number.
    pub(crate) fn line(&self, before: &Counters, seconds: f64, ejected: &[String]) -> String {
        let since = |now: f64, then: f64| (now - then).max(0.0);
        let [v1, v2] = [0, 1].map(|at| since(self.users[at], before.users[at]));
        let share = |part: f64| if v1 + v2 > 0.0 { 100.0 * part / (v1 + v2) } else { 0.0 };
        let ejected = if ejected.is_empty() { "none".to_owned() } else { ejected.join(" ") };
        format!(
            "{:4.0} calls/s | users v1 {:3.0} % v2 {:3.0} % | errors {:.0} | retries {:.0} | mirrored {:.0} | faults {:.0} | ejected {ejected}",
            since(self.calls, before.calls) / seconds,
            share(v1),
            share(v2),
            since(self.errors, before.errors),
            since(self.retries, before.retries),
            since(self.mirrored, before.mirrored),
            since(self.faults, before.faults),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::REPLICAS;

    const BEFORE: &str = r#"
istio_requests_total{reporter="source",destination_service_name="user-service",destination_version="v1",response_code="200"} 100
"#;
    const AFTER: &str = r#"
istio_requests_total{reporter="source",destination_service_name="user-service",destination_version="v1",response_code="200"} 190
istio_requests_total{reporter="source",destination_service_name="user-service",destination_version="v2",response_code="200"} 10
istio_requests_total{reporter="destination",destination_service_name="user-service",destination_version="v2",response_code="200"} 10
istio_requests_total{reporter="destination",destination_service_name="api-gateway",response_code="200"} 117
istio_requests_total{reporter="destination",destination_service_name="api-gateway",response_code="503"} 2
istio_requests_total{reporter="destination",destination_service_name="api-gateway",response_code="504"} 1
leeboard_retries_total{cluster="a",outcome="success"} 6
leeboard_retries_total{cluster="b",outcome="failure"} 1
leeboard_mirrors_total{cluster="c",outcome="answered"} 4
"#;

    fn counters(exposition: &str) -> Counters {
        let mut metrics = Metrics::default();
        metrics.read(exposition);
        Counters::of(&metrics)
    }

    #[test]
    fn the_line_says_what_happened_in_between() {
        let (before, after) = (counters(BEFORE), counters(AFTER));
        assert_eq!(
            after.line(&before, 2.0, &["external-b".to_owned()]),
            "  60 calls/s | users v1  90 % v2  10 % | errors 3 | retries 7 | mirrored 4 | faults 0 | ejected external-b"
        );
        assert_eq!(
            before.line(&after, 1.0, &[]),
            "   0 calls/s | users v1   0 % v2   0 % | errors 0 | retries 0 | mirrored 0 | faults 0 | ejected none"
        );
    }

    #[test]
    fn the_screen_names_every_replica_its_ports_and_what_to_try() {
        let rows: Vec<Row> = (0..)
            .zip(REPLICAS)
            .map(|(at, replica)| (replica, Ports::fixed(replica.number), Some(4_000 + at), Some(5_000 + at)))
            .collect();
        let text = screen(&rows, Path::new("/p/config"), Path::new("/w"));
        for (replica, ports, _, _) in &rows {
            let line = text.lines().find(|line| line.trim_start().starts_with(replica.name)).unwrap();
            for port in [ports.app, ports.inbound, ports.outbound, ports.metrics] {
                assert!(line.contains(&port.to_string()), "{line}");
            }
        }
        for expected in [
            "curl -i 127.0.0.1:25080/api/v1/users/1",
            "/p/config/routes.yaml",
            "kill -9 4002 5002",
            "curl 127.0.0.1:28080/stats/prometheus",
            "127.0.0.1:26021/behaviour",
        ] {
            assert!(text.contains(expected), "{expected} is not in\n{text}");
        }
        assert!(text.lines().count() <= 34 && text.lines().all(|line| line.len() < 125), "{text}");
    }
}
