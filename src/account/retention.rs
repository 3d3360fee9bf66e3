//! Retention and erasure: records are removed by age, and of one contact on request, a page of rows in a turn.
//!
//! Invariant: queued messages, sessions, identities and keys are never removed by age.

use super::address::Contact;
use super::error::AccountError;
use super::features::Features;
use super::settings::Retention;
use super::turn::Turn;
use super::turn::feature::AgingKind;
use super::turn::idempotency::IdempotencyRecord;
use crate::base::counts::Counts;
use crate::base::time::Timestamp;
use crate::storage::kind;
use crate::wire::Jid;
use serde::Serialize;

/// The most rows that one turn reads.
const PAGE: usize = 256;

/// The frame's own kinds.
const FRAME: [AgingKind; 3] = [kind::INBOX.aging(), kind::IDEMPOTENCY.aging(), kind::POISON.aging()];

fn kind_at(stage: usize) -> Option<AgingKind> {
    Features::aging().chain(FRAME).nth(stage)
}

/// Cursor of a walk over all kinds of records: where the next page begins.
#[derive(Debug, Clone, Default)]
struct Cursor {
    stage: usize,
    after: Option<Vec<u8>>,
}

/// Walks over one page: removes each row that `remove` selects. Returns the next page's cursor.
fn walk(
    turn: &mut Turn<'_>,
    cursor: &Cursor,
    mut remove: impl FnMut(AgingKind, &[u8]) -> Result<bool, AccountError>,
) -> Result<Option<Cursor>, AccountError> {
    let Some(kind) = kind_at(cursor.stage) else { return Ok(None) };
    let page = turn.ctx.store.page(kind, cursor.after.as_deref(), PAGE)?;
    for (key, value) in &page {
        if remove(kind, value)? {
            turn.delete(kind, key.as_slice());
        }
    }
    Ok(Some(match page.last() {
        Some((last, _)) if page.len() == PAGE => Cursor { stage: cursor.stage, after: Some(last.clone()) },
        _ => Cursor { stage: cursor.stage + 1, after: None },
    }))
}

/// The daily sweep.
#[derive(Debug, Default)]
pub(super) struct Sweep(Cursor);

impl Sweep {
    /// Removes expired records of the next page. False when the sweep is complete.
    pub(super) fn next_page(&mut self, features: &Features, turn: &mut Turn<'_>) -> Result<bool, AccountError> {
        let (limits, now) = (turn.ctx.settings.retention, turn.now);
        let next =
            walk(
                turn,
                &self.0,
                |kind, value| Ok(expires(features, kind, value, &limits)?.is_some_and(|at| at <= now)),
            )?;
        let more = next.is_some();
        self.0 = next.unwrap_or_default();
        Ok(more)
    }
}

fn expires(
    features: &Features,
    kind: AgingKind,
    value: &[u8],
    limits: &Retention,
) -> Result<Option<Timestamp>, AccountError> {
    if kind == kind::IDEMPOTENCY.aging() {
        return Ok(Some(IdempotencyRecord::decode(value)?.expires()));
    }
    if FRAME.contains(&kind) {
        // The value of these rows ends with the time of the record.
        return Ok(value.last_chunk().map(|at| Timestamp(u64::from_be_bytes(*at)).plus(limits.inbox)));
    }
    features.expires(kind, value, limits)
}

/// One step of erasing a contact. Sessions and addresses go last: an erasure that is cut short is repeated by the same request.
#[derive(Debug)]
pub struct ErasePage {
    contact: Jid,
    cursor: Cursor,
}

/// The result of one step.
#[derive(Debug, Serialize)]
pub struct Erased {
    /// The contact's addresses.
    pub addresses: Vec<String>,
    pub counts: Counts,
    /// The next step, if any.
    #[serde(skip)]
    pub next: Option<Box<ErasePage>>,
}

impl ErasePage {
    /// The first step. Events are the committer's to erase, by the addresses of the result.
    pub fn first(contact: &Contact) -> Self {
        Self { contact: contact.0.bare(), cursor: Cursor::default() }
    }

    pub(super) async fn erase(self, features: &mut Features, turn: &mut Turn<'_>) -> Result<Erased, AccountError> {
        let (asked, mut counts) = (self.contact.clone(), Counts::default());
        let addresses = turn.devices(move |devices| devices.addresses(&asked)).await?;
        let names: Vec<String> = addresses.iter().map(Jid::to_string).collect();
        let next = walk(turn, &self.cursor, |kind, value| {
            let concerned = concerns(features, kind, value, &names)?;
            concerned.iter().for_each(|name| counts.add(name, 1));
            Ok(concerned.is_some())
        })?;
        if next.is_none() {
            features.erase(turn, &addresses, &mut counts).await?;
        }
        let next = next.map(|cursor| Box::new(Self { contact: self.contact, cursor }));
        Ok(Erased { addresses: names, counts, next })
    }
}

fn concerns(
    features: &Features,
    kind: AgingKind,
    value: &[u8],
    names: &[String],
) -> Result<Option<&'static str>, AccountError> {
    if kind == kind::IDEMPOTENCY.aging() {
        let record = IdempotencyRecord::decode(value)?;
        let concerned = record.chat().is_some_and(|chat| names.iter().any(|name| name == chat));
        return Ok(concerned.then_some("remembered_answers"));
    }
    if FRAME.contains(&kind) { Ok(None) } else { features.concerns(kind, value, names) }
}
