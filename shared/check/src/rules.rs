//! What must be true, and how far and how hard to look.
use crate::View;
use std::fmt;
use std::num::NonZero;
use std::thread;
use std::time::Duration;

/// What a property answers: `bool`, or a `Result` that says why not.
pub trait Holds {
    fn holds(self, name: &str) -> Result<(), String>;
}
impl Holds for bool {
    fn holds(self, name: &str) -> Result<(), String> {
        if self { Ok(()) } else { Err(format!("not true: {name}")) }
    }
}
impl Holds for Result<(), String> {
    fn holds(self, _: &str) -> Result<(), String> {
        self
    }
}

type Asked<'a> = Box<dyn Fn(&View) -> Result<(), String> + Sync + 'a>;

type Tell<'a> = Box<dyn Fn(&Progress) + 'a>;

/// A property with its name.
pub(crate) struct Property<'a> {
    pub(crate) name: String,
    ask: Asked<'a>,
}
impl<'a> Property<'a> {
    fn new<H: Holds>(name: &str, ask: impl Fn(&View) -> H + Sync + 'a) -> Self {
        let named = name.to_owned();
        Self { name: name.into(), ask: Box::new(move |view| ask(view).holds(&named)) }
    }
    /// The first that is not true, and why.
    pub(crate) fn all(of: &[Self], view: &View) -> Result<(), String> {
        of.iter().try_for_each(|property| (property.ask)(view))
    }
}

/// What must be true, and how far to look.
///
/// Of every choreography it is asked, whatever these rules say: nothing is rejected, nothing is
/// deferred for ever, no end is left, nothing panics; and of searches of at most
/// [`GRAPH_MAX`](Rules::GRAPH_MAX) worlds in which all messages come once, that no messages go
/// round for ever.
///
/// ```
/// use quadrille_check::Rules;
/// let rules = Rules::default()
///     .always("nothing is counted twice", |_view| true)
///     .at_rest("all is quiet", |_view| Err("it is not".to_owned()));
/// ```
pub struct Rules<'a> {
    pub(crate) always: Vec<Property<'a>>,
    pub(crate) at_rest: Vec<Property<'a>>,
    pub(crate) progress: Option<(Duration, Tell<'a>)>,
    /// Worlds after which exploring stops, with an incomplete report.
    pub states_max: usize,
    /// Bytes of worlds after which exploring stops, with an incomplete report.
    pub bytes_max: usize,
    /// The same is found whatever their number.
    pub threads: usize,
    pub reduction: Reduction,
}

impl<'a> Rules<'a> {
    /// Worlds are numbered with 32 bits, and some are left over.
    pub const STATES_MAX: usize = 4_000_000_000;
    /// What a small machine for continuous integration has to spare.
    pub const BYTES_MAX: usize = 2 << 30;
    /// Steps between worlds that are kept to look for cycles: 16 bytes each.
    pub const GRAPH_MAX: usize = 2_000_000;

    /// Asked in every world, of all participants' states together.
    pub fn always<H: Holds>(mut self, name: &str, ask: impl Fn(&View) -> H + Sync + 'a) -> Self {
        self.always.push(Property::new(name, ask));
        self
    }
    /// Asked where nothing more must happen.
    pub fn at_rest<H: Holds>(mut self, name: &str, ask: impl Fn(&View) -> H + Sync + 'a) -> Self {
        self.at_rest.push(Property::new(name, ask));
        self
    }
    /// Whatever was done about a subject that has failed is undone, by what
    /// [`Choreography::effects`](crate::Choreography::effects) declares; `failed` says of a world
    /// and a subject whether it came to a bad end.
    pub fn undone_if(self, failed: impl Fn(&View, &str) -> bool + Sync + 'a) -> Self {
        self.always("at a bad end, all that was done is undone", move |view| {
            for (effect, subject) in view.outstanding() {
                if failed(view, subject) {
                    return Err(format!("{effect} was never undone"));
                }
            }
            Ok(())
        })
    }
    /// Called about so often.
    pub fn progress(self, every: Duration, tell: impl Fn(&Progress) + 'a) -> Self {
        Self { progress: Some((every, Box::new(tell))), ..self }
    }
    pub fn states_max(self, states_max: usize) -> Self {
        Self { states_max, ..self }
    }
    pub fn bytes_max(self, bytes_max: usize) -> Self {
        Self { bytes_max, ..self }
    }
    /// One for each processor if not said.
    pub fn threads(self, threads: usize) -> Self {
        Self { threads, ..self }
    }
    /// None if not said.
    pub fn reduction(self, reduction: Reduction) -> Self {
        Self { reduction, ..self }
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.always.iter().chain(&self.at_rest).map(|property| property.name.clone()).collect()
    }
}

impl Default for Rules<'_> {
    /// Nothing but what every machine promises.
    fn default() -> Self {
        Self {
            always: Vec::new(),
            at_rest: Vec::new(),
            progress: None,
            states_max: Self::STATES_MAX,
            bytes_max: Self::BYTES_MAX,
            threads: thread::available_parallelism().map_or(1, NonZero::get),
            reduction: Reduction::NONE,
        }
    }
}
impl fmt::Debug for Rules<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Rules").field("names", &self.names()).finish_non_exhaustive()
    }
}

/// Which worlds need not be seen, because others say the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reduction {
    /// Worlds that differ only in which of
    /// [`Choreography::symmetric`](crate::Choreography::symmetric) is which are one.
    pub symmetry: bool,
    /// Deliveries that commute with all others and show in no property are made first; a message
    /// that can never have an effect any more is not waited for. Only where each message comes once.
    pub partial_order: bool,
}
impl Reduction {
    pub const NONE: Self = Self { symmetry: false, partial_order: false };
    pub const ALL: Self = Self { symmetry: true, partial_order: true };
}

/// How far a search has come.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    pub states: usize,
    /// Messages delivered on the way to the worlds that are looked at now.
    pub depth: usize,
    /// Worlds found at this depth and the next that are still to be looked at.
    pub waiting: usize,
    pub bytes: usize,
    pub took: Duration,
}
impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { states, depth, waiting, bytes, took } = self;
        let rate = *states as f64 / took.as_secs_f64().max(0.001) / 1e3;
        write!(
            f,
            "{states} states, {rate:.0} thousand a second, {depth} deep, {waiting} to look at, \
            {} MiB",
            bytes >> 20
        )
    }
}
