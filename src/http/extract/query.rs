//! Strict queries: an error names the parameter, and unknown parameters are errors.

use crate::http::problem::Problem;
use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use serde::de::DeserializeOwned;
use std::future::{Ready, ready};

/// The parsed query of a request.
pub(in crate::http) struct Query<T>(pub(in crate::http) T);

impl<T: DeserializeOwned> FromRequest for Query<T> {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(parse(request.query_string()).map(Self))
    }
}

fn parse<T: DeserializeOwned>(query: &str) -> Result<T, Problem> {
    let parameters = serde_urlencoded::Deserializer::new(url::form_urlencoded::parse(query.as_bytes()));
    serde_path_to_error::deserialize(parameters).map_err(|error| {
        let path = error.path().to_string();
        let place = if path == "." { "the query" } else { &path };
        Problem::new(400, "invalid_query", format!("{place}: {}", error.inner()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::extract::page::Page;

    #[test]
    fn error_names_the_parameter() {
        for (query, said) in [
            ("limit=many", "limit: "),
            ("limit=0", "limit: must be 1 to 1000"),
            ("limit=1001", "limit: must be 1 to 1000"),
            ("limit=-1", "limit: "),
            ("limits=1", "limits: unknown field"),
        ] {
            let problem = parse::<Page>(query).err().unwrap().to_string();
            assert!(problem.starts_with(said), "{query}: {problem}");
        }
        assert!(parse::<Page>("limit=1000&cursor=a%20b").is_ok_and(|page| page.cursor.as_deref() == Some("a b")));
    }
}
