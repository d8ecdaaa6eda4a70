//! What answers are printed on: how wide it is, and whether it has colours.
use quadrille_runtime::entry::{Failed, colours};
use serde::Serialize;
use std::fmt::Display;
use std::io::{ErrorKind, IsTerminal, Write, stderr, stdout};

/// Columns of what is not a terminal: a log, a page, a mail.
const WIDTH: usize = 80;

/// How an answer is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs: one JSON document.
    Json,
}

/// Prints an answer. Whoever stops reading early (`| head`) has read enough: that is no failure.
///
/// # Errors
/// If standard output cannot take it, such as a full disk.
pub fn say(text: impl Display) -> Result<(), Failed> {
    let mut out = stdout().lock();
    match write!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            let error = anyhow::Error::new(error);
            Err(Failed::unavailable(error.context("standard output does not take the answer")))
        }
        _ => Ok(()),
    }
}

/// Prints an answer for programs.
///
/// # Errors
/// As [`say`].
pub fn say_json(answer: &impl Serialize) -> Result<(), Failed> {
    let text = serde_json::to_string_pretty(answer).map_err(Failed::bug)?;
    say(format_args!("{text}\n"))
}

/// Tells the person at the terminal what is going on; never part of an answer.
pub fn note(text: impl Display) {
    // Nobody there to read it is no failure.
    let _ = writeln!(stderr(), "{text}");
}

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
        let width = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
        let width = width.filter(|_| stdout().is_terminal()).unwrap_or(WIDTH);
        Self { width, colours: colours(&stdout()) }
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
