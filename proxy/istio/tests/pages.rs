//! `FIELDS.md` and `CODES.md` say what the rows of `support.rs` and `codes.rs` say.
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
    [("FIELDS.md", fields()), ("CODES.md", codes())]
}

fn fields() -> String {
    let mut page = String::from(
        "# Fields\n\n\
         What becomes of each field of the documents that Leeboard reads. Generated from `src/support.rs`.\n\n\
         A field that is *enforced* does what Istio says. One that is *not yet* enforced, or has *no effect*, earns a warning and\n\
         is read over; one that is *refused* is an error. Fields of Kubernetes' own kinds that are not named here concern no proxy\n\
         and are passed over.\n",
    );
    let mut kind = "";
    for block in ALL.iter().filter(|block| !block.kind.is_empty()) {
        if block.kind != kind {
            kind = block.kind;
            let _ = write!(page, "\n## {kind}\n");
            if kind == "Gateway" {
                page.push_str("\nIts form is checked, but a proxy beside an application serves no gateway: the object earns a warning.\n");
            }
        }
        section(&mut page, block);
    }
    page
}

fn section(page: &mut String, block: &Block) {
    let enforced: Vec<_> =
        block.rows.iter().filter(|row| row.status == Status::Enforced).map(|row| format!("`{}`", row.field)).collect();
    let _ = write!(
        page,
        "\n**`{}`** — {}{}\n",
        block.path,
        if block.kept { "checked, not yet enforced: " } else { "" },
        if enforced.is_empty() { "none".into() } else { enforced.join(", ") }
    );
    let mut head = "\n| field | | |\n|---|---|---|\n";
    for row in block.rows {
        let (status, why) = match row.status {
            Status::Enforced | Status::Passed => continue,
            Status::Later(why) => ("not yet", why),
            Status::Ignored(why) => ("no effect", why),
            Status::Refused(why) => ("refused", why),
        };
        let _ = writeln!(page, "{head}| `{}` | {status} | {why} |", row.field);
        head = "";
    }
}

fn codes() -> String {
    let mut page = String::from(
        "# Codes of diagnostics\n\n\
         Every complaint has one of these codes. A number is never used for anything else. Generated from `src/codes.rs`.\n\n\
         | code | about |\n|---|---|\n",
    );
    for (code, title) in codes::ALL {
        let _ = writeln!(page, "| {code} | {title} |");
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
