//! `GET /v1/accounts/{account}/messages/{id}`.

use crate::account::MessageRecord;
use crate::http::auth::caller::Admin;
use crate::http::extract::account::id_of;
use crate::http::problem::Problem;
use crate::http::state::State;
use actix_web::{HttpResponse, web};
use serde_json::{Value, json};

pub(in crate::http) async fn get(
    _: Admin,
    state: web::Data<State>,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let (account, message) = path.into_inner();
    let record = state.service.message(&id_of(&account)?, &message).await?;
    Ok(HttpResponse::Ok().json(render(&record)))
}

fn render(record: &MessageRecord) -> Value {
    let recipients = record
        .recipients
        .iter()
        .map(|recipient| json!({ "jid": recipient.jid, "status": recipient.status, "at": recipient.at.rfc3339() }));
    let mut message = json!({
        "id": record.id,
        "status": record.status,
        "to": record.to,
        "type": record.kind,
        "text": { "body": record.text },
        "created_at": record.created_at.rfc3339(),
        "recipients": recipients.collect::<Vec<_>>(),
    });
    if let Some((code, meaning)) = &record.failure {
        message["code"] = json!(code);
        message["meaning"] = json!(meaning);
    }
    message
}
