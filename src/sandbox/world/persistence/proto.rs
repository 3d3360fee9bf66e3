//! The stored forms (`proto/sandbox.proto`).

#![allow(missing_docs, clippy::pedantic)]
include!(concat!(env!("OUT_DIR"), "/sandbox.rs"));
