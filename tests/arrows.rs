//! Who may use whom: the module map of `src/lib.rs`, held.
//!
//! A new arrow is a line in this table, and so a line in review, rather than an accident.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Module, and what it may import. `clock` and `dialect` are values that everybody may hold.
const ARROWS: &[(&str, &[&str])] = &[
    ("calendar", &[]),
    ("clock", &[]),
    ("dialect", &[]),
    ("wire", &["calendar"]),
    ("protocol", &["calendar", "dialect"]),
    ("measurement", &["clock", "dialect", "wire"]),
    ("result", &["dialect", "measurement"]),
    ("report", &["clock", "dialect"]),
    ("schedule", &["clock", "measurement"]),
    ("config", &["dialect"]),
    ("key", &[]),
    ("observe", &["clock", "config"]),
    (
        "net",
        &["clock", "dialect", "measurement", "observe", "wire"],
    ),
    (
        "session",
        &["clock", "dialect", "key", "measurement", "net", "protocol"],
    ),
    ("spool", &["clock"]),
    (
        "upload",
        &["clock", "dialect", "protocol", "session", "spool"],
    ),
    (
        "agent",
        &[
            "clock",
            "config",
            "dialect",
            "key",
            "measurement",
            "net",
            "observe",
            "protocol",
            "report",
            "result",
            "schedule",
            "session",
            "spool",
            "upload",
        ],
    ),
    ("controller", &["calendar", "clock", "protocol", "result"]),
    (
        "cli",
        &[
            "agent",
            "calendar",
            "clock",
            "config",
            "controller",
            "dialect",
            "key",
            "measurement",
            "net",
            "observe",
            "result",
            "session",
            "wire",
        ],
    ),
];

#[test]
fn every_import_is_an_arrow_of_the_map() {
    let allowed: BTreeMap<&str, BTreeSet<&str>> = ARROWS
        .iter()
        .map(|(module, uses)| (*module, uses.iter().copied().collect()))
        .collect();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    let mut files = 0;
    for file in rust_files(&source) {
        let module = top_module(&source, &file);
        if ["main", "lib"].contains(&module.as_str()) {
            continue;
        }
        files += 1;
        let uses = allowed
            .get(module.as_str())
            .unwrap_or_else(|| panic!("module `{module}` is not in the map"));
        let text = fs::read_to_string(&file).expect("a source file can be read");
        for used in imports(&text) {
            if used != module && !uses.contains(used.as_str()) {
                wrong.push(format!("{} uses `{used}`", file.display()));
            }
        }
    }
    assert!(files > 10, "only {files} source files were found");
    assert!(
        wrong.is_empty(),
        "arrows that the map does not have:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn every_arrow_of_the_map_is_an_import() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut used: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in rust_files(&source) {
        let text = fs::read_to_string(&file).expect("a source file can be read");
        let uses = used.entry(top_module(&source, &file)).or_default();
        uses.extend(imports(&text));
    }
    let idle: Vec<String> = ARROWS
        .iter()
        .flat_map(|(module, uses)| uses.iter().map(move |used| (*module, *used)))
        .filter(|(module, name)| !used.get(*module).is_some_and(|names| names.contains(*name)))
        .map(|(module, name)| format!("{module} has no use of `{name}`"))
        .collect();
    assert!(
        idle.is_empty(),
        "arrows that nothing follows:\n{}",
        idle.join("\n")
    );
}

#[test]
fn the_reader_sees_plain_and_grouped_imports() {
    let text = "use crate::clock::Now;\nuse crate::{\n    net::{Net, policy},\n    wire,\n};\nfn f() { crate::key::g() } // crate::comment";
    let expected = ["clock", "key", "net", "wire"].map(str::to_owned);
    assert_eq!(imports(text), BTreeSet::from(expected));
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("the source folder can be listed") {
        let path = entry.expect("an entry can be read").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") && !is_test(&path) {
            files.push(path);
        }
    }
    files
}

/// Tests look at whatever shows that the code is right.
fn is_test(path: &Path) -> bool {
    let in_folder = path
        .parent()
        .and_then(Path::file_name)
        .is_some_and(|folder| folder == "tests");
    in_folder
        || path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .is_some_and(|stem| stem == "tests" || stem.ends_with("_tests"))
}

fn top_module(source: &Path, file: &Path) -> String {
    let first = file
        .strip_prefix(source)
        .expect("the file lies below the source folder")
        .components()
        .next()
        .expect("a file has a name");
    let name = first.as_os_str().to_string_lossy();
    name.trim_end_matches(".rs").to_owned()
}

/// The top modules named after `crate::`, comments left out.
fn imports(text: &str) -> BTreeSet<String> {
    let code: String = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or("").to_owned() + "\n")
        .collect();
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut word = String::new();
            let mut first = true;
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => first = true,
                    _ => {}
                }
                if depth == 0 && first {
                    if c.is_alphanumeric() || c == '_' {
                        word.push(c);
                    } else if !word.is_empty() {
                        found.insert(std::mem::take(&mut word));
                        first = false;
                    }
                }
            }
            if !word.is_empty() {
                found.insert(word);
            }
        } else {
            let word: String = rest
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            if !word.is_empty() {
                found.insert(word);
            }
        }
    }
    found
}
