//! The table of latest results that the lab prints: one row a measurement, made from accepted RESULT lines.

use std::{collections::BTreeMap, fmt::Write as _};

use serde_json::Value;

use crate::{dialect::Dialect, measurement::Kind};

/// What is known of one scheduled measurement.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// Its type.
    pub(super) kind: Kind,
    /// Its target as scheduled.
    pub(super) target: String,
    /// Accepted results that measured something.
    pub(super) measured: usize,
    /// Accepted results that hold only errors or losses.
    pub(super) empty: usize,
    /// The latest result, in words.
    pub(super) latest: String,
}

/// All scheduled measurements by number.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    /// The results'.
    dialect: Dialect,
    rows: BTreeMap<u64, Row>,
}

impl Table {
    /// Of results in this dialect.
    pub(super) fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            ..Self::default()
        }
    }

    /// Adds a measurement that is scheduled.
    pub(super) fn schedule(&mut self, id: u64, kind: Kind, target: &str) {
        self.rows.insert(
            id,
            Row {
                kind,
                target: target.to_owned(),
                measured: 0,
                empty: 0,
                latest: "waiting".to_owned(),
            },
        );
    }

    /// Takes in an accepted result of measurement `id`; true if it was one of the scheduled ones.
    pub(super) fn accept(&mut self, id: u64, json: &Value, has_measurement: bool) -> bool {
        let Some(row) = self.rows.get_mut(&id) else {
            return false;
        };
        if has_measurement {
            row.measured += 1;
        } else {
            row.empty += 1;
        }
        row.latest = summary(row.kind, self.dialect, json);
        true
    }

    /// The measurements of which no accepted result measured anything.
    pub(super) fn missing(&self) -> impl Iterator<Item = (u64, &Row)> {
        self.rows
            .iter()
            .filter(|(_, row)| row.measured == 0)
            .map(|(id, row)| (*id, row))
    }

    /// How many measurements are scheduled.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The table as text, columns aligned.
    pub(super) fn render(&self) -> String {
        let header = ["id", "type", "target", "results", "latest"].map(str::to_owned);
        let lines: Vec<[String; 5]> = std::iter::once(header)
            .chain(self.rows.iter().map(|(id, row)| {
                let results = match row.empty {
                    0 => row.measured.to_string(),
                    empty => format!("{} + {empty} empty", row.measured),
                };
                [
                    id.to_string(),
                    row.kind.name().to_owned(),
                    row.target.clone(),
                    results,
                    row.latest.clone(),
                ]
            }))
            .collect();
        let mut widths = [0; 4];
        for line in &lines {
            for (width, cell) in widths.iter_mut().zip(line) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut text = String::new();
        for line in &lines {
            let mut row = String::new();
            for (cell, width) in line.iter().zip(widths) {
                let _ = write!(row, "  {cell:<width$}");
            }
            let _ = writeln!(text, "{row}  {}", line[4]);
        }
        text
    }
}

/// One result in a few words.
fn summary(kind: Kind, dialect: Dialect, json: &Value) -> String {
    if let Some(error) = first_error(json) {
        return error;
    }
    let result = &json["result"];
    match kind {
        Kind::Ping => rtts(result),
        Kind::Traceroute => hops(result),
        Kind::Dns => format!(
            "{}, {} bytes in {}",
            counted(result["ANCOUNT"].as_u64().unwrap_or(0), "answer"),
            result["size"],
            millis(result["rt"].as_f64()),
        ),
        Kind::Http => {
            let first = &result[0];
            format!(
                "status {}, {} bytes in {}",
                first["res"],
                first["bsize"],
                millis(first["rt"].as_f64())
            )
        }
        Kind::Tls => format!(
            "TLS {}, {} in {}",
            json["ver"].as_str().unwrap_or("?"),
            counted(json["cert"].as_array().map_or(0, Vec::len), "certificate"),
            millis(json["rt"].as_f64().map(|rt| match dialect {
                Dialect::Reference => rt,
                Dialect::Starla => rt * 1_000.0,
            })),
        ),
        Kind::Ntp => {
            let item = &result[0];
            format!(
                "stratum {}, offset {} s, rtt {} s",
                json["stratum"], item["offset"], item["rtt"]
            )
        }
    }
}

/// The first error text anywhere in a result.
fn first_error(value: &Value) -> Option<String> {
    match value {
        Value::Object(members) => {
            members
                .iter()
                .find_map(|(name, member)| match (name.as_str(), member) {
                    ("error" | "err" | "dnserr" | "sockerr" | "alert", Value::String(text)) => {
                        Some(text.clone())
                    }
                    ("error" | "alert", Value::Object(_)) => Some(member.to_string()),
                    _ => first_error(member),
                })
        }
        Value::Array(items) => items.iter().find_map(first_error),
        _ => None,
    }
}

fn rtts(result: &Value) -> String {
    let items = result.as_array().map_or(&[][..], Vec::as_slice);
    let rtts: Vec<f64> = items
        .iter()
        .filter(|item| item["dup"].is_null())
        .filter_map(|item| item["rtt"].as_f64())
        .collect();
    let lost = items.iter().filter(|item| item["x"].is_string()).count();
    let sent = rtts.len() + lost;
    if rtts.is_empty() {
        return format!("{lost} of {sent} lost");
    }
    let (mut least, mut most, mut sum) = (f64::INFINITY, 0.0_f64, 0.0);
    for rtt in &rtts {
        least = least.min(*rtt);
        most = most.max(*rtt);
        sum += rtt;
    }
    #[expect(clippy::cast_precision_loss, reason = "a run has few replies")]
    let mean = sum / rtts.len() as f64;
    format!("{least:.3} / {mean:.3} / {most:.3} ms, {lost} of {sent} lost")
}

fn hops(result: &Value) -> String {
    let hops = result.as_array().map_or(&[][..], Vec::as_slice);
    let last = hops
        .last()
        .and_then(|hop| hop["result"].as_array())
        .and_then(|items| items.iter().find(|item| item["from"].is_string()));
    match last {
        Some(item) => format!(
            "{}, {} in {}",
            counted(hops.len(), "hop"),
            item["from"].as_str().unwrap_or("?"),
            millis(item["rtt"].as_f64()),
        ),
        None => format!("{}, the last silent", counted(hops.len(), "hop")),
    }
}

/// A number and what it counts.
fn counted(number: impl TryInto<u64>, what: &str) -> String {
    match number.try_into().unwrap_or(u64::MAX) {
        1 => format!("1 {what}"),
        number => format!("{number} {what}s"),
    }
}

fn millis(value: Option<f64>) -> String {
    value.map_or_else(|| "unknown time".to_owned(), |ms| format!("{ms:.3} ms"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_ping_is_its_extremes_and_its_loss() {
        let json =
            json!({"result": [{"rtt": 1.0}, {"x": "*"}, {"rtt": 3.0}, {"dup": 1, "rtt": 9.0}]});
        assert_eq!(
            summary(Kind::Ping, Dialect::Reference, &json),
            "1.000 / 2.000 / 3.000 ms, 1 of 3 lost"
        );
    }

    #[test]
    fn an_error_is_shown_in_its_own_words() {
        let json = json!({"result": [{"error": "address not allowed"}]});
        let said = summary(Kind::Ping, Dialect::Reference, &json);
        assert_eq!(said, "address not allowed");
    }

    #[test]
    fn a_handshake_takes_milliseconds_in_either_dialect() {
        for (dialect, rt) in [(Dialect::Reference, 1.318), (Dialect::Starla, 0.001_318)] {
            let json = json!({"ver": "1.3", "cert": ["one"], "rt": rt});
            let said = summary(Kind::Tls, dialect, &json);
            assert_eq!(said, "TLS 1.3, 1 certificate in 1.318 ms");
        }
    }

    #[test]
    fn a_measurement_is_missing_until_it_measured_something() {
        let mut table = Table::default();
        table.schedule(1, Kind::Ping, "127.0.0.1");
        assert!(table.accept(1, &json!({"result": [{"x": "*"}]}), false));
        assert_eq!(table.missing().count(), 1);
        assert!(table.accept(1, &json!({"result": [{"rtt": 0.1}]}), true));
        assert_eq!(table.missing().count(), 0);
        assert!(!table.accept(2, &json!({}), true));
        assert!(table.render().contains("1 + 1 empty"), "{}", table.render());
    }
}
