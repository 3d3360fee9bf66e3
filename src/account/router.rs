//! The router: takes one input a turn, asks the children, and decides what is written and what then happens.

use crate::account::connection::backlog::Drain;
use crate::account::connection::{Connection, Ending};
use crate::account::error::AccountError;
use crate::account::groups::metadata::GroupMeta;
use crate::account::linking::{Assertion, CodeRequest, Linking};
use crate::account::messages::budget::Budget;
use crate::account::messages::outbound::SendRequest;
use crate::account::messages::outbound::queue::Outbox;
use crate::account::messages::receipts::Kept;
use crate::account::messages::resend::WaitingRequest;
use crate::account::own_device::Device;
use crate::account::prekeys::Uploads;
use crate::account::restore::Restored;
use crate::account::retention::{Retention, Sweep};
use crate::account::settings::client_version::SharedVersion;
use crate::account::settings::pacing::Pacing;
use crate::account::turn::requests::Pending;
use crate::account::view::{AccountState, AccountView, LinkCode};
use crate::account::{Children, Counts, Incident, MessageRecord};
use crate::base::ids::{AccountId, Generation, MessageId, random_hex};
use crate::base::time::{Moment, Monotonic, Timestamp};
use crate::signal::{JumpLimit, PublicKey};
use crate::storage::{AccountStore, ChangeSet, Changes, kind, owner};
use crate::wire::payload::NoiseKeys;
use crate::wire::{Jid, Node};
use rand::rngs::StdRng;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// What is the same for all accounts.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The root that the service's certificate must lead to.
    pub root_key: PublicKey,
    pub version: Arc<SharedVersion>,
    /// The name shown under "linked devices".
    pub device_name: String,
    /// One-time prekeys uploaded at a time.
    pub prekey_batch: u32,
    /// How far a message may lie ahead of its chain: from others, and from our own devices.
    pub jump_limit: JumpLimit,
    pub jump_limit_own: JumpLimit,
    pub retention: Retention,
    /// How often accounts may connect, all together.
    pub pacing: Arc<Pacing>,
}

/// What a turn is about.
#[derive(Debug)]
pub enum Input {
    /// A request from above; the token comes back with the reply.
    Command(Command, u64),
    /// The link's handshake is done.
    Connected(Generation),
    Stanza(Generation, Box<Node>),
    /// A stanza that has brought the account down before: to be set aside.
    Poison(Generation, Box<Node>),
    Disconnected(Generation, String),
    /// A deadline has come.
    Tick,
}

/// What an account can be asked to do.
#[derive(Debug)]
pub enum Command {
    /// Take up what was wanted before the restart.
    Resume,
    Start,
    Stop,
    Send(Box<SendRequest>),
    Message(MessageId),
    /// Forget what is too old in the next page of records.
    Sweep,
    /// Show a code to type into this phone.
    PairingCode(Jid),
    /// A person has proved with a passkey that the account is theirs.
    Passkey(Box<Assertion>),
    /// The person has compared the codes.
    ConfirmPasskey,
    /// Offer the service a fresh batch of prekeys.
    RefreshPreKeys,
    /// Drop our sender key for a group, or for status: the next message brings everybody a new one.
    RotateSenderKey(Jid),
    /// Forget everything about a contact but its events.
    Forget(Jid),
    /// Have the service remove this device, if it can be told now.
    Logout,
    /// Nothing that waits can be sent any more.
    GiveUpQueue,
}

/// The answer to a command.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    Done,
    /// A message that will be sent, as it was when it was accepted.
    Accepted(Box<MessageRecord>),
    Message(Option<Box<MessageRecord>>),
    LinkCode(LinkCode),
    /// The device was logged out: the account needs a new one first.
    LoggedOut,
    /// Whether there are more records to look at.
    Swept {
        more: bool,
    },
    /// The addresses that the contact had, and what was forgotten.
    Forgotten {
        addresses: Vec<String>,
        counts: Counts,
    },
    Refused(Refusal),
}

/// Why a command is not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the account is not linked to a phone; start it and scan its QR code")]
    NotLinked,
    #[error("this Idempotency-Key was used before with another body; use a new key")]
    IdempotencyMismatch,
    #[error("too many messages are waiting to be sent; try again later")]
    QueueFull,
    #[error("the account is linked already; log it out first")]
    AlreadyLinked,
    #[error("the service gives no code for this phone ({0}); check the number, and try again later")]
    NoCode(u64),
    #[error("no passkey is asked for; it is while the account is passkey_required or passkey_confirmation")]
    NoPasskey,
    #[error("another step of linking with the passkey is under way")]
    PasskeyUnderWay,
}

/// What happens once the turn's changes are durable.
#[derive(Debug)]
pub enum Effect {
    Connect {
        generation: Generation,
        keys: NoiseKeys,
        payload: Vec<u8>,
        routing_info: Option<Vec<u8>>,
    },
    Disconnect(Generation),
    Write(Generation, Box<Node>),
    Reply(u64, Reply),
    /// Something for the operator's counters.
    Count(Incident),
    View(Box<AccountView>),
}

/// A turn under way.
pub struct Turn<'a, C> {
    /// For records.
    pub now: Timestamp,
    /// For waiting.
    pub steady: Monotonic,
    pub children: &'a mut C,
    pub changes: Changes,
    pub effects: Vec<Effect>,
}

impl<C> Turn<'_, C> {
    pub(in crate::account) fn absorb<O>(&mut self, writes: ChangeSet<O>) {
        self.changes.absorb(writes);
    }

    pub(in crate::account) fn count(&mut self, incident: Incident) {
        self.effects.push(Effect::Count(incident));
    }

    pub(in crate::account) fn reply(&mut self, token: u64, reply: Reply) {
        self.effects.push(Effect::Reply(token, reply));
    }
}

/// One account's router.
pub struct Router {
    pub(in crate::account) id: AccountId,
    pub(in crate::account) store: AccountStore,
    pub(in crate::account) settings: Arc<Settings>,
    pub(in crate::account) rng: StdRng,
    pub(in crate::account) device: Device,
    pub(in crate::account) view: AccountView,
    pub(in crate::account) connection: Connection,
    pub(in crate::account) drain: Drain,
    pub(in crate::account) receipts: Kept,
    pub(in crate::account) waiting_requests: Vec<WaitingRequest>,
    pub(in crate::account) uploads: Uploads,
    /// Whether nothing came of the last connection.
    pub(in crate::account) deaf: bool,
    /// When a message was last acknowledged.
    pub(in crate::account) last_ack: Option<Monotonic>,
    pub(in crate::account) pending: Pending,
    pub(in crate::account) linking: Option<Linking>,
    /// Somebody waits for a code to type into a phone.
    pub(in crate::account) code_wanted: Option<CodeRequest>,
    pub(in crate::account) outbox: Outbox,
    /// Groups that were learned since the account was loaded: their records may not be durable yet.
    pub(in crate::account) groups: HashMap<Jid, GroupMeta>,
    /// Users who have written from a device that is not in their list.
    pub(in crate::account) unknown_users: BTreeSet<Jid>,
    /// How often which device has asked for which message again.
    pub(in crate::account) resent: HashMap<(MessageId, Jid), u64>,
    /// How many messages may still be sent again.
    pub(in crate::account) budget: Budget,
    /// The signed prekey is not looked at before.
    pub(in crate::account) rotate_after: Timestamp,
    pub(in crate::account) restored: Restored,
    pub(in crate::account) sweep: Sweep,
}

/// Whether it is a stanza that the service answers: acknowledgements and results may well be the last word.
fn wants_answer(effect: &Effect) -> bool {
    let Effect::Write(_, node) = effect else { return false };
    node.tag == "message" || node.tag == "iq" && (node.is("type", "get") || node.is("type", "set"))
}

const STARTED: &[u8] = b"\x01started";
const STOPPED: &[u8] = b"\x01stopped";
pub(in crate::account) const LOGGED_OUT: &[u8] = b"\x01logged out";

impl Router {
    /// Loads the router's part of the account.
    pub fn load(
        id: AccountId,
        store: AccountStore,
        settings: Arc<Settings>,
        device: Device,
        mut rng: StdRng,
    ) -> Result<Self, AccountError> {
        let outbox = Outbox::load(&store)?;
        let restored = Restored::parse(store.get(kind::RESTORED, b"")?.as_deref());
        let prefix = format!("{}.{}", random_hex::<3>(&mut rng), random_hex::<2>(&mut rng));
        let mut router = Self {
            id,
            store,
            settings,
            rng,
            device,
            view: AccountView::default(),
            connection: Connection::default(),
            drain: Drain::default(),
            receipts: Kept::default(),
            waiting_requests: Vec::new(),
            uploads: Uploads::default(),
            deaf: false,
            last_ack: None,
            pending: Pending::new(prefix),
            linking: None,
            code_wanted: None,
            rotate_after: Timestamp::default(),
            outbox,
            groups: HashMap::new(),
            unknown_users: BTreeSet::new(),
            resent: HashMap::new(),
            budget: Budget::default(),
            restored,
            sweep: Sweep::default(),
        };
        router.show_link();
        Ok(router)
    }

    pub fn view(&self) -> &AccountView {
        &self.view
    }

    /// Takes one turn: returns what to commit, and what to do after that.
    pub async fn turn<C: Children>(
        &mut self,
        input: Input,
        now: Moment,
        children: &mut C,
    ) -> Result<(Changes, Vec<Effect>), AccountError> {
        let before = self.view.clone();
        let Moment { wall: now, steady } = now;
        let mut turn = Turn { now, steady, children, changes: Changes::default(), effects: Vec::new() };
        match input {
            Input::Command(command, token) => self.command(&mut turn, command, token).await?,
            Input::Connected(generation) if generation == self.connection.generation => self.connected(&turn),
            Input::Stanza(generation, node) if generation == self.connection.generation => {
                self.connection.heard(steady);
                self.stanza(&mut turn, &node).await?;
            }
            Input::Poison(generation, node) if generation == self.connection.generation => {
                self.connection.heard(steady);
                self.set_aside(&mut turn, &node)?;
            }
            Input::Disconnected(generation, why) if generation == self.connection.generation => {
                self.drop_connection(&mut turn, Ending::Lost(why));
            }
            Input::Tick => self.tick(&mut turn).await?,
            // From a connection that is no more.
            Input::Connected(_) | Input::Stanza(..) | Input::Poison(..) | Input::Disconnected(..) => {}
        }
        self.answer_waiting_requests(&mut turn).await?;
        self.pump(&mut turn).await?;
        if turn.effects.iter().any(wants_answer) {
            self.connection.wrote(steady);
        }
        if self.view != before {
            self.report_view(&mut turn, &before);
        }
        Ok((turn.changes, turn.effects))
    }

    /// When [`Input::Tick`] is due.
    pub fn deadline(&self) -> Option<Monotonic> {
        let linking = self.linking.as_ref().and_then(Linking::deadline);
        let (drain, unacknowledged) = (self.drain.deadline(), self.unacknowledged_deadline());
        let uploads = self.uploads.deadline();
        let all = [self.connection.deadline(), self.pending.deadline(), linking, drain, unacknowledged, uploads];
        all.into_iter().flatten().min()
    }

    async fn command<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        command: Command,
        token: u64,
    ) -> Result<(), AccountError> {
        match command {
            Command::Resume => {
                self.settle_restored(turn)?;
                match self.store.get(kind::INTENT, b"")?.as_deref() {
                    Some(STARTED) if self.device.link.is_some() => self.connect(turn).await?,
                    Some(LOGGED_OUT) => self.view.state = AccountState::LoggedOut,
                    Some(_) => self.view.state = AccountState::Stopped,
                    None => {}
                }
                turn.reply(token, Reply::Done);
            }
            Command::Start | Command::PairingCode(_) if self.view.state == AccountState::LoggedOut => {
                turn.reply(token, Reply::LoggedOut);
            }
            Command::Start => {
                self.start(turn).await?;
                turn.reply(token, Reply::Done);
            }
            Command::PairingCode(phone) => self.request_code(turn, phone, token).await?,
            Command::Passkey(assertion) => {
                let reply = self.take_assertion(turn, *assertion);
                turn.reply(token, reply);
            }
            Command::ConfirmPasskey => {
                let reply = self.confirm_passkey(turn)?;
                turn.reply(token, reply);
            }
            Command::Stop => {
                self.intend(turn, STOPPED);
                self.stop(turn, AccountState::Stopped, None);
                turn.reply(token, Reply::Done);
            }
            Command::Send(request) => {
                let reply = self.accept(turn, *request)?;
                turn.reply(token, reply);
            }
            Command::Sweep => {
                let reply = self.sweep(turn)?;
                turn.reply(token, reply);
            }
            Command::Forget(contact) => {
                let reply = self.forget_contact(turn, &contact).await?;
                turn.reply(token, reply);
            }
            Command::RefreshPreKeys => {
                let reply = self.refresh_prekeys(turn).await?;
                turn.reply(token, reply);
            }
            Command::RotateSenderKey(group) => {
                let writes = turn.children.sender_keys(move |keys| keys.forget_ours(&group)).await?;
                turn.absorb(writes);
                turn.reply(token, Reply::Done);
            }
            Command::GiveUpQueue => {
                self.give_up_queue(turn)?;
                turn.reply(token, Reply::Done);
            }
            Command::Logout => self.log_out(turn, token),
            Command::Message(id) => {
                let record = self.message(&id)?.map(Box::new);
                turn.reply(token, Reply::Message(record));
            }
        }
        Ok(())
    }

    pub(in crate::account) async fn start<C: Children>(&mut self, turn: &mut Turn<'_, C>) -> Result<(), AccountError> {
        self.intend(turn, STARTED);
        if !self.connection.is_wanted() {
            self.connect(turn).await?;
        }
        Ok(())
    }

    pub(in crate::account) fn intend<C>(&self, turn: &mut Turn<'_, C>, intent: &[u8]) {
        let mut writes = ChangeSet::<owner::Router>::default();
        writes.put(kind::INTENT, "", intent);
        turn.absorb(writes);
    }

    async fn stanza<C: Children>(&mut self, turn: &mut Turn<'_, C>, node: &Node) -> Result<(), AccountError> {
        self.note_backlog(turn, node);
        if matches!(node.tag.as_ref(), "message" | "receipt" | "notification" | "call") {
            self.hears(turn);
        }
        let handled = match node.tag.as_ref() {
            "iq" => self.on_iq(turn, node).await,
            "success" => self.on_success(turn, node).await,
            "failure" => self.on_failure(turn, node),
            "stream:error" => self.on_stream_error(turn, node).await,
            "ib" => self.on_ib(turn, node),
            "message" => self.on_message(turn, node).await,
            "receipt" => self.on_receipt(turn, node).await,
            "notification" => self.on_notification(turn, node).await,
            "ack" => self.on_ack(turn, node).await,
            "call" => {
                self.acknowledge(turn, node);
                Ok(())
            }
            _ => Ok(()),
        };
        match handled {
            // A stanza that makes no sense is acknowledged, or it would come back at every connection; nothing was changed.
            Err(AccountError::Wire(error)) => {
                tracing::warn!(account = %self.id, stanza = %node.tag, %error, "a stanza was skipped");
                if matches!(node.tag.as_ref(), "message" | "receipt" | "notification") {
                    self.acknowledge(turn, node);
                }
                Ok(())
            }
            other => other,
        }
    }

    /// Writes a stanza on the current connection.
    pub(in crate::account) fn write<C>(&self, turn: &mut Turn<'_, C>, node: Node) {
        turn.effects.push(Effect::Write(self.connection.generation, Box::new(node)));
    }

    /// `<ack>` for a stanza of the service (`wire-protocol.md` 1.8).
    pub(in crate::account) fn acknowledge<C>(&self, turn: &mut Turn<'_, C>, node: &Node) {
        let echo = |key: &str| node.get(key).cloned();
        let own = self.device.link.as_ref().filter(|_| node.tag == "message").map(|link| &link.jid);
        let kind = echo("type").filter(|_| !(node.tag == "notification" && node.find("identity").is_some()));
        let ack = Node::new("ack")
            .attr("class", node.tag.clone())
            .maybe("id", echo("id"))
            .maybe("to", echo("from"))
            .maybe("participant", echo("participant"))
            .maybe("recipient", echo("recipient"))
            .maybe("type", kind)
            .maybe("from", own);
        self.write(turn, ack);
    }

    /// Our own JID by phone number; empty before linking.
    pub(in crate::account) fn own_pn(&self) -> Jid {
        self.device.link.as_ref().map_or_else(Jid::service, |link| link.jid.clone())
    }

    pub(in crate::account) fn show_link(&mut self) {
        let link = self.device.link.as_ref();
        self.view.jid = link.map(|link| link.jid.clone());
        self.view.lid = link.and_then(|link| link.lid.clone());
        self.view.push_name = link.map(|link| link.push_name.clone()).filter(|name| !name.is_empty());
        self.view.linked_at = link.map(|link| link.linked_at);
        self.view.prekeys_due &= link.is_some();
    }
}
