//! `POST /v1/accounts`.

use super::body::{AccountBody, check_description};
use crate::actors::AccountInfo;
use crate::base::ids::AccountId;
use crate::http::answer::Answer;
use crate::http::auth::caller::Caller;
use crate::http::extract::json::Json;
use crate::http::extract::once::{Once, OnceHeader};
use crate::http::problem::{Problem, Problems};
use crate::http::state::State;
use actix_web::{post, web};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewAccount {
    /// Chosen by the server where it is absent.
    #[schema(value_type = Option<String>, pattern = "^[a-z0-9][a-z0-9_-]{0,62}$", example = "support")]
    id: Option<AccountId>,
    #[schema(max_length = 200)]
    label: Option<String>,
    /// An object of the caller's, 16 KiB at most.
    #[serde(default)]
    #[schema(value_type = Object)]
    metadata: Map<String, Value>,
}

/// Creates an account. It is linked by `start` and a QR code, or by a pairing code.
#[utoipa::path(tag = "accounts", security(("key" = [])), params(OnceHeader), request_body = NewAccount,
    responses((status = 201, body = AccountBody), Problems))]
#[post("/accounts")]
pub(super) async fn create(
    _: Caller,
    state: web::Data<State>,
    once: Once,
    Json(new): Json<NewAccount>,
) -> Result<Answer<AccountBody>, Problem> {
    let (service, key) = (state.service.clone(), once.key());
    let work = async move {
        check_description(new.label.as_deref(), Some(&new.metadata))?;
        let now = service.now();
        let remember = move |info: &AccountInfo| key.created(&AccountBody::from(info.clone()), now);
        let info = service.create_account(new.id, new.label, new.metadata, remember).await?;
        Ok(Answer::created(info.into()))
    };
    once.create(&state, work).await
}
