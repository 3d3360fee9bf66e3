//! Layers and rooms of ARCHITECTURE.md, checked against the sources. `rules.rs` has the rules.
//!
//! `today.txt` lists the breaches that still stand. It may only shrink: the test fails on a breach that it lacks and on a line
//! whose breach is fixed.

mod kinds;
mod layers;
mod paths;
mod planted;
mod rooms;
mod routes;
mod rules;
mod shape;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use tree::Tree;

/// Breaches, each with a hint that is not part of the list.
fn breaches(tree: &Tree) -> BTreeMap<String, String> {
    let routes = routes::check(tree).unwrap_or_default();
    let lines =
        [layers::check(tree), rooms::check(tree), kinds::check(tree), shape::sizes(tree, rules::LARGER), routes]
            .concat();
    lines.into_iter().map(|line| (line, String::new())).chain(shape::circles(tree)).collect()
}

/// Breaches that the list lacks, and lines of the list that are no breaches.
fn compare<'a>(found: &BTreeMap<String, String>, list: &'a str) -> (Vec<String>, Vec<&'a str>) {
    let listed: BTreeSet<&str> = list.lines().collect();
    let new = found.iter().filter(|(line, _)| !listed.contains(line.as_str()));
    let new = new.map(|(line, hint)| format!("{line}  {hint}"));
    (new.collect(), listed.iter().copied().filter(|line| !found.contains_key(*line)).collect())
}

#[test]
fn sources_keep_to_the_rules() {
    let tree = Tree::read();
    if routes::check(&tree).is_none() {
        // Past the capture of the test's output.
        writeln!(std::io::stderr(), "layering: NO `const ROUTES` IN src/account: STANZAS ARE NOT CHECKED").unwrap();
    }
    let found = breaches(&tree);
    let (new, gone) = compare(&found, include_str!("today.txt"));
    let list = found.into_keys().map(|line| line + "\n").collect::<String>();
    let path = concat!(env!("CARGO_TARGET_TMPDIR"), "/layering-today.txt");
    std::fs::write(path, list).unwrap();
    assert!(
        new.is_empty() && gone.is_empty(),
        "new breaches:\n  {}\nfixed breaches (delete their lines in today.txt):\n  {}\nthe list as found: {path}",
        new.join("\n  "),
        gone.join("\n  "),
    );
}
