//! The task that keeps results and sends them: two spools, the uploader, and one post of each queue at a time.
//!
//! The disk may take its time, so every operation on it runs on a thread of its own; this task waits for it and
//! nothing else does. Its inbox is bounded: when it is full, finished runs wait for a place, and no result is lost.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::sleep_until,
};

use super::{pulse::Heart, status::Status};
use crate::{
    clock::{Clock, UnixTime},
    dialect::Dialect,
    observe::metrics,
    session::{ClockOff, Tunnel},
    spool::{
        self, Limits, Note, Number,
        disk::{OpenError, Store},
    },
    upload::{
        Answer, Duty, Identity, Input, Output, Own, Post, Queue, Uploader, Which,
        http::{self, PostError},
    },
};

/// What the storage task is told.
#[derive(Debug)]
pub(super) enum Message {
    /// Keep these RESULT lines.
    Keep {
        /// For which post.
        queue: Queue,
        /// With line ends.
        lines: String,
        /// For a one-off: whether it was the last one running.
        idle: bool,
    },
    /// A session began.
    Session(Identity),
    /// The tables ask for these uploads and markers.
    Duties(Vec<Duty>),
    /// Finished one-offs are to be posted now.
    PostOneOffs,
    /// Another upload interval of our own.
    Interval(Duration),
}

/// How the storage stands, for whoever asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// The periodic queue.
    pub periodic: spool::Stats,
    /// The one-off queue.
    pub one_offs: spool::Stats,
    /// When the last post with results was accepted.
    pub last_accepted: Option<UnixTime>,
    /// When the wall clock was last confirmed.
    pub last_sync: Option<UnixTime>,
}

/// What makes a storage task.
pub(super) struct Storage {
    clock: Clock,
    dialect: Dialect,
    stores: BTreeMap<Queue, Shared>,
    uploader: Uploader,
    tunnel: Tunnel,
    status: Arc<Status>,
    /// Posts under way; each ends in its answer and how long that took.
    posts: JoinSet<(Which, Answer, Duration)>,
    stored: watch::Sender<Stored>,
}

type Shared = Arc<Mutex<Store>>;

/// How long the last words to disk and controller may take when the process ends.
const FAREWELL: Duration = Duration::from_millis(2400);
/// Messages taken at once: results that wait for a slow disk go to it in one write.
const BATCH: usize = 256;

impl Storage {
    /// Opens the spools below `folder` and recovers what they hold.
    ///
    /// # Errors
    /// A directory is in use by another process, or cannot be listed.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is handed in once, by the agent"
    )]
    pub(super) fn open(
        folder: &Path,
        limits: Limits,
        own: Own,
        dialect: Dialect,
        seed: u64,
        clock: Clock,
        tunnel: Tunnel,
        status: Arc<Status>,
    ) -> Result<(Self, watch::Receiver<Stored>), OpenError> {
        let mut stores = BTreeMap::new();
        for (queue, name) in [(Queue::Periodic, "results"), (Queue::OneOff, "one-offs")] {
            let (store, notes) = Store::open(&folder.join(name), limits, clock.tick())?;
            say(queue, &notes);
            stores.insert(queue, Arc::new(Mutex::new(store)));
        }
        let (stored, watch) = watch::channel(Stored::default());
        let storage = Self {
            clock,
            dialect,
            stores,
            uploader: Uploader::new(own, seed),
            tunnel,
            status,
            posts: JoinSet::new(),
            stored,
        };
        Ok((storage, watch))
    }

    /// Serves until the inbox is closed, then flushes.
    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Message>, mut heart: Heart) {
        let mut tunnel = self.tunnel.clone();
        let mut batch = Vec::new();
        loop {
            let deadline = self.deadline();
            let wake = async {
                match deadline {
                    Some(tick) => sleep_until(self.clock.instant(tick).into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                count = inbox.recv_many(&mut batch, BATCH) => match count {
                    0 => break,
                    _ => self.take_all(&mut batch).await,
                },
                Some(answered) = self.posts.join_next() => {
                    if let Ok((which, answer, took)) = answered {
                        let metrics = &self.status.metrics;
                        metrics.posted(post_name(which), outcome(&answer), took);
                        self.answered(which, answer).await;
                    }
                }
                connected = tunnel.changed() => self.decide(Input::Tunnel(connected)).await,
                () = wake => self.wake().await,
                () = heart.asked() => {}
            }
            self.publish();
            heart.answer();
        }
        let until = self.clock.instant(self.clock.tick() + FAREWELL).into();
        if tokio::time::timeout_at(until, self.say_farewell())
            .await
            .is_err()
        {
            tracing::error!(
                "disk and controller did not take the last results in time: those that are not on disk are lost"
            );
        }
    }

    /// Leaves everything on disk. A post under way is not waited for: its segment stays and goes again next time.
    /// Only what the disk refuses is posted now, for it would not outlive us.
    async fn say_farewell(&mut self) {
        for queue in [Queue::Periodic, Queue::OneOff] {
            self.disk(queue, spool::Input::Flush).await;
        }
        let status = Arc::clone(&self.status);
        blocking(move || status.keep_last_sync()).await;
        if self.held() == 0 {
            return;
        }
        self.decide(Input::Leaving).await;
        while let Some(answered) = self.posts.join_next().await {
            if let Ok((which, answer, _)) = answered {
                self.answered(which, answer).await;
            }
            if self.held() == 0 {
                return;
            }
        }
        for queue in [Queue::Periodic, Queue::OneOff] {
            let (lines, stats) = self.with(queue, |store| {
                (store.spool().held_lines(), store.spool().stats())
            });
            if let (1.., Some(errno)) = (lines, stats.disk_refuses) {
                tracing::error!(
                    queue = queue_name(queue),
                    "{lines} results are lost: the disk refuses them ({errno}) and no controller took them; {}",
                    errno.remedy()
                );
            }
        }
    }

    /// Bytes of results that are in memory only.
    fn held(&self) -> usize {
        let queues = [Queue::Periodic, Queue::OneOff];
        queues
            .map(|queue| self.with(queue, |store| store.spool().stats().held))
            .iter()
            .sum()
    }

    /// Takes what came, finished results of one queue in one go.
    async fn take_all(&mut self, batch: &mut Vec<Message>) {
        let mut kept: Option<(Queue, String, bool)> = None;
        for message in batch.drain(..) {
            match (message, &mut kept) {
                (Message::Keep { queue, lines, idle }, Some((same, before, last)))
                    if *same == queue =>
                {
                    before.push_str(&lines);
                    *last = idle;
                }
                (message, kept) => {
                    if let Some((queue, lines, idle)) = kept.take() {
                        self.keep(queue, lines, idle).await;
                    }
                    match message {
                        Message::Keep { queue, lines, idle } => *kept = Some((queue, lines, idle)),
                        other => self.take(other).await,
                    }
                }
            }
        }
        if let Some((queue, lines, idle)) = kept {
            self.keep(queue, lines, idle).await;
        }
    }

    async fn keep(&mut self, queue: Queue, lines: String, idle: bool) {
        let made = lines.bytes().filter(|byte| *byte == b'\n').count();
        self.status
            .metrics
            .results(queue_name(queue), u64::try_from(made).unwrap_or(0));
        if let Some(tee) = &self.status.tee {
            tee.copy(&lines);
        }
        self.disk(queue, spool::Input::Append(lines)).await;
        if queue == Queue::OneOff {
            self.decide(Input::OneOff { idle }).await;
        }
    }

    async fn take(&mut self, message: Message) {
        match message {
            Message::Keep { queue, lines, idle } => self.keep(queue, lines, idle).await,
            Message::Session(identity) => self.decide(Input::Session(identity)).await,
            Message::Duties(duties) => self.decide(Input::Duties(duties)).await,
            Message::Interval(interval) => {
                self.uploader.set_interval(interval);
                self.decide(Input::Deadline).await;
            }
            Message::PostOneOffs => self.decide(Input::OneOff { idle: true }).await,
        }
    }

    async fn answered(&mut self, which: Which, answer: Answer) {
        tracing::debug!(?which, ?answer, "post ended");
        if which != Which::TimeSync && matches!(answer, Answer::Heard { accepted: true, .. }) {
            let now = self.clock.unix();
            self.stored
                .send_modify(|stored| stored.last_accepted = Some(now));
        }
        self.decide(Input::Answered(which, answer)).await;
    }

    /// Tells the uploader and does what it says, until it has nothing more to say.
    async fn decide(&mut self, input: Input) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            let now = self.clock.now(self.status.last_sync());
            for output in self.uploader.handle(&now, input) {
                match output {
                    Output::Collect { queue, enough } => {
                        let (store, now) = (self.store(queue), self.clock.tick());
                        let (sealed, notes) =
                            blocking(move || lock(&store).collect(now, enough)).await;
                        say(queue, &notes);
                        inputs.push(Input::Collected(queue, sealed));
                    }
                    Output::Post(post) => self.post(post).await,
                    Output::Uploaded(queue, numbers) => {
                        self.disk(queue, spool::Input::Uploaded(numbers)).await;
                    }
                    Output::Kept(queue) => self.disk(queue, spool::Input::Kept).await,
                    Output::Append(line) => {
                        self.disk(Queue::Periodic, spool::Input::Append(line)).await;
                    }
                    Output::Limit(bytes) => {
                        for queue in [Queue::Periodic, Queue::OneOff] {
                            self.disk(queue, spool::Input::Limit(bytes)).await;
                        }
                    }
                    Output::Held(time) => tracing::warn!(
                        "the controller answers uploads with 429 (too many requests), as it does for hours after frequent \
                         registrations; the next upload is made in {} s and results are kept until then: nothing to do \
                         here but leave the probe running",
                        time.as_secs()
                    ),
                    Output::Told(upload) => self.tunnel.tell(upload),
                    Output::Failing(why) => tracing::warn!(
                        "the controller does not accept uploads: {why}; results are kept and tried again at the next slot"
                    ),
                    Output::Works => tracing::info!("the controller accepts uploads again"),
                    Output::ClockOff(by) => tracing::warn!("{}", ClockOff(by)),
                    Output::InSync(at) => {
                        self.status.set_last_sync(at);
                        self.stored
                            .send_modify(|stored| stored.last_sync = Some(at));
                    }
                }
            }
        }
    }

    /// Gathers a post's body and sends it off.
    async fn post(&mut self, post: Post) {
        let which = post.which;
        let mut segments = Vec::with_capacity(post.segments.len());
        for number in &post.segments {
            match self.read(which.queue(), *number).await {
                Some(lines) => segments.push(lines),
                None => {
                    self.posts
                        .spawn(async move { (which, Answer::NotMade, Duration::ZERO) });
                    return;
                }
            }
        }
        let mut lines = String::new();
        if post.status {
            let status = Arc::clone(&self.status);
            let now = self.clock.now(status.last_sync());
            // Reading /proc and the file system's figures is work for the disk's thread.
            lines = blocking(move || status.lines(&now)).await;
        }
        let unix = self.clock.unix().secs();
        let request = http::Request::new(&post, &lines, &segments, unix, self.dialect);
        let (tunnel, clock) = (self.tunnel.clone(), self.clock);
        self.posts.spawn(async move {
            let began = clock.tick();
            let answer = http::post(tunnel.open(), &request, clock).await;
            (which, answer, clock.tick().since(began))
        });
    }

    async fn read(&self, queue: Queue, number: Number) -> Option<Vec<u8>> {
        let (store, now) = (self.store(queue), self.clock.tick());
        let (bytes, notes) = blocking(move || lock(&store).read(now, number)).await;
        say(queue, &notes);
        bytes
    }

    async fn disk(&self, queue: Queue, input: spool::Input) {
        let (store, now) = (self.store(queue), self.clock.tick());
        let notes = blocking(move || lock(&store).handle(now, input)).await;
        say(queue, &notes);
    }

    async fn wake(&mut self) {
        let now = self.clock.tick();
        for queue in [Queue::Periodic, Queue::OneOff] {
            if self
                .with(queue, |store| store.spool().deadline())
                .is_some_and(|at| at <= now)
            {
                self.disk(queue, spool::Input::Deadline).await;
            }
        }
        if self.uploader.deadline().is_some_and(|at| at <= now) {
            self.decide(Input::Deadline).await;
        }
    }

    fn deadline(&self) -> Option<crate::clock::Tick> {
        let stores = [Queue::Periodic, Queue::OneOff]
            .map(|queue| self.with(queue, |store| store.spool().deadline()));
        stores
            .into_iter()
            .chain([self.uploader.deadline()])
            .flatten()
            .min()
    }

    fn publish(&self) {
        let stats = |queue| self.with(queue, |store| store.spool().stats());
        let (periodic, one_offs) = (stats(Queue::Periodic), stats(Queue::OneOff));
        self.stored.send_if_modified(|stored| {
            let changed = stored.periodic != periodic || stored.one_offs != one_offs;
            stored.periodic = periodic;
            stored.one_offs = one_offs;
            changed
        });
    }

    fn store(&self, queue: Queue) -> Shared {
        Arc::clone(&self.stores[&queue])
    }

    fn with<T>(&self, queue: Queue, look: impl FnOnce(&Store) -> T) -> T {
        look(&lock(&self.stores[&queue]))
    }
}

fn lock(store: &Mutex<Store>) -> std::sync::MutexGuard<'_, Store> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `work` where it may block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

const fn queue_name(queue: Queue) -> &'static str {
    match queue {
        Queue::Periodic => "periodic",
        Queue::OneOff => "oneoff",
    }
}

const fn post_name(which: Which) -> &'static str {
    match which {
        Which::Main => "periodic",
        Which::TimeSync => "timesync",
        Which::OneOff => "oneoff",
    }
}

/// How a post ended, in a word for metrics.
const fn outcome(answer: &Answer) -> &'static str {
    match answer {
        Answer::Heard { accepted: true, .. } => metrics::ACCEPTED,
        Answer::Heard {
            status: 200..=299, ..
        } => "not_confirmed",
        Answer::Heard { status: 429, .. } => "http_429",
        Answer::Heard {
            status: 400..=499, ..
        } => "http_4xx",
        Answer::Heard {
            status: 500..=599, ..
        } => "http_5xx",
        Answer::Heard { .. } => "http_other",
        Answer::Failed(PostError::Open(_)) => "no_channel",
        Answer::Failed(PostError::Broken(_)) => "broken",
        Answer::Failed(PostError::TimedOut { .. }) => "timeout",
        Answer::Failed(PostError::BadAnswer(_)) => "bad_answer",
        Answer::NotMade => "unreadable",
    }
}

/// What the spool would like an operator to know.
fn say(queue: Queue, notes: &[Note]) {
    let queue = queue_name(queue);
    for note in notes {
        match note {
            Note::Recovered { .. } | Note::DiskWorks => tracing::info!(queue, "{note}"),
            other => tracing::warn!(queue, "{other}"),
        }
    }
}

/// The identity of a session as posts carry it.
pub(super) fn identity(session: &crate::session::Identity) -> Identity {
    Identity {
        probe_id: session.probe_id,
        session_id: session.session_id.clone(),
    }
}
