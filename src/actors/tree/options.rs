//! Settings of one account, stored with its record.

use crate::base::secret_text::SecretText;
use serde::{Deserialize, Serialize};

/// Settings of one account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountOptions {
    /// The name shown under "linked devices"; takes effect when the account is linked next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_name: Option<String>,
    /// The proxy to connect through; it may hold a password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<SecretText>,
}
