//! Istio: VirtualService.

use leeboard_istio::codes::*;

use crate::{Row, check, error, good, info, warning};

const HEAD: &str = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: v}\nspec:\n";

fn spec(rows: &[Row]) {
    check(&format!("{HEAD}  @\n"), rows);
}

/// An entry of `http`.
fn entry(rows: &[Row]) {
    check(&format!("{HEAD}  hosts: [a]\n  http:\n  - @\n"), rows);
}

/// Fields beside a `route` with one destination.
fn route(rows: &[Row]) {
    check(&format!("{HEAD}  hosts: [a]\n  http:\n  - route: [{{destination: {{host: a}}}}]\n    @\n"), rows);
}

/// A match of an entry with a route.
fn matching(rows: &[Row]) {
    check(
        &format!("{HEAD}  hosts: [a]\n  http:\n  - route: [{{destination: {{host: a}}}}]\n    match:\n    - @\n"),
        rows,
    );
}

#[test]
fn hosts_and_gateways() {
    let http = "\n  http: [{route: [{destination: {host: a}}]}]";
    check(
        &format!("{HEAD}  @{http}\n"),
        &[
            good("hosts: [a]"),
            good("hosts: [10.0.0.1, '*.a.com', '*-b.org', c.d.]"),
            error(DUPLICATE, "hosts: [a.com, «A.com»]"),
            error(DUPLICATE, "hosts: ['*.com', «'*.foo.com'»]"),
            error(DUPLICATE, "hosts: ['*.foo.com', «a.foo.com»]"),
            error(BAD_HOST, "hosts: [«'*'»]"),
            error(BAD_HOST, "hosts: [«a..b»]"),
            error(BAD_HOST, "hosts: [«'a.*'»]"),
            error(BAD_HOST, "gateways: [mesh, g]\n  hosts: [«'*'»]"),
            error(WRONG_TYPE, "hosts: «a»"),
            error(WRONG_TYPE, "hosts: [«1»]"),
            error(WRONG_TYPE, "hosts: [«true»]"),
            warning(NOT_ENFORCED, "«gateways»: [ns/g]\n  hosts: ['*']"),
            warning(DEPRECATED, "gateways: [mesh, «g.ns.svc.cluster.local»]\n  hosts: [a]"),
            error(BAD_NAME, "gateways: [mesh, «a/b/c»]\n  hosts: [a]"),
            error(BAD_NAME, "gateways: [mesh, «a_b»]\n  hosts: [a]"),
        ],
    );
    spec(&[
        good(
            "{hosts: [a], gateways: [], exportTo: [], tls: [], http: [{match: [], route: [{destination: {host: a}}]}]}",
        ),
        good("{gateways: [], tls: [], tcp: [], http: [{route: [{destination: {host: a}}]}]}"),
        good("{hosts: [a], http: [{name: '', redirect: {uri: /x, redirectCode: 0, authority: ''}, route: []}]}"),
        good("{hosts: [a], http: [{directResponse: {status: 200}, route: []}]}"),
        good("{hosts: [a], http: [{delegate: {name: d, namespace: ''}, route: []}]}"),
        good("{hosts: [a], http: [{mirror: {host: b, subset: ''}, mirrors: [], route: [{destination: {host: a}}]}]}"),
        good("{hosts: [a], http: [{match: [{sourceNamespace: '', port: 0}], route: [{destination: {host: a}}]}]}"),
        error(MISSING, "{hosts: [a], http: [{«route»: []}]}"),
        error(OUT_OF_RANGE, "{hosts: [a], http: [{redirect: {uri: /x, redirectCode: «299»}}]}"),
    ]);
    spec(&[error(MISSING, "hosts: [a]\n  «http»: []"), error(WRONG_TYPE, "hosts: [a]\n  http: «x»")]);
}

#[test]
fn exports() {
    check(
        &format!("{HEAD}  hosts: [a]\n  http: [{{route: [{{destination: {{host: a}}}}]}}]\n  exportTo: @\n"),
        &[
            good("['*']"),
            good("['.', other]"),
            error(CONFLICT, "[«'*'», other]"),
            error(BAD_NAME, "[«'~'»]"),
            error(BAD_NAME, "[«a_b»]"),
            error(DUPLICATE, "[a, «a»]"),
            error(DUPLICATE, "['.', «default»]"),
        ],
    );
}

#[test]
fn entries() {
    entry(&[
        error(MISSING, "«{»name: x}"),
        error(ONE_OF, "{redirect: {uri: /x}, «route»: [{destination: {host: a}}]}"),
        error(ONE_OF, "{redirect: {uri: /x}, «fault»: {abort: {httpStatus: 500, percentage: {value: 1}}}}"),
        error(ONE_OF, "{redirect: {uri: /x}, «rewrite»: {uri: /y}}"),
        error(ONE_OF, "{redirect: {uri: /x}, «directResponse»: {status: 200}}"),
        error(ONE_OF, "{directResponse: {status: 200}, «rewrite»: {uri: /y}}"),
        error(MISSING, "{«route»: []}"),
        error(MISSING, "{route: [«{»weight: 1}]}"),
        error(MISSING, "{route: [{«destination»: {subset: v1}}]}"),
        error(BAD_HOST, "{route: [{destination: {host: «'*'»}}]}"),
        error(BAD_HOST, "{route: [{destination: {host: «a b»}}]}"),
        error(BAD_NAME, "{route: [{destination: {host: a, subset: «v.1»}}]}"),
        error(OUT_OF_RANGE, "{route: [{destination: {host: a, port: {number: «0»}}}]}"),
        error(OUT_OF_RANGE, "{route: [{destination: {host: a, port: {number: «65536»}}}]}"),
        error(MISSING, "{route: [{destination: {host: a, «port»: {}}}]}"),
        error(WRONG_TYPE, "{route: [{destination: {host: a, port: «80»}}]}"),
        error(OUT_OF_RANGE, "{route: [{destination: {host: a}, weight: «-1»}]}"),
        error(OUT_OF_RANGE, "{«route»: [{destination: {host: a}}, {destination: {host: b}, weight: 0}]}"),
        good("{route: [{destination: {host: a}}, {destination: {host: b}, weight: 1}]}"),
        warning(SOLE_WEIGHT_ZERO, "{route: [{destination: {host: a}, weight: «0»}]}"),
        good("{delegate: {name: x, namespace: ns}, directResponse: {status: 200}, rewrite: {uri: /}}"),
        error(ONE_OF, "{delegate: {name: x}, «route»: [{destination: {host: a}}]}"),
        error(ONE_OF, "{delegate: {name: x}, «redirect»: {uri: /}}"),
        error(MISSING, "{«delegate»: {namespace: ns}}"),
        error(BAD_NAME, "{delegate: {name: «A_b»}}"),
        error(BAD_NAME, "{delegate: {name: a, namespace: «a.b»}}"),
        error(WRONG_TYPE, "«x»"),
    ]);
}

#[test]
fn matches() {
    matching(&[
        good("{uri: {prefix: ''}, method: {exact: ''}}"),
        good("{uri: {}, headers: {y: {}}, withoutHeaders: {z: {regex: '*'}}}"),
        error(BAD_VALUE, "{headers: {«x»: null}}"),
        error(BAD_VALUE, "{withoutHeaders: {«x»: }}"),
        error(BAD_VALUE, "{queryParams: {«x»: ~}}"),
        good("{ignoreUriCase: true, port: 0}"),
        warning(SPELLED_TWICE, "{ignoreUriCase: true, «ignore_uri_case»: true}"),
        error(BAD_VALUE, "{method: {prefix: «''»}}"),
        error(BAD_VALUE, "{headers: {x: {prefix: «''»}}}"),
        error(BAD_VALUE, "{queryParams: {x: {prefix: «''»}}}"),
        error(BAD_REGEX, "{headers: {x: {regex: «''»}}}"),
        error(BAD_REGEX, "{queryParams: {x: {regex: «'*'»}}}"),
        error(BAD_REGEX, "{uri: {regex: «'(?=x)'»}}"),
        error(ONE_OF, "{uri: {exact: /a, «prefix»: /b}}"),
        warning(UNKNOWN_FIELD, "{uri: {«prefx»: /b}}"),
        error(WRONG_TYPE, "{uri: «/a»}"),
        error(WRONG_TYPE, "{headers: {x: {exact: «true»}}}"),
        error(WRONG_TYPE, "{headers: {x: {exact: «1.5»}}}"),
        error(BAD_NAME, "{headers: {«'x y'»: {exact: a}}}"),
        error(BAD_NAME, "{headers: {«':foo'»: {exact: a}}}"),
        error(BAD_NAME, "{headers: {«'@request.auth.claims.sub'»: {exact: a}}}"),
        good("{headers: {':method': {exact: GET}, X_y: {exact: a}}}"),
        error(OUT_OF_RANGE, "{port: «65536»}"),
        good("{port: '80'}"),
        error(BAD_NAME, "{sourceLabels: {«a/b/c»: x}}"),
        error(BAD_NAME, "{sourceLabels: {a: «x y»}}"),
        error(BAD_NAME, "{sourceNamespace: «a.b»}"),
        error(WRONG_TYPE, "{ignoreUriCase: «'true'»}"),
        warning(IGNORED, "{«statPrefix»: x}"),
        warning(UNKNOWN_FIELD, "{«timeout»: 5s}"),
    ]);
}

#[test]
fn retries_and_timeouts() {
    route(&[
        good("timeout: 1.5s"),
        error(BAD_DURATION, "timeout: «0s»"),
        error(BAD_DURATION, "timeout: «5»"),
        error(BAD_DURATION, "timeout: «1500us»"),
        error(BAD_DURATION, "timeout: «'-1s'»"),
        error(BAD_DURATION, "timeout: «1d»"),
        good("retries: {}"),
        good("retries: {attempts: 0}"),
        good("retries: {attempts: '3', perTryTimeout: 250ms, retryOn: '5xx,503,retriable-status-codes', backoff: 1ms}"),
        error(OUT_OF_RANGE, "retries: {attempts: «-1»}"),
        error(WRONG_TYPE, "retries: {attempts: «many»}"),
        error(NEEDS, "retries: {«retryOn»: 5xx}"),
        error(NEEDS, "retries: {attempts: 0, «perTryTimeout»: 1s}"),
        error(BAD_DURATION, "retries: {attempts: 1, perTryTimeout: «0s»}"),
        error(BAD_VALUE, "retries: {attempts: 1, retryOn: «6xx»}"),
        error(BAD_VALUE, "retries: {attempts: 1, retryOn: '5xx,« reset»'}"),
        error(BAD_VALUE, "retries: {attempts: 1, retryOn: '5xx,«599»'}"),
        warning(UNKNOWN_FIELD, "«perTryTimeout»: 1s"),
        warning(UNKNOWN_FIELD, "«retry»: {attempts: 1}"),
        good("retries: {attempts: 1, retryRemoteLocalities: true}"),
    ]);
}

#[test]
fn rewrites() {
    route(&[
        good("rewrite: {uri: '', authority: a.b}"),
        error(MISSING, "«rewrite»: {}"),
        error(MISSING, "«rewrite»: {uri: ''}"),
        error(BAD_VALUE, "rewrite: {uriRegexRewrite: {match: a, rewrite: «''»}}"),
        error(ONE_OF, "rewrite: {uri: /a, «uriRegexRewrite»: {match: a, rewrite: b}}"),
        error(MISSING, "rewrite: {«uriRegexRewrite»: {match: a}}"),
        error(BAD_REGEX, "rewrite: {uriRegexRewrite: {match: «'['», rewrite: b}}"),
        error(CONFLICT, "rewrite: {authority: a.b}\n    «headers»: {request: {set: {Host: b}}}"),
        error(CONFLICT, "«headers»: {request: {set: {Host: b}, add: {':authority': c}}}"),
    ]);
}

#[test]
fn redirects_and_direct_responses() {
    entry(&[
        good("{redirect: {uri: /x, redirectCode: 307}}"),
        good("{redirect: {derivePort: FROM_PROTOCOL_DEFAULT}}"),
        error(MISSING, "{«redirect»: {}}"),
        error(MISSING, "{«redirect»: {authority: ''}}"),
        error(MISSING, "{«redirect»: {redirectCode: 301}}"),
        error(ONE_OF, "{redirect: {uri: /x, «prefixRewrite»: /y}}"),
        error(ONE_OF, "{redirect: {port: 1, «derivePort»: FROM_REQUEST_PORT}}"),
        error(BAD_VALUE, "{redirect: {scheme: «ftp»}}"),
        error(BAD_VALUE, "{redirect: {derivePort: «from_request_port»}}"),
        error(OUT_OF_RANGE, "{redirect: {uri: /x, redirectCode: «200»}}"),
        error(BAD_VALUE, "{redirect: {uri: /x, redirectCode: «304»}}"),
        error(NEEDS, "{match: [{uri: {exact: /a}}], «redirect»: {prefixRewrite: /y}}"),
        good("{match: [{uri: {prefix: /a}}, {port: 80}], redirect: {prefixRewrite: /y}}"),
        good("{directResponse: {status: 600}}"),
        error(OUT_OF_RANGE, "{directResponse: {status: «601»}}"),
        error(OUT_OF_RANGE, "{directResponse: {status: «199»}}"),
        error(MISSING, "{«directResponse»: {body: {string: x}}}"),
        error(ONE_OF, "{directResponse: {status: 200, body: {string: x, «bytes»: eA==}}}"),
        error(BAD_VALUE, "{directResponse: {status: 200, body: {bytes: «'?'»}}}"),
    ]);
}

#[test]
fn faults() {
    route(&[
        good("fault: {delay: {fixedDelay: 1s, percentage: {}}}"),
        good("fault: {abort: {grpcStatus: UNAVAILABLE, percentage: {value: '0.0001'}}}"),
        error(MISSING, "«fault»: {}"),
        warning(NO_EFFECT, "fault: {«delay»: {fixedDelay: 1s}}"),
        warning(NO_EFFECT, "fault: {«abort»: {httpStatus: 500}}"),
        warning(NO_EFFECT, "fault: {«abort»: {percentage: {value: 1}}}"),
        warning(DEPRECATED, "fault: {delay: {fixedDelay: 1s, «percent»: 5}}"),
        error(BAD_DURATION, "fault: {delay: {fixedDelay: «0s», percentage: {value: 1}}}"),
        error(OUT_OF_RANGE, "fault: {delay: {fixedDelay: 1s, percentage: {value: «101»}}}"),
        error(OUT_OF_RANGE, "fault: {delay: {fixedDelay: 1s, percentage: {value: «0.00001»}}}"),
        error(WRONG_TYPE, "fault: {delay: {fixedDelay: 1s, percentage: «50»}}"),
        error(REFUSED, "fault: {delay: {«exponentialDelay»: 1s, percentage: {value: 1}}}"),
        error(ONE_OF, "fault: {abort: {httpStatus: 500, «grpcStatus»: OK, percentage: {value: 1}}}"),
        error(OUT_OF_RANGE, "fault: {abort: {httpStatus: «199», percentage: {value: 1}}}"),
        error(BAD_VALUE, "fault: {abort: {grpcStatus: «unavailable», percentage: {value: 1}}}"),
        error(BAD_VALUE, "fault: {abort: {grpcStatus: «14», percentage: {value: 1}}}"),
        error(REFUSED, "fault: {abort: {«http2Error»: x, percentage: {value: 1}}}"),
    ]);
}

#[test]
fn mirrors() {
    route(&[
        good("mirror: {host: b}\n    mirrorPercentage: {value: 0}"),
        good("mirrors: [{destination: {host: b}, percentage: {value: 0.5}}]"),
        error(ONE_OF, "mirror: {host: b}\n    «mirrors»: [{destination: {host: b}}]"),
        error(MISSING, "mirrors: [«{»percentage: {value: 1}}]"),
        error(OUT_OF_RANGE, "mirror: {host: b}\n    mirrorPercentage: {value: «100.5»}"),
        warning(DEPRECATED, "mirror: {host: b}\n    «mirrorPercent»: 5"),
        warning(DEPRECATED, "mirror: {host: b}\n    «mirror_percent»: 5"),
        warning(NO_EFFECT, "«mirrorPercentage»: {value: 5}"),
    ]);
}

#[test]
fn headers() {
    route(&[
        good("headers: {request: {set: {Host: a.b}, add: {x: '%%'}, remove: [x-y]}, response: {set: {z: ''}}}"),
        error(BAD_NAME, "headers: {request: {remove: [«host»]}}"),
        error(BAD_NAME, "headers: {request: {set: {«':path'»: /}}}"),
        error(BAD_NAME, "headers: {response: {set: {«Host»: a}}}"),
        error(BAD_NAME, "headers: {response: {add: {«':status'»: '200'}}}"),
        error(BAD_NAME, "headers: {request: {add: {«''»: a}}}"),
        error(BAD_VALUE, "headers: {request: {set: {x: «'50%'»}}}"),
        error(BAD_VALUE, "headers: {request: {set: {x: «'%REQ(a)'»}}}"),
        error(BAD_VALUE, "headers: {request: {set: {x: «\"a\\nb\"»}}}"),
        error(WRONG_TYPE, "headers: {request: {set: {x: «1»}}}"),
        error(WRONG_TYPE, "headers: {request: {remove: «x-y»}}"),
        warning(UNKNOWN_FIELD, "headers: {«requests»: {}}"),
    ]);
}

#[test]
fn cors() {
    route(&[
        error(BAD_VALUE, "corsPolicy: {allowOrigins: [«{»exact: ''}]}"),
        error(BAD_VALUE, "corsPolicy: {allowOrigins: [«{»}]}"),
        error(BAD_VALUE, "corsPolicy: {allowOrigins: [{prefix: «''»}]}"),
        error(BAD_REGEX, "corsPolicy: {allowOrigins: [{regex: «'['»}]}"),
        error(ONE_OF, "corsPolicy: {allowOrigins: [{exact: a, «prefix»: b}]}"),
        error(BAD_VALUE, "corsPolicy: {allowMethods: ['*', GET, «get»]}"),
        error(BAD_NAME, "corsPolicy: {allowHeaders: ['*', x-a, «'x y'»]}"),
        error(BAD_NAME, "corsPolicy: {exposeHeaders: [«''»]}"),
        error(BAD_DURATION, "corsPolicy: {maxAge: «1500ms»}"),
        error(BAD_DURATION, "corsPolicy: {maxAge: «0s»}"),
        error(WRONG_TYPE, "corsPolicy: {allowCredentials: «1»}"),
        error(BAD_VALUE, "corsPolicy: {unmatchedPreflights: «DROP»}"),
        warning(DEPRECATED, "corsPolicy: {«allowOrigin»: ['http://a.com']}"),
    ]);
}

#[test]
fn delegates() {
    spec(&[
        good("http: [{directResponse: {status: 200}}]"),
        error(CONFLICT, "http: [{«delegate»: {name: x}}]"),
        error(CONFLICT, "«gateways»: [mesh]\n  http: [{directResponse: {status: 200}}]"),
        error(CONFLICT, "«tcp»: [{route: [{destination: {host: a}}]}]"),
        good("hosts: [a]\n  http: [{delegate: {name: x}}, {directResponse: {status: 404}}]"),
    ]);
}

#[test]
fn tls_and_tcp() {
    let to = "route: [{destination: {host: a}}]";
    check(
        &format!("{HEAD}  hosts: [a.com, '*.b.com']\n  tls:\n  - {{match: [@], {to}}}\n"),
        &[
            error(MISSING, "«{»port: 443}"),
            error(MISSING, "{«sniHosts»: []}"),
            error(CONFLICT, "{sniHosts: [a.com, x.b.com, '*.c.b.com', «c.com»]}"),
            error(CONFLICT, "{sniHosts: [«'*.com'»]}"),
            warning(BAD_HOST, "{sniHosts: [a.com, «10.0.0.1»]}"),
            warning(BAD_HOST, "{sniHosts: [«'::1'»]}"),
            error(BAD_HOST, "{sniHosts: [«a..b»]}"),
            error(BAD_VALUE, "{sniHosts: [a.com], destinationSubnets: [«10.0.0.0/33»]}"),
            error(OUT_OF_RANGE, "{sniHosts: [a.com], port: «65536»}"),
            error(BAD_NAME, "{sniHosts: [a.com], gateways: [«a/b/c»]}"),
            warning(UNKNOWN_FIELD, "{sniHosts: [a.com], «sourceSubnet»: 10.0.0.0/8}"),
        ],
    );
    spec(&[
        error(MISSING, "hosts: [a]\n  tls: [{«match»: [], route: [{destination: {host: a}}]}]"),
        error(MISSING, "hosts: [a]\n  tls: [«{»match: [{sniHosts: [a]}]}]"),
        warning(
            BAD_HOST,
            "hosts: [10.0.0.1]\n  tls: [{match: [{sniHosts: [«10.0.0.1»]}], route: [{destination: {host: a}}]}]",
        ),
        error(MISSING, "hosts: [a]\n  tcp: [{«route»: []}]"),
        error(OUT_OF_RANGE, "hosts: [a]\n  tcp: [{«route»: [{destination: {host: a}}, {destination: {host: b}}]}]"),
        error(
            BAD_VALUE,
            "hosts: [a]\n  tcp: [{match: [{destinationSubnets: [«x»]}], route: [{destination: {host: a}}]}]",
        ),
        warning(IGNORED, "hosts: [a]\n  tcp: [{match: [{«sourceSubnet»: x}], route: [{destination: {host: a}}]}]"),
        warning(
            UNREACHABLE,
            "hosts: [a]\n  tcp: [{route: [{destination: {host: a}}]}, «{»route: [{destination: {host: b}}]}]",
        ),
        error(MISSING, "hosts: [a]\n  «tls»: []"),
    ]);
}

#[test]
fn what_is_not_enforced_is_said() {
    route(&[good("corsPolicy: {}"), good("cors_policy: {}")]);
    spec(&[
        warning(NOT_ENFORCED, "hosts: [a]\n  «tcp»: [{route: [{destination: {host: a}}]}]"),
        error(MISSING, "hosts: [a]\n  «http»: []"),
    ]);
}

#[test]
fn entries_that_no_request_reaches() {
    let after = |first: &'static str| format!("{HEAD}  hosts: [a]\n  http:\n  - {first}\n  - @\n");
    let rows = [warning(UNREACHABLE, "«route»: [{destination: {host: a}}]")];
    check(&after("route: [{destination: {host: a}}]"), &rows);
    check(&after("{match: [{uri: {prefix: /}}], route: [{destination: {host: a}}]}"), &rows);
    check(&after("{match: [{uri: {regex: .*}}], route: [{destination: {host: a}}]}"), &rows);
    check(
        &after("{match: [{port: 80}], route: [{destination: {host: a}}]}"),
        &[good("route: [{destination: {host: a}}]")],
    );
    check(
        &after("{match: [{uri: {prefix: /a}}], route: [{destination: {host: a}}]}"),
        &[
            warning(UNREACHABLE, "{match: [«{»uri: {prefix: /a}, name: x}], route: [{destination: {host: a}}]}"),
            info(
                UNREACHABLE,
                "{match: [{uri: {prefix: /b}}, «{»uri: {prefix: /a}}], route: [{destination: {host: a}}]}",
            ),
            good("{match: [{uri: {prefix: /a}, ignoreUriCase: true}], route: [{destination: {host: a}}]}"),
        ],
    );
}
