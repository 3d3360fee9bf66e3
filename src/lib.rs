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
pub mod sandbox;
pub mod signal;
pub mod storage;
pub mod webhook;
pub mod wire;
