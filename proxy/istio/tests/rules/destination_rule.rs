//! Istio: DestinationRule.

use leeboard_istio::codes::*;

use crate::{Row, check, error, good, warning};

const HEAD: &str = "apiVersion: networking.istio.io/v1beta1\nkind: DestinationRule\nmetadata: {name: d}\nspec:\n";

fn spec(rows: &[Row]) {
    check(&format!("{HEAD}  @\n"), rows);
}

fn policy(rows: &[Row]) {
    check(&format!("{HEAD}  host: a\n  trafficPolicy:\n    @\n"), rows);
}

#[test]
fn top_level() {
    spec(&[
        good("host: a"),
        good("host: '*.a.com'"),
        good("{host: a, exportTo: ['.', default2], subsets: []}"),
        error(BAD_HOST, "host: «10.0.0.1»"),
        error(BAD_HOST, "host: «'a*'»"),
        error(MISSING, "{host: a, «trafficPolicy»: {}}"),
        error(MISSING, "{host: a, subsets: [«{»labels: {a: b}}]}"),
        error(BAD_NAME, "{host: a, subsets: [{name: «v.1»}]}"),
        error(DUPLICATE, "{host: a, subsets: [{name: v1}, {name: «v1»}]}"),
        error(WRONG_TYPE, "{host: a, subsets: [{name: v1, labels: {version: «1»}}]}"),
        error(BAD_NAME, "{host: a, subsets: [{name: v1, labels: {version: «a b»}}]}"),
        error(BAD_NAME, "{host: a, workloadSelector: {matchLabels: {a: «'*'»}}}"),
        error(CONFLICT, "{host: a, workloadSelector: {matchLabels: {a: b}}, «exportTo»: ['*']}"),
        good("{host: a, workloadSelector: {matchLabels: {a: b}}, exportTo: ['.']}"),
        warning(UNKNOWN_FIELD, "{host: a, «outlierDetection»: {}}"),
        warning(UNKNOWN_FIELD, "{host: a, «Subsets»: []}"),
    ]);
}

#[test]
fn load_balancers() {
    policy(&[
        good("loadBalancer: {}"),
        good("loadBalancer: {simple: LEAST_CONN}"),
        good("loadBalancer: {simple: PASSTHROUGH}"),
        error(BAD_VALUE, "loadBalancer: {simple: «round_robin»}"),
        error(BAD_VALUE, "loadBalancer: {simple: «4»}"),
        error(ONE_OF, "loadBalancer: {simple: RANDOM, «consistentHash»: {useSourceIp: true}}"),
        error(ONE_OF, "loadBalancer: {consistentHash: {httpHeaderName: a, «useSourceIp»: true}}"),
        warning(NO_EFFECT, "loadBalancer: {«consistentHash»: {}}"),
        warning(NO_EFFECT, "loadBalancer: {«consistentHash»: {useSourceIp: false}}"),
        error(BAD_NAME, "loadBalancer: {consistentHash: {httpHeaderName: «''»}}"),
        good("loadBalancer: {consistentHash: {httpCookie: {name: c}}}"),
        good("loadBalancer: {consistentHash: {useSourceIp: true, maglev: {tableSize: 65537}}}"),
        warning(DEPRECATED, "loadBalancer: {consistentHash: {useSourceIp: true, «minimumRingSize»: 10}}"),
        error(OUT_OF_RANGE, "loadBalancer: {consistentHash: {useSourceIp: true, ringHash: {minimumRingSize: «-1»}}}"),
        good("loadBalancer: {localityLbSetting: {}}"),
    ]);
}

#[test]
fn hashing() {
    policy(&[
        error(ONE_OF, "loadBalancer: {consistentHash: {«useSourceIp»: true, httpCookie: {name: c}}}"),
        good("loadBalancer: {consistentHash: {httpCookie: {name: c, path: /, ttl: '-1us'}}}"),
        error(MISSING, "loadBalancer: {consistentHash: {«httpCookie»: {ttl: 0s}}}"),
        error(BAD_NAME, "loadBalancer: {consistentHash: {httpCookie: {name: «''»}}}"),
        error(BAD_DURATION, "loadBalancer: {consistentHash: {httpCookie: {name: c, ttl: «60»}}}"),
        error(MISSING, "loadBalancer: {consistentHash: {httpCookie: {name: c, attributes: [«{»value: a}]}}}"),
        error(BAD_NAME, "loadBalancer: {consistentHash: {httpCookie: {name: c, attributes: [{name: «''»}]}}}"),
        error(
            DUPLICATE,
            "loadBalancer: {consistentHash: {httpCookie: {name: c, attributes: [{name: A}, {name: «A»}]}}}",
        ),
        error(MISSING, "loadBalancer: {consistentHash: {useSourceIp: true, «maglev»: {}}}"),
        error(OUT_OF_RANGE, "loadBalancer: {consistentHash: {useSourceIp: true, maglev: {tableSize: «0»}}}"),
        error(OUT_OF_RANGE, "loadBalancer: {consistentHash: {useSourceIp: true, maglev: {tableSize: «100»}}}"),
        error(OUT_OF_RANGE, "loadBalancer: {consistentHash: {useSourceIp: true, maglev: {tableSize: «5000011»}}}"),
        error(ONE_OF, "loadBalancer: {consistentHash: {useSourceIp: true, ringHash: {}, «maglev»: {tableSize: 101}}}"),
    ]);
}

#[test]
fn localities() {
    check(
        &format!("{HEAD}  host: a\n  trafficPolicy:\n    loadBalancer:\n      localityLbSetting: @\n"),
        &[
            error(ONE_OF, "{distribute: [{from: eu, to: {eu: 100}}], «failover»: [{from: eu, to: us}]}"),
            error(ONE_OF, "{distribute: [{from: eu, to: {eu: 100}}], «failoverPriority»: [a]}"),
            good("{distribute: [], failover: [], failoverPriority: [a]}"),
            error(OUT_OF_RANGE, "{distribute: [{from: eu, «to»: {eu: 90, us: 9}}]}"),
            error(OUT_OF_RANGE, "{distribute: [{from: eu, to: {eu: 100, us: «0»}}]}"),
            error(OUT_OF_RANGE, "{distribute: [{from: eu, «to»: {}}]}"),
            error(DUPLICATE, "{distribute: [{from: eu, to: {eu/*: 50, «eu/1/a»: 50}}]}"),
            error(DUPLICATE, "{distribute: [{from: eu, to: {eu: 100}}, {from: «eu/1», to: {eu: 100}}]}"),
            error(BAD_NAME, "{distribute: [{from: «eu/*/a», to: {eu: 100}}]}"),
            error(BAD_NAME, "{distribute: [{from: «e*», to: {eu: 100}}]}"),
            error(BAD_NAME, "{distribute: [{from: «a/b/c/d», to: {eu: 100}}]}"),
            error(CONFLICT, "{failover: [«{»from: eu, to: eu}]}"),
            error(BAD_NAME, "{failover: [{from: eu, to: «us/1»}]}"),
            error(CONFLICT, "{failover: [{from: eu, to: us}], failoverPriority: [a, «topology.kubernetes.io/zone»]}"),
            error(WRONG_TYPE, "{enabled: «'no'»}"),
        ],
    );
    policy(&[
        error(ONE_OF, "loadBalancer: {localityLbSetting: {}, «zoneAwareLbSetting»: {}}"),
        good("loadBalancer: {zoneAwareLbSetting: {minClusterSize: 1}}"),
        error(OUT_OF_RANGE, "loadBalancer: {zoneAwareLbSetting: {minClusterSize: «0»}}"),
        error(CONFLICT, "loadBalancer: {zoneAwareLbSetting: {failoverPriority: [«topology.kubernetes.io/region=a»]}}"),
    ]);
}

#[test]
fn tls() {
    check(
        &format!("{HEAD}  host: a\n  trafficPolicy:\n    @\n"),
        &[
            warning(NOT_ENFORCED, "«tls»: {mode: SIMPLE, caCertificates: /a, subjectAltNames: [b], sni: c}"),
            warning(NOT_ENFORCED, "«tls»: {mode: MUTUAL, credentialName: s}"),
            good("tls: {}"),
            good("tls: {mode: DISABLE}"),
            error(BAD_VALUE, "tls: {mode: «simple»}"),
            error(NEEDS, "«tls»: {mode: MUTUAL, clientCertificate: /a}"),
            error(NEEDS, "«tls»: {mode: MUTUAL, privateKey: /a, clientCertificate: ''}"),
            error(CONFLICT, "tls: {mode: SIMPLE, credentialName: s, «caCertificates»: /a}"),
            error(CONFLICT, "tls: {mode: MUTUAL, credentialName: s, «caCrl»: /a}"),
            error(CONFLICT, "tls: {mode: ISTIO_MUTUAL, «privateKey»: /a}"),
            error(CONFLICT, "tls: {mode: ISTIO_MUTUAL, «credentialName»: s}"),
            error(CONFLICT, "tls: {mode: SIMPLE, insecureSkipVerify: true, «caCertificates»: /a}"),
            error(CONFLICT, "tls: {mode: SIMPLE, insecureSkipVerify: true, «subjectAltNames»: [a]}"),
            error(CONFLICT, "tls: {mode: SIMPLE, insecureSkipVerify: true, «credentialName»: s}"),
            error(WRONG_TYPE, "tls: {mode: SIMPLE, insecureSkipVerify: «'true'»}"),
            error(WRONG_TYPE, "tls: {mode: SIMPLE, sni: «1»}"),
            warning(UNKNOWN_FIELD, "tls: {«modes»: SIMPLE}"),
        ],
    );
}

#[test]
fn tunnels_and_proxy_headers() {
    policy(&[
        error(ONE_OF, "{tunnel: {targetHost: a.b, targetPort: 1}, «proxyProtocol»: {}}"),
        warning(NOT_ENFORCED, "«tunnel»: {protocol: POST, targetHost: 10.0.0.1, targetPort: 1}"),
        error(BAD_VALUE, "tunnel: {protocol: «connect», targetHost: a.b, targetPort: 1}"),
        error(MISSING, "«tunnel»: {targetPort: 1}"),
        error(BAD_HOST, "tunnel: {targetHost: «'*.b'», targetPort: 1}"),
        error(OUT_OF_RANGE, "tunnel: {targetHost: a.b, targetPort: «0»}"),
        warning(NOT_ENFORCED, "«proxyProtocol»: {version: V2}"),
        error(BAD_VALUE, "proxyProtocol: {version: «v2»}"),
    ]);
}

#[test]
fn warming_up() {
    policy(&[
        good("loadBalancer: {warmup: {duration: 1ms, minimumPercent: 0, aggression: 0.5}}"),
        error(MISSING, "loadBalancer: {«warmup»: {}}"),
        error(BAD_DURATION, "loadBalancer: {warmup: {duration: «0s»}}"),
        error(OUT_OF_RANGE, "loadBalancer: {warmup: {duration: 1s, minimumPercent: «100.5»}}"),
        error(OUT_OF_RANGE, "loadBalancer: {warmup: {duration: 1s, aggression: «0»}}"),
        warning(NO_EFFECT, "loadBalancer: {simple: RANDOM, «warmup»: {duration: 1s}}"),
        warning(DEPRECATED, "loadBalancer: {«warmupDurationSecs»: 1s}"),
    ]);
}

#[test]
fn connection_pools() {
    policy(&[
        error(MISSING, "«connectionPool»: {}"),
        good("connectionPool: {tcp: {maxConnections: 1, idleTimeout: 0s}}"),
        warning(ZERO_IS_NO_LIMIT, "connectionPool: {tcp: {maxConnections: «0»}}"),
        error(OUT_OF_RANGE, "connectionPool: {tcp: {maxConnections: «-1»}}"),
        error(OUT_OF_RANGE, "connectionPool: {tcp: {maxConnections: «4294967296»}}"),
        error(BAD_DURATION, "connectionPool: {tcp: {connectTimeout: «0s»}}"),
        error(BAD_DURATION, "connectionPool: {tcp: {connectTimeout: «10»}}"),
        error(BAD_DURATION, "connectionPool: {tcp: {idleTimeout: «1us»}}"),
        error(BAD_DURATION, "connectionPool: {http: {idleTimeout: «0s»}}"),
        error(BAD_VALUE, "connectionPool: {http: {h2UpgradePolicy: «ALWAYS»}}"),
        error(CONFLICT, "connectionPool: {http: {h2UpgradePolicy: UPGRADE, «useClientProtocol»: true}}"),
        error(MISSING, "connectionPool: {http: {«http2KeepAlive»: {interval: 1s}}}"),
        error(WRONG_TYPE, "connectionPool: {http: {maxRetries: «few»}}"),
        warning(UNKNOWN_FIELD, "connectionPool: {http: {«maxConnections»: 1}}"),
        warning(UNKNOWN_FIELD, "connectionPool: {http: {«baseEjectionTime»: 1s}}"),
    ]);
}

#[test]
fn outlier_detection() {
    policy(&[
        good("outlierDetection: {}"),
        good("outlierDetection: {consecutive_5xx_errors: 0}"),
        error(NEEDS, "outlierDetection: {«consecutiveLocalOriginFailures»: 1}"),
        good("outlierDetection: {consecutiveLocalOriginFailures: 0}"),
        error(OUT_OF_RANGE, "outlierDetection: {maxEjectionPercent: «101»}"),
        error(OUT_OF_RANGE, "outlierDetection: {minHealthPercent: «-1»}"),
        error(BAD_DURATION, "outlierDetection: {interval: «0s»}"),
        error(OUT_OF_RANGE, "outlierDetection: {outlierDetectionHttpErrorCodes: [500, «600»]}"),
        warning(IGNORED, "outlierDetection: {«consecutiveErrors»: 5}"),
        warning(UNKNOWN_FIELD, "outlierDetection: {«consecutiveErors»: 5}"),
        error(WRONG_TYPE, "outlierDetection: «5»"),
    ]);
}

#[test]
fn ports_and_the_rest() {
    policy(&[
        good("portLevelSettings: [{port: {number: 80}, loadBalancer: {simple: RANDOM}}]"),
        error(MISSING, "portLevelSettings: [«{»port: {number: 80}}]"),
        error(MISSING, "portLevelSettings: [«{»loadBalancer: {simple: RANDOM}}]"),
        error(OUT_OF_RANGE, "portLevelSettings: [{port: {number: «0»}, loadBalancer: {simple: RANDOM}}]"),
        warning(NOT_ENFORCED, "«tls»: {mode: SIMPLE}"),
        good("retryBudget: {percent: 5, budgetInterval: '-1us'}"),
        error(OUT_OF_RANGE, "retryBudget: {percent: «100.1»}"),
        error(OUT_OF_RANGE, "retryBudget: {minRetryConcurrency: «-1»}"),
        good("connectionPool: {tcp: {maxConnectionDuration: 1ms}}"),
        error(BAD_DURATION, "connectionPool: {tcp: {maxConnectionDuration: «0s»}}"),
        warning(UNKNOWN_FIELD, "{loadBalancer: {}, «circuitBreaker»: {}}"),
    ]);
}
