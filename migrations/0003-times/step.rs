//! Format 2 to 3: what is kept for a time bears its time: events of the log, counts of stanzas that brought an account down,
//! remembered answers. Before, the time stood in the JSON of events and answers, and nowhere for counts.

use crate::base::time::Timestamp;
use crate::storage::kinds::kind;
use crate::storage::migrate::Step;

pub const STEP: Step = Step {
    to: 3,
    name: "0003-times",
    what: "events, remembered answers and counts of bad stanzas bear their time",
    kinds: &[kind::EVENT.code(), kind::SERVER_IDEMPOTENCY.code(), kind::POISON.code()],
    row: |kind, old, now| {
        let (&1, rest) = old.split_first()? else { return None };
        let at = match kind {
            0x06 => time_in(rest.get(1 + usize::from(*rest.first()?)..)?, "at")?,
            0x46 => time_in(rest, "at")?,
            _ => now,
        };
        let at = at.0.to_be_bytes();
        Some(match kind {
            // The count stands before the time, where it stood.
            0x08 => [&[2], rest, &at[..]].concat(),
            _ => [&[2], &at[..], rest].concat(),
        })
    },
};

/// The time under this name in a JSON object: a text (RFC 3339), or milliseconds since 1970.
fn time_in(json: &[u8], name: &str) -> Option<Timestamp> {
    let value: serde_json::Value = serde_json::from_slice(json).ok()?;
    let at = value.get(name)?;
    at.as_u64().map(Timestamp).or_else(|| Timestamp::parse(at.as_str()?))
}
