//! The probes that are known: key to number, port and session; what survives a restart.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    config::{Approval, Config, Probe, UnknownKeys},
    identity::{KeyPattern, ProbeId, ProbeKey},
};

/// One known probe, as kept on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// Its number, never given to another key.
    pub id: ProbeId,
    /// Its key.
    pub key: ProbeKey,
    /// Its end of the reverse tunnel, never given to another probe.
    pub port: u16,
    /// Its session, if INIT gave it one: a probe that lost its tunnel comes back with it, even after our restart.
    pub session: Option<String>,
    /// What was decided about it.
    pub standing: Standing,
}

/// What was decided about a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// Nothing: it may measure where approval is automatic, and waits where it is by list.
    Open,
    /// An operator approved it.
    Approved,
    /// An operator suspended it.
    Suspended,
}

/// The probes, by number and by key.
#[derive(Debug)]
pub(super) struct Registry {
    approval: Approval,
    unknown: UnknownKeys,
    listed: Vec<(KeyPattern, Probe)>,
    known: BTreeMap<ProbeId, Known>,
    ids: BTreeMap<ProbeKey, ProbeId>,
    first_port: u16,
    max: usize,
}

/// Where probes may be reached at most once: the official probe's own telnet port is none to hand out.
const FORBIDDEN_PORT: u16 = 2023;

impl Registry {
    /// The probes of the configuration and those known from before. Where the two disagree about a number or a
    /// key the configuration is right: it is what an operator edits.
    pub(super) fn new(config: &Config, known: Vec<Known>) -> Self {
        let listed: Vec<(KeyPattern, Probe)> = config
            .probes
            .iter()
            .filter_map(|probe| Some((probe.pattern().ok()?, probe.clone())))
            .collect();
        let mut registry = Self {
            approval: config.approval,
            unknown: config.unknown_keys,
            listed,
            known: BTreeMap::new(),
            ids: BTreeMap::new(),
            first_port: config.controller.first_remote_port,
            max: config.limits.probes,
        };
        for mut old in known {
            match registry
                .listing(&old.key)
                .map(|probe| (probe.id, probe.approved))
            {
                Some((id, _)) if ProbeId(id) != old.id => continue,
                Some((_, approved)) => old.standing = Standing::by_list(approved),
                None if registry
                    .listed
                    .iter()
                    .any(|(_, probe)| ProbeId(probe.id) == old.id) =>
                {
                    continue;
                }
                None => {}
            }
            registry.ids.insert(old.key.clone(), old.id);
            registry.known.insert(old.id, old);
        }
        registry
    }

    /// Whether this key may log in, to register if not to measure.
    pub(super) fn admits(&self, key: &ProbeKey) -> bool {
        let standing = match self.by_key(key) {
            Some(known) => known.standing,
            None if self.listing(key).is_some() => return true,
            None if self.known.len() >= self.max => return false,
            None => Standing::Open,
        };
        standing != Standing::Open
            || self.approval == Approval::Automatic
            || self.unknown == UnknownKeys::Pending
    }

    /// Whether this probe may measure.
    pub(super) fn is_approved(&self, id: ProbeId) -> bool {
        self.known
            .get(&id)
            .is_some_and(|known| match known.standing {
                Standing::Approved => true,
                Standing::Open => self.approval == Approval::Automatic,
                Standing::Suspended => false,
            })
    }

    /// The probe with this key, made known if it is not; `None` if there is no room for it.
    pub(super) fn enter(&mut self, key: &ProbeKey) -> Option<Entered> {
        if let Some(known) = self.by_key(key) {
            return Some(Entered {
                id: known.id,
                new: false,
            });
        }
        let listed = self
            .listing(key)
            .map(|probe| (ProbeId(probe.id), Standing::by_list(probe.approved)));
        if listed.is_none() && self.known.len() >= self.max {
            return None;
        }
        let (id, standing) = match listed {
            Some(listed) => listed,
            None => (self.free_id()?, Standing::Open),
        };
        let port = self.free_port()?;
        self.ids.insert(key.clone(), id);
        self.known.insert(
            id,
            Known {
                id,
                key: key.clone(),
                port,
                session: None,
                standing,
            },
        );
        Some(Entered { id, new: true })
    }

    pub(super) fn by_key(&self, key: &ProbeKey) -> Option<&Known> {
        self.known.get(self.ids.get(key)?)
    }

    pub(super) fn get(&self, id: ProbeId) -> Option<&Known> {
        self.known.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: ProbeId) -> Option<&mut Known> {
        self.known.get_mut(&id)
    }

    /// What people call a probe.
    pub(super) fn name(&self, id: ProbeId) -> Option<String> {
        let (_, probe) = self
            .listed
            .iter()
            .find(|(_, probe)| ProbeId(probe.id) == id)?;
        probe.name.clone()
    }

    /// All of it, to be kept.
    pub(super) fn snapshot(&self) -> Vec<Known> {
        self.known.values().cloned().collect()
    }

    fn listing(&self, key: &ProbeKey) -> Option<&Probe> {
        let (_, probe) = self
            .listed
            .iter()
            .find(|(pattern, _)| pattern.matches(key))?;
        Some(probe)
    }

    /// The number after the highest; where that is the last of all, the lowest that nobody has.
    fn free_id(&self) -> Option<ProbeId> {
        let listed = self.listed.iter().map(|(_, probe)| probe.id);
        let known = self.known.keys().map(|id| id.0);
        // Collecting would bring a sort of its own into the binary.
        let mut taken = BTreeSet::new();
        taken.extend(listed.chain(known));
        let next = taken.last().map_or(Some(1), |last| last.checked_add(1));
        let free = next.or_else(|| (1..=u32::MAX).find(|id| !taken.contains(id)));
        free.map(ProbeId)
    }

    fn free_port(&self) -> Option<u16> {
        let mut taken = BTreeSet::new();
        taken.extend(self.known.values().map(|known| known.port));
        (self.first_port..=u16::MAX).find(|port| *port != FORBIDDEN_PORT && !taken.contains(port))
    }
}

impl Standing {
    const fn by_list(approved: bool) -> Self {
        if approved {
            Self::Approved
        } else {
            Self::Suspended
        }
    }
}

/// A probe that was looked up or made known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entered {
    /// Its number.
    pub(super) id: ProbeId,
    /// Whether it was not known before.
    pub(super) new: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u8) -> ProbeKey {
        super::super::identity::test_key(number)
    }

    fn config(approval: Approval, unknown_keys: UnknownKeys) -> Config {
        Config {
            approval,
            unknown_keys,
            ..Config::default()
        }
    }

    fn listed(id: u32, key: &str, approved: bool) -> Probe {
        Probe {
            id,
            key: key.to_owned(),
            name: None,
            approved,
        }
    }

    #[test]
    fn numbers_and_ports_are_counted_upwards_and_stay() {
        let config = config(Approval::Automatic, UnknownKeys::Refuse);
        let mut registry = Registry::new(&config, Vec::new());
        assert_eq!(
            registry.enter(&key(1)).unwrap(),
            Entered {
                id: ProbeId(1),
                new: true
            }
        );
        assert_eq!(
            registry.enter(&key(2)).unwrap(),
            Entered {
                id: ProbeId(2),
                new: true
            }
        );
        let mut again = Registry::new(&config, registry.snapshot());
        assert_eq!(
            again.enter(&key(2)).unwrap(),
            Entered {
                id: ProbeId(2),
                new: false
            }
        );
        let ports: Vec<u16> = again.snapshot().iter().map(|known| known.port).collect();
        assert_eq!(ports, [30_000, 30_001]);
    }

    #[test]
    fn the_telnet_port_of_the_official_probe_is_never_handed_out() {
        let mut config = config(Approval::Automatic, UnknownKeys::Refuse);
        config.controller.first_remote_port = 2023;
        let mut registry = Registry::new(&config, Vec::new());
        registry.enter(&key(1)).unwrap();
        assert_eq!(registry.get(ProbeId(1)).unwrap().port, 2024);
    }

    #[test]
    fn a_stranger_meets_the_policy() {
        for (approval, unknown, admitted, approved) in [
            (Approval::Automatic, UnknownKeys::Refuse, true, true),
            (Approval::Listed, UnknownKeys::Refuse, false, false),
            (Approval::Listed, UnknownKeys::Pending, true, false),
        ] {
            let mut registry = Registry::new(&config(approval, unknown), Vec::new());
            assert_eq!(registry.admits(&key(1)), admitted);
            let id = registry.enter(&key(1)).unwrap().id;
            assert_eq!(registry.is_approved(id), approved);
        }
    }

    #[test]
    fn a_probe_listed_by_fingerprint_has_its_number() {
        let mut config = config(Approval::Listed, UnknownKeys::Refuse);
        config.probes = vec![
            listed(77, &key(3).fingerprint(), true),
            listed(5, key(4).as_line(), false),
        ];
        let mut registry = Registry::new(&config, Vec::new());
        assert!(registry.admits(&key(3)) && registry.admits(&key(4)) && !registry.admits(&key(5)));
        assert_eq!(registry.enter(&key(3)).unwrap().id, ProbeId(77));
        assert_eq!(registry.enter(&key(4)).unwrap().id, ProbeId(5));
        assert!(registry.is_approved(ProbeId(77)) && !registry.is_approved(ProbeId(5)));
        assert_eq!(registry.free_id(), Some(ProbeId(78)));
    }

    #[test]
    fn behind_the_last_number_of_all_the_free_ones_are_given_out() {
        let mut config = config(Approval::Automatic, UnknownKeys::Refuse);
        config.probes = vec![
            listed(u32::MAX, key(3).as_line(), true),
            listed(1, key(4).as_line(), true),
        ];
        let mut registry = Registry::new(&config, Vec::new());
        let numbers = [1, 2, 3].map(|number| registry.enter(&key(number)).unwrap().id.0);
        assert_eq!(numbers, [2, 3, u32::MAX]);
    }

    #[test]
    fn the_configuration_wins_over_what_was_known() {
        let mut first = Registry::new(
            &config(Approval::Automatic, UnknownKeys::Refuse),
            Vec::new(),
        );
        for number in 1..=3 {
            first.enter(&key(number)).unwrap();
        }
        let mut config = config(Approval::Listed, UnknownKeys::Refuse);
        // Number 1 was given to another key meanwhile, and the key of number 2 is now number 9.
        config.probes = vec![
            listed(1, key(7).as_line(), true),
            listed(9, key(2).as_line(), true),
        ];
        let registry = Registry::new(&config, first.snapshot());
        assert_eq!(registry.by_key(&key(1)), None);
        assert_eq!(registry.by_key(&key(2)), None);
        assert!(registry.by_key(&key(3)).is_some());
        // What automatic approval let in does not count where approval is by list.
        assert!(!registry.is_approved(ProbeId(3)) && !registry.admits(&key(3)));
    }

    #[test]
    fn a_full_list_takes_no_strangers() {
        let mut config = config(Approval::Automatic, UnknownKeys::Refuse);
        config.limits.probes = 1;
        let mut registry = Registry::new(&config, Vec::new());
        registry.enter(&key(1)).unwrap();
        assert!(!registry.admits(&key(2)));
        assert_eq!(registry.enter(&key(2)), None);
    }
}
