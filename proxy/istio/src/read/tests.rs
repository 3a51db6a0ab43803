//! Holds the readers to the rows of `support.rs`, and shows what the documents of `tests/data/known` become.

use std::collections::BTreeSet;

use crate::load::{Loaded, load};
use crate::source::Source;
use crate::support::{self, ALL, Status};

fn known(files: &[&str]) -> Loaded {
    let text = |name: &&str| {
        let path = format!("{}/tests/data/known/{name}", env!("CARGO_MANIFEST_DIR"));
        Source::new(*name, std::fs::read_to_string(path).expect("the file is part of the crate"))
    };
    load(&files.iter().map(text).collect::<Vec<_>>())
}

const FILES: [&str; 4] = ["virtual-service.yaml", "destination-rule.yaml", "services.yaml", "kubernetes.yaml"];

#[test]
fn what_is_known_and_enforced_is_read_without_a_complaint() {
    let loaded = known(&FILES);
    assert_eq!(loaded.diagnostics, [], "{:#?}", loaded.diagnostics);
    let resources = &loaded.resources;
    assert_eq!((resources.virtual_services.len(), resources.destination_rules.len()), (1, 1));
    assert_eq!(
        (resources.service_entries.len(), resources.workload_entries.len(), resources.sidecars.len()),
        (2, 1, 1)
    );
    assert_eq!((resources.services.len(), resources.endpoints.len()), (2, 1));
    assert_eq!((resources.endpoint_slices.len(), resources.pods.len()), (1, 1));
}

#[test]
fn every_enforced_row_is_read_and_everything_read_has_a_row() {
    support::tests::take_asked();
    known(&[&FILES[..], &["not-enforced.yaml"]].concat());
    let asked = support::tests::take_asked();
    let enforced: BTreeSet<_> = ALL
        .iter()
        .flat_map(|block| block.rows.iter().map(move |row| (block, row)))
        .filter(|(_, row)| row.status == Status::Enforced)
        .map(|(block, row)| (block.kind, block.path, row.field))
        .collect();
    let unread: Vec<_> = enforced.difference(&asked).collect();
    assert!(unread.is_empty(), "rows that no reader asks for: {unread:#?}");
}

#[test]
fn every_row_that_is_not_enforced_says_so() {
    let loaded = known(&["not-enforced.yaml"]);
    let said = |field: &str| loaded.diagnostics.iter().any(|d| d.message.starts_with(&format!("`{field}` ")));
    for block in ALL {
        for row in block.rows {
            if !matches!(row.status, Status::Enforced | Status::Passed) {
                assert!(said(row.field), "nothing is said about `{}` in `{}`", row.field, block.path);
            }
        }
    }
}
