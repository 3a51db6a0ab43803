//! What settings really do: L05xx.

use leeboard_istio::codes::*;

use crate::{Pair, entry, http, object, policy, rule};

pub(crate) fn pairs() -> Vec<Pair> {
    [ejection(), retries(), routes(), forms(), faults(), policies(), pods(), lists()].concat()
}

/// Lists that name one thing twice, and limits of requests where there are none.
fn lists() -> Vec<Pair> {
    let endpoints = |list: &str| {
        let spec = "hosts: [a.example.com], resolution: STATIC, ports: [{number: 80, name: http, protocol: HTTP}]";
        object("ServiceEntry", "a", &format!("{{{spec}, endpoints: [{list}]}}"))
    };
    let pool = |protocol: &str, pool: &str| {
        let spec = "hosts: [db.example.com], addresses: [10.1.1.1], resolution: DNS";
        object("ServiceEntry", "db", &format!("{{{spec}, ports: [{{number: 80, name: p, protocol: {protocol}}}]}}"))
            + &rule(&format!("host: db.example.com, trafficPolicy: {{connectionPool: {pool}}}"))
    };
    vec![
        (HTTP_POOL_ON_TCP, pool("TCP", "{http: {maxRetries: «9»}}"), pool("TCP", "{tcp: {maxConnections: 9}}")),
        (HTTP_POOL_ON_TCP, pool("TLS", "{http: {idleTimeout: «9s»}}"), pool("HTTP", "{http: {idleTimeout: 9s}}")),
        (
            LISTED_TWICE,
            entry("retries: {attempts: 1, retryOn: «\"unavailable,cancelled,unavailable\"»}"),
            entry("retries: {attempts: 1, retryOn: \"unavailable,cancelled\"}"),
        ),
        (
            LISTED_TWICE,
            entry("corsPolicy: {allowOrigins: [{exact: https://a}, «{»exact: https://a}]}"),
            entry("corsPolicy: {allowOrigins: [{exact: https://a}, {prefix: https://a}], allowMethods: [GET, POST]}"),
        ),
        (
            LISTED_TWICE,
            entry("corsPolicy: {allowOrigins: [{exact: https://a}], allowMethods: [GET, «GET»]}"),
            entry("headers: {request: {remove: [x-a, x-b]}, response: {remove: [x-a]}}"),
        ),
        (
            LISTED_TWICE,
            entry("headers: {response: {remove: [x-a, «X-A»]}}"),
            entry("headers: {response: {remove: [x-a, x-b]}}"),
        ),
        (
            NOT_FILLED,
            entry("headers: {request: {set: {x-id: «'%TRACE_ID%'»}}}"),
            entry("headers: {request: {set: {x-id: '%REQ(x)%'}}}"),
        ),
        (
            NOT_FILLED,
            entry("headers: {response: {add: {x-id: «'a %DYNAMIC_METADATA(a:b)% %CONNECTION_ID%'»}}}"),
            entry("headers: {response: {add: {x-id: 'a %PROTOCOL%'}}}"),
        ),
        (
            LISTED_TWICE,
            endpoints("{address: 10.0.0.1}, {address: «10.0.0.1»}"),
            endpoints("{address: 10.0.0.1}, {address: 10.0.0.1, ports: {http: 8080}}"),
        ),
    ]
}

fn ejection() -> Vec<Pair> {
    let outlier = |fields: &str| policy(&format!("{{outlierDetection: {{{fields}}}}}"));
    let places = |second: &str| {
        object(
            "ServiceEntry",
            "far",
            &format!(
                "{{hosts: [far.example.com], resolution: STATIC, ports: [{{number: 80, name: http, protocol: HTTP}}], endpoints: \
                 [{{address: 10.0.3.1, locality: eu/a}}, {{address: 10.0.3.2, locality: {second}}}]}}"
            ),
        )
    };
    vec![
        (EJECTION_IMPOSSIBLE, outlier("maxEjectionPercent: «10»"), outlier("maxEjectionPercent: 34")),
        (EJECTION_IMPOSSIBLE, policy("{«outlierDetection»: {}}"), outlier("maxEjectionPercent: 100")),
        (
            EJECTION_IMPOSSIBLE,
            rule(
                "host: reviews, subsets: [{name: v1, labels: {version: v1}, trafficPolicy: {outlierDetection: {maxEjectionPercent: «50»}}}]",
            ),
            rule(
                "host: reviews, subsets: [{name: v1, labels: {version: v1}, trafficPolicy: {outlierDetection: {maxEjectionPercent: 100}}}]",
            ),
        ),
        (
            EJECTION_UNTRIGGERED,
            outlier("consecutive5xxErrors: «0», maxEjectionPercent: 50"),
            outlier("consecutive5xxErrors: 0, consecutiveGatewayErrors: 3, maxEjectionPercent: 50"),
        ),
        (
            COUNTER_OUTRUN,
            outlier("consecutiveGatewayErrors: «7», maxEjectionPercent: 50"),
            outlier("consecutiveGatewayErrors: 7, consecutive5xxErrors: 9, maxEjectionPercent: 50"),
        ),
        (
            PANIC_BEFORE_CAP,
            outlier("maxEjectionPercent: 60, minHealthPercent: «50»"),
            outlier("maxEjectionPercent: 50, minHealthPercent: 50"),
        ),
        (
            LOCALITY_PREFERRED,
            places("us/b")
                + &rule("host: far.example.com, trafficPolicy: {«outlierDetection»: {maxEjectionPercent: 50}}"),
            places("eu/a")
                + &rule("host: far.example.com, trafficPolicy: {outlierDetection: {maxEjectionPercent: 50}}"),
        ),
        (
            LOCALITY_PREFERRED,
            places("us/b")
                + &rule("host: far.example.com, trafficPolicy: {«outlierDetection»: {maxEjectionPercent: 50}}"),
            places("us/b")
                + &rule(
                    "host: far.example.com, trafficPolicy: {loadBalancer: {localityLbSetting: {enabled: false}}, outlierDetection: {maxEjectionPercent: 50}}",
                ),
        ),
    ]
}

fn forms() -> Vec<Pair> {
    let a = "match: [{uri: {prefix: /a/}}]";
    let rewrite = |fields: &str| entry(&format!("{a}, rewrite: {{{fields}}}"));
    let redirect = |fields: &str| http(&format!("{{{a}, redirect: {{{fields}}}}}"));
    let headers = |both: &str| entry(&format!("headers: {{{both}}}"));
    vec![
        (NO_PATH, rewrite("uri: «v2/»"), rewrite("uri: /v2/")),
        (NO_PATH, rewrite("uri: «/a b/»"), rewrite("uri: ' '")),
        (NO_PATH, rewrite("uri: «'/a#b/'»"), rewrite("uri: ' /'")),
        (NO_PATH, redirect("uri: «'https://new.example.com/x'»"), redirect("uri: '/x?y#z'")),
        (NO_PATH, redirect("prefixRewrite: «new/»"), redirect("prefixRewrite: /new/")),
        (NO_AUTHORITY, redirect("authority: «'https://new.example.com'»"), redirect("authority: new.example.com")),
        (NO_AUTHORITY, redirect("authority: «new.example.com/path»"), redirect("authority: 'new.example.com:81'")),
        (NO_AUTHORITY, rewrite("authority: «'https://x.test'»"), rewrite("authority: '[::1]:80'")),
        (NO_AUTHORITY, headers("request: {set: {Host: «a b»}}"), headers("request: {set: {Host: a.b}}")),
        (
            FRAMING_HEADER,
            headers("request: {set: {Content-Length: «'5'»}}"),
            headers("request: {set: {x-length: '5'}}"),
        ),
        (FRAMING_HEADER, headers("response: {add: {connection: «close»}}"), headers("response: {add: {x: close}}")),
        (FRAMING_HEADER, headers("request: {remove: [«te»]}"), headers("request: {remove: [tee]}")),
    ]
}

fn retries() -> Vec<Pair> {
    let get = "match: [{method: {exact: GET}}]";
    vec![
        (
            RETRIES_DO_NOT_FIT,
            entry("timeout: 10s, retries: {attempts: «4», perTryTimeout: 3s, retryOn: connect-failure}"),
            entry("timeout: 10s, retries: {attempts: 4, perTryTimeout: 2s, retryOn: connect-failure}"),
        ),
        (
            PER_TRY_IGNORED,
            entry("timeout: 2s, retries: {attempts: 5, perTryTimeout: «5s», retryOn: connect-failure}"),
            entry("timeout: 20s, retries: {attempts: 1, perTryTimeout: 5s, retryOn: connect-failure}"),
        ),
        (
            BACKOFF_TOO_LONG,
            entry("timeout: 1s, retries: {attempts: 1, backoff: «2s», retryOn: connect-failure}"),
            entry("timeout: 1s, retries: {attempts: 1, backoff: 20ms, retryOn: connect-failure}"),
        ),
        (
            RETRY_NOT_SAFE,
            entry("match: [{method: {exact: POST}}], retries: {attempts: 2, retryOn: «5xx»}"),
            entry("match: [{method: {exact: POST}}], retries: {attempts: 2, retryOn: connect-failure}"),
        ),
        (
            RETRY_NOT_SAFE,
            entry("retries: {attempts: 2, retryOn: «'5xx,reset'»}"),
            entry(&format!("{get}, retries: {{attempts: 2, retryOn: 5xx}}")),
        ),
        (
            RETRY_NOT_SAFE,
            entry("match: [{uri: {prefix: /a}}], retries: {attempts: 2, retryOn: «5xx»}"),
            http(
                "{match: [{method: {exact: POST}}], route: [{destination: {host: reviews}}]}, \
                 {route: [{destination: {host: reviews}}], retries: {attempts: 2, retryOn: 5xx}}",
            ),
        ),
        (
            RETRY_ON_NOTHING,
            entry(&format!("{get}, retries: {{attempts: 2, retryOn: «retriable-status-codes»}}")),
            entry(&format!("{get}, retries: {{attempts: 2, retryOn: '503,retriable-status-codes'}}")),
        ),
        (RETRY_DEFAULTS, entry("retries: {attempts: «3»}"), entry("retries: {attempts: 0}")),
    ]
}

fn routes() -> Vec<Pair> {
    let subsets =
        rule("host: reviews, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]");
    let split = |a: &str, b: &str| {
        subsets.clone()
            + &http(&format!(
                "{{route: [{{destination: {{host: reviews, subset: v1}}, weight: {a}}}, {{destination: {{host: reviews, subset: v2}}, weight: {b}}}]}}"
            ))
    };
    let alone = |weight: &str| http(&format!("{{route: [{{destination: {{host: reviews}}{weight}}}]}}"));
    vec![
        (SOLE_WEIGHT_ZERO, alone(", weight: «0»"), alone("")),
        (SOLE_WEIGHT, alone(", weight: «10»"), alone(", weight: 100")),
        (WEIGHT_SUM, split("90", "«5»"), split("1", "1")),
        (
            FORWARD_ONLY,
            http("{redirect: {uri: /b}, match: [{uri: {exact: /a}}], «timeout»: 5s}"),
            http("{redirect: {uri: /b}, match: [{uri: {exact: /a}}]}"),
        ),
        (
            FORWARD_ONLY,
            http("{directResponse: {status: 200}, «retries»: {attempts: 2}}"),
            http("{directResponse: {status: 200}}"),
        ),
        (
            REMOVED_THEN_SET,
            entry("headers: {request: {set: {x-a: b}, remove: [«x-a»]}}"),
            entry("headers: {request: {set: {x-a: b}, remove: [x-b]}}"),
        ),
        (EMPTY_HEADER, entry("headers: {response: {set: {x-a: «''»}}}"), entry("headers: {response: {set: {x-a: b}}}")),
    ]
}

fn faults() -> Vec<Pair> {
    vec![
        (
            FAULT_NOT_RETRIED,
            entry(
                "match: [{method: {exact: GET}}], retries: {attempts: 2, retryOn: 5xx}, fault: {«abort»: {httpStatus: 503, percentage: {value: 10}}}",
            ),
            entry(
                "match: [{method: {exact: GET}}], retries: {attempts: 2, retryOn: 5xx}, fault: {abort: {httpStatus: 503, percentage: {value: 0}}}",
            ),
        ),
        (
            FAULT_NOT_RETRIED,
            entry("match: [{method: {exact: GET}}], retries: {attempts: 2, retryOn: 5xx}, fault: {«abort»: {httpStatus: 503, percentage: {value: 10}}}"),
            entry("match: [{method: {exact: GET}}], retries: {attempts: 2, retryOn: 5xx}, fault: {abort: {httpStatus: 503, percentage: {value: 10}}}")
                .replace("namespace: demo}", "namespace: demo, annotations: {leeboard.dev/fault-scope: attempt}}"),
        ),
        (
            ALL_ABORTED,
            entry("fault: {abort: {httpStatus: 503, percentage: {value: «100»}}}"),
            entry("fault: {abort: {httpStatus: 503, percentage: {value: 50}}}"),
        ),
        (
            DELAY_BEFORE_TIMEOUT,
            entry("timeout: 3s, fault: {delay: {fixedDelay: «7s», percentage: {value: 100}}}"),
            entry("timeout: 3s, fault: {delay: {fixedDelay: 1s, percentage: {value: 100}}}"),
        ),
        (MIRROR_OF_ITSELF, entry("mirror: {host: «reviews»}"), entry("mirror: {host: ratings, port: {number: 9080}}")),
        (
            BLOCKS_UNKNOWN,
            object("Sidecar", "s", "{«outboundTrafficPolicy»: {}}"),
            object("Sidecar", "s", "{outboundTrafficPolicy: {mode: REGISTRY_ONLY}}"),
        ),
        (
            NO_ENDPOINTS,
            object(
                "ServiceEntry",
                "none",
                "{hosts: [n.example.com], resolution: «STATIC», ports: [{number: 80, name: http, protocol: HTTP}]}",
            ),
            object(
                "ServiceEntry",
                "none",
                "{hosts: [n.example.com], resolution: DNS, ports: [{number: 80, name: http, protocol: HTTP}]}",
            ),
        ),
    ]
}

fn policies() -> Vec<Pair> {
    let pool = |http: &str| policy(&format!("{{connectionPool: {{http: {{{http}}}}}}}"));
    let tcp = |tcp: &str| policy(&format!("{{connectionPool: {{tcp: {{{tcp}}}}}}}"));
    let level = |top: &str, entry: &str| policy(&format!("{{{top}portLevelSettings: [{entry}]}}"));
    vec![
        (
            PORT_LEVEL_DROPS,
            level(
                "outlierDetection: {maxEjectionPercent: 50}, ",
                "«{»port: {number: 80}, loadBalancer: {simple: RANDOM}}",
            ),
            level(
                "outlierDetection: {maxEjectionPercent: 50}, ",
                "{port: {number: 80}, outlierDetection: {maxEjectionPercent: 100}}",
            ),
        ),
        (
            PORT_LEVEL_NEVER,
            level("", "{port: {number: «8080»}, loadBalancer: {simple: RANDOM}}"),
            level("", "{port: {number: 80}, loadBalancer: {simple: RANDOM}}"),
        ),
        (LIMIT_PER_SIDECAR, tcp("maxConnections: «2»"), tcp("maxConnections: 3")),
        (LIMIT_PER_SIDECAR, pool("http2MaxRequests: «1»"), pool("http2MaxRequests: 100")),
        (ZERO_IS_NO_LIMIT, tcp("maxConnections: «0»"), tcp("maxConnections: 100")),
        (ZERO_IS_NO_LIMIT, pool("http1MaxPendingRequests: «0»"), pool("maxRequestsPerConnection: 0")),
        (NOT_HTTP2, pool("maxConcurrentStreams: «5»"), pool("maxConcurrentStreams: 5, h2UpgradePolicy: UPGRADE")),
        (NOT_VERIFIED, policy("{«tls»: {mode: SIMPLE}}"), policy("{tls: {mode: SIMPLE, caCertificates: /etc/ca.pem}}")),
        (
            CREDENTIAL_IGNORED,
            policy("{tls: {mode: SIMPLE, credentialName: «shop»}}"),
            rule(
                "host: reviews, workloadSelector: {matchLabels: {app: order}}, trafficPolicy: {tls: {mode: SIMPLE, credentialName: shop}}",
            ),
        ),
        (
            FAILOVER_NEEDS_DETECTION,
            policy("{loadBalancer: {localityLbSetting: {«failover»: [{from: eu, to: us}]}}}"),
            policy(
                "{loadBalancer: {localityLbSetting: {failover: [{from: eu, to: us}]}}, outlierDetection: {maxEjectionPercent: 50}}",
            ),
        ),
        (
            PASSTHROUGH_BYPASSES,
            rule(
                "host: reviews, trafficPolicy: {loadBalancer: {simple: «PASSTHROUGH»}}, subsets: [{name: v1, labels: {version: v1}}]",
            ),
            rule("host: reviews, trafficPolicy: {loadBalancer: {simple: PASSTHROUGH}}"),
        ),
        (
            SUBSET_OF_ALL,
            rule("host: reviews, subsets: [{name: all, «labels»: {}}]"),
            rule("host: reviews, subsets: [{name: v1, labels: {version: v1}}]"),
        ),
    ]
}

fn pods() -> Vec<Pair> {
    let pod = |spec: &str| {
        format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: p, namespace: demo, labels: {{app: reviews}}}}\nspec: {spec}\n"
        )
    };
    let of =
        |name: &str, user: &str| format!("{{containers: [{{name: {name}, securityContext: {{runAsUser: {user}}}}}]}}");
    vec![
        (PROXY_USER, pod(&of("app", "«1337»")), pod(&of("app", "1000"))),
        (
            PROXY_USER,
            pod(&of("app", "«1337»").replace("containers", "initContainers")),
            pod(&of("istio-proxy", "1337")),
        ),
        (
            PROXY_USER,
            pod("{securityContext: {runAsUser: «1337»}, containers: [{name: app}]}"),
            pod(&of("leeboard", "1337")),
        ),
    ]
}
