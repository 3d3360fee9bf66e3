//! One planted breach for each rule.

use super::rules::{IGNORED, STANZAS};
use super::tree::{Declared, Target, Tree};
use super::{breaches, routes, shape};

/// Breaches of planted sources, without those that only the whole crate can avoid.
fn found(sources: &[(&str, &str)]) -> Vec<String> {
    let lines = breaches(&Tree::of(sources.iter().copied())).into_keys();
    lines.filter(|line| !line.starts_with("rules.rs: ") && !line.contains("no route for")).collect()
}

#[track_caller]
fn one(sources: &[(&str, &str)], breach: &str) {
    assert_eq!(found(sources), [breach], "{sources:?}");
}

#[test]
fn layers_name_only_what_stands_below_them() {
    for (name, source, breach) in [
        ("signal/x.rs", "use crate::wire::Jid;", "signal names crate::wire"),
        ("signal/x.rs", "async fn f() {}", "signal is async"),
        ("signal/x.rs", "fn f() { let _ = async { 1 }; }", "signal is async"),
        ("signal/x.rs", "fn f() { let _ = async || 1; }", "signal is async"),
        ("novelty/x.rs", "fn f() {}", "novelty is no layer"),
        ("account/poison.rs", "fn f() { tokio::time::now(); }", "account names the crate tokio"),
        ("sandbox/world/x.rs", "use crate::account::Router;", "sandbox/world names crate::account"),
        ("sandbox/world/x.rs", "use crate::sandbox::serve::Host;", "sandbox/world names crate::sandbox::serve"),
        ("http/x.rs", "use crate::{base::ids, wire::Jid};", "http names crate::wire"),
        ("wire/x.rs", "use crate::signal::Session;", "wire names signal::Session"),
        ("storage/x.rs", "fn f() { ProtocolAddress::from_jid_text(x); }", "builds a protocol address"),
        ("actors/x.rs", "fn f(to: Addr) { to.do_send(1); }", "uses do_send"),
    ] {
        one(&[(name, source)], &format!("{name}: {breach}"));
    }
    let allowed = "use crate::base::ids; use std::fmt; use super::problem; use serde::Serialize;";
    assert_eq!(found(&[("http/x.rs", allowed)]), Vec::<String>::new());
}

#[test]
fn relative_paths_aliases_and_macros_are_resolved() {
    for (name, source, breach) in [
        ("wire/noise/x.rs", "use super::super::super::http::Problem;", "wire names crate::http"),
        ("wire/x.rs", "fn f() { super::super::http::f(); }", "wire names crate::http"),
        ("wire/x.rs", "use super::super as root; fn f() { root::http::f(); }", "wire names crate::http"),
        ("wire/x.rs", "fn f() { self::super::super::http::f(); }", "wire names crate::http"),
        ("wire/x.rs", "mod inner { fn f() { super::super::super::http::f(); } }", "wire names crate::http"),
        ("wire/x.rs", "use {super::{super::{http::{Problem as P}}}};", "wire names crate::http"),
        ("wire/x.rs", "fn f() { println!(\"{}\", crate::http::f()); }", "wire names crate::http"),
        ("wire/x.rs", "#[derive(clap::Parser)] struct S;", "wire names the crate clap"),
        ("wire/x.rs", "#[cfg(not(test))] mod inner { use crate::http::Problem; }", "wire names crate::http"),
    ] {
        one(&[(name, source)], &format!("{name}: {breach}"));
    }
    let tests = "#[cfg(test)] mod tests { use crate::http::Problem; } #[cfg(test)] use crate::http::Problem;";
    assert_eq!(found(&[("wire/x.rs", tests), ("wire/x_tests.rs", "use crate::http::Problem;")]), Vec::<String>::new());
}

#[test]
fn a_name_passed_on_is_declared_where_it_stands() {
    let tree = Tree::of([
        ("account/mod.rs", "pub use groups::Subject; use super::base as low;"),
        ("account/groups/mod.rs", "pub(super) mod metadata; pub(super) use self::metadata::{Group as Subject};"),
        ("account/groups/metadata.rs", "pub struct Group;"),
        ("base/ids.rs", "pub struct Id;"),
        ("http/x.rs", "use crate::account; fn f() { account::Subject::new(); account::low::ids::Id; }"),
    ]);
    let declared: Vec<_> = tree.files[4].paths.named.iter().filter_map(|named| tree.declared(named)).collect();
    let at = |file, module: &str, item: &str| Declared {
        file,
        module: module.split("::").map(str::to_owned).collect(),
        item: item.to_owned(),
    };
    assert_eq!(declared, [at(2, "account::groups::metadata", "Group"), at(3, "base::ids", "Id")]);
    assert!(matches!(tree.target(&tree.files[4].paths.named[0]), Some(Target::Inside(_))));
}

#[test]
fn rooms_name_only_what_their_table_allows() {
    let rooms = [
        ("account/directory/mod.rs", "pub fn learn() {}"),
        ("account/groups/metadata.rs", "pub fn members() {}"),
        ("account/groups/admin.rs", "pub fn promote() {}"),
        ("account/turn/mod.rs", "pub struct Turn;"),
        ("account/children/mod.rs", "pub trait Children {} pub struct ChildDown; pub fn ask() {}"),
    ];
    let with = |name: &str, source: &str| found(&[&rooms[..], &[(name, source)]].concat());
    for (name, source, breach) in [
        ("account/connection/mod.rs", "fn f() { super::groups::metadata::members(); }", "groups/metadata.rs"),
        ("account/messages/mod.rs", "use super::groups::admin::promote;", "groups/admin.rs"),
        ("account/turn/post.rs", "use crate::account::directory; fn f() { directory::learn(); }", "directory/mod.rs"),
        ("account/content/text.rs", "use super::super::turn::Turn;", "turn/mod.rs"),
        ("account/own_device.rs", "use super::turn::Turn;", "turn/mod.rs"),
        ("account/groups/mod.rs", "fn f() { super::children::ask(); }", "children/mod.rs"),
    ] {
        let room = name.split('/').nth(1).unwrap().trim_end_matches(".rs");
        assert_eq!(with(name, source), [format!("{name}: {room} names account/{breach}")], "{source}");
    }
    let carrier = with("account/messages/mod.rs", "fn f(to: &mut dyn super::children::Children) {}");
    assert_eq!(carrier, ["account/messages/mod.rs: messages names Children"]);
    for (name, source) in [
        ("account/messages/mod.rs", "use super::directory::learn; use super::groups::metadata; use super::turn::Turn;"),
        ("account/messages/resend.rs", "fn f() { super::super::groups::metadata::members(); }"),
        ("account/messages/resend.rs", "fn f(child: super::super::children::ChildDown) {}"),
        ("account/turn/child.rs", "use super::super::children::{Children, ask};"),
        ("account/local.rs", "use super::children::Children;"),
    ] {
        assert_eq!(with(name, source), Vec::<String>::new(), "{source}");
    }
    one(&[("account/misc.rs", "")], "account/misc: no such room");
    one(&[("account/helpers/mod.rs", "")], "account/helpers: no such room");
}

#[test]
fn features_are_private_to_their_rooms() {
    let account = ("account/mod.rs", "mod features; mod groups;");
    let list = ("account/features.rs", "features! { groups::Groups, }");
    let groups = ("account/groups/mod.rs", "pub struct Groups { asked: u8 } impl Groups {}");
    assert_eq!(found(&[account, list, groups]), Vec::<String>::new());
    one(
        &[account, list, groups, ("actors/x.rs", "use crate::account::groups::Groups;")],
        "actors/x.rs: names the feature Groups",
    );
    let open = ("account/groups/mod.rs", "pub struct Groups { pub(super) asked: u8 }");
    one(&[account, list, open], "account/groups/mod.rs: the feature Groups has a pub field");
}

#[test]
fn the_router_is_implemented_in_its_file_alone() {
    assert_eq!(found(&[("account/router.rs", "struct Router; impl Router {}")]), Vec::<String>::new());
    one(&[("account/groups/mod.rs", "impl super::Router {}")], "account/groups/mod.rs: impl Router");
}

#[test]
fn stored_jids_are_read_by_the_codec() {
    let source = "use crate::wire::Jid; fn load(it: Option<&str>) { it.map(Jid::parse); }";
    one(&[("account/groups/mod.rs", source)], "account/groups/mod.rs: Jid::parse in load");
    let elsewhere = "use crate::wire::Jid; fn take_history(it: Option<&str>) { it.map(Jid::parse); }";
    one(&[("account/groups/mod.rs", elsewhere)], "account/groups/mod.rs: Jid::parse in take_history");
    let renamed = "use crate::wire::Jid as J; fn load() { J::parse(it); }";
    one(&[("account/groups/mod.rs", renamed)], "account/groups/mod.rs: Jid::parse in load");
    assert_eq!(found(&[("account/codec.rs", source)]), Vec::<String>::new());
    assert_eq!(found(&[("account/privacy/mod.rs", elsewhere)]), Vec::<String>::new());
}

#[test]
fn an_exception_that_is_not_needed_is_found() {
    let breaches = breaches(&Tree::of([("account/codec.rs", "")]));
    assert!(breaches.contains_key("rules.rs: WIRE_TEXT: take_history reads no JID"), "{breaches:?}");
}

#[test]
fn events_and_bodies_are_typed() {
    one(&[("account/groups/mod.rs", "fn f() { json!({}) }")], "account/groups/mod.rs: json!");
    one(&[("http/x.rs", "fn f() { assert!(serde_json::json!(1)) }")], "http/x.rs: json!");
}

#[test]
fn kinds_are_named_by_their_owner_alone() {
    let kinds = "pub mod kind { pub const GROUP: Kind<owner::Groups> = Kind::new(1);
        pub const OUTBOX: Kind<owner::Messages> = Kind::new(2);
        pub const SESSION: Kind<owner::SessionCipher> = Kind::new(3); }";
    let storage = ("storage/mod.rs", "mod kinds; pub use kinds::{kind, owner};");
    let kinds = &format!("{kinds} pub mod owner {{}}");
    let account = ("account/mod.rs", "use crate::storage::kind;");
    let with = |name: &str, source: &str| found(&[storage, ("storage/kinds.rs", kinds), account, (name, source)]);
    let import = "use crate::storage::kinds::kind;";
    for (name, source, breach) in [
        ("account/messages/mod.rs", "fn f() { kind::GROUP }", "kind::GROUP of Groups"),
        ("account/children/session_cipher.rs", "fn f() { kind::OUTBOX }", "kind::OUTBOX of Messages"),
        ("account/groups/mod.rs", "fn f() { kind::OUTBOX }", "kind::OUTBOX of Messages"),
        ("account/router.rs", "fn f() { kind::SESSION }", "kind::SESSION of SessionCipher"),
        ("actors/x.rs", "fn f() { kind::GROUP }", "kind::GROUP of Groups"),
        ("account/messages/mod.rs", "fn f() { super::kind::GROUP }", "kind::GROUP of Groups"),
        ("account/messages/mod.rs", "use crate::storage::owner::Groups;", "owner::Groups of Groups"),
    ] {
        assert_eq!(with(name, &format!("{import}{source}")), [format!("{name}: names {breach}")], "{source}");
    }
    assert_eq!(with("account/poison.rs", "use crate::storage::kind::*;"), ["account/poison.rs: names every kind"]);
    let own = format!("{import} fn f(it: crate::storage::owner::Groups) {{ kind::GROUP }}");
    assert_eq!(with("account/groups/metadata.rs", &own), Vec::<String>::new());
    assert_eq!(
        with("account/messages/outbound/queue.rs", &format!("{import} fn f() {{ kind::OUTBOX }}")),
        Vec::<String>::new()
    );
    assert_eq!(
        with("sandbox/world/row.rs", "mod kind { const GROUP: u8 = 1; } fn f() { kind::GROUP }"),
        Vec::<String>::new()
    );
    let strange = "pub mod kind { pub const X: Kind<owner::Strange> = Kind::new(1); }";
    one(&[("storage/kinds.rs", strange)], "storage/kinds.rs: OWNERS has no Strange");
}

#[test]
fn files_and_structs_stay_small() {
    one(&[("actors/x.rs", &"//\n".repeat(401))], "actors/x.rs: above 400 lines");
    let fields: String = (0..16).map(|field| format!("f{field}: u8,")).collect();
    one(&[("http/x.rs", &format!("struct X {{ {fields} }}"))], "http/x.rs: X has above 15 fields");
    let fields = "u8,".repeat(16);
    one(&[("http/x.rs", &format!("mod inner {{ struct X({fields}); }}"))], "http/x.rs: X has above 15 fields");
}

#[test]
fn a_large_file_is_excepted_while_it_is_large() {
    let tree = Tree::of([("actors/x.rs", "//\n".repeat(401)), ("http/x.rs", String::new())]);
    assert_eq!(shape::sizes(&tree, &[("actors/x.rs", "a table")]), Vec::<String>::new());
    let needless = shape::sizes(&tree, &[("actors/x.rs", "a table"), ("http/x.rs", "a table")]);
    assert_eq!(needless, ["rules.rs: LARGER: http/x.rs is small enough"]);
}

#[test]
fn circles_of_files_are_found_through_re_exports() {
    let a = ("http/a.rs", "use crate::http::B; pub struct A;");
    let b = ("http/b.rs", "pub struct B(super::c::C);");
    let c = ("http/c.rs", "pub struct C; fn f() { super::a::A; }");
    let top = ("http/mod.rs", "mod a; mod b; mod c; pub use b::B;");
    let circle = |name: &str| format!("http/{name}.rs: in a circle of files");
    assert_eq!(found(&[a, b, c, top]), [circle("a"), circle("b"), circle("c")]);
    let hints: Vec<_> = breaches(&Tree::of([a, b, c, top])).into_values().collect();
    assert!(hints.contains(&"http/a.rs -> http/b.rs -> http/c.rs -> http/a.rs".to_owned()), "{hints:?}");
    assert_eq!(found(&[a, b, ("http/c.rs", "pub struct C;"), top]), Vec::<String>::new());
}

#[test]
fn each_stanza_has_one_route_or_a_reason() {
    let route = |(tag, kind, child): &(&str, &str, &str)| match (*kind, *child) {
        ("", "") => format!("Route::tag({tag:?}),"),
        (_, "") => format!("Route::kind({tag:?}, {kind:?}),"),
        _ => format!("turn::Route::child({tag:?}, {kind:?}, {child:?}),"),
    };
    let has_route = |stanza: &&(&str, &str, &str)| {
        let ignored = IGNORED.iter().any(|(tag, kind, child, _)| *stanza == &(*tag, *kind, *child));
        !ignored
    };
    let routes: String = STANZAS.iter().filter(has_route).map(route).collect();
    let check = |routes: &str| {
        let source = format!("impl Feature for X {{ const ROUTES: &'static [Route] = &[{routes}]; }}");
        routes::check(&Tree::of([("account/groups/mod.rs", source)]))
    };
    assert_eq!(check(&routes), Some(Vec::new()));
    assert_eq!(check(""), None, "no route yet");
    let file = "account/groups/mod.rs";
    let twice = format!("{routes} Route::tag(\"receipt\")");
    assert_eq!(check(&twice).unwrap(), [format!("{file}: the route receipt// stands in {file} too")]);
    let without = routes.replace("Route::kind(\"notification\", \"w:gp2\"),", "Route::tag(\"notification\"),");
    assert_eq!(check(&without).unwrap(), [format!("{file}: no route for notification/w:gp2/")]);
    let ignored = format!("{routes} Route::kind(\"notification\", \"picture\")");
    assert_eq!(check(&ignored).unwrap(), ["rules.rs: IGNORED: notification/picture/ has a route".to_owned()]);
}
