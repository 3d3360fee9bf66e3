//! `GET /v1/accounts/{account}/qr`: the linking code as a picture, as terminal text, or as JSON.

use super::code::CodeBody;
use super::qr_image::{png, svg, text};
use crate::http::auth::caller::Caller;
use crate::http::extract::account::{Account, AccountPath};
use crate::http::openapi::Binary;
use crate::http::problem::{Problem, Problems};
use crate::http::state::State;
use actix_web::http::header::Accept;
use actix_web::{HttpResponse, get, mime, web};
use std::time::Duration;

/// How long a request waits for a code.
const WAIT: Duration = Duration::from_secs(10);

/// A form that a code is shown in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Png,
    Svg,
    Text,
}

/// The most wanted form that exists; JSON where none does.
fn form_of(accept: &Accept) -> Form {
    let known = |wanted: &mime::Mime| match (wanted.type_(), wanted.subtype(), wanted.suffix()) {
        (mime::STAR, ..) | (mime::APPLICATION, mime::JSON | mime::STAR, _) => Some(Form::Json),
        (mime::IMAGE, mime::PNG | mime::STAR, _) => Some(Form::Png),
        (mime::IMAGE, mime::SVG, _) => Some(Form::Svg),
        (mime::TEXT, mime::PLAIN | mime::STAR, _) => Some(Form::Text),
        _ => None,
    };
    accept.ranked().iter().find_map(known).unwrap_or(Form::Json)
}

/// Shows the code to scan, in the form that `Accept` names. Waits up to ten seconds for a code.
#[utoipa::path(tag = "linking", security(("key" = [])), params(AccountPath), responses(
    (status = 200, content(
        (CodeBody = "application/json"), (Binary = "image/png"), (String = "image/svg+xml"), (String = "text/plain"))),
    Problems))]
#[get("/accounts/{account}/qr")]
pub(super) async fn qr(
    _: Caller,
    state: web::Data<State>,
    accept: web::Header<Accept>,
    Account(account): Account,
) -> Result<HttpResponse, Problem> {
    let info = account.info().await?;
    let Some(code) = state.service.link_code(account.id(), WAIT).await? else {
        let (state, reason) = (info.view.state.as_str(), info.view.reason.unwrap_or_default());
        let hint = if info.view.jid.is_some() { "it is linked already" } else { "start the account to get a code" };
        let detail = format!("the account shows no code: it is {state} {reason}; {hint}");
        return Err(Problem::new(409, "no_code", detail));
    };
    let mut response = HttpResponse::Ok();
    response.insert_header(("cache-control", "no-store"));
    Ok(match form_of(&accept) {
        Form::Json => response.json(CodeBody::from(code)),
        Form::Png => response.content_type("image/png").body(png(&code.text)?),
        Form::Svg => response.content_type("image/svg+xml").body(svg(&code.text)?),
        Form::Text => response.content_type("text/plain; charset=utf-8").body(text(&code.text)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::Header;
    use actix_web::test::TestRequest;

    #[test]
    fn form_with_the_highest_quality_is_chosen() {
        for (accept, form) in [
            ("application/json", Form::Json),
            ("image/svg+xml", Form::Svg),
            ("image/*", Form::Png),
            ("text/plain; charset=utf-8", Form::Text),
            ("application/json;q=0.5, image/png", Form::Png),
            ("text/html, image/svg+xml;q=0.9, */*;q=0.1", Form::Svg),
            ("*/*", Form::Json),
            ("video/mp4", Form::Json),
            ("", Form::Json),
        ] {
            let request = TestRequest::default().insert_header(("accept", accept)).to_http_request();
            assert_eq!(form_of(&Accept::parse(&request).unwrap()), form, "{accept}");
        }
    }
}
