//! The table of faults claims nothing without a test, and forgets no test of a fault.
#![allow(clippy::unwrap_used)]
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// The names of all tests in a file or folder.
fn tests_in(path: &Path, found: &mut BTreeSet<String>) {
    if path.is_dir() {
        let inside = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
        return inside.for_each(|path| tests_in(&path, found));
    }
    if path.extension().is_none_or(|ending| ending != "rs") {
        return;
    }
    let text = fs::read_to_string(path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    // Behind the attribute that makes it a test.
    for pair in
        lines.windows(2).filter(|pair| pair[0].starts_with("#[") && pair[0].contains("test"))
    {
        let name = pair[1].split("fn ").nth(1).and_then(|rest| rest.split('(').next());
        found.extend(name.map(ToOwned::to_owned));
    }
}

#[test]
fn every_row_of_the_table_of_faults_is_a_test_and_every_test_of_a_fault_is_a_row() {
    let page = fs::read_to_string(root().join("docs/reference/faults.md")).unwrap();
    let mut claimed = BTreeSet::new();
    let mut in_table = false;
    for line in page.lines() {
        let (header, rule) = (line.starts_with("| row |"), line.starts_with("|---"));
        in_table = header || in_table && line.starts_with('|');
        if !in_table || header || rule {
            continue;
        }
        let cells: Vec<&str> = line[1..line.len() - 1].split('|').map(str::trim).collect();
        let [_, _, _, tests, runs, result] = cells[..] else { panic!("six cells: {line}") };
        assert!(!runs.is_empty() && !result.is_empty(), "{line}");
        let names: Vec<_> = tests.split('`').skip(1).step_by(2).map(ToOwned::to_owned).collect();
        assert!(!names.is_empty(), "no test is named: {line}");
        claimed.extend(names);
    }
    let mut known = BTreeSet::new();
    for folder in ["tests/tests", "shared/runtime/tests", "shared/adapters/tests"] {
        tests_in(&root().join(folder), &mut known);
    }
    let invented: Vec<_> = claimed.difference(&known).collect();
    assert!(invented.is_empty(), "there are no such tests: {invented:#?}");
    let mut ours = BTreeSet::new();
    tests_in(&root().join("tests/tests/faults"), &mut ours);
    tests_in(&root().join("tests/tests/e2e/faults"), &mut ours);
    assert!(ours.len() > 20, "{ours:?}");
    let forgotten: Vec<_> = ours.difference(&claimed).collect();
    assert!(forgotten.is_empty(), "docs/reference/faults.md does not name {forgotten:#?}");
}
