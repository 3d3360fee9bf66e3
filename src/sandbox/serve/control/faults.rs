//! Faults on request.

use super::{Answer, Refused, ask, parse};
use crate::base::time::Timestamp;
use crate::sandbox::serve::WorldHost;
use crate::sandbox::world::{FaultKind, NewFault, World};
use actix_web::{HttpResponse, web};
use serde_json::{Value, json};

pub(super) fn routes(app: &mut web::ServiceConfig) {
    app.route("/faults", web::post().to(add_fault))
        .route("/faults", web::get().to(list_faults))
        .route("/faults", web::delete().to(clear_faults));
}

/// The kind with its own fields, and whom it concerns, how often or how long.
async fn add_fault(host: web::Data<WorldHost>, body: web::Bytes) -> Answer {
    let invalid = |detail: String| Refused { status: 400, code: "invalid_body", detail };
    let mut fields: serde_json::Map<String, Value> = parse(&body)?;
    let mut take = |name: &str| fields.remove(name).filter(|value| !value.is_null());
    let text = |value: Value| value.as_str().map(str::to_owned);
    let until = take("until").map(|at| text(at).and_then(|at| Timestamp::parse(&at)).ok_or("until"));
    let account = take("account").map(|account| text(account).ok_or("account"));
    let count = take("count").map(|count| count.as_u64().and_then(|count| u32::try_from(count).ok()).ok_or("count"));
    let seed = take("seed").map(|seed| seed.as_u64().ok_or("seed"));
    let unreadable = |field: &str| invalid(format!("the body: {field} cannot be read"));
    let (until, account) = (until.transpose().map_err(unreadable)?, account.transpose().map_err(unreadable)?);
    let (count, seed) = (count.transpose().map_err(unreadable)?, seed.transpose().map_err(unreadable)?);
    let of_kind = fields.clone();
    let kind: FaultKind =
        serde_json::from_value(Value::Object(fields)).map_err(|error| invalid(format!("the body: {error}")))?;
    let known = serde_json::to_value(kind).unwrap_or_default();
    if let Some(unknown) = of_kind.keys().find(|field| known.get(field.as_str()).is_none()) {
        return Err(invalid(format!("the body: this kind of fault has no {unknown}")));
    }
    let fault = NewFault { kind, account, count, until, seed: seed.unwrap_or_default() };
    let added = ask(&host, move |world| world.add_fault(fault)).await?;
    Ok(HttpResponse::Created().json(added))
}

async fn list_faults(host: web::Data<WorldHost>) -> Answer {
    let faults = ask(&host, |world| world.faults()).await?;
    Ok(HttpResponse::Ok().json(json!({ "data": faults, "next": null })))
}

async fn clear_faults(host: web::Data<WorldHost>) -> Answer {
    ask(&host, World::clear_faults).await?;
    Ok(HttpResponse::NoContent().finish())
}
