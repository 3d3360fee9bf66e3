//! Wharf's integration tests, one binary.

mod backlog;
mod backup;
mod calls;
mod connection;
mod conversations;
mod coverage;
mod demo;
mod direct_messages;
mod faults;
mod full_disk;
mod groups;
#[path = "../hostile/mod.rs"]
mod hostile;
mod layering;
mod linking;
mod logs;
mod net;
mod network;
mod passkeys;
mod power_cut;
mod prekeys;
#[path = "../shared/probe.rs"]
#[allow(dead_code)]
mod probe;
mod repair;
mod rest;
mod rest_contract;
mod rest_linking;
mod restore;
mod retention;
mod sandbox;
mod sandbox_groups;
mod sandbox_restart;
mod sealing;
mod served;
mod signals;
mod soak;
mod stanzas;
mod status;
mod storm;
mod supervision;
mod tokens;
mod webhooks;
