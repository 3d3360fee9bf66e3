//! Module tree of the sources: resolves a path where it stands, and finds the file that declares an item.

use super::paths::{Module, Named, Path, Paths, Place};
use std::collections::BTreeMap;

/// A source file, tests apart.
pub struct Source {
    /// Below `src`: `account/router.rs`.
    pub name: String,
    pub module: Path,
    pub lines: usize,
    pub syntax: syn::File,
    pub paths: Paths,
}

impl Source {
    pub fn is_below(&self, folders: &[&str]) -> bool {
        folders.iter().any(|folder| self.name.starts_with(folder))
    }
}

/// A resolved path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// In this crate, from its root.
    Inside(Path),
    /// In another one.
    Outside(Path),
}

/// Where an item is declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    pub file: usize,
    pub module: Path,
    /// Empty where the path ends at the module.
    pub item: String,
}

#[derive(Default)]
pub struct Tree {
    pub files: Vec<Source>,
    /// Each module's file.
    modules: BTreeMap<Path, (usize, Module)>,
}

/// Re-exports followed at most, so that a circle of them ends.
const DEPTH: usize = 16;

impl Tree {
    /// Reads `src`. `main.rs` is another crate.
    pub fn read() -> Self {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut names = Vec::new();
        list(&root, &mut names);
        let names = names.into_iter().map(|path| {
            let name = path.strip_prefix(&root).unwrap().display().to_string();
            (name, std::fs::read_to_string(&path).unwrap())
        });
        Self::of(names.filter(|(name, _)| name != "main.rs"))
    }

    pub fn of<N: Into<String>, S: AsRef<str>>(sources: impl IntoIterator<Item = (N, S)>) -> Self {
        let mut tree = Self::default();
        for (name, source) in sources {
            let (name, source) = (name.into(), source.as_ref());
            if name.ends_with("_tests.rs") {
                continue;
            }
            let syntax = syn::parse_file(source).unwrap_or_else(|error| panic!("{name}: {error}"));
            let module = module_of(&name);
            let mut paths = Paths::of(&module, &syntax);
            for (path, module) in std::mem::take(&mut paths.modules) {
                tree.modules.insert(path, (tree.files.len(), module));
            }
            tree.files.push(Source { name, module, lines: source.lines().count(), syntax, paths });
        }
        tree
    }

    /// Resolves a path. `None` for `Self`, variables and methods.
    pub fn target(&self, named: &Named) -> Option<Target> {
        let is_single = named.path.len() == 1 && matches!(named.place, Place::Code | Place::Macro);
        if named.place == Place::Method
            || named.path[0] == "Self"
            || is_single && matches!(named.path[0].as_str(), "self" | "super" | "crate")
        {
            return None;
        }
        // A variable may have the name of a module.
        let target = self.expand(&named.module, &named.path, 0);
        match &target {
            Target::Inside(path) if is_single && self.modules.contains_key(path) => None,
            _ => Some(target),
        }
    }

    /// The declaration of a named item, re-exports followed. `None` for modules and for items of other crates.
    pub fn declared(&self, named: &Named) -> Option<Declared> {
        match self.target(named)? {
            Target::Inside(path) => self.find(&path, 0).filter(|declared| !declared.item.is_empty()),
            Target::Outside(_) => None,
        }
    }

    fn expand(&self, module: &[String], path: &[String], depth: usize) -> Target {
        let (first, rest) = path.split_first().expect("a path has a segment");
        match first.as_str() {
            "::" => return Target::Outside(rest.to_vec()),
            "crate" => return Target::Inside(rest.to_vec()),
            "self" | "super" => {
                let above = if first == "super" { &module[..module.len().saturating_sub(1)] } else { module };
                return match rest.first().is_some_and(|next| next == "super") {
                    true => self.expand(above, rest, depth),
                    false => Target::Inside([above, rest].concat()),
                };
            }
            _ => {}
        }
        let inside = [module, path].concat();
        let Some((_, here)) = self.modules.get(module) else { return Target::Outside(path.to_vec()) };
        if self.modules.contains_key(&inside[..=module.len()]) || here.items.contains(first) {
            return Target::Inside(inside);
        }
        if let Some(alias) = here.aliases.get(first).filter(|alias| **alias != path[..1] && depth < DEPTH) {
            return self.expand(module, &[alias, rest].concat(), depth + 1);
        }
        for glob in here.globs.iter().filter(|_| depth < DEPTH) {
            if let Target::Inside(all) = self.expand(module, glob, depth + 1)
                && self.has(&all, first)
            {
                return Target::Inside([&all, path].concat());
            }
        }
        Target::Outside(path.to_vec())
    }

    fn has(&self, module: &[String], name: &String) -> bool {
        let is_named = |(_, it): &(usize, Module)| it.items.contains(name) || it.aliases.contains_key(name);
        self.modules.get(module).is_some_and(is_named)
            || self.modules.contains_key(&[module, std::slice::from_ref(name)].concat())
    }

    /// Follows a path from the crate's root through modules and re-exports.
    fn find(&self, path: &[String], depth: usize) -> Option<Declared> {
        let depth_of = (0..=path.len()).rev().find(|at| self.modules.contains_key(&path[..*at]))?;
        let (module, rest) = path.split_at(depth_of);
        let (file, here) = &self.modules[module];
        let declared = |item: &str| Some(Declared { file: *file, module: module.to_vec(), item: item.to_owned() });
        let Some(name) = rest.first().filter(|name| *name != "*") else { return declared("") };
        if here.items.contains(name) || depth == DEPTH {
            return declared(name);
        }
        match self.expand(module, rest, depth + 1) {
            Target::Inside(next) if next != path => self.find(&next, depth + 1),
            _ => declared(name),
        }
    }
}

fn module_of(name: &str) -> Path {
    let path = name.trim_end_matches(".rs");
    let segments = path.split('/').filter(|segment| *segment != "mod" && path != "lib");
    segments.map(str::to_owned).collect()
}

fn list(folder: &std::path::Path, files: &mut Vec<std::path::PathBuf>) {
    let mut entries: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            list(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}
