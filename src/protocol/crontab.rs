//! The lines of a table (`controller-protocol` section 5.1).

/// How a run's offset from its slot is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Distribution {
    /// Uniform in `[0, n] - n/2` whole seconds plus a fraction of one.
    Uniform(u32),
    /// None.
    None,
}

/// One line: what runs when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CronLine {
    /// Seconds between runs; 0 runs once, at once.
    pub interval: u32,
    /// Phase of the grid, seconds since the epoch.
    pub start: i64,
    /// No run after it, seconds since the epoch; `None` (0 in the text) for no end.
    pub end: Option<i64>,
    /// Offset.
    pub distribution: Distribution,
    /// The command, as sent.
    pub command: String,
}

/// Why a line is skipped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CronLineError {
    /// Fewer than six fields.
    #[error("fewer than six fields")]
    Fields,
}

impl CronLine {
    /// Reads one line, without comments and joins.
    ///
    /// # Errors
    /// Why it is skipped.
    pub fn parse(_text: &str) -> Result<Self, CronLineError> {
        todo!()
    }
}

impl std::fmt::Display for CronLine {
    fn fmt(&self, _f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        todo!()
    }
}

/// A table as read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Crontab {
    /// The good lines.
    pub lines: Vec<CronLine>,
    /// The others and why.
    pub skipped: Vec<(String, CronLineError)>,
}

impl Crontab {
    /// Reads the lines of a table: comments, joins, MAILTO, the line limit.
    #[must_use]
    pub fn parse<S: AsRef<str>>(_lines: &[S]) -> Self {
        todo!()
    }
}
