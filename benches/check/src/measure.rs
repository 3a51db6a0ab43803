//! How long a check takes: sound documents of many services in several namespaces, and the same with a slip in each tenth.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::Instant;

use leeboard_istio::check::check;
use leeboard_istio::compile::Site;
use leeboard_istio::source::Source;

/// What is different from one measurement to the next.
#[derive(Clone, Copy, Default)]
struct Case {
    /// How many services share a namespace.
    together: usize,
    /// Every tenth file has a slip in it.
    slips: bool,
    /// The first service of each namespace is for it alone.
    private: bool,
}

/// How often each check is timed.
const TURNS: usize = 7;

/// Times the check of so many documents, and prints the best of some turns.
pub(crate) fn print(documents: usize) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let cases = [
        ("sound", Case { together: 40, ..Case::default() }),
        ("with a slip in every tenth file", Case { together: 40, slips: true, ..Case::default() }),
        (
            "in many namespaces, each of which keeps a service to itself",
            Case { together: 4, private: true, ..Case::default() },
        ),
    ];
    for (what, case) in cases {
        let slips = case.slips;
        let sources = sources(documents, case);
        let mut best = f64::INFINITY;
        let mut told = 0;
        for _ in 0..TURNS {
            let begin = Instant::now();
            let checked = check(&sources, &Site::default());
            best = best.min(begin.elapsed().as_secs_f64() * 1_000.0);
            told = checked.diagnostics.len();
            assert!(slips || told == 0, "{:?}", checked.diagnostics.first());
        }
        writeln!(out, "{documents} documents in {} files, {what}: {best:.1} ms, {told} complaints", sources.len())?;
    }
    Ok(())
}

/// A service is three documents: its endpoints, its rule, its routes.
fn sources(documents: usize, case: Case) -> Vec<Source> {
    (0..documents.div_ceil(3)).map(|n| Source::new(format!("{n}.yaml"), file(n, case))).collect()
}

fn file(n: usize, case: Case) -> String {
    let (name, namespace) = (format!("service-{n}"), format!("team-{}", n / case.together));
    let export_to = if case.private && n.is_multiple_of(case.together) { "['.']" } else { "['*']" };
    let head = |kind: &str| {
        format!(
            "---\napiVersion: networking.istio.io/v1\nkind: {kind}\nmetadata:\n  name: {name}\n  namespace: {namespace}\nspec:\n"
        )
    };
    let mut text = format!(
        "{}  exportTo: {export_to}\n  hosts: [{name}.{namespace}.svc.cluster.local]\n  location: MESH_INTERNAL\n  resolution: STATIC\n  ports:\n  - number: 8080\n    name: http\n    \
         protocol: HTTP\n  endpoints:\n",
        head("ServiceEntry")
    );
    for (at, version) in ["v1", "v1", "v2"].into_iter().enumerate() {
        let _ = writeln!(
            text,
            "  - address: 10.{}.{}.{at}\n    labels: {{app: {name}, version: {version}}}",
            n / 250,
            n % 250
        );
    }
    let _ = write!(
        text,
        "{}  host: {name}\n  trafficPolicy:\n    connectionPool:\n      tcp: {{maxConnections: 100, connectTimeout: 1s}}\n    outlierDetection:\n      \
         consecutive5xxErrors: 5\n      maxEjectionPercent: 50\n  subsets:\n  - {{name: v1, labels: {{version: v1}}}}\n  - {{name: v2, labels: {{version: v2}}}}\n",
        head("DestinationRule")
    );
    let _ = write!(text, "{}  hosts: [{name}]\n  http:\n", head("VirtualService"));
    for rule in 0..8 {
        let _ = write!(
            text,
            "  - match:\n    - uri: {{prefix: /api/{rule}/}}\n      headers: {{x-tester: {{exact: t{rule}}}}}\n    route:\n    - destination: {{host: {name}, \
             subset: v{}}}\n    timeout: {}s\n    retries: {{attempts: 2, perTryTimeout: 500ms, retryOn: connect-failure}}\n",
            1 + rule % 2,
            rule + 2
        );
    }
    let subset = if case.slips && n.is_multiple_of(10) { "v11" } else { "v1" };
    let _ = write!(
        text,
        "  - route:\n    - destination: {{host: {name}, subset: {subset}}}\n      weight: 90\n    - destination: {{host: {name}, subset: v2}}\n      weight: 10\n    timeout: 5s\n"
    );
    text
}
