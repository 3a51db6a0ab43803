//! `leeboard explain`: where one request goes, and every reason.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use leeboard_istio::compile::Site;
use leeboard_istio::resources::sidecar::OutboundTrafficPolicy;
use leeboard_policy::cluster::Workload;

use super::offline::{Endpoints, Offline};
use super::values::{self, Labels};
use crate::explain::question::{self, RequestText};
use crate::host::exit::{COULD_NOT, DONE};
use crate::process::settings::OutboundPolicy;

/// The flags of `leeboard explain`.
#[derive(Args, Debug)]
pub(crate) struct ExplainArgs {
    /// What is asked for, as http://host:port/path?query.
    #[arg(value_name = "URL")]
    url: String,
    /// The method.
    #[arg(long, short = 'X', value_name = "M", default_value = "GET")]
    method: String,
    /// A header as 'name: value'; may be repeated.
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE", value_parser = question::header)]
    headers: Vec<(String, Vec<u8>)>,
    /// The request's luck: the seed of a line of the access log reproduces its draws.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// How it is told.
    #[arg(long, short = 'o', value_enum, default_value_t = Output::Text)]
    output: Output,
    #[command(flatten)]
    place: Place,
}

/// Whose request it is, and by which configuration.
#[derive(Args, Debug)]
pub(crate) struct Place {
    /// A file, or a folder that is searched for *.yaml, *.yml and *.json; may be repeated.
    #[arg(long, env = "LEEBOARD_CONFIG", value_name = "PATH", default_value = "config", value_delimiter = ',')]
    config: Vec<PathBuf>,
    /// The namespace that the caller lives in.
    #[arg(long, env = "LEEBOARD_NAMESPACE", value_name = "NS", default_value = "default")]
    namespace: String,
    /// The caller's labels.
    #[arg(long, env = "LEEBOARD_LABELS", value_name = "k=v,...", default_value = "", value_parser = values::labels)]
    source_labels: Labels,
    /// Where the caller runs, as region/zone/subzone.
    #[arg(long, env = "LEEBOARD_LOCALITY", value_name = "r/z/s", default_value = "")]
    locality: String,
    /// What is done with hosts that the configuration does not know [default: what the mesh's settings say, else allow-any].
    #[arg(long, env = "LEEBOARD_OUTBOUND_TRAFFIC_POLICY", value_enum)]
    outbound_traffic_policy: Option<OutboundPolicy>,
    /// A file with Istio's MeshConfig: settings of the whole mesh.
    #[arg(long, env = "LEEBOARD_MESH_CONFIG", value_name = "FILE")]
    mesh_config: Option<PathBuf>,
}

/// How an explanation is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Text,
    /// One JSON object.
    Json,
}

impl Place {
    /// Who calls.
    pub(crate) fn workload(&self) -> Workload {
        Workload {
            namespace: self.namespace.as_str().into(),
            labels: self.source_labels.0.clone(),
            locality: self.locality.as_str().into(),
            ..Workload::default()
        }
    }

    /// Reads the configuration for a caller. `config` takes the place of the flag's.
    ///
    /// # Errors
    /// All complaints as text for people.
    pub(crate) fn open_at(
        &self,
        config: Option<&[PathBuf]>,
        workload: Workload,
        endpoints: Endpoints,
    ) -> Result<Offline, String> {
        let unknown = self.outbound_traffic_policy.map(|policy| match policy {
            OutboundPolicy::AllowAny => OutboundTrafficPolicy::AllowAny,
            OutboundPolicy::RegistryOnly => OutboundTrafficPolicy::RegistryOnly,
        });
        let site = Site { workload, unknown, ..Site::default() };
        Offline::open(config.unwrap_or(&self.config).to_vec(), self.mesh_config.clone(), site, endpoints)
    }
}

/// Explains and prints; the process' exit code: 0, or 2 when the request or the configuration cannot be read.
pub(crate) fn run(args: ExplainArgs, out: &mut dyn Write, complaints: &mut dyn Write) -> u8 {
    let ExplainArgs { url, method, headers, seed, output, place } = args;
    let inquiry = RequestText { method, url, headers, seed };
    let told = inquiry.question().map_err(|words| format!("error: {words}\n"));
    let told =
        told.and_then(|question| Ok(place.open_at(None, place.workload(), Endpoints::AsWritten)?.explain(&question)));
    let printed = match told {
        Ok(told) if output == Output::Json => writeln!(out, "{:#}", told.to_json()),
        Ok(told) => write!(out, "{told}"),
        Err(complaint) => {
            // Where it goes may be closed already, and there is nobody else to tell.
            let _ = complaints.write_all(complaint.as_bytes());
            return COULD_NOT;
        }
    };
    printed.map_or(COULD_NOT, |()| DONE)
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::Value as Json;

    use super::*;
    use crate::cli::{Cli, Verb};

    fn explained(line: &[&str]) -> (u8, String, String) {
        let config = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config");
        let files = ["services.yaml", "routes.yaml", "destinations.yaml"].map(|name| format!("{config}/{name}"));
        let usual = ["leeboard", "explain", "--namespace", "demo", "--config", &files.join(",")];
        let line = usual.iter().copied().chain(line.iter().copied());
        let Verb::Explain(args) = Cli::try_parse_from(line).unwrap().verb else { panic!("explain") };
        let (mut out, mut complaints) = (Vec::new(), Vec::new());
        let code = run(*args, &mut out, &mut complaints);
        (code, String::from_utf8(out).unwrap(), String::from_utf8(complaints).unwrap())
    }

    #[test]
    fn the_canary_and_the_split_are_told_with_their_reasons() {
        #[rustfmt::skip]
        let table: &[(&[&str], &[&str])] = &[
            (&["http://user-service:5000/users", "-H", "x-canary: v2"],
                &["> 1 canary-by-header", "routes.yaml:18:7", "matches", "|v2|", "overall 3s"]),
            (&["http://user-service:5000/users", "-X", "POST"],
                &["headers[x-canary] (", "routes.yaml:21:13) must be exact v2, is absent", "> 2 create", "|v1|", "DestinationRule demo/user-service"]),
            (&["http://user-service:5000/users"],
                &["routes.yaml:31:11) must be exact POST, is GET", "> 3 split", "weight 90", "weight 10", "try 1 0ms – 700ms",
                  "back-off 0 – 25ms", "try 4", "connectionPool of DestinationRule demo/user-service, trafficPolicy",
                  "ends: timeout of the attempt", "at worst     504"]),
            (&["http://notification-service:5003/hook"], &["mirror", "for 50 %"]),
            (&["http://user-servise:5000/"], &["not used     ServiceEntry demo/user-service (", "user-service is nearly that name"]),
            (&["http://user-service:5001/"], &["not used     ServiceEntry demo/user-service (", "it has no port 5001, but 5000"]),
            (&["http://nobody.example/"], &["nobody claims nobody.example: it is sent where it asks to be"]),
            (&["http://nobody.example/", "--outbound-traffic-policy", "registry-only"], &["answer       502"]),
            (&["https://user-service:5000/users"], &["answer       503 UF (tls_not_available; tls-not-available)"]),
        ];
        for (line, expected) in table {
            let (code, out, complaints) = explained(line);
            assert_eq!(code, DONE, "{line:?}: {complaints}");
            for words in *expected {
                assert!(out.contains(words), "{line:?}: no `{words}` in\n{out}");
            }
        }
    }

    #[test]
    fn documents_found_in_the_wild_are_explained_too() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../istio/tests/data/adopted");
        #[rustfmt::skip]
        let table: [(&str, &[&str]); 3] = [
            ("x-canary: yes", &["> 1 (unnamed)", "> outbound|80|canary|catalogue.library.svc.cluster.local", "overall 20s"]),
            ("x-group: beta", &["rules.yaml:", ") must be exact yes, is absent", "> 2 (unnamed)", "|next|",
                "connectionPool of DestinationRule library/catalogue, subsets[next].trafficPolicy"]),
            ("x-group: alpha", &[") must be exact beta, is alpha", "> 3 (unnamed)", "weight 95", "delay 3s for 0.2 %: drew",
                "mirror       outbound|80||catalogue-shadow.library.svc.cluster.local for 2 %: drew",
                "loadBalancer of DestinationRule library/catalogue, subsets[stable].trafficPolicy.portLevelSettings[80]"]),
        ];
        for (header, expected) in table {
            let line = [
                "leeboard",
                "explain",
                "--namespace",
                "library",
                "--config",
                folder,
                "-H",
                header,
                "http://catalogue/books",
            ];
            let Verb::Explain(args) = Cli::try_parse_from(line).unwrap().verb else { panic!("explain") };
            let (mut out, mut complaints) = (Vec::new(), Vec::new());
            assert_eq!(run(*args, &mut out, &mut complaints), DONE);
            let out = String::from_utf8(out).unwrap();
            expected.iter().for_each(|words| assert!(out.contains(words), "{header}: no `{words}` in\n{out}"));
        }
    }

    #[test]
    fn the_seed_decides_the_split() {
        let cluster = |seed: u64| {
            let (_, out, _) = explained(&["http://user-service:5000/", "-o", "json", "--seed", &seed.to_string()]);
            let json: Json = serde_json::from_str(&out).unwrap();
            assert_eq!(json["seed"], seed.to_string());
            json["destination"]["cluster"].as_str().unwrap().to_owned()
        };
        let v2 = (0..40).filter(|seed| cluster(*seed).contains("|v2|")).count();
        assert!((1..=12).contains(&v2), "{v2} of 40");
        assert_eq!(cluster(7), cluster(7));
    }

    #[test]
    fn a_service_without_endpoints_is_told_where_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.yaml");
        let service = "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: demo}\nspec: {ports: [{name: http, port: 80}]}\n";
        let slice = "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: w, namespace: demo, labels: \
                     {kubernetes.io/service-name: web}}\naddressType: IPv4\nports: [{name: http, port: 80}]\nendpoints: [{addresses: [10.0.0.1]}]\n";
        for (text, told) in [(service.to_owned(), true), (format!("{service}{slice}"), false)] {
            std::fs::write(&file, text).unwrap();
            let path = file.to_str().unwrap();
            let line = ["leeboard", "explain", "--namespace", "demo", "--config", path, "http://web/"];
            let Verb::Explain(args) = Cli::try_parse_from(line).unwrap().verb else { panic!("explain") };
            let (mut out, mut complaints) = (Vec::new(), Vec::new());
            assert_eq!(run(*args, &mut out, &mut complaints), DONE);
            let out = String::from_utf8(out).unwrap();
            assert_eq!(
                out.contains("none: the configuration holds none for Service demo/web; they live in the cluster"),
                told,
                "{out}"
            );
        }
    }

    #[test]
    fn what_is_broken_is_left_out_as_a_start_does() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.yaml");
        let rule = |name: &str, timeout: &str| {
            format!(
                "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}}}\nspec: {{hosts: \
                     [{name}.test], http: [{{timeout: {timeout}, directResponse: {{status: 418}}}}]}}\n"
            )
        };
        for (other, code) in [("0s", DONE), ("1s", DONE)] {
            std::fs::write(&file, rule("good", "1s") + &rule("other", other)).unwrap();
            let line = ["leeboard", "explain", "--config", file.to_str().unwrap(), "http://good.test/"];
            let Verb::Explain(args) = Cli::try_parse_from(line).unwrap().verb else { panic!("explain") };
            let (mut out, mut complaints) = (Vec::new(), Vec::new());
            assert_eq!(run(*args, &mut out, &mut complaints), code);
            let out = String::from_utf8(out).unwrap();
            assert!(out.contains("418"), "{out}");
            assert_eq!(out.contains("VirtualService default/other is broken and left out"), other == "0s", "{out}");
        }
    }

    #[test]
    fn what_cannot_be_explained() {
        for (line, words) in [
            (&["ftp://a/"][..], "begins with http://"),
            (&["http://a/", "--config", "/no/such/folder"], "cannot be read"),
            (&["http://a/%00"], "400"),
        ] {
            let (code, _, complaints) = explained(line);
            assert_eq!(code, COULD_NOT, "{line:?}");
            assert!(complaints.contains(words), "{line:?}: {complaints}");
        }
    }
}
