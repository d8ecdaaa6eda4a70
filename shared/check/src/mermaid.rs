//! Pictures for reviewers, as Mermaid text: a way to a fault, who talks to whom, a machine.
use crate::{Step, Table};
use quadrille_core::{Descriptor, Origin, Wiring};
use std::collections::BTreeMap;
use std::fmt::Write;

/// A sequence diagram of a way to a fault.
pub fn sequence(path: &[Step]) -> String {
    let mut text = String::from("sequenceDiagram\n");
    let mut known: Vec<&str> = Vec::new();
    for name in path.iter().flat_map(|step| [step.from, step.to]) {
        if !known.contains(&name) {
            known.push(name);
            line(&mut text, format_args!("  participant {name}"));
        }
    }
    for Step { from, to, message, subject, .. } in path {
        line(&mut text, format_args!("  {from}->>{to}: {message} ({subject})"));
    }
    text
}

/// A flowchart of all participants and what goes between them, and the outside.
pub fn graph(all: &[Wiring]) -> String {
    let mut arrows: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    let mut add = |from, to, name| {
        let names = arrows.entry((from, to)).or_default();
        if !names.contains(&name) {
            names.push(name);
        }
    };
    for to in all {
        for Descriptor { name, origin, .. } in to.consumes {
            let said = |w: &&Wiring| [w.publishes, w.requests].concat().iter().any(is(name));
            match (all.iter().find(said), origin) {
                (Some(from), _) => add(from.name, to.name, name),
                (None, Origin::Command) => add("outside", to.name, name),
                // Its own timer: nobody says it.
                (None, _) => add(to.name, to.name, name),
            }
        }
        for heard in to.publishes.iter().filter(|d| d.heard_outside) {
            add(to.name, "outside", heard.name);
        }
    }
    let mut text = String::from("flowchart LR\n  outside((outside))\n");
    for Wiring { name, adapter, .. } in all {
        let [open, close] = if *adapter { ["{{", "}}"] } else { ["[", "]"] };
        line(&mut text, format_args!("  {name}{open}{name}{close}"));
    }
    for ((from, to), names) in arrows {
        line(&mut text, format_args!("  {from} -->|{}| {to}", names.join("<br/>")));
    }
    text
}

fn is(name: &str) -> impl Fn(&Descriptor) -> bool {
    move |d| d.name == name
}

/// A state diagram of a service: every move that was met without a repeated message.
pub fn state_diagram(table: &Table, service: &str) -> String {
    let mut text = String::from("stateDiagram-v2\n");
    for ((from, to), messages) in table.moves(service) {
        line(&mut text, format_args!("  {from} --> {to}: {}", messages.join("<br/>")));
    }
    text
}

fn line(text: &mut String, what: std::fmt::Arguments) {
    writeln!(text, "{what}").expect("a String takes all");
}
