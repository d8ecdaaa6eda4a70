//! Rules of the house that neither compiler nor clippy keeps, each with its reason.
#![allow(clippy::unwrap_used)]
use std::fs;
use std::path::{Path, PathBuf};

const LINES_MAX: usize = 400;
const COLUMNS_MAX: usize = 120;

struct Source {
    /// From the root of the repository.
    path: String,
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn files(ending: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let skipped = ["target", "node_modules", ".git", ".quadrille"];
            if path.is_dir() && !skipped.contains(&name.as_str()) {
                folders.push(path);
            } else if name.ends_with(ending) {
                let text = fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
                found.push(Source { path, text });
            }
        }
    }
    assert!(!found.is_empty(), "no {ending} below {}", root().display());
    found
}

/// Code that ships: no tests, and of each file only what stands before its test module.
fn shipped() -> Vec<Source> {
    let mut all = files(".rs");
    all.retain(|s| {
        (s.path.starts_with("shared") || s.path.starts_with("services")) && s.path.contains("/src/")
    });
    for source in &mut all {
        if let Some(at) = source.text.find("#[cfg(test)]") {
            source.text.truncate(at);
        }
    }
    all
}

fn nowhere(word: &str, but: &[&str], why: &str) {
    for source in shipped() {
        if but.iter().any(|allowed| source.path.ends_with(allowed)) {
            continue;
        }
        for (n, line) in source.text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or("");
            assert!(!code.contains(word), "{}:{}: {word} ({why})", source.path, n + 1);
        }
    }
}

#[test]
fn a_file_can_be_read_in_one_sitting() {
    for source in files(".rs") {
        let lines = source.text.lines().count();
        assert!(lines <= LINES_MAX, "{} has {lines} lines: split it by subject", source.path);
        for (n, line) in source.text.lines().enumerate() {
            let columns = line.chars().count();
            assert!(columns <= COLUMNS_MAX, "{}:{} has {columns} columns", source.path, n + 1);
        }
    }
}

#[test]
fn every_file_begins_by_saying_what_it_is_for() {
    for source in files(".rs") {
        assert!(source.text.starts_with("//! "), "{} says nothing of itself", source.path);
    }
}

#[test]
fn only_the_clock_reads_time_and_sleeps() {
    let clock = ["runtime/src/clock.rs"];
    nowhere("SystemTime::now", &clock, "take a Clock: simulated time must reach everybody");
    nowhere("thread::sleep", &[], "there is one retry, retry.rs, and it waits by the clock");
}

#[test]
fn only_the_settings_read_the_environment() {
    let places = ["config.rs", "amqp/stack.rs", "entry.rs", "services/quadrille/src/settings.rs"];
    nowhere("env::var", &places, "a setting belongs into config.rs, with a default and a meaning");
}

#[test]
fn nothing_is_left_half_done() {
    for word in ["todo!", "unimplemented!", "dbg!"] {
        nowhere(word, &[], "finish it, or leave it out");
    }
    for source in files(".rs") {
        for line in source.text.lines().filter(|line| line.contains(concat!("TO", "DO"))) {
            let kind = ["perf", "edge", "docs"];
            let tagged =
                kind.iter().any(|k| line.contains(&format!("{}-{k}(", concat!("TO", "DO"))));
            assert!(tagged, "{}: say which kind and whose: {line}", source.path);
        }
    }
}

#[test]
fn a_program_is_a_few_lines() {
    for service in ["order", "inventory", "payment", "shipping"] {
        let main =
            fs::read_to_string(root().join(format!("services/{service}/src/main.rs"))).unwrap();
        assert!(main.lines().count() <= 12, "services/{service}/src/main.rs decides too much");
    }
}

#[test]
fn dependencies_point_inwards() {
    // Who may depend on whom, of our own crates. Adapters know the requests of the services they serve.
    let allowed: &[(&str, &[&str])] = &[
        ("shared/core", &[]),
        ("shared/contracts", &["core"]),
        ("shared/runtime", &["core"]),
        ("shared/check", &["core"]),
        ("shared/sim", &["core", "runtime"]),
        ("shared/proxy", &[]),
        ("shared/adapters", &["core", "contracts", "runtime", "payment", "shipping"]),
        ("services/order", &["core", "contracts"]),
        ("services/inventory", &["core", "contracts"]),
        ("services/payment", &["core", "contracts"]),
        ("services/shipping", &["core", "contracts"]),
    ];
    for (package, may) in allowed {
        let manifest = fs::read_to_string(root().join(package).join("Cargo.toml")).unwrap();
        let dependencies = manifest.split("[dependencies]").nth(1).unwrap_or("");
        let dependencies = dependencies.split("[dev-dependencies]").next().unwrap();
        for line in dependencies.lines().filter_map(|line| line.strip_prefix("quadrille-")) {
            let name = line.split(['.', ' ', '=']).next().unwrap();
            assert!(may.contains(&name), "{package} must not depend on {name}");
        }
    }
}

#[test]
fn what_services_share_does_not_know_them() {
    let names = ["\"order\"", "\"inventory\"", "\"payment\"", "\"shipping\""];
    for source in shipped() {
        let knows = ["shared/adapters", "shared/contracts", "/conformance/"];
        if !source.path.starts_with("shared") || knows.iter().any(|k| source.path.contains(k)) {
            continue;
        }
        for (n, line) in source.text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or("");
            let named = names.iter().find(|name| code.contains(**name));
            assert!(named.is_none(), "{}:{} names {named:?}", source.path, n + 1);
        }
    }
}

#[test]
fn the_pure_part_stays_pure() {
    let pure = ["core", "contracts"].map(|c| format!("shared/{c}/src/lib.rs"));
    let services = ["order", "inventory", "payment", "shipping"];
    let services = services.map(|s| format!("services/{s}/src/lib.rs"));
    for path in pure.iter().chain(&services) {
        let text = fs::read_to_string(root().join(path)).unwrap();
        assert!(text.contains("#![no_std]"), "{path} could read a clock: keep #![no_std]");
    }
}

#[test]
fn no_planted_bug_ships() {
    for manifest in files("Cargo.toml") {
        let planted = manifest.text.lines().find(|line| line.starts_with("bug"));
        assert_eq!(planted, None, "{}: a bug is planted in a port of the simulator", manifest.path);
    }
    for source in shipped() {
        let hunts = source.path.starts_with("shared/sim/") || source.path.contains("/simulate");
        let plants = source.text.contains("Bug::") && !hunts;
        assert!(!plants, "{} knows of planted bugs", source.path);
    }
}

#[test]
fn no_program_that_ships_ends_where_a_test_tells_it_to() {
    let feature = "fault-points";
    for manifest in files("Cargo.toml") {
        for line in manifest.text.lines().filter(|line| line.contains(feature)) {
            let named = [
                "fault-points = [\"dep:rustix\"]",
                "fault-points = [\"quadrille-runtime/fault-points\"]",
                "required-features = [\"fault-points\"]",
            ];
            assert!(named.contains(&line), "{}: {line}: only tests ask for it", manifest.path);
        }
    }
    // The ports are wrapped in two places, and nothing else knows of it.
    let knows = ["runtime/src/lib.rs", "runtime/src/config.rs", "runtime/src/platform.rs"];
    let knows = [&knows[..], &["runtime/src/fault_points.rs", "quadrille/src/faulty.rs"]].concat();
    nowhere(feature, &knows, "faults enter through ports");
    nowhere("fault_points", &knows, "faults enter through ports");
    for source in shipped().iter().filter(|s| s.path.ends_with("runtime/src/lib.rs")) {
        let module = "#[cfg(feature = \"fault-points\")]\npub mod fault_points;";
        assert!(source.text.contains(module), "{}: it is compiled in", source.path);
    }
}
