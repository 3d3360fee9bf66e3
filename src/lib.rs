//! Wharf: a multi-account WhatsApp bot server. ARCHITECTURE.md is the map; each layer's `mod.rs` says what lives there.
#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::todo, clippy::unimplemented)]

pub mod account;
pub mod actors;
pub mod app;
pub mod base;
pub mod cli;
pub mod config;
pub mod demo;
pub mod http;
mod key_file;
pub mod operate;
pub mod sandbox;
pub mod signal;
pub mod storage;
pub mod webhook;
pub mod wire;

#[cfg(test)]
mod golden {
    //! Golden files: the stored forms that later versions must still read.

    /// Compares with `tests/golden/{name}`. `WHARF_GOLDEN=write` rewrites the file, to be reviewed as a change of format.
    pub fn check(name: &str, actual: &[u8]) {
        match actual.first() {
            Some(b'{') => check_text(name, &String::from_utf8_lossy(actual)),
            _ => check_text(name, &hex::encode(actual)),
        }
    }

    /// The same, of a form that is text already.
    pub fn check_text(name: &str, text: &str) {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
        if std::env::var("WHARF_GOLDEN").is_ok_and(|mode| mode == "write") {
            std::fs::write(&path, format!("{text}\n")).unwrap();
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(text, golden.trim_end(), "{name}: the stored form has changed");
    }
}
