//! Calls of the child machines: an [`Ask`] carries one call as a closure.

use super::device_sync::DeviceSync;
use super::prekeys::PreKeys;
use super::sender_keys::SenderKeys;
use super::session_cipher::SessionCipher;
use crate::account::error::ChildDown;
use std::future::Future;
use std::pin::Pin;

/// One call of a machine.
pub type Job<M> = Box<dyn FnOnce(&mut M) + Send>;

/// A call for one of the children.
pub enum Ask {
    Sessions(Job<SessionCipher>),
    SenderKeys(Job<SenderKeys>),
    Devices(Job<DeviceSync>),
    PreKeys(Job<PreKeys>),
}

/// An ask under way, complete when its job has run.
pub type Asked<'a> = Pin<Box<dyn Future<Output = Result<(), ChildDown>> + 'a>>;

/// The account's children. Each ask runs to its end before the next; a panic inside it is [`ChildDown`].
pub trait Children {
    fn ask(&mut self, ask: Ask) -> Asked<'_>;
}
