//! Layer 5: REST. Routes, bodies, keys; what happens is asked of `actors::Service`.
//!
//! Nothing here knows the protocol or a storage key. Every error is `application/problem+json`, mapped in `problem.rs`.

mod accounts;
mod admin;
mod auth;
mod contacts;
mod events;
mod extract;
mod linking;
mod messages;
mod problem;
mod router;
mod signal;
mod state;
mod webhooks;

pub use auth::keyring::Keyring;
pub use problem::Problem;
pub use router::serve;
pub use state::State;
