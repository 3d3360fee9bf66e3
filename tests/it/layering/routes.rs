//! Routes of stanzas: no two alike, and each stanza of the specification is claimed or ignored with a reason.

use super::paths::items;
use super::rules::{IGNORED, STANZAS};
use super::tree::Tree;
use std::collections::BTreeMap;
use syn::visit::{self, Visit};

/// Tag, type and first child of a stanza.
type Stanza = (String, String, String);

/// Nothing while no feature has routes.
pub fn check(tree: &Tree) -> Option<Vec<String>> {
    let routes = routes(tree);
    let first = routes.first()?;
    let mut found = Vec::new();
    let mut claimed: BTreeMap<&Stanza, &str> = BTreeMap::new();
    for (file, route) in &routes {
        match claimed.insert(route, file) {
            Some(other) => found.push(format!("{file}: the route {} stands in {other} too", text(route))),
            None if route.0.is_empty() => found.push(format!("{file}: a route without literals")),
            None => {}
        }
    }
    let owned = |(tag, kind, child): (&str, &str, &str)| (tag.to_owned(), kind.to_owned(), child.to_owned());
    for stanza in STANZAS.iter().map(|stanza| owned(*stanza)) {
        let ignored = IGNORED.iter().any(|(tag, kind, child, _)| owned((tag, kind, child)) == stanza);
        match (claimed.keys().any(|route| covers(route, &stanza)), ignored) {
            (false, false) => found.push(format!("{}: no route for {}", first.0, text(&stanza))),
            (true, true) => found.push(format!("rules.rs: IGNORED: {} has a route", text(&stanza))),
            _ => {}
        }
    }
    let unknown = IGNORED.iter().filter(|(tag, kind, child, _)| !STANZAS.contains(&(tag, kind, child)));
    found.extend(unknown.map(|(tag, kind, child, _)| format!("rules.rs: IGNORED: no stanza {tag}/{kind}/{child}")));
    Some(found)
}

fn text((tag, kind, child): &Stanza) -> String {
    [tag, kind, child].map(String::as_str).join("/")
}

/// A tag alone covers no stanza that has a type or a child: what it is for must be said.
fn covers(route: &Stanza, stanza: &Stanza) -> bool {
    let is_bare = route.1.is_empty() && route.2.is_empty();
    let same = route.0 == stanza.0 && route.1 == stanza.1;
    let child = route.2 == stanza.2 || route.2.is_empty() || stanza.2.is_empty();
    same && child && (!is_bare || stanza.1.is_empty() && stanza.2.is_empty())
}

#[derive(Default)]
struct Calls(Vec<Stanza>);

impl<'ast> Visit<'ast> for Calls {
    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        if let syn::Expr::Path(path) = &*call.func
            && path.path.segments.iter().rev().nth(1).is_some_and(|segment| segment.ident == "Route")
        {
            let mut arguments = call.args.iter().map(|argument| match argument {
                syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => text.value(),
                _ => String::new(),
            });
            let mut next = || arguments.next().unwrap_or_default();
            self.0.push((next(), next(), next()));
        }
        visit::visit_expr_call(self, call);
    }
}

/// What the constants `ROUTES` in `account` list.
fn routes(tree: &Tree) -> Vec<(&str, Stanza)> {
    let mut routes = Vec::new();
    for source in tree.files.iter().filter(|source| source.name.starts_with("account/")) {
        let mut calls = Calls::default();
        for item in items(&source.syntax) {
            match item {
                syn::Item::Const(item) if item.ident == "ROUTES" => calls.visit_item_const(item),
                syn::Item::Impl(item) => {
                    for member in &item.items {
                        if let syn::ImplItem::Const(member) = member
                            && member.ident == "ROUTES"
                        {
                            calls.visit_impl_item_const(member);
                        }
                    }
                }
                _ => {}
            }
        }
        routes.extend(calls.0.into_iter().map(|route| (source.name.as_str(), route)));
    }
    routes
}
