//! A world as numbers: states, how much the network may still do, facts, messages on their way.
//!
//! `[a state for each participant][budget][how many facts][facts, sorted][tokens, sorted]`.

/// A message on its way is a token: its number, and one of these flags.
pub(crate) fn token(id: u32, flag: u32) -> u32 {
    id << FLAG_BITS | flag
}
pub(crate) fn id(token: u32) -> u32 {
    token >> FLAG_BITS
}
pub(crate) fn flag(token: u32) -> u32 {
    token & (FLAGS - 1)
}
const FLAG_BITS: u32 = 2;
pub(crate) const FLAGS: u32 = 1 << FLAG_BITS;
/// On its way.
pub(crate) const FRESH: u32 = 0;
/// It has been delivered, and may come again without an inbox: a copy, or a timer that repeats,
/// which no cancelling can call back.
pub(crate) const AGAIN: u32 = 1;
/// Said in a commit, and not published: its process died.
pub(crate) const WAITING: u32 = 2;
/// It has been delivered and will come again, and the inbox knows it.
pub(crate) const SETTLED: u32 = 3;

/// A world as it lies in memory.
#[derive(Clone, Copy)]
pub(crate) struct World<'a> {
    pub(crate) words: &'a [u32],
    /// How many take part.
    pub(crate) slots: usize,
}

impl<'a> World<'a> {
    pub(crate) fn states(self) -> &'a [u32] {
        &self.words[..self.slots]
    }
    pub(crate) fn budget(self) -> u32 {
        self.words[self.slots]
    }
    pub(crate) fn facts(self) -> &'a [u32] {
        &self.words[self.slots + 2..self.tokens_at()]
    }
    pub(crate) fn tokens(self) -> &'a [u32] {
        &self.words[self.tokens_at()..]
    }
    pub(crate) fn tokens_at(self) -> usize {
        self.slots + 2 + self.words[self.slots + 1] as usize
    }
}

/// Worlds one after another, each with its length.
#[derive(Default)]
pub(crate) struct Worlds {
    words: Vec<u32>,
    ends: Vec<usize>,
}
impl Worlds {
    pub(crate) fn push(&mut self, world: &[u32]) {
        self.words.extend_from_slice(world);
        self.ends.push(self.words.len());
    }
    pub(crate) fn get(&self, at: usize) -> &[u32] {
        let from = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.words[from..self.ends[at]]
    }
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }
    pub(crate) fn clear(&mut self) {
        self.words.clear();
        self.ends.clear();
    }
    pub(crate) fn truncate(&mut self, len: usize) {
        self.ends.truncate(len);
        self.words.truncate(self.ends.last().copied().unwrap_or(0));
    }
    pub(crate) fn bytes(&self) -> usize {
        self.words.capacity() * size_of::<u32>() + self.ends.capacity() * size_of::<usize>()
    }
}
