//! Layers: the modules and outside crates that a folder may name, and names that no file may use.

use super::paths::{Named, Place};
use super::rules::{LAYERS, LIBRARIES, Layer, PROGRAM, WIRE_FROM_SIGNAL};
use super::tree::{Source, Target, Tree};
use std::collections::BTreeSet;

pub fn check(tree: &Tree) -> Vec<String> {
    let crates = dependencies();
    let mut found = Vec::new();
    for source in &tree.files {
        for named in &source.paths.named {
            found.extend(banned(source, named).map(|what| format!("{}: {what}", source.name)));
        }
        let Some(layer) = LAYERS.iter().find(|layer| source.name.starts_with(&format!("{}/", layer.folder))) else {
            found.extend(stray(source).map(|folder| format!("{}: {folder} is no layer", source.name)));
            continue;
        };
        let names = source.paths.named.iter().filter_map(|named| Some((named, tree.target(named)?)));
        let beyond = names.filter_map(|(named, target)| beyond(layer, named, &target, &crates));
        found.extend(beyond.map(|what| format!("{}: {} names {what}", source.name, layer.folder)));
        if source.paths.has_async && !layer.may_be_async {
            found.push(format!("{}: {} is async", source.name, layer.folder));
        }
    }
    found
}

/// The folder of a file that is in no layer.
fn stray(source: &Source) -> Option<&str> {
    let (folder, file) = source.name.split_once('/')?;
    let holds_layers = file == "mod.rs" && LAYERS.iter().any(|layer| layer.folder.starts_with(&format!("{folder}/")));
    (!holds_layers && !lists(PROGRAM, folder)).then_some(folder)
}

/// What `target` names beyond its layer.
fn beyond(layer: &Layer, named: &Named, target: &Target, crates: &BTreeSet<String>) -> Option<String> {
    match target {
        Target::Inside(path) => {
            let allows = |module: &&str| {
                let mut segments = module.split('/');
                path.len() >= segments.clone().count() && path.iter().zip(&mut segments).all(|(is, may)| is == may)
            };
            let module = layer.modules.split_whitespace().find(allows);
            let first = path.first()?;
            let item = path.get(1).map_or("*", String::as_str);
            if layer.folder == "wire" && first == "signal" && !lists(WIRE_FROM_SIGNAL, item) {
                return Some(format!("signal::{item}"));
            }
            let depth = if first == "sandbox" { 2.min(path.len()) } else { 1 };
            module.is_none().then(|| format!("crate::{}", path[..depth].join("::")))
        }
        Target::Outside(path) => {
            let is_path = path.len() > 1 || matches!(named.place, Place::Use | Place::Reexport);
            let name = path.first().filter(|name| is_path && crates.contains(*name))?;
            (!lists(layer.crates, name)).then(|| format!("the crate {name}"))
        }
    }
}

/// Names that no file outside tests may use.
fn banned(source: &Source, named: &Named) -> Option<&'static str> {
    let last = named.path.last()?;
    if last.ends_with("_jid_text") && source.name != "wire/jid.rs" && named.place != Place::Method {
        return Some("builds a protocol address");
    }
    (last == "do_send").then_some("uses do_send")
}

pub fn lists(words: &str, word: &str) -> bool {
    words.split_whitespace().any(|it| it == word)
}

/// The crates of `[dependencies]`, as paths begin with them.
fn dependencies() -> BTreeSet<String> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let manifest = std::fs::read_to_string(path).unwrap();
    let section = manifest.split("\n[dependencies]\n").nth(1).unwrap().split("\n[").next().unwrap();
    let packages = section.lines().filter_map(|line| Some(line.split_once('=')?.0.trim()));
    let library = |package: &str| LIBRARIES.iter().find(|(name, _)| *name == package).map(|(_, library)| *library);
    packages.map(|package| library(package).unwrap_or(package).replace('-', "_")).collect()
}
