//! The corpora of the fuzz targets, replayed: what fuzzing once found stays found, on any toolchain.
//!
//! `fuzz/README.md` says how they grow. With `STARLING_SEEDS=<folder>` the ignored test writes the seeds that they
//! began with.

#[path = "support/fuzz/mod.rs"]
mod fuzz;
#[path = "support/fuzz/seeds.rs"]
mod seeds;

use std::{
    collections::BTreeSet,
    fs,
    panic::catch_unwind,
    path::{Path, PathBuf},
};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz")
        .join(name)
}

/// The names in a folder, in order.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names: BTreeSet<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.into_iter().collect()
}

#[test]
fn every_input_of_every_corpus_keeps_its_promise() {
    let mut broken = Vec::new();
    for (target, body) in fuzz::TARGETS {
        let corpus = folder("corpus").join(target);
        let inputs = names(&corpus);
        assert!(!inputs.is_empty(), "no corpus in {}", corpus.display());
        for input in inputs {
            let bytes = fs::read(corpus.join(&input)).expect("an input can be read");
            if catch_unwind(|| body(&bytes)).is_err() {
                broken.push(format!("{target}/{input}"));
            }
        }
    }
    assert!(broken.is_empty(), "broken by {broken:?}");
}

#[test]
fn every_target_has_its_binary_and_every_binary_and_corpus_its_target() {
    let targets: Vec<String> = fuzz::TARGETS
        .iter()
        .map(|(target, _)| (*target).to_owned())
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let binaries: Vec<String> = names(&folder("fuzz_targets"))
        .iter()
        .map(|name| name.trim_end_matches(".rs").to_owned())
        .collect();
    assert_eq!(binaries, targets);
    assert_eq!(names(&folder("corpus")), targets);
}

#[test]
fn the_seeds_keep_their_promises() {
    for (target, body) in fuzz::TARGETS {
        let seeds = seeds::of(target);
        assert!(!seeds.is_empty(), "no seeds for {target}");
        for seed in seeds {
            body(&seed);
        }
    }
}

#[test]
fn no_bytes_at_all_keep_their_promise() {
    for (target, body) in fuzz::TARGETS {
        body(&[]);
        assert!(fuzz::body(target).is_some());
    }
}

#[test]
#[ignore = "writes files: STARLING_SEEDS=<folder> cargo test --test corpus -- --ignored"]
fn write_seeds() {
    let folder = std::env::var_os("STARLING_SEEDS").expect("STARLING_SEEDS names a folder");
    for (target, _) in fuzz::TARGETS {
        let corpus = Path::new(&folder).join(target);
        fs::create_dir_all(&corpus).expect("the folder can be made");
        for (index, seed) in seeds::of(target).into_iter().enumerate() {
            let path = corpus.join(format!("seed-{index:02}"));
            fs::write(path, seed).expect("a seed can be written");
        }
    }
}
