//! One probe, its controller, the wires between them and the name server it measures: what the faults happen to.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::{
    agent::{Agent, Running},
    ledger::{Count, Ledger, spooled},
    network::{Network, Plan},
    proxy::Proxy,
    targets::{Target, now},
    wait,
};

/// An answer so shortly before an agent is asked to end may belong to a run that was dropped unreported.
pub(crate) const UNDER_WAY: Duration = Duration::from_secs(3);

/// Measurements of each probe, all due each second.
const JOBS: u32 = 40;

/// What all worlds share.
#[derive(Clone, Debug)]
pub(crate) struct Ground {
    pub(crate) folder: PathBuf,
    pub(crate) host_key: PathBuf,
    pub(crate) shim: Option<PathBuf>,
    pub(crate) seed: u64,
    /// How long faults are injected.
    pub(crate) length: Duration,
}

/// A probe's world.
pub(crate) struct World {
    pub(crate) name: &'static str,
    pub(crate) ground: Ground,
    pub(crate) random: StdRng,
    pub(crate) network: Network,
    /// To the registration server, and to the controller.
    pub(crate) registration: Proxy,
    pub(crate) controller: Proxy,
    pub(crate) target: Target,
    pub(crate) agent: Agent,
    pub(crate) running: Option<Running>,
    pub(crate) ledger: Ledger,
    until: Instant,
    ports: [u16; 3],
    upload: u32,
    one_offs: u32,
}

impl World {
    /// Builds the world and starts its probe. `number` sets its ports apart.
    pub(crate) fn new(name: &'static str, number: u16, ground: &Ground) -> Self {
        let base = 20_000 + number * 10;
        let (ports, registration) = ([base, base + 1, base + 2], base + 3);
        let folder = ground.folder.join(name);
        let target = Target::start();
        let short = (1..=JOBS).map(|job| target.command(20_000 + job));
        // Where it is asked what becomes of results in memory, these stay there for a while.
        let (commands, upload): (Vec<String>, u32) = if name == "stops" {
            (short.chain(super::stops::long_runs()).collect(), 8)
        } else {
            (short.collect(), 1)
        };
        let network = Network::start(&Plan {
            folder: &folder.join("controller"),
            ports,
            host_key: &ground.host_key,
            commands: &commands,
            upload,
        });
        let agent = Agent::new(
            &folder,
            format!("127.0.0.1:{registration}={}", network.host_key),
        );
        Self {
            name,
            ground: ground.clone(),
            random: StdRng::seed_from_u64(ground.seed ^ (u64::from(number) << 32)),
            network,
            registration: Proxy::start(registration, ports[0]),
            controller: Proxy::start(ports[2], ports[1]),
            target,
            agent,
            running: None,
            ledger: Ledger::default(),
            until: now() + ground.length,
            ports,
            upload,
            one_offs: 0,
        }
    }

    /// Whether there is time for another fault.
    pub(crate) fn goes_on(&self) -> bool {
        now() < self.until
    }

    /// Lets things happen for a while.
    pub(crate) fn pass(&mut self, from: u64, to: u64) {
        let millis = self.random.random_range(from..to);
        std::thread::sleep(Duration::from_millis(millis));
        if let Some(running) = &mut self.running
            && running.has_ended()
        {
            let complaints = self.agent.complaints();
            self.ledger
                .wrong
                .push(format!("the agent ended by itself:\n{complaints}"));
            self.running = None;
            self.ledger.death(&self.agent.data, now());
            self.start();
        }
    }

    pub(crate) fn chance(&mut self, percent: u32) -> bool {
        self.random.random_range(0..100) < percent
    }

    pub(crate) fn start(&mut self) {
        self.running = Some(self.agent.start());
    }

    /// `kill -9`, and the books are read.
    pub(crate) fn kill(&mut self) {
        if let Some(running) = self.running.take() {
            let died = running.kill();
            self.ledger.death(&self.agent.data, died);
            self.ledger.fault("agent killed");
        }
    }

    /// SIGTERM or SIGINT; a bad exit status is wrong.
    pub(crate) fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            let signal = [Signal::SIGTERM, Signal::SIGINT][usize::from(self.chance(50))];
            let asked = now();
            let (status, _) = running.stop(signal);
            self.ledger.stopped(&self.agent.data, asked, UNDER_WAY);
            self.ledger.fault("agent stopped");
            if !status.success() {
                let complaints = self.agent.complaints();
                self.ledger
                    .wrong
                    .push(format!("{signal} led to {status}:\n{complaints}"));
            }
        }
    }

    /// Starts the agent anew, by force or by request: waits and back-offs begin anew too.
    pub(crate) fn renew(&mut self) {
        if self.chance(50) {
            self.kill();
        } else {
            self.stop();
        }
        self.start();
    }

    /// What was stored grew by results: the way from measurement to controller is open.
    pub(crate) fn wait_for_upload(&mut self) -> bool {
        let before = self.network.size();
        let network = &self.network;
        let came = wait("an upload", || (network.size() > before).then_some(()));
        if let Err(error) = came {
            let (name, complaints) = (self.name, self.agent.complaints());
            self.ledger.wrong.push(format!(
                "{name}: {error}; the agent says:\n{complaints}\nthe controller:\n{}",
                tail(&self.network.log())
            ));
            return false;
        }
        true
    }

    /// The session kept.
    pub(crate) fn wait_for_session(&mut self) {
        let log = self.agent.log().len();
        let agent = &self.agent;
        let came = wait("a session", || {
            let text = agent.log();
            text[log..].contains("session kept").then_some(())
        });
        if let Err(error) = came {
            self.ledger.wrong.push(error);
        }
    }

    /// Asks the controller for a fault, if the one that runs takes orders.
    pub(crate) fn order(&mut self, order: &str) -> bool {
        let taken = self.network.order(order);
        if taken {
            let name = order.split(' ').next().unwrap_or(order);
            self.ledger.fault(format!("controller: {name}"));
        }
        taken
    }

    /// A one-off, if the controller that runs takes orders.
    pub(crate) fn one_off(&mut self) {
        self.one_offs += 1;
        let command = self.target.command(30_000 + self.one_offs);
        self.network.order(&format!("one-off {command}"));
    }

    /// No more faults and no more measurements: everything that is left has to arrive. Then the books are compared.
    pub(crate) fn settle(mut self) -> (Count, Ledger) {
        self.stop();
        self.registration.order(super::proxy::Order::Carry);
        self.controller.order(super::proxy::Order::Carry);
        let folder = self.ground.folder.join(self.name).join("controller");
        self.network.configure(&Plan {
            folder: &folder,
            ports: self.ports,
            host_key: &self.ground.host_key,
            commands: &[],
            upload: self.upload,
        });
        self.network.restart(false);
        // What a server asked the probe to wait for, and how often it registered, is not what is on trial here.
        let _ = std::fs::remove_file(self.agent.data.join("session.json"));
        self.start();
        let data = self.agent.data.clone();
        // A moment for the empty table to arrive: until then the old one holds.
        let mut quiet = 0;
        let emptied = wait("an empty spool", || {
            quiet = if spooled(&data).is_empty() {
                quiet + 1
            } else {
                0
            };
            (quiet > 20).then_some(())
        });
        if let Err(error) = emptied {
            let complaints = self.agent.complaints();
            self.ledger
                .wrong
                .push(format!("{error}; the agent says:\n{complaints}"));
        }
        self.stop();
        let rejected = self.network.rejected();
        self.network.kill();
        if rejected > 0 {
            self.ledger
                .wrong
                .push(format!("{rejected} posts had lines that are no results"));
        }
        let stored = self.network.stored();
        let count = self.ledger.close(&stored, &self.target.book);
        (count, self.ledger)
    }
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}

/// The open segment of the periodic queue, if there is one.
pub(crate) fn open_segment(data: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(data.join("spool/results")).ok()?;
    entries
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|kind| kind == "open"))
}
