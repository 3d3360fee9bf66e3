//! `GET /v1/accounts`.

use super::body::AccountBody;
use crate::http::answer::Answer;
use crate::http::auth::caller::Caller;
use crate::http::extract::page::Page;
use crate::http::extract::query::Query;
use crate::http::problem::{Problem, Problems};
use crate::http::state::State;
use actix_web::{get, web};
use serde::Serialize;
use utoipa::ToSchema;

#[derive(Serialize, ToSchema)]
struct AccountPage {
    data: Vec<AccountBody>,
    /// The cursor of the next page; null on the last.
    next: Option<String>,
}

/// Lists accounts by id.
#[utoipa::path(tag = "accounts", security(("key" = [])), params(Page), responses((status = 200, body = AccountPage), Problems))]
#[get("/accounts")]
pub(super) async fn list(
    _: Caller,
    state: web::Data<State>,
    Query(page): Query<Page>,
) -> Result<Answer<AccountPage>, Problem> {
    let after = page.cursor.as_deref().unwrap_or("");
    let accounts = state.service.accounts().await?;
    let mut rest = accounts.into_iter().filter(|info| info.id.as_str() > after).map(AccountBody::from).peekable();
    let data: Vec<AccountBody> = rest.by_ref().take(page.limit.get()).collect();
    let next = rest.peek().and(data.last()).map(|account| account.id().to_owned());
    Ok(Answer::ok(AccountPage { data, next }))
}
