//! Wharf's integration tests, one binary.

mod direct_messages;
mod net;
