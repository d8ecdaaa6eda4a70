//! One journal, played again through the service that wrote it.
use super::book::{Book, Facts};
use super::{ABSORBED, CAUSE, DENSE, ONCE, PATH, STORED};
use crate::everyone::Stores;
use quadrille_core::{Cx, Keyed, Messages, Service, UnitOfWork, Verdict};
use quadrille_runtime::journal::decode;
use quadrille_runtime::store::{JournalRow, Store, StoreError};
use std::collections::{HashMap, HashSet};

/// Rows read at one time.
const PAGE: u32 = 1_000;

/// All rows of a journal after a position, page by page.
pub(super) async fn pages(
    store: &dyn Store,
    after: u64,
    mut each: impl FnMut(JournalRow),
) -> Result<(), StoreError> {
    let mut last = after;
    loop {
        let page = store.journal(last, PAGE).await?;
        let Some(end) = page.last() else { return Ok(()) };
        last = end.position;
        page.into_iter().for_each(&mut each);
    }
}

/// Plays one service's journal again, and notes in the book what the others are checked against.
pub(super) async fn journal<S: Service>(stores: &Stores, book: &mut Book) -> Result<(), StoreError>
where
    S::Entity: Facts,
{
    let mut replay = Replay::<S>::default();
    let mut step: Vec<JournalRow> = Vec::new();
    pages(&*stores[S::NAME], 0, |row| {
        // All rows of one message stand together.
        if step.last().is_some_and(|last| last.cause != row.cause) {
            replay.step(&step, book);
            step.clear();
        }
        step.push(row);
    })
    .await?;
    replay.step(&step, book);
    replay.stored(&*stores[S::NAME], book).await?;
    book.read(S::NAME, replay.position, replay.causes);
    Ok(())
}

/// A service's entities as far as its journal was read.
struct Replay<S: Service> {
    entities: HashMap<String, (u64, S::Entity)>,
    causes: HashSet<uuid::Uuid>,
    position: u64,
}

impl<S: Service> Default for Replay<S> {
    fn default() -> Self {
        Self { entities: HashMap::new(), causes: HashSet::new(), position: 0 }
    }
}

impl<S: Service> Replay<S>
where
    S::Entity: Facts,
{
    /// All that one message changed.
    fn step(&mut self, rows: &[JournalRow], book: &mut Book) {
        let Some(first) = rows.first() else { return };
        let place = |row: &JournalRow| format!("{} position {}", S::NAME, row.position);
        let entities: HashSet<_> = rows.iter().map(|row| &row.entity).collect();
        let fresh = self.causes.insert(first.cause) && entities.len() == rows.len();
        book.findings.must(ONCE, first.cause, fresh, || {
            format!("{} had a second effect at {}", first.cause_name, place(first))
        });
        let played = self.play(first);
        for row in rows {
            let dense = row.position == self.position + 1;
            let before = self.position;
            book.findings
                .must(DENSE, S::NAME, dense, || format!("{} follows {before}", row.position));
            self.position = row.position;
            let wrong = self.row(row, &played, book);
            book.findings.check(PATH, &row.entity, wrong.map(|w| format!("{w} ({})", place(row))));
        }
        match decode(S::NAME, first) {
            Ok(messages) => {
                let said: Vec<_> = messages.iter().map(|message| message.name.as_str()).collect();
                if let Ok(Played { published, .. }) = &played {
                    book.findings.must(PATH, &first.entity, said == *published, || {
                        format!("published {said:?} and not {published:?} at {}", place(first))
                    });
                }
                messages.iter().for_each(|message| book.published(message));
            }
            Err(error) => book.findings.check(PATH, place(first), Some(error.to_string())),
        }
        book.consumed::<S>(first);
    }

    /// Compares the journal's last word on each entity with what the service reads. That is at
    /// least as new as the journal was when it was read.
    async fn stored(&self, store: &dyn Store, book: &mut Book) -> Result<(), StoreError> {
        let (mut after, mut found) = (String::new(), 0);
        loop {
            let page = store.entities("", &after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.key.clone();
            for row in page {
                let Some((version, entity)) = self.entities.get(&row.key) else { continue };
                found += 1;
                let state = serde_json::from_slice::<S::Entity>(&row.state);
                let same = state.is_ok_and(|state| state == *entity);
                let truth = row.version > *version || (row.version == *version && same);
                book.findings.must(STORED, &row.key, truth, || {
                    let state = String::from_utf8_lossy(&row.state);
                    format!(
                        "{} stores version {} as {state}, not {version} as {entity:?}",
                        S::NAME,
                        row.version
                    )
                });
            }
        }
        book.findings.must(STORED, S::NAME, found == self.entities.len(), || {
            format!("{} entities are stored, {} are in the journal", found, self.entities.len())
        });
        Ok(())
    }

    /// What the service makes of the cause, from the states that the journal has shown so far.
    fn play(&self, row: &JournalRow) -> Result<Played, String> {
        let body = &mut serde_json::Deserializer::from_slice(&row.cause_body);
        let cause = S::Consumes::decode(&row.cause_name, row.cause_version, body)
            .map_err(|error| format!("{} cannot be read: {error:?}", row.cause_name))?;
        let mut unit = UnitOfWork::<S>::default();
        loop {
            let missing = unit.missing(&cause);
            if missing.is_empty() {
                break;
            }
            for key in missing {
                let known = self.entities.get(&key.to_string());
                unit.load(key, known.map(|(_, entity)| entity.clone()).unwrap_or_default());
            }
        }
        let key = cause.key();
        let (verdict, effects) = unit.decide(cause, &Cx { now_ms: row.at_ms });
        if verdict != Verdict::Accept {
            return Err(format!("{} is answered with {verdict:?}", row.cause_name));
        }
        unit.keep(&effects);
        // The message's own entity takes a step even if it stays as it is.
        let own = unit.get(&key).clone();
        let state = |entity| serde_json::to_vec(entity).expect("states are plain data");
        let changed = effects.changed.iter().map(|(key, entity)| (key.to_string(), state(entity)));
        let states = [(key.to_string(), state(&own))].into_iter().chain(changed).collect();
        let published = effects.published.iter().map(Messages::name).collect();
        Ok(Played { states, published })
    }

    /// One entity takes one step; says what is wrong with it.
    fn row(
        &mut self,
        row: &JournalRow,
        played: &Result<Played, String>,
        book: &mut Book,
    ) -> Option<String> {
        let entity: S::Entity = match serde_json::from_slice(&row.state) {
            Ok(entity) => entity,
            Err(error) => return Some(format!("its state cannot be read: {error}")),
        };
        let before = self.entities.get(&row.entity);
        let version = before.map_or(0, |(version, _)| *version);
        let from_itself = row.cause_source == S::NAME;
        if let Some((_, before)) = before {
            let absorbed = !S::ended(before) || *before == entity;
            book.findings.must(ABSORBED, &row.entity, absorbed, || {
                format!("{before:?} became {entity:?} by {}", row.cause_name)
            });
        } else if from_itself {
            let what = format!("{} of {} came before anything else", row.cause_name, S::NAME);
            book.findings.check(CAUSE, &row.entity, Some(what));
        }
        entity.note(&row.entity, before.map(|(_, entity)| entity), row, book);
        let wrong = match played {
            _ if row.version != version + 1 => {
                Some(format!("version {} follows {version}", row.version))
            }
            Err(why) => Some(why.clone()),
            // Written by the same code, so byte for byte; else compared as what it means.
            Ok(played) => match played.states.get(&row.entity) {
                Some(state) if state[..] == row.state[..] => None,
                Some(state)
                    if serde_json::from_slice(state).is_ok_and(|s: S::Entity| s == entity) =>
                {
                    None
                }
                other => {
                    let other = other.map(|state| String::from_utf8_lossy(state));
                    Some(format!("{} leads to {other:?}, not to {entity:?}", row.cause_name))
                }
            },
        };
        self.entities.insert(row.entity.clone(), (row.version, entity));
        wrong
    }
}

/// What a service did when it was asked again.
struct Played {
    /// JSON, by entity.
    states: HashMap<String, Vec<u8>>,
    published: Vec<&'static str>,
}
