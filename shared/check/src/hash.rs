//! Fingerprints of worlds, and the sets that hold them.
use std::collections::HashSet;
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};

/// A set of fingerprints.
pub(crate) type Prints = HashSet<u64, BuildHasherDefault<Plain>>;

/// The fingerprint of one thing that worlds are made of, by its content. A world's is the sum of
/// theirs, so the order of messages on their way does not matter.
///
/// Two of n worlds are taken for one with a chance of about n^2 / 2^65: of ten million worlds, with
/// 3 in a million.
pub(crate) fn print(content: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    hasher.finish()
}

/// Another number for each, so that a message on its way and the same one coming again differ.
pub(crate) fn mixed(print: u64, with: u32) -> u64 {
    /// The golden ratio's fraction: odd, and without a pattern.
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    let wide = u128::from(print ^ (u64::from(with) << 32)) * u128::from(GOLDEN);
    (wide as u64) ^ ((wide >> 64) as u64)
}

/// Fingerprints are hashed already.
#[derive(Default)]
pub(crate) struct Plain(u64);
impl Hasher for Plain {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {
        unreachable!("only u64 keys")
    }
    fn write_u64(&mut self, n: u64) {
        self.0 = n;
    }
}

/// Of as many sets that growing one of them needs little memory.
const SHARDS: usize = 64;
/// What one fingerprint takes in a set, with what the set leaves free: an estimate.
const BYTES_EACH: usize = 10;

/// All worlds found.
pub(crate) struct Seen(Vec<Prints>);
impl Seen {
    pub(crate) fn new() -> Self {
        Self((0..SHARDS).map(|_| Prints::default()).collect())
    }
    /// By bits that the sets themselves do not look at.
    fn shard(print: u64) -> usize {
        (print >> 40) as usize % SHARDS
    }
    pub(crate) fn contains(&self, print: u64) -> bool {
        self.0[Self::shard(print)].contains(&print)
    }
    /// True if it is new.
    pub(crate) fn insert(&mut self, print: u64) -> bool {
        self.0[Self::shard(print)].insert(print)
    }
    pub(crate) fn bytes(&self) -> usize {
        self.0.iter().map(bytes).sum()
    }
}

pub(crate) fn bytes(prints: &Prints) -> usize {
    prints.capacity() * BYTES_EACH
}
