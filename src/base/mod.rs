//! Layer 0: what every other layer may name: identifiers, time, secrets, addresses.
//!
//! Nothing here knows a protocol, a store or an actor. The addresses are opaque: only `wire::jid` builds them, so that
//! no layer can invent a spelling of its own for "the same device".

pub mod address;
pub mod backoff;
pub mod counts;
pub mod entropy;
pub mod hooks;
pub mod ids;
pub mod secret;
pub mod secret_text;
pub mod time;
