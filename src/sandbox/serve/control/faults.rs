//! Requested faults.

use super::answer::{Answer, Problem, ask, page, parse, time};
use crate::base::time::Timestamp;
use crate::sandbox::serve::host::WorldHost;
use crate::sandbox::world::{FaultKind, NewFault, World};
use actix_web::{HttpResponse, web};
use serde::Deserialize;

pub(super) fn routes(app: &mut web::ServiceConfig) {
    app.route("/faults", web::post().to(add))
        .route("/faults", web::get().to(list))
        .route("/faults", web::delete().to(clear));
}

/// A kind with its own field, if it has one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    kind: Kind,
    ms: Option<u64>,
    code: Option<u16>,
    account: Option<String>,
    count: Option<u32>,
    #[serde(default, deserialize_with = "time")]
    until: Option<Timestamp>,
    seed: Option<u64>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Drop,
    Delay,
    Duplicate,
    Reorder,
    Disconnect,
    Refuse,
    StaleDevices,
    EmptyPrekeys,
    Corrupt,
    Pull,
    Hold,
    RefusePrekeys,
    RefuseDigest,
    Swallow,
    StreamError,
}

impl Body {
    fn kind(&self) -> Result<FaultKind, Problem> {
        Ok(match (self.kind, self.ms, self.code) {
            (Kind::Delay, Some(ms), None) => FaultKind::Delay { ms },
            (Kind::Refuse, None, Some(code)) => FaultKind::Refuse { code },
            (Kind::RefusePrekeys, None, Some(code)) => FaultKind::RefusePrekeys { code },
            (Kind::RefuseDigest, None, Some(code)) => FaultKind::RefuseDigest { code },
            (Kind::StreamError, None, Some(code)) => FaultKind::StreamError { code },
            (Kind::Drop, None, None) => FaultKind::Drop,
            (Kind::Duplicate, None, None) => FaultKind::Duplicate,
            (Kind::Reorder, None, None) => FaultKind::Reorder,
            (Kind::Disconnect, None, None) => FaultKind::Disconnect,
            (Kind::StaleDevices, None, None) => FaultKind::StaleDevices,
            (Kind::EmptyPrekeys, None, None) => FaultKind::EmptyPrekeys,
            (Kind::Corrupt, None, None) => FaultKind::Corrupt,
            (Kind::Pull, None, None) => FaultKind::Pull,
            (Kind::Hold, None, None) => FaultKind::Hold,
            (Kind::Swallow, None, None) => FaultKind::Swallow,
            (Kind::Delay, ..) => return Err(Problem::body("delay needs ms, and no code")),
            (Kind::Refuse | Kind::RefusePrekeys | Kind::RefuseDigest | Kind::StreamError, ..) => {
                return Err(Problem::body("this kind of fault needs a code, and no ms"));
            }
            _ => return Err(Problem::body("this kind of fault has neither ms nor code")),
        })
    }
}

async fn add(host: web::Data<WorldHost>, body: web::Bytes) -> Answer {
    let body: Body = parse(&body)?;
    let (kind, seed) = (body.kind()?, body.seed.unwrap_or_default());
    let fault = NewFault { kind, account: body.account, count: body.count, until: body.until, seed };
    let added = ask(&host, move |world| world.add_fault(fault)).await?;
    Ok(HttpResponse::Created().json(added))
}

async fn list(host: web::Data<WorldHost>) -> Answer {
    page(ask(&host, |world| world.faults()).await?)
}

async fn clear(host: web::Data<WorldHost>) -> Answer {
    ask(&host, World::clear_faults).await?;
    Ok(HttpResponse::NoContent().finish())
}
