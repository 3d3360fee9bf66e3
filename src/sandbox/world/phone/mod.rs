//! A simulated phone (`sandbox-service.md` 9): its keys and messages, and how it handles stanzas.

mod content;
pub(super) mod device;
pub(super) mod message;
mod reading;
mod repair;
mod welcome;
mod writing;

pub use content::Writing;
pub use message::{PhoneContext, PhoneMedia, PhoneMessage};
