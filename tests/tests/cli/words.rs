//! What verbs say: the page of the choreography, settings, help, errors, and exit codes.
use crate::{SOON, quadrille, run, said};
use quadrille_tests::keeper::Keeper;
use quadrille_tests::process::{Program, target_bin};
use std::path::PathBuf;
use std::{env, fs};

#[test]
fn the_choreography_is_as_its_page_says() {
    let page = quadrille::describe::page().unwrap();
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/choreography.md");
    if env::var_os("UPDATE").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let reviewed = fs::read_to_string(&path).unwrap_or_default();
    assert!(page == reviewed, "{} differs: refresh with UPDATE=1, review", path.display());
    let printed = run(&["describe"]).out;
    assert!(!printed.is_empty() && page.contains(&printed), "{printed}");
    assert!(page.ends_with(&run(&["describe", "--mermaid"]).out));
}

#[test]
fn a_description_for_programs_names_every_queue() {
    let answer: serde_json::Value =
        serde_json::from_str(&run(&["describe", "-o", "json"]).out).unwrap();
    let queues: Vec<_> =
        answer["services"].as_array().unwrap().iter().map(|s| &s["queue"]).collect();
    let expected = ["order", "inventory", "payment", "shipping"].map(|s| format!("quadrille.{s}"));
    assert_eq!(queues, expected.each_ref());
}

/// The reference of all verbs.
const COMMANDS: &str = include_str!("../../../docs/reference/commands.md");

const VERBS: [&[&str]; 15] = [
    &["describe"],
    &["declare"],
    &["demo"],
    &["up"],
    &["history"],
    &["audit"],
    &["check"],
    &["simulate"],
    &["parked"],
    &["parked", "list"],
    &["parked", "show"],
    &["parked", "redrive"],
    &["parked", "drop"],
    &["settings"],
    &["proxy"],
];

#[test]
fn the_help_of_each_verb_fits_a_terminal_and_ends_with_its_exit_codes() {
    for verb in VERBS {
        let help = run(&[verb, &["--help"]].concat());
        assert_eq!(help.code, Some(0), "{help:?}");
        let wide = help.out.lines().find(|line| line.chars().count() > 80);
        assert_eq!(wide, None, "{verb:?}");
        if *verb == ["parked"] {
            continue;
        }
        assert!(help.out.contains("Exit codes:"), "{verb:?}: {}", help.out);
        let usage = &help.out[help.out.find("Usage:").unwrap()..];
        assert!(COMMANDS.contains(usage.trim_end()), "write this into its page:\n{usage}");
    }
}

#[test]
fn a_wrong_call_says_what_to_write_instead() {
    for (call, code, remedy) in [
        (&["audit"][..], 64, "--data DIR"),
        (&["audit", "--data", "/nowhere/at/all"], 69, "there is no folder /nowhere/at/all"),
        (&["history", "seven"], 64, "an order's id is a UUID, such as 0190a5c3"),
        (&["check", "--scope", "99"], 64, "pass one of 1, 2, 2b"),
        (&["simulate", "--faults", "rain"], 64, "say all, none, or some of duplicate"),
        (&["parked", "drop", "--data", "."], 64, "or say --all"),
        (&["parked", "list", "--reason", "x"], 64, "one of oversize, malformed_headers"),
        (&["minuet"], 64, "unrecognized subcommand"),
    ] {
        let said = run(call);
        assert_eq!(said.code, Some(code), "{call:?}: {said:?}");
        assert!(said.err.contains(remedy), "{call:?}: {}", said.err);
        assert_eq!(said.out, "", "an error is no answer");
    }
}

#[test]
fn a_comparison_of_searches_says_that_all_find_the_same() {
    let said = run(&["check", "--compare", "--scope", "3b", "-o", "json"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let rows: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    let of = |field: &str| rows.as_array().unwrap().iter().map(|row| row[field].clone()).collect();
    let states: Vec<_> = of("states");
    assert!(states[0] == states[1] && states[1].as_u64() > states[2].as_u64(), "{rows}");
    assert_eq!(of("same"), vec![true; 3]);
}

#[test]
fn settings_are_shown_with_their_source_and_no_secret() {
    let call = |variables: &[(&str, &str)]| {
        let all = variables
            .iter()
            .fold(quadrille(&["settings"]), |p, (name, value)| p.env(*name, *value));
        said(all.start().unwrap())
    };
    let good = call(&[("QUADRILLE_AMQP_URL", "amqp://u:canary@h/"), ("QUADRILLE_LOG", "debug")]);
    assert_eq!(good.code, Some(0), "{good:?}");
    assert!(good.out.contains("QUADRILLE_LOG = debug (from variable)"), "{}", good.out);
    assert!(good.out.contains("QUADRILLE_AMQP_URL = *** (from variable)"), "{}", good.out);
    assert!(!format!("{good:?}").contains("canary"), "{good:?}");
    let bad = call(&[("QUADRILLE_AMPQ_URL", "amqp://u:canary@h/")]);
    assert_eq!(bad.code, Some(64));
    assert!(bad.err.contains("did you mean QUADRILLE_AMQP_URL?"), "{}", bad.err);
    assert!(!format!("{bad:?}").contains("canary"), "{bad:?}");
}

#[test]
fn who_stops_reading_early_is_no_failure() {
    let program = target_bin("quadrille").unwrap();
    for verb in ["describe", "settings", "describe -o json", "demo", "--help"] {
        let script = format!("{{ {} {verb}; echo code $? >&2; }} | head -n 1", program.display());
        let mut shell = Program::new("sh").arg("-c").arg(script).start().unwrap();
        shell.wait(SOON).unwrap();
        assert!(shell.stderr().contains("code 0"), "{verb}: {}", shell.stderr());
        assert!(!shell.stderr().contains("panicked"), "{verb}: {}", shell.stderr());
    }
}

#[test]
fn a_history_is_told_as_of_any_moment() {
    let keeper = Keeper::new("history").unwrap();
    let data = keeper.folder().to_str().unwrap();
    let demo = run(&["demo", "--data", data, "-o", "json"]);
    let demo: serde_json::Value = serde_json::from_str(&demo.out).unwrap();
    let deadline = demo["stories"].as_array().unwrap().last().unwrap();
    let order = deadline["order"].as_str().unwrap();
    let told = |arguments: &[&str]| {
        let said = run(&[&["history", order, "--data", data], arguments].concat());
        assert_eq!(said.code, Some(0), "{said:?}");
        said.out
    };
    assert!(told(&[]).contains("✗ cancelled (deadline)"));
    let early = told(&["--at", "+200ms"]);
    assert!(!early.contains("cancelled") && early.contains("not shown: leave out --at"), "{early}");
    let early: serde_json::Value =
        serde_json::from_str(&told(&["--at", "+200ms", "-o", "json"])).unwrap();
    assert!(early["states"]["order"]["Placed"].is_object(), "{early}");
    let stranger = run(&["history", "0190a5c3-4d5e-7f60-8a9b-c0d1e2f30415", "--data", data]);
    assert_eq!(stranger.code, Some(1), "{stranger:?}");
    assert!(stranger.err.contains("no service has heard of order"), "{}", stranger.err);
}
