//! Tells the controller when the resolver's file was read anew (`controller-protocol` section 7.2, `dns-measurement`
//! section 6).
//!
//! The resolver reads the file whenever it has changed, so that no name is ever asked for at a server of yesterday. This
//! only looks whether it has, as often as the recurring scheduler of the official probe does.

use std::time::Duration;

use super::Agent;
use crate::{
    net::resolver::{Loaded, Look},
    report::lines::Runner,
    upload::Queue,
};

/// How often the file is looked at.
const EVERY: Duration = Duration::from_secs(60);

/// What is known of the file.
#[derive(Debug, Default)]
pub(super) struct ResolverFile(Option<Look>);

impl ResolverFile {
    /// Takes note of how the file stands; `Some` if that is to be told: a change, or that it is of no use from the start.
    pub(super) fn note(&mut self, look: Look) -> Option<Loaded> {
        let before = self.0.replace(look);
        let is_news = match before {
            Some(before) => before.modified != look.modified,
            None => look.loaded != Loaded::Well,
        };
        is_news.then_some(look.loaded)
    }
}

impl Agent {
    pub(super) async fn look_at_resolver_file(&mut self) {
        self.next_look = self.clock.instant(self.clock.tick() + EVERY).into();
        let net = self.net.clone();
        let look = tokio::task::spawn_blocking(move || net.look_at_resolver_file()).await;
        let Some(loaded) = look.ok().and_then(|look| self.resolver_file.note(look)) else {
            return;
        };
        tracing::info!("the resolver's file was read: {loaded}");
        for (queue, runner) in [
            (Queue::Periodic, Runner::Periodic),
            (Queue::OneOff, Runner::OneOff),
        ] {
            let line = self.status.resolver_loaded(runner, loaded);
            self.keep(queue, line).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn look(modified: Option<u64>, loaded: Loaded) -> Look {
        Look {
            modified: modified.map(|at| SystemTime::UNIX_EPOCH + Duration::from_secs(at)),
            loaded,
        }
    }

    #[test]
    fn a_change_is_told_once_and_the_first_look_only_if_it_failed() {
        let mut file = ResolverFile::default();
        assert_eq!(file.note(look(Some(1), Loaded::Well)), None);
        assert_eq!(file.note(look(Some(1), Loaded::Well)), None);
        let changed = look(Some(2), Loaded::Well);
        assert_eq!(file.note(changed), Some(Loaded::Well));
        assert_eq!(file.note(changed), None);
        let gone = look(None, Loaded::Unreadable);
        assert_eq!(file.note(gone), Some(Loaded::Unreadable));
        assert_eq!(file.note(gone), None);
        assert_eq!(
            file.note(look(Some(1), Loaded::NoServer)),
            Some(Loaded::NoServer)
        );
        for first in [Loaded::NoServer, Loaded::Unreadable] {
            let mut file = ResolverFile::default();
            assert_eq!(file.note(look(None, first)), Some(first));
            assert_eq!(file.note(look(None, first)), None);
        }
    }
}
