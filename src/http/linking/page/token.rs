//! The token of a one-time link.

use crate::actors::PasskeyLink;
use crate::http::problem::Problem;
use crate::http::state::State;
use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
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

/// The attempt that the path names, found before the body is read.
pub(super) struct Attempt(pub(super) PasskeyLink);

impl FromRequest for Attempt {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let path = TokenPath { token: request.match_info().get("token").unwrap_or_default().to_owned() };
        let state = request.app_data::<web::Data<State>>().cloned();
        async move { attempt(&*state.ok_or_else(expired)?, &path).await.map(Self) }.boxed_local()
    }
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
