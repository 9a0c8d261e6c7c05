//! What a person sees. Coloured on a terminal, plain elsewhere and under `NO_COLOR`.

use std::io::{self, Stdout, Write as _};

use anstream::AutoStream;
use anstyle::{AnsiColor, Style};

use super::{
    message::{Counts, Kind, Message},
    stage::topics,
};

/// Headings.
const BOLD: Style = Style::new().bold();
/// What is not looked at first.
const DIM: Style = Style::new().dimmed();
/// Width of a label, with the space after it.
const LABEL: usize = 20;
/// Width of what stands beside it, if there is a remark.
const VALUE: usize = 15;
/// Width of a number in the table of counts, with the space before it.
const NUMBER: usize = 9;
/// Width of the word for a message's kind, with the space after it.
const KIND: usize = 9;

const fn style(kind: Kind) -> Style {
    let colour = match kind {
        Kind::Created => AnsiColor::Yellow,
        Kind::Event => AnsiColor::Cyan,
        Kind::Failed => AnsiColor::Red,
        Kind::Working => AnsiColor::Green,
        Kind::Removed => AnsiColor::Magenta,
    };
    colour.on_default()
}

/// stdout.
pub(super) struct Screen {
    out: AutoStream<Stdout>,
    topic_width: usize,
    closed: bool,
}

impl Screen {
    /// Colours are decided here, once.
    pub(super) fn new() -> Self {
        let topic_width = topics().iter().map(String::len).max().unwrap_or_default();
        Self { out: AutoStream::auto(io::stdout()), topic_width, closed: false }
    }

    /// Whether nobody reads any more (`| head`).
    pub(super) const fn closed(&self) -> bool {
        self.closed
    }

    /// Lines of text.
    pub(super) fn text(&mut self, text: &str) {
        self.line(text);
    }

    /// A label, what it is, and a remark, which goes below on a narrow terminal.
    pub(super) fn entry(&mut self, label: &str, value: &str, remark: &str) {
        let value = if remark.is_empty() { value.to_owned() } else { format!("{value:<VALUE$}") };
        let width = 2 + LABEL + value.chars().count() + 2 + remark.chars().count();
        let below = columns().is_some_and(|columns| columns < width);
        let between = if below { format!("\n{:1$}", "", 2 + LABEL) } else { "  ".to_owned() };
        let remark = if remark.is_empty() { String::new() } else { format!("{between}{DIM}{remark}{DIM:#}") };
        self.line(&format!("  {label:<LABEL$}{value}{remark}"));
    }

    /// The heading of a table of counts.
    pub(super) fn counts_heading(&mut self, heading: &str) {
        let names = cells(|kind| kind.name().to_owned());
        self.line(&format!("\n{BOLD}{heading:<1$}{names}{:>NUMBER$}{BOLD:#}", "all", 2 + LABEL));
    }

    /// A row of it; without counts by kind their columns stay empty.
    pub(super) fn counts(&mut self, label: &str, counts: Option<&Counts>, total: u64) {
        let cells = cells(|kind| counts.map_or_else(String::new, |counts| counts.of(kind).to_string()));
        self.line(&format!("  {label:<LABEL$}{cells}{total:>NUMBER$}"));
    }

    /// The names of a message's columns.
    pub(super) fn columns(&mut self) {
        let width = self.topic_width;
        self.line("\nTopics are read side by side; the messages of a key are in order within a topic.\n");
        self.line(&format!(
            "{DIM}{:KIND$}{:<width$}  {:>4}  {:>6}  {:<16}  value{DIM:#}",
            "", "topic", "part", "offset", "key"
        ));
    }

    /// A message in one line; on a terminal cut where the line ends.
    pub(super) fn message(&mut self, message: &Message) {
        let Message { kind, topic, partition, offset, key, value, news } = message;
        let (style, width) = (style(*kind), self.topic_width);
        let place = format!("{topic:<width$}  {partition:>4}  {offset:>6}  {key:<16}");
        let used = KIND + place.chars().count() + 2;
        let lines = match columns() {
            None => format!("  {value}"),
            Some(columns) if columns >= used + news => format!("  {}", cut(value, columns - used)),
            Some(columns) => below(value, *news, columns),
        };
        self.line(&format!("{style}{:<KIND$}{style:#}{place}{DIM}{lines}{DIM:#}", kind.name()));
    }

    fn line(&mut self, text: &str) {
        let written = writeln!(self.out, "{text}").and_then(|()| self.out.flush());
        self.closed |= written.is_err();
    }
}

/// The columns of the table of counts.
fn cells(text: impl Fn(Kind) -> String) -> String {
    let cell = |kind: &Kind| [" ".repeat(NUMBER.saturating_sub(text(*kind).len())), text(*kind)].concat();
    Kind::ALL.iter().map(cell).collect()
}

/// The width of the terminal; `None` if stdout is none.
fn columns() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    // A terminal that does not know its size says 0.
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
}

/// At most so many characters, the last an ellipsis if some are missing.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// A value on lines of its own: as many as its news take.
fn below(value: &str, news: usize, columns: usize) -> String {
    let width = columns.saturating_sub(KIND).max(1);
    let whole = news.max(1).div_ceil(width) * width;
    let characters: Vec<char> = cut(value, whole).chars().collect();
    let line = |line: &[char]| ["\n", &" ".repeat(KIND), &String::from_iter(line)].concat();
    characters.chunks(width).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrow_terminal_shows_the_news() {
        let indent = " ".repeat(KIND);
        assert_eq!(below("abcdef", 2, KIND + 3), format!("\n{indent}ab…"));
        assert_eq!(below("abcdef", 3, KIND + 3), format!("\n{indent}ab…"));
        assert_eq!(below("abcdef", 4, KIND + 3), format!("\n{indent}abc\n{indent}def"));
        assert_eq!(below("abcdefg", 4, KIND + 3), format!("\n{indent}abc\n{indent}de…"));
        assert_eq!(below("ab", 2, 0), format!("\n{indent}a\n{indent}b"));
    }

    #[test]
    fn what_does_not_fit_is_cut() {
        assert_eq!(cut("äbc", 3), "äbc");
        assert_eq!(cut("äbcd", 3), "äb…");
        assert_eq!(cut("", 0), "");
        assert_eq!(cut("a", 0), "…");
    }
}
