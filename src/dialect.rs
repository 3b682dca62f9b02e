//! Which of the two forms of the protocol is spoken.
//!
//! The setting is read at few places, each behind one function: where option words and the macros of a
//! query name are taken, where a finished measurement or a status report becomes its RESULT line, and
//! once for each session behaviour in which the two differ (`controller-protocol` section 10).

use serde::{Deserialize, Serialize};

/// The form of options, result lines and a few session answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// Option words and bytes exactly as the official probe: what a genuine controller receives today.
    #[default]
    Reference,
    /// Option words, defaults, units, spacing and field order as the protocol reference page prints them.
    Starla,
}

impl Dialect {
    /// Both, for tests and for help texts.
    pub const ALL: [Self; 2] = [Self::Reference, Self::Starla];

    /// The word that configuration and flags use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reference => "reference",
            Self::Starla => "starla",
        }
    }
}

impl std::fmt::Display for Dialect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Dialect {
    type Err = UnknownDialect;

    fn from_str(word: &str) -> Result<Self, UnknownDialect> {
        Self::ALL
            .into_iter()
            .find(|dialect| dialect.name() == word)
            .ok_or_else(|| UnknownDialect(word.to_owned()))
    }
}

/// A dialect's name that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown dialect `{0}`: use `reference` or `starla`")]
pub struct UnknownDialect(pub String);
