//! Layer 1: what goes over the wire: JIDs, binary nodes, framing, Noise, protobufs, in both roles (client and service).
//!
//! Pure and synchronous, bytes in, values out. Facts: `wire-protocol.md` and `sandbox-service.md`.
//! Invariant: every decoder is bounded and total: hostile bytes give a [`WireError`], never a panic or a large allocation.

pub mod adv;
mod cert;
mod decode;
mod dictionary;
mod dictionary_table;
mod encode;
mod error;
pub mod frame;
pub mod jid;
pub mod media;
pub mod media_retry;
pub mod message;
pub mod node;
pub mod noise;
pub mod pair_code;
pub mod passkey;
pub mod payload;
pub mod phash;
pub mod prekeys;
pub mod privacy_token;
pub mod qr;
pub mod reporting;
pub mod transport;
pub mod usync;

pub use cert::{CertAuthority, verify_chain};
pub use decode::decode_frame;
pub use encode::{encode_frame, encode_node};
pub use error::WireError;
pub use jid::{Jid, Server};
pub use node::{Content, Node, Value};

/// Protobuf structures, generated from `proto/whatsapp.proto`.
pub mod proto {
    #![allow(missing_docs, clippy::pedantic, clippy::large_enum_variant)]
    include!(concat!(env!("OUT_DIR"), "/whatsapp.rs"));
}
