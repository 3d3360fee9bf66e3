//! Linking to a phone: by QR code ([`attempt`]), by an eight-character code ([`pairing_code`]), with a passkey ([`passkey`])
//! (`wire-protocol.md` 1.6; `linking-and-tokens.md` 1, 5).
//!
//! Invariant: the link is stored before it is confirmed to the service. An attempt ends with its connection.

mod attempt;
mod command;
mod pairing;
mod pairing_code;
mod passkey;

pub use command::{Command, LinkingError};
pub use passkey::{Assertion, BadAssertion};

use crate::account::error::AccountError;
use crate::account::turn::Turn;
use crate::account::turn::context::Context;
use crate::account::turn::feature::{Ack, Feature, Route};
use crate::account::turn::notice::Notice;
use crate::account::turn::reply::ReplyTo;
use crate::account::turn::requests::{Requests, Response, iq};
use crate::account::view::{AccountView, LinkCode};
use crate::base::secret::Secret;
use crate::base::time::Monotonic;
use crate::wire::passkey::PhoneIdentity;
use crate::wire::{Jid, Node};
use attempt::{Attempt, Expired};
use pairing_code::{CodeLinking, Hello};
use passkey::{Ceremony, EncryptedRequest, OtherStep, Outgoing, PasskeyRequest};

/// The phone's key agrees on no secret with ours.
const UNUSABLE_KEY: &str = "passkey_unusable_key";

/// A requested pairing code. No reply when the phone asked for a fresh one.
#[derive(Debug)]
struct CodeRequest {
    phone: Jid,
    reply: Option<ReplyTo<LinkCode, LinkingError>>,
}

#[derive(Debug)]
pub(in crate::account) enum Request {
    /// The registration of a pairing code.
    CodeHello(Option<ReplyTo<LinkCode, LinkingError>>),
    /// The proof that our code was typed.
    CodeFinish,
    Passkey(PasskeyStep),
}

/// A step of the passkey ceremony.
#[derive(Debug)]
pub(in crate::account) struct PasskeyStep(PasskeyRequest);

#[derive(Debug, Default)]
pub(in crate::account) struct Linking {
    requests: Requests<Request>,
    attempt: Option<Attempt>,
    wanted: Option<CodeRequest>,
}

impl Feature for Linking {
    type Command = Command;
    type Request = Request;
    const ROUTES: &'static [Route] = &[
        Route::child("iq", "set", "pair-device"),
        Route::child("iq", "set", "pair-success"),
        Route::kind("notification", "link_code_companion_reg"),
        Route::kind("notification", "companion_reg_refresh"),
        Route::kind("notification", "passkey_prologue_request"),
        Route::kind("notification", "crsc_continuation"),
    ];

    fn load(_: &Context) -> Result<Self, AccountError> {
        Ok(Self::default())
    }

    fn requests(&mut self) -> &mut Requests<Request> {
        &mut self.requests
    }

    async fn command(&mut self, turn: &mut Turn<'_>, command: Command) -> Result<(), AccountError> {
        match command {
            Command::PairingCode { phone, reply } => self.request_code(turn, phone.0, reply),
            Command::Passkey { assertion, reply } => {
                let answer = self.take_assertion(turn, *assertion);
                turn.reply(&reply, answer);
            }
            Command::ConfirmPasskey { reply } => {
                let answer = self.confirm_passkey(turn);
                turn.reply(&reply, answer);
            }
        }
        Ok(())
    }

    async fn response(
        &mut self,
        turn: &mut Turn<'_>,
        request: &Request,
        response: Response<'_>,
    ) -> Result<(), AccountError> {
        match (request, response) {
            (Request::CodeHello(reply), Response::Result(iq)) => {
                let answer = iq.require_child("link_code_companion_reg")?;
                let reference = answer.require_child("link_code_pairing_ref")?.content_bytes().to_vec();
                let code = self.attempt.as_mut().and_then(|attempt| attempt.code.as_mut());
                let shown = code.map(|code| code.accepted(turn, reference));
                if let Some(reply) = reply {
                    // Another way of linking may have begun meanwhile.
                    turn.reply(reply, shown.ok_or(LinkingError::NoCode(0)));
                }
            }
            (Request::CodeHello(reply), Response::Refused(code)) => self.code_refused(turn, reply.as_ref(), code),
            (Request::CodeHello(reply), Response::Missing) => self.code_refused(turn, reply.as_ref(), 0),
            (Request::CodeFinish, Response::Result(_)) => {}
            (Request::CodeFinish, _) => self.finish_refused(turn),
            (Request::Passkey(PasskeyStep(step)), Response::Result(iq)) => {
                let Some(ceremony) = self.attempt.as_mut().and_then(|attempt| attempt.passkey.as_mut()) else {
                    return Ok(());
                };
                if let Some(next) = ceremony.result(turn, *step, iq)? {
                    self.send(turn, next);
                }
            }
            (Request::Passkey(PasskeyStep(step)), Response::Refused(code)) => {
                self.fail(turn, format!("passkey_refused: {} ({code})", step.step()));
            }
            (Request::Passkey(_), Response::Missing) => self.fail(turn, "passkey_no_answer"),
        }
        Ok(())
    }

    async fn stanza(&mut self, turn: &mut Turn<'_>, node: &Node) -> Result<Ack, AccountError> {
        if node.tag == "iq" {
            if node.find("pair-device").is_some() {
                self.on_pair_device(turn, node)?;
            } else {
                self.on_pair_success(turn, node).await?;
            }
            return Ok(Ack::Own);
        }
        match node.text("type").as_deref() {
            Some("link_code_companion_reg") => self.on_code_step(turn, node)?,
            Some("companion_reg_refresh") => self.on_refresh(turn, node),
            Some("passkey_prologue_request") => self.on_passkey_required(turn, node),
            _ => self.on_passkey_continuation(turn, node)?,
        }
        Ok(Ack::Now)
    }

    async fn notice(&mut self, turn: &mut Turn<'_>, notice: &Notice) -> Result<(), AccountError> {
        if let Notice::Disconnected = notice {
            self.attempt = None;
            let waiting = self.requests.drain().into_iter().filter_map(|request| match request {
                Request::CodeHello(reply) => reply,
                _ => None,
            });
            let wanted = self.wanted.take().and_then(|request| request.reply);
            for reply in waiting.chain(wanted) {
                turn.reply(&reply, Err(LinkingError::NoCode(0)));
            }
        }
        Ok(())
    }

    async fn tick(&mut self, turn: &mut Turn<'_>) -> Result<(), AccountError> {
        if let Some(Err(reason)) = self.attempt.as_mut().map(|attempt| attempt.tick(turn)) {
            self.fail(turn, reason);
        }
        Ok(())
    }

    fn deadline(&self, _: &Context) -> Option<Monotonic> {
        self.attempt.as_ref().and_then(Attempt::deadline)
    }

    fn show(&self, _: &Context, view: &mut AccountView) {
        if let Some(attempt) = &self.attempt {
            attempt.show(view);
        }
    }
}

impl Linking {
    /// Ends the attempt. The account stays stopped until it is started again.
    fn fail(&mut self, turn: &mut Turn<'_>, reason: impl Into<String>) {
        self.attempt = None;
        turn.announce(Notice::LinkingFailed { reason: reason.into() });
    }

    fn send(&mut self, turn: &mut Turn<'_>, (request, kind, content): Outgoing) {
        self.requests.send(turn, Request::Passkey(PasskeyStep(request)), iq("md", kind).child(content));
    }

    fn on_pair_device(&mut self, turn: &mut Turn<'_>, node: &Node) -> Result<(), AccountError> {
        let mut attempt = Attempt::read(node.require_child("pair-device")?)?;
        turn.write(pairing::result_of(node));
        let shown = attempt.show_first_code(turn);
        self.attempt = Some(attempt);
        match shown {
            Ok(()) => self.begin_wanted_code(turn),
            Err(Expired) => self.fail(turn, "link_expired"),
        }
        Ok(())
    }

    async fn on_pair_success(&mut self, turn: &mut Turn<'_>, node: &Node) -> Result<(), AccountError> {
        match pairing::accept(turn, node).await {
            Ok(()) => self.attempt = None,
            Err(AccountError::Stanza(error)) => {
                tracing::warn!(account = %turn.ctx.id, %error, "linking refused");
                turn.write(pairing::refusal_of(node, &error));
                self.fail(turn, format!("linking was refused: {error}"));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// A registration refresh: the QR code gets another secret (`linking-and-tokens.md` 5), except while a phone signs with this one.
    fn on_refresh(&mut self, turn: &mut Turn<'_>, node: &Node) {
        let is_asked = ["companion_reg_refresh", "pair-device-rotate-qr"].iter().any(|it| node.find(it).is_some());
        let Some(attempt) = self.attempt.as_mut().filter(|attempt| is_asked && !attempt.is_signing()) else { return };
        turn.ctx.device.adv_secret = Secret::generate(&mut turn.ctx.rng);
        turn.put_device();
        attempt.redraw(turn);
    }

    /// Requests a pairing code for this phone. Connects first when necessary.
    fn request_code(&mut self, turn: &mut Turn<'_>, phone: Jid, reply: ReplyTo<LinkCode, LinkingError>) {
        if turn.ctx.link.logged_out {
            return turn.reply(&reply, Err(LinkingError::LoggedOut));
        }
        if turn.own().is_some() {
            return turn.reply(&reply, Err(LinkingError::AlreadyLinked));
        }
        if let Some(CodeRequest { reply: Some(earlier), .. }) = self.wanted.take() {
            turn.reply(&earlier, Err(LinkingError::NoCode(0)));
        }
        self.wanted = Some(CodeRequest { phone, reply: Some(reply) });
        turn.announce(Notice::ConnectionWanted);
        self.begin_wanted_code(turn);
    }

    /// Makes the requested code once the attempt is ready.
    fn begin_wanted_code(&mut self, turn: &mut Turn<'_>) {
        let Some(attempt) = self.attempt.as_mut().filter(|attempt| attempt.takes_codes()) else { return };
        let Some(CodeRequest { phone, reply }) = self.wanted.take() else { return };
        let (code, hello) = CodeLinking::begin(turn, phone);
        attempt.code = Some(code);
        self.requests.send(turn, Request::CodeHello(reply), iq("md", "set").child(hello));
    }

    /// The service refused a code for this phone.
    fn code_refused(&mut self, turn: &mut Turn<'_>, reply: Option<&ReplyTo<LinkCode, LinkingError>>, error: u64) {
        if let Some(attempt) = &mut self.attempt {
            attempt.code = None;
        }
        if let Some(reply) = reply {
            turn.reply(reply, Err(LinkingError::NoCode(error)));
        }
    }

    /// A notification about the typed code.
    fn on_code_step(&mut self, turn: &mut Turn<'_>, node: &Node) -> Result<(), AccountError> {
        let step = node.require_child("link_code_companion_reg")?;
        let Some(attempt) = &mut self.attempt else { return Ok(()) };
        match step.text("stage").as_deref() {
            Some("primary_hello") => {
                let Some(code) = &mut attempt.code else { return Ok(()) };
                match code.primary_hello(turn, step)? {
                    Hello::Ignored => {}
                    Hello::Wrong => self.fail(turn, "link_code_wrong"),
                    Hello::Finish { adv_secret, finish } => {
                        attempt.hide_codes();
                        attempt.await_success(turn, adv_secret);
                        self.requests.send(turn, Request::CodeFinish, iq("md", "set").child(finish));
                    }
                }
            }
            Some("refresh_code") => {
                let refreshed = attempt.code.take().map(|code| CodeRequest { phone: code.phone, reply: None });
                self.wanted = self.wanted.take().or(refreshed);
                self.begin_wanted_code(turn);
            }
            _ => {}
        }
        Ok(())
    }

    /// The phone rejected the proof: most likely another code was typed. It may be typed again.
    fn finish_refused(&mut self, turn: &mut Turn<'_>) {
        let Some(attempt) = &mut self.attempt else { return };
        attempt.stop_waiting();
        if !attempt.code.as_ref().is_some_and(CodeLinking::may_be_typed_again) {
            self.fail(turn, "link_code_wrong");
        }
    }

    /// `passkey_prologue_request`: a passkey is required.
    fn on_passkey_required(&mut self, turn: &mut Turn<'_>, node: &Node) {
        let from_service = node.jid("from") == Some(Jid::service());
        let Some(attempt) = self.attempt.as_mut().filter(|it| from_service && it.passkey.is_none()) else { return };
        // The phone has the secret from the QR code, or by the typed code.
        attempt.stop_waiting();
        attempt.code = None;
        attempt.hide_codes();
        let (ceremony, request) = Ceremony::begin(turn, node);
        attempt.passkey = Some(ceremony);
        if let Some(request) = request {
            self.send(turn, request);
        }
    }

    fn ceremony(&mut self) -> Result<&mut Ceremony, LinkingError> {
        self.attempt.as_mut().and_then(|attempt| attempt.passkey.as_mut()).ok_or(LinkingError::NoPasskey)
    }

    fn take_assertion(&mut self, turn: &mut Turn<'_>, assertion: Assertion) -> Result<(), LinkingError> {
        let next = self.ceremony()?.take_assertion(assertion).map_err(|OtherStep| LinkingError::PasskeyUnderWay)?;
        self.send(turn, next);
        Ok(())
    }

    /// `crsc_continuation`: the phone continues the ceremony.
    fn on_passkey_continuation(&mut self, turn: &mut Turn<'_>, node: &Node) -> Result<(), AccountError> {
        let Some(identity) = node.find("primary_ephemeral_identity") else { return Ok(()) };
        let phone = PhoneIdentity::read(identity.content_bytes())?;
        let Ok(ceremony) = self.ceremony() else { return Ok(()) };
        let continued = match ceremony.continuation(turn, phone) {
            Ok(Some(continued)) => continued,
            Ok(None) => {
                tracing::warn!(account = %turn.ctx.id, "unexpected passkey continuation");
                return Ok(());
            }
            Err(_) => {
                self.fail(turn, UNUSABLE_KEY);
                return Ok(());
            }
        };
        self.send(turn, continued.nonce);
        if let Some(pairing) = continued.pairing {
            self.request_pairing(turn, pairing);
        }
        Ok(())
    }

    fn confirm_passkey(&mut self, turn: &mut Turn<'_>) -> Result<(), LinkingError> {
        let Ok(confirmed) = self.ceremony()?.confirm(turn) else {
            self.fail(turn, UNUSABLE_KEY);
            return Err(LinkingError::NoPasskey);
        };
        let pairing = confirmed.map_err(|OtherStep| LinkingError::PasskeyUnderWay)?;
        self.request_pairing(turn, pairing);
        Ok(())
    }

    fn request_pairing(&mut self, turn: &mut Turn<'_>, pairing: EncryptedRequest) {
        // The phone may sign with the new secret before the response arrives.
        if let Some(attempt) = &mut self.attempt {
            attempt.await_success(turn, pairing.adv_secret);
        }
        self.send(turn, pairing.request);
    }
}
