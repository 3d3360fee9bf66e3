//! The account id of a path.

use crate::base::ids::AccountId;
use crate::http::problem::Problem;
use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use std::future::{Ready, ready};
use utoipa::IntoParams;

/// The `{account}` of the path. Text that cannot be an id is an unknown account; whether an id exists, the service answers.
pub(in crate::http) struct Account(pub(in crate::http) AccountId);

impl FromRequest for Account {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(parse(request.match_info().get("account").unwrap_or_default()).map(Self))
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
