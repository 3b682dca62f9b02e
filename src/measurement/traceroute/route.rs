//! The way as far as it is known: which probe is next, what became of those sent, when the run is over
//! (`packet-measurements` sections 3.6 to 3.8).

use super::{
    Answer, Detail, Hop, HopOutcome, Item, Options,
    reply::{Meaning, Number, Reply},
};
use crate::clock::Tick;

/// What strangers can make a run keep beyond one answer a probe, in octets: late and duplicate answers and the
/// extensions of all. What does not fit is not told.
const ROOM: usize = 1 << 20;

/// What an answer without extensions is counted as.
const ANSWER: usize = 128;

/// A TCP acknowledgment may be so much beyond the current probe's number, because it may include the data.
const ACKNOWLEDGED_DATA: u32 = 0x2000;

/// What an answer to late IPv6 TCP probes is told to have taken in recordings, which cannot know it.
const NEVER: f64 = -42.0;

/// The state of one run.
#[derive(Clone, Debug)]
pub(super) struct Route {
    limits: Limits,
    /// Input comes from a recording.
    replay: bool,
    hops: Vec<(u8, Vec<Entry>)>,
    /// Probes sent so far in the current hop.
    sent_here: u16,
    /// The last hop that answered in time.
    last: u8,
    /// In the current hop the end was seen, or something before the end.
    done: bool,
    not_done: bool,
    /// Every probe sent, the first one being number 1.
    probes: Vec<Probe>,
    /// The current probe was answered.
    answered: bool,
    /// Something was told since the current probe was sent.
    told: bool,
    /// The payload of the next probe.
    size: u16,
    room: usize,
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    count: u8,
    first: u8,
    last: u8,
    gap: u8,
}

#[derive(Clone, Copy, Debug)]
struct Probe {
    /// When it was handed over.
    sent: Tick,
    /// When the kernel says that it left.
    stamped: Option<Tick>,
    size: u16,
}

impl Probe {
    /// When it left, as well as that is known of one that was answered at `received`: a stamp outside the time
    /// between was made by a clock that was set meanwhile.
    fn left(&self, received: Tick) -> Tick {
        self.stamped
            .filter(|stamped| (self.sent..=received).contains(stamped))
            .unwrap_or(self.sent)
    }
}

/// An item, and what its round-trip time is computed from once the kernel told when the probe left.
#[derive(Clone, Debug)]
struct Entry {
    item: Item,
    times: Option<Times>,
}

#[derive(Clone, Copy, Debug)]
struct Times {
    /// Index of the probe.
    probe: usize,
    received: Tick,
}

/// A probe to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Next {
    pub(super) number: u16,
    pub(super) hop: u8,
    pub(super) size: u16,
}

/// What an answer means for the pace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// Keep waiting as before.
    Wait,
    /// The current probe has its first answer.
    Answered,
}

/// How an answer stands to the current probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timing {
    OnTime,
    Duplicate,
    Late {
        by: u32,
    },
    /// To a probe that was not sent yet.
    Early,
}

impl Route {
    /// Nothing known yet.
    pub(super) fn new(options: &Options, size: u16, replay: bool) -> Self {
        Self {
            limits: Limits {
                count: options.count,
                first: options.first,
                last: options.last,
                gap: options.gap,
            },
            replay,
            hops: vec![(options.first, Vec::new())],
            sent_here: 0,
            last: options.first.saturating_sub(1),
            done: false,
            not_done: false,
            probes: Vec::new(),
            answered: false,
            told: false,
            size,
            room: ROOM,
        }
    }

    /// The hop in progress.
    pub(super) fn hop(&self) -> u8 {
        self.hops.last().map_or(self.limits.first, |(hop, _)| *hop)
    }

    /// The next probe, counted as sent at `now()`; `None` at the end of the run.
    pub(super) fn next(&mut self, now: impl FnOnce() -> Tick) -> Option<(Next, Tick)> {
        if self.sent_here >= u16::from(self.limits.count) && !self.next_hop() {
            return None;
        }
        let number = u16::try_from(self.probes.len() + 1).ok()?;
        let sent = now();
        self.probes.push(Probe {
            sent,
            stamped: None,
            size: self.size,
        });
        self.sent_here += 1;
        self.answered = false;
        self.told = false;
        let next = Next {
            number,
            hop: self.hop(),
            size: self.size,
        };
        Some((next, sent))
    }

    /// Goes on to the next hop unless the run ends with this one.
    fn next_hop(&mut self) -> bool {
        let hop = self.hop();
        let ended = hop >= self.limits.last || (self.done && !self.not_done);
        let Some(next) = hop.checked_add(1).filter(|_| !ended) else {
            return false;
        };
        let silent = next.saturating_sub(self.last);
        let next = if silent > self.limits.gap {
            u8::MAX
        } else {
            next
        };
        self.hops.push((next, Vec::new()));
        (self.sent_here, self.done, self.not_done) = (0, false, false);
        true
    }

    /// The timer of the current probe fired.
    pub(super) fn time_out(&mut self) -> Option<Item> {
        (!self.answered).then(|| self.push(Item::Lost, None))
    }

    /// The current probe could not be sent.
    pub(super) fn fail(&mut self, why: String) -> Item {
        self.push(Item::Failed(why), None)
    }

    /// The kernel's time of sending a probe.
    pub(super) fn stamp(&mut self, number: u32, sent: Tick) {
        if let Some(probe) = index(number).and_then(|index| self.probes.get_mut(index)) {
            probe.stamped = Some(sent);
        }
    }

    /// Takes an answer received at `received`: what to tell of it, and what it means for the pace.
    pub(super) fn answer(&mut self, reply: Reply, received: Tick) -> (Option<Item>, Pace) {
        let Some(current) = u32::try_from(self.probes.len()).ok().filter(|n| *n > 0) else {
            return (None, Pace::Wait);
        };
        let timing = self.timing(reply.number, current, received);
        let cost = match &reply.detail {
            Detail::Error(error) if error.extensions.is_some() => {
                ANSWER + usize::try_from(reply.size).unwrap_or(0)
            }
            _ => ANSWER,
        };
        let pace = match timing {
            Timing::Early => {
                // The official probe has begun an item by the time it notices, if one was complete before.
                let item = self.told && self.pay(ANSWER);
                return (item.then(|| self.push(Item::Empty, None)), Pace::Wait);
            }
            Timing::OnTime => Pace::Answered,
            Timing::Duplicate | Timing::Late { .. } => Pace::Wait,
        };
        self.learn(&reply, timing);
        let affordable = self.pay(cost);
        if timing == Timing::OnTime {
            self.answered = true;
        } else if !affordable {
            return (None, pace);
        }
        let times = self.times(&reply, timing, received);
        let mut answer = Answer {
            late: match timing {
                Timing::Late { by } => Some(by),
                _ => None,
            },
            duplicate: timing == Timing::Duplicate,
            from: reply.from,
            ttl: reply.ttl,
            size: Some(reply.size),
            rtt: self.late_rtt_of_recording(&reply, timing, received),
            detail: reply.detail,
        };
        if let Detail::Error(error) = &mut answer.detail
            && !affordable
        {
            error.extensions = None;
        }
        (Some(self.push(Item::Answer(answer), times)), pace)
    }

    /// How an answer stands to the current probe (section 3.7).
    fn timing(&self, number: Number, current: u32, received: Tick) -> Timing {
        let number = match number {
            Number::Exact(number) => number,
            Number::Checksum { quoted, .. } if quoted <= current => quoted,
            Number::Checksum { made, .. } => made
                .filter(|made| !self.replay && (1..=current).contains(made))
                .unwrap_or_else(|| self.in_flight(current, received)),
            Number::Acknowledged(number) if self.replay => {
                let ahead = number.wrapping_sub(current);
                if ahead <= ACKNOWLEDGED_DATA {
                    current
                } else {
                    number
                }
            }
            Number::Acknowledged(number) => self.acknowledged(number, current, received),
        };
        match number {
            number if number == current && self.answered => Timing::Duplicate,
            number if number == current => Timing::OnTime,
            number if number < current => Timing::Late {
                by: current - number,
            },
            _ => Timing::Early,
        }
    }

    /// Which probe a live TCP answer acknowledges. Unlike in a recording, one for an earlier probe is told apart
    /// where its number allows: a SYN counts one, and hosts may or may not acknowledge the data with it.
    fn acknowledged(&self, number: u32, current: u32, received: Tick) -> u32 {
        let exact = (1..=current)
            .rev()
            .zip(self.probes.iter().rev())
            .find(|(probe, sent)| {
                let plain = probe + 1;
                number == plain || number == plain + u32::from(sent.size)
            })
            .map(|(probe, _)| probe);
        match exact {
            Some(probe) => probe,
            None if number.wrapping_sub(current) <= ACKNOWLEDGED_DATA => {
                self.in_flight(current, received)
            }
            None => number,
        }
    }

    /// The probe that an answer without a number of its own is to: the current one, unless it arrived before that was
    /// sent, and we only woke up late.
    fn in_flight(&self, current: u32, received: Tick) -> u32 {
        if self.replay {
            return current;
        }
        (1..=current)
            .rev()
            .zip(self.probes.iter().rev())
            .find(|(_, probe)| probe.sent <= received)
            .map_or(current, |(number, _)| number)
    }

    /// What an answer means for the end of the run, the gap and the size of what follows.
    fn learn(&mut self, reply: &Reply, timing: Timing) {
        let late = matches!(timing, Timing::Late { .. });
        let on_time = timing == Timing::OnTime;
        let v6 = reply.from.is_ipv6();
        let spaced = matches!(&reply.detail, Detail::Error(error) if error.spaced);
        match reply.meaning {
            Meaning::TimeExceeded => self.not_done |= on_time || (spaced && !late),
            Meaning::Unreachable => self.done |= !late,
            Meaning::TooBig(fits) => {
                self.not_done |= !late;
                if let Some(fits) = fits.filter(|_| !late) {
                    self.size = self.size.min(fits);
                }
            }
            Meaning::Echo => self.done |= on_time || !v6,
            Meaning::Segment => self.done = true,
        }
        if on_time && (reply.meaning.is_error() || (v6 && reply.meaning == Meaning::Echo)) {
            self.last = self.hop();
        }
    }

    /// What the round-trip time is measured between: from the current probe's sending, or for a late ICMPv6
    /// answer from that of its own probe. Other late answers have none.
    fn times(&self, reply: &Reply, timing: Timing, received: Tick) -> Option<Times> {
        let current = self.probes.len().checked_sub(1)?;
        let probe = match timing {
            Timing::Late { by } if tells_late_rtt(reply) && !self.replay => {
                current.checked_sub(usize::try_from(by).ok()?)?
            }
            Timing::Late { .. } | Timing::Early => return None,
            Timing::OnTime | Timing::Duplicate => current,
        };
        Some(Times { probe, received })
    }

    /// A recording has the time of a late ICMPv6 answer's probe in the quote only; in a quote of TCP not even
    /// there.
    fn late_rtt_of_recording(&self, reply: &Reply, timing: Timing, received: Tick) -> Option<f64> {
        let late = matches!(timing, Timing::Late { .. });
        (late && self.replay && tells_late_rtt(reply)).then(|| match reply.quoted_time {
            Some(sent) => received.millis_since(sent),
            None => NEVER,
        })
    }

    /// Takes `cost` from what strangers may make the run keep.
    fn pay(&mut self, cost: usize) -> bool {
        let left = self.room.checked_sub(cost);
        self.room = left.unwrap_or(self.room);
        left.is_some()
    }

    /// Adds to the hop in progress; the item as it is known now.
    fn push(&mut self, item: Item, times: Option<Times>) -> Item {
        self.told = true;
        let entry = Entry { item, times };
        let item = self.finished(&entry);
        if let Some((_, entries)) = self.hops.last_mut() {
            entries.push(entry);
        }
        item
    }

    /// The item with its round-trip time.
    fn finished(&self, entry: &Entry) -> Item {
        let mut item = entry.item.clone();
        if let (Item::Answer(answer), Some(times)) = (&mut item, entry.times)
            && let Some(probe) = self.probes.get(times.probe)
        {
            let left = probe.left(times.received);
            // An answer that is older than its probe is still one: it took no time that can be told.
            answer.rtt = Some(if self.replay {
                times.received.millis_since(left)
            } else {
                times.received.since(left).as_secs_f64() * 1e3
            });
        }
        item
    }

    /// All hops with their items, but not one whose first probe is still awaited: an interrupted run does not end
    /// in an empty hop.
    pub(super) fn hops(&self) -> Vec<Hop> {
        let current = self.hops.len().saturating_sub(1);
        self.hops
            .iter()
            .enumerate()
            .filter(|(at, (_, entries))| {
                *at != current || self.sent_here == 0 || !entries.is_empty()
            })
            .map(|(_, (hop, entries))| Hop {
                hop: *hop,
                outcome: HopOutcome::Items(
                    entries.iter().map(|entry| self.finished(entry)).collect(),
                ),
            })
            .collect()
    }
}

/// Whether results give a late answer's round-trip time: ICMPv6 only.
fn tells_late_rtt(reply: &Reply) -> bool {
    reply.from.is_ipv6() && reply.meaning != Meaning::Segment
}

/// The place of probe `number` in a list that begins with number 1.
fn index(number: u32) -> Option<usize> {
    usize::try_from(number).ok()?.checked_sub(1)
}
