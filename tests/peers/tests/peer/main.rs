//! Wharf beside the Rust packages of another implementation.

mod conversation;
mod dictionary;
mod libsignal;
