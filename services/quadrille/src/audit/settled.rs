//! What must be true once nothing is under way any more.
use super::book::Book;
use super::{CONFIRMED, HEARD, NOTHING_LEFT, WHOLE};
use crate::choreography::PARTICIPANTS;
use crate::choreography::truth::Truth;
use crate::everyone::Stores;
use quadrille_core::{Descriptor, Origin, Wiring};
use quadrille_runtime::store::{StoreError, Wanted};
use std::collections::{BTreeMap, HashSet};
use uuid::Uuid;

/// Inbox rows are purged after a week: what is older than this cannot be asked for.
const REMEMBERED_MS: i64 = 6 * 24 * 60 * 60 * 1000;

/// Ids looked up at one time.
const LOOKUP_MAX: usize = 1_000;

pub(super) async fn check(stores: &Stores, book: &mut Book) -> Result<(), StoreError> {
    let truth = Truth { stock: BTreeMap::new(), orders: Vec::new(), retried: false };
    for (order, account) in &book.orders {
        let wrong = truth.all_or_nothing(&account.whole).err();
        book.findings.check(WHOLE, order, wrong);
    }
    for (service, store) in stores {
        let census = store.census().await?;
        let (unconfirmed, timers) = (census.unconfirmed, census.timers);
        let (requests, deferred) = (census.requests, census.deferred);
        book.findings.must(CONFIRMED, service, unconfirmed == 0, || {
            format!("{unconfirmed} commits have events that nobody saw confirmed")
        });
        book.findings.must(NOTHING_LEFT, service, timers + requests + deferred == 0, || {
            format!("{timers} timers, {requests} requests, {deferred} deferred messages")
        });
    }
    for Wiring { name, consumes, .. } in PARTICIPANTS.iter().filter(|w| !w.adapter) {
        heard(stores, book, name, consumes).await?;
    }
    Ok(())
}

/// Everything that one service listens for is in its journal or its inbox: it was consumed with an
/// effect, without one, or parked.
async fn heard(
    stores: &Stores,
    book: &mut Book,
    service: &'static str,
    consumes: &[Descriptor],
) -> Result<(), StoreError> {
    let last_ms = book.published.values().map(|said| said.at_ms).max().unwrap_or_default();
    let listens = |name: &str| {
        let from_a_service = |d: &&Descriptor| matches!(d.origin, Origin::Service(_));
        consumes.iter().filter(from_a_service).any(|d| d.name == name)
    };
    let wanted = book
        .published
        .iter()
        .filter(|(_, said)| said.at_ms >= last_ms - REMEMBERED_MS && listens(&said.name));
    let wanted: Vec<Uuid> = wanted.map(|(id, _)| *id).collect();
    let effective = &book.causes[service];
    let unknown: Vec<_> = wanted.iter().copied().filter(|id| !effective.contains(id)).collect();
    let mut seen: HashSet<Uuid> = HashSet::new();
    for messages in unknown.chunks(LOOKUP_MAX) {
        let wanted = Wanted { messages: messages.to_vec(), entities: Vec::new() };
        let loaded = stores[service].begin().await?.load(&wanted).await?;
        seen.extend(loaded.seen.into_keys());
    }
    for id in wanted {
        let heard = book.causes[service].contains(&id) || seen.contains(&id);
        let said = &book.published[&id];
        book.findings.must(HEARD, id, heard, || format!("{} never reached {service}", said.name));
    }
    Ok(())
}
