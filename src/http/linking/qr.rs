//! `GET /v1/accounts/{account}/qr`: the linking code as a picture, as terminal text, or as JSON.

use super::qr_image::png;
use crate::http::auth::caller::Admin;
use crate::http::extract::account::id_of;
use crate::http::problem::Problem;
use crate::http::state::State;
use actix_web::{HttpRequest, HttpResponse, web};
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use serde_json::json;
use std::time::Duration;

/// How long a request waits for a code.
const WAIT: Duration = Duration::from_secs(10);

pub(in crate::http) async fn get(
    _: Admin,
    state: web::Data<State>,
    request: HttpRequest,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let id = id_of(&path)?;
    let info = state.service.account(&id).await?;
    let Some(code) = state.service.link_code(&id, WAIT).await? else {
        let (state, reason) = (info.view.state.as_str(), info.view.reason.unwrap_or_default());
        let hint = if info.view.jid.is_some() { "it is linked already" } else { "start the account to get a code" };
        let detail = format!("the account shows no code: it is {state} {reason}; {hint}");
        return Err(Problem::new(409, "no_code", detail));
    };
    let accept = request.headers().get("accept").and_then(|value| value.to_str().ok()).unwrap_or("");
    let qr = || QrCode::new(&code.text).map_err(|error| Problem::new(500, "internal", error.to_string()));
    let mut response = HttpResponse::Ok();
    response.insert_header(("cache-control", "no-store"));
    Ok(match accept.split([',', ';']).next().unwrap_or("").trim() {
        "image/png" => response.content_type("image/png").body(png(&qr()?)?),
        "image/svg+xml" => {
            let svg = qr()?.render::<qrcode::render::svg::Color<'_>>().min_dimensions(300, 300).build();
            response.content_type("image/svg+xml").body(svg)
        }
        "text/plain" => {
            // Terminals are mostly dark: light modules are drawn, dark ones left out.
            let qr = qr()?;
            let mut text = qr.render::<Dense1x2>();
            let text = text.dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build();
            response.content_type("text/plain; charset=utf-8").body(text + "\n")
        }
        _ => response.json(json!({ "code": code.text, "expires_at": code.expires_at.rfc3339() })),
    })
}
