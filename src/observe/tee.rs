//! A local copy of results: one JSON object a line, to standard output or to a file that is rotated.
//!
//! A thread of its own writes, for a disk or a reader may take as long as it likes. Whoever has a result never waits: what
//! does not fit into the bounded queue is not copied, and counted. A copy that fails is said once, and once more when it
//! works again.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use serde::de::IgnoredAny;
use tokio::sync::watch;

use super::status;

/// Batches of lines that may wait.
const QUEUE: usize = 1024;
/// Bytes of lines that may wait.
const QUEUE_BYTES: usize = 1 << 20;
/// What stands before the object in a result line.
const PREFIX: &str = "RESULT ";

/// Where copies go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Standard output.
    Stdout,
    /// A file.
    File(Rotated),
}

/// A file that is put aside when it is large: `x` becomes `x.1`, which becomes `x.2`, up to `x.<keep>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotated {
    /// The file that is written.
    pub path: PathBuf,
    /// Its size at most, but for a single line that is longer.
    pub max_bytes: u64,
    /// How many full files are kept besides.
    pub keep: u32,
}

/// The way to the copies. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tee(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    to: String,
    /// None once closed.
    queue: Mutex<Option<SyncSender<String>>>,
    told: Mutex<Told>,
    over: watch::Receiver<bool>,
}

#[derive(Debug, Default)]
struct Told {
    lines: u64,
    dropped: u64,
    waiting: usize,
    trouble: Option<String>,
}

impl Tee {
    /// Starts copying.
    ///
    /// # Errors
    /// No thread can be had.
    pub fn start(target: Target) -> io::Result<Self> {
        let (queue, batches) = sync_channel(QUEUE);
        let (ended, over) = watch::channel(false);
        let tee = Self(Arc::new(Inner {
            to: match &target {
                Target::Stdout => "standard output".to_owned(),
                Target::File(file) => file.path.display().to_string(),
            },
            queue: Mutex::new(Some(queue)),
            told: Mutex::default(),
            over,
        }));
        let sink: Box<dyn Sink> = match target {
            Target::Stdout => Box::new(io::stdout()),
            Target::File(place) => Box::new(Rotating::new(place)),
        };
        let copying = tee.clone();
        thread::Builder::new()
            .name("tee".to_owned())
            .stack_size(128 << 10)
            .spawn(move || {
                copying.write(sink, &batches);
                let _ = ended.send(true);
            })?;
        Ok(tee)
    }

    /// Copies result lines, each with its line end. Never waits. What is no JSON after `RESULT ` is left out: a few of the
    /// probe's reports on itself.
    pub fn copy(&self, lines: &str) {
        let batch: String = lines
            .lines()
            .filter_map(|line| line.strip_prefix(PREFIX))
            .filter(|object| object.starts_with('{'))
            .filter(|object| serde_json::from_str::<IgnoredAny>(object).is_ok())
            .flat_map(|object| [object, "\n"])
            .collect();
        if batch.is_empty() {
            return;
        }
        let (bytes, lines) = (batch.len(), count(&batch));
        let mut told = self.told();
        let taken = told.waiting + bytes <= QUEUE_BYTES
            && lock(&self.0.queue)
                .as_ref()
                .is_some_and(|queue| queue.try_send(batch).is_ok());
        if taken {
            told.waiting += bytes;
        } else {
            told.dropped += lines;
            self.fail(told, "it does not keep up");
        }
    }

    /// How it stands.
    #[must_use]
    pub fn report(&self) -> status::Tee {
        let told = self.told();
        status::Tee {
            to: self.0.to.clone(),
            lines: told.lines,
            dropped: told.dropped,
            trouble: told.trouble.clone(),
        }
    }

    /// Takes no more, and waits until what waits is written, at most so long.
    pub async fn close(&self, patience: Duration) {
        lock(&self.0.queue).take();
        let mut over = self.0.over.clone();
        let ended = tokio::time::timeout(patience, over.wait_for(|over| *over)).await;
        if ended.is_err() {
            tracing::warn!(to = self.0.to, "not all results were copied before the end");
        }
    }

    /// The thread.
    fn write(&self, mut sink: Box<dyn Sink>, batches: &Receiver<String>) {
        for batch in batches {
            for line in batch.split_inclusive('\n') {
                let written = sink.line(line);
                let mut told = self.told();
                match written {
                    Ok(()) => {
                        told.lines += 1;
                        if let Some(before) = told.trouble.take() {
                            drop(told);
                            tracing::info!(to = self.0.to, before, "results are copied again");
                        }
                    }
                    Err(error) => {
                        told.dropped += 1;
                        self.fail(told, &error.to_string());
                    }
                }
            }
            self.told().waiting -= batch.len();
        }
    }

    fn fail(&self, mut told: MutexGuard<'_, Told>, why: &str) {
        let is_news = told.trouble.is_none();
        told.trouble = Some(why.to_owned());
        drop(told);
        if is_news {
            tracing::warn!(
                to = self.0.to,
                why,
                "results are not copied; the controller gets them all the same"
            );
        }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        lock(&self.0.told)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn count(lines: &str) -> u64 {
    let count = lines.bytes().filter(|byte| *byte == b'\n').count();
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// What takes a line, whole or not at all.
trait Sink: Send {
    fn line(&mut self, line: &str) -> io::Result<()>;
}

impl Sink for io::Stdout {
    fn line(&mut self, line: &str) -> io::Result<()> {
        let mut out = self.lock();
        out.write_all(line.as_bytes())?;
        out.flush()
    }
}

/// A file that is rotated.
struct Rotating {
    place: Rotated,
    /// The open file and its size; none until it could be opened.
    file: Option<(File, u64)>,
}

impl Rotating {
    const fn new(place: Rotated) -> Self {
        Self { place, file: None }
    }

    fn open(&mut self) -> io::Result<(File, u64)> {
        if let Some(open) = self.file.take() {
            return Ok(open);
        }
        if let Some(folder) = self.place.path.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = File::options()
            .create(true)
            .append(true)
            .open(&self.place.path)?;
        let size = file.metadata()?.len();
        Ok((file, size))
    }

    fn rotate(&self) -> io::Result<()> {
        let Rotated { path, keep, .. } = &self.place;
        for number in (1..*keep).rev() {
            let (from, to) = (numbered(path, number), numbered(path, number + 1));
            absent_is_fine(fs::rename(from, to))?;
        }
        if *keep == 0 {
            absent_is_fine(fs::remove_file(path))
        } else {
            absent_is_fine(fs::rename(path, numbered(path, 1)))
        }
    }
}

impl Sink for Rotating {
    fn line(&mut self, line: &str) -> io::Result<()> {
        let (mut file, mut size) = self.open()?;
        let length = u64::try_from(line.len()).unwrap_or(u64::MAX);
        if size > 0 && size.saturating_add(length) > self.place.max_bytes {
            drop(file);
            self.rotate()?;
            (file, size) = self.open()?;
        }
        if let Err(error) = file.write_all(line.as_bytes()) {
            // Half a line would spoil the next one. A disk that refuses this too has the next one checked again.
            let _ = file.set_len(size);
            return Err(error);
        }
        self.file = Some((file, size + length));
        Ok(())
    }
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

fn absent_is_fine(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Copies these lines to a file and closes; the report.
    fn copied(place: &Rotated, batches: &[&str]) -> status::Tee {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let tee = Tee::start(Target::File(place.clone())).unwrap();
            for batch in batches {
                tee.copy(batch);
            }
            tee.close(Duration::from_secs(60)).await;
            tee.report()
        })
    }

    fn place(folder: &Path, max_bytes: u64, keep: u32) -> Rotated {
        Rotated {
            path: folder.join("deep/results.ndjson"),
            max_bytes,
            keep,
        }
    }

    #[test]
    fn a_copy_is_the_object_of_each_line() {
        let folder = tempfile::tempdir().unwrap();
        let place = place(folder.path(), 1000, 2);
        let report = copied(
            &place,
            &[
                "RESULT {\"a\":1}\nRESULT { \"b\": 2 }\n",
                "RESULT 9000 done 1 x STARTING\nRESULT {broken\n",
                "RESULT {\"c\":3}\n",
            ],
        );
        let text = fs::read_to_string(&place.path).unwrap();
        assert_eq!(text, "{\"a\":1}\n{ \"b\": 2 }\n{\"c\":3}\n");
        assert_eq!((report.lines, report.dropped, report.trouble), (3, 0, None));
    }

    #[test]
    fn full_files_are_put_aside_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let place = place(folder.path(), 20, 2);
        for number in 0..8 {
            // A restart goes on where it was.
            copied(&place, &[&format!("RESULT {{\"n\":{number}}}\n")]);
        }
        let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
        let files = [
            read(&place.path),
            read(&numbered(&place.path, 1)),
            read(&numbered(&place.path, 2)),
        ];
        assert_eq!(
            files,
            [
                "{\"n\":6}\n{\"n\":7}\n",
                "{\"n\":4}\n{\"n\":5}\n",
                "{\"n\":2}\n{\"n\":3}\n"
            ]
        );
        assert_eq!(fs::read_dir(folder.path().join("deep")).unwrap().count(), 3);
    }

    #[test]
    fn a_line_longer_than_a_file_has_one_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let place = place(folder.path(), 10, 1);
        copied(
            &place,
            &["RESULT {\"long\":\"xxxxxxxxxxxxxx\"}\nRESULT {}\n"],
        );
        assert_eq!(fs::read_to_string(&place.path).unwrap(), "{}\n");
    }

    #[test]
    fn without_old_files_the_full_one_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let place = place(folder.path(), 3, 0);
        copied(&place, &["RESULT {}\nRESULT {}\n"]);
        assert_eq!(fs::read_to_string(&place.path).unwrap(), "{}\n");
        assert_eq!(fs::read_dir(folder.path().join("deep")).unwrap().count(), 1);
    }

    #[test]
    fn a_place_that_cannot_be_written_is_told_and_counted() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("deep"), "a file").unwrap();
        let report = copied(
            &place(folder.path(), 100, 1),
            &["RESULT {}\n", "RESULT {}\n"],
        );
        assert_eq!((report.lines, report.dropped), (0, 2));
        assert!(report.trouble.is_some());
    }

    /// Takes nothing until it is let go.
    struct Stuck(Receiver<()>);

    impl Sink for Stuck {
        fn line(&mut self, _: &str) -> io::Result<()> {
            // Its sender goes away when the test is done with it.
            let _ = self.0.recv();
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_stands_still_costs_copies_and_nothing_else() {
        let (queue, batches) = sync_channel(QUEUE);
        let (_ended, over) = watch::channel(false);
        let tee = Tee(Arc::new(Inner {
            to: "x".to_owned(),
            queue: Mutex::new(Some(queue)),
            told: Mutex::default(),
            over,
        }));
        let (go, stuck) = std::sync::mpsc::channel();
        let writer = thread::spawn({
            let tee = tee.clone();
            move || tee.write(Box::new(Stuck(stuck)), &batches)
        });
        let long = format!("RESULT {{\"x\":\"{}\"}}\n", "x".repeat(QUEUE_BYTES / 4));
        for _ in 0..10 {
            tee.copy(&long);
        }
        let report = tee.report();
        assert_eq!(report.dropped, 7);
        assert_eq!(report.trouble.as_deref(), Some("it does not keep up"));
        drop(go);
        lock(&tee.0.queue).take();
        writer.join().unwrap();
        let report = tee.report();
        assert_eq!((report.lines, report.dropped, report.trouble), (3, 7, None));
    }
}
