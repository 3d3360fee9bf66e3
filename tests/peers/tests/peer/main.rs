//! Wharf beside other implementations: Rust packages in this process, Baileys in a separate one.

mod conversation;
mod dictionary;
#[allow(dead_code)]
mod libsignal;
mod npm_libsignal;
mod random;
