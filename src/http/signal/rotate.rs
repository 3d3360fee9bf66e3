//! `POST /v1/accounts/{account}/signal/rotate`.

use crate::account::GroupOrStatus;
use crate::account::commands::Groups;
use crate::http::answer::Answer;
use crate::http::auth::caller::Caller;
use crate::http::extract::account::{Account, AccountPath};
use crate::http::extract::json::Json;
use crate::http::extract::once::{Once, OnceHeader};
use crate::http::problem::{Problem, Problems};
use crate::http::state::State;
use actix_web::{post, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SenderKeyRotation {
    /// The JID of a group, or `status@broadcast`.
    group: String,
}

#[derive(Serialize, ToSchema)]
struct RotatedSenderKey {
    group: String,
    rotated: bool,
}

/// Rotates the sender key of a group or of status: the next message distributes a new one.
#[utoipa::path(tag = "signal", security(("key" = [])), params(AccountPath, OnceHeader), request_body = SenderKeyRotation,
    responses((status = 200, body = RotatedSenderKey), Problems))]
#[post("/accounts/{account}/signal/rotate")]
pub(super) async fn rotate(
    _: Caller,
    state: web::Data<State>,
    Account(account): Account,
    once: Once,
    Json(SenderKeyRotation { group }): Json<SenderKeyRotation>,
) -> Result<Answer<RotatedSenderKey>, Problem> {
    let work = async move {
        let named: GroupOrStatus = group.parse().map_err(|error| Problem::field("group", error))?;
        account.call(|reply| Groups::RotateSenderKey { group: named, reply }.into()).await?;
        Ok(Answer::ok(RotatedSenderKey { group, rotated: true }))
    };
    once.run(&state, work).await
}
