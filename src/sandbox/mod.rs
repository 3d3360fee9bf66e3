//! Layer 3: the sandbox network: the service's side and simulated phones, so that a bot can be built and tested offline.
//!
//! `world` is sans-IO and seeded; `serve` gives it sockets. A phone is a separate Signal endpoint: it shares `signal`
//! and `wire` with the accounts and nothing above, or it would share their mistakes.

pub mod serve;
pub mod world;
