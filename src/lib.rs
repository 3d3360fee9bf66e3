//! Wharf: a multi-account WhatsApp bot server. ARCHITECTURE.md is the map; each layer's `mod.rs` says what lives there.
#![forbid(unsafe_code)]

pub mod base;
pub mod signal;
pub mod wire;
