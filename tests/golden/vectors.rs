//! The vectors' files.

use serde_json::Value as Json;

/// The lines of a file.
pub(crate) fn load(name: &str) -> Vec<Json> {
    let path = format!("{}/tests/fixtures/vectors/{name}.jsonl", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let lines: Vec<Json> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!lines.is_empty());
    lines
}

/// A text of a line.
pub(crate) fn text<'a>(line: &'a Json, field: &str) -> &'a str {
    line[field].as_str().unwrap_or_else(|| panic!("{line}: no text {field}"))
}

/// Bytes of a line.
pub(crate) fn bytes(line: &Json, field: &str) -> Vec<u8> {
    hex::decode(text(line, field)).unwrap()
}
