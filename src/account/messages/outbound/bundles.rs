//! Prekey bundles: fetched for devices that we have no session with (`wire-protocol.md` 1.10).

use super::fanout::without_session;
use super::queue::{Outbox, Stage};
use crate::account::directory::addresses::protocol_addresses;
use crate::account::directory::trust::{self, Offered};
use crate::account::error::AccountError;
use crate::account::messages::requests::Request;
use crate::account::turn::Turn;
use crate::account::turn::requests::{Requests, iq};
use crate::wire::prekeys::{FetchedBundle, read_user};
use crate::wire::{Jid, Node};
use std::collections::{HashMap, HashSet};

/// The most bundles of one fetch: each begins a session, and other accounts' turns run between two fetches.
const MAX_BUNDLES: usize = 32;

/// Fetches the prekeys of those devices that we have no session with. False when there are none.
pub(super) async fn fetch(
    turn: &mut Turn<'_>,
    requests: &mut Requests<Request>,
    seq: u64,
    devices: &[Jid],
) -> Result<bool, AccountError> {
    let mut missing = without_session(turn, devices).await?;
    if missing.is_empty() {
        return Ok(false);
    }
    missing.truncate(MAX_BUNDLES);
    let users = missing.iter().map(|device| Node::new("user").attr("jid", device));
    let fetch = iq("encrypt", "get").child(Node::new("key").children(users));
    requests.send(turn, Request::Bundles { seq, devices: missing }, fetch);
    Ok(true)
}

/// Sets up sessions from the fetched bundles. Devices without a usable bundle are unreachable for this message.
pub(in crate::account::messages) async fn on_fetched(
    turn: &mut Turn<'_>,
    outbox: &mut Outbox,
    seq: u64,
    asked: &[Jid],
    iq: &Node,
) -> Result<(), AccountError> {
    let fetched: Vec<FetchedBundle> = iq.require_child("list")?.all("user").map(read_user).collect::<Result<_, _>>()?;
    let mut offered = Vec::new();
    for FetchedBundle { device, result } in fetched {
        match result {
            Ok((bundle, device_identity)) => offered.push(Offered { device, bundle, device_identity }),
            Err(why) => {
                tracing::debug!(account = %turn.ctx.id, device = %device.redacted(), %why, "no prekeys");
            }
        }
    }
    let (mut usable, mut devices) = (Vec::new(), Vec::new());
    let mut unreachable: HashSet<Jid> = asked.iter().cloned().collect();
    for (device, verified) in trust::verify_bundles(turn, offered).await? {
        match verified {
            Ok(bundle) => {
                unreachable.remove(&device);
                devices.push(device);
                usable.push(bundle);
            }
            Err(reason) => {
                tracing::warn!(account = %turn.ctx.id, device = %device.redacted(), reason, "prekeys refused");
            }
        }
    }
    let addresses = protocol_addresses(turn, &devices).await?;
    let mut by_address: HashMap<_, _> = addresses.iter().cloned().zip(devices).collect();
    let (bundles, now) = (addresses.into_iter().zip(usable).collect(), turn.now);
    let done = turn.sessions(move |sessions| sessions.establish(bundles, now)).await?;
    for device in done.changed.iter().filter_map(|address| by_address.get(address)) {
        trust::identity_changed(turn, device).await?;
    }
    for (address, error) in done.refused {
        tracing::warn!(account = %turn.ctx.id, %address, %error, "session could not be set up");
        // A second fetch would return the same bundle.
        unreachable.extend(by_address.remove(&address));
    }
    if let Some(entry) = outbox.entries.get_mut(&seq) {
        entry.unreachable.extend(unreachable);
        entry.stage = Stage::Queued;
    }
    Ok(())
}
