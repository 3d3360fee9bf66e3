//! `PATCH /v1/accounts/{account}`.

use super::body::{AccountBody, check_description};
use crate::actors::AccountOptions;
use crate::base::secret_text::SecretText;
use crate::http::answer::Answer;
use crate::http::auth::caller::Caller;
use crate::http::extract::account::{Account, AccountPath};
use crate::http::extract::json::Json;
use crate::http::problem::{Problem, Problems};
use crate::http::state::State;
use actix_web::{patch, web};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// An absent field stays as it is; null removes the value.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AccountChange {
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, max_length = 200)]
    label: Option<Option<String>>,
    #[schema(value_type = Option<Object>)]
    metadata: Option<Map<String, Value>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 50)]
    device_name: Option<Option<String>>,
    /// `socks5://` or `http://`, with a user and a password where the proxy demands them.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, example = "socks5://user:password@proxy.example:1080")]
    proxy: Option<Option<SecretText>>,
}

fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(field: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(field).map(Some)
}

/// Changes an account. Another device name or proxy reconnects it.
#[utoipa::path(tag = "accounts", security(("key" = [])), params(AccountPath), request_body = AccountChange,
    responses((status = 200, body = AccountBody), Problems))]
#[patch("/accounts/{account}")]
pub(super) async fn change(
    _: Caller,
    state: web::Data<State>,
    Account(account): Account,
    Json(change): Json<AccountChange>,
) -> Result<Answer<AccountBody>, Problem> {
    let AccountChange { label, metadata, device_name, proxy } = change;
    check_description(label.as_ref().and_then(Option::as_deref), metadata.as_ref())?;
    let named = device_name.as_ref().and_then(Option::as_ref);
    if named.is_some_and(|name| !(1..=50).contains(&name.chars().count())) {
        return Err(Problem::field("device_name", "must have 1 to 50 characters"));
    }
    let options = if device_name.is_none() && proxy.is_none() {
        None
    } else {
        let known = account.info().await?.options;
        Some(AccountOptions {
            device_name: device_name.unwrap_or(known.device_name),
            proxy: proxy.unwrap_or(known.proxy),
        })
    };
    state.service.change_account(account.id(), label, metadata, options).await?;
    Ok(Answer::ok(AccountBody::of(&account).await?))
}
