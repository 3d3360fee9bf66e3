//! `POST /v1/admin/keys/rotate-data`.

use crate::http::answer::Answer;
use crate::http::auth::caller::Caller;
use crate::http::extract::once::{Once, OnceHeader};
use crate::http::problem::{Problem, Problems};
use crate::http::state::State;
use actix_web::{post, web};
use serde::Serialize;
use utoipa::ToSchema;

#[derive(Serialize, ToSchema)]
struct DataKeyRotation {
    /// The number of data keys that are replaced.
    keys: usize,
}

/// Rotates all data keys, and reseals everything under them in the background.
#[utoipa::path(tag = "operations", security(("key" = [])), params(OnceHeader),
    responses((status = 202, body = DataKeyRotation), Problems))]
#[post("/admin/keys/rotate-data")]
pub(super) async fn rotate_data_keys(
    _: Caller,
    state: web::Data<State>,
    once: Once,
) -> Result<Answer<DataKeyRotation>, Problem> {
    let service = state.service.clone();
    let work = async move {
        let keys = service.rotate_data_keys().await?;
        Ok(Answer::accepted(DataKeyRotation { keys }))
    };
    once.run(&state, work).await
}
