//! Complaints that an object asks to leave out.

use crate::{WORLD, found, object};

#[test]
fn an_annotation_leaves_complaints_out() {
    let rule = |asked: &str, spec: &str| {
        let annotation = format!("namespace: demo, annotations: {{galley.istio.io/analyze-suppress: \"{asked}\"}}}}");
        WORLD.to_owned() + &object("DestinationRule", "d", spec).replace("namespace: demo}", &annotation)
    };
    let unknown = "{host: nobody}";
    let both = "{host: nobody, trafficPolicy: {connectionPool: {tcp: {maxConnections: 1}}}}";
    let broken = "{host: 'a..b'}";
    for (asked, spec, left) in [
        ("", unknown, &["L0301"][..]),
        ("IST0174", unknown, &[]),
        ("L0301", unknown, &[]),
        ("IST0103, IST0174", unknown, &[]),
        ("*", both, &[]),
        ("IST0103", unknown, &["L0301"]),
        ("L0301", both, &["L0535"]),
        ("*", broken, &["L0109"]),
    ] {
        let told: Vec<String> = found(&rule(asked, spec)).iter().map(|d| d.code.to_string()).collect();
        assert_eq!(told, left, "{asked}: {spec}");
    }
}
