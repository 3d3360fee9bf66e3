//! Layer 5: REST. Routes, bodies, keys; every action is a call of `actors::Service`.
//!
//! One folder a capability, one file a verb. `router.rs` lists the routes, `openapi.rs` collects the document from them, `extract/`
//! holds the typed extractors. Nothing here knows the protocol or a storage key. Every error is `application/problem+json`, mapped
//! in `problem.rs`.

mod accounts;
mod admin;
mod answer;
mod auth;
mod contacts;
mod events;
mod extract;
mod guard;
mod linking;
mod messages;
mod openapi;
mod problem;
mod router;
mod signal;
mod state;
mod webhooks;

pub use auth::keyring::Keyring;
pub use extract::claims::Claims;
pub use problem::Problem;
pub use router::serve;
pub use state::{Limits, State};
