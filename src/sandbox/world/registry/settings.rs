//! Settings of a person, stored as JSON with the account.

use crate::sandbox::world::linking::policy::Passkey;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(in crate::sandbox::world) struct Settings {
    /// Categories that differ from `all`.
    pub(in crate::sandbox::world) privacy: BTreeMap<String, String>,
    /// Phone numbers.
    pub(in crate::sandbox::world) blocked: BTreeSet<String>,
    /// The text, and when it was set.
    pub(in crate::sandbox::world) about: Option<(String, u64)>,
    /// Its id and its path on the media host.
    pub(in crate::sandbox::world) picture: Option<(String, String)>,
    /// Seconds after which messages of new chats disappear, and when that was set.
    pub(in crate::sandbox::world) disappearing: (u64, u64),
    /// Whether messages of strangers need a privacy token.
    #[serde(default)]
    pub(in crate::sandbox::world) token_required: bool,
    #[serde(default)]
    pub(in crate::sandbox::world) passkey: Passkey,
    /// Issued privacy tokens in hex, by the phone number of their holder.
    #[serde(default)]
    pub(in crate::sandbox::world) tokens: BTreeMap<String, String>,
}
