//! How talk reaches the terminal: in the order said, names filled in as they become known, wrapped at its width.
//!
//! What is measured never waits for this: pieces queue here while a name is looked up.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io::{self, IsTerminal as _},
    net::IpAddr,
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc},
    task::JoinSet,
};

use super::super::print;
use crate::net::Net;

/// How long a name is waited for.
const NAME: Duration = Duration::from_secs(2);
/// Names asked for in one run. Strangers can answer from any number of addresses; the rest stay without a name.
const NAMES: usize = 512;
/// Where a wrapped line goes on.
const INDENT: &str = "      ";

/// Colours and width, where somebody would see them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Style {
    colours: bool,
    /// Columns of the terminal; `None` where there is no line to wrap.
    columns: Option<usize>,
}

impl Style {
    /// As standard output is.
    pub(super) fn of_stdout() -> Self {
        let out = io::stdout();
        if !out.is_terminal() {
            return Self::default();
        }
        let says = |name: &str| std::env::var_os(name).unwrap_or_default();
        let columns = terminal_size::terminal_size_of(&out).map(|(width, _)| usize::from(width.0));
        Self {
            colours: says("NO_COLOR").is_empty() && says("TERM") != "dumb",
            columns: columns.filter(|columns| *columns > 20),
        }
    }

    /// What went well.
    pub(super) fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// What did not.
    pub(super) fn bad(self, text: &str) -> String {
        self.paint("31", text)
    }

    /// What matters less.
    pub(super) fn faint(self, text: &str) -> String {
        self.paint("2", text)
    }

    /// What is looked for first.
    pub(super) fn strong(self, text: &str) -> String {
        self.paint("1", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colours {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// A piece of talk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// A line of its own.
    Line(String),
    /// Begins a line that words go on with.
    Open(String),
    /// Goes on with the line, behind a space.
    Word(String),
    /// The name of an address as a word, nothing if it has none.
    Name(IpAddr),
}

/// What a type has to say about one event.
#[derive(Debug, Default)]
pub(super) struct Say {
    /// How it may look.
    pub(super) style: Style,
    pieces: Vec<Piece>,
}

impl Say {
    pub(super) const fn new(style: Style) -> Self {
        Self {
            style,
            pieces: Vec::new(),
        }
    }

    /// What was held back before.
    pub(super) fn again(style: Style, held: &[Piece]) -> Self {
        Self {
            style,
            pieces: held.to_vec(),
        }
    }

    /// A line of its own.
    pub(super) fn line(&mut self, text: impl Into<String>) {
        self.pieces.push(Piece::Line(text.into()));
    }

    /// Begins a line that words go on with.
    pub(super) fn open(&mut self, text: impl Into<String>) {
        self.pieces.push(Piece::Open(text.into()));
    }

    /// Goes on with the line, on the next one if this one is full.
    pub(super) fn word(&mut self, text: impl Into<String>) {
        self.pieces.push(Piece::Word(text.into()));
    }

    /// The name of an address in brackets, once it is known.
    pub(super) fn name(&mut self, address: IpAddr) {
        self.pieces.push(Piece::Name(address));
    }

    /// All as text, at once; names are left out.
    pub(super) fn text(self) -> String {
        let mut page = Page::new(self.style);
        let mut text = String::new();
        for piece in &self.pieces {
            text += &match piece {
                Piece::Line(line) => page.line(line),
                Piece::Open(line) => page.open(line),
                Piece::Word(word) => page.word(word),
                Piece::Name(_) => String::new(),
            };
        }
        text + page.end()
    }

    /// What was said so far.
    pub(super) fn take(&mut self) -> Vec<Piece> {
        std::mem::take(&mut self.pieces)
    }
}

/// Prints what is said until nobody can say more. Tells `closed` when there is nobody to read it.
pub(super) async fn speak(
    mut said: mpsc::UnboundedReceiver<Piece>,
    net: Net,
    style: Style,
    closed: &Notify,
) {
    let mut page = Page::new(style);
    let mut waiting = VecDeque::new();
    let mut names = Names::default();
    let mut open = true;
    loop {
        let mut text = String::new();
        while let Some(piece) = waiting.pop_front() {
            match &piece {
                Piece::Name(address) if names.is_awaited(*address) => {
                    waiting.push_front(piece);
                    break;
                }
                Piece::Name(address) => {
                    if let Some(name) = names.known.get(address) {
                        text += &page.word(&format!("[{name}]"));
                    }
                }
                Piece::Line(line) => text += &page.line(line),
                Piece::Open(line) => text += &page.open(line),
                Piece::Word(word) => text += &page.word(word),
            }
        }
        if !open && waiting.is_empty() {
            text += page.end();
        }
        if !text.is_empty() && !matches!(print::open_text(&text), Ok(true)) {
            closed.notify_one();
            // Nobody listens: what is still said is let go.
            while said.recv().await.is_some() {}
            return;
        }
        if !open && waiting.is_empty() {
            return;
        }
        tokio::select! {
            piece = said.recv(), if open => match piece {
                Some(piece) => {
                    if let Piece::Name(address) = piece {
                        names.ask(&net, address);
                    }
                    waiting.push_back(piece);
                }
                None => open = false,
            },
            Some(answer) = names.asking.join_next() => {
                // A task that failed tells no address; its time-out is nobody's to wait for.
                match answer {
                    Ok((address, name)) => names.answered(address, name),
                    Err(_) => names.awaited.clear(),
                }
            }
            else => names.awaited.clear(),
        }
    }
}

/// Names that were asked for.
#[derive(Debug, Default)]
struct Names {
    asked: usize,
    asking: JoinSet<(IpAddr, Option<String>)>,
    awaited: BTreeSet<IpAddr>,
    known: BTreeMap<IpAddr, String>,
}

impl Names {
    fn ask(&mut self, net: &Net, address: IpAddr) {
        if self.asked == NAMES || self.is_awaited(address) || self.known.contains_key(&address) {
            return;
        }
        self.asked += 1;
        self.awaited.insert(address);
        let net = net.clone();
        self.asking.spawn(async move {
            let name = tokio::time::timeout(NAME, net.name_of(address)).await;
            (address, name.ok().flatten())
        });
    }

    fn is_awaited(&self, address: IpAddr) -> bool {
        self.awaited.contains(&address)
    }

    fn answered(&mut self, address: IpAddr, name: Option<String>) {
        self.awaited.remove(&address);
        if let Some(name) = name {
            self.known.insert(address, name);
        }
    }
}

/// Where on the page we are.
#[derive(Debug)]
struct Page {
    columns: Option<usize>,
    /// Columns taken by the line that is open.
    column: Option<usize>,
}

impl Page {
    const fn new(style: Style) -> Self {
        Self {
            columns: style.columns,
            column: None,
        }
    }

    fn line(&mut self, text: &str) -> String {
        format!("{}{text}\n", self.end())
    }

    fn open(&mut self, text: &str) -> String {
        let end = self.end();
        self.column = Some(width(text));
        format!("{end}{text}")
    }

    fn word(&mut self, text: &str) -> String {
        let width = width(text);
        let column = self.column.unwrap_or(0);
        let is_full = self
            .columns
            .is_some_and(|columns| column > INDENT.len() && column + 1 + width > columns);
        if is_full {
            self.column = Some(INDENT.len() + width);
            format!("\n{INDENT}{text}")
        } else {
            self.column = Some(column + 1 + width);
            format!(" {text}")
        }
    }

    /// What ends the line that is open.
    fn end(&mut self) -> &'static str {
        if self.column.take().is_some() {
            "\n"
        } else {
            ""
        }
    }
}

/// Columns that a text takes, colours not counted.
fn width(text: &str) -> usize {
    let mut in_escape = false;
    text.chars()
        .filter(|c| {
            let was_in_escape = in_escape;
            in_escape = if in_escape { *c != 'm' } else { *c == '\x1b' };
            !was_in_escape && !in_escape
        })
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(columns: Option<usize>) -> Page {
        Page {
            columns,
            column: None,
        }
    }

    #[test]
    fn a_new_line_ends_the_open_one() {
        let mut page = page(None);
        let said = [
            page.open("1"),
            page.word("a"),
            page.line("b"),
            page.open("2"),
            page.end().to_owned(),
            page.end().to_owned(),
        ];
        assert_eq!(said.concat(), "1 a\nb\n2\n");
    }

    #[test]
    fn words_wrap_at_the_width_and_colours_take_no_room() {
        let mut page = page(Some(21));
        let mut said = page.open("1234567890");
        said += &page.word("\x1b[32m1234567890\x1b[0m");
        said += &page.word("x");
        said += &page.word("1234567890123");
        assert_eq!(
            said,
            "1234567890 \x1b[32m1234567890\x1b[0m\n      x 1234567890123"
        );
        assert_eq!(page.column, Some(21));
    }

    #[test]
    fn a_word_longer_than_the_line_is_not_moved_for_ever() {
        let mut page = page(Some(21));
        page.open("");
        assert_eq!(page.word(&"x".repeat(30)), format!(" {}", "x".repeat(30)));
    }
}
