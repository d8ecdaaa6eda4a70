//! What answers are printed on: how wide it is, and whether it has colours.
use std::io::IsTerminal;

/// Columns of what is not a terminal: a log, a page, a mail.
const WIDTH: usize = 100;

/// How standard output looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Screen {
    pub width: usize,
    pub colours: bool,
}

/// How a piece of text is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ink {
    #[default]
    Plain,
    Dim,
    Strong,
    Good,
    Bad,
    Undo,
}

impl Screen {
    /// Standard output as it is: colours only on a terminal, and never if `NO_COLOR` is set.
    pub fn of_stdout() -> Self {
        let terminal = std::io::stdout().is_terminal();
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let width = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
        let width = width.filter(|_| terminal).unwrap_or(WIDTH);
        Self { width, colours: terminal && !refused }
    }

    /// Plain text of a usual width, as for a file.
    pub const fn plain() -> Self {
        Self { width: WIDTH, colours: false }
    }

    pub fn paint(&self, ink: Ink, text: &str) -> String {
        let code = match ink {
            _ if !self.colours => return text.to_owned(),
            Ink::Plain => return text.to_owned(),
            Ink::Dim => "2",
            Ink::Strong => "1",
            Ink::Good => "32",
            Ink::Bad => "31",
            Ink::Undo => "33",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}
