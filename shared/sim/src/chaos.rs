//! What strikes by the hour and not by the call; and how all of it heals.
use crate::bug::Bug;
use crate::chance::Chance;
use crate::fault::Fault;
use crate::plan::{BEGINNING_MS, When};
use crate::store::Tables;
use crate::world::{Life, State, World};
use quadrille_runtime::message::Raw;
use quadrille_runtime::store::ParkedRow;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Reasons for which a message is parked that lie in what happened to it, and not in it: an operator
/// tries these again.
const TRIED_AGAIN: [&str; 2] = ["repeatedly_failed", "expired"];

impl World {
    /// Lets faults strike for so long, and then heals everything.
    pub async fn suffer(self: Arc<Self>, for_ms: u64) {
        let events = self.state().faults.scheduled(for_ms);
        for (at_ms, fault, number) in events {
            self.until(at_ms).await;
            let mut state = self.state();
            let at_ms = state.now_ms;
            let mut chance = Chance::stream(state.seed, (fault as u64) << 40 | u64::from(number));
            let place = state.place(fault, &mut chance);
            if state.faults.inject(fault, number, at_ms, &place) {
                state.trace.tell(at_ms, &place, || format!("FAULT {fault}"));
                state.strike(fault, &place, &mut chance);
            }
        }
        self.until(for_ms).await;
        self.heal();
    }

    async fn until(&self, at_ms: u64) {
        let pause_ms = at_ms.saturating_sub(self.now_ms());
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
    }

    /// From now on nothing new goes wrong, and what was away is back.
    pub fn heal(&self) {
        let mut state = self.state();
        let now_ms = state.now_ms;
        state.trace.tell(now_ms, "HEALED", String::new);
        state.faults.active = false;
        state.pardon();
        state.queues.away_until_ms = 0;
        state.queues.alarm_until_ms = 0;
        for tables in &mut state.stores {
            (tables.away_until_ms, tables.full_until_ms) = (0, 0);
        }
    }

    /// What an operator does who finds dead letters and innocent parked messages: tries them again.
    pub fn operate(&self) {
        let mut state = self.state();
        state.nothing_hangs();
        let fresh_ids = state.has(Bug::RedriveSkipsInbox);
        for (queue, raw) in state.queues.exhume() {
            let message_id = Some(state.chance.id().to_string());
            let raw = match fresh_ids {
                true => Arc::new(Raw { message_id, headers: without_id(&raw), ..(*raw).clone() }),
                false => raw,
            };
            state.queues.put(&queue, &raw, None);
        }
        let now_ms = state.now_ms as i64;
        for tables in &mut state.stores {
            redrive(tables, now_ms);
        }
    }

    /// What nobody could use, and nobody has decided about, by service.
    pub fn parked(&self) -> Vec<(&'static str, ParkedRow)> {
        let state = self.state();
        let of_one = |tables: &Tables| {
            let rows = tables.parked().filter(|row| row.status == "parked");
            rows.map(|row| (tables.service, row.clone())).collect::<Vec<_>>()
        };
        state.stores.iter().flat_map(of_one).collect()
    }

    /// Nothing is under way any more; or else what is.
    ///
    /// # Errors
    /// If something is.
    pub fn at_rest(&self) -> Result<(), String> {
        let state = self.state();
        let left = state
            .stores
            .iter()
            .find_map(|tables| tables.left().map(|left| format!("{}: {left}", tables.service)));
        match left.or_else(|| state.queues.left()) {
            Some(left) => Err(left),
            None => Ok(()),
        }
    }
}

fn without_id(raw: &Raw) -> std::collections::BTreeMap<String, String> {
    let kept = raw.headers.iter().filter(|(name, _)| !name.ends_with("_id"));
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Has tried again what was parked and is not to blame.
fn redrive(tables: &mut Tables, now_ms: i64) {
    let again =
        |row: &&ParkedRow| row.status == "parked" && TRIED_AGAIN.contains(&row.reason.as_str());
    let ids: Vec<_> = tables.parked().filter(again).map(|row| row.id).collect();
    tables.redrive(BEGINNING_MS + now_ms + tables.clock_off_ms, &ids);
}

impl State {
    /// Whom it strikes: a process or a service by name, or everybody.
    fn place(&self, fault: Fault, chance: &mut Chance) -> String {
        let process = |chance: &mut Chance| match &self.lives[..] {
            [] => "nobody".to_owned(),
            lives => chance.pick(lives).name.clone(),
        };
        let store = |chance: &mut Chance| match &self.stores[..] {
            [] => "nobody".to_owned(),
            stores => chance.pick(stores).service.to_owned(),
        };
        match fault {
            Fault::Crash | Fault::Restart => process(chance),
            Fault::StoreAway | Fault::DiskFull => store(chance),
            Fault::ClockForward | Fault::ClockBack if chance.one_in(2) => store(chance),
            Fault::ClockForward | Fault::ClockBack => process(chance),
            _ => "all".to_owned(),
        }
    }

    fn strike(&mut self, fault: Fault, place: &str, chance: &mut Chance) {
        let now_ms = self.now_ms;
        let mut until_ms = |longest_ms| now_ms + chance.within(500..=longest_ms);
        let life = self.lives.iter().find(|life| life.name == place).cloned();
        match (fault, life) {
            (Fault::Crash, Some(life)) => {
                let at_work = !chance.one_in(4);
                let calls = chance.within(1..=20);
                let when = if chance.one_in(2) { When::Before } else { When::After };
                self.doom(&life, calls, when, at_work);
            }
            (Fault::CrashAll, _) => {
                let all: Vec<Arc<Life>> = self.lives.clone();
                all.iter().for_each(|life| self.kill(life));
            }
            (Fault::Restart, Some(life)) => life.leaving.cancel(),
            (Fault::BrokerAway, _) => self.queues.go_away(until_ms(60_000)),
            (Fault::Alarm, _) => self.queues.alarm_until_ms = until_ms(60_000),
            (Fault::StoreAway, _) => {
                let until_ms = until_ms(30_000);
                self.at(place, |tables| tables.away_until_ms = until_ms);
            }
            (Fault::DiskFull, _) => {
                let until_ms = until_ms(120_000);
                self.at(place, |tables| tables.full_until_ms = until_ms);
            }
            (Fault::ClockForward, Some(life)) => {
                life.clock_off_ms.fetch_add(chance.within(1..=600_000) as i64, Relaxed);
            }
            (Fault::ClockBack, Some(life)) => {
                life.clock_off_ms.fetch_sub(chance.within(1..=600_000) as i64, Relaxed);
            }
            (Fault::ClockForward, None) => {
                let ms = chance.within(1..=1_200_000) as i64;
                self.at(place, |tables| tables.clock_off_ms += ms);
            }
            // A store's leases and timers are as late as its clock goes back.
            (Fault::ClockBack, None) => {
                let ms = chance.within(1..=120_000) as i64;
                self.at(place, |tables| tables.clock_off_ms -= ms);
            }
            _ => {}
        }
    }

    fn at(&mut self, service: &str, change: impl FnOnce(&mut Tables)) {
        if let Some(tables) = self.stores.iter_mut().find(|tables| tables.service == service) {
            change(tables);
        }
    }
}
