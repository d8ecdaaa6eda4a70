//! What a service counts and measures, by the names of `docs/reference/metrics.md`.
use crate::decide::Outcome;
use crate::store::Census;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// Seconds, as the OpenTelemetry conventions for messaging have them.
const SECONDS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// Messages in one unit of work.
const BATCHES: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Consumed {
    service: &'static str,
    message: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DeadLetter {
    service: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfService {
    service: &'static str,
}

/// The metrics of one process; services in it are told apart by a label.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    consumed: Family<Consumed, Counter>,
    dead_letters: Family<DeadLetter, Counter>,
    sent: Family<OfService, Counter>,
    returned: Family<OfService, Counter>,
    duration: Family<OfService, Histogram, fn() -> Histogram>,
    batch: Family<OfService, Histogram, fn() -> Histogram>,
    outbox_pending: Family<OfService, Gauge>,
    outbox_age: Family<OfService, Gauge<f64, AtomicU64>>,
    open: Family<OfService, Gauge>,
    overdue: Family<OfService, Gauge>,
    parked: Family<OfService, Gauge>,
    dead_letter_queue: Family<OfService, Gauge>,
    deferred: Family<OfService, Gauge>,
    timers: Family<OfService, Gauge>,
    requests: Family<OfService, Gauge>,
    journal: Family<OfService, Gauge>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    pub fn new() -> Self {
        let mut all = Self {
            registry: Registry::default(),
            consumed: Family::default(),
            dead_letters: Family::default(),
            sent: Family::default(),
            returned: Family::default(),
            duration: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            batch: Family::new_with_constructor(|| Histogram::new(BATCHES)),
            outbox_pending: Family::default(),
            outbox_age: Family::default(),
            open: Family::default(),
            overdue: Family::default(),
            parked: Family::default(),
            dead_letter_queue: Family::default(),
            deferred: Family::default(),
            timers: Family::default(),
            requests: Family::default(),
            journal: Family::default(),
        };
        all.register();
        all
    }

    fn register(&mut self) {
        let r = &mut self.registry;
        let messages = "messaging_client_consumed_messages";
        r.register(messages, "Messages consumed, by outcome", self.consumed.clone());
        let sent = "messaging_client_sent_messages";
        r.register(sent, "Messages that the broker confirmed", self.sent.clone());
        let duration = "messaging_process_duration_seconds";
        r.register(duration, "Time of a unit of work up to its commit", self.duration.clone());
        let batch = "quadrille_unit_of_work_messages";
        r.register(batch, "Messages in one unit of work", self.batch.clone());
        let dead = "quadrille_dead_letters";
        r.register(dead, "Messages parked, by reason", self.dead_letters.clone());
        let returned = "quadrille_outbox_returned";
        r.register(returned, "Messages that no queue or broker would take", self.returned.clone());
        let gauges = [
            ("quadrille_outbox_pending", "Commits not known to be published", &self.outbox_pending),
            ("quadrille_saga_open", "Entities that should move on", &self.open),
            ("quadrille_saga_overdue", "Entities that should have moved on", &self.overdue),
            ("quadrille_parked", "Messages that wait for an operator", &self.parked),
            (
                "quadrille_dead_letter_queue_messages",
                "Messages that the broker gave up",
                &self.dead_letter_queue,
            ),
            ("quadrille_deferred", "Messages that wait for their entity", &self.deferred),
            ("quadrille_timers", "Timers that are armed", &self.timers),
            ("quadrille_requests", "Calls that are owed to the outside world", &self.requests),
            ("quadrille_journal_position", "Transitions ever made", &self.journal),
        ];
        for (name, help, gauge) in gauges {
            r.register(name, help, gauge.clone());
        }
        let age = "quadrille_outbox_oldest_age_seconds";
        r.register(age, "Age of the oldest unpublished commit", self.outbox_age.clone());
    }

    pub(crate) fn unit(
        &self,
        service: &'static str,
        outcomes: &[(&'static str, Outcome)],
        took: Duration,
    ) {
        for (message, outcome) in outcomes {
            let word = match outcome {
                Outcome::Accepted => "accepted",
                Outcome::Ignored(_) => "ignored",
                Outcome::Deferred(_) => "deferred",
                Outcome::Duplicate => "duplicate",
                Outcome::Parked(reason) => {
                    let label = DeadLetter { service, reason: reason.as_str() };
                    self.dead_letters.get_or_create(&label).inc();
                    "parked"
                }
            };
            let label = Consumed { service, message, outcome: word };
            self.consumed.get_or_create(&label).inc();
        }
        let service = OfService { service };
        self.duration.get_or_create(&service).observe(took.as_secs_f64());
        self.batch.get_or_create(&service).observe(outcomes.len() as f64);
    }

    pub(crate) fn published(&self, service: &'static str, sent: usize, returned: usize) {
        let service = OfService { service };
        self.sent.get_or_create(&service).inc_by(sent as u64);
        self.returned.get_or_create(&service).inc_by(returned as u64);
    }

    pub(crate) fn dead_letter_queue(&self, service: &'static str, messages: u64) {
        let messages = i64::try_from(messages).unwrap_or(i64::MAX);
        self.dead_letter_queue.get_or_create(&OfService { service }).set(messages);
    }

    pub(crate) fn census(&self, service: &'static str, census: &Census) {
        let service = OfService { service };
        let numbers = [
            (&self.outbox_pending, census.unconfirmed),
            (&self.open, census.open),
            (&self.overdue, census.overdue),
            (&self.parked, census.parked),
            (&self.deferred, census.deferred),
            (&self.timers, census.timers),
            (&self.requests, census.requests),
            (&self.journal, census.last_position),
        ];
        for (gauge, number) in numbers {
            gauge.get_or_create(&service).set(i64::try_from(number).unwrap_or(i64::MAX));
        }
        let age = census.oldest_unconfirmed_ms as f64 / 1_000.0;
        self.outbox_age.get_or_create(&service).set(age);
    }

    /// All of it as OpenMetrics text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)
            .expect("a String takes everything");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admit::Reason;

    #[test]
    fn the_reference_lists_every_metric_with_its_kind() {
        let metrics = Metrics::new();
        let outcomes =
            [("order.placed", Outcome::Accepted), ("?", Outcome::Parked(Reason::Oversize))];
        metrics.unit("order", &outcomes, Duration::ZERO);
        metrics.published("order", 1, 1);
        metrics.census("order", &Census::default());
        metrics.dead_letter_queue("order", 1);
        let reference = include_str!("../../../docs/reference/metrics.md");
        let text = metrics.text();
        let kinds = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let mut listed = 0;
        for kind in kinds {
            let (name, kind) = kind.split_once(' ').expect("a name and a kind");
            let row = format!("| `{name}` | {kind} |");
            assert!(reference.contains(&row), "docs/reference/metrics.md has no row {row}");
            listed += 1;
        }
        assert_eq!(listed, reference.matches("\n| `").count(), "rows without a metric");
    }
}
