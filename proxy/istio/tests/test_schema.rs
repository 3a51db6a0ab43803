//! `docs/test.schema.json` knows the fields that the reader of tests knows, and no others.

use std::collections::BTreeSet;
use std::path::Path;

use leeboard_istio::TEST_BLOCKS;
use serde_json::Value as Json;

#[test]
fn the_schema_has_the_readers_fields() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/test.schema.json");
    let text = std::fs::read_to_string(path).expect("the schema is there");
    let schema: Json = serde_json::from_str(&text).expect("the schema is JSON");
    let places = ["", "/$defs/test", "/$defs/request", "/$defs/expect"];
    assert_eq!(places.len(), TEST_BLOCKS.len());
    for (place, block) in places.into_iter().zip(TEST_BLOCKS) {
        let object = schema.pointer(place).expect("the schema has the block");
        let told: BTreeSet<&str> = object["properties"].as_object().into_iter().flatten().map(|(k, _)| &**k).collect();
        let read: BTreeSet<&str> = block.rows.iter().map(|row| row.field).collect();
        assert_eq!(told, read, "{}", block.path);
        assert_eq!(object["additionalProperties"], false, "{}", block.path);
    }
}
