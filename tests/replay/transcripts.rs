//! Our own transcripts: `tests/transcripts/<kind>/*.transcript`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use starling::measurement::transcript;

/// Replays every transcript. Whether none failed.
///
/// `UPDATE=1` rewrites those that differ. They count as failed all the same: the difference wants to be read, and
/// the next run passes.
pub(crate) fn run() -> bool {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let update = std::env::var("UPDATE").is_ok_and(|value| value == "1");
    let paths = match transcripts(&directory) {
        Ok(paths) => paths,
        Err(error) => {
            println!("{}: {error}", directory.display());
            println!("transcripts: 0 passed, 1 failed");
            return false;
        }
    };
    let (mut passed, mut failed) = (0, 0);
    for path in &paths {
        match check(path, update) {
            Ok(()) => passed += 1,
            Err(why) => {
                failed += 1;
                let name = path.strip_prefix(&directory).unwrap_or(path);
                println!("  {}: {why}", name.display());
            }
        }
    }
    println!("transcripts: {passed} passed, {failed} failed");
    failed == 0
}

/// All transcripts, in the order of their names.
fn transcripts(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for kind in fs::read_dir(directory)? {
        let kind = kind?.path();
        if kind.is_dir() {
            for file in fs::read_dir(kind)? {
                let file = file?.path();
                if file.extension().is_some_and(|name| name == "transcript") {
                    paths.push(file);
                }
            }
        }
    }
    paths.sort();
    Ok(paths)
}

fn check(path: &Path, update: bool) -> Result<(), String> {
    let expected = fs::read_to_string(path).map_err(|error| error.to_string())?;
    let replayed = transcript::replay(&expected).map_err(|error| error.to_string())?;
    let Some(difference) = difference(&expected, &replayed) else {
        return Ok(());
    };
    if !update {
        return Err(difference);
    }
    fs::write(path, &replayed).map_err(|error| error.to_string())?;
    Err(format!("rewritten, review it: {difference}"))
}

/// The first line in which two transcripts differ.
fn difference(expected: &str, replayed: &str) -> Option<String> {
    if expected == replayed {
        return None;
    }
    let mut lines = (1..).zip(expected.lines().map(Some).chain(std::iter::repeat(None)));
    let mut replayed = replayed.lines().map(Some).chain(std::iter::repeat(None));
    let (number, expected, replayed) = lines.find_map(|(number, expected)| {
        let replayed = replayed.next().flatten();
        let ended = expected.is_none() && replayed.is_none();
        (expected != replayed || ended).then_some((number, expected, replayed))
    })?;
    let shown = |line: Option<&str>| line.unwrap_or("(nothing)").to_owned();
    Some(format!(
        "line {number}\n    expected {}\n    replayed {}",
        shown(expected),
        shown(replayed)
    ))
}
