//! `docs/support.md` and `docs/codes.md` say what the rows of `support.rs` and `codes.rs` say.
//!
//! After a change of the rows: `cargo test -p leeboard-istio --test pages -- --ignored` writes the pages anew.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use leeboard_istio::codes;
use leeboard_istio::support::{ALL, Block, Status};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Each page's name and what it has to say.
fn pages() -> [(&'static str, String); 2] {
    [("../../docs/support.md", support()), ("../../docs/codes.md", codes())]
}

fn support() -> String {
    let mut page = String::from(
        "# What is supported\n\n\
         Every field of the documents that Leeboard reads, and what becomes of it. Generated from `proxy/istio/src/support.rs`.\n\n\
         A field that is *enforced* does what Istio says; one that is enforced *in part* warns where it does not. One that is *not yet* enforced is read, checked and kept; like one that has\n\
         *no effect* it earns a warning. One that is *refused* is an error. Fields of Kubernetes' own kinds that are not named here\n\
         concern no proxy and are passed over.\n",
    );
    let mut kind = "none";
    for block in ALL {
        if block.kind != kind {
            kind = block.kind;
            let _ = write!(page, "\n## {}\n", if kind.is_empty() { "Every object" } else { kind });
            if kind == "Gateway" {
                page.push_str("\nIts form is checked, but a proxy beside an application serves no gateway: the object earns a warning.\n");
            }
        }
        section(&mut page, block);
    }
    page
}

fn section(page: &mut String, block: &Block) {
    let _ = write!(page, "\n### `{}`\n\n| field | | |\n|---|---|---|\n", block.path);
    for row in block.rows {
        let (status, more) = match row.status {
            Status::Enforced if block.kept => ("not yet", String::new()),
            Status::Enforced => ("enforced", String::new()),
            Status::InPart(limit) => ("in part", format!(" For now {limit}.")),
            Status::Passed => ("passed over", String::new()),
            Status::Later(instead) => ("not yet", format!(" For now {instead}.")),
            Status::Ignored(why) => ("no effect", format!(" But {why}.")),
            Status::Refused(instead) => ("refused", format!(" Instead, {instead}.")),
        };
        let _ = writeln!(page, "| `{}` | {status} | {}{more} |", row.field, row.about);
    }
}

fn codes() -> String {
    let mut page = String::from(
        "# Codes of diagnostics\n\n\
         Every complaint has one of these codes; `leeboard help L0301` shows the same text. A number is never used for anything\n\
         else. Generated from `src/codes.rs`.\n",
    );
    for entry in codes::ALL {
        let _ = write!(page, "\n## {}: {}\n\n{}\n", entry.code, entry.title, entry.page);
    }
    page
}

#[test]
fn the_pages_say_what_the_rows_say() {
    for (name, wanted) in pages() {
        let found = std::fs::read_to_string(path(name)).unwrap_or_default();
        assert!(found == wanted, "{name} is stale: cargo test -p leeboard-istio --test pages -- --ignored");
    }
}

#[test]
#[ignore = "writes the pages"]
fn write_the_pages() {
    for (name, text) in pages() {
        std::fs::write(path(name), text).expect("the crate's folder can be written to");
    }
}
