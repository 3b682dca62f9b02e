//! Drives [`Network`]: passes inputs in, carries outputs out, keeps its time. Decides nothing.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::{mpsc, oneshot, watch};

use super::{
    messages::{Answer, ConnectionId, Event, Input, Output, Record, Ticket},
    network::Network,
    registry::Known,
    store::{self, Store},
};
use crate::{clock::Clock, protocol::registration::SessionId};

/// Inputs that may wait. When full, the client that asks waits: its SSH window closes behind it.
const INPUTS: usize = 1024;
/// Orders that may wait for one connection: one dialogue, one kick, one drop. When full, it is as good as gone.
const ORDERS: usize = 8;
/// Jobs that may wait for the disk. When full, everything waits, which is what a slow disk means.
const JOBS: usize = 256;

/// What a connection is told to do.
#[derive(Debug)]
pub(super) enum Order {
    /// Hand out these lines through the reverse tunnel.
    Command {
        port: u16,
        session: SessionId,
        lines: Arc<Vec<String>>,
    },
    /// Write to KEEP's stdout, then close.
    Kick,
    /// Close.
    Drop,
}

/// The way to the machine; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Core {
    inputs: mpsc::Sender<Message>,
    tickets: Arc<AtomicU64>,
    clock: Clock,
}

#[derive(Debug)]
enum Message {
    Tell(Input),
    Ask(Ticket, Input, oneshot::Sender<Answer>),
    Join(Input, ConnectionId, mpsc::Sender<Order>),
}

impl Core {
    /// Asks and waits for the answer; `None` if the network is stopping.
    pub(super) async fn ask(&self, input: impl FnOnce(Ticket) -> Input) -> Option<Answer> {
        let ticket = Ticket(self.tickets.fetch_add(1, Ordering::Relaxed));
        let (sender, answer) = oneshot::channel();
        let message = Message::Ask(ticket, input(ticket), sender);
        self.inputs.send(message).await.ok()?;
        answer.await.ok()
    }

    /// Tells something that is not answered.
    pub(super) async fn tell(&self, input: Input) {
        // Nobody listens only when the network is stopping.
        let _ = self.inputs.send(Message::Tell(input)).await;
    }

    /// Tells of a connection and takes the orders for it.
    pub(super) async fn join(
        &self,
        input: Input,
        connection: ConnectionId,
    ) -> mpsc::Receiver<Order> {
        let (sender, orders) = mpsc::channel(ORDERS);
        let _ = self
            .inputs
            .send(Message::Join(input, connection, sender))
            .await;
        orders
    }

    pub(super) const fn clock(&self) -> Clock {
        self.clock
    }
}

/// The machine with all that it needs to run.
#[derive(Debug)]
pub(super) struct Driver {
    network: Network,
    clock: Clock,
    inputs: mpsc::Receiver<Message>,
    asked: HashMap<Ticket, oneshot::Sender<Answer>>,
    orders: HashMap<ConnectionId, mpsc::Sender<Order>>,
    jobs: mpsc::Sender<Job>,
    stored: mpsc::UnboundedReceiver<Stored>,
    events: mpsc::Sender<Event>,
    missed: u64,
}

/// Starts the thread that writes to disk and prepares the driver.
pub(super) fn start(
    network: Network,
    clock: Clock,
    store: Store,
    dir: PathBuf,
    events: mpsc::Sender<Event>,
) -> std::io::Result<(Core, Driver)> {
    let (sender, inputs) = mpsc::channel(INPUTS);
    let (jobs, queue) = mpsc::channel(JOBS);
    // Without a bound of its own: each job yields one result, and jobs are bounded.
    let (results, stored) = mpsc::unbounded_channel();
    std::thread::Builder::new()
        .name("controller-store".to_owned())
        .spawn(move || keep(store, &dir, queue, &results))?;
    let core = Core {
        inputs: sender,
        tickets: Arc::new(AtomicU64::new(1)),
        clock,
    };
    let driver = Driver {
        network,
        clock,
        inputs,
        asked: HashMap::new(),
        orders: HashMap::new(),
        jobs,
        stored,
        events,
        missed: 0,
    };
    Ok((core, driver))
}

impl Driver {
    /// Runs until `shutdown` is true. Posts that are being stored then are stored, and stay unanswered.
    pub(super) async fn run(mut self, mut shutdown: watch::Receiver<bool>) {
        loop {
            let deadline = self
                .network
                .deadline()
                .map(|tick| self.clock.instant(tick).into());
            let deadline = async {
                match deadline {
                    Some(instant) => tokio::time::sleep_until(instant).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = stopped(&mut shutdown) => break,
                Some(stored) = self.stored.recv() => self.stored(stored).await,
                message = self.inputs.recv() => match message {
                    Some(message) => self.take(message).await,
                    None => break,
                },
                () = deadline => self.feed(Input::Deadline).await,
            }
        }
        for orders in self.orders.values() {
            let _ = orders.try_send(Order::Drop);
        }
        // Ends the store's thread once it has written what is queued; its results end when it does.
        drop(self.jobs);
        while self.stored.recv().await.is_some() {}
    }

    async fn take(&mut self, message: Message) {
        match message {
            Message::Tell(input) => {
                if let Input::Left { connection } = &input {
                    self.orders.remove(connection);
                }
                self.feed(input).await;
            }
            Message::Ask(ticket, input, sender) => {
                self.asked.insert(ticket, sender);
                self.feed(input).await;
            }
            Message::Join(input, connection, orders) => {
                self.orders.insert(connection, orders);
                self.feed(input).await;
            }
        }
    }

    async fn stored(&mut self, stored: Stored) {
        for ticket in stored.tickets {
            let failed = stored.failed.clone();
            self.feed(Input::Stored { ticket, failed }).await;
        }
    }

    async fn feed(&mut self, input: Input) {
        let now = self.clock.now(None);
        for output in self.network.handle(&now, input) {
            self.perform(output).await;
        }
    }

    async fn perform(&mut self, output: Output) {
        match output {
            Output::Answer(ticket, answer) => {
                if let Some(sender) = self.asked.remove(&ticket) {
                    // A client that left no longer wants to know.
                    let _ = sender.send(answer);
                }
            }
            Output::Command {
                connection,
                port,
                session,
                lines,
            } => self.order(
                connection,
                Order::Command {
                    port,
                    session,
                    lines,
                },
            ),
            Output::Kick(connection) => self.order(connection, Order::Kick),
            Output::Drop(connection) => self.order(connection, Order::Drop),
            Output::Store { ticket, records } => {
                let _ = self.jobs.send(Job::Store(ticket, records)).await;
            }
            Output::Persist(known) => {
                let _ = self.jobs.send(Job::Persist(known)).await;
            }
            Output::Event(event) => self.show(event),
        }
    }

    fn order(&self, connection: ConnectionId, order: Order) {
        if let Some(orders) = self.orders.get(&connection) {
            let _ = orders.try_send(order);
        }
    }

    fn show(&mut self, event: Event) {
        match &event {
            Event::Posted(posted) if !posted.missing.is_empty() && !posted.accepted.is_empty() => {
                tracing::debug!(probe = %posted.probe, missing = ?posted.missing, "status results are missing");
            }
            _ => {}
        }
        if let Err(mpsc::error::TrySendError::Full(_)) = self.events.try_send(event) {
            self.missed += 1;
            if self.missed.is_power_of_two() {
                tracing::warn!(
                    missed = self.missed,
                    "whoever watches is too slow and misses events"
                );
            }
        }
    }
}

/// Waits until the network is to stop. Nobody left to say so means the same.
pub(super) async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|stop| *stop).await;
}

/// Work for the disk.
#[derive(Debug)]
enum Job {
    Store(Ticket, Vec<Record>),
    Persist(Vec<Known>),
}

/// What came of several [`Job::Store`]s.
#[derive(Debug)]
struct Stored {
    tickets: Vec<Ticket>,
    failed: Option<String>,
}

/// The thread that writes: what waits together is written together, so that one sync serves many posts.
fn keep(
    mut store: Store,
    dir: &std::path::Path,
    mut queue: mpsc::Receiver<Job>,
    results: &mpsc::UnboundedSender<Stored>,
) {
    while let Some(first) = queue.blocking_recv() {
        let mut tickets = Vec::new();
        let mut records = Vec::new();
        let mut known = None;
        let more = std::iter::from_fn(|| queue.try_recv().ok());
        for job in std::iter::once(first).chain(more.take(JOBS)) {
            match job {
                Job::Store(ticket, rows) => {
                    tickets.push(ticket);
                    records.extend(rows);
                }
                Job::Persist(probes) => known = Some(probes),
            }
        }
        if let Some(known) = known
            && let Err(error) = store::save_probes(dir, &known)
        {
            tracing::error!(%error, "the list of probes cannot be kept");
        }
        if tickets.is_empty() {
            continue;
        }
        let failed = store.write(&records).err().map(|error| {
            tracing::error!(%error, "results cannot be stored");
            error.to_string()
        });
        let _ = results.send(Stored { tickets, failed });
    }
}
