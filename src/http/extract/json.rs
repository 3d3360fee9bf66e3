//! Strict JSON bodies: an error names the path of the field, and unknown fields are errors.

use crate::http::extract::body;
use crate::http::problem::Problem;
use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use serde::de::DeserializeOwned;

/// A JSON body, parsed whatever its `Content-Type` is.
pub(in crate::http) struct Json<T>(pub(in crate::http) T);

impl<T: DeserializeOwned + 'static> FromRequest for Json<T> {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        body::read(request, payload).map(|bytes| parse(&bytes?).map(Self)).boxed_local()
    }
}

/// Parses a body; an empty one counts as `{}`.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let body: &[u8] = if body.is_empty() { b"{}" } else { body };
    // serde would read the elements of an array as the fields of a struct.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(Problem::new(400, "invalid_body", "the body must be a JSON object"));
    }
    let mut parser = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut parser).map_err(|error| {
        let path = error.path().to_string();
        invalid(&path, error.inner())
    })?;
    parser.end().map_err(|error| invalid(".", &error))?;
    Ok(value)
}

fn invalid(path: &str, error: &serde_json::Error) -> Problem {
    let place = if error.is_data() && path != "." { path } else { "the body" };
    Problem::new(400, "invalid_body", format!("{place}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[serde(default)]
        list: Vec<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[serde(rename = "number")]
        _number: u8,
    }

    #[test]
    fn error_names_the_path_of_the_field() {
        for (body, said) in [
            (r#"{"list":[{"number":1},{"number":"x"}]}"#, "list[1].number: invalid type"),
            (r#"{"list":[{"nummer":1}]}"#, "list[0].nummer: unknown field `nummer`, expected `number`"),
            (r#"{"list":[{}]}"#, "list[0]: missing field `number`"),
            (r#"{"list":1}"#, "list: invalid type"),
            (r#"{"lists":1}"#, "lists: unknown field"),
            ("[[]]", "the body must be a JSON object"),
            ("null", "the body must be a JSON object"),
            (r#"{"list":[]"#, "the body: EOF"),
            (" {} {}", "the body: trailing characters"),
        ] {
            let problem = parse::<Outer>(body.as_bytes()).unwrap_err().to_string();
            assert!(problem.starts_with(said), "{body}: {problem}");
        }
    }

    #[test]
    fn empty_body_counts_as_an_empty_object() {
        assert!(parse::<Outer>(b"").unwrap().list.is_empty());
    }
}
