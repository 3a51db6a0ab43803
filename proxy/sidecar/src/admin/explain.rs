//! `/explain`: where one request would go now, and why. It uses a copy of the live state, so traffic is not affected.

use http::StatusCode;
use leeboard_policy::live::Live;
use leeboard_policy::request::Entrance;
use leeboard_sim::explain::{Question, explain};

use super::AdminState;
use super::page::{PageRequest, PageResponse};
use crate::explain::question::{self, RequestText};
use crate::explain::sources::ConfigSources;
use crate::host::background;
use crate::http::sensitive::REDACTED;

pub(super) fn answer(state: &AdminState, ask: &PageRequest) -> PageResponse {
    let live = state.live.load();
    let question = asked(ask).and_then(|inquiry| {
        let question = inquiry.question()?;
        Ok(Question { entrance: entrance(&live, ask)?, ..question })
    });
    let question = match question {
        Ok(question) => question,
        Err(words) => return PageResponse::refusal(StatusCode::BAD_REQUEST, format!("{words}\n")),
    };
    let mut told = explain(&live, &question, state.controls.now());
    // The texts are read again for that, which takes its time for large ones.
    let report = state.config.load();
    background::run(|| {
        let snapshot = live.snapshot();
        if let Some((resources, site, sources)) = report.in_force.as_written(snapshot) {
            ConfigSources { resources: &resources, site, sources: &sources }.complete(&mut told, snapshot);
        }
    });
    told.redact(&|name| state.secrets.hide(name), REDACTED);
    if ask.json() { PageResponse::json(&told.to_json()) } else { PageResponse::text(told.to_string()) }
}

fn asked(ask: &PageRequest) -> Result<RequestText, String> {
    let one = |name: &str| ask.query.get(name).map(String::as_str);
    let url =
        one("url").ok_or("ask /explain?url=http://host:port/path, and add method, header and seed if you like")?;
    let seed = one("seed").unwrap_or("0");
    let headers = ask.headers.iter().map(|line| question::field(line)).collect::<Result<_, _>>()?;
    Ok(RequestText {
        method: one("method").unwrap_or("GET").to_owned(),
        url: url.to_owned(),
        headers,
        seed: seed.parse().map_err(|_| format!("'{seed}' is no seed: it is a number below 2⁶⁴"))?,
    })
}

/// The outbound listener, or the inbound one that listens at the port asked for.
fn entrance(live: &Live, ask: &PageRequest) -> Result<Entrance, String> {
    let Some(port) = ask.query.get("inbound") else { return Ok(Entrance::Outbound { port: None }) };
    let inbound = live.snapshot().inbound();
    let found = inbound.iter().position(|inbound| inbound.listen.port().to_string() == *port);
    found.map(Entrance::Inbound).ok_or_else(|| format!("no inbound listener has port {port}"))
}
