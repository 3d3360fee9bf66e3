//! Layer 0: identifiers, time, secrets and addresses, which every other layer may name.
//!
//! Nothing here knows a protocol, a store or an actor. Addresses are opaque: only `wire::jid` builds them, so that
//! a device has one spelling in all layers.

pub mod address;
pub mod backoff;
pub mod bucket;
pub mod counts;
pub mod entropy;
pub mod hooks;
pub mod ids;
pub mod secret;
pub mod secret_text;
pub mod time;
