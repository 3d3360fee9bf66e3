//! The account id of a path.

use crate::actors::AccountHandle;
use crate::base::ids::AccountId;
use crate::http::problem::Problem;
use crate::http::state::State;
use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use std::future::{Ready, ready};
use utoipa::IntoParams;

/// The `{account}` of the path, as a handle. Text that cannot be an id is an unknown account; whether an id exists shows with the
/// first use of the handle.
pub(in crate::http) struct Account(pub(in crate::http) AccountHandle);

impl FromRequest for Account {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let id = parse(request.match_info().get("account").unwrap_or_default());
        let state = request.app_data::<web::Data<State>>();
        ready(id.and_then(|id| match state {
            Some(state) => Ok(Self(state.service.account(&id))),
            None => Err(Problem::new(500, "internal", "the server has no state")),
        }))
    }
}

pub(in crate::http) fn parse(text: &str) -> Result<AccountId, Problem> {
    AccountId::parse(text).map_err(|_| Problem::new(404, "account_not_found", format!("there is no account {text:?}")))
}

/// How the document shows [`Account`].
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "read by the derive alone")]
pub(in crate::http) struct AccountPath {
    /// The account's id.
    #[param(pattern = "^[a-z0-9][a-z0-9_-]{0,62}$", example = "support")]
    account: String,
}
