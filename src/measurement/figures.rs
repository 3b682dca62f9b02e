//! A result in a few numbers that mean the same for every type: what metrics are made of.

use super::{Body, http, ntp, ping, tls, traceroute};

/// What one result says of its target.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// What wanted an answer: echo requests, queries, handshakes, pages; a whole traceroute is one. What could not even be
    /// sent counts.
    pub requests: u64,
    /// How many of them got one from the target.
    pub answered: u64,
    /// The sum of the answers' round-trip times, in seconds.
    pub rtt_sum: f64,
    /// The shortest of these, in seconds.
    pub rtt_min: Option<f64>,
}

impl Figures {
    fn answer(&mut self, seconds: f64) {
        self.requests += 1;
        self.answered += 1;
        self.rtt_sum += seconds;
        self.rtt_min = Some(self.rtt_min.map_or(seconds, |least| least.min(seconds)));
    }

    fn take(&mut self, millis: Option<f64>) {
        match millis {
            Some(millis) => self.answer(millis / 1e3),
            None => self.requests += 1,
        }
    }
}

impl Body {
    /// Requests, answers and round-trip times of this result.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let mut figures = Figures::default();
        match self {
            Self::Ping(body) => ping(body, &mut figures),
            Self::Traceroute(body) => figures.take(reached(body)),
            Self::Ntp(body) => ntp(body, &mut figures),
            Self::Dns(body) => {
                for entry in &body.entries {
                    figures.take(entry.reply.as_ref().map(|reply| reply.rt));
                }
            }
            Self::Tls(body) => figures.take(match &body.finding {
                tls::Finding::Answer(answer) => Some(answer.rt),
                _ => None,
            }),
            Self::Http(body) => {
                for entry in &body.entries {
                    figures.take(match entry {
                        http::Entry::Tried(response) => {
                            response.complete.map(|complete| complete.ms)
                        }
                        _ => None,
                    });
                }
            }
        }
        figures
    }
}

fn ping(body: &ping::Body, figures: &mut Figures) {
    for item in &body.items {
        match item {
            // The request that it repeats was counted, answered or lost.
            ping::Item::Reply(reply) if reply.duplicate => {}
            ping::Item::Reply(reply) => figures.take(Some(reply.rtt_ms)),
            ping::Item::Lost | ping::Item::Error(_) => figures.take(None),
        }
    }
}

fn ntp(body: &ntp::Body, figures: &mut Figures) {
    match &body.outcome {
        ntp::Outcome::Failed(_) => figures.take(None),
        ntp::Outcome::Items(items) => {
            for item in items {
                match item {
                    ntp::Item::Reply(reply) => figures.answer(reply.rtt),
                    ntp::Item::Lost | ntp::Item::Failed(_) => figures.take(None),
                }
            }
        }
    }
}

/// The shortest round trip to the target, in milliseconds; `None` if it was not reached.
fn reached(body: &traceroute::Body) -> Option<f64> {
    let traceroute::Outcome::Hops(hops) = &body.outcome else {
        return None;
    };
    let items = hops.iter().flat_map(|hop| match &hop.outcome {
        traceroute::HopOutcome::Items(items) => &items[..],
        traceroute::HopOutcome::Failed(_) => &[],
    });
    items
        .filter_map(|item| match item {
            traceroute::Item::Answer(answer) if Some(answer.from) == body.destination => answer.rtt,
            _ => None,
        })
        .min_by(f64::total_cmp)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measurement::machine::Family;

    fn pinged(items: Vec<ping::Item>) -> Figures {
        let body = ping::Body {
            time: 0,
            lts: -1,
            target: "192.0.2.1".to_owned(),
            resolve_ms: None,
            family: Family::V4,
            destination: None,
            source: ping::Source::Unknown,
            ttl: None,
            size: 64,
            items,
            zones: crate::measurement::zones::Zones::default(),
        };
        Body::Ping(body).figures()
    }

    #[test]
    fn a_duplicate_is_no_request_of_its_own() {
        let reply = ping::Reply::in_time(20.0);
        let figures = pinged(vec![
            ping::Item::Reply(reply),
            ping::Item::Reply(ping::Reply {
                duplicate: true,
                ..reply
            }),
            ping::Item::Lost,
            ping::Item::Reply(ping::Reply::in_time(10.0)),
        ]);
        assert_eq!((figures.requests, figures.answered), (3, 2));
        assert_eq!((figures.rtt_sum, figures.rtt_min), (0.03, Some(0.01)));
    }

    #[test]
    fn what_cannot_be_sent_is_not_answered() {
        let figures = pinged(vec![ping::Item::Error("no".to_owned())]);
        assert_eq!((figures.requests, figures.answered), (1, 0));
        assert_eq!(figures.rtt_min, None);
    }
}
