//! Reported minus captured, how that is distributed, and how it is printed.

/// Errors of one kind, in microseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Errors {
    pub(crate) micros: Vec<f64>,
    /// What was answered on the wire and is reported as lost.
    pub(crate) missed: usize,
    /// What cannot be compared: report and tap do not agree how much there was, or no reply came.
    pub(crate) apart: usize,
}

impl Errors {
    pub(crate) const fn seen(&self) -> usize {
        self.micros.len() + self.missed + self.apart
    }

    /// Adds one figure as it was reported and as it was captured, in microseconds.
    pub(crate) fn add(&mut self, reported: Option<f64>, captured: Option<f64>) {
        match (reported, captured) {
            (Some(reported), Some(captured)) => self.micros.push(reported - captured),
            (None, Some(_)) => self.missed += 1,
            (_, None) => self.apart += 1,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "seconds in nanoseconds fit")]
pub(crate) fn micros(nanos: i64) -> f64 {
    nanos as f64 / 1e3
}

/// The first lines of a table of errors; `count` names what is counted in it.
pub(crate) fn heading(title: &str, count: &str) {
    println!("\n{title}");
    println!(
        "{:<26}{count:>8}{:>9}{:>9}{:>9}{:>9}{:>9}{:>8}{:>7}",
        "", "median", "p95", "p99", "max", "min", "missed", "apart"
    );
}

/// One line of it.
pub(crate) fn row(name: &str, errors: &Errors) {
    let mut signed = errors.micros.clone();
    signed.sort_by(f64::total_cmp);
    // How far off, whichever way.
    let mut off: Vec<f64> = signed.iter().map(|error| error.abs()).collect();
    off.sort_by(f64::total_cmp);
    println!(
        "{name:<26}{:>8}{:>9}{:>9}{:>9}{:>9}{:>9}{:>8}{:>7}",
        signed.len(),
        quantile(&signed, 50),
        quantile(&off, 95),
        quantile(&off, 99),
        quantile(&signed, 100),
        quantile(&signed, 0),
        errors.missed,
        errors.apart,
    );
}

/// The value that `percent` of all do not exceed (nearest rank).
pub(crate) fn quantile(sorted: &[f64], percent: usize) -> String {
    let rank = (sorted.len() * percent).div_ceil(100);
    let value = sorted.get(rank.saturating_sub(1));
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"))
}

/// What was run where.
pub(crate) fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, name)| name);
    let count = cpus
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    let kernel = read("/proc/sys/kernel/osrelease");
    format!(
        "{count} x {model}, Linux {}, load before: {}",
        kernel.trim(),
        read("/proc/loadavg").split(' ').next().unwrap_or("?")
    )
}
