//! What the live demo shows: what runs where, what to try, what is wrong with the configuration, and what goes on.

use std::collections::VecDeque;

use crate::layout::{columns, complaint, count, cut, join, wrap};
use crate::metrics::Metrics;
use crate::topology::{Ports, Replica, local};

/// One row of the screen's table: a replica, its ports, the process ids of its app and its Leeboard.
pub(crate) type Row = (Replica, Ports, Option<u32>, Option<u32>);

/// The most events that are kept for the screen. The log has all.
const MOST_EVENTS: usize = 20;
/// The most lines that events take of a screen that has more to show.
const EVENT_LINES: usize = 5;
/// The least lines of the table and of what to try that are worth their place.
const ENOUGH: usize = 4;
/// The least columns in which what to try stands beside what it does.
const BESIDE: usize = 60;

/// All that there is to show.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    pub(crate) rows: Vec<Row>,
    /// `routes.yaml`, as one would type it.
    pub(crate) routes: String,
    /// The file that keeps what is shown.
    pub(crate) log: String,
    /// What is wrong with the configuration, in the words of `leeboard check`, under a heading.
    pub(crate) complaint: Option<(String, String)>,
    /// What happened, the latest last.
    pub(crate) events: VecDeque<String>,
    /// What goes on now, in parts that are not broken up.
    pub(crate) status: Vec<String>,
}

impl View {
    /// Adds an event.
    pub(crate) fn happened(&mut self, event: &str) {
        self.events.push_back(event.to_owned());
        if self.events.len() > MOST_EVENTS {
            self.events.pop_front();
        }
    }

    /// The screen for a terminal of this size. No line is wider and there are no more lines: what matters less is left out.
    pub(crate) fn frame(&self, width: usize, height: usize) -> Vec<String> {
        let mut room = height;
        // In the order in which they get their lines; the order in which they are shown is below.
        let status = take(&mut room, join(&self.status, " | ", "", width, 2));
        let complaint = take(&mut room, self.complaint(width));
        let log = take(&mut room, wrap(&format!("Ctrl-C stops everything. Log: {}", self.log), width, 2));
        let events = self.events(width, EVENT_LINES.min(room.saturating_sub(1)));
        let events = take(&mut room, spaced(events));
        let table = take_enough(&mut room, spaced(table(&self.rows, width)));
        let suggestions = take_enough(&mut room, spaced(self.suggestions(width)));
        let lines = [table, suggestions, complaint, events, status, log].concat();
        lines.iter().map(|line| cut(line, width)).collect()
    }

    /// What is shown once where there is no screen.
    pub(crate) fn introduction(&self) -> String {
        const WIDTH: usize = 120;
        let lines = [table(&self.rows, WIDTH), vec![String::new()], self.suggestions(WIDTH)].concat();
        format!("{}\n\nLog: {}\nCtrl-C stops everything.\n", lines.join("\n"), self.log)
    }

    /// The latest events that fit whole.
    fn events(&self, width: usize, most: usize) -> Vec<String> {
        let mut lines = Vec::new();
        for event in self.events.iter().rev() {
            let event = wrap(event, width, 2);
            if lines.len() + event.len() > most {
                break;
            }
            lines.splice(0..0, event);
        }
        lines
    }

    fn complaint(&self, width: usize) -> Vec<String> {
        let Some((heading, text)) = &self.complaint else { return Vec::new() };
        spaced([wrap(heading, width, 2), complaint(text, width)].concat())
    }

    fn suggestions(&self, width: usize) -> Vec<String> {
        let of = |name: &str| self.rows.iter().find(|row| row.0.name == name);
        let (Some(gateway), Some(victim), Some(external)) = (of("gateway"), of("user-v1-b"), of("external-b")) else {
            return Vec::new();
        };
        let entry = local(gateway.1.inbound);
        let kill: Vec<String> = [victim.2, victim.3].into_iter().flatten().map(|id| id.to_string()).collect();
        let routes = &self.routes;
        let mut lines = vec![cut("Try, in another terminal (the log has this, too):", width)];
        let behaviour = format!("{}/behaviour", local(external.1.app));
        for (what, command) in [
            ("ask", vec!["curl", "-i", &format!("{entry}/api/v1/users/1")]),
            ("ask for v2", vec!["curl", "-i", "-H 'x-canary: v2'", &format!("{entry}/api/v1/users/1")]),
            ("order", vec!["curl", &format!("{entry}/api/v1/orders"), "-d '{\"user_id\": \"1\"}'"]),
            ("move canary", vec!["edit the", "weights", "of user-service", "in", routes]),
            ("inject fault", vec!["raise a percentage", "of order-service", "in", routes]),
            ("lose replica", vec!["kill -9", &kill.join(" ")]),
            ("open circuit", vec!["curl", "-X PUT", &behaviour, "-d '{\"fail_percent\": 100}'"]),
            ("metrics", vec!["curl", &format!("{}/stats/prometheus", local(gateway.1.metrics))]),
            ("look inside", vec!["curl", &format!("{}/clusters", local(gateway.1.admin))]),
        ] {
            let words: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
            // What a shell reads goes on in the next line as shells have it.
            let end = if command[0].starts_with("curl") || command[0].starts_with("kill") { " \\" } else { "" };
            if width < BESIDE {
                lines.push(cut(what, width));
                lines.extend(indented(2, &words, end, width, |_| "  ".to_owned()));
            } else {
                lines.extend(indented(14, &words, end, width, |first| match first {
                    true => format!("  {what:<12} "),
                    false => " ".repeat(15),
                }));
            }
        }
        lines
    }
}

/// A command in lines, each after what `margin` says of the first line and of the others.
fn indented(
    margin_columns: usize,
    words: &[String],
    end: &str,
    width: usize,
    margin: impl Fn(bool) -> String,
) -> Vec<String> {
    let lines = join(words, " ", end, width.saturating_sub(margin_columns + 1), 2);
    lines.iter().enumerate().map(|(at, line)| format!("{}{line}", margin(at == 0))).collect()
}

/// As many of the lines as there is room for.
fn take(room: &mut usize, mut lines: Vec<String>) -> Vec<String> {
    lines.truncate(*room);
    // Half a command is worse than none.
    while lines.last().is_some_and(|line| line.ends_with(" \\")) {
        lines.pop();
    }
    *room -= lines.len();
    lines
}

/// The same, but no beginning that says nothing yet: a heading, or a table without rows.
fn take_enough(room: &mut usize, lines: Vec<String>) -> Vec<String> {
    if *room < lines.len().min(ENOUGH) { Vec::new() } else { take(room, lines) }
}

/// With an empty line after them, if there are any.
fn spaced(mut lines: Vec<String>) -> Vec<String> {
    if !lines.is_empty() {
        lines.push(String::new());
    }
    lines
}

/// The table's columns: heading, whether numbers stand in it, and how soon it is left out of a narrow screen.
const COLUMNS: [(&str, bool, u8); 9] = [
    ("replica", false, 0),
    ("service", false, 8),
    ("app at", true, 1),
    ("pid", true, 6),
    ("inbound", true, 3),
    ("outbound", true, 5),
    ("admin", true, 2),
    ("metrics", true, 4),
    ("its pid", true, 7),
];

fn table(rows: &[Row], width: usize) -> Vec<String> {
    let id = |id: &Option<u32>| id.map_or_else(|| "-".to_owned(), |id| id.to_string());
    let cells: Vec<[String; 9]> = std::iter::once(COLUMNS.map(|(heading, ..)| heading.to_owned()))
        .chain(rows.iter().map(|(replica, ports, app, leeboard)| {
            [
                replica.name.to_owned(),
                format!("{} {}", replica.service.name(), replica.version),
                ports.app.to_string(),
                id(app),
                ports.inbound.to_string(),
                ports.outbound.to_string(),
                ports.admin.to_string(),
                ports.metrics.to_string(),
                id(leeboard),
            ]
        }))
        .collect();
    let widths: [usize; 9] =
        std::array::from_fn(|at| cells.iter().map(|row| columns(&row[at])).max().unwrap_or_default());
    let mut kept: Vec<usize> = (0..COLUMNS.len()).collect();
    while kept.len() > 1 && kept.iter().map(|at| widths[*at] + 2).sum::<usize>() - 2 > width {
        let first_to_go = kept.iter().copied().max_by_key(|at| COLUMNS[*at].2);
        kept.retain(|at| Some(*at) != first_to_go);
    }
    let line = |row: &[String; 9]| {
        let cell = |at: &usize| match COLUMNS[*at].1 {
            true => format!("{:>width$}", row[*at], width = widths[*at]),
            false => format!("{:<width$}", row[*at], width = widths[*at]),
        };
        cut(kept.iter().map(cell).collect::<Vec<_>>().join("  ").trim_end(), width)
    };
    let mut lines = wrap("Each app has a Leeboard beside it (inbound to its pid). All on 127.0.0.1.", width, 2);
    lines.extend(cells.iter().map(line));
    lines
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

    /// What happened since `before`. A Leeboard that came back begins at zero: that is no negative number.
    pub(crate) fn status(&self, before: &Counters, seconds: f64, ejected: &[String]) -> Vec<String> {
        let since = |now: f64, then: f64| (now - then).max(0.0);
        let [v1, v2] = [0, 1].map(|at| since(self.users[at], before.users[at]));
        let share = |part: f64| if v1 + v2 > 0.0 { 100.0 * part / (v1 + v2) } else { 0.0 };
        let ejected = if ejected.is_empty() { "none".to_owned() } else { ejected.join(" ") };
        vec![
            format!("{:.0} calls/s", since(self.calls, before.calls) / seconds),
            format!("users v1 {:.0} % v2 {:.0} %", share(v1), share(v2)),
            count(since(self.errors, before.errors), "error", "errors"),
            count(since(self.retries, before.retries), "retry", "retries"),
            format!("{} mirrored", count(since(self.mirrored, before.mirrored), "call", "calls")),
            count(since(self.faults, before.faults), "fault", "faults"),
            format!("ejected: {ejected}"),
        ]
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
    fn the_status_says_what_happened_in_between() {
        let (before, after) = (counters(BEFORE), counters(AFTER));
        assert_eq!(
            after.status(&before, 2.0, &["external-b".to_owned()]).join(" | "),
            "60 calls/s | users v1 90 % v2 10 % | 3 errors | 7 retries | 4 calls mirrored | 0 faults | ejected: external-b"
        );
        assert_eq!(
            before.status(&after, 1.0, &[]).join(" | "),
            "0 calls/s | users v1 0 % v2 0 % | 0 errors | 0 retries | 0 calls mirrored | 0 faults | ejected: none"
        );
    }

    fn view() -> View {
        let rows = (0..)
            .zip(REPLICAS)
            .map(|(at, replica)| (replica, Ports::fixed(replica.number), Some(4_194_000 + at), Some(4_195_000 + at)));
        let complaint = "error[L0105]: `timeout` must be a duration, not a bare number\n  --> config/routes.yaml:39:16\n   \
            |\n39 |       timeout: 3\n   |                ^\n   |\n   = help: a duration has a unit: `3s` or `3ms`";
        View {
            rows: rows.collect(),
            routes: "config/routes.yaml".to_owned(),
            log: "/tmp/leeboard-demo-AbCdEf/demo.log".to_owned(),
            complaint: Some(("10 of 10 Leeboards keep the last good version".to_owned(), complaint.to_owned())),
            events: (1..=9).map(|number| format!("event {number} happened to a replica, and more of it")).collect(),
            status: counters(AFTER).status(&counters(BEFORE), 1.0, &["external-b".to_owned()]),
        }
    }

    #[test]
    fn no_line_is_wider_than_the_screen_and_no_frame_is_higher() {
        let view = view();
        for width in (1..=130).chain([200]) {
            for height in [1, 2, 5, 10, 24, 50, 100] {
                let frame = view.frame(width, height);
                assert!(frame.len() <= height, "{width}x{height}: {frame:#?}");
                assert!(frame.iter().all(|line| columns(line) <= width), "{width}x{height}: {frame:#?}");
                assert!(frame.iter().all(|line| !line.contains(char::is_control)), "{width}x{height}: {frame:#?}");
            }
        }
    }

    #[test]
    fn what_matters_most_is_on_every_screen() {
        let view = view();
        for (width, height, expected) in [
            (40, 10, vec!["calls/s", "error[L0105]", "keep the last"]),
            (40, 24, vec!["calls/s", "error[L0105]", "timeout: 3", "event 9", "demo.log"]),
            (80, 24, vec!["calls/s", "error[L0105]", "     ^", "event 9", "admin", "27080", "demo.log"]),
            (80, 60, vec!["27080", "28080", "kill -9 4194002 4195002", "127.0.0.1:26021/behaviour", "event 9"]),
            (120, 60, vec!["notification-service v1", "4194000", "config/routes.yaml", "27021", "ejected: external-b"]),
        ] {
            let text = view.frame(width, height).join("\n");
            for expected in expected {
                assert!(text.contains(expected), "{expected} is not in {width}x{height}:\n{text}");
            }
            assert!(
                !text.contains("\\\n\n") && !text.contains("\\\n120 calls"),
                "half a command is in {width}x{height}:\n{text}"
            );
        }
        let text = view.introduction();
        for (replica, ports, ..) in &view.rows {
            let line = text.lines().find(|line| line.starts_with(replica.name)).unwrap();
            for port in [ports.app, ports.inbound, ports.outbound, ports.admin, ports.metrics] {
                assert!(line.contains(&port.to_string()), "{line}");
            }
        }
    }
}
