//! W3C trace context: every transition is a span of the trace that its cause belongs to.
use uuid::Uuid;

/// A `traceparent` for what follows from this one; a new trace if there is none.
///
/// `step` is the transition's own id: it follows from the cause, so a unit of work that runs twice
/// is one span.
pub(crate) fn child_of(parent: Option<&str>, step: Uuid) -> String {
    // Zero is not a valid id; the lower half of a UUID says its variant, and so is never zero.
    let (_, span) = step.as_u64_pair();
    let trace = parent.and_then(|parent| parent.get(3..35));
    match trace {
        Some(trace) => format!("00-{trace}-{span:016x}-01"),
        None => format!("00-{:032x}-{span:016x}-01", step.as_u128()),
    }
}
