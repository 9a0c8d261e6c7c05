//! Whatever stands in the file, the loader answers; it never panics.

use proptest::prelude::*;

use crate::load_as;

const NAMES: [&str; 3] = ["c.toml", "c.yaml", "c.json"];

/// Text that gets further than random characters do.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("\n"),
        Just("  "),
        Just(": "),
        Just("- "),
        Just(" = "),
        Just("["),
        Just("]"),
        Just("{"),
        Just("}"),
        Just(","),
        Just("\""),
        Just("'"),
        Just("\\"),
        Just("|"),
        Just(">"),
        Just("&a "),
        Just("*a"),
        Just("!!str "),
        Just("? "),
        Just("#"),
        Just("---"),
        Just("%"),
        Just("<<"),
        Just("."),
        Just("${"),
        Just("${A}"),
        Just("$${"),
        Just("1e999"),
        Just("-1"),
        Just("18446744073709551615"),
        Just(".nan"),
        Just("inf"),
        Just("null"),
        Just("true"),
        Just("1979-05-27"),
        Just("databases"),
        Just("streams"),
        Just("db"),
        Just("log"),
        Just("level"),
        Just("max_retries"),
        Just("\u{feff}"),
        Just("\t"),
        Just("é"),
        Just("\r\n"),
        Just("\u{0}"),
        Just("0x"),
        Just("~"),
        Just("@"),
        Just("`"),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

fn reference(name: &str) -> String {
    let toml = include_str!("../../config/reference.toml");
    if name == "c.toml" {
        return toml.to_owned();
    }
    // JSON is YAML too.
    let value: serde_json::Value = toml::from_str(toml).unwrap();
    serde_json::to_string_pretty(&value).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for name in NAMES {
            drop(load_as(name, &bytes));
        }
    }

    #[test]
    fn any_text(text in "\\PC{0,200}") {
        for name in NAMES {
            drop(load_as(name, &text));
        }
    }

    #[test]
    fn any_pieces(text in pieces()) {
        for name in NAMES {
            drop(load_as(name, &text));
        }
    }

    /// The reference with a part of it replaced.
    #[test]
    fn damaged(at in any::<prop::sample::Index>(), length in 0_usize..40, with in pieces()) {
        for name in NAMES {
            let mut characters: Vec<char> = reference(name).chars().collect();
            let start = at.index(characters.len());
            let end = (start + length).min(characters.len());
            characters.splice(start..end, with.chars());
            drop(load_as(name, characters.into_iter().collect::<String>()));
        }
    }
}

#[test]
fn the_reference_is_in_order_in_every_format() {
    for name in NAMES {
        load_as(name, reference(name)).unwrap();
    }
}
