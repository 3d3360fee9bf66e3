//! One attempt to link: QR codes, a pairing code and a passkey ceremony on the connection of a device that is not linked yet.

use super::pairing_code::CodeLinking;
use super::passkey::Ceremony;
use crate::account::turn::Turn;
use crate::account::view::{AccountView, LinkCode};
use crate::base::secret::Secret;
use crate::base::time::Monotonic;
use crate::wire::qr::QrCode;
use crate::wire::{Node, WireError};
use std::collections::VecDeque;
use std::time::Duration;

const FIRST_CODE: Duration = Duration::from_secs(60);
const NEXT_CODE: Duration = Duration::from_secs(20);
/// How long the phone may take to sign once it has our secret.
const SUCCESS_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Attempt {
    /// Unused references for QR codes.
    left: VecDeque<String>,
    /// The reference that is shown, and its code.
    shown: Option<String>,
    qr: Option<LinkCode>,
    /// When the next reference is shown.
    next_at: Option<Monotonic>,
    pub(super) code: Option<CodeLinking>,
    pub(super) passkey: Option<Ceremony>,
    /// Deadline of the phone's signature, set once it has our secret.
    success_until: Option<Monotonic>,
}

/// Every QR code and pairing code has expired.
pub(super) struct Expired;

impl Attempt {
    /// Reads `<pair-device>`: references for QR codes.
    pub(super) fn read(pair_device: &Node) -> Result<Self, WireError> {
        let left = pair_device
            .all("ref")
            .map(|node| String::from_utf8(node.content_bytes().to_vec()))
            .collect::<Result<VecDeque<_>, _>>()
            .map_err(|_| WireError::Malformed { what: "linking reference" })?;
        Ok(Self { left, ..Self::default() })
    }

    pub(super) fn deadline(&self) -> Option<Monotonic> {
        let code = self.code.as_ref().map(CodeLinking::deadline);
        let passkey = self.passkey.as_ref().and_then(Ceremony::deadline);
        [self.next_at, code, passkey, self.success_until].into_iter().flatten().min()
    }

    pub(super) fn show(&self, view: &mut AccountView) {
        view.code = self.qr.clone();
        view.pairing_code = self.code.as_ref().and_then(|code| code.shown.clone());
        if let Some(ceremony) = &self.passkey {
            ceremony.show(view);
        }
    }

    /// True when a pairing code can be made: the passkey ceremony and the phone's signature are not under way.
    pub(super) fn takes_codes(&self) -> bool {
        self.passkey.is_none() && self.success_until.is_none()
    }

    pub(super) fn is_signing(&self) -> bool {
        self.success_until.is_some()
    }

    pub(super) fn show_first_code(&mut self, turn: &Turn<'_>) -> Result<(), Expired> {
        self.show_next_code(turn, FIRST_CODE)
    }

    fn show_next_code(&mut self, turn: &Turn<'_>, lifetime: Duration) -> Result<(), Expired> {
        self.shown = self.left.pop_front();
        if self.shown.is_some() {
            self.next_at = Some(turn.steady.plus(lifetime));
        } else if self.code.is_some() {
            // The pairing code may still be typed.
            self.next_at = None;
        } else {
            return Err(Expired);
        }
        self.draw_code(turn, lifetime);
        Ok(())
    }

    /// Renders the QR code of the shown reference and the current secret.
    fn draw_code(&mut self, turn: &Turn<'_>, lifetime: Duration) {
        let device = &turn.ctx.device;
        self.qr = self.shown.clone().map(|reference| {
            let code = QrCode {
                reference,
                noise: *device.noise.public(),
                identity: device.local.identity.public(),
                adv_secret: device.adv_secret.clone(),
            };
            LinkCode { text: code.to_text(), expires_at: turn.now.plus(lifetime) }
        });
    }

    /// Renders the QR code again: the device has a new secret.
    pub(super) fn redraw(&mut self, turn: &Turn<'_>) {
        let left = self.next_at.map_or(NEXT_CODE, |at| at.after(turn.steady));
        self.draw_code(turn, left);
    }

    /// Hides the QR codes: another way of linking is under way.
    pub(super) fn hide_codes(&mut self) {
        (self.next_at, self.shown, self.qr) = (None, None, None);
        self.left.clear();
    }

    /// Waits for pair-success: the phone has this secret.
    pub(super) fn await_success(&mut self, turn: &mut Turn<'_>, adv_secret: Secret<32>) {
        turn.ctx.device.adv_secret = adv_secret;
        turn.put_device();
        self.success_until = Some(turn.steady.plus(SUCCESS_TIMEOUT));
    }

    pub(super) fn stop_waiting(&mut self) {
        self.success_until = None;
    }

    /// Shows the next code and checks deadlines. `Err` is the reason of the failure.
    pub(super) fn tick(&mut self, turn: &Turn<'_>) -> Result<(), &'static str> {
        let now = turn.steady;
        if self.success_until.is_some_and(|until| until <= now) {
            return Err("link_no_answer");
        }
        if self.next_at.is_some_and(|at| at <= now) {
            self.show_next_code(turn, NEXT_CODE).map_err(|Expired| "link_expired")?;
        }
        if self.code.take_if(|code| code.deadline() <= now).is_some() && self.shown.is_none() && self.takes_codes() {
            return Err("link_expired");
        }
        match self.passkey.as_ref().and_then(|ceremony| ceremony.expired(now)) {
            Some(reason) => Err(reason),
            None => Ok(()),
        }
    }
}
