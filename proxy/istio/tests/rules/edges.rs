//! Istio: Gateway and Sidecar.

use leeboard_istio::codes::*;

use crate::{Row, check, error, good, warning};

fn gateway(rows: &[Row]) {
    check("apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: a}\nspec:\n  @\n", rows);
}

fn server(rows: &[Row]) {
    check("apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: a}\nspec:\n  servers: [@]\n", rows);
}

fn sidecar(rows: &[Row]) {
    check("apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: s}\nspec:\n  @\n", rows);
}

#[test]
fn gateways() {
    gateway(&[
        error(MISSING, "«servers»: []"),
        error(MISSING, "{servers: [{«port»: {name: a, protocol: HTTP}, hosts: [a.b]}]}"),
        error(
            WRONG_TYPE,
            "{selector: {a: «1»}, servers: [{port: {number: 80, name: a, protocol: HTTP}, hosts: [a.b]}]}",
        ),
        error(
            DUPLICATE,
            "{servers: [{port: {number: 80, name: a, protocol: HTTP}, hosts: [a.b]}, \
             {port: {number: 81, name: «a», protocol: HTTP}, hosts: [a.b]}]}",
        ),
    ]);
    check(
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: @}\n\
         spec: {servers: [{port: {number: 80, name: a, protocol: HTTP}, hosts: [a.b]}]}\n",
        &[warning(NOT_ENFORCED, "«a»"), error(BAD_NAME, "«a.b»")],
    );
}

#[test]
fn servers() {
    server(&[
        error(BAD_HOST, "{port: {number: 80, name: http, protocol: HTTP}, hosts: [«short»]}"),
        error(BAD_HOST, "{port: {number: 80, name: http, protocol: HTTP}, hosts: [«'*a.b'»]}"),
        error(
            BAD_HOST,
            "{port: {number: 80, name: http, protocol: HTTP}, hosts: [./a.b, '*/*.b', ns/10.0.0.1, «n.s/a.b»]}",
        ),
        error(MISSING, "{port: {number: 80, name: http, protocol: HTTP}, «hosts»: []}"),
        error(BAD_VALUE, "{port: {number: 80, name: http, protocol: «HTPP»}, hosts: [a.b]}"),
        error(BAD_NAME, "{port: {number: 80, name: «''», protocol: HTTP}, hosts: [a.b]}"),
        error(OUT_OF_RANGE, "{port: {number: «0», name: http, protocol: HTTP}, hosts: [a.b]}"),
        error(OUT_OF_RANGE, "{port: {number: «80», name: a, protocol: HTTP}, bind: 'unix:///a', hosts: [a.b]}"),
        error(BAD_VALUE, "{port: {number: 80, name: http, protocol: HTTP}, bind: «a.b», hosts: [a.b]}"),
        error(BAD_VALUE, "{port: {number: 0, name: http, protocol: HTTP}, bind: «'unix://a'», hosts: [a.b]}"),
        error(REFUSED, "{port: {number: 80, name: http, protocol: HTTP, «targetPort»: 8080}, hosts: [a.b]}"),
        warning(IGNORED, "{port: {number: 80, name: http, protocol: HTTP}, hosts: [a.b], «defaultEndpoint»: x}"),
        error(NEEDS, "«{»port: {number: 443, name: https, protocol: HTTPS}, hosts: [a.b]}"),
        error(
            CONFLICT,
            "{port: {number: 80, name: a, protocol: HTTP}, hosts: [a.b], «tls»: {mode: SIMPLE, credentialName: s}}",
        ),
        error(
            CONFLICT,
            "{port: {number: 80, name: a, protocol: TCP}, hosts: [a.b], «tls»: {mode: SIMPLE, credentialName: s}}",
        ),
        warning(NO_EFFECT, "{port: {number: 443, name: a, protocol: TLS}, hosts: [a.b], «tls»: {httpsRedirect: true}}"),
    ]);
}

#[test]
fn server_tls() {
    check(
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: a}\nspec:\n  \
         servers: [{port: {number: 443, name: https, protocol: HTTPS}, hosts: [a.b], @}]\n",
        &[
            error(NEEDS, "«tls»: {mode: SIMPLE, serverCertificate: /a}"),
            error(NEEDS, "«tls»: {mode: SIMPLE, privateKey: /a}"),
            error(NEEDS, "«tls»: {mode: MUTUAL, serverCertificate: /a, privateKey: /b}"),
            error(NEEDS, "«tls»: {mode: OPTIONAL_MUTUAL, serverCertificate: /a, privateKey: /b}"),
            error(BAD_VALUE, "tls: {mode: «TLS»}"),
            error(ONE_OF, "tls: {mode: SIMPLE, credentialName: a, «credentialNames»: [b]}"),
            warning(NO_EFFECT, "tls: {mode: SIMPLE, credentialName: a, «serverCertificate»: /b}"),
            warning(
                NO_EFFECT,
                "tls: {mode: MUTUAL, credentialName: a, privateKey: /c, «serverCertificate»: /b, caCertificates: /d}",
            ),
            warning(
                NEEDS,
                "tls: {mode: SIMPLE, credentialName: a, serverCertificate: '', credentialNames: [], «minProtocolVersion»: TLSV1_0}",
            ),
            error(
                ONE_OF,
                "tls: {mode: SIMPLE, «serverCertificate»: /a, tlsCertificates: [{serverCertificate: /a, privateKey: /b}], privateKey: /b}",
            ),
            error(
                ONE_OF,
                "tls: {mode: SIMPLE, credentialNames: [a], «tlsCertificates»: [{serverCertificate: /a, privateKey: /b}]}",
            ),
            error(OUT_OF_RANGE, "tls: {mode: SIMPLE, «credentialNames»: [a, b, c]}"),
            error(CONFLICT, "tls: {mode: SIMPLE, credentialName: a, «caCrl»: /a}"),
            error(CONFLICT, "tls: {mode: SIMPLE, serverCertificate: /a, privateKey: /b, «caCrl»: /a}"),
            error(CONFLICT, "tls: {mode: ISTIO_MUTUAL, «credentialName»: a}"),
            error(CONFLICT, "tls: {mode: ISTIO_MUTUAL, «privateKey»: /a}"),
            warning(NO_EFFECT, "tls: {mode: PASSTHROUGH, «credentialName»: a}"),
            warning(NO_EFFECT, "tls: {«serverCertificate»: /a}"),
            error(MISSING, "tls: {mode: SIMPLE, tlsCertificates: [«{»serverCertificate: /a}]}"),
            warning(NEEDS, "tls: {mode: SIMPLE, credentialName: a, «minProtocolVersion»: TLSV1_0}"),
            warning(BAD_VALUE, "tls: {mode: SIMPLE, credentialName: a, cipherSuites: [«RC4»]}"),
            warning(DUPLICATE, "tls: {mode: SIMPLE, credentialName: a, cipherSuites: [AES128-SHA, «AES128-SHA»]}"),
            error(BAD_VALUE, "tls: {mode: SIMPLE, credentialName: a, maxProtocolVersion: «TLSv1.3»}"),
        ],
    );
}

#[test]
fn sidecars() {
    sidecar(&[
        good("{outboundTrafficPolicy: {}}"),
        good("{outboundTrafficPolicy: {mode: ALLOW_ANY}}"),
        error(BAD_VALUE, "{outboundTrafficPolicy: {mode: «ANY»}}"),
        warning(NO_EFFECT, "{outboundTrafficPolicy: {mode: ALLOW_ANY}, «workloadSelector»: {}}"),
        error(BAD_NAME, "{outboundTrafficPolicy: {mode: ALLOW_ANY}, workloadSelector: {labels: {a: «'*'»}}}"),
        warning(
            DEPRECATED,
            "{outboundTrafficPolicy: {mode: ALLOW_ANY, «egressProxy»: {host: a.b, port: {number: 80}}}}",
        ),
        good("{inboundConnectionPool: {tcp: {maxConnections: 1}}}"),
        error(MISSING, "{«inboundConnectionPool»: {}}"),
    ]);
}

#[test]
fn egress() {
    sidecar(&[
        good("egress: [{hosts: ['./*', '*/a.b', 'ns/*.a.b', '~/*', '~ns/a.b']}]"),
        error(MISSING, "egress: [«{»port: {number: 80}}]"),
        error(MISSING, "egress: [{«hosts»: []}]"),
        error(BAD_HOST, "egress: [{hosts: [«a.b»]}]"),
        error(BAD_HOST, "egress: [{hosts: [«ns/a»]}]"),
        error(BAD_HOST, "egress: [{hosts: [«n.s/a.b»]}]"),
        error(BAD_HOST, "egress: [{hosts: [«'./a.*'»]}]"),
        warning(NO_EFFECT, "egress: [{hosts: ['./*', «'./*'»]}]"),
        warning(NO_EFFECT, "egress: [{hosts: [«'./*'», '*/*', '~ns/a.b']}]"),
        error(CONFLICT, "egress: [«{»hosts: ['./*']}, {port: {number: 80}, hosts: ['./*']}]"),
        error(DUPLICATE, "egress: [{port: {number: 80}, hosts: ['./*']}, «{»port: {number: 80}, hosts: ['*/*']}]"),
        error(OUT_OF_RANGE, "egress: [{port: {number: «0»}, hosts: ['./*']}]"),
        error(MISSING, "egress: [{«port»: {protocol: HTTP}, hosts: ['./*']}]"),
        error(BAD_VALUE, "egress: [{port: {number: 80, protocol: «HTTQ»}, hosts: ['./*']}]"),
        error(REFUSED, "egress: [{port: {number: 80, «targetPort»: 1}, hosts: ['./*']}]"),
        warning(NOT_ENFORCED, "egress: [{port: {number: 80}, «bind»: 127.0.0.1, hosts: ['./*']}]"),
        warning(NOT_ENFORCED, "egress: [{port: {number: 80}, «captureMode»: NONE, hosts: ['./*']}]"),
        good("egress: [{port: {number: 80}, captureMode: DEFAULT, hosts: ['./*']}]"),
        error(BAD_VALUE, "egress: [{port: {number: 80}, captureMode: «none», hosts: ['./*']}]"),
        error(BAD_VALUE, "egress: [{port: {number: 80}, bind: «localhost», hosts: ['./*']}]"),
        error(NEEDS, "egress: [{«bind»: 127.0.0.1, hosts: ['./*']}]"),
        error(CONFLICT, "egress: [{port: {number: 0}, bind: 'unix:///a', «captureMode»: IPTABLES, hosts: ['./*']}]"),
    ]);
}

#[test]
fn ingress() {
    sidecar(&[
        warning(NOT_ENFORCED, "«ingress»: [{port: {number: 80}, defaultEndpoint: '[::1]:8080'}]"),
        error(MISSING, "ingress: [«{»defaultEndpoint: '127.0.0.1:1'}]"),
        error(DUPLICATE, "ingress: [{port: {number: 80}}, {port: {number: «80»}}]"),
        error(BAD_VALUE, "ingress: [{port: {number: 80}, defaultEndpoint: «10.0.0.1:80»}]"),
        error(BAD_VALUE, "ingress: [{port: {number: 80}, defaultEndpoint: «127.0.0.1»}]"),
        error(BAD_VALUE, "ingress: [{port: {number: 80}, defaultEndpoint: «'127.0.0.1:0'»}]"),
        error(
            CONFLICT,
            "ingress: [{port: {number: 80, protocol: HTTP}, «tls»: {mode: SIMPLE, serverCertificate: /a, privateKey: /b}}]",
        ),
        error(CONFLICT, "ingress: [{port: {number: 80, protocol: TLS}, «tls»: {mode: ISTIO_MUTUAL}}]"),
        error(CONFLICT, "ingress: [{port: {number: 80, protocol: TLS}, «tls»: {mode: SIMPLE, credentialName: a}}]"),
        error(OUT_OF_RANGE, "ingress: [{port: {number: 80}, connectionPool: {tcp: {maxConnections: «-1»}}}]"),
    ]);
}
