//! The contracts of `api.md` that hold for every route.

use crate::served::Served;
use reqwest::header::{ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use syn::visit::{self, Visit};
use wharf::account::event_types;
use wharf::app::Parts;

const METHODS: [&str; 6] = ["get", "put", "post", "delete", "options", "patch"];

/// Compares with `tests/golden/openapi.json`; `WHARF_GOLDEN=write` writes the file, to be reviewed as a change of the interface.
#[actix_web::test]
async fn openapi_document_equals_the_golden_file() {
    let it = Served::start().await;
    let answer = it.client.http.get(format!("{}/openapi.json", it.client.wharf)).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/json");
    let document = answer.text().await.unwrap() + "\n";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/openapi.json");
    if std::env::var("WHARF_GOLDEN").is_ok_and(|mode| mode == "write") {
        std::fs::write(path, &document).unwrap();
    }
    let golden = std::fs::read_to_string(path).unwrap_or_default();
    let changed = document.lines().zip(golden.lines()).find(|(new, old)| new != old);
    assert!(
        document == golden,
        "the interface has changed: WHARF_GOLDEN=write writes it; first difference: {changed:?}"
    );
}

#[actix_web::test]
async fn operation_ids_are_unique_and_every_reference_resolves() {
    let it = Served::start().await;
    let document = it.client.get("/openapi.json").await;
    let mut ids: Vec<&str> = Vec::new();
    for (_, _, operation) in operations(&document) {
        ids.push(operation["operationId"].as_str().unwrap());
        let tag = operation["tags"][0].as_str().unwrap();
        assert!(ids.last().unwrap().starts_with(&format!("{tag}_")), "{operation}");
    }
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count);
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"#/").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(document.pointer(&format!("/{reference}")).is_some(), "{reference}");
    }
}

fn operations(document: &Value) -> Vec<(&str, &str, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    let all = paths.iter().flat_map(|(path, item)| {
        METHODS.iter().filter_map(move |method| Some((path.as_str(), *method, item.get(method)?)))
    });
    all.collect()
}

/// The path of a template, with values that name nothing.
fn filled(template: &str) -> String {
    ["account", "contact", "message", "token", "webhook"]
        .iter()
        .fold(template.to_owned(), |path, name| path.replace(&format!("{{{name}}}"), "unknown"))
}

#[actix_web::test]
async fn every_documented_operation_is_served() {
    let it = Served::start().await;
    let document = it.client.get("/openapi.json").await;
    let operations = operations(&document);
    assert!(operations.len() > 30, "{}", operations.len());
    for (template, method, _) in operations {
        let path = filled(template);
        assert!(!path.contains('{'), "{path}");
        let answer = it.client.try_send(it.client.request(&method.to_uppercase(), &path)).await.unwrap();
        let code = answer.json()["code"].clone();
        assert!(code != "not_found" && code != "method_not_allowed", "{method} {path}: {code}");
    }
}

#[actix_web::test]
async fn unknown_method_of_a_known_path_is_405_with_allow() {
    let it = Served::start().await;
    let document = it.client.get("/openapi.json").await;
    for (template, item) in document["paths"].as_object().unwrap() {
        let known: Vec<String> =
            METHODS.iter().filter(|method| item.get(method).is_some()).map(|method| method.to_uppercase()).collect();
        for method in METHODS.map(str::to_uppercase).iter().filter(|method| !known.contains(method)) {
            let path = filled(template);
            let answer = it.client.request(method, &path).send().await.unwrap();
            assert_eq!(answer.status(), 405, "{method} {path}");
            assert_eq!(answer.headers()["content-type"], "application/problem+json");
            let allowed: Vec<String> =
                answer.headers()[ALLOW].to_str().unwrap().split(", ").map(str::to_owned).collect();
            assert_eq!(allowed, known, "{method} {path}");
            let problem: Value = answer.json().await.unwrap();
            assert_eq!(problem["code"], "method_not_allowed");
        }
    }
    let unknown = it.client.request("PUT", "/v1/nothing").send().await.unwrap();
    assert_eq!((unknown.status().as_u16(), unknown.headers().get(ALLOW)), (404, None));
}

#[actix_web::test]
async fn malformed_input_is_refused_by_the_path_of_its_field() {
    let it = Served::start().await;
    for (method, path, body, code, said) in [
        ("POST", "/v1/accounts/a/messages", json!({ "to": "1", "text": { "body": 5 } }), "invalid_body", "text.body: "),
        ("POST", "/v1/accounts/a/messages", json!({ "to": "1", "text": { "bdy": "" } }), "invalid_body", "text.bdy: "),
        ("POST", "/v1/accounts/a/messages", json!({ "to": "1", "mentions": [1] }), "invalid_body", "mentions[0]: "),
        ("POST", "/v1/webhooks", json!({ "url": "http://a", "headers": { "x": 1 } }), "invalid_body", "headers.x: "),
        ("POST", "/v1/webhooks", json!({}), "invalid_body", "the body: missing field `url`"),
        ("PATCH", "/v1/accounts/a", json!({ "colour": 1 }), "invalid_body", "colour: unknown field"),
        ("GET", "/v1/accounts?limit=0", json!(null), "invalid_query", "limit: must be 1 to 1000"),
        ("GET", "/v1/events?limit=1001", json!(null), "invalid_query", "limit: must be 1 to 1000"),
        ("GET", "/v1/events?wait=long", json!(null), "invalid_query", "wait: "),
        ("GET", "/v1/events?since=1", json!(null), "invalid_query", "since: unknown field"),
    ] {
        let mut request = it.client.request(method, path);
        if !body.is_null() {
            request = request.json(&body);
        }
        let answer = it.client.try_send(request).await.unwrap();
        let problem = answer.json();
        assert_eq!((answer.status, &problem["code"]), (400, &json!(code)), "{method} {path}: {problem}");
        assert!(problem["detail"].as_str().unwrap().starts_with(said), "{method} {path}: {problem}");
    }
}

#[actix_web::test]
async fn unknown_event_types_are_refused_with_the_list_of_known_ones() {
    let it = Served::start().await;
    let webhook = |events: Value| json!({ "url": "http://127.0.0.1:9/", "events": events });
    for (method, path, body, said) in [
        (
            "POST",
            "/v1/webhooks",
            webhook(json!(["message.recieved"])),
            "events[0]: there is no event type \"message.rec",
        ),
        (
            "POST",
            "/v1/webhooks",
            webhook(json!(["message.*", "messages.*"])),
            "events[1]: there is no event type \"mess",
        ),
        ("POST", "/v1/webhooks", webhook(json!([""])), "events[0]: there is no event type \"\""),
        ("GET", "/v1/events?type=poll", json!(null), "type: there is no event type \"poll\""),
    ] {
        let answer = it.client.try_send(it.client.request(method, path).json(&body)).await.unwrap();
        let problem = answer.json();
        assert_eq!((answer.status, &problem["code"]), (400, &json!("invalid_field")), "{path} {body}: {problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.starts_with(said), "{path} {body}: {detail}");
        assert!(event_types().iter().all(|known| detail.contains(known)), "{detail}");
    }
    for known in event_types().iter().chain(&["*", "message.*", "account.*"]) {
        assert_eq!(it.client.post("/v1/webhooks", webhook(json!([known]))).await.status, 201, "{known}");
        it.client.get(&format!("/v1/events?type={known}")).await;
    }
}

/// Text literals of the sources that look like an event type.
#[derive(Default)]
struct Literals(BTreeSet<String>);

impl<'ast> Visit<'ast> for Literals {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if item.attrs.is_empty() {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_lit_str(&mut self, literal: &'ast syn::LitStr) {
        let text = literal.value();
        let subjects =
            ["account", "call", "chat", "contact", "group", "identity", "message", "poll", "presence", "reaction"];
        let is_word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase());
        if text.split_once('.').is_some_and(|(subject, rest)| subjects.contains(&subject) && is_word(rest)) {
            self.0.insert(text);
        }
    }
}

fn collect(folder: &Path, found: &mut Literals) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else {
            found.visit_file(&syn::parse_file(&std::fs::read_to_string(&path).unwrap()).unwrap());
        }
    }
}

#[test]
fn known_event_types_are_those_that_accounts_emit() {
    let mut found = Literals::default();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/account"), &mut found);
    assert_eq!(found.0, event_types().iter().map(|&known| known.to_owned()).collect());
}

const PAGE: &str = "https://bots.example";

fn from_page(it: &Served, method: &str, origin: &str) -> reqwest::RequestBuilder {
    let request = it.client.request(method, "/v1/accounts").header("origin", origin);
    request.header("access-control-request-method", "POST").header("access-control-request-headers", "authorization")
}

#[actix_web::test]
async fn cors_is_off_by_default() {
    let it = Served::start().await;
    let preflight = from_page(&it, "OPTIONS", PAGE).send().await.unwrap();
    assert_eq!((preflight.status().as_u16(), preflight.headers().get(ACCESS_CONTROL_ALLOW_ORIGIN)), (405, None));
    let answer = from_page(&it, "GET", PAGE).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers().get(ACCESS_CONTROL_ALLOW_ORIGIN)), (200, None));
}

#[actix_web::test]
async fn pages_of_the_configured_origins_alone_may_call_the_interface() {
    let it = Served::configured(Parts::default(), |config| config.http.cors_origins = vec![PAGE.to_owned()]).await;
    let preflight = from_page(&it, "OPTIONS", PAGE).send().await.unwrap();
    assert_eq!(preflight.status(), 200);
    assert_eq!(&preflight.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], PAGE);
    let answer = from_page(&it, "GET", PAGE).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(&answer.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], PAGE);
    for method in ["OPTIONS", "GET"] {
        let answer = from_page(&it, method, "https://other.example").send().await.unwrap();
        assert_eq!(answer.headers().get(ACCESS_CONTROL_ALLOW_ORIGIN), None, "{method}");
    }
    let unknown = it.client.request("PUT", "/v1/accounts").header("origin", PAGE).send().await.unwrap();
    assert_eq!(unknown.status(), 405);
    let link =
        it.client.http.request(reqwest::Method::OPTIONS, format!("{}/link/passkey/x/assertion", it.client.wharf));
    let preflight = link.header("origin", "https://web.whatsapp.com").send().await.unwrap();
    assert_eq!(&preflight.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], "https://web.whatsapp.com");
}

#[actix_web::test]
async fn headers_that_frame_or_sign_a_delivery_are_refused() {
    let it = Served::start().await;
    for name in [
        "Host",
        "Content-Length",
        "content-type",
        "Transfer-Encoding",
        "connection",
        "webhook-id",
        "X-Hub-Signature-256",
        "a b",
    ] {
        let body = json!({ "url": "http://127.0.0.1:9/", "headers": { name: "x" } });
        let problem = it.client.post("/v1/webhooks", body).await.json();
        assert_eq!(problem["code"], "invalid_field", "{name}: {problem}");
        assert!(problem["detail"].as_str().unwrap().starts_with("headers: "), "{problem}");
    }
    let body = json!({ "url": "http://127.0.0.1:9/", "headers": { "authorization": "Bearer x" } });
    assert_eq!(it.client.post("/v1/webhooks", body).await.status, 201);
}
