//! `GET /v1/accounts/{account}/qr`: the linking code as a picture, as terminal text, or as JSON.

use super::State;
use super::accounts::id_of;
use super::auth::Admin;
use super::problem::Problem;
use actix_web::{HttpRequest, HttpResponse, web};
use qrcode::render::unicode::Dense1x2;
use qrcode::{Color, QrCode};
use serde_json::json;
use std::time::Duration;

/// How long a request waits for a code.
const WAIT: Duration = Duration::from_secs(10);
/// Pixels of one module, and modules of the margin.
const SCALE: usize = 8;
const MARGIN: usize = 4;

pub(super) async fn get(
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

/// A black-and-white picture, one byte a pixel.
fn png(qr: &QrCode) -> Result<Vec<u8>, Problem> {
    let modules = qr.to_colors();
    let side = qr.width();
    let pixels = (side + 2 * MARGIN) * SCALE;
    let mut image = vec![0xff_u8; pixels * pixels];
    for y in 0..side * SCALE {
        for x in 0..side * SCALE {
            if modules[(y / SCALE) * side + x / SCALE] == Color::Dark {
                image[(y + MARGIN * SCALE) * pixels + x + MARGIN * SCALE] = 0;
            }
        }
    }
    let failed = |error: png::EncodingError| Problem::new(500, "internal", error.to_string());
    let size = u32::try_from(pixels).unwrap_or(u32::MAX);
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, size, size);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().map_err(failed)?;
    writer.write_image_data(&image).map_err(failed)?;
    writer.finish().map_err(failed)?;
    Ok(out)
}
