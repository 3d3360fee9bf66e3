//! `POST /v1/accounts`.

use super::view::{check_description, render};
use crate::actors::AccountInfo;
use crate::base::ids::AccountId;
use crate::http::auth::caller::Admin;
use crate::http::extract::json as body;
use crate::http::extract::json::Body;
use crate::http::extract::once::{Creation, created};
use crate::http::problem::Problem;
use crate::http::state::State;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::{Map, Value};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewAccount {
    id: Option<AccountId>,
    label: Option<String>,
    #[serde(default)]
    metadata: Map<String, Value>,
}

pub(in crate::http) async fn create(
    admin: Admin,
    state: web::Data<State>,
    request: HttpRequest,
    Body(bytes): Body,
) -> Result<HttpResponse, Problem> {
    let creation = match Creation::begin(&state.service, &request, &admin, &bytes)? {
        Ok(creation) => creation,
        Err(answer) => return Ok(answer),
    };
    let new: NewAccount = body::read(&bytes)?;
    check_description(new.label.as_deref(), Some(&new.metadata))?;
    let remember = |info: &AccountInfo| creation.remember(render(info).to_string());
    let info = state.service.create_account(new.id, new.label, new.metadata, remember).await?;
    Ok(created(render(&info).to_string()))
}
