//! The account that a path names.

use crate::base::ids::AccountId;
use crate::http::problem::Problem;

/// The account that the path names.
pub(in crate::http) fn id_of(path: &str) -> Result<AccountId, Problem> {
    // What cannot be an id names no account.
    AccountId::parse(path).map_err(|_| Problem::new(404, "account_not_found", format!("there is no account {path:?}")))
}
