//! `PATCH /v1/accounts/{account}`.

use super::view::{check_description, render};
use crate::actors::AccountOptions;
use crate::base::secret_text::SecretText;
use crate::http::auth::caller::Admin;
use crate::http::extract::account::id_of;
use crate::http::extract::json as body;
use crate::http::extract::json::Body;
use crate::http::problem::Problem;
use crate::http::state::State;
use actix_web::{HttpResponse, web};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// A change: what is absent stays, what is null is taken away.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Changed {
    #[serde(default, deserialize_with = "present")]
    label: Option<Option<String>>,
    metadata: Option<Map<String, Value>>,
    #[serde(default, deserialize_with = "present")]
    device_name: Option<Option<String>>,
    #[serde(default, deserialize_with = "present")]
    proxy: Option<Option<SecretText>>,
}

fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(field: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(field).map(Some)
}

pub(in crate::http) async fn change(
    _: Admin,
    state: web::Data<State>,
    path: web::Path<String>,
    Body(bytes): Body,
) -> Result<HttpResponse, Problem> {
    let id = id_of(&path)?;
    let Changed { label, metadata, device_name, proxy } = body::read(&bytes)?;
    check_description(label.as_ref().and_then(Option::as_deref), metadata.as_ref())?;
    let named = device_name.as_ref().and_then(Option::as_ref);
    if named.is_some_and(|name| !(1..=50).contains(&name.chars().count())) {
        return Err(Problem::field("device_name", "must have 1 to 50 characters"));
    }
    let options = if device_name.is_none() && proxy.is_none() {
        None
    } else {
        let known = state.service.account(&id).await?.options;
        Some(AccountOptions {
            device_name: device_name.unwrap_or(known.device_name),
            proxy: proxy.unwrap_or(known.proxy),
        })
    };
    state.service.change_account(&id, label, metadata, options).await?;
    Ok(HttpResponse::Ok().json(render(&state.service.account(&id).await?)))
}
