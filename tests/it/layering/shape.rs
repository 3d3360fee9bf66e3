//! Sizes of files and structs, and circles of files.

use super::paths::{Place, items};
use super::rules::{MOST_FIELDS, MOST_LINES, SMALL, WITHOUT_CIRCLES};
use super::tree::Tree;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Files and structs above the limits, and exceptions of `larger` that are not needed.
pub fn sizes(tree: &Tree, larger: &[(&str, &str)]) -> Vec<String> {
    let mut large = Vec::new();
    for source in tree.files.iter().filter(|source| source.is_below(SMALL)) {
        if source.lines > MOST_LINES {
            large.push((source.name.clone(), format!("{}: above {MOST_LINES} lines", source.name)));
        }
        for item in items(&source.syntax) {
            if let syn::Item::Struct(item) = item
                && item.fields.len() > MOST_FIELDS
            {
                let what = format!("{}: {} has above {MOST_FIELDS} fields", source.name, item.ident);
                large.push((format!("{} {}", source.name, item.ident), what));
            }
        }
    }
    let needless = larger.iter().filter(|(what, _)| large.iter().all(|(name, _)| name != what));
    let needless: Vec<_> = needless.map(|(what, _)| format!("rules.rs: LARGER: {what} is small enough")).collect();
    let excess = large.into_iter().filter(|(name, _)| larger.iter().all(|(what, _)| what != name));
    excess.map(|(_, what)| what).chain(needless).collect()
}

/// Files in a circle of imports, each with the shortest way back to itself.
pub fn circles(tree: &Tree) -> Vec<(String, String)> {
    WITHOUT_CIRCLES.iter().flat_map(|folder| circles_in(tree, folder)).collect()
}

fn circles_in(tree: &Tree, folder: &str) -> Vec<(String, String)> {
    let is_in = |file: usize| tree.files[file].name.starts_with(folder);
    let mut arrows: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for (from, source) in tree.files.iter().enumerate().filter(|(file, _)| is_in(*file)) {
        // A name that is passed on is declared elsewhere; those who use it name that place.
        let named = source.paths.named.iter().filter(|named| named.place != Place::Reexport);
        let to = named.filter_map(|named| tree.declared(named)).map(|declared| declared.file);
        arrows.insert(from, to.filter(|to| *to != from && is_in(*to)).collect());
    }
    let ways = arrows.keys().filter_map(|file| way_back(*file, &arrows));
    let found = ways.map(|way| {
        let names: Vec<_> = way.iter().map(|file| tree.files[*file].name.as_str()).collect();
        (format!("{}: in a circle of files", names[0]), names.join(" -> "))
    });
    found.collect()
}

/// The shortest way from a file to itself.
fn way_back(file: usize, arrows: &BTreeMap<usize, BTreeSet<usize>>) -> Option<Vec<usize>> {
    let mut came_from = BTreeMap::new();
    let mut queue = VecDeque::from([file]);
    while let Some(at) = queue.pop_front() {
        for next in &arrows[&at] {
            if *next == file {
                let mut way = vec![file, at];
                while let Some(before) = came_from.get(way.last()?) {
                    way.push(*before);
                }
                way.reverse();
                return Some(way);
            }
            if !came_from.contains_key(next) {
                came_from.insert(*next, at);
                queue.push_back(*next);
            }
        }
    }
    None
}
