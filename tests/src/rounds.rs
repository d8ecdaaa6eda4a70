//! How long the tests of faults go on: the one place that reads it.

/// `full` for many rounds; `tests/run --full` sets it.
pub const VARIABLE: &str = "TEST_ROUNDS";

/// So many rounds of a fault: few as a rule, many when there is time.
pub fn rounds(few: u32, many: u32) -> u32 {
    let full = std::env::var_os(VARIABLE).is_some_and(|rounds| rounds == "full");
    if full { many } else { few }
}

/// The one random input to try, as a failing test prints it.
pub fn seed() -> Option<u64> {
    std::env::var("TEST_SEED").ok()?.parse().ok()
}
