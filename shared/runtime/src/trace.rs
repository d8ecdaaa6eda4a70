//! W3C trace context: every transition is a span of the trace that its cause belongs to.
use uuid::Uuid;

/// A `traceparent` for what follows from this one; a new trace if there is none.
pub(crate) fn child_of(parent: Option<&str>) -> String {
    let random = Uuid::new_v4().as_u128();
    // Zero is not a valid id; a v4 UUID is never zero in either half.
    let span = (random >> 64) as u64;
    let trace = parent.and_then(|parent| parent.get(3..35));
    match trace {
        Some(trace) => format!("00-{trace}-{span:016x}-01"),
        None => format!("00-{:032x}-{span:016x}-01", Uuid::new_v4().as_u128()),
    }
}
