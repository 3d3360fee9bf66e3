//! Layers and rooms of ARCHITECTURE.md, checked against the sources. `rules.rs` has the rules.

mod kinds;
mod layers;
mod paths;
mod planted;
mod rooms;
mod routes;
mod rules;
mod shape;
mod tree;

use std::collections::BTreeMap;
use tree::Tree;

/// Breaches, each with a hint.
fn breaches(tree: &Tree) -> BTreeMap<String, String> {
    let routes = routes::check(tree).unwrap_or_default();
    let lines =
        [layers::check(tree), rooms::check(tree), kinds::check(tree), shape::sizes(tree, rules::LARGER), routes]
            .concat();
    lines.into_iter().map(|line| (line, String::new())).chain(shape::circles(tree)).collect()
}

#[test]
fn sources_keep_to_the_rules() {
    let tree = Tree::read();
    assert!(routes::check(&tree).is_some(), "the routes of src/account are found");
    let breaches: Vec<String> = breaches(&tree).into_iter().map(|(line, hint)| format!("{line}  {hint}")).collect();
    assert!(breaches.is_empty(), "breaches of the layers:\n  {}", breaches.join("\n  "));
}
