//! Individuals that may change places: worlds that differ only in which is which are one.
//!
//! A world's fingerprint is computed as it is and as it would be after each permutation, by
//! replacing names in texts; the least of them stands for all. Worlds are never permuted
//! themselves, so every trace is a real one.

/// Permutations kept: those of four individuals.
const PERMUTATIONS_MAX: usize = 24;

/// The first permutation leaves everything as it is.
pub(crate) struct Symmetry(Vec<Vec<(String, String)>>);

impl Symmetry {
    /// Each individual is the list of names that it goes by, in the same order.
    ///
    /// # Panics
    /// If individuals have different numbers of names, or there are too many of them.
    pub(crate) fn new(individuals: &[Vec<String>]) -> Self {
        let mut orders = vec![vec![]];
        for next in 0..individuals.len() {
            let with_next = |order: Vec<usize>| {
                (0..=order.len()).rev().map(move |at| {
                    let mut order = order.clone();
                    order.insert(at, next);
                    order
                })
            };
            orders = orders.into_iter().flat_map(with_next).collect();
            assert!(orders.len() <= PERMUTATIONS_MAX, "at most four may be declared symmetric");
        }
        let names = |(from, to): (usize, &usize)| {
            let (from, to) = (&individuals[from], &individuals[*to]);
            assert_eq!(from.len(), to.len(), "each goes by as many names as the others");
            from.iter().cloned().zip(to.iter().cloned()).filter(|(from, to)| from != to)
        };
        let permutation =
            |order: &Vec<usize>| order.iter().enumerate().flat_map(names).collect::<Vec<_>>();
        Self(orders.iter().map(permutation).collect())
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The text as each permutation leaves it, the unchanged one first.
    pub(crate) fn images<'a>(&'a self, text: &'a str) -> impl Iterator<Item = String> + 'a {
        self.0.iter().map(|names| replaced(text, names))
    }
    /// The same of pairs, sorted anew, as a map would.
    pub(crate) fn images_of_pairs<'a>(
        &'a self,
        pairs: &'a [(String, String)],
    ) -> impl Iterator<Item = Vec<(String, String)>> + 'a {
        self.0.iter().map(|names| {
            let image =
                |(key, value): &(String, String)| (replaced(key, names), replaced(value, names));
            let mut images: Vec<_> = pairs.iter().map(image).collect();
            images.sort_unstable();
            images
        })
    }
}

/// All names at once, and only whole words: `c-1` is not in `c-12`.
fn replaced(text: &str, names: &[(String, String)]) -> String {
    let of_a_name = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    let mut done = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let inside = done.chars().next_back().is_some_and(of_a_name);
        let found = names.iter().find(|(from, _)| {
            let after = rest.strip_prefix(from.as_str()).map(|rest| rest.chars().next());
            !inside && after.is_some_and(|next| !next.is_some_and(of_a_name))
        });
        let (taken, put) = match found {
            Some((from, to)) => (from.len(), to.as_str()),
            None => (first.len_utf8(), &rest[..first.len_utf8()]),
        };
        done.push_str(put);
        rest = &rest[taken..];
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    fn individuals(names: &[&[&str]]) -> Symmetry {
        let own = |names: &&[&str]| names.iter().map(ToString::to_string).collect();
        Symmetry::new(&names.iter().map(own).collect::<Vec<_>>())
    }

    #[test]
    fn names_change_places_at_once_and_as_whole_words() {
        let two = individuals(&[&["1", "c-1"], &["2", "c-2"]]);
        let images: Vec<_> = two.images("1 of c-1, 2 of c-2, 12 of c-12").collect();
        assert_eq!(images, ["1 of c-1, 2 of c-2, 12 of c-12", "2 of c-2, 1 of c-1, 12 of c-12"]);
    }

    #[test]
    fn three_have_six_permutations_and_nobody_has_one() {
        assert_eq!(individuals(&[&["1"], &["2"], &["3"]]).count(), 6);
        let nobody = individuals(&[]);
        assert_eq!(
            (nobody.count(), nobody.images("as it is").next()),
            (1, Some("as it is".into()))
        );
    }

    #[test]
    fn entities_are_sorted_by_their_new_names() {
        let two = individuals(&[&["1"], &["2"]]);
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let images: Vec<_> = two.images_of_pairs(&[pair("1", "paid"), pair("2", "open")]).collect();
        assert_eq!(images[1], [pair("1", "open"), pair("2", "paid")]);
    }
}
