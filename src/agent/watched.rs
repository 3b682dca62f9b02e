//! What is noted of a run while it takes place.

use std::{
    fmt::{self, Display, Formatter},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use crate::{
    measurement::{Input, Output, Seen, dns},
    net::{Event, Precision},
};

/// Watches one run.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Where repeats of a query are counted as they are made; each server of a resolver file has its own.
    pub(super) repeats: Option<Arc<AtomicU32>>,
    /// For the debug log.
    pub(super) times: Times,
}

impl Watch {
    pub(super) fn see(&mut self, event: &Event<'_>) {
        match event {
            Event::In {
                precision,
                input:
                    Input::Stamped { .. }
                    | Input::Datagram { .. }
                    | Input::Connected { .. }
                    | Input::Readable { .. },
                ..
            } => self.times.count(*precision),
            Event::Out {
                output: Output::Seen(Seen::Dns(seen)),
                ..
            } => self.count_repeat(seen),
            _ => {}
        }
    }

    fn count_repeat(&self, seen: &dns::Seen) {
        let made = match seen {
            dns::Seen::Repeat(made) => *made,
            dns::Seen::Entry(_) => 0,
        };
        if let Some(repeats) = &self.repeats {
            repeats.store(made, Ordering::Relaxed);
        }
    }
}

/// Whose times those of a run's packets are, and how many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Times {
    card: u32,
    kernel: u32,
    process: u32,
}

impl Times {
    const fn count(&mut self, precision: Precision) {
        let of = match precision {
            Precision::Card => &mut self.card,
            Precision::Kernel => &mut self.kernel,
            Precision::Process => &mut self.process,
        };
        *of = of.saturating_add(1);
    }
}

impl Display for Times {
    fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
        let Self {
            card,
            kernel,
            process,
        } = self;
        write!(to, "{card} card, {kernel} kernel, {process} process")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::{Now, Tick, UnixTime},
        measurement::machine::Handle,
    };

    #[test]
    fn repeats_are_those_of_the_server_whose_turn_it_is() {
        let repeats = Arc::<AtomicU32>::default();
        let mut watch = Watch {
            repeats: Some(Arc::clone(&repeats)),
            ..Watch::default()
        };
        let mut told = |seen| {
            let output = Output::Seen(Seen::Dns(seen));
            watch.see(&Event::Out {
                at: Tick::default(),
                output: &output,
            });
            repeats.load(Ordering::Relaxed)
        };
        assert_eq!(told(dns::Seen::Repeat(1)), 1);
        assert_eq!(told(dns::Seen::Repeat(2)), 2);
        assert_eq!(told(dns::Seen::Entry(Box::default())), 0);
        assert_eq!(told(dns::Seen::Repeat(1)), 1);
    }

    #[test]
    fn times_of_packets_are_told_apart_by_who_took_them() {
        let mut watch = Watch::default();
        let at = Now::new(Tick::default(), UnixTime::from_secs(1), -1);
        let stamped = Input::Stamped {
            on: Handle(0),
            tag: 0,
        };
        for (precision, input) in [
            (Precision::Kernel, &stamped),
            (Precision::Kernel, &stamped),
            (Precision::Process, &stamped),
            (Precision::Card, &stamped),
            (Precision::Process, &Input::Deadline),
        ] {
            watch.see(&Event::In {
                at: &at,
                precision,
                input,
            });
        }
        assert_eq!(watch.times.to_string(), "1 card, 2 kernel, 1 process");
    }
}
