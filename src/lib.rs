//! Wharf: a multi-account WhatsApp bot server. ARCHITECTURE.md is the map; each layer's `mod.rs` says what lives there.
#![forbid(unsafe_code)]

pub mod account;
pub mod base;
pub mod sandbox;
pub mod signal;
pub mod storage;
pub mod wire;
