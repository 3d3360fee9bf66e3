//! What every request passes on its way in, and every answer on its way out: the connection's limit, the API key before the body, and
//! headers that keep private data out of caches.

pub(in crate::http) mod connections;
mod key;
mod pass;
mod unread;

pub(in crate::http) use key::authenticate;
pub(in crate::http) use pass::pass;
