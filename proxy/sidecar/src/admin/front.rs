//! The front page, for people.

use std::fmt::Write;

use http::StatusCode;
use leeboard_policy::counted::counted;

use super::page::{Methods, PageRequest, PageResponse};
use super::pages::{state_name, uptime};
use super::{AdminState, VERSION};

/// A page for people.
pub(super) fn answer(state: &AdminState, ask: &PageRequest) -> PageResponse {
    let live = state.live.load();
    let (snapshot, config) = (live.snapshot(), state.config.load());
    let workload = snapshot.workload();
    let mut html = String::from(HEAD);
    row(&mut html, "Workload", &format!("{} in {}", or_dash(&workload.name), or_dash(&workload.namespace)));
    row(&mut html, "Labels", &labels(workload));
    row(&mut html, "State", state_name(state.controls.life()));
    row(&mut html, "Version", VERSION);
    row(&mut html, "Up", &format!("{} s, {}", uptime(state).as_secs(), counted(state.workers, "worker")));
    row(
        &mut html,
        "Configuration",
        &format!(
            "{}: {}, {}, {}, {} kept, {} left out, {} waiting",
            or_dash(snapshot.version()),
            counted(snapshot.hosts().len(), "virtual host"),
            counted(snapshot.clusters().len(), "cluster"),
            counted(config.diagnostics.len(), "complaint"),
            counted(config.kept.len(), "object"),
            config.left_out.len(),
            config.waiting.len(),
        ),
    );
    for socket in &state.listening {
        row(&mut html, "Listens", &format!("{} on {}", socket.name, socket.address));
    }
    html += "</table>\n<table>\n";
    for page in ask.pages {
        let path = page.path;
        let name = match page.methods {
            Methods::Get | Methods::Both => format!("<a href=\"{path}\">{path}</a>"),
            Methods::Post => format!("POST {path}"),
        };
        let _ = writeln!(html, "<tr><th>{name}</th><td>{}</td></tr>", escaped(page.about));
    }
    html += "</table>\n";
    PageResponse::new(StatusCode::OK, "text/html; charset=utf-8", html)
}

const HEAD: &str = "<!doctype html>\n<meta charset=\"utf-8\">\n<title>Leeboard</title>\n\
    <style>body{font:16px/1.5 sans-serif;margin:2em;max-width:60em}th{text-align:left;padding-right:2em;\
    font-weight:normal;white-space:nowrap;vertical-align:top}table{margin-bottom:2em}</style>\n<h1>Leeboard</h1>\n<table>\n";

fn row(html: &mut String, name: &str, value: &str) {
    let _ = writeln!(html, "<tr><th>{name}</th><td>{}</td></tr>", escaped(value));
}

fn labels(workload: &leeboard_policy::cluster::Workload) -> String {
    let pairs: Vec<String> = workload.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    or_dash(&pairs.join(", ")).to_owned()
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
