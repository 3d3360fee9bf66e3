//! App state keys and a short history from a phone to its new companion (`sandbox-service.md` 9).

use super::content::protocol;
use crate::sandbox::world::ids::DeviceId;
use crate::sandbox::world::registry::account::Account;
use crate::sandbox::world::row::Row;
use crate::sandbox::world::state::World;
use crate::wire::message::new_message_id;
use crate::wire::proto::{HistorySync, Message, PhoneNumberToLidMapping, history_sync, message as fields};
use crate::wire::{Jid, Node};
use flate2::Compression;
use flate2::write::ZlibEncoder;
use prost::Message as _;
use std::io::Write as _;

const HISTORY_SYNC_NOTIFICATION: i32 = 5;
const APP_STATE_SYNC_KEY_SHARE: i32 = 6;
const INITIAL_BOOTSTRAP: i32 = 0;
const RECENT: i32 = 3;
const PUSH_NAME: i32 = 4;

impl World {
    pub(in crate::sandbox::world) fn welcome(&mut self, device: &DeviceId) {
        let Some(companion) = self.registry.companion_mut(device) else { return };
        if std::mem::replace(&mut companion.welcomed, true) {
            return;
        }
        self.touch(|| Row::Companion(device.clone()));
        let Some(account) = self.registry.account(&device.number) else { return };
        let messages = [key_share(account, self.now.secs())]
            .into_iter()
            .chain([INITIAL_BOOTSTRAP, RECENT, PUSH_NAME].map(|kind| history(account, kind)))
            .collect::<Vec<_>>();
        for message in messages {
            self.send_to_companion(device, &message);
        }
    }

    /// Sends the app state keys to a companion that has requested them.
    pub(super) fn share_app_state_keys(&mut self, number: &str, companion: &Jid) {
        let device = DeviceId { number: number.to_owned(), device: companion.device() };
        let Some(account) = self.registry.account(number) else { return };
        let message = key_share(account, self.now.secs());
        self.send_to_companion(&device, &message);
    }

    /// Sends a message to one of the phone's companions.
    fn send_to_companion(&mut self, device: &DeviceId, message: &Message) {
        let number = &device.number;
        let Some(target) = self.registry.account(number).map(|account| account.pn.with_device(device.device)) else {
            return;
        };
        let Some(enc) = self.phone_encrypts(number, device, message) else { return };
        let id = new_message_id(self.now, number, &mut self.rng);
        let stanza = Node::new("message")
            .attr("to", target.clone())
            .attr("id", id.to_string())
            .attr("type", "text")
            .attr("category", "peer")
            .child(enc);
        if let Some(account) = self.registry.account_mut(number) {
            account.phone.remember_sent(id.as_str(), &target, message);
        }
        self.route_message(&DeviceId::phone(number), &stanza);
    }
}

fn key_share(account: &Account, now_secs: u64) -> Message {
    let key = fields::AppStateSyncKey {
        key_id: Some(fields::AppStateSyncKeyId { key_id: Some(vec![0, 0, 0, 0, 0, 1]) }),
        key_data: Some(fields::AppStateSyncKeyData {
            key_data: Some(account.phone.app_state_key.to_vec()),
            fingerprint: Some(fields::AppStateSyncKeyFingerprint {
                raw_id: Some(account.raw_id),
                current_index: Some(account.last_key_index),
                device_indexes: account.companions.values().map(|companion| companion.keys.key_index).collect(),
            }),
            timestamp: Some(i64::try_from(now_secs).unwrap_or_default()),
        }),
    };
    protocol(fields::ProtocolMessage {
        r#type: Some(APP_STATE_SYNC_KEY_SHARE),
        app_state_sync_key_share: Some(fields::AppStateSyncKeyShare { keys: vec![key] }),
        ..fields::ProtocolMessage::default()
    })
}

fn history(account: &Account, kind: i32) -> Message {
    let name = history_sync::Pushname { id: Some(account.pn.to_string()), pushname: Some(account.name.clone()) };
    let mapping =
        PhoneNumberToLidMapping { pn_jid: Some(account.pn.to_string()), lid_jid: Some(account.lid.to_string()) };
    let history = HistorySync {
        sync_type: kind,
        progress: Some(100),
        pushnames: vec![name],
        phone_number_to_lid_mappings: vec![mapping],
        nct_salt: Some(account.phone.app_state_key.to_vec()),
        ..HistorySync::default()
    };
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
    // Writing into memory cannot fail; a failure would mean an empty history.
    let compressed = zlib.write_all(&history.encode_to_vec()).and_then(|()| zlib.finish()).unwrap_or_default();
    protocol(fields::ProtocolMessage {
        r#type: Some(HISTORY_SYNC_NOTIFICATION),
        history_sync_notification: Some(fields::HistorySyncNotification {
            sync_type: Some(kind),
            chunk_order: Some(1),
            progress: Some(100),
            initial_hist_bootstrap_inline_payload: Some(compressed),
        }),
        ..fields::ProtocolMessage::default()
    })
}
