//! Linking: codes, passkeys, and the page behind the one-time link.

pub(in crate::http) mod page;
pub(in crate::http) mod pairing_code;
pub(in crate::http) mod passkey;
pub(in crate::http) mod qr;
pub(in crate::http) mod qr_image;
