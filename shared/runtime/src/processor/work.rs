//! What one unit of work is about to settle.
use crate::decide::{Input, Source, Unreadable};
use quadrille_core::Service;

/// Messages to decide together, and those that nobody could read.
pub(super) struct Work<S: Service> {
    pub(super) inputs: Vec<Input<S>>,
    pub(super) unreadable: Vec<Unreadable>,
}

impl<S: Service> Work<S> {
    pub(super) fn of(all: impl IntoIterator<Item = Result<Input<S>, Unreadable>>) -> Self {
        let mut work = Self { inputs: Vec::new(), unreadable: Vec::new() };
        for one in all {
            match one {
                Ok(input) => work.inputs.push(input),
                Err(unreadable) => work.unreadable.push(unreadable),
            }
        }
        work
    }

    pub(super) fn len(&self) -> usize {
        self.inputs.len() + self.unreadable.len()
    }

    /// Does any of it lie in a row of the store, that somebody else may have settled?
    pub(super) fn waited(&self) -> bool {
        let sources = self.inputs.iter().map(|input| input.source);
        let mut sources = sources.chain(self.unreadable.iter().map(|one| one.source));
        sources.any(|source| source != Source::Broker)
    }
}
