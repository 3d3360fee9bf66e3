//! What the programs of the crash command share.
#![forbid(unsafe_code)]

pub mod commits;
