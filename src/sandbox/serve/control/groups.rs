//! Groups: created, shown, their participants changed.

use super::answer::{Answer, Problem, ask, page, parse};
use crate::sandbox::serve::host::WorldHost;
use crate::sandbox::world::{MemberChange, World};
use actix_web::{HttpResponse, web};
use serde::Deserialize;

pub(super) fn routes(app: &mut web::ServiceConfig) {
    app.route("/groups", web::post().to(create))
        .route("/groups", web::get().to(list))
        .route("/groups/{id}", web::get().to(get))
        .route("/groups/{id}/participants", web::post().to(change));
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewGroup {
    subject: String,
    creator: String,
    #[serde(default)]
    participants: Vec<String>,
}

async fn create(host: web::Data<WorldHost>, body: web::Bytes) -> Answer {
    let NewGroup { subject, creator, participants } = parse(&body)?;
    let group = ask(&host, move |world| world.create_group(&subject, &creator, &participants)).await??;
    Ok(HttpResponse::Created().json(group))
}

async fn list(host: web::Data<WorldHost>) -> Answer {
    page(ask(&host, |world| world.groups()).await?)
}

async fn get(host: web::Data<WorldHost>, id: web::Path<String>) -> Answer {
    let group = ask(&host, move |world| world.group(&id)).await??;
    Ok(HttpResponse::Ok().json(group))
}

/// Phone numbers by change. `by` is the member who makes the changes; without it, the creator.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Changes {
    by: Option<String>,
    #[serde(default)]
    add: Vec<String>,
    #[serde(default)]
    remove: Vec<String>,
    #[serde(default)]
    promote: Vec<String>,
    #[serde(default)]
    demote: Vec<String>,
}

async fn change(host: web::Data<WorldHost>, id: web::Path<String>, body: web::Bytes) -> Answer {
    let Changes { by, add, remove, promote, demote } = parse(&body)?;
    let changes = [
        (MemberChange::Add, add),
        (MemberChange::Remove, remove),
        (MemberChange::Promote, promote),
        (MemberChange::Demote, demote),
    ];
    if changes.iter().all(|(_, numbers)| numbers.is_empty()) {
        let detail = "the body names numbers to add, remove, promote or demote";
        return Err(Problem::new(400, "invalid_body", detail));
    }
    let group = ask(&host, move |world: &mut World| {
        for (change, numbers) in changes.iter().filter(|(_, numbers)| !numbers.is_empty()) {
            world.change_participants(&id, by.as_deref(), *change, numbers)?;
        }
        world.group(&id)
    })
    .await??;
    Ok(HttpResponse::Ok().json(group))
}
