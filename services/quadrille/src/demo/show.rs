//! Drawing the stories while they happen, and the table of how they ended.
use super::{SOON, Stage, Story, look_again};
use crate::everyone::SERVICES;
use crate::picture::Picture;
use crate::screen::{Ink, Screen};
use crate::timeline::{Step, is_ahead, timeline};
use anyhow::Result;
use comfy_table::{CellAlignment, Table};
use quadrille_contracts::{OrderCancelled, OrderId};
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};
use std::time::Instant;

/// How a story ended.
#[derive(Debug, Serialize)]
pub(super) struct Told {
    story: &'static str,
    pub(super) order: OrderId,
    /// The last state of each service's entity.
    states: BTreeMap<&'static str, String>,
    /// Why it was cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    because: Option<String>,
    took_ms: i64,
    pub(super) as_told: bool,
}

impl Stage {
    /// Shows one story after the other; they happen all at once.
    pub(super) async fn show(&self, cast: &[(&'static Story, OrderId)]) -> Result<Vec<Told>> {
        let picture = Picture::on(self.screen);
        let mut told = Vec::new();
        for (n, (story, order)) in cast.iter().enumerate() {
            let title = format!("{} of {}: {:<18}", n + 1, cast.len(), story.name);
            let title = self.screen.paint(Ink::Strong, &title);
            let id = self.screen.paint(Ink::Dim, &format!("order {order}"));
            self.say(&format!("\n{title} {id}\n{}\n", story.about))?;
            if let Some(head) = picture.head() {
                self.say(&format!("{head}\n"))?;
            }
            told.push(story.told(*order, &self.follow(story, *order, picture).await?));
        }
        Ok(told)
    }

    /// Draws each step once, when it is there and its cause too, until the order has ended.
    async fn follow(&self, story: &Story, order: OrderId, picture: Picture) -> Result<Vec<Step>> {
        let mut drawn = HashSet::new();
        let until = Instant::now() + SOON;
        loop {
            let steps = timeline(&self.stores, order).await?;
            let first_ms = steps.first().map_or(0, |step| step.row.at_ms);
            let complete = steps.iter().take_while(|step| !is_ahead(step)).count();
            for step in &steps[..complete] {
                if drawn.insert((step.lane, step.row.position)) {
                    self.say(&format!("{}\n", picture.line(step, step.row.at_ms - first_ms)))?;
                }
            }
            let said = |name| steps.iter().any(|step| step.publishes(name));
            let over = said("order.closed") && story.says.is_none_or(said);
            // Who does not end in time is told so in the table.
            if (over && complete == steps.len()) || look_again(until, String::new).await.is_err() {
                return Ok(steps);
            }
        }
    }
}

impl Story {
    fn told(&self, order: OrderId, steps: &[Step]) -> Told {
        let states = steps.iter().map(|step| (step.service(), step.state_name())).collect();
        let because = steps.iter().find_map(because);
        let ends = SERVICES.into_iter().zip(self.ends.map(str::to_owned)).collect();
        let said = |name| steps.iter().any(|step| step.publishes(name));
        let as_told = states == ends
            && because.as_deref() == self.because
            && said("order.closed")
            && self.says.is_none_or(said);
        let times = || steps.iter().map(|step| step.row.at_ms);
        let took_ms = times().max().unwrap_or(0) - times().min().unwrap_or(0);
        Told { story: self.name, order, states, because, took_ms, as_told }
    }
}

/// Why an order is cancelled, if this step says so.
fn because(step: &Step) -> Option<String> {
    let said = step.published.iter().find(|message| message.name == "order.cancelled")?;
    let OrderCancelled { reason, .. } = serde_json::from_slice(&said.body).ok()?;
    Some(serde_json::to_value(reason).ok()?.as_str()?.to_owned())
}

/// The outcomes.
pub(super) fn table(told: &[Told], screen: Screen) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::ASCII_MARKDOWN);
    table.set_header(["story", "order", "goods", "payment", "parcel", "ms", "ok"]);
    for told in told {
        let state = |service| told.states.get(service).map_or("-".into(), |s| s.to_lowercase());
        let [order, goods, payment, parcel] = SERVICES.map(state);
        let as_told = if told.as_told { "yes" } else { "NO" };
        let took = told.took_ms.to_string();
        table.add_row([told.story, &order, &goods, &payment, &parcel, &took, as_told]);
    }
    table.column_iter_mut().skip(5).take(1).for_each(|column| {
        column.set_cell_alignment(CellAlignment::Right);
    });
    let title = screen.paint(Ink::Strong, "How the orders ended");
    format!("\n{title}\n{table}\n")
}
