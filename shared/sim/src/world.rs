//! One run: everything that outlives a process, and the rule by which processes call it and die.
use crate::broker::Queues;
use crate::bug::Bug;
use crate::chance::Chance;
use crate::fault::{Fault, Faults, Injected};
use crate::plan::{CrashAt, Plan, When};
use crate::port::Port;
use crate::store::Tables;
use crate::trace::Trace;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The clock of a process is at most so wrong when it begins, where clocks are wrong at all.
const SKEW_MAX_MS: u64 = 600_000;
/// The stream of chance that it is drawn from.
const SKEW: u64 = 4;

/// Whom a process calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Declare,
    Consume,
    Publish,
    Receive,
    Ack,
    Load,
    Commit,
    Due,
    NextDue,
    Claim,
    Release,
    Unconfirmed,
    CountAttempts,
    Census,
    Purge,
    Ask,
}

impl Call {
    /// Does it move anything, or does it only look each second?
    fn is_work(self) -> bool {
        use Call::*;
        matches!(self, Publish | Receive | Ack | Load | Commit | Release | CountAttempts | Ask)
    }

    /// The most that it usually takes, in milliseconds; what only looks takes none.
    fn latency_ms(self) -> u64 {
        match self {
            Self::Publish | Self::Commit => 4,
            Self::Load => 2,
            Self::Declare | Self::Consume => 20,
            Self::Ask => 300,
            _ => 0,
        }
    }
}

/// One process: it is born, calls ports, and dies.
#[derive(Debug)]
pub struct Life {
    pub(crate) id: u64,
    pub(crate) service: &'static str,
    /// Its place among the stores.
    pub(crate) store: usize,
    pub(crate) name: String,
    /// It writes a field that older ones do not know.
    pub(crate) newer: bool,
    dead: AtomicBool,
    died: Notify,
    /// Cancelled to stop it as an operator would.
    pub(crate) leaving: CancellationToken,
    /// How wrong its clock is.
    pub(crate) clock_off_ms: AtomicI64,
}

impl Life {
    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Relaxed)
    }
    /// Returns when it has died; never if it does not.
    pub(crate) async fn died(&self) {
        self.died.notified().await;
    }
}

/// How many port calls a process has left, and which side of the last one it does not survive.
#[derive(Clone, Copy, Debug)]
struct Doom {
    calls: u64,
    when: When,
    /// Only calls count that do something.
    at_work: bool,
}

#[derive(Debug)]
pub(crate) struct State {
    began: Instant,
    /// Virtual time since the beginning, read once each time that somebody takes hold of the world.
    pub(crate) now_ms: u64,
    pub(crate) seed: u64,
    pub(crate) calm: bool,
    pub(crate) bug: Option<Bug>,
    pub(crate) faults: Faults,
    pub(crate) chance: Chance,
    pub(crate) trace: Trace,
    pub(crate) queues: Queues,
    /// Of each service, in the order in which they came.
    pub(crate) stores: Vec<Tables>,
    pub(crate) lives: Vec<Arc<Life>>,
    births: u64,
    calls: u64,
    crashes: Vec<CrashAt>,
    doomed: BTreeMap<u64, Doom>,
    pub(crate) deaths: u32,
    /// Publishes under way: whose, and since when.
    pub(crate) publishing: BTreeMap<u64, (u64, u64)>,
    /// What must never be, and was.
    pub(crate) findings: Vec<String>,
}

/// What comes of calling a port.
pub(crate) enum Entry {
    Dead,
    /// The number of this call, and how long it takes to get there.
    Called(u64, u64),
}

impl State {
    pub(crate) fn strikes(&mut self, fault: Fault, life: &Life) -> bool {
        self.strikes_one_in(1, fault, life)
    }

    pub(crate) fn strikes_one_in(&mut self, n: u64, fault: Fault, life: &Life) -> bool {
        let now_ms = self.now_ms;
        let strikes = self.faults.strikes_one_in(n, fault, now_ms, &life.name);
        if strikes {
            self.trace.tell(now_ms, &life.name, || format!("FAULT {fault}"));
        }
        strikes
    }

    /// How wrong the clock of the process is that begins now. Where clocks jump, no two are alike.
    fn skew_ms(&self) -> i64 {
        let mut chance = Chance::stream(self.seed, SKEW << 32 | self.births);
        let (ahead, behind) = (Fault::ClockForward, Fault::ClockBack);
        match chance.one_in(2) {
            true if self.faults.is_on(ahead) => chance.within(1..=SKEW_MAX_MS) as i64,
            false if self.faults.is_on(behind) => -(chance.within(1..=SKEW_MAX_MS) as i64),
            _ => 0,
        }
    }

    pub(crate) fn found(&mut self, what: impl FnOnce() -> String) {
        if self.findings.len() < FINDINGS_MAX {
            let what = what();
            let now_ms = self.now_ms;
            self.trace.tell(now_ms, "FOUND", || what.clone());
            self.findings.push(what);
        }
    }

    pub(crate) fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    pub(crate) fn enter(&mut self, life: &Life, call: Call) -> Entry {
        if life.is_dead() {
            return Entry::Dead;
        }
        self.calls += 1;
        let now_ms = self.now_ms;
        self.trace.mix(now_ms);
        self.trace.mix(life.id << 8 | call as u64);
        self.trace.tell(now_ms, &life.name, || format!("{call:?} ({})", self.calls));
        if let Some(doom) = self.doomed.get_mut(&life.id)
            && (call.is_work() || !doom.at_work)
        {
            doom.calls = doom.calls.saturating_sub(1);
        }
        if self.is_fatal(life, self.calls, When::Before) {
            self.kill(life);
            return Entry::Dead;
        }
        let usual_ms = match call.latency_ms() {
            0 => 0,
            _ if self.calm => 0,
            most_ms => self.chance.within(0..=most_ms),
        };
        let slow = usual_ms > 0 && call != Call::Ask && self.strikes(Fault::Slow, life);
        let slow_ms = if slow { self.faults.chance(Fault::Slow).within(200..=3_000) } else { 0 };
        Entry::Called(self.calls, usual_ms + slow_ms)
    }

    /// True if the process does not survive the call.
    pub(crate) fn leave(&mut self, life: &Life, call: u64) -> bool {
        let fatal = !life.is_dead() && self.is_fatal(life, call, When::After);
        if fatal {
            self.kill(life);
        }
        fatal
    }

    fn is_fatal(&self, life: &Life, call: u64, when: When) -> bool {
        self.crashes.iter().any(|crash| crash.call == call && crash.when == when)
            || self.doomed.get(&life.id).is_some_and(|doom| doom.calls == 0 && doom.when == when)
    }

    /// From now on its calls never come back; whoever keeps it drops it.
    pub(crate) fn kill(&mut self, life: &Life) {
        life.dead.store(true, Relaxed);
        life.died.notify_one();
        self.doomed.remove(&life.id);
        self.over(life);
        self.deaths += 1;
        let now_ms = self.now_ms;
        self.trace.tell(now_ms, &life.name, || "DIES".to_owned());
        if self.has(Bug::NotDurable) {
            self.stores[life.store].forget_the_last_commits();
        }
    }

    /// It is no more: nor is what it had under way.
    pub(crate) fn over(&mut self, life: &Life) {
        self.lives.retain(|other| other.id != life.id);
        self.publishing.retain(|_, (whose, _)| *whose != life.id);
    }

    /// Every call has a time limit, whatever becomes of the answer.
    pub(crate) fn nothing_hangs(&mut self) {
        let now_ms = self.now_ms;
        let long = |since_ms: u64| now_ms.saturating_sub(since_ms) > PUBLISH_MAX_MS;
        if self.publishing.values().any(|(_, since_ms)| long(*since_ms)) {
            self.found(|| format!("a publish has waited for more than {PUBLISH_MAX_MS} ms"));
        }
    }

    /// It dies at one of its next calls.
    pub(crate) fn doom(&mut self, life: &Life, calls: u64, when: When, at_work: bool) {
        self.doomed.insert(life.id, Doom { calls, when, at_work });
    }

    /// The place of a service's store, made if there is none.
    fn store_of(&mut self, service: &'static str) -> usize {
        let known = self.stores.iter().position(|tables| tables.service == service);
        known.unwrap_or_else(|| {
            self.stores.push(Tables::of(service));
            self.stores.len() - 1
        })
    }

    /// Nobody is doomed any more.
    pub(crate) fn pardon(&mut self) {
        self.doomed.clear();
    }
}

/// Longer than any publish may take, with an alarm before it and no answer after it.
const PUBLISH_MAX_MS: u64 = 60_000;

/// More say nothing new.
const FINDINGS_MAX: usize = 20;

/// Everything that outlives a process.
#[derive(Debug)]
pub struct World(Mutex<State>);

impl World {
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(plan: &Plan) -> Arc<Self> {
        let faults = Faults::new(plan.seed, plan.faults, plan.dropped.clone(), plan.all);
        Arc::new(Self(Mutex::new(State {
            began: Instant::now(),
            now_ms: 0,
            seed: plan.seed,
            calm: plan.calm,
            bug: plan.bug,
            faults,
            chance: Chance::stream(plan.seed, 1),
            trace: Trace::new(plan.told),
            queues: Queues::default(),
            stores: Vec::new(),
            lives: Vec::new(),
            births: 0,
            calls: 0,
            crashes: plan.crashes.clone(),
            doomed: BTreeMap::new(),
            deaths: 0,
            publishing: BTreeMap::new(),
            findings: Vec::new(),
        })))
    }

    /// Held for a moment, never over an await.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.0.lock().expect("nothing panics while it holds the world");
        state.now_ms = state.began.elapsed().as_millis() as u64;
        state
    }

    /// Virtual time since the beginning of the run.
    pub fn now_ms(&self) -> u64 {
        self.state().now_ms
    }

    /// A new process of a service.
    pub fn born(self: &Arc<Self>, service: &'static str, replica: u32, newer: bool) -> Port {
        let mut state = self.state();
        state.births += 1;
        let clock_off_ms = AtomicI64::new(state.skew_ms());
        let life = Arc::new(Life {
            id: state.births,
            service,
            store: state.store_of(service),
            name: format!("{service}/{replica}#{}", state.births),
            newer,
            dead: AtomicBool::new(false),
            died: Notify::new(),
            leaving: CancellationToken::new(),
            clock_off_ms,
        });
        state.lives.push(life.clone());
        let now_ms = state.now_ms;
        state.trace.tell(now_ms, &life.name, || "begins".to_owned());
        Port { world: self.clone(), life }
    }

    /// One that looks on: nothing ever fails for it, it takes no time, and it never dies.
    pub fn observer(self: &Arc<Self>, service: &'static str) -> Port {
        let store = self.state().store_of(service);
        let life = Arc::new(Life {
            id: 0,
            service,
            store,
            name: "observer".to_owned(),
            newer: false,
            dead: AtomicBool::new(false),
            died: Notify::new(),
            leaving: CancellationToken::new(),
            clock_off_ms: AtomicI64::new(0),
        });
        Port { world: self.clone(), life }
    }

    /// What must never be, and was.
    pub fn findings(&self) -> Vec<String> {
        self.state().findings.clone()
    }
    pub fn found(&self, what: String) {
        self.state().found(|| what);
    }
    /// The faults that struck.
    pub fn injected(&self) -> Vec<Injected> {
        self.state().faults.injected.clone()
    }
    /// Port calls made by all processes.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }
    pub fn deaths(&self) -> u32 {
        self.state().deaths
    }
    /// All that happened, as one number.
    pub fn digest(&self) -> u64 {
        self.state().trace.digest()
    }
    /// All that happened, if the plan asked for it.
    pub fn text(&self) -> Option<String> {
        self.state().trace.text().map(str::to_owned)
    }
    /// A line in the text of what happened, and part of its number.
    pub fn tell(&self, who: &str, what: &str) {
        let mut state = self.state();
        let now_ms = state.now_ms;
        state.trace.mix_bytes(what.as_bytes());
        state.trace.tell(now_ms, who, || what.to_owned());
    }
}
