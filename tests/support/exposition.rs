//! A strict reader of Prometheus's text format, which is also a judge of names: what it refuses, it says.

use std::collections::{BTreeMap, BTreeSet};

/// A page of metrics.
#[derive(Debug, Default)]
pub(crate) struct Exposition {
    /// Type by name.
    types: BTreeMap<String, String>,
    /// Values by name and labels.
    samples: BTreeMap<(String, Labels), f64>,
}

type Labels = BTreeMap<String, String>;

impl Exposition {
    /// Reads a page; panics where it breaks the format or the conventions for names.
    pub(crate) fn read(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line has an end");
        let mut page = Self::default();
        let mut helped: Option<&str> = None;
        let mut current: Option<&str> = None;
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect("help has words");
                assert!(help.ends_with('.') && !help.contains('\\'), "{line}");
                assert!(!page.types.contains_key(name), "{name} comes twice");
                helped = Some(name);
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a type has a name");
                assert_eq!(helped, Some(name), "help comes before the type");
                assert!(
                    ["counter", "gauge", "histogram", "summary"].contains(&kind),
                    "{line}"
                );
                judge(name, kind);
                page.types.insert(name.to_owned(), kind.to_owned());
                current = Some(name);
            } else {
                let current = current.expect("a type comes before samples");
                let (sample, labels, value) = sample(line);
                let end = sample
                    .strip_prefix(current)
                    .unwrap_or_else(|| panic!("{line} does not belong to {current}"));
                let ends: &[&str] = match page.types[current].as_str() {
                    "histogram" => &["_bucket", "_sum", "_count"],
                    "summary" => &["_sum", "_count"],
                    _ => &[""],
                };
                assert!(ends.contains(&end), "{line}");
                assert_eq!(labels.contains_key("le"), end == "_bucket", "{line}");
                let twin = page.samples.insert((sample, labels), value);
                assert_eq!(twin, None, "{line} comes twice");
            }
        }
        page.check_histograms();
        page.check_types_are_used();
        page
    }

    /// The value of a sample; panics if there is none.
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.find(name, labels)
            .unwrap_or_else(|| panic!("no {name} {labels:?} among {:#?}", self.samples.keys()))
    }

    /// The value of a sample, if there is one.
    pub(crate) fn find(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        self.samples.get(&(name.to_owned(), labels)).copied()
    }

    /// The names of all metrics.
    pub(crate) fn names(&self) -> BTreeSet<&str> {
        self.types.keys().map(String::as_str).collect()
    }

    fn check_types_are_used(&self) {
        for name in self.types.keys() {
            let used = self
                .samples
                .keys()
                .any(|(sample, _)| sample.starts_with(name.as_str()));
            assert!(used, "{name} has no sample");
        }
    }

    /// Buckets ascend, and the last one holds all.
    fn check_histograms(&self) {
        let mut buckets: BTreeMap<(String, Labels), Vec<(f64, f64)>> = BTreeMap::new();
        for ((name, labels), value) in &self.samples {
            if let Some(name) = name.strip_suffix("_bucket") {
                let mut labels = labels.clone();
                let bound = number(&labels.remove("le").expect("a bucket has a bound"));
                buckets
                    .entry((name.to_owned(), labels))
                    .or_default()
                    .push((bound, *value));
            }
        }
        for ((name, labels), mut bounds) in buckets {
            bounds.sort_by(|a, b| a.0.total_cmp(&b.0));
            assert!(
                bounds.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1),
                "{name}"
            );
            let (bound, all) = bounds[bounds.len() - 1];
            let count = self.samples[&(format!("{name}_count"), labels.clone())];
            assert!(bound.is_infinite() && all == count, "{name}");
            assert!(self.samples.contains_key(&(format!("{name}_sum"), labels)));
        }
    }
}

/// The conventions: our prefix, base units, `_total` for counters and for nothing else.
fn judge(name: &str, kind: &str) {
    assert!(is_name(name), "{name}");
    assert!(
        name.starts_with("starling_") || name.starts_with("process_"),
        "{name}"
    );
    assert_eq!(name.ends_with("_total"), kind == "counter", "{name} {kind}");
    if ["histogram", "summary"].contains(&kind) {
        assert!(
            name.ends_with("_seconds") || name.ends_with("_bytes"),
            "{name}"
        );
    }
    for odd in [
        "_ms",
        "_millis",
        "_kb",
        "_minutes",
        "_percent",
        "_microseconds",
    ] {
        assert!(!name.contains(odd), "{name} is not in base units");
    }
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// Name, labels and value of a line.
fn sample(line: &str) -> (String, Labels, f64) {
    let end = line.find(['{', ' ']).expect("a sample has a value");
    let (name, mut rest) = line.split_at(end);
    assert!(is_name(name), "{line}");
    let mut labels = Labels::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, after) = rest.split_once("=\"").expect("a label has a value");
            assert!(is_name(label), "{line}");
            let (value, after) = quoted(after);
            assert_eq!(labels.insert(label.to_owned(), value), None, "{line}");
            if let Some(after) = after.strip_prefix(',') {
                rest = after;
            } else {
                rest = after.strip_prefix('}').expect("labels end");
                break;
            }
        }
    }
    let value = rest.strip_prefix(' ').expect("a space before the value");
    assert!(!value.contains(' '), "no time stamps: {line}");
    (name.to_owned(), labels, number(value))
}

/// The text up to the closing quote, and what follows it.
fn quoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => match chars.next().expect("something is escaped").1 {
                'n' => value.push('\n'),
                c @ ('\\' | '"') => value.push(c),
                c => panic!("\\{c} is no escape"),
            },
            c => value.push(c),
        }
    }
    panic!("the label's value has no end: {text}");
}

fn number(text: &str) -> f64 {
    match text {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        "NaN" => f64::NAN,
        text => {
            assert!(!text.to_ascii_lowercase().contains("inf"), "{text}");
            text.parse()
                .unwrap_or_else(|_| panic!("`{text}` is no number"))
        }
    }
}
