//! The entities of one service after a schedule, by its own `react` and nothing else.
use super::plan::Plan;
use anyhow::{Result, anyhow};
use quadrille_check::Delivery;
use quadrille_core::{Cx, Keyed, Messages, Service, UnitOfWork};
use serde_json::Value;
use std::collections::BTreeMap;

pub(super) type Key<S> = <<S as Service>::Consumes as Keyed>::Key;

/// As the checker has them: a repeated message is decided on again, as nobody remembers it there.
pub(super) fn predict<S: Service>(
    start: &BTreeMap<Key<S>, S::Entity>,
    steps: &[Delivery],
    plan: &Plan,
) -> Result<BTreeMap<String, Value>> {
    let mut entities = start.clone();
    for step in steps.iter().filter(|step| step.to == S::NAME && plan.is_decided(step)) {
        let version = plan.version(step)?;
        let message =
            S::Consumes::decode(&step.message, version, step.body.clone()).map_err(|error| {
                anyhow!("{} of the schedule is not readable: {error:?}", step.message)
            })?;
        let mut unit = UnitOfWork::<S>::default();
        loop {
            let missing = unit.missing(&message);
            if missing.is_empty() {
                break;
            }
            for key in missing {
                let entity = entities.get(&key).cloned().unwrap_or_default();
                unit.load(key, entity);
            }
        }
        entities.extend(unit.decide(message, &Cx::default()).1.changed);
    }
    let json = |(key, entity): (&Key<S>, &S::Entity)| {
        (key.to_string(), serde_json::to_value(entity).expect("states are plain data"))
    };
    Ok(entities.iter().map(json).collect())
}
