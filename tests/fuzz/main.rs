//! What decoders make of hostile bytes: the properties that the targets of `fuzz/` look for for hours, here for a minute, over seeds
//! and mutants of them. `docs/reliability.md` tells of both.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    dead_code,
    unreachable_pub
)]

mod found;
mod mutator;
mod properties;
mod seeds;

use std::{env, fs, panic, path::Path};

use mutator::Mutator;

/// Checks seeds and so many mutants.
fn run(target: &str, check: fn(&[u8]), seeds: &[Vec<u8>], mutants: usize) {
    let verify = |bytes: &[u8]| {
        let result = panic::catch_unwind(|| check(bytes));
        if let Err(failure) = result {
            eprintln!("{target}: {}", hex::encode(bytes));
            panic::resume_unwind(failure);
        }
    };
    for seed in seeds {
        verify(seed);
    }
    let mut mutator = Mutator::new(seeds);
    (0..mutants).for_each(|_| verify(&mutator.next()));
}

/// Seeds of every target; where `fuzz/run` sets the variable, it gets them for libFuzzer.
fn store(target: &str, seeds: &[Vec<u8>]) {
    assert!(seeds.len() > 3 && seeds.iter().all(|seed| seed.len() < 1 << 16), "{target}");
    let Some(corpus) = env::var_os("FUZZ_CORPUS") else { return };
    let folder = Path::new(&corpus).join(target);
    fs::create_dir_all(&folder).unwrap();
    for (number, seed) in seeds.iter().enumerate() {
        fs::write(folder.join(format!("seed-{number}")), seed).unwrap();
    }
}

macro_rules! targets {
    ($($target:ident: $mutants:literal),* $(,)?) => {
        const TARGETS: &[&str] = &[$(stringify!($target)),*];

        #[test]
        fn seeds_exist() {
            $(store(stringify!($target), &seeds::$target());)*
        }
        $(
            #[test]
            fn $target() {
                run(stringify!($target), properties::$target::check, &seeds::$target(), $mutants);
            }
        )*
    };
}

targets! {
    admin: 10_000,
    configuration: 12_000,
    copy_data: 500_000,
    external_term: 60_000,
    pgoutput: 300_000,
    pipeline: 40_000,
    server: 12_000,
    thrift: 150_000,
}

/// A property that nothing fuzzes, and a target that cargo-fuzz does not know, would be forgotten in silence.
#[test]
fn every_property_is_a_target_of_cargo_fuzz() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let names = |folder: &str| {
        let files = fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().path());
        let mut names: Vec<_> = files
            .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
            .filter(|name| name != "mod")
            .collect();
        names.sort();
        names
    };
    assert_eq!(names("tests/fuzz/properties"), TARGETS);
    assert_eq!(names("fuzz/fuzz_targets"), TARGETS);
    let manifest = fs::read_to_string(root.join("fuzz/Cargo.toml")).unwrap();
    for target in TARGETS {
        let source = fs::read_to_string(root.join(format!("fuzz/fuzz_targets/{target}.rs"))).unwrap();
        assert!(source.contains(&format!("properties::{target}::check")), "{source}");
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{target}.rs\"")), "{target}");
    }
}
