//! Wharf beside other implementations: Rust packages in this process, Baileys in a process of its own.

mod baileys;
mod conversation;
mod dictionary;
mod libsignal;
mod random;
