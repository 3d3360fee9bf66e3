//! Questions to the service that wait for their answer: what to do with it, and until when.

use crate::account::linking::{CodeRequest, Question};
use crate::account::messages::resend::Resend;
use crate::account::prekeys::Offer;
use crate::base::time::Monotonic;
use crate::signal::SignedPreKeyId;
use crate::wire::Jid;
use std::collections::HashMap;
use std::time::Duration;

/// How long an answer may take.
pub(in crate::account) const IQ_TIMEOUT: Duration = Duration::from_secs(75);

/// Why we asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::account) enum Purpose {
    /// Devices and LIDs for the outgoing message with this sequence number.
    Usync {
        seq: u64,
    },
    /// Prekeys for it, of these devices.
    Bundles {
        seq: u64,
        devices: Vec<Jid>,
    },
    /// What the service knows of the group that this message is for.
    Group {
        seq: u64,
        group: Jid,
    },
    /// Prekeys of a device that asks for a message again.
    Resend(Resend),
    /// Devices of users who have written from ones that we did not know.
    Refresh(Vec<Jid>),
    /// How many of our prekeys the service has left.
    PreKeyCount,
    /// A batch.
    PreKeyUpload(Offer),
    /// A new signed prekey.
    Rotate(SignedPreKeyId),
    /// Which prekeys the service lists, to replace them all.
    Digest,
    /// What the service holds of our keys, to compare it.
    DigestCheck,
    /// The removal of this device; the command's token.
    Logout(u64),
    /// A code to type into the phone.
    CodeHello(CodeRequest),
    /// The proof that it was our code.
    CodeFinish,
    /// A step of linking with a passkey.
    Passkey(Question),
    /// A token of ours for a contact, with its time in seconds.
    GiveToken {
        contact: Jid,
        at: u64,
    },
    /// The last step of a login.
    Active,
    Ping,
}

/// What has not been answered.
#[derive(Debug, Default)]
pub(in crate::account) struct Pending {
    waiting: HashMap<String, (Purpose, Monotonic)>,
    next: u64,
    prefix: String,
}

impl Pending {
    /// Ids begin with `prefix`, so that those of two connections differ.
    pub(in crate::account) fn new(prefix: String) -> Self {
        Self { waiting: HashMap::new(), next: 0, prefix }
    }

    /// An id for a new question.
    pub(in crate::account) fn ask(&mut self, purpose: Purpose, now: Monotonic) -> String {
        self.next += 1;
        let id = format!("{}-{}", self.prefix, self.next);
        self.waiting.insert(id.clone(), (purpose, now.plus(IQ_TIMEOUT)));
        id
    }

    pub(in crate::account) fn answered(&mut self, id: &str) -> Option<Purpose> {
        self.waiting.remove(id).map(|(purpose, _)| purpose)
    }

    /// Takes out what was asked too long ago.
    pub(in crate::account) fn expired(&mut self, now: Monotonic) -> Vec<Purpose> {
        self.waiting.extract_if(|_, (_, deadline)| *deadline <= now).map(|(_, (purpose, _))| purpose).collect()
    }

    /// Takes out what is of no use any more.
    pub(in crate::account) fn take_all(&mut self, wanted: impl Fn(&Purpose) -> bool) -> Vec<Purpose> {
        self.waiting.extract_if(|_, (purpose, _)| wanted(purpose)).map(|(_, (purpose, _))| purpose).collect()
    }

    pub(in crate::account) fn is_waiting(&self, wanted: impl Fn(&Purpose) -> bool) -> bool {
        self.waiting.values().any(|(waiting, _)| wanted(waiting))
    }

    pub(in crate::account) fn deadline(&self) -> Option<Monotonic> {
        self.waiting.values().map(|(_, deadline)| *deadline).min()
    }
}
