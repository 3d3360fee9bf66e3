//! Kinds of records: each is named only in its owner's room, for reading too.

use super::paths::items;
use super::rules::OWNERS;
use super::tree::{Declared, Tree};
use std::collections::{BTreeMap, BTreeSet};

pub fn check(tree: &Tree) -> Vec<String> {
    let owners = owners(tree);
    let known: BTreeSet<&str> = owners.values().map(String::as_str).collect();
    let without = known.iter().filter(|owner| places(owner).is_empty());
    let mut found: Vec<String> = without.map(|owner| format!("storage/kinds.rs: OWNERS has no {owner}")).collect();
    for source in tree.files.iter().filter(|source| !source.name.starts_with("storage/")) {
        for named in &source.paths.named {
            if named.path.ends_with(&["kind".to_owned(), "*".to_owned()]) {
                found.push(format!("{}: names every kind", source.name));
            }
            let Some(Declared { file, module, item: name }) = tree.declared(named) else { continue };
            let at = module.last().map_or("", String::as_str);
            let owner = match at {
                _ if tree.files[file].name != "storage/kinds.rs" => None,
                "kind" => owners.get(&name).map(String::as_str),
                "owner" => known.get(name.as_str()).copied(),
                _ => None,
            };
            if let Some(owner) = owner.filter(|owner| !is_place_of(owner, &source.name, &known)) {
                found.push(format!("{}: names {at}::{name} of {owner}", source.name));
            }
        }
    }
    found
}

fn places(owner: &str) -> &'static [&'static str] {
    OWNERS.iter().find(|(name, _)| *name == owner).map_or(&[], |(_, places)| places)
}

/// Whether a file is `owner`'s: no other owner's place is a longer prefix of its name.
fn is_place_of(owner: &str, file: &str, known: &BTreeSet<&str>) -> bool {
    let depth = |owner: &str| places(owner).iter().filter(|at| file.starts_with(**at)).map(|at| at.len()).max();
    depth(owner).is_some_and(|own| known.iter().all(|other| depth(other) <= Some(own)))
}

/// The owner of each kind, from the types of the constants: `Kind<owner::Groups>`.
fn owners(tree: &Tree) -> BTreeMap<String, String> {
    let kinds = tree.files.iter().filter(|source| source.name == "storage/kinds.rs");
    let owned = kinds.flat_map(|source| items(&source.syntax)).filter_map(|item| {
        let syn::Item::Const(item) = item else { return None };
        let syn::Type::Path(kind) = &*item.ty else { return None };
        let syn::PathArguments::AngleBracketed(of) = &kind.path.segments.last()?.arguments else { return None };
        let Some(syn::GenericArgument::Type(syn::Type::Path(owner))) = of.args.first() else { return None };
        Some((item.ident.to_string(), owner.path.segments.last()?.ident.to_string()))
    });
    owned.collect()
}
