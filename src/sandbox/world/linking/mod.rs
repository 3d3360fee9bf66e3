//! Linking of companions: by QR code, by code, by passkey (`sandbox-service.md` 2, `linking-and-tokens.md` 1).

pub(super) mod authenticator;
mod code;
mod finish;
mod passkey;
pub(super) mod policy;
mod qr;
pub(super) mod request;

pub use policy::{PasskeyFault, PasskeyPolicy, PasskeyStep};
