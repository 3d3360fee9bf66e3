//! The layers of ARCHITECTURE.md, held by reading the sources.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use syn::visit::{self, Visit};

/// Which layers and outside crates each folder may name, `std` apart.
const RULES: &[(&str, &[&str], &[&str])] = &[
    ("base", &[], &["hex", "rand", "serde", "subtle", "thiserror", "time", "zeroize"]),
    (
        "signal",
        &["base"],
        &[
            "aes",
            "cbc",
            "curve25519_dalek",
            "hex",
            "hkdf",
            "hmac",
            "prost",
            "rand",
            "sha1",
            "sha2",
            "subtle",
            "thiserror",
            "x25519_dalek",
            "zeroize",
        ],
    ),
    (
        "wire",
        &["base", "signal"],
        &[
            "aes",
            "aes_gcm",
            "base64",
            "cbc",
            "ctr",
            "flate2",
            "hex",
            "hkdf",
            "hmac",
            "md5",
            "pbkdf2",
            "prost",
            "rand",
            "serde",
            "sha2",
            "thiserror",
            "zeroize",
        ],
    ),
    (
        "storage",
        &["base"],
        &[
            "chacha20poly1305",
            "hex",
            "hmac",
            "rand",
            "serde",
            "serde_json",
            "sha2",
            "sled",
            "thiserror",
            "tracing",
            "zeroize",
        ],
    ),
    (
        "account",
        &["base", "signal", "storage", "wire"],
        &["base64", "hex", "prost", "rand", "serde", "serde_json", "sha2", "thiserror", "tracing"],
    ),
    (
        "webhook",
        &["base", "storage"],
        &["base64", "hmac", "rand", "serde", "serde_json", "sha2", "thiserror", "url", "zeroize"],
    ),
    (
        "sandbox/world",
        &["base", "signal", "wire"],
        &[
            "base64",
            "flate2",
            "hex",
            "prost",
            "rand",
            "ring",
            "serde",
            "serde_json",
            "sha2",
            "thiserror",
            "tracing",
            "zeroize",
        ],
    ),
    (
        "sandbox/serve",
        &["base", "sandbox", "storage", "wire"],
        &[
            "actix_web",
            "actix_ws",
            "base64",
            "futures_util",
            "hex",
            "rcgen",
            "rustls",
            "serde",
            "serde_json",
            "sha2",
            "thiserror",
            "tokio",
            "tracing",
        ],
    ),
    (
        "actors",
        &["account", "base", "signal", "storage", "webhook", "wire"],
        &[
            "actix",
            "base64",
            "futures_util",
            "hex",
            "moka",
            "percent_encoding",
            "prometheus_client",
            "rand",
            "reqwest",
            "rustls",
            "serde",
            "serde_json",
            "subtle",
            "thiserror",
            "tokio",
            "tokio_rustls",
            "tokio_socks",
            "tokio_tungstenite",
            "tracing",
            "url",
            "webpki_roots",
        ],
    ),
    (
        "http",
        &["account", "actors", "base", "storage", "webhook"],
        &[
            "actix_cors",
            "actix_web",
            "futures_util",
            "hex",
            "png",
            "qrcode",
            "serde",
            "serde_json",
            "serde_path_to_error",
            "serde_urlencoded",
            "sha2",
            "subtle",
            "tracing",
            "url",
            "utoipa",
            "utoipa_actix_web",
        ],
    ),
];

/// Crates that a path may begin with.
const CRATES: &[&str] = &[
    "actix_cors",
    "serde_path_to_error",
    "serde_urlencoded",
    "utoipa",
    "utoipa_actix_web",
    "prometheus_client",
    "ring",
    "tokio_socks",
    "ctr",
    "moka",
    "percent_encoding",
    "rustix",
    "pbkdf2",
    "rcgen",
    "actix",
    "actix_web",
    "actix_ws",
    "aes",
    "aes_gcm",
    "base64",
    "bytes",
    "cbc",
    "chacha20poly1305",
    "clap",
    "curve25519_dalek",
    "flate2",
    "futures_util",
    "hex",
    "hkdf",
    "hmac",
    "md5",
    "png",
    "prost",
    "qrcode",
    "rand",
    "reqwest",
    "rustls",
    "serde",
    "serde_json",
    "serde_saphyr",
    "sha1",
    "sha2",
    "sled",
    "strsim",
    "subtle",
    "thiserror",
    "time",
    "tokio",
    "tokio_rustls",
    "tokio_tungstenite",
    "tracing",
    "tracing_subscriber",
    "url",
    "webpki_roots",
    "x25519_dalek",
    "zeroize",
];

/// What `wire` may take from `signal`: keys, signatures, prekeys. Never a session.
const WIRE_FROM_SIGNAL: &[&str] = &[
    "IdentityKey",
    "IdentityKeyPair",
    "KeyPair",
    "PreKeyBundle",
    "PreKeyId",
    "PublicKey",
    "SignalError",
    "SignedPreKeyId",
    "SignedPreKeyPair",
    "keys",
    "testing",
    "xeddsa",
];

/// Every path of a file, uses spelled out, as segments.
#[derive(Default)]
struct Paths {
    found: BTreeSet<Vec<String>>,
    asyncs: bool,
}

impl Paths {
    fn add_use(&mut self, before: &[String], tree: &syn::UseTree) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            syn::UseTree::Path(path) => self.add_use(&with(&path.ident), &path.tree),
            syn::UseTree::Name(name) => drop(self.found.insert(with(&name.ident))),
            syn::UseTree::Rename(name) => drop(self.found.insert(with(&name.ident))),
            syn::UseTree::Glob(_) => drop(self.found.insert(before.to_vec())),
            syn::UseTree::Group(group) => group.items.iter().for_each(|item| self.add_use(before, item)),
        }
    }
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let test = item.attrs.iter().any(|attr| quote_of(attr).contains("test"));
        if !test {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.add_use(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.found.insert(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        self.asyncs |= signature.asyncness.is_some();
        visit::visit_signature(self, signature);
    }
}

fn quote_of(attr: &syn::Attribute) -> String {
    match &attr.meta {
        syn::Meta::List(list) => list.tokens.to_string(),
        _ => String::new(),
    }
}

/// What a file in `layer` does that its layer may not.
fn violations(layer: &str, name: &str, source: &str) -> Vec<String> {
    let (_, layers, crates) = RULES.iter().find(|(folder, ..)| *folder == layer).unwrap();
    let mut paths = Paths::default();
    paths.visit_file(&syn::parse_file(source).unwrap());
    let mut found = Vec::new();
    let own = layer.split('/').next().unwrap();
    for path in &paths.found {
        let first = path[0].as_str();
        if first == "crate" && path.len() == 1 {
            continue;
        } else if first == "crate" {
            let target = path.get(1).map_or("", String::as_str);
            if target != own && !layers.contains(&target) {
                found.push(format!("{name}: {layer} names crate::{target}"));
            }
            let item = path.get(2).map_or("", String::as_str);
            if layer == "wire" && target == "signal" && !WIRE_FROM_SIGNAL.contains(&item) {
                found.push(format!("{name}: wire names signal::{item}"));
            }
        } else if CRATES.contains(&first) && path.len() > 1 && !crates.contains(&first) {
            found.push(format!("{name}: {layer} names the crate {first}"));
        }
        let owner = path.iter().position(|segment| segment == "owner").and_then(|at| path.get(at + 1));
        if let Some(owner) = owner.filter(|owner| layer == "account" && !may_write(name, owner)) {
            found.push(format!("{name}: writes records of {owner}"));
        }
        if path.last().is_some_and(|last| last.ends_with("_jid_text")) && !name.ends_with("wire/jid.rs") {
            found.push(format!("{name}: builds a protocol address"));
        }
        if path.last().is_some_and(|last| last == "do_send") {
            found.push(format!("{name}: uses do_send"));
        }
    }
    if paths.asyncs && matches!(layer, "base" | "signal" | "wire" | "storage" | "webhook" | "sandbox/world") {
        found.push(format!("{name}: {layer} has an async function"));
    }
    found
}

/// Each child's records are written by its own module alone.
fn may_write(file: &str, owner: &str) -> bool {
    match owner {
        "SessionCipher" => file.ends_with("sessions.rs"),
        "SenderKeys" => file.ends_with("sender_keys.rs"),
        "DeviceSync" => file.ends_with("devices.rs"),
        "PreKeys" => file.ends_with("prekeys.rs"),
        _ => !["sessions.rs", "sender_keys.rs", "devices.rs", "prekeys.rs"].iter().any(|child| file.ends_with(child)),
    }
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

#[test]
fn every_layer_keeps_to_its_arrows() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    for (layer, ..) in RULES {
        for path in sources(&root.join(layer)) {
            let name = path.strip_prefix(&root).unwrap().display().to_string();
            if name.ends_with("_tests.rs") {
                continue;
            }
            found.extend(violations(layer, &name, &std::fs::read_to_string(&path).unwrap()));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn planted_violations_are_found() {
    for (layer, name, source) in [
        ("signal", "signal/x.rs", "use crate::wire::Jid;"),
        ("signal", "signal/x.rs", "async fn f() {}"),
        ("account", "account/x.rs", "fn f() { tokio::time::now(); }"),
        ("account", "account/router.rs", "type W = ChangeSet<owner::SessionCipher>;"),
        ("account", "account/sessions.rs", "type W = ChangeSet<owner::Router>;"),
        ("sandbox/world", "sandbox/world/x.rs", "use crate::account::Router;"),
        ("http", "http/x.rs", "use crate::{base::ids, wire::Jid};"),
        ("wire", "wire/x.rs", "use crate::signal::Session;"),
        ("storage", "storage/x.rs", "fn f() { ProtocolAddress::from_jid_text(x); }"),
    ] {
        assert_eq!(violations(layer, name, source).len(), 1, "{source}");
    }
    assert_eq!(violations("http", "http/x.rs", "use crate::base::ids; use std::fmt;"), Vec::<String>::new());
}
