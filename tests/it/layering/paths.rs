//! Paths as a source file writes them: in code, `use` trees, macros and attributes. Test code is skipped.

use std::collections::{BTreeMap, BTreeSet};
use syn::buffer::{Cursor, TokenBuffer};
use syn::visit::{self, Visit};

pub type Path = Vec<String>;

/// Where a path stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Code,
    Macro,
    Use,
    /// `pub use`, of any visibility.
    Reexport,
    /// The name of a called method, which is no path.
    Method,
}

/// A path, the module that it stands in (inline modules counted) and the function.
#[derive(Debug)]
pub struct Named {
    pub path: Path,
    pub module: Path,
    pub function: String,
    pub place: Place,
}

/// What a module declares.
#[derive(Debug, Default)]
pub struct Module {
    pub items: BTreeSet<String>,
    pub aliases: BTreeMap<String, Path>,
    pub globs: Vec<Path>,
}

/// All that a file names and declares.
#[derive(Debug, Default)]
pub struct Paths {
    pub named: Vec<Named>,
    pub modules: BTreeMap<Path, Module>,
    pub has_async: bool,
    module: Path,
    function: String,
}

impl Paths {
    pub fn of(module: &[String], syntax: &syn::File) -> Self {
        let mut paths = Self { module: module.to_vec(), ..Self::default() };
        paths.modules.entry(module.to_vec()).or_default();
        paths.visit_file(syntax);
        paths
    }

    /// What the tokens of a macro name that stands in `module`.
    pub fn of_macro(module: &[String], item: &syn::Macro) -> Vec<Named> {
        let mut paths = Self { module: module.to_vec(), ..Self::default() };
        paths.add_tokens(TokenBuffer::new2(item.tokens.clone()).begin());
        paths.named
    }

    fn here(&mut self) -> &mut Module {
        self.modules.entry(self.module.clone()).or_default()
    }

    fn name(&mut self, path: Path, place: Place) {
        self.named.push(Named { path, module: self.module.clone(), function: self.function.clone(), place });
    }

    fn add_use(&mut self, before: &[String], tree: &syn::UseTree, place: Place) {
        let with = |name: &syn::Ident| match name == "self" {
            true => before.to_vec(),
            false => [before, &[name.to_string()]].concat(),
        };
        match tree {
            syn::UseTree::Path(path) => {
                let before = [before, &[path.ident.to_string()]].concat();
                self.add_use(&before, &path.tree, place);
            }
            syn::UseTree::Name(name) => self.import(with(&name.ident), None, place),
            syn::UseTree::Rename(name) => self.import(with(&name.ident), Some(name.rename.to_string()), place),
            syn::UseTree::Glob(_) => {
                self.here().globs.push(before.to_vec());
                self.name([before, &["*".to_owned()]].concat(), place);
            }
            syn::UseTree::Group(group) => group.items.iter().for_each(|item| self.add_use(before, item, place)),
        }
    }

    fn import(&mut self, path: Path, rename: Option<String>, place: Place) {
        if let Some(alias) = rename.or_else(|| path.last().cloned()).filter(|alias| alias != "_") {
            self.here().aliases.insert(alias, path.clone());
        }
        self.name(path, place);
    }

    /// Paths between the tokens of a macro, which has no syntax tree.
    fn add_tokens(&mut self, mut at: Cursor) {
        loop {
            if let Some((inside, _, _, next)) = at.any_group() {
                self.add_tokens(inside);
                at = next;
            } else if let Some((first, next)) = at.ident() {
                let mut path = vec![first.to_string()];
                at = next;
                while let Some((segment, next)) = after_colons(at).and_then(Cursor::ident) {
                    path.push(segment.to_string());
                    at = next;
                }
                let called = at.punct().filter(|(punct, next)| punct.as_char() == '!' && next.any_group().is_some());
                self.name(path, if called.is_some() { Place::Macro } else { Place::Code });
            } else if let Some((_, next)) = at.token_tree() {
                at = next;
            } else {
                return;
            }
        }
    }

    fn within(&mut self, function: &syn::Ident, visit: impl FnOnce(&mut Self)) {
        let before = std::mem::replace(&mut self.function, function.to_string());
        visit(self);
        self.function = before;
    }
}

fn after_colons(at: Cursor) -> Option<Cursor> {
    let (first, next) = at.punct()?;
    let (second, next) = next.punct()?;
    (first.as_char() == ':' && second.as_char() == ':').then_some(next)
}

/// Whether an item is compiled for tests only.
pub fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        syn::Meta::List(list) if list.path.is_ident("cfg") => list.tokens.to_string() == "test",
        _ => false,
    })
}

/// Attributes and name of an item.
pub fn parts(item: &syn::Item) -> (&[syn::Attribute], Option<&syn::Ident>) {
    match item {
        syn::Item::Const(it) => (&it.attrs, Some(&it.ident)),
        syn::Item::Enum(it) => (&it.attrs, Some(&it.ident)),
        syn::Item::Fn(it) => (&it.attrs, Some(&it.sig.ident)),
        syn::Item::Impl(it) => (&it.attrs, None),
        syn::Item::Macro(it) => (&it.attrs, it.ident.as_ref()),
        syn::Item::Mod(it) => (&it.attrs, None),
        syn::Item::Static(it) => (&it.attrs, Some(&it.ident)),
        syn::Item::Struct(it) => (&it.attrs, Some(&it.ident)),
        syn::Item::Trait(it) => (&it.attrs, Some(&it.ident)),
        syn::Item::Type(it) => (&it.attrs, Some(&it.ident)),
        syn::Item::Union(it) => (&it.attrs, Some(&it.ident)),
        syn::Item::Use(it) => (&it.attrs, None),
        _ => (&[], None),
    }
}

/// The items of a file and of its inline modules, tests apart.
pub fn items(syntax: &syn::File) -> Vec<&syn::Item> {
    fn add<'a>(items: &'a [syn::Item], found: &mut Vec<&'a syn::Item>) {
        for item in items.iter().filter(|item| !is_test(parts(item).0)) {
            found.push(item);
            if let syn::Item::Mod(syn::ItemMod { content: Some((_, inner)), .. }) = item {
                add(inner, found);
            }
        }
    }
    let mut found = Vec::new();
    add(&syntax.items, &mut found);
    found
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let (attributes, name) = parts(item);
        if !is_test(attributes) {
            if let Some(name) = name {
                self.here().items.insert(name.to_string());
            }
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if item.content.is_some() {
            self.module.push(item.ident.to_string());
            self.here();
            visit::visit_item_mod(self, item);
            self.module.pop();
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let place = match item.vis {
            syn::Visibility::Inherited => Place::Use,
            _ => Place::Reexport,
        };
        let root: &[String] = if item.leading_colon.is_some() { &["::".to_owned()] } else { &[] };
        self.add_use(root, &item.tree, place);
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.within(&item.sig.ident, |paths| visit::visit_item_fn(paths, item));
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !is_test(&item.attrs) {
            self.within(&item.sig.ident, |paths| visit::visit_impl_item_fn(paths, item));
        }
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        self.within(&item.sig.ident, |paths| visit::visit_trait_item_fn(paths, item));
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let root = path.leading_colon.map(|_| "::".to_owned());
        let segments = path.segments.iter().map(|segment| segment.ident.to_string());
        self.name(root.into_iter().chain(segments).collect(), Place::Code);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        self.name(item.path.segments.iter().map(|segment| segment.ident.to_string()).collect(), Place::Macro);
        self.add_tokens(TokenBuffer::new2(item.tokens.clone()).begin());
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        self.name(vec![call.method.to_string()], Place::Method);
        visit::visit_expr_method_call(self, call);
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        self.visit_path(attribute.path());
        if let syn::Meta::List(list) = &attribute.meta {
            self.add_tokens(TokenBuffer::new2(list.tokens.clone()).begin());
        }
    }

    /// `pub(in crate::account)` names nothing.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        self.has_async |= signature.asyncness.is_some();
        visit::visit_signature(self, signature);
    }

    fn visit_expr_async(&mut self, block: &'ast syn::ExprAsync) {
        self.has_async = true;
        visit::visit_expr_async(self, block);
    }

    fn visit_expr_closure(&mut self, closure: &'ast syn::ExprClosure) {
        self.has_async |= closure.asyncness.is_some();
        visit::visit_expr_closure(self, closure);
    }
}
