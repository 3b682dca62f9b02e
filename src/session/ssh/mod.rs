//! Carries out what the [`Session`] and the interpreter say, over SSH.
//!
//! `controller-protocol` sections 2.1, 3 and 11. Nothing is decided here: this loop waits for whatever comes
//! first, tells it to the machine that it concerns, and performs what that machine wants done.

mod commands;
mod connect;
mod exchange;
mod greeting;
mod race;
#[cfg(test)]
mod tests;
mod tunnel;

pub use tunnel::{Tunnel, TunnelEnd, TunnelError, tunnel};

use std::{future::Future, net::SocketAddr, path::PathBuf, pin::Pin, sync::Arc};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::sleep_until,
};

use super::{
    Failure, Identity, Input, Output, RegistrationServer, Session, SessionEvent, Settings, State,
    disk,
    interpreter::{Change, Interpreter},
    state::Controller,
};
use crate::{clock::Clock, key::ProbeKey, measurement::machine::ResolveError};
use commands::Connections;
use connect::Target;
use exchange::Progress;
use race::Way;

/// How names become addresses: the crate's own resolver, handed in. All addresses of the name, both families.
pub type Resolve = Arc<
    dyn Fn(
            String,
            u16,
        ) -> Pin<Box<dyn Future<Output = Result<Vec<SocketAddr>, ResolveError>> + Send>>
        + Send
        + Sync,
>;

/// What a session needs to know of its probe.
#[derive(Clone, Debug)]
pub struct Config {
    /// The registration servers, in order. Those without a host key are skipped.
    pub servers: Vec<RegistrationServer>,
    /// Firmware number to register with (`controller-protocol` section 1.2).
    pub firmware: u32,
    /// `<ID>/<VERSION_ID>/<machine>` of the host (`controller-protocol` section 2.2).
    pub sub_arch: String,
    /// The node's name, for the banner of the command connection.
    pub hostname: String,
    /// For the 9000 marker: how often the agent started since the host has been up for ten minutes.
    pub reboot_count: u32,
    /// Where the state is kept across restarts.
    pub state_file: PathBuf,
    /// Where connections leave from.
    pub sources: Sources,
}

/// Where the session leaves from: for each family an address of this host or an interface, if the choice is not the
/// host's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// For IPv4.
    pub ipv4: Option<String>,
    /// For IPv6.
    pub ipv6: Option<String>,
}

impl Sources {
    /// For a connection to this address; loopback has no other way.
    fn of(&self, to: SocketAddr) -> Option<String> {
        if to.ip().is_loopback() {
            None
        } else if to.is_ipv6() {
            self.ipv6.clone()
        } else {
            self.ipv4.clone()
        }
    }
}

/// How much may happen on a connection before it is looked at; a full queue makes the connection wait.
const QUEUE: usize = 32;

/// Registers, connects, and stays connected until `shutdown` turns true or its sender is gone. What happens is
/// told through `events`, bounded: a receiver that does not keep up holds the session back.
#[expect(
    clippy::too_many_arguments,
    reason = "each is handed in once, by the agent"
)]
pub async fn run(
    config: Config,
    clock: Clock,
    seed: u64,
    key: ProbeKey,
    resolve: Resolve,
    interpreter: Interpreter,
    events: mpsc::Sender<SessionEvent>,
    tunnel: TunnelEnd,
    mut shutdown: watch::Receiver<bool>,
) {
    let made_for = disk::made_for(&key, &config.servers);
    let state = disk::load(config.state_file.clone(), made_for).await;
    let settings = Settings {
        servers: config.servers,
        firmware: config.firmware,
        sub_arch: config.sub_arch,
        key: key.path().to_owned(),
        reboot_count: config.reboot_count,
    };
    let mut driver = Driver {
        session: Session::new(settings, state, seed),
        clock,
        key,
        way: Arc::new(Way::new(resolve, config.sources, clock)),
        hostname: config.hostname,
        state_file: config.state_file,
        commands: Connections::new(interpreter, clock),
        events,
        tunnel,
        line: None,
    };
    tokio::select! {
        () = driver.drive() => {}
        _ = shutdown.wait_for(|stop| *stop) => {}
    }
    driver.hang_up();
}

/// Whether a registration server answers and proves its pinned host key; nobody logs in and nothing is registered.
///
/// # Errors
/// It cannot be reached, shows another key, or has none that is known.
pub async fn greet(
    server: &RegistrationServer,
    resolve: &Resolve,
    sources: Sources,
) -> Result<(), Failure> {
    let target = Target {
        host: server.host.clone(),
        port: server.port,
        host_key: server.host_key.clone().ok_or(Failure::NoServer)?,
        remote_port: None,
    };
    let way = Way::new(Arc::clone(resolve), sources, Clock::start());
    connect::greet(&target, &way).await
}

struct Driver {
    session: Session,
    clock: Clock,
    key: ProbeKey,
    way: Arc<Way>,
    hostname: String,
    state_file: PathBuf,
    commands: Connections,
    events: mpsc::Sender<SessionEvent>,
    tunnel: TunnelEnd,
    line: Option<Active>,
}

/// The exchange under way. Dropping it ends it; what it had still to say is never heard.
struct Active {
    progress: mpsc::Receiver<Progress>,
    task: JoinHandle<()>,
}

impl Drop for Active {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What came first.
enum Next {
    Deadline,
    Progress(Progress),
    Command(super::interpreter::ConnectionId, commands::Heard),
    Upload(super::Upload),
}

impl Driver {
    /// Until nobody listens to the events any more.
    async fn drive(&mut self) {
        while !self.events.is_closed() {
            match self.next().await {
                Next::Deadline => self.tell(Input::Deadline).await,
                Next::Command(id, heard) => {
                    let changes = self.commands.heard(id, heard);
                    self.obey(changes).await;
                }
                Next::Progress(progress) => self.progressed(progress).await,
                Next::Upload(upload) => self.tell(Input::Uploaded(upload)).await,
            }
        }
    }

    async fn next(&mut self) -> Next {
        let deadline = self
            .session
            .deadline()
            .map(|tick| self.clock.instant(tick).into());
        tokio::select! {
            // In this order, so that a KEEP's end is never heard before the commands that came first.
            biased;
            (id, heard) = self.commands.hear() => Next::Command(id, heard),
            progress = progressing(&mut self.line) => Next::Progress(progress),
            upload = self.tunnel.told() => Next::Upload(upload),
            () = sleep_until(deadline.unwrap_or_else(|| self.clock.instant(self.clock.tick()).into())),
                if deadline.is_some() => Next::Deadline,
        }
    }

    async fn progressed(&mut self, progress: Progress) {
        match progress {
            Progress::Connected(handle) => {
                self.tunnel.set(Some(handle));
                self.tell(Input::Connected).await;
            }
            Progress::Forwarded(channel) => {
                let changes = self.commands.open(channel);
                self.obey(changes).await;
            }
            Progress::NotForwarded => self.tell(Input::NotForwarded).await,
            Progress::Over(over) => {
                self.end_line().await;
                self.tell(match over {
                    Ok(answer) => Input::Answered(answer),
                    Err(failure) => Input::Lost(failure),
                })
                .await;
            }
        }
    }

    /// Tells the machine, and does what it says.
    async fn tell(&mut self, input: Input) {
        let now = self.clock.now(None);
        for output in self.session.handle(&now, input) {
            match output {
                Output::Save(state) => self.save(state).await,
                Output::Tell(event) => self.emit(event).await,
                Output::Disconnect => self.end_line().await,
                Output::Register {
                    server,
                    host_key,
                    block,
                } => {
                    let RegistrationServer { host, port, .. } = server;
                    let remote_port = None;
                    self.ask(
                        Target {
                            host,
                            port,
                            host_key,
                            remote_port,
                        },
                        block,
                    );
                }
                Output::Connect(controller) => self.ask(target(controller, None), String::new()),
                Output::Keep {
                    controller,
                    identity,
                } => self.keep(controller, &identity),
            }
        }
    }

    fn ask(&mut self, target: Target, stdin: String) {
        let (sender, progress) = mpsc::channel(QUEUE);
        let init = exchange::init(target, stdin, self.key.clone(), Arc::clone(&self.way));
        let task = tokio::spawn(async move {
            let over = init.await;
            // Nobody waits for it any more: as good as told.
            let _ = sender.send(Progress::Over(over)).await;
        });
        self.line = Some(Active { progress, task });
    }

    fn keep(&mut self, controller: Controller, identity: &Identity) {
        let interpreter = self.commands.interpreter();
        interpreter.set_identity(identity.probe_id, &self.hostname);
        interpreter.set_session(Some(identity.session_id.clone()));
        let (sender, progress) = mpsc::channel(QUEUE);
        let target = target(controller, Some(identity.remote_port));
        let task = tokio::spawn(exchange::keep(
            target,
            self.key.clone(),
            Arc::clone(&self.way),
            sender,
        ));
        self.line = Some(Active { progress, task });
    }

    async fn end_line(&mut self) {
        self.hang_up();
        let changes = self.commands.close_all();
        self.changed(changes).await;
    }

    fn hang_up(&mut self) {
        self.tunnel.set(None);
        self.line = None;
    }

    /// Hands on what the controller changed: a command came.
    async fn obey(&mut self, changes: Vec<Change>) {
        let is_commanded = !changes.is_empty();
        self.changed(changes).await;
        if is_commanded {
            self.tell(Input::Commanded).await;
        }
    }

    async fn changed(&mut self, changes: Vec<Change>) {
        for change in changes {
            self.emit(SessionEvent::Change(change)).await;
        }
    }

    async fn emit(&mut self, event: SessionEvent) {
        // The agent says what an operator would notice; this is when it happened.
        tracing::trace!(event = %event, "session");
        // Without a listener `drive` ends at its next turn.
        let _ = self.events.send(event).await;
    }

    async fn save(&mut self, state: State) {
        if let Err(cause) = disk::save(self.state_file.clone(), state).await {
            // The session goes on; only a restart would have to begin anew.
            tracing::warn!(file = %self.state_file.display(), %cause, "cannot save the session's state");
        }
    }
}

fn target(controller: Controller, remote_port: Option<u16>) -> Target {
    let Controller {
        host,
        port,
        host_key,
    } = controller;
    Target {
        host,
        port,
        host_key,
        remote_port,
    }
}

/// What comes of the exchange under way; never, if there is none. An exchange whose task died says so.
async fn progressing(line: &mut Option<Active>) -> Progress {
    match line {
        Some(active) => active.progress.recv().await.unwrap_or_else(|| {
            Progress::Over(Err(super::Failure::Ssh(
                "the exchange was cut off".to_owned(),
            )))
        }),
        None => std::future::pending().await,
    }
}
