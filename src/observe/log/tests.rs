//! What a log looks like, and what is remembered of it.

use std::io::Write;

use tracing_subscriber::fmt::MakeWriter;

use super::{super::status::Trouble, *};

fn remembering(log: impl FnOnce()) -> Vec<Trouble> {
    let troubles = Troubles::default();
    let remember = Remember::new(troubles.clone(), Clock::start());
    tracing::subscriber::with_default(tracing_subscriber::registry().with(remember), log);
    troubles.recent()
}

#[test]
fn warnings_of_ours_are_remembered_in_words() {
    let troubles = remembering(|| {
        tracing::warn!(table = "7", "the table will be lost\nin a restart");
        tracing::info!("stopping");
        tracing::warn!(target: "russh::client", "a library's");
    });
    let words: Vec<&str> = troubles.iter().map(|one| one.words.as_str()).collect();
    assert_eq!(
        words,
        ["the table will be lost in a restart (table: \"7\")"]
    );
}

#[test]
fn memory_is_bounded_in_number_and_length() {
    let troubles = remembering(|| {
        for number in 1..1000 {
            tracing::warn!("{}", "x".repeat(number));
        }
    });
    assert_eq!(troubles.len(), 20);
    assert_eq!(troubles[19].words.len(), 600, "the oldest go first");
    assert!(troubles.iter().all(|one| one.words.len() <= 600));
}

#[test]
fn what_happens_again_is_one_trouble_that_counts() {
    let troubles = remembering(|| {
        tracing::warn!("other");
        for secs in [5, 10, 300] {
            tracing::warn!("no answer; trying again in {secs} s");
        }
    });
    assert_eq!(troubles.len(), 2);
    let last = &troubles[1];
    assert_eq!(last.words, "no answer; trying again in 300 s");
    assert_eq!((last.times, troubles[0].times), (3, 1));
}

/// Keeps what is written.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Paper {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn written(form: Lines, ansi: bool, log: impl FnOnce()) -> String {
    let paper = Paper::default();
    let layer = tracing_subscriber::fmt::layer()
        .with_ansi(ansi)
        .with_writer(paper.clone())
        .fmt_fields(Fields)
        .event_format(form);
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
    let bytes = paper.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

const JOURNAL: Lines = Lines {
    journal: true,
    targets: false,
};

#[test]
fn a_journal_gets_priorities_and_no_time() {
    let text = written(JOURNAL, false, || {
        tracing::warn!(%JOURNAL_FIELD, text = "a b", "words");
        tracing::info!("done");
        tracing::error!("over");
        tracing::debug!("detail");
    });
    assert_eq!(
        text,
        "<4> WARN words JOURNAL_FIELD=x y text=\"a b\"\n<6> INFO done\n<3>ERROR over\n<7>DEBUG detail\n"
    );
}

const JOURNAL_FIELD: &str = "x y";

#[test]
fn a_line_for_people_has_time_and_level_and_no_escape_codes() {
    let form = Lines {
        journal: false,
        targets: true,
    };
    let text = written(form, false, || tracing::info!(number = 3, "words"));
    let (time, rest) = text.split_once(' ').unwrap();
    assert!(time.ends_with('Z') && time.contains('T'), "{text}");
    assert_eq!(
        rest,
        " INFO starling::observe::log::tests: words number=3\n"
    );
}

#[test]
fn strangers_words_stay_on_their_line_and_colour_nothing() {
    let text = written(JOURNAL, true, || {
        tracing::info!(name = %"x\n<0>forged\x1b[31m", "one\ntwo\x07\u{9b}31m");
    });
    assert_eq!(text.matches('\n').count(), 1, "{text:?}");
    assert!(
        text.contains("one two  31m name=x <0>forged [31m\n"),
        "{text:?}"
    );
    assert!(
        text.contains("\x1b[32m INFO\x1b[0m"),
        "only our own: {text:?}"
    );
    assert_eq!(text.matches('\x1b').count(), 2, "{text:?}");
}

#[test]
fn what_is_to_be_copied_is_alone_on_its_line() {
    let form = Lines {
        journal: false,
        targets: true,
    };
    let text = written(form, true, || plainly("ssh-ed25519 AAAA probe"));
    assert_eq!(text, "ssh-ed25519 AAAA probe\n");
    let text = written(JOURNAL, false, || plainly("ssh-ed25519 AAAA probe"));
    assert_eq!(text, "<6>ssh-ed25519 AAAA probe\n");
}

#[test]
fn a_flood_is_bounded_once_somebody_sums_it_up() {
    let limit = Limit(Arc::new(Limited {
        clock: Clock::start(),
        rate: Mutex::default(),
        wake: Notify::new(),
    }));
    let paper = Paper::default();
    let layer = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(paper.clone())
        .fmt_fields(Fields)
        .event_format(JOURNAL)
        .with_filter(LevelFilter::DEBUG.and(limit.clone()));
    let lines = || {
        let mut bytes = paper.0.lock().unwrap();
        let text = String::from_utf8(std::mem::take(&mut *bytes)).unwrap();
        text.lines().count()
    };
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        let flood = || {
            for number in 0..1000 {
                tracing::warn!("packet {number} makes no sense");
            }
        };
        flood();
        assert_eq!(lines(), 1000, "nothing would tell of what is left out");
        *limit.rate() = Some(Rate::new());
        flood();
        assert_eq!(lines(), 5);
        for _ in 0..100 {
            tracing::debug!("detail");
        }
        assert_eq!(lines(), 100, "who debugs wants everything");
        assert!(limit.rate().as_ref().unwrap().deadline().is_some());
    });
}
