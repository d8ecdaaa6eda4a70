//! All runs as medians and ratios, for people and for programs.
use super::run::Found;
use super::story::Story;
use super::{Form, Options, Parts};
use comfy_table::Table;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// All that was found, in the order of the runs.
pub(super) struct Report {
    runs: u32,
    under_way: u32,
    rate: u32,
    prefill: u32,
    handled: usize,
    published: usize,
    found: BTreeMap<(Parts, Form), Vec<Found>>,
}

/// The medians, and the ratios that do not depend on the machine.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    runs: u32,
    orders_under_way: u32,
    fixed_orders_per_s: u32,
    prefilled_orders: u32,
    messages_handled_per_order: usize,
    messages_published_per_order: usize,
    pub(super) lines: Vec<Line>,
}

#[derive(Debug, Serialize)]
pub(super) struct Line {
    pub(super) parts: Parts,
    pub(super) form: Form,
    #[serde(flatten)]
    pub(super) median: Found,
    pub(super) messages_per_s: f64,
    /// Orders a second against those of the other forms in the same run.
    pub(super) of_naive: Option<f64>,
    pub(super) of_raw: Option<f64>,
    /// Of the same without what this form adds: bundled of ours, filled of bundled.
    pub(super) of_base: Option<f64>,
    /// Latency at the fixed rate against that of the raw form in the same run.
    pub(super) p50_of_raw: Option<f64>,
    pub(super) p99_of_raw: Option<f64>,
    pub(super) all: Vec<Found>,
}

impl Report {
    pub(super) fn new(options: &Options, story: &Story) -> Self {
        let steps = story.services.values().flatten();
        Self {
            runs: options.runs,
            under_way: options.under_way,
            rate: options.rate,
            prefill: if options.forms.contains(&Form::Filled) { options.prefill } else { 0 },
            handled: story.handled(),
            published: steps.map(|step| step.says.len()).sum::<usize>() + 1,
            found: BTreeMap::new(),
        }
    }

    pub(super) fn add(&mut self, parts: Parts, form: Form, found: Found) {
        eprintln!(
            "  {:.0} orders/s, p50 {:.0} p99 {:.0} ms; at {} orders/s p50 {:.1} p99 {:.1} ms; cpu {}",
            found.orders_per_s,
            found.peak_p50_ms,
            found.peak_p99_ms,
            self.rate,
            found.fixed_p50_ms,
            found.fixed_p99_ms,
            listed(&found.cpu_s, 2),
        );
        self.found.entry((parts, form)).or_default().push(found);
    }

    /// The median of the ratios of each run, not the ratio of medians.
    fn ratio(&self, of: (Parts, Form), to: Form, get: fn(&Found) -> f64) -> Option<f64> {
        let (all, other) = (&self.found[&of], self.found.get(&(of.0, to))?);
        let ratios = all.iter().zip(other).map(|(a, b)| get(a) / get(b).max(1e-9));
        (of.1 != to).then(|| median(ratios))
    }

    pub(super) fn summary(&self) -> Summary {
        let line = |(at, all): (&(Parts, Form), &Vec<Found>)| {
            let (rate, median) = (|found: &Found| found.orders_per_s, medians(all));
            Line {
                parts: at.0,
                form: at.1,
                messages_per_s: median.orders_per_s * self.handled as f64,
                median,
                of_naive: self.ratio(*at, Form::Naive, rate),
                of_raw: self.ratio(*at, Form::Raw, rate),
                of_base: at.1.base().and_then(|base| self.ratio(*at, base, rate)),
                p50_of_raw: self.ratio(*at, Form::Raw, |found| found.fixed_p50_ms),
                p99_of_raw: self.ratio(*at, Form::Raw, |found| found.fixed_p99_ms),
                all: all.clone(),
            }
        };
        Summary {
            runs: self.runs,
            orders_under_way: self.under_way,
            fixed_orders_per_s: self.rate,
            prefilled_orders: self.prefill,
            messages_handled_per_order: self.handled,
            messages_published_per_order: self.published,
            lines: self.found.iter().map(line).collect(),
        }
    }

    pub(super) fn text(&self) -> String {
        let summary = self.summary();
        format!(
            "Medians of {} runs, the forms taking turns. {} orders under way; filled: {} finished\n\
             before. An order is {} messages handled and {} published.\n\
             x base: bundled of ours, filled of bundled.\n{}\n\n\
             What it costs: CPU seconds for 1,000 orders, % of a core and MB when idle, MB at the \
             most,\nmessages in a unit of work.\n{}\n",
            self.runs,
            self.under_way,
            self.prefill,
            self.handled,
            self.published,
            self.speeds(&summary),
            costs(&summary),
        )
    }

    fn speeds(&self, summary: &Summary) -> Table {
        let mut table = table(&[
            "parts",
            "form",
            "orders/s",
            "messages/s",
            "x naive",
            "x raw",
            "x base",
            "p50 / p99 ms",
            &format!("at {}/s", self.rate),
            "x raw",
        ]);
        let ratio = |ratio: Option<f64>| ratio.map_or(String::new(), |r| format!("{r:.2}"));
        for line in &summary.lines {
            let m = &line.median;
            let slower = line.p50_of_raw.zip(line.p99_of_raw);
            table.add_row([
                format!("{:?}", line.parts),
                format!("{:?}", line.form),
                format!("{:.0}", m.orders_per_s),
                format!("{:.0}", line.messages_per_s),
                line.of_naive.map_or(String::new(), |r| format!("{r:.1}")),
                ratio(line.of_raw),
                ratio(line.of_base),
                format!("{:.0} / {:.0}", m.peak_p50_ms, m.peak_p99_ms),
                format!("{:.1} / {:.1}", m.fixed_p50_ms, m.fixed_p99_ms),
                slower.map_or(String::new(), |(p50, p99)| format!("{p50:.2} / {p99:.2}")),
            ]);
        }
        table
    }
}

/// One row for each process of each form.
fn costs(summary: &Summary) -> Table {
    let heads = ["parts", "form", "process", "CPU s", "idle %", "idle MB", "most MB", "messages"];
    let mut table = table(&heads);
    for line in &summary.lines {
        let m = &line.median;
        for (process, cpu_s) in &m.cpu_s {
            let number = |of: &BTreeMap<String, f64>, digits: usize| {
                of.get(process).map_or(String::new(), |n| format!("{n:.digits$}"))
            };
            table.add_row([
                format!("{:?}", line.parts),
                format!("{:?}", line.form),
                process.clone(),
                format!("{cpu_s:.2}"),
                number(&m.idle_percent, 1),
                number(&m.idle_mb, 0),
                number(&m.memory_mb, 0),
                number(&m.batch, 0),
            ]);
        }
    }
    table
}

fn table(heads: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header(heads.to_vec());
    table
}

fn listed(numbers: &BTreeMap<String, f64>, digits: usize) -> String {
    let each = numbers.iter().map(|(name, number)| format!("{name} {number:.digits$}"));
    each.collect::<Vec<_>>().join(", ")
}

fn median(numbers: impl Iterator<Item = f64>) -> f64 {
    let mut all: Vec<f64> = numbers.collect();
    all.sort_by(f64::total_cmp);
    match all.len() {
        0 => 0.0,
        n if n % 2 == 1 => all[n / 2],
        n => f64::midpoint(all[n / 2 - 1], all[n / 2]),
    }
}

/// The median of each number by itself.
fn medians(all: &[Found]) -> Found {
    let of = |get: fn(&Found) -> f64| median(all.iter().map(get));
    let each = |get: fn(&Found) -> &BTreeMap<String, f64>| {
        let names: BTreeSet<&String> = all.iter().flat_map(|found| get(found).keys()).collect();
        let one = |name: &String| median(all.iter().filter_map(|f| get(f).get(name).copied()));
        names.into_iter().map(|name| (name.clone(), one(name))).collect()
    };
    Found {
        orders_per_s: of(|f| f.orders_per_s),
        peak_p50_ms: of(|f| f.peak_p50_ms),
        peak_p99_ms: of(|f| f.peak_p99_ms),
        fixed_p50_ms: of(|f| f.fixed_p50_ms),
        fixed_p99_ms: of(|f| f.fixed_p99_ms),
        cpu_s: each(|f| &f.cpu_s),
        idle_percent: each(|f| &f.idle_percent),
        idle_mb: each(|f| &f.idle_mb),
        memory_mb: each(|f| &f.memory_mb),
        batch: each(|f| &f.batch),
    }
}
