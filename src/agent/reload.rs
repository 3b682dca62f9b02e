//! A configuration that changed while the agent runs: what can change at once does, what cannot is named.

use super::{Agent, storage::Message};
use crate::{config::Config, schedule::Limits};

impl Agent {
    /// Puts a new configuration into force. The log's level is the caller's.
    pub(super) async fn reload(&mut self, config: Config) {
        self.net
            .set_allow_any_address(config.measurement.allow_any_address);
        self.status
            .set_interface_counters(config.upload.interface_counters);
        self.status.set_upload_interval(config.upload.interval);
        self.schedule.set_limits(Limits {
            periodic: config.measurement.periodic_at_once,
            one_off: config.measurement.one_offs_at_once,
            ..Limits::default()
        });
        self.tell(Message::Interval(config.upload.interval)).await;
        let waiting = wants_restart(&self.config, &config);
        if waiting.is_empty() {
            tracing::info!("the configuration was read again and is in force");
        } else {
            tracing::warn!(
                restart_for = waiting.join(", "),
                "the configuration was read again; some of it needs a restart"
            );
        }
        // What waits for a restart is compared with what is in force, not with what was read last.
        self.config.log.level = config.log.level;
        self.config.upload = config.upload;
        let measurement = &mut self.config.measurement;
        measurement.allow_any_address = config.measurement.allow_any_address;
        measurement.periodic_at_once = config.measurement.periodic_at_once;
        measurement.one_offs_at_once = config.measurement.one_offs_at_once;
    }
}

/// The keys whose new values wait for a restart.
fn wants_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    [
        ("dialect", old.dialect != new.dialect),
        ("data_dir", old.data_dir != new.data_dir),
        ("key_file", old.key_file() != new.key_file()),
        ("registration", old.registration != new.registration),
        (
            "measurement.firmware",
            old.measurement.firmware != new.measurement.firmware,
        ),
        (
            "measurement.version",
            old.measurement.version != new.measurement.version,
        ),
        ("confine", old.confine != new.confine),
        ("spool", old.spool != new.spool),
        ("source", old.source != new.source),
        ("tee", old.tee != new.tee),
        ("metrics", old.metrics != new.metrics),
        ("log.format", old.log.format != new.log.format),
    ]
    .into_iter()
    .filter_map(|(key, differs)| differs.then_some(key))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_change_live_is_named() {
        let old = Config::default();
        let new: Config = "data_dir = \"/tmp\"\n[upload]\ninterval = 5\n[log]\nlevel = \"debug\"\n[spool]\nmax_bytes = 1"
            .parse()
            .unwrap();
        assert_eq!(wants_restart(&old, &new), ["data_dir", "key_file", "spool"]);
        assert_eq!(wants_restart(&old, &old), Vec::<&str>::new());
    }
}
