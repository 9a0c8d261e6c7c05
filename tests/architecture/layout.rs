//! Sizes, names and headings of files.

use std::path::Path;

use crate::{File, tokens::tokens};

/// Longest file of code, tests included, in lines.
const LONGEST: usize = 500;
/// Longest `src/main.rs`, in lines.
const LONGEST_MAIN: usize = 120;
/// Names that say nothing about what a file owns.
const EMPTY_NAMES: [&str; 7] = ["utils", "util", "common", "helpers", "helper", "types", "misc"];
/// What the documentation of an actor says, each under its own heading.
const ACTOR_HEADINGS: [&str; 3] = ["Bounds", "Supervision", "Owns"];

/// What is wrong with the files of `src/`, `tests/` and `benches/`.
pub(crate) fn violations(files: &[File]) -> Vec<String> {
    files.iter().flat_map(|file| check(file).into_iter().map(|text| format!("{}: {text}", file.path))).collect()
}

fn check(file: &File) -> Vec<String> {
    let mut found = Vec::new();
    let lines = file.text.lines().count();
    let longest = if file.path == "src/main.rs" { LONGEST_MAIN } else { LONGEST };
    if lines > longest {
        found.push(format!("{lines} lines, {longest} are allowed"));
    }
    let parts = file.path.split('/').map(|part| part.split('.').next().unwrap_or_default());
    for name in parts.filter(|part| EMPTY_NAMES.contains(part)) {
        if file.path != "src/config/types.rs" {
            found.push(format!("`{name}` says nothing about what it owns"));
        }
    }
    let rust = Path::new(&file.path).extension().is_some_and(|extension| extension == "rs");
    let documented = ["/mod.rs", "/lib.rs"].iter().any(|end| file.path.ends_with(end));
    if documented && !file.text.starts_with("//!") {
        found.push("does not begin with `//!`".to_owned());
    }
    let actor = file.text.contains("\nimpl Actor for ");
    if let Some(name) = file.path.strip_prefix("src/actors/").filter(|_| actor) {
        let headings: Vec<&str> = file.text.lines().filter_map(|line| line.strip_prefix("//! #")).collect();
        let missing = ACTOR_HEADINGS
            .iter()
            .filter(|wanted| !headings.iter().any(|heading| heading.trim_start_matches('#').trim() == **wanted));
        found.extend(missing.map(|heading| format!("the documentation of {name} has no heading `# {heading}`")));
    }
    if let Some(line) = rust.then(|| ignored(&file.text)).flatten() {
        found.push(format!("line {line}: an ignored test proves nothing"));
    }
    found
}

/// The line of the first attribute that ignores a test.
fn ignored(source: &str) -> Option<usize> {
    let tokens = tokens(source);
    let mut attribute = 0_usize;
    for pair in tokens.windows(2) {
        match (attribute, pair[0].text.as_str(), pair[1].text.as_str()) {
            (0, "#", "[") => attribute = 1,
            (depth, "[", _) if depth > 1 => attribute += 1,
            (1, "[", _) => attribute = 2,
            (depth, "]", _) if depth > 0 => attribute = if depth == 2 { 0 } else { depth - 1 },
            (depth, "ignore", _) if depth > 1 => return Some(pair[0].line),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::violations;
    use crate::File;

    fn found(path: &str, text: &str) -> Vec<String> {
        violations(&[File { path: path.to_owned(), text: text.to_owned() }])
    }

    #[test]
    fn what_is_allowed_passes() {
        for (path, text) in [
            ("src/delivery/mod.rs", "//! Decisions.\n".to_owned()),
            ("src/config/types.rs", String::new()),
            ("tests/support/kafka.rs", "x\n".repeat(500)),
            ("src/main.rs", "x\n".repeat(120)),
            ("src/actors/slot.rs", "//! # Bounds\n//! # Supervision\n//! # Owns\n\nimpl Actor for A {}".to_owned()),
            ("src/actors/parcel.rs", "//! No actor.".to_owned()),
            (
                "src/a/b.rs",
                "#[test] fn f() { let ignore = [1]; } // #[ignore]\n#[derive(Debug)] struct ignore;".to_owned(),
            ),
        ] {
            assert_eq!(found(path, &text), Vec::<String>::new(), "{path}");
        }
    }

    #[test]
    fn what_is_forbidden_is_named() {
        for (path, text, expected) in [
            ("tests/e2e/main.rs", "x\n".repeat(501), "501 lines, 500 are allowed"),
            ("src/main.rs", "x\n".repeat(121), "121 lines, 120 are allowed"),
            ("src/utils/a.rs", String::new(), "`utils` says nothing"),
            ("src/sink/helpers.rs", String::new(), "`helpers` says nothing"),
            ("src/sink/types.rs", String::new(), "`types` says nothing"),
            ("tests/common/mod.rs", "//! x".to_owned(), "`common` says nothing"),
            ("src/sink/mod.rs", "// x".to_owned(), "does not begin with `//!`"),
            (
                "src/actors/slot.rs",
                "//! # Bounds\n//! # Owns\n\nimpl Actor for A {}".to_owned(),
                "no heading `# Supervision`",
            ),
            ("src/actors/slot.rs", "//! # Boundsless\n\nimpl Actor for A {}".to_owned(), "no heading `# Bounds`"),
            ("src/a/b.rs", "#[test]\n#[ignore]\nfn f() {}".to_owned(), "line 2: an ignored test"),
            ("src/a/b.rs", "#[ignore = \"slow\"]".to_owned(), "an ignored test"),
            ("src/a/b.rs", "#[cfg_attr(all(), ignore)]\nfn f() {}".to_owned(), "an ignored test"),
        ] {
            assert!(found(path, &text).iter().any(|line| line.contains(expected)), "{path}: {:?}", found(path, &text));
        }
    }
}
