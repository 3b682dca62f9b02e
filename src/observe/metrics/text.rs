//! The text form of metrics, as Prometheus reads it (its exposition format, version 0.0.4).

use std::fmt::{Display, Write as _};

use super::histogram::Histogram;

/// What the text is served as.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The kind of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only grows, from 0 at the start.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by bounds.
    Histogram,
    /// A sum and a count.
    Summary,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
        }
    }
}

/// Labels of a sample: names and values.
pub(super) type Labels<'a> = &'a [(&'static str, &'a str)];

/// A text that is being written.
#[derive(Debug, Default)]
pub(super) struct Text(String);

impl Text {
    /// All samples of one metric follow. Without any it is left out.
    pub(super) fn metric(&mut self, name: &'static str, kind: Kind, help: &str) -> Metric<'_> {
        let start = self.0.len();
        // Writing to a string does not fail, here and below.
        let _ = write!(
            self.0,
            "# HELP {name} {help}\n# TYPE {name} {}\n",
            kind.name()
        );
        Metric {
            name,
            start,
            samples: self.0.len(),
            text: &mut self.0,
        }
    }

    /// A counter with one sample.
    pub(super) fn counter(&mut self, name: &'static str, help: &str, value: impl Display) {
        self.metric(name, Kind::Counter, help).sample(&[], value);
    }

    /// A gauge with one sample, if there is one.
    pub(super) fn gauge(&mut self, name: &'static str, help: &str, value: Option<impl Display>) {
        let mut metric = self.metric(name, Kind::Gauge, help);
        if let Some(value) = value {
            metric.sample(&[], value);
        }
    }

    pub(super) fn finish(self) -> String {
        self.0
    }
}

/// A metric whose samples are being written.
pub(super) struct Metric<'a> {
    name: &'static str,
    /// Where it begins, and where its samples do.
    start: usize,
    samples: usize,
    text: &'a mut String,
}

impl Metric<'_> {
    pub(super) fn sample(&mut self, labels: Labels<'_>, value: impl Display) {
        self.part("", labels, value);
    }

    /// Count and sum in seconds.
    pub(super) fn summary(&mut self, labels: Labels<'_>, count: u64, sum: f64) {
        self.part("_sum", labels, sum);
        self.part("_count", labels, count);
    }

    pub(super) fn histogram<const N: usize>(
        &mut self,
        labels: Labels<'_>,
        histogram: &Histogram<N>,
    ) {
        let mut bucket = |bound: &str, count: u64| {
            let mut labels = labels.to_vec();
            labels.push(("le", bound));
            self.part("_bucket", &labels, count);
        };
        for (bound, count) in histogram.cumulative() {
            bucket(&bound.to_string(), count);
        }
        bucket("+Inf", histogram.count);
        self.summary(labels, histogram.count, histogram.sum.as_secs_f64());
    }

    fn part(&mut self, end: &str, labels: Labels<'_>, value: impl Display) {
        let _ = write!(self.text, "{}{end}", self.name);
        for (at, (name, value)) in labels.iter().enumerate() {
            let open = if at == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{open}{name}=\"");
            for c in value.chars() {
                match c {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    c => self.text.push(c),
                }
            }
            self.text.push('"');
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }
}

impl Drop for Metric<'_> {
    fn drop(&mut self) {
        if self.text.len() == self.samples {
            self.text.truncate(self.start);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_help_type_and_samples() {
        let mut text = Text::default();
        text.counter("a_total", "A.", 3);
        text.gauge("b_seconds", "B.", Some(0.25));
        text.gauge("c_seconds", "C.", None::<u64>);
        assert_eq!(
            text.finish(),
            "# HELP a_total A.\n# TYPE a_total counter\na_total 3\n\
             # HELP b_seconds B.\n# TYPE b_seconds gauge\nb_seconds 0.25\n"
        );
    }

    #[test]
    fn label_values_are_escaped() {
        let mut text = Text::default();
        text.metric("a", Kind::Gauge, "A.")
            .sample(&[("x", "\\ \" \n"), ("y", "z")], 1);
        assert!(
            text.finish()
                .ends_with("a{x=\"\\\\ \\\" \\n\",y=\"z\"} 1\n")
        );
    }

    #[test]
    fn a_histogram_ends_in_all_of_them() {
        let mut histogram = Histogram::new([5, 500]);
        histogram.add(std::time::Duration::from_millis(250));
        histogram.add(std::time::Duration::from_secs(1));
        let mut text = Text::default();
        text.metric("h_seconds", Kind::Histogram, "H.")
            .histogram(&[("q", "r")], &histogram);
        assert_eq!(
            text.finish(),
            "# HELP h_seconds H.\n# TYPE h_seconds histogram\n\
             h_seconds_bucket{q=\"r\",le=\"0.005\"} 0\n\
             h_seconds_bucket{q=\"r\",le=\"0.5\"} 1\n\
             h_seconds_bucket{q=\"r\",le=\"+Inf\"} 2\n\
             h_seconds_sum{q=\"r\"} 1.25\n\
             h_seconds_count{q=\"r\"} 2\n"
        );
    }
}
