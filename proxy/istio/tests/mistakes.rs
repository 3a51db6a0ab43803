//! Ten mistakes in three files are ten complaints in one run, each where it is, and what is good still serves.

use leeboard_istio::codes::{self, Code};
use leeboard_istio::compile::{Site, compile};
use leeboard_istio::diagnostic::Severity::{self, Error, Warning};
use leeboard_istio::source::Source;
use leeboard_istio::{load, render, to_json};
use leeboard_policy::cluster::Workload;

fn sources() -> Vec<Source> {
    ["destinations.yaml", "routes.yaml", "services.yaml"].map(source).into()
}

fn source(name: &str) -> Source {
    let path = format!("{}/tests/data/mistakes/{name}", env!("CARGO_MANIFEST_DIR"));
    Source::new(name, std::fs::read_to_string(path).expect("a file of this crate"))
}

type Row = (&'static str, u32, u32, Severity, Code, &'static str);

const ROWS: [Row; 10] = [
    ("destinations.yaml", 11, 34, Error, codes::OUT_OF_RANGE, "`http1MaxPendingRequests` is -1; it must be 0 or more"),
    (
        "destinations.yaml",
        12,
        9,
        Warning,
        codes::UNKNOWN_FIELD,
        "unknown field `consecutive5xxErrors` in `connectionPool.http`",
    ),
    (
        "destinations.yaml",
        23,
        25,
        Error,
        codes::BAD_DURATION,
        "`baseEjectionTime` must be a duration, not a bare number",
    ),
    ("destinations.yaml", 25, 15, Error, codes::BAD_VALUE, "`simple` cannot be `ROUND_ROBBIN`"),
    ("routes.yaml", 12, 22, Error, codes::WRONG_TYPE, "`exact` must be text, not a number"),
    ("routes.yaml", 15, 7, Warning, codes::UNKNOWN_FIELD, "unknown field `timout` in `http[]`"),
    ("routes.yaml", 20, 22, Error, codes::BAD_VALUE, "`resett` is no `retryOn` condition"),
    ("routes.yaml", 42, 24, Error, codes::BAD_REGEX, "`regex` does not compile: missing `)`"),
    ("services.yaml", 20, 10, Error, codes::SYNTAX, "`[` is not closed"),
    ("services.yaml", 31, 3, Error, codes::DUPLICATE_KEY, "`resolution` is written twice in this block"),
];

#[test]
fn every_mistake_is_told_where_it_is() {
    let loaded = load(&sources());
    let found: Vec<_> = loaded
        .diagnostics
        .iter()
        .map(|d| (&*d.primary.file, d.primary.line, d.primary.column, d.severity, d.code))
        .collect();
    let wanted: Vec<_> = ROWS.iter().map(|row| (row.0, row.1, row.2, row.3, row.4)).collect();
    assert_eq!(found, wanted, "{}", render(&loaded.diagnostics, &sources(), false));
    for (diagnostic, row) in loaded.diagnostics.iter().zip(ROWS) {
        assert!(diagnostic.message.starts_with(row.5), "{} / {}", diagnostic.message, row.5);
    }
}

#[test]
fn what_is_good_still_serves() {
    let loaded = load(&sources());
    let resources = &loaded.resources;
    let names = |list: Vec<String>| list.join(" ");
    assert_eq!(
        names(resources.virtual_services.iter().map(|o| o.meta.id.to_string()).collect()),
        "VirtualService demo/good"
    );
    assert_eq!(
        names(resources.destination_rules.iter().map(|o| o.meta.id.to_string()).collect()),
        "DestinationRule demo/good"
    );
    assert_eq!(
        names(resources.service_entries.iter().map(|o| o.meta.id.to_string()).collect()),
        "ServiceEntry demo/good"
    );
    let rejected: Vec<_> = loaded.rejected.iter().map(ToString::to_string).collect();
    let wanted = [
        "VirtualService demo/order-service",
        "VirtualService demo/user-service",
        "DestinationRule demo/order-service",
        "DestinationRule demo/user-service",
        "ServiceEntry demo/order-service",
        "ServiceEntry demo/user-service",
    ];
    assert_eq!(rejected, wanted);
}

#[test]
fn what_is_good_compiles_without_a_further_complaint() {
    let workload = Workload { namespace: "demo".into(), ..Workload::default() };
    let site = Site { workload, ..Site::default() };
    let (snapshot, complaints) = compile(&load(&sources()).resources, &site);
    assert_eq!(complaints, []);
    assert!(snapshot.host(80, "good").is_some_and(|host| host.routes.len() == 1));
    assert!(snapshot.host(80, "user-service").is_none());
    assert!(snapshot.cluster_named("outbound|80||good.demo.svc.cluster.local").is_some());
}

#[test]
fn what_is_quoted_cannot_steer_a_terminal() {
    let text =
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: a}\nspec: {host: \"a\\e[31m\"}\n";
    let loaded = load(&[Source::new("f.yaml", text)]);
    assert_eq!(loaded.errors(), 1);
    assert!(!loaded.diagnostics[0].message.contains('\u{1b}'), "{:?}", loaded.diagnostics[0].message);
}

#[test]
fn a_complaint_reads_like_a_compilers() {
    let loaded = load(&sources());
    let shown = render(&loaded.diagnostics[6..7], &sources(), false);
    let wanted = "\
error[L0104]: `resett` is no `retryOn` condition
  --> routes.yaml:20:22
   |
20 |         retryOn: 5xx,resett
   |                      ^^^^^^
   |
   = help: did you mean `reset`?

";
    assert_eq!(shown, wanted);
    let twice = render(&loaded.diagnostics[9..], &sources(), false);
    assert!(twice.contains("--> services.yaml:31:3") && twice.contains("it is first written here"), "{twice}");
}

#[test]
fn json_has_the_same_for_programs() {
    let json = to_json(&load(&sources()).diagnostics);
    assert_eq!(json.as_array().map(Vec::len), Some(ROWS.len()));
    assert_eq!(json[6]["code"], "L0104");
    assert_eq!(json[6]["severity"], "error");
    assert_eq!(json[6]["file"], "routes.yaml");
    assert_eq!((&json[6]["line"], &json[6]["column"]), (&20.into(), &22.into()));
    assert_eq!(json[6]["resource"], "VirtualService demo/user-service");
    assert_eq!(json[6]["help"], "did you mean `reset`?");
    assert_eq!(json[1]["help"], "`consecutive5xxErrors` belongs in `trafficPolicy.outlierDetection`");
}

#[test]
fn a_place_without_its_text_is_named_all_the_same() {
    let text = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: a}\nspec: {host: a}\n";
    let loaded = load(&[Source::new("one.yaml", text), Source::new("two.yaml", text)]);
    let shown = render(&loaded.diagnostics, &[Source::new("two.yaml", text)], false);
    for part in ["--> two.yaml:3:18", "::: one.yaml:3:18", "note: it is first defined here"] {
        assert!(shown.contains(part), "{shown}");
    }
    assert!(render(&loaded.diagnostics, &[], false).contains("--> two.yaml:3:18"));
}
