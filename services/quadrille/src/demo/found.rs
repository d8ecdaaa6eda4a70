//! What an earlier demo left in the folder: said, and brought to its end.
use super::Stage;
use crate::timeline::state_name;
use anyhow::{Result, anyhow};
use quadrille_runtime::entry::Failed;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// An earlier life may have died with a claim on a timer: that ends after 30 s.
const FINISHED_WITHIN: Duration = Duration::from_secs(45);

/// Orders read at one time.
const PAGE: u32 = 1_000;

impl Stage {
    /// Says what is in the folder, and waits until all of it has ended.
    pub(super) async fn finish_what_was_found(&self) -> Result<(), Failed> {
        let queued = self.broker().map_err(Failed::bug)?.unsettled();
        let before = self.orders().await.map_err(Failed::bug)?;
        self.tell_found(&before, queued).map_err(Failed::bug)?;
        if before.is_empty() && queued == 0 {
            return Ok(());
        }
        if let Some(left) = self.rest(FINISHED_WITHIN).await.map_err(Failed::bug)? {
            let within = FINISHED_WITHIN.as_secs();
            return Err(Failed::wrong(anyhow!("not finished within {within} s: {left}")));
        }
        let after = self.orders().await.map_err(Failed::bug)?;
        self.tell_finished(&before, &after).map_err(Failed::bug)
    }

    fn tell_found(&self, before: &BTreeMap<String, Order>, queued: usize) -> Result<()> {
        let data = self.platform.config().data.as_ref();
        let data = data.map(|data| data.display().to_string()).unwrap_or_default();
        if before.is_empty() && queued == 0 {
            return self.say(&format!("{data}: new, nothing in it yet.\n"));
        }
        let open = before.values().filter(|order| order.open).count();
        self.say(&format!(
            "{data}: found {} ({open} under way) and {} in queues.\n",
            counted(before.len(), "order"),
            counted(queued, "message"),
        ))
    }

    fn tell_finished(
        &self,
        before: &BTreeMap<String, Order>,
        after: &BTreeMap<String, Order>,
    ) -> Result<()> {
        for (id, now) in after {
            match before.get(id) {
                Some(was) if was.open => self.say(&format!(
                    "  {id}  was {}, now {}\n",
                    was.state.to_lowercase(),
                    now.state.to_lowercase()
                ))?,
                None => self
                    .say(&format!("  {id}  was in a queue, now {}\n", now.state.to_lowercase()))?,
                Some(_) => {}
            }
        }
        match after.len() {
            0 => self.say("Nothing of it was an order. Now new ones.\n\n"),
            _ => self.say("All of them have ended. Now new ones.\n\n"),
        }
    }

    /// All orders that the order service knows.
    async fn orders(&self) -> Result<BTreeMap<String, Order>> {
        let mut all = BTreeMap::new();
        loop {
            let last = all.last_key_value().map_or("", |(key, _): (&String, _)| key.as_str());
            let page = self.stores["order"].entities("", last, PAGE).await?;
            if page.is_empty() {
                return Ok(all);
            }
            for row in page {
                let state: Value = serde_json::from_slice(&row.state)?;
                all.insert(row.key, Order { state: state_name(&state), open: row.open });
            }
        }
    }
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// One order, as far as a line says.
struct Order {
    state: String,
    open: bool,
}
