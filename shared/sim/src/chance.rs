//! Numbers by chance that follow from a seed, the same on every machine and in every version.
use std::ops::RangeInclusive;
use uuid::Uuid;

/// A stream of numbers (SplitMix64). Written out here because a replay must find the same stream
/// years later, which no library of random numbers promises.
#[derive(Clone, Debug)]
pub struct Chance(u64);

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Chance {
    /// One of many streams of a seed: what is drawn from one does not move the others.
    pub fn stream(seed: u64, name: u64) -> Self {
        Self(mix(seed).wrapping_add(mix(name.wrapping_add(0x9e37_79b9_7f4a_7c15))))
    }

    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// From 0 to one less than this; 0 if this is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.number()) * u128::from(end)) >> 64) as u64
    }

    /// # Panics
    /// If the range is empty.
    pub fn within(&mut self, range: RangeInclusive<u64>) -> u64 {
        let (first, last) = range.into_inner();
        assert!(first <= last, "nothing lies between {first} and {last}");
        first + self.below((last - first).saturating_add(1))
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// # Panics
    /// If there is nothing to choose from.
    pub fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len() as u64) as usize]
    }

    /// An id as a UUID of version 4.
    pub fn id(&mut self) -> Uuid {
        let (high, low) = (self.number(), self.number());
        uuid::Builder::from_random_bytes(((u128::from(high) << 64) | u128::from(low)).to_be_bytes())
            .into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_numbers_for_ever() {
        let mut chance = Chance::stream(7, 3);
        let first: Vec<_> = (0..3).map(|_| chance.below(1_000)).collect();
        assert_eq!(first, PINNED);
    }
    const PINNED: [u64; 3] = [834, 401, 893];

    #[test]
    fn every_number_of_a_range_comes_up() {
        let mut chance = Chance::stream(1, 1);
        let mut seen = [false; 5];
        (0..200).for_each(|_| seen[chance.within(3..=7) as usize - 3] = true);
        assert_eq!(seen, [true; 5]);
    }
}
