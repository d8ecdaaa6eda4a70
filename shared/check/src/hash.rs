//! Hashing for the search: most of its time goes there.
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};

/// A map by small numbers that nobody hostile chooses.
pub(crate) type Map<K, V> = HashMap<K, V, BuildHasherDefault<Mix>>;
/// A set of fingerprints.
pub(crate) type Prints = HashSet<u64, BuildHasherDefault<Plain>>;

/// Two of n worlds are taken for one with a chance of about n^2 / 2^65: of ten million worlds, with
/// 3 in a million.
pub(crate) fn fingerprint(world: &[u32]) -> u64 {
    let mut hasher = DefaultHasher::new();
    world.hash(&mut hasher);
    hasher.finish()
}

/// Multiplies and folds: quick, and good enough where a collision only costs time.
#[derive(Default)]
pub(crate) struct Mix(u64);
impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut eight = [0; 8];
            eight[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(eight));
        }
    }
    fn write_u32(&mut self, n: u32) {
        self.write_u64(n.into());
    }
    fn write_u64(&mut self, n: u64) {
        /// The golden ratio's fraction: odd, and without a pattern.
        const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
        let wide = u128::from(self.0 ^ n ^ GOLDEN) * u128::from(GOLDEN);
        self.0 = (wide as u64) ^ ((wide >> 64) as u64);
    }
    fn write_usize(&mut self, n: usize) {
        self.write_u64(n as u64);
    }
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
