//! One post over one stream.

/// Why a post got no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PostError {
    /// The tunnel would not open a channel.
    #[error("no channel to the controller: {0}")]
    Open(String),
    /// The channel broke or ended before the answer was complete.
    #[error("the controller hung up: {0}")]
    Broken(String),
    /// The answer did not come in time.
    #[error("no answer within {0} s")]
    TimedOut(u64),
    /// The answer is no HTTP.
    #[error("not an HTTP answer: {0}")]
    NotHttp(String),
}
