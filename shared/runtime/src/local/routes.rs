//! Topic routing: which binding wants which routing key.

/// True if the words of the pattern are those of the key; `*` is any one word, `#` any number of
/// them.
pub(super) fn wants(pattern: &str, key: &str) -> bool {
    // Bindings of services have no wildcards.
    if pattern == key {
        return true;
    }
    let pattern: Vec<_> = pattern.split('.').collect();
    let key: Vec<_> = if key.is_empty() { Vec::new() } else { key.split('.').collect() };
    // reached[k]: the pattern so far may have used up the first k words of the key.
    let mut reached = vec![false; key.len() + 1];
    reached[0] = true;
    for word in pattern {
        if word == "#" {
            let first = reached.iter().position(|reached| *reached).unwrap_or(reached.len());
            reached[first..].fill(true);
        } else {
            for k in (0..key.len()).rev() {
                reached[k + 1] = reached[k] && (word == "*" || word == key[k]);
            }
            reached[0] = false;
        }
    }
    reached[key.len()]
}

#[cfg(test)]
mod tests {
    use super::wants;

    #[test]
    fn patterns_want_what_rabbitmq_says_they_want() {
        let table = [
            ("order.placed.v1", "order.placed.v1", true),
            ("order.placed.v1", "order.placed.v2", false),
            ("order.placed", "order.placed.v1", false),
            ("order.*.v1", "order.placed.v1", true),
            ("order.*.v1", "order.v1", false),
            ("order.*", "order.placed.v1", false),
            ("*", "", false),
            ("#", "", true),
            ("#", "a.b.c", true),
            ("order.#", "order", true),
            ("order.#", "order.placed.v1", true),
            ("order.#", "orders.placed", false),
            ("#.v1", "order.placed.v1", true),
            ("#.v1", "v1", true),
            ("#.v1", "order.v1.x", false),
            ("a.#.z", "a.z", true),
            ("a.#.z", "a.b.c.z", true),
            ("a.#.*.z", "a.z", false),
            ("a.#.*.z", "a.b.z", true),
            ("#.#", "a", true),
            ("*.#.*", "a", false),
            ("*.#.*", "a.b", true),
            ("a..b", "a..b", true),
            ("a.*.b", "a..b", true),
        ];
        for (pattern, key, wanted) in table {
            assert_eq!(wants(pattern, key), wanted, "{pattern} {key}");
        }
    }
}
