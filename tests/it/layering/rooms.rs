//! Rooms of `account`: arrows between them, features, the router, stored JIDs, `json!`.

use super::layers::lists;
use super::paths::{Paths, Place, items};
use super::rules::{CARRIERS, FLOOR, NAME_CARRIERS, ROOMS, Room, WIRE_TEXT, WITHOUT_JSON};
use super::tree::{Declared, Source, Target, Tree};
use std::collections::BTreeSet;

pub fn check(tree: &Tree) -> Vec<String> {
    [unknown(tree), arrows(tree), features(tree), routers(tree), stored_jids(tree), untyped(tree)].concat()
}

/// The room of a file in `account`: its folder, or its own name at the top. `account/mod.rs` is in none.
fn room_of(name: &str) -> Option<&str> {
    let below = name.strip_prefix("account/")?;
    Some(below.split('/').next()?.trim_end_matches(".rs")).filter(|room| *room != "mod")
}

fn room(name: &str) -> Option<&'static Room> {
    room_of(name).and_then(|name| ROOMS.iter().find(|room| room.name == name))
}

fn unknown(tree: &Tree) -> Vec<String> {
    let rooms = tree.files.iter().filter_map(|source| room_of(&source.name));
    let unknown = rooms.filter(|name| ROOMS.iter().all(|room| room.name != *name)).collect::<BTreeSet<_>>();
    unknown.into_iter().map(|name| format!("account/{name}: no such room")).collect()
}

fn arrows(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for source in &tree.files {
        let Some(room) = room(&source.name) else { continue };
        for declared in source.paths.named.iter().filter_map(|named| tree.declared(named)) {
            let to = &tree.files[declared.file].name;
            if to.starts_with("account/") && !may_name(room, room_of(to), &declared) {
                let item = if lists(CARRIERS, &declared.item) { &declared.item } else { to };
                found.push(format!("{}: {} names {item}", source.name, room.name));
            }
        }
    }
    found
}

fn may_name(room: &Room, to: Option<&str>, declared: &Declared) -> bool {
    let hands_on = lists(NAME_CARRIERS, room.name);
    let is_carrier = lists(CARRIERS, &declared.item) && to.is_none_or(|to| to == "children");
    let Some(to) = to else { return hands_on || !is_carrier };
    if to == room.name {
        return true;
    }
    let below = declared.module[1..].join("::");
    let leads = |may: &str| below == may || below.starts_with(&format!("{may}::"));
    if room.may_name.split_whitespace().any(leads) {
        return true;
    }
    // Of the children, their types.
    if to == "children" && !hands_on {
        return !room.on_floor && !is_carrier && declared.item.starts_with(char::is_uppercase);
    }
    !room.on_floor && lists(FLOOR, to)
}

/// Structs of the list in `features.rs`: named in their rooms alone, with private fields.
fn features(tree: &Tree) -> Vec<String> {
    let features = listed_features(tree);
    let feature = |declared: &Declared| features.iter().find(|it| it.file == declared.file && it.item == declared.item);
    let mut found = Vec::new();
    for source in tree.files.iter().filter(|source| source.name != "account/features.rs") {
        for feature in source.paths.named.iter().filter_map(|named| feature(&tree.declared(named)?)) {
            if room_of(&source.name) != room_of(&tree.files[feature.file].name) {
                found.push(format!("{}: names the feature {}", source.name, feature.item));
            }
        }
    }
    for feature in &features {
        let source = &tree.files[feature.file];
        for item in items(&source.syntax) {
            let syn::Item::Struct(item) = item else { continue };
            let is_open = item.fields.iter().any(|field| !matches!(field.vis, syn::Visibility::Inherited));
            if item.ident == feature.item && is_open {
                found.push(format!("{}: the feature {} has a pub field", source.name, feature.item));
            }
        }
    }
    found
}

fn listed_features(tree: &Tree) -> Vec<Declared> {
    let mut features = Vec::new();
    for source in tree.files.iter().filter(|source| source.name == "account/features.rs") {
        for item in items(&source.syntax) {
            let syn::Item::Macro(item) = item else { continue };
            if item.mac.path.is_ident("features") {
                // The macro names the rooms, which stand beside its file.
                let beside = &source.module[..source.module.len() - 1];
                let listed = Paths::of_macro(beside, &item.mac);
                features.extend(listed.iter().filter(|it| it.path.len() > 1).filter_map(|it| tree.declared(it)));
            }
        }
    }
    features
}

fn account(tree: &Tree) -> impl Iterator<Item = &Source> {
    tree.files.iter().filter(|source| source.name.starts_with("account/"))
}

fn routers(tree: &Tree) -> Vec<String> {
    let is_routers = |item: &&syn::Item| match item {
        syn::Item::Impl(it) => match &*it.self_ty {
            syn::Type::Path(path) => path.path.segments.last().is_some_and(|last| last.ident == "Router"),
            _ => false,
        },
        _ => false,
    };
    let elsewhere = account(tree).filter(|source| source.name != "account/router.rs");
    let found = elsewhere.filter(|source| items(&source.syntax).iter().any(is_routers));
    found.map(|source| format!("{}: impl Router", source.name)).collect()
}

/// Stored JIDs are read by `codec`, or a damaged record passes for a malformed stanza.
fn stored_jids(tree: &Tree) -> Vec<String> {
    let (mut found, mut used) = (Vec::new(), BTreeSet::new());
    for source in account(tree).filter(|source| source.name != "account/codec.rs") {
        for named in &source.paths.named {
            let (Some(Target::Inside(path)) | Some(Target::Outside(path))) = tree.target(named) else { continue };
            if !path.ends_with(&["Jid".to_owned(), "parse".to_owned()]) {
                continue;
            }
            let may = |(file, function, _): &&(&str, &str, &str)| {
                source.name == format!("account/{file}") && *function == named.function
            };
            match WIRE_TEXT.iter().find(may) {
                Some((_, function, _)) => drop(used.insert(*function)),
                None => found.push(format!("{}: Jid::parse in {}", source.name, named.function)),
            }
        }
    }
    let unused = WIRE_TEXT.iter().filter(|(_, function, _)| !used.contains(function));
    found.extend(unused.map(|(_, function, _)| format!("rules.rs: WIRE_TEXT: {function} reads no JID")));
    found
}

fn untyped(tree: &Tree) -> Vec<String> {
    let is_json = |source: &Source| {
        let mut macros = source.paths.named.iter().filter(|named| named.place == Place::Macro);
        macros.any(|named| named.path.last().is_some_and(|last| last == "json"))
    };
    let found = tree.files.iter().filter(|source| source.is_below(WITHOUT_JSON) && is_json(source));
    found.map(|source| format!("{}: json!", source.name)).collect()
}
