//! `leeboard run`: its flags.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use clap::builder::BoolishValueParser;
use leeboard_policy::cluster::Workload;
use leeboard_policy::time::Span;

use super::files::FileArgs;
use super::values::{self, Labels, Listen};
use crate::http::informational::HalfClose;
use crate::http::sensitive::SensitiveHeaders;
use crate::net::networks::{self, Networks};
use crate::process::settings::{InboundPort, OutboundPolicy, Settings};
use crate::telemetry::access_log;
use crate::telemetry::log_sink::Sink;
use crate::telemetry::program_log::Format;
use crate::worker::connection_state::IdleTimeouts;
use crate::worker::settings::Settings as WorkerSettings;

/// The flags of `leeboard run`, as they are written.
#[derive(Args, Debug)]
pub(crate) struct RunArgs {
    /// A file, or a folder that is searched for *.yaml, *.yml and *.json; may be repeated.
    #[arg(long, env = "LEEBOARD_CONFIG", value_name = "PATH", default_value = "config", value_delimiter = ',')]
    config: Vec<PathBuf>,
    #[command(flatten)]
    files: FileArgs,
    /// How long an edited route waits for a host, subset or delegate that is not there yet, and what was taken away for the
    /// routes that lead to it; until then what was in force stays. 0 waits for nothing.
    #[arg(long, env = "LEEBOARD_CONFIG_GRACE", value_name = "TIME", default_value = "10s", value_parser = values::span)]
    config_grace: Span,
    /// Ends at once, with 2, if anything in the configuration is broken at the start. Else what is broken is left out and told,
    /// and the rest is served.
    #[arg(long, env = "LEEBOARD_STRICT_CONFIG", value_parser = BoolishValueParser::new())]
    strict_config: bool,
    /// Where the application's own calls arrive; `off` disables it.
    #[arg(long, env = "LEEBOARD_OUTBOUND", value_name = "ADDR", default_value = "127.0.0.1:15001", value_parser = values::listen)]
    outbound: Listen,
    /// Where calls to the application arrive, and where it listens itself; may be repeated.
    #[arg(long, env = "LEEBOARD_INBOUND", value_name = "LISTEN=APP", value_delimiter = ',', value_parser = values::inbound_port)]
    inbound: Vec<InboundPort>,
    /// Where an operator asks questions; `off` disables it.
    #[arg(long, env = "LEEBOARD_ADMIN", value_name = "ADDR", default_value = "127.0.0.1:15000", value_parser = values::listen)]
    admin: Listen,
    /// Where readiness is asked for; `off` disables it.
    #[arg(long, env = "LEEBOARD_STATUS", value_name = "ADDR", default_value = "0.0.0.0:15021", value_parser = values::listen_to_all)]
    status: Listen,
    /// Where Prometheus scrapes; `off` disables it.
    #[arg(long, env = "LEEBOARD_METRICS", value_name = "ADDR", default_value = "0.0.0.0:15090", value_parser = values::listen_to_all)]
    metrics: Listen,
    /// Threads that carry traffic [default: 2, or as many CPUs as there are when that is less].
    #[arg(long, env = "LEEBOARD_WORKERS", value_name = "N")]
    workers: Option<NonZeroUsize>,
    /// The namespace that the application lives in.
    #[arg(long, env = "LEEBOARD_NAMESPACE", value_name = "NS", default_value = "default")]
    namespace: String,
    /// The application's labels.
    #[arg(long, env = "LEEBOARD_LABELS", value_name = "k=v,...", default_value = "", value_parser = values::labels)]
    labels: Labels,
    /// The name of the application's workload, usually its Deployment's.
    #[arg(long, env = "LEEBOARD_WORKLOAD", value_name = "NAME", default_value = "")]
    workload: String,
    /// Where the application runs, as region/zone/subzone.
    #[arg(long, env = "LEEBOARD_LOCALITY", value_name = "r/z/s", default_value = "")]
    locality: String,
    /// What is done with hosts that the configuration does not know [default: what the mesh's settings say, else allow-any].
    #[arg(long, env = "LEEBOARD_OUTBOUND_TRAFFIC_POLICY", value_enum)]
    outbound_traffic_policy: Option<OutboundPolicy>,
    /// A file with Istio's MeshConfig: settings of the whole mesh. A document `kind: MeshConfig` in the configuration does as well.
    #[arg(long, env = "LEEBOARD_MESH_CONFIG", value_name = "FILE")]
    mesh_config: Option<PathBuf>,
    /// Where the access log goes: `-` is standard output, `off` disables it [default: what the mesh's settings say, else off].
    #[arg(long, env = "LEEBOARD_ACCESS_LOG", value_name = "-|PATH|off", value_parser = |text: &str| Ok::<_, String>(Sink::parse(text)), allow_hyphen_values = true)]
    access_log: Option<Sink>,
    /// How the access log is written [default: what the mesh's settings say, else text].
    #[arg(long, env = "LEEBOARD_ACCESS_LOG_FORMAT", value_enum)]
    access_log_format: Option<Format>,
    /// What the program's own log on standard error tells: off, error, warn, info, debug, trace, or module=level,...
    #[arg(long, env = "LEEBOARD_LOG_LEVEL", value_name = "LEVEL", default_value = "info")]
    log_level: String,
    /// How the program's own log is written.
    #[arg(long, env = "LEEBOARD_LOG_FORMAT", value_enum, default_value_t = Format::Text)]
    log_format: Format,
    /// The most of a request's body that is kept to send it again; a longer one is sent once.
    #[arg(long, env = "LEEBOARD_REPLAY_BUFFER", value_name = "BYTES", default_value = "1MiB", value_parser = values::bytes)]
    replay_buffer: usize,
    /// The most that all requests together keep to be sent again; what does not fit is sent once.
    #[arg(long, env = "LEEBOARD_REPLAY_MEMORY", value_name = "BYTES", default_value = "32MiB", value_parser = values::bytes)]
    replay_memory: usize,
    /// The most bytes that a request's head may have; more is answered with 431.
    #[arg(long, env = "LEEBOARD_MAX_HEADER_BYTES", value_name = "BYTES", default_value = "60KiB", value_parser = values::bytes)]
    max_header_bytes: usize,
    /// The most headers that a request may have; more are answered with 431.
    #[arg(long, env = "LEEBOARD_MAX_HEADERS", value_name = "N", default_value = "100")]
    max_headers: usize,
    /// The most bytes that the head of an endpoint's response may have; more is no response, which is answered with 502.
    #[arg(long, env = "LEEBOARD_MAX_RESPONSE_HEADER_BYTES", value_name = "BYTES", default_value = "60KiB", value_parser = values::bytes)]
    max_response_header_bytes: usize,
    /// Takes messages that give a Content-Length beside `Transfer-Encoding: chunked`, and passes over the length. Envoy:
    /// allow_chunked_length.
    #[arg(long, env = "LEEBOARD_ALLOW_CHUNKED_LENGTH", value_parser = BoolishValueParser::new())]
    allow_chunked_length: bool,
    /// Takes HTTP/1 heads whose lines end in LF alone, as Envoy does; others could see other lines in them.
    #[arg(long, env = "LEEBOARD_ALLOW_BARE_LF", value_parser = BoolishValueParser::new())]
    allow_bare_lf: bool,
    /// How long a request's head may take to arrive; slower is answered with 408. 0 is no limit.
    #[arg(long, env = "LEEBOARD_HEADER_TIMEOUT", value_name = "TIME", default_value = "10s", value_parser = values::span)]
    header_timeout: Span,
    /// How long a caller's connection may be without a request; then it is closed. 0 is no limit.
    #[arg(long, env = "LEEBOARD_IDLE_TIMEOUT", value_name = "TIME", default_value = "1h", value_parser = values::span)]
    idle_timeout: Span,
    /// How long nothing may pass through a tunnel (an upgrade, a CONNECT); then it is closed. 0 is no limit.
    #[arg(long, env = "LEEBOARD_TUNNEL_IDLE_TIMEOUT", value_name = "TIME", default_value = "1h", value_parser = values::span)]
    tunnel_idle_timeout: Span,
    /// The most connections of callers [default: nearly half of the descriptors that the process may have open].
    #[arg(long, env = "LEEBOARD_MAX_CONNECTIONS", value_name = "N")]
    max_connections: Option<NonZeroUsize>,
    /// The most of them at one listener [default: three quarters of all].
    #[arg(long, env = "LEEBOARD_MAX_LISTENER_CONNECTIONS", value_name = "N")]
    max_listener_connections: Option<NonZeroUsize>,
    /// The most of them from one address [default: half of all].
    #[arg(long, env = "LEEBOARD_MAX_CALLER_CONNECTIONS", value_name = "N")]
    max_caller_connections: Option<NonZeroUsize>,
    /// The most connections to endpoints [default: the descriptors that callers leave]; what needs one more is answered with 503.
    #[arg(long, env = "LEEBOARD_MAX_ENDPOINT_CONNECTIONS", value_name = "N")]
    max_endpoint_connections: Option<NonZeroUsize>,
    /// The most of them that carry one request at a time and are in use for one HTTP/2 connection of a caller [default: half of all].
    #[arg(long, env = "LEEBOARD_MAX_CALLER_ENDPOINT_CONNECTIONS", value_name = "N")]
    max_caller_endpoint_connections: Option<NonZeroUsize>,
    /// How long an HTTP/2 connection to an endpoint may be without a stream until the endpoint is asked, by a PING, whether it is
    /// there before the next one. 0 asks never.
    #[arg(long, env = "LEEBOARD_PING_AFTER", value_name = "TIME", default_value = "30s", value_parser = values::span)]
    ping_after: Span,
    /// The most of answers over HTTP/2 that is held in all for callers who do not read; beyond it the largest are given up.
    #[arg(long, env = "LEEBOARD_MAX_UNREAD", value_name = "BYTES", default_value = "16MiB", value_parser = values::bytes)]
    max_unread: usize,
    /// The most of them that is held for one connection of a caller.
    #[arg(long, env = "LEEBOARD_MAX_CALLER_UNREAD", value_name = "BYTES", default_value = "8MiB", value_parser = values::bytes)]
    max_caller_unread: usize,
    /// How long a request's body may stand still before there is an answer; longer is answered with 408, or with 504 if the
    /// endpoint does not take it. 0 is no limit.
    #[arg(long, env = "LEEBOARD_STALLED_BODY", value_name = "TIME", default_value = "5m", value_parser = values::span)]
    stalled_body: Span,
    /// How long a caller may leave its answer unread before it is cut off. 0 is no limit.
    #[arg(long, env = "LEEBOARD_STALLED_READER", value_name = "TIME", default_value = "5m", value_parser = values::span)]
    stalled_reader: Span,
    /// What a caller of HTTP/1 means that has closed its own direction only: that it waits for its answer, or that it has left.
    #[arg(long, env = "LEEBOARD_HALF_CLOSE", value_enum, default_value_t = HalfClose::Serve)]
    half_close: HalfClose,
    /// How long requests in flight may take after SIGTERM; what is left then is cut.
    #[arg(long, env = "LEEBOARD_DRAIN_TIME", value_name = "TIME", default_value = "45s", value_parser = values::span)]
    drain_time: Span,
    /// How long new requests are still served after SIGTERM, so that callers can learn of it.
    #[arg(long, env = "LEEBOARD_MIN_DRAIN_TIME", value_name = "TIME", default_value = "5s", value_parser = values::span)]
    min_drain_time: Span,
    /// Addresses, besides those of known endpoints, whose proxies are believed when they say which workload calls, as CIDR blocks.
    #[arg(long, env = "LEEBOARD_TRUSTED_PEERS", value_name = "CIDR,...", default_value = "", value_parser = networks::read)]
    trusted_peers: Networks,
    /// Names by which the admin port may be asked, besides addresses, `localhost` and this host's name.
    #[arg(long, env = "LEEBOARD_ADMIN_HOSTS", value_name = "NAME,...", value_delimiter = ',')]
    admin_hosts: Vec<String>,
    /// Headers whose values admin pages do not show, as an expression that their names match, besides those of credentials.
    #[arg(long, env = "LEEBOARD_REDACT", value_name = "REGEX", default_value = "", value_parser = values::secrets)]
    redact: SensitiveHeaders,
    /// The DNS server to ask instead of those in /etc/resolv.conf.
    #[arg(long, env = "LEEBOARD_DNS", value_name = "ADDR", value_parser = values::address)]
    dns: Option<SocketAddr>,
    /// How long an answer of DNS is believed at most, whatever its TTL [default: 5s for names inside the cluster, 5m for others].
    #[arg(long, env = "LEEBOARD_DNS_MAX_TTL", value_name = "TIME", value_parser = values::span)]
    dns_max_ttl: Option<Span>,
}

impl RunArgs {
    /// Fills in what was left out. `cpus` is how many the process may use.
    pub(crate) fn settings(self, cpus: usize) -> Settings {
        let worker = WorkerSettings {
            workers: self.workers.map_or(cpus.clamp(1, 2), NonZeroUsize::get),
            workload: Workload {
                name: self.workload.into(),
                namespace: Arc::from(self.namespace),
                labels: self.labels.0,
                locality: self.locality.into(),
            },
            replay_buffer: self.replay_buffer,
            max_header_bytes: self.max_header_bytes,
            max_headers: self.max_headers,
            max_response_header_bytes: self.max_response_header_bytes,
            allow_chunked_length: self.allow_chunked_length,
            allow_bare_lf: self.allow_bare_lf,
            header_timeout: Some(self.header_timeout).filter(|span| span.0 > 0),
            patience: IdleTimeouts {
                idle: Some(self.idle_timeout).filter(|span| span.0 > 0),
                tunnel: Some(self.tunnel_idle_timeout).filter(|span| span.0 > 0),
            },
            ping_after: Some(self.ping_after).filter(|span| span.0 > 0),
            max_unread: self.max_unread,
            max_caller_unread: self.max_caller_unread,
            stalled_body: Some(self.stalled_body).filter(|span| span.0 > 0),
            stalled_reader: Some(self.stalled_reader).filter(|span| span.0 > 0),
            half_close: self.half_close,
            trusted_peers: self.trusted_peers,
        };
        Settings {
            worker,
            config: self.config,
            config_most: self.files.most(),
            config_grace: self.config_grace,
            strict_config: self.strict_config,
            outbound: self.outbound.0,
            inbound: self.inbound,
            admin: self.admin.0,
            status: self.status.0,
            metrics: self.metrics.0,
            outbound_policy: self.outbound_traffic_policy,
            mesh_config: self.mesh_config,
            access_log: self.access_log,
            access_log_format: self.access_log_format.map(|format| match format {
                Format::Text => access_log::Format::Text,
                Format::Json => access_log::Format::Json,
            }),
            log_level: self.log_level,
            log_format: self.log_format,
            replay_memory: self.replay_memory,
            max_connections: [self.max_connections, self.max_listener_connections, self.max_caller_connections],
            max_endpoint_connections: [self.max_endpoint_connections, self.max_caller_endpoint_connections],
            drain_time: self.drain_time,
            min_drain_time: self.min_drain_time.min(self.drain_time),
            admin_hosts: self.admin_hosts,
            redact: self.redact,
            dns: self.dns,
            dns_max_ttl: self.dns_max_ttl,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use leeboard_istio::resources::MeshConfig;

    use super::*;
    use crate::cli::{Cli, Verb};

    fn parse(line: &str) -> Result<Settings, clap::Error> {
        match Cli::try_parse_from(format!("leeboard run {line}").split_whitespace())?.verb {
            Verb::Run(args) => Ok(args.settings(8)),
            verb => panic!("{verb:?} is not run"),
        }
    }

    #[test]
    fn every_flag_has_its_variable() {
        let mut cli = Cli::command();
        cli.build();
        let run = cli.find_subcommand("run").unwrap();
        let flags: Vec<_> = run.get_arguments().filter(|a| a.get_long().is_some_and(|l| l != "help")).collect();
        assert!(flags.len() > 20);
        for flag in flags {
            let long = flag.get_long().unwrap();
            let variable = format!("LEEBOARD_{}", long.replace('-', "_").to_uppercase());
            assert_eq!(flag.get_env().and_then(|v| v.to_str()), Some(&*variable), "--{long}");
            assert!(flag.get_help().is_some(), "--{long} has no help");
        }
        Cli::command().debug_assert();
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        let s = parse("").unwrap();
        assert_eq!(s.config, [PathBuf::from("config")]);
        assert_eq!(s.outbound, Some("127.0.0.1:15001".parse().unwrap()));
        assert_eq!(s.admin, Some("127.0.0.1:15000".parse().unwrap()));
        assert_eq!(s.status, Some("0.0.0.0:15021".parse().unwrap()));
        assert_eq!(s.metrics, Some("0.0.0.0:15090".parse().unwrap()));
        assert!(s.inbound.is_empty());
        assert_eq!((s.worker.workers, &*s.worker.workload.namespace, s.access_log), (2, "default", None));
        assert_eq!((s.worker.replay_buffer, s.replay_memory), (1 << 20, 32 << 20));
        assert_eq!((s.worker.max_header_bytes, s.worker.max_headers), (61_440, 100));
        assert_eq!((s.drain_time, s.min_drain_time), (Span::from_secs(45), Span::from_secs(5)));
        assert_eq!(s.worker.header_timeout, Some(Span::from_secs(10)));
        assert_eq!(
            (s.worker.stalled_body, s.worker.stalled_reader),
            (Some(Span::from_secs(300)), Some(Span::from_secs(300)))
        );
        assert_eq!(s.worker.half_close, HalfClose::Serve);
        assert_eq!(s.config_grace, leeboard_istio::grace::DEFAULT);
        assert_eq!((s.outbound_policy, s.mesh_config, s.strict_config), (None, None, false));
        assert_eq!(s.config_most, crate::config::search::FileLimits::default());
    }

    #[test]
    fn the_command_line_goes_before_the_mesh() {
        use access_log::Format::{Json, Text};
        let mesh = |file: Option<&str>, json| MeshConfig {
            access_log_file: file.map(Into::into),
            access_log_json: json,
            ..MeshConfig::default()
        };
        let file = || Sink::File("/x".into());
        for (line, mesh, expected) in [
            ("", None, (Sink::Off, Text)),
            ("", Some(mesh(Some("/dev/stdout"), Some(true))), (Sink::Stdout, Json)),
            ("", Some(mesh(Some(""), None)), (Sink::Off, Text)),
            ("--access-log off", Some(mesh(Some("/dev/stdout"), Some(true))), (Sink::Off, Json)),
            ("--access-log /x", Some(mesh(Some("/dev/stdout"), None)), (file(), Text)),
            ("--access-log-format text", Some(mesh(Some("/x"), Some(true))), (file(), Text)),
        ] {
            assert_eq!(parse(line).unwrap().log_of_requests(mesh.as_ref()), expected, "{line} {mesh:?}");
        }
    }

    #[test]
    fn lines_and_what_they_set() {
        type Holds = fn(&Settings) -> bool;
        let table: [(&str, Holds); 23] = [
            ("--outbound off --admin off --status off --metrics off", |s| {
                [s.outbound, s.admin, s.status, s.metrics] == [None; 4]
            }),
            ("--config a.yaml --config b", |s| s.config == [PathBuf::from("a.yaml"), "b".into()]),
            ("--max-config-files 7 --max-config-file-bytes 1KiB --max-config-bytes 2KiB --max-config-depth 3", |s| {
                let most = s.config_most;
                (most.files, most.file_bytes, most.bytes, most.depth) == (7, 1024, 2048, 3)
            }),
            ("--config-grace 0", |s| s.config_grace == Span(0)),
            ("--strict-config", |s| s.strict_config),
            ("--config a,b", |s| s.config.len() == 2),
            ("--inbound 1=2 --inbound 127.0.0.1:3=4", |s| s.inbound.len() == 2 && s.inbound[1].app.port() == 4),
            ("--labels app=web,version=v2", |s| s.worker.workload.label("version") == "v2"),
            ("--workload web-1 --namespace shop --locality r/z/s", |s| {
                [&*s.worker.workload.name, &*s.worker.workload.namespace, &*s.worker.workload.locality]
                    == ["web-1", "shop", "r/z/s"]
            }),
            ("--workers 5", |s| s.worker.workers == 5),
            ("--access-log -", |s| s.access_log == Some(Sink::Stdout)),
            ("--access-log /var/log/x --access-log-format json", |s| {
                s.access_log == Some(Sink::File("/var/log/x".into()))
                    && s.access_log_format == Some(access_log::Format::Json)
            }),
            ("--outbound-traffic-policy registry-only", |s| s.outbound_policy == Some(OutboundPolicy::RegistryOnly)),
            ("--outbound-traffic-policy REGISTRY_ONLY", |s| s.outbound_policy == Some(OutboundPolicy::RegistryOnly)),
            ("--outbound-traffic-policy ALLOW_ANY", |s| s.outbound_policy == Some(OutboundPolicy::AllowAny)),
            ("--mesh-config /etc/mesh", |s| s.mesh_config.as_deref() == Some("/etc/mesh".as_ref())),
            ("--header-timeout 0", |s| s.worker.header_timeout.is_none()),
            ("--stalled-body 0 --stalled-reader 1s", |s| {
                s.worker.stalled_body.is_none() && s.worker.stalled_reader == Some(Span::from_secs(1))
            }),
            ("--half-close abort", |s| s.worker.half_close == HalfClose::Abort),
            ("--drain-time 2s", |s| s.min_drain_time == Span::from_secs(2)),
            ("--dns-max-ttl 30s", |s| s.dns_max_ttl == Some(Span::from_secs(30))),
            ("--dns 127.0.0.1:53", |s| s.dns.is_some_and(|a| a.port() == 53)),
            ("--log-level leeboard=debug --log-format json", |s| s.log_format == Format::Json),
        ];
        for (line, holds) in table {
            assert!(holds(&parse(line).unwrap()), "{line}");
        }
    }

    #[test]
    fn callers_leave_descriptors_for_endpoints_and_for_each_other() {
        for (line, descriptors, expected) in [
            ("", 1024, [464, 348, 232]),
            ("", 64, [16, 12, 8]),
            ("--max-connections 100", 1024, [100, 75, 50]),
            ("--max-connections 1", 1024, [1, 1, 1]),
            ("--max-connections 100 --max-listener-connections 200 --max-caller-connections 7", 1024, [100, 100, 7]),
        ] {
            let most = parse(line).unwrap().most_callers(descriptors);
            assert_eq!([most.all, most.listener, most.caller], expected, "{line} {descriptors}");
        }
        assert!(parse("--max-connections 0").is_err());
        for (line, descriptors, expected) in [
            ("", 1024, (512, 256)),
            ("", 64, (16, 8)),
            ("--max-connections 100", 1024, (876, 438)),
            ("--max-endpoint-connections 10", 1024, (10, 5)),
            ("--max-endpoint-connections 10 --max-caller-endpoint-connections 20", 1024, (10, 20)),
        ] {
            assert_eq!(parse(line).unwrap().most_to_endpoints(descriptors), expected, "{line} {descriptors}");
        }
    }

    #[test]
    fn lines_that_are_refused() {
        for line in ["--workers 0", "--outbound here", "--inbound 5", "--access-log-format xml", "--drain-time 5", "x"]
        {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn one_cpu_has_one_worker() {
        for (cpus, workers) in [(0, 1), (1, 1), (2, 2), (64, 2)] {
            let Verb::Run(args) = Cli::parse_from(["leeboard", "run"]).verb else { panic!("run") };
            assert_eq!(args.settings(cpus).worker.workers, workers, "{cpus}");
        }
    }
}
