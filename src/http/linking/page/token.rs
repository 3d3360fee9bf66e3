//! The token of a one-time link.

use crate::actors::PasskeyLink;
use crate::http::problem::Problem;
use crate::http::state::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct TokenPath {
    /// The secret of the link.
    pub(super) token: String,
}

/// The attempt that the token names.
pub(super) async fn attempt(state: &State, path: &TokenPath) -> Result<PasskeyLink, Problem> {
    state.service.passkey_link(&path.token).await?.ok_or_else(expired)
}

pub(super) fn expired() -> Problem {
    Problem::new(404, "link_expired", "this link is used up or has expired")
}

#[derive(Serialize, ToSchema)]
pub(super) struct Accepted {
    #[schema(example = "accepted")]
    status: &'static str,
}

impl Accepted {
    pub(super) const fn new() -> Self {
        Self { status: "accepted" }
    }
}
