//! What a probe of another make has left on this host: its key and its settings, wherever its installer put them.
//!
//! `controller-protocol` sections 1.1, 1.3 and 1.4. Nothing here changes a file.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::key::{HostKey, KeyError, ProbeKey, read_private};
use crate::session::servers::ServerList;

/// Where installers put a probe, the directory on the host.
const PLACES: [&str; 3] = ["etc/ripe-atlas", "var/atlas-probe", "home/atlas"];
/// Where container engines keep their volumes; each is a directory with its files in `_data`.
const VOLUMES: [&str; 2] = [
    "var/lib/docker/volumes",
    "var/lib/containers/storage/volumes",
];
/// Where the files lie below a place, in older and newer layouts and in volumes mounted at either level.
const BELOW: [&str; 5] = ["", "etc", "state", "etc/ripe-atlas", "ripe-atlas"];
/// The longest settings file that is read, in octets.
const MAX_SETTINGS: u64 = 64 * 1024;

/// A probe that was found.
#[derive(Debug)]
pub(super) struct Found {
    /// The private key file.
    pub(super) key_file: PathBuf,
    /// The key in it, if it can be used.
    pub(super) key: Result<ProbeKey, KeyError>,
    /// What its settings come to in our configuration.
    pub(super) settings: Vec<Setting>,
}

/// One setting of the other probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    /// As it stands there.
    pub(super) theirs: String,
    /// The lines of our configuration that say the same, if any are needed.
    pub(super) ours: Option<String>,
    /// In words.
    pub(super) words: &'static str,
}

/// Where to look on the host whose file system is at `root`.
pub(super) fn places(root: &Path) -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> = PLACES.iter().map(|place| root.join(place)).collect();
    for volumes in VOLUMES {
        // Not to be read without being root, and mostly not there.
        let Ok(entries) = fs::read_dir(root.join(volumes)) else {
            continue;
        };
        let mut found: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path().join("_data")))
            .filter(|place| place.is_dir())
            .collect();
        found.sort();
        places.extend(found);
    }
    places
}

/// The probe at `place`, if one is there.
pub(super) fn probe(place: &Path) -> Option<Found> {
    let key_file = first(place, "probe_key")?;
    Some(Found {
        key: ProbeKey::load(&key_file),
        key_file,
        settings: settings(place),
    })
}

fn first(place: &Path, name: &str) -> Option<PathBuf> {
    BELOW
        .iter()
        .map(|below| place.join(below).join(name))
        // A link into nowhere, or what may not be looked at, is found and then told of.
        .find(|file| match fs::symlink_metadata(file) {
            Ok(meta) => !meta.is_dir(),
            Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
        })
}

fn settings(place: &Path) -> Vec<Setting> {
    let read = |name| first(place, name).and_then(|file| read_private(&file, MAX_SETTINGS).ok());
    let config = read("config.txt").unwrap_or_default();
    let mut settings = vec![counters(value(&config, "RXTXRPT"))];
    for (name, words) in [
        (
            "TELNETD_PORT",
            "not needed: no local port is opened for commands",
        ),
        (
            "HTTP_POST_PORT",
            "not needed: no local port is opened for uploads",
        ),
    ] {
        if let Some(value) = value(&config, name) {
            settings.push(Setting {
                theirs: format!("{name}={value}"),
                ours: None,
                words,
            });
        }
    }
    settings.extend(read("mode").and_then(|mode| network(mode.trim())));
    settings
}

/// The value of a key in `config.txt`: the first match counts, an empty one is none (section 1.3).
fn value<'a>(config: &'a str, key: &str) -> Option<&'a str> {
    let value = config.lines().find_map(|line| {
        line.trim_start_matches([' ', '\t'])
            .strip_prefix(key)?
            .strip_prefix('=')
    })?;
    let value = value.trim_end_matches([' ', '\t', '\r']);
    (!value.is_empty()).then_some(value)
}

fn counters(value: Option<&str>) -> Setting {
    let on = value == Some("yes");
    Setting {
        theirs: value.map_or_else(
            || "RXTXRPT is not set".to_owned(),
            |value| format!("RXTXRPT={value}"),
        ),
        ours: (!on).then(|| "[upload]\ninterface_counters = false".to_owned()),
        words: if on {
            "interface counters are reported, as here by default"
        } else {
            "interface counters were not reported"
        },
    }
}

/// The network that the probe belongs to (section 1.4); production needs no word.
fn network(mode: &str) -> Option<Setting> {
    let theirs = format!("mode {mode}");
    let list = match mode {
        "" | "prod" => return None,
        "test" => ServerList::Test,
        "dev" => ServerList::Dev,
        _ => {
            return Some(Setting {
                theirs,
                ours: None,
                words: "not known: the production servers are used",
            });
        }
    };
    let servers: Vec<String> = list
        .servers()
        .iter()
        .map(|server| {
            let key = server.host_key.as_ref().map(HostKey::to_string);
            let key = key.map_or_else(String::new, |key| format!("\nhost_key = \"{key}\""));
            format!("[[registration.servers]]\nhost = \"{}\"{key}", server.host)
        })
        .collect();
    Some(Setting {
        theirs,
        ours: Some(servers.join("\n")),
        words: "it registers with another network than production",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn a_key_of_the_settings_matches_as_the_official_probe_reads_it() {
        let text = "#RXTXRPT=no\n RXTXRPTX=no\n \t RXTXRPT=yes \t\nRXTXRPT=no\nTELNETD_PORT=\n";
        assert_eq!(value(text, "RXTXRPT"), Some("yes"));
        assert_eq!(value(text, "TELNETD_PORT"), None);
        assert_eq!(value(text, "HTTP_POST_PORT"), None);
        assert_eq!(value("", "RXTXRPT"), None);
    }

    #[test]
    fn counters_are_on_only_by_exactly_yes() {
        for (value, ours) in [
            (Some("yes"), None),
            (Some("YES"), Some(false)),
            (Some("no"), Some(false)),
            (None, Some(false)),
        ] {
            let setting = counters(value);
            let said = setting.ours.map(|text| {
                let config: Config = text.parse().unwrap();
                config.upload.interface_counters
            });
            assert_eq!(said, ours, "{value:?}");
        }
    }

    #[test]
    fn another_network_is_said_as_its_servers() {
        assert_eq!(network("prod"), None);
        for mode in ["test", "dev"] {
            let config: Config = network(mode).unwrap().ours.unwrap().parse().unwrap();
            assert_eq!(config.registration.servers.len(), 6, "{mode}");
            assert!(
                config
                    .registration
                    .servers
                    .iter()
                    .all(|server| server.host_key.is_some())
            );
        }
        assert_eq!(network("moon").unwrap().ours, None);
    }

    #[test]
    fn volumes_of_container_engines_are_places() {
        let root = tempfile::tempdir().unwrap();
        let volume = root.path().join("var/lib/docker/volumes/probe/_data");
        fs::create_dir_all(&volume).unwrap();
        fs::write(root.path().join("var/lib/docker/volumes/metadata.db"), "").unwrap();
        assert_eq!(places(root.path()).last(), Some(&volume));
        assert_eq!(places(root.path()).len(), PLACES.len() + 1);
    }
}
