//! `/v1/accounts`.

use super::State;
use super::auth::Admin;
use super::body::{self, Body};
use super::idempotency::{Creation, created};
use super::problem::Problem;
use crate::actors::{AccountInfo, AccountOptions, Proxy};
use crate::base::ids::AccountId;
use crate::base::secret_text::SecretText;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

const MAX_METADATA: usize = 16 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewAccount {
    id: Option<AccountId>,
    label: Option<String>,
    #[serde(default)]
    metadata: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    limit: Option<usize>,
    cursor: Option<String>,
}

/// An account as JSON.
pub(super) fn render(info: &AccountInfo) -> Value {
    let view = &info.view;
    json!({
        "id": info.id,
        "label": info.label,
        "metadata": info.metadata,
        "created_at": info.created_at.rfc3339(),
        "state": view.state,
        "reason": view.reason,
        "next_attempt_at": view.next_attempt_at.map(|at| at.rfc3339()),
        "jid": view.jid.as_ref().map(ToString::to_string),
        "lid": view.lid.as_ref().map(ToString::to_string),
        "push_name": view.push_name,
        "linked_at": view.linked_at.map(|at| at.rfc3339()),
        "restarts": info.restarts,
        "device_name": info.options.device_name,
        "proxy": info.options.proxy.as_ref().and_then(|proxy| Proxy::parse(proxy, true).ok()).map(|proxy| proxy.shown()),
    })
}

pub(super) async fn list(_: Admin, state: web::Data<State>, page: web::Query<Page>) -> Result<HttpResponse, Problem> {
    let limit = page.limit.unwrap_or(100).clamp(1, 1000);
    let all = state.service.accounts().await?;
    let after = page.cursor.as_deref().unwrap_or("");
    let mut rest = all.iter().filter(|info| info.id.as_str() > after).peekable();
    let data: Vec<&AccountInfo> = rest.by_ref().take(limit).collect();
    let next = rest.peek().and(data.last()).map(|info| info.id.to_string());
    Ok(HttpResponse::Ok().json(json!({ "data": data.into_iter().map(render).collect::<Vec<_>>(), "next": next })))
}

pub(super) async fn create(
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

/// The account that the path names.
pub(super) fn id_of(path: &str) -> Result<AccountId, Problem> {
    // What cannot be an id names no account.
    AccountId::parse(path).map_err(|_| Problem::new(404, "account_not_found", format!("there is no account {path:?}")))
}

pub(super) async fn get(_: Admin, state: web::Data<State>, path: web::Path<String>) -> Result<HttpResponse, Problem> {
    let info = state.service.account(&id_of(&path)?).await?;
    Ok(HttpResponse::Ok().json(render(&info)))
}

pub(super) async fn start(_: Admin, state: web::Data<State>, path: web::Path<String>) -> Result<HttpResponse, Problem> {
    let id = id_of(&path)?;
    state.service.start_account(&id).await?;
    Ok(HttpResponse::Ok().json(render(&state.service.account(&id).await?)))
}

pub(super) async fn stop(_: Admin, state: web::Data<State>, path: web::Path<String>) -> Result<HttpResponse, Problem> {
    let id = id_of(&path)?;
    state.service.stop_account(&id).await?;
    Ok(HttpResponse::Ok().json(render(&state.service.account(&id).await?)))
}

pub(super) async fn restart(
    _: Admin,
    state: web::Data<State>,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let id = id_of(&path)?;
    state.service.restart_account(&id).await?;
    Ok(HttpResponse::Ok().json(render(&state.service.account(&id).await?)))
}

/// Has the service remove this device; the account stays, and can be linked anew.
pub(super) async fn log_out(
    _: Admin,
    state: web::Data<State>,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let id = id_of(&path)?;
    state.service.log_out_account(&id).await?;
    Ok(HttpResponse::Ok().json(render(&state.service.account(&id).await?)))
}

fn check_description(label: Option<&str>, metadata: Option<&Map<String, Value>>) -> Result<(), Problem> {
    if label.is_some_and(|label| label.chars().count() > 200) {
        return Err(Problem::field("label", "must have 200 characters or fewer"));
    }
    let length = |metadata| serde_json::to_vec(metadata).map_or(0, |json| json.len());
    if metadata.is_some_and(|metadata| length(metadata) > MAX_METADATA) {
        return Err(Problem::field("metadata", "must be 16 KiB or smaller"));
    }
    Ok(())
}

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

pub(super) async fn change(
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

/// Logs the account out, and erases all its data; tells what went.
pub(super) async fn delete(
    _: Admin,
    state: web::Data<State>,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let erased = state.service.delete_account(&id_of(&path)?).await?;
    Ok(HttpResponse::Ok().json(json!({ "erased": erased })))
}

/// Erases what is known of a contact; tells what went.
pub(super) async fn erase_contact(
    _: Admin,
    state: web::Data<State>,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let (account, contact) = path.into_inner();
    let erased = state.service.erase_contact(&id_of(&account)?, &contact).await?;
    Ok(HttpResponse::Ok().json(json!({ "erased": erased })))
}
