//! What a person sees. Coloured on a terminal, plain elsewhere and under `NO_COLOR`.

use std::io::{self, Stdout, Write as _};

use anstream::AutoStream;
use anstyle::{AnsiColor, Style};

use super::{
    message::{Kind, Message},
    stage::topics,
};

/// Headings.
const BOLD: Style = Style::new().bold();
/// What is not looked at first.
const DIM: Style = Style::new().dimmed();
/// Width of labels before a colon of space.
const LABEL: usize = 20;
/// A value with less room than this gets a line of its own.
const ROOM: usize = 52;

const fn style(kind: Kind) -> Style {
    let colour = match kind {
        Kind::Created => AnsiColor::Blue,
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

    /// An empty line and a heading.
    pub(super) fn heading(&mut self, text: &str) {
        self.line(&format!("\n{BOLD}{text}{BOLD:#}"));
    }

    /// A label, what it is, and a remark.
    pub(super) fn entry(&mut self, label: &str, value: &str, remark: &str) {
        let remark = if remark.is_empty() { String::new() } else { format!("  {DIM}{remark}{DIM:#}") };
        self.line(&format!("  {label:<LABEL$}{value}{remark}"));
    }

    /// The names of a message's columns.
    pub(super) fn columns(&mut self) {
        let width = self.topic_width;
        self.line(&format!(
            "\n{DIM}{:<7}  {:<width$}  {:>4}  {:>6}  {:<16}  value{DIM:#}",
            "", "topic", "part", "offset", "key"
        ));
    }

    /// A message in one line; on a terminal cut where the line ends, and in two lines if it is narrow.
    pub(super) fn message(&mut self, message: &Message) {
        let Message { kind, topic, partition, offset, key, value } = message;
        let (style, width) = (style(*kind), self.topic_width);
        let place = format!("  {topic:<width$}  {partition:>4}  {offset:>6}  {key:<16}");
        let used = 7 + place.chars().count() + 2;
        let (between, value) = match columns() {
            None => ("  ", value.clone()),
            Some(columns) if columns < used + ROOM => ("\n         ", cut(value, columns.saturating_sub(9))),
            Some(columns) => ("  ", cut(value, columns - used)),
        };
        self.line(&format!("{style}{:<7}{style:#}{place}{between}{DIM}{value}{DIM:#}", kind.name()));
    }

    fn line(&mut self, text: &str) {
        let written = writeln!(self.out, "{text}").and_then(|()| self.out.flush());
        self.closed |= written.is_err();
    }
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

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn what_does_not_fit_is_cut() {
        assert_eq!(cut("äbc", 3), "äbc");
        assert_eq!(cut("äbcd", 3), "äb…");
        assert_eq!(cut("", 0), "");
        assert_eq!(cut("a", 0), "…");
    }
}
