//! The recorded vectors of the official probe (`replay-vectors`), and constructed ones (`tests/recordings`), through the
//! library.

use std::{
    fs,
    path::{Path, PathBuf},
};

use starling::{
    dialect::Dialect,
    measurement::{Kind, Rules, Spec, Version},
    net::recording,
    result::Document,
};

/// Replays every vector and prints a line a tool. Whether none failed.
pub(crate) fn run() -> bool {
    let directory = directory();
    match all(&directory) {
        Ok((passed, failed)) => {
            println!("vectors: {passed} passed, {failed} failed");
            failed == 0
        }
        Err(error) => {
            println!("#######################################################################");
            println!("NO VECTORS at {}: {error}", directory.display());
            println!("Nothing was replayed. Set STARLING_VECTORS to the directory with index.tsv.");
            println!("#######################################################################");
            println!("vectors: 0 passed, 0 failed");
            true
        }
    }
}

/// The same with those of our own making, which are always there.
pub(crate) fn run_constructed() -> bool {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings");
    match all(&directory) {
        Ok((passed, failed)) => {
            println!("constructed: {passed} passed, {failed} failed");
            failed == 0 && passed > 0
        }
        Err(error) => {
            println!("{}: {error}", directory.display());
            false
        }
    }
}

/// Replays what the index of a directory names; how many passed and failed.
fn all(directory: &Path) -> std::io::Result<(usize, usize)> {
    let index = fs::read_to_string(directory.join("index.tsv"))?;
    let vectors: Vec<Vector> = index
        .lines()
        .skip(1)
        .filter(|line| !line.is_empty())
        .map(|line| Vector::new(line, directory))
        .collect();
    let mut tools: Vec<&str> = Vec::new();
    for vector in &vectors {
        if !tools.contains(&vector.tool.as_str()) {
            tools.push(&vector.tool);
        }
    }
    let (mut passed, mut failed) = (0, 0);
    for tool in tools {
        let of_tool = vectors.iter().filter(|vector| vector.tool == tool);
        let count = Count::of(of_tool);
        println!(
            "{tool}: {} passed, {} failed, {} skipped",
            count.passed,
            count.failures.len(),
            count.skipped
        );
        count
            .failures
            .iter()
            .for_each(|failure| println!("{failure}"));
        passed += count.passed;
        failed += count.failures.len();
    }
    Ok((passed, failed))
}

fn directory() -> PathBuf {
    std::env::var_os("STARLING_VECTORS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/vectors"),
        PathBuf::from,
    )
}

#[derive(Default)]
struct Count {
    passed: usize,
    skipped: usize,
    failures: Vec<String>,
}

impl Count {
    fn of<'a>(vectors: impl Iterator<Item = &'a Vector>) -> Self {
        let mut count = Self::default();
        for vector in vectors {
            match vector.check() {
                Verdict::Passed => count.passed += 1,
                Verdict::Skipped => count.skipped += 1,
                Verdict::Failed(why) => {
                    let Vector { tool, stem, .. } = vector;
                    count.failures.push(format!("  {tool}/{stem}: {why}"));
                }
            }
        }
        count
    }
}

enum Verdict {
    Passed,
    Skipped,
    Failed(String),
}

/// One line of `index.tsv`.
struct Vector {
    tool: String,
    stem: String,
    options: String,
    target: String,
    directory: PathBuf,
}

impl Vector {
    fn new(line: &str, directory: &Path) -> Self {
        let mut columns = line.split('\t').map(str::to_owned);
        let mut column = || columns.next().unwrap_or_default();
        let (tool, stem, options, target) = (column(), column(), column(), column());
        Self {
            directory: directory.join(&tool),
            tool,
            stem,
            options,
            target,
        }
    }

    fn check(&self) -> Verdict {
        match Kind::from_verb(&self.tool) {
            Some(_) => match self.differs() {
                Ok(None) => Verdict::Passed,
                Ok(Some(why)) | Err(why) => Verdict::Failed(why),
            },
            None => Verdict::Skipped,
        }
    }

    /// The first difference to what is expected.
    fn differs(&self) -> Result<Option<String>, String> {
        let recorded = self.file("net")?;
        let expected = String::from_utf8_lossy(&self.file("out")?).into_owned();
        let printed = self.replay(&recorded)?;
        Ok(match self.tool.as_str() {
            "evntp" => ntp_difference(&expected, &printed),
            _ => difference(&expected, &printed),
        })
    }

    fn file(&self, extension: &str) -> Result<Vec<u8>, String> {
        let path = self.directory.join(format!("{}.{extension}", self.stem));
        fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// What is printed when the command runs on the recording in the test environment: `ATLAS_TESTS`,
    /// `ATLAS_UNSAFE`.
    fn replay(&self, recorded: &[u8]) -> Result<String, String> {
        let rules = Rules {
            dialect: Dialect::Reference,
            spool: PathBuf::from("/nonexistent"),
            unsafe_paths: true,
        };
        let words: Vec<&str> = [self.tool.as_str()]
            .into_iter()
            .chain(self.options.split_whitespace())
            .chain(Some(self.target.as_str()).filter(|target| !target.is_empty()))
            .collect();
        let spec = Spec::parse(&words, &rules).map_err(|error| error.to_string())?;
        let outcome = recording::replay(&spec, recorded, recording::test_clock())
            .map_err(|error| error.to_string())?;
        let head = spec.head(&Version::of_tests());
        Ok(outcome
            .bodies
            .into_iter()
            .map(|body| {
                let head = head.clone();
                Document { head, body }.line(Dialect::Reference)
            })
            .collect())
    }
}

/// Where two texts begin to differ, with some of what stands there.
fn difference(expected: &str, printed: &str) -> Option<String> {
    if expected == printed {
        return None;
    }
    let same = expected
        .char_indices()
        .zip(printed.chars())
        .take_while(|((_, a), b)| a == b)
        .map(|((at, a), _)| at + a.len_utf8())
        .last()
        .unwrap_or(0);
    let from = expected.floor_char_boundary(same.saturating_sub(40));
    let shown = |text: &str| {
        let to = text.floor_char_boundary((same + 80).min(text.len()));
        text.get(from..to)
            .unwrap_or(text)
            .escape_debug()
            .to_string()
    };
    Some(format!(
        "differs at octet {same}\n    expected …{}\n    printed  …{}",
        shown(expected),
        shown(printed)
    ))
}

/// Like [`difference`] but for `offset`: the vectors hold it with the opposite sign of RFC 5905, so ours must be
/// the negation, within one unit of the last digit.
fn ntp_difference(expected: &str, printed: &str) -> Option<String> {
    let (expected, expected_offsets) = take_offsets(expected);
    let (printed, offsets) = take_offsets(printed);
    if let Some(why) = difference(&expected, &printed) {
        return Some(why);
    }
    for (theirs, ours) in expected_offsets.iter().zip(&offsets) {
        let unit = micros(theirs).zip(micros(ours));
        if unit.is_none_or(|(theirs, ours)| (theirs + ours).abs() > 1) {
            return Some(format!("offset {ours} is not the negation of {theirs}"));
        }
    }
    None
}

/// The text with a mark for each offset, and the offsets. Their number is then the same if the texts are.
fn take_offsets(text: &str) -> (String, Vec<String>) {
    const MEMBER: &str = "\"offset\": ";
    let mut parts = text.split(MEMBER);
    let mut rest = parts.next().unwrap_or_default().to_owned();
    let mut offsets = Vec::new();
    for part in parts {
        let end = part
            .find(|c: char| !matches!(c, '0'..='9' | '.' | '-'))
            .unwrap_or(part.len());
        offsets.push(part[..end].to_owned());
        rest += MEMBER;
        rest += "#";
        rest += &part[end..];
    }
    (rest, offsets)
}

/// A number with six decimals in millionths.
fn micros(number: &str) -> Option<i64> {
    let (whole, decimals) = number.split_once('.')?;
    (decimals.len() == 6)
        .then(|| format!("{whole}{decimals}").parse().ok())
        .flatten()
}
