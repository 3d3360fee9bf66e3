//! A network in memory and in virtual time: the sandbox's world, and accounts driven by `account::Local`, joined by the
//! real handshake and the real frames.

use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use wharf::account::commands::{
    Connection, Linking, LinkingError, LoggedOut, MessageRecord, Messages, NotLinked, PreKeyUploads, SendError,
    SendRequest, stored_message,
};
use wharf::account::{
    AccountError, AccountState, AccountView, Command, ConnectRate, Content, Counter, Effect, ErasePage, Erased, Input,
    LinkCode, Local, Once, Reply, ReplyTo, Retention, Settings, SharedVersion, Text, prepare_restored,
};
use wharf::base::ids::{AccountId, AccountKey, Generation, MessageId, RequestFingerprint};
use wharf::base::time::{Moment, Timestamp};
use wharf::sandbox::world::{ConnectionId, Output, World};
use wharf::signal::{JumpLimit, KeyPair};
use wharf::storage::{Batch, ChangeSet, Engine, Kind, MemoryEngine, Owner, Records, Rows};
use wharf::wire::payload::ClientVersion;
use wharf::wire::transport::{ClientEvent, ClientTransport};
use wharf::wire::{Jid, Node, decode_frame, encode_frame};

pub struct Account {
    pub local: Local,
    engine: Arc<MemoryEngine>,
    link: Option<(ConnectionId, Generation, ClientTransport)>,
    /// Replies by the token of their command.
    replies: Vec<(u64, Reply)>,
    last_token: u64,
    seed: u64,
}

/// Changes, drops or adds stanzas on their way to an account, which it is given by name.
pub type Middle = Box<dyn FnMut(&str, Node) -> Vec<Node>>;

/// A stanza as it arrives from the wire: what no frame can hold does not.
fn carried(node: &Node) -> Node {
    decode_frame(&encode_frame(node)).expect("the frame can be read")
}

pub struct Net {
    pub now: Timestamp,
    /// How far the system clock of accounts was set ahead.
    pub clock_set_ahead: Duration,
    pub world: World,
    pub accounts: BTreeMap<&'static str, Account>,
    /// Requests that accounts have sent to the service, in order.
    pub asked: Vec<Node>,
    /// The last message stanza that an account received.
    pub last_message: Option<Node>,
    /// Receipts that accounts have written.
    pub receipts: Vec<Node>,
    /// Counters that accounts have incremented.
    pub counters: Vec<Counter>,
    /// The machine in the middle: what an account receives in place of a stanza of the service.
    pub middle: Option<Middle>,
    /// Runs every turn of an account: benches measure it.
    pub around_turn: fn(&mut dyn FnMut()),
    settings: Arc<Settings>,
    next_connection: u64,
    rng: StdRng,
}

impl Net {
    pub fn new() -> Self {
        let now = Timestamp::from_secs(1_760_000_000);
        let world = World::new(1, now);
        let settings = Settings {
            root_key: *world.root_key(),
            version: Arc::new(SharedVersion::new(ClientVersion::DEFAULT)),
            device_name: "Wharf".into(),
            prekey_batch: 40,
            jump_limit: JumpLimit::new(2000),
            jump_limit_own: JumpLimit::default(),
            retention: Retention::default(),
            reject_calls: false,
            connect_rate: Arc::new(ConnectRate::new(1000)),
        };
        let rng = StdRng::seed_from_u64(2);
        let around_turn: fn(&mut dyn FnMut()) = |turn| turn();
        let settings = Arc::new(settings);
        let clock_set_ahead = Duration::ZERO;
        Self {
            now,
            clock_set_ahead,
            world,
            accounts: BTreeMap::new(),
            asked: Vec::new(),
            last_message: None,
            receipts: Vec::new(),
            counters: Vec::new(),
            middle: None,
            around_turn,
            settings,
            next_connection: 0,
            rng,
        }
    }

    pub fn trusting(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        self
    }

    fn load(&self, name: &str, seed: u64, engine: Arc<MemoryEngine>) -> Local {
        let id = AccountId::parse(name).unwrap();
        let mut key = [0x80; 16];
        key[1..1 + name.len()].copy_from_slice(name.as_bytes());
        let engine: Arc<dyn Engine> = engine;
        let rng = StdRng::seed_from_u64(seed);
        Local::load(id, AccountKey::from_bytes(key), engine, self.settings.clone(), rng).unwrap()
    }

    /// An account that is not linked yet.
    pub fn account(&mut self, name: &'static str) {
        let engine = Arc::new(MemoryEngine::default());
        let seed = 100 + self.accounts.len() as u64;
        let local = self.load(name, seed, engine.clone());
        self.accounts.insert(name, Account { local, engine, link: None, replies: Vec::new(), last_token: 0, seed });
    }

    /// An account linked to the phone of this number, online.
    pub fn linked(&mut self, name: &'static str, number: &str) {
        self.account(name);
        self.world.create_phone(number, Some(name)).unwrap();
        self.start(name);
        self.until("a code is shown", |net| net.code(name).is_some());
        let code = self.code(name).unwrap();
        self.world.scan(number, &code).unwrap();
        self.until("the account is online", |net| net.state(name) == AccountState::Online);
        self.settle();
    }

    pub fn code(&self, name: &str) -> Option<String> {
        self.accounts[name].local.router.view().code.as_ref().map(|code| code.text.clone())
    }

    pub fn view(&self, name: &str) -> &AccountView {
        self.accounts[name].local.router.view()
    }

    /// Takes the answer of a command that was not answered at once.
    pub fn answer<T: 'static, E: 'static>(&mut self, name: &str) -> Option<Result<T, E>> {
        let oldest = self.accounts[name].replies.first()?.0;
        self.answer_to(name, oldest)
    }

    fn answer_to<T: 'static, E: 'static>(&mut self, name: &str, token: u64) -> Option<Result<T, E>> {
        match self.take_reply(name, token)? {
            Reply::Answer(answer) => Some(*answer.downcast().expect("the answer has the command's type")),
            Reply::Repeated(repeated) => panic!("the command was repeated: {repeated}"),
        }
    }

    pub fn state(&self, name: &str) -> AccountState {
        self.accounts[name].local.router.view().state
    }

    /// Reloads the account from its committed records, as after a crash.
    pub fn restart(&mut self, name: &'static str) {
        self.cut(name);
        let (engine, seed) = (self.accounts[name].engine.clone(), self.accounts[name].seed + 1000);
        let local = self.load(name, seed, engine);
        let account = self.accounts.get_mut(name).unwrap();
        (account.local, account.seed, account.link) = (local, seed, None);
        self.call(name, |reply| Connection::Resume { reply }.into());
    }

    /// All records of the account.
    pub fn backup(&self, name: &str) -> Rows {
        self.accounts[name].engine.copy(&[]).unwrap()
    }

    /// Loads the account from an earlier backup, as a restore does.
    pub fn restore(&mut self, name: &'static str, backup: Rows) {
        self.load_copy(name, backup, |net, records| {
            let account = records.accounts().unwrap()[0];
            prepare_restored(records, account, net.now).unwrap();
        });
    }

    /// Loads the account from an earlier copy of its records without the preparation of a restore, which is unsafe.
    pub fn start_copy(&mut self, name: &'static str, copy: Rows) {
        self.load_copy(name, copy, |_, _| {});
    }

    fn load_copy(&mut self, name: &'static str, copy: Rows, prepare: impl FnOnce(&Self, &Records)) {
        let engine = Arc::new(MemoryEngine::default());
        let writes = copy.into_iter().map(|(key, value)| (key, Some(value))).collect();
        engine.apply(Batch { writes, ..Batch::default() }).unwrap();
        prepare(self, &Records::new(engine.clone()));
        self.accounts.get_mut(name).unwrap().engine = engine;
        self.restart(name);
    }

    /// Cuts the account's connection without an error on its side.
    pub fn cut(&mut self, name: &str) {
        if let Some((id, ..)) = self.accounts.get_mut(name).unwrap().link.take() {
            self.world.closed(id);
        }
    }

    /// The service sends nothing more on the account's connection, without closing it.
    pub fn silence(&mut self, name: &str) {
        if let Some((id, ..)) = &self.accounts[name].link {
            let id = *id;
            self.world.closed(id);
        }
    }

    fn token(&mut self, name: &str) -> u64 {
        let account = self.accounts.get_mut(name).unwrap();
        account.last_token += 1;
        account.last_token
    }

    fn take_reply(&mut self, name: &str, token: u64) -> Option<Reply> {
        let replies = &mut self.accounts.get_mut(name).unwrap().replies;
        let at = replies.iter().position(|(of, _)| *of == token)?;
        Some(replies.remove(at).1)
    }

    /// Carries out a command. `None` while it is not answered.
    pub fn call<T: 'static, E: 'static>(
        &mut self,
        name: &str,
        command: impl FnOnce(ReplyTo<T, E>) -> Command,
    ) -> Option<Result<T, E>> {
        let token = self.token(name);
        self.input(name, Input::Command(Box::new(command(ReplyTo::new(token))), None));
        self.answer_to(name, token)
    }

    pub fn start(&mut self, name: &str) -> Option<Result<(), LoggedOut>> {
        self.call(name, |reply| Connection::Start { reply }.into())
    }

    pub fn stop(&mut self, name: &str) {
        self.call(name, |reply| Connection::Stop { reply }.into());
    }

    pub fn pairing_code(&mut self, name: &str, number: &str) -> Option<Result<LinkCode, LinkingError>> {
        let phone = number.parse().unwrap();
        self.call(name, |reply| Linking::PairingCode { phone, reply }.into())
    }

    pub fn refresh_prekeys(&mut self, name: &str) -> Option<Result<(), NotLinked>> {
        self.call(name, |reply| PreKeyUploads::Refresh { reply }.into())
    }

    /// Sweeps one page of records. True while there are more.
    pub fn sweep(&mut self, name: &str) -> bool {
        let token = self.token(name);
        self.input(name, Input::Sweep(ReplyTo::new(token)));
        matches!(self.answer_to::<bool, std::convert::Infallible>(name, token), Some(Ok(true)))
    }

    /// Erases one page of what is known of a contact.
    pub fn erase(&mut self, name: &str, page: Box<ErasePage>) -> Erased {
        let token = self.token(name);
        self.input(name, Input::Erase(page, ReplyTo::new(token)));
        let Some(Ok(erased)) = self.answer_to::<Erased, std::convert::Infallible>(name, token) else {
            panic!("an erasure is not refused")
        };
        erased
    }

    /// Sends under an `Idempotency-Key`.
    pub fn send_once(&mut self, name: &str, request: SendRequest, fingerprint: RequestFingerprint) -> Reply {
        let token = self.token(name);
        let reply = ReplyTo::<MessageRecord, SendError>::new(token);
        let once = Some(Once::new(fingerprint, &reply));
        let command = Messages::Send { request: Box::new(request), reply };
        self.input(name, Input::Command(Box::new(command.into()), once));
        self.take_reply(name, token).expect("it is answered at once")
    }

    pub fn send(&mut self, name: &str, to: &str, body: &str) -> MessageId {
        self.send_text(name, to, Text { body: body.into(), ..Text::default() })
    }

    /// Sends a reply that quotes the message with this id.
    pub fn quote(&mut self, name: &str, to: &str, body: &str, quoted: &str) -> MessageId {
        let quoted_id = Some(quoted.to_owned());
        self.send_text(name, to, Text { body: body.into(), quoted_id, ..Text::default() })
    }

    /// Sends a status to these recipients.
    pub fn status(&mut self, name: &str, body: &str, readers: &[&str]) -> MessageId {
        let recipients = readers.iter().map(|reader| Jid::pn(*reader)).collect();
        let text = Text { body: body.into(), ..Text::default() };
        self.request(name, SendRequest { to: Jid::status(), recipients, content: Content::Text(text) })
    }

    fn send_text(&mut self, name: &str, to: &str, text: Text) -> MessageId {
        let to = Jid::parse_recipient(to).unwrap();
        self.request(name, SendRequest { to, recipients: Vec::new(), content: Content::Text(text) })
    }

    fn request(&mut self, name: &str, request: SendRequest) -> MessageId {
        self.try_send(name, request).expect("the message is accepted").id
    }

    pub fn try_send(&mut self, name: &str, request: SendRequest) -> Result<MessageRecord, SendError> {
        let request = Box::new(request);
        self.call(name, |reply| Messages::Send { request, reply }.into()).expect("it is answered at once")
    }

    pub fn message(&self, name: &str, id: &MessageId) -> MessageRecord {
        self.stored_message(name, id).expect("the message is known")
    }

    pub fn stored_message(&self, name: &str, id: &MessageId) -> Option<MessageRecord> {
        stored_message(&self.accounts[name].local.store(), id).unwrap()
    }

    /// The `data` of every event of this type that the account has committed.
    pub fn events(&self, name: &str, kind: &str) -> Vec<Value> {
        let events = self.accounts[name].local.committed.iter().flat_map(|changes| &changes.events);
        let bodies = events.filter(|event| event.kind == kind).map(|event| &event.body);
        bodies.map(|body| serde_json::from_str::<Value>(body).unwrap()["data"].take()).collect()
    }

    /// Gives the account a stanza, as the service would.
    pub fn stanza(&mut self, name: &str, node: Node) {
        let generation = self.accounts[name].link.as_ref().expect("the account is connected").1;
        self.input(name, Input::Stanza(generation, Box::new(node)));
    }

    /// Gives the account a poison stanza, which it skips.
    pub fn poison(&mut self, name: &str, node: Node) {
        let generation = self.accounts[name].link.as_ref().expect("the account is connected").1;
        self.input(name, Input::Poison(generation, Box::new(node)));
    }

    /// Closes the account's connection with an error on its side.
    pub fn disconnect(&mut self, name: &str) {
        let (id, generation, _) = self.accounts.get_mut(name).unwrap().link.take().expect("the account is connected");
        self.world.closed(id);
        self.input(name, Input::Disconnected(generation, "closed by the test".into()));
    }

    /// Overwrites a stored record, as a damaged disk does.
    pub fn overwrite<O: Owner>(&mut self, name: &str, kind: Kind<O>, key: &str, value: &[u8]) {
        let account = &self.accounts[name];
        let mut writes = ChangeSet::default();
        writes.put(kind, key, value);
        let records = Records::new(account.engine.clone());
        records.commit(Batch::default(), account.local.store().account(), writes).unwrap();
    }

    /// Gives the account a stanza that ends its turn with an error.
    pub fn failing_stanza(&mut self, name: &str, node: Node) -> AccountError {
        let generation = self.accounts[name].link.as_ref().expect("the account is connected").1;
        let account = self.accounts.get_mut(name).unwrap();
        account.local.turn(Input::Stanza(generation, Box::new(node)), self.now).expect_err("the turn fails")
    }

    pub fn input(&mut self, name: &str, input: Input) {
        let now = Moment { wall: self.now.plus(self.clock_set_ahead), ..self.now.into() };
        let (account, mut input, mut effects) = (self.accounts.get_mut(name).unwrap(), Some(input), Vec::new());
        (self.around_turn)(&mut || effects = account.local.turn(input.take().unwrap(), now).unwrap());
        for effect in effects {
            self.effect(name, effect);
        }
    }

    fn effect(&mut self, name: &str, effect: Effect) {
        let account = self.accounts.get_mut(name).unwrap();
        match effect {
            Effect::Connect { generation, keys, payload, routing_info } => {
                let ephemeral = KeyPair::generate(&mut self.rng);
                let mut link = ClientTransport::connect(keys, payload, ephemeral, routing_info.as_deref()).unwrap();
                self.next_connection += 1;
                let id = ConnectionId(self.next_connection);
                self.world.connected(id);
                let bytes = link.take_output();
                account.link = Some((id, generation, link));
                self.world.received(id, &bytes);
            }
            Effect::Disconnect(generation) => {
                if let Some((id, ..)) = account.link.take_if(|(_, connected, _)| *connected == generation) {
                    self.world.closed(id);
                }
            }
            Effect::Write(generation, node) => {
                if let Some((id, connected, link)) = &mut account.link
                    && *connected == generation
                {
                    link.send(&node).unwrap();
                    match &*node.tag {
                        "iq" => self.asked.push((*node).clone()),
                        "receipt" => self.receipts.push((*node).clone()),
                        _ => {}
                    }
                    let (id, bytes) = (*id, link.take_output());
                    self.world.received(id, &bytes);
                }
            }
            Effect::Reply(token, reply) => account.replies.push((token, reply)),
            Effect::Count(counter) => self.counters.push(counter),
            Effect::View(_) => {}
        }
    }

    /// Delivers one output of the service; false when there is none.
    pub fn carry_one(&mut self) -> bool {
        let Some(output) = self.world.next_output() else { return false };
        match output {
            Output::Bytes(id, bytes) => self.hand_over(id, &bytes),
            Output::Close(id) => {
                self.world.closed(id);
                if let Some((name, generation)) = self.owner(id) {
                    self.accounts.get_mut(name).unwrap().link = None;
                    self.input(name, Input::Disconnected(generation, "closed by the service".into()));
                }
            }
        }
        true
    }

    fn owner(&self, id: ConnectionId) -> Option<(&'static str, Generation)> {
        self.accounts.iter().find_map(|(name, account)| match &account.link {
            Some((connected, generation, _)) if *connected == id => Some((*name, *generation)),
            _ => None,
        })
    }

    fn hand_over(&mut self, id: ConnectionId, bytes: &[u8]) {
        let Some((name, generation)) = self.owner(id) else { return };
        let (_, _, link) = self.accounts.get_mut(name).unwrap().link.as_mut().unwrap();
        let events = match link.receive(bytes) {
            Ok(events) => events,
            Err(error) => {
                self.accounts.get_mut(name).unwrap().link = None;
                self.world.closed(id);
                self.input(name, Input::Disconnected(generation, error.to_string()));
                return;
            }
        };
        let output = link.take_output();
        self.world.received(id, &output);
        for event in events {
            match event {
                ClientEvent::Ready => self.input(name, Input::Connected(generation)),
                ClientEvent::Stanza(node) => {
                    let nodes = match &mut self.middle {
                        Some(middle) => middle(name, node).iter().map(carried).collect(),
                        None => vec![node],
                    };
                    for node in nodes {
                        if node.tag == "message" {
                            self.last_message = Some(node.clone());
                        }
                        self.input(name, Input::Stanza(generation, Box::new(node)));
                    }
                }
            }
        }
    }

    /// Takes one step: delivers an output, runs a due deadline, or advances time to the next deadline before `end`.
    fn one_thing(&mut self, end: Timestamp) -> bool {
        if self.carry_one() {
            return true;
        }
        let deadline = |account: &Account| account.local.router.deadline().map(|at| Timestamp(at.0));
        let due = self.accounts.iter().find(|(_, account)| deadline(account).is_some_and(|at| at <= self.now));
        if let Some((name, _)) = due {
            let name = *name;
            self.input(name, Input::Tick);
            return true;
        }
        let deadlines = self.accounts.values().filter_map(deadline);
        let Some(next) = deadlines.chain(self.world.deadline()).min().filter(|next| *next <= end) else {
            return false;
        };
        self.now = self.now.max(next);
        self.world.advance(self.now);
        true
    }

    /// Advances time by this much.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now.plus(time);
        while self.one_thing(end) {}
        self.now = end;
        self.world.advance(end);
    }

    /// Advances time until everything under way has arrived.
    pub fn settle(&mut self) {
        self.pass(Duration::from_secs(5));
    }

    /// Advances time until the condition holds; ten virtual minutes at most.
    pub fn until(&mut self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let end = self.now.plus(Duration::from_secs(600));
        while !holds(self) {
            assert!(self.one_thing(end) || holds(self), "it never came about that {what}");
        }
    }
}
