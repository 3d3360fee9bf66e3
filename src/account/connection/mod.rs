//! Connecting, staying alive, coming back (`wire-protocol.md` 1.7).

pub(in crate::account) mod backlog;
pub(in crate::account) mod login;

use crate::account::Children;
use crate::account::connection::backlog::Drain;
use crate::account::error::AccountError;
use crate::account::messages::receipts::Kept;
use crate::account::router::{Effect, LOGGED_OUT, Reply, Router, Turn};
use crate::account::turn::requests::{Pending, Purpose};
use crate::account::view::AccountState;
use crate::base::ids::{Generation, random_hex};
use crate::base::time::Monotonic;
use crate::wire::payload::{NoiseKeys, login, registration};
use crate::wire::{Jid, Node, WireError};
use rand::RngExt;
use std::time::Duration;

/// A connection that gets no further than this after it was asked for is given up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(40);
/// How long after the first stanza without an answer silence means a dead socket.
const DEAD_AFTER: Duration = Duration::from_secs(20);
/// Only a connection that lived this long resets the back-off.
const STABLE_AFTER: Duration = Duration::from_secs(30);
const MAX_BACKOFF_SECS: u64 = 900;
/// A connection on which nothing came for so long is pinged, at the earliest.
const PING_AFTER: Duration = Duration::from_secs(15);
/// Steps of the back-off that are skipped when the service asks for fewer connections.
const SLOWER_STEPS: u32 = 5;

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    #[default]
    Idle,
    /// The link was asked for; the handshake, then the login are under way until the deadline.
    Opening { deadline: Monotonic },
    Open {
        since: Monotonic,
        ping_at: Monotonic,
        /// The first stanza with an answer that was written since something came.
        unanswered: Option<Monotonic>,
    },
    /// Waiting to try again.
    Waiting { until: Monotonic },
    /// Waiting for a place among the process's connections.
    Paced { until: Monotonic },
}

/// Why a connection is given up, to come back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::account) enum Ending {
    /// As the service or the socket tells.
    Lost(String),
    /// The service has said that the stream ends here, as after linking: come back at once.
    Expected,
    /// The service asks for fewer connections.
    Slower(&'static str),
    /// Nothing comes of it.
    Deaf(&'static str),
}

/// The state of the account's one connection.
#[derive(Debug, Default)]
pub(in crate::account) struct Connection {
    pub(in crate::account) generation: Generation,
    phase: Phase,
    attempts: u32,
    logged_in: bool,
}

impl Connection {
    pub(in crate::account) fn is_wanted(&self) -> bool {
        self.phase != Phase::Idle
    }

    /// Whether the login is finished: messages may be written.
    pub(in crate::account) fn is_logged_in(&self) -> bool {
        self.logged_in
    }

    pub(in crate::account) fn logged_in(&mut self) {
        self.logged_in = true;
    }

    pub(in crate::account) fn heard(&mut self, now: Monotonic) {
        if let Phase::Open { ping_at, unanswered, .. } = &mut self.phase {
            *unanswered = None;
            *ping_at = (*ping_at).max(now.plus(PING_AFTER));
        }
    }

    /// Something is written that has an answer: from the first on, silence counts.
    pub(in crate::account) fn wrote(&mut self, now: Monotonic) {
        if let Phase::Open { unanswered, .. } = &mut self.phase {
            unanswered.get_or_insert(now);
        }
    }

    pub(in crate::account) fn deadline(&self) -> Option<Monotonic> {
        match self.phase {
            Phase::Idle => None,
            Phase::Opening { deadline } => Some(deadline),
            Phase::Open { ping_at, unanswered, .. } => {
                Some(unanswered.map_or(ping_at, |since| ping_at.min(since.plus(DEAD_AFTER))))
            }
            Phase::Waiting { until } | Phase::Paced { until } => Some(until),
        }
    }
}

/// 1, 1, 2, 3, 5 … seconds, at most 900.
fn fibonacci_secs(attempt: u32) -> u64 {
    let (mut a, mut b) = (1u64, 1u64);
    for _ in 0..attempt {
        (a, b) = (b, a.saturating_add(b));
        if a > MAX_BACKOFF_SECS {
            return MAX_BACKOFF_SECS;
        }
    }
    a
}

impl Router {
    /// Asks for a connection: to log in when linked, to be linked otherwise. It may have to wait for its place.
    pub(in crate::account) async fn connect<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
    ) -> Result<(), AccountError> {
        self.view.state = match (&self.device.link, self.connection.attempts) {
            (None, _) => AccountState::Linking,
            (Some(_), _) if self.deaf => AccountState::Deaf,
            (Some(_), 0) => AccountState::Connecting,
            (Some(_), _) => AccountState::Reconnecting,
        };
        let wait = self.settings.pacing.reserve(turn.steady);
        if wait > Duration::ZERO {
            self.connection.phase = Phase::Paced { until: turn.steady.plus(wait) };
            return Ok(());
        }
        self.open_connection(turn).await
    }

    async fn open_connection<C: Children>(&mut self, turn: &mut Turn<'_, C>) -> Result<(), AccountError> {
        let version = self.settings.version.get();
        let payload = match &self.device.link {
            Some(link) => login(&link.jid, version, self.device.login_counter)?,
            None => {
                let signed = turn.children.prekeys(|keys| keys.current_signed()).await??;
                let local = &self.device.local;
                let identity = local.identity.public();
                registration(version, local.registration_id, &identity, &signed, &self.settings.device_name)
            }
        };
        if !self.deaf {
            self.view.reason = None;
        }
        self.view.next_attempt_at = None;
        self.connection.generation = self.connection.generation.next();
        self.connection.phase = Phase::Opening { deadline: turn.steady.plus(CONNECT_TIMEOUT) };
        self.connection.logged_in = false;
        let prefix = format!("{}.{}", random_hex::<3>(&mut self.rng), random_hex::<2>(&mut self.rng));
        self.pending = Pending::new(prefix);
        turn.effects.push(Effect::Connect {
            generation: self.connection.generation,
            keys: NoiseKeys { ours: self.device.noise.clone(), root: self.settings.root_key },
            payload,
            routing_info: self.device.routing_info.clone(),
        });
        Ok(())
    }

    /// The handshake is done; the service speaks next.
    pub(in crate::account) fn connected<C>(&mut self, turn: &Turn<'_, C>) {
        let ping_at = self.next_ping(turn.steady);
        self.connection.phase = Phase::Open { since: turn.steady, ping_at, unanswered: None };
    }

    fn next_ping(&mut self, now: Monotonic) -> Monotonic {
        now.plus(Duration::from_millis(self.rng.random_range(15_000..30_000)))
    }

    /// Ends the connection for good, with a state and a reason.
    pub(in crate::account) fn stop<C>(&mut self, turn: &mut Turn<'_, C>, state: AccountState, reason: Option<&str>) {
        self.end_connection(turn);
        if state == AccountState::LoggedOut {
            self.intend(turn, LOGGED_OUT);
        }
        self.connection.phase = Phase::Idle;
        self.connection.attempts = 0;
        self.deaf = false;
        self.view.state = state;
        self.view.reason = reason.map(str::to_owned);
        self.view.next_attempt_at = None;
    }

    /// What was of this connection is no more.
    fn end_connection<C>(&mut self, turn: &mut Turn<'_, C>) {
        if matches!(self.connection.phase, Phase::Opening { .. } | Phase::Open { .. }) {
            turn.effects.push(Effect::Disconnect(self.connection.generation));
        }
        self.connection.generation = self.connection.generation.next();
        self.connection.logged_in = false;
        self.linking = None;
        self.drop_code_request(turn);
        self.view.passkey = None;
        self.drain = Drain::default();
        self.receipts = Kept::default();
        self.waiting_requests.clear();
        self.uploads.disconnected();
        self.outbox.disconnected();
        self.view.code = None;
    }

    /// Gives the connection up, if it still stands, and comes back: at once where the service asked for that, else after a while.
    pub(in crate::account) fn drop_connection<C>(&mut self, turn: &mut Turn<'_, C>, why: Ending) {
        if let Phase::Open { since, .. } = self.connection.phase
            && since.plus(STABLE_AFTER) <= turn.steady
        {
            self.connection.attempts = 0;
        }
        if let Ending::Slower(_) = why {
            self.connection.attempts = self.connection.attempts.saturating_add(SLOWER_STEPS);
        }
        let wait = if why == Ending::Expected {
            Duration::ZERO
        } else {
            let secs = fibonacci_secs(self.connection.attempts);
            self.connection.attempts = self.connection.attempts.saturating_add(1);
            Duration::from_millis(secs * self.rng.random_range(900..=1100))
        };
        self.end_connection(turn);
        self.wait_and_connect(turn, wait);
        self.view.state = if self.deaf { AccountState::Deaf } else { AccountState::Reconnecting };
        self.view.reason = match why {
            Ending::Lost(why) => Some(why),
            Ending::Slower(why) | Ending::Deaf(why) => Some(why.to_owned()),
            Ending::Expected => None,
        };
    }

    fn wait_and_connect<C>(&mut self, turn: &Turn<'_, C>, wait: Duration) {
        self.connection.phase = Phase::Waiting { until: turn.steady.plus(wait) };
        self.view.next_attempt_at = Some(turn.now.plus(wait));
    }

    /// Stays away until a ban has run out; for good when it does not say when.
    fn banned<C>(&mut self, turn: &mut Turn<'_, C>, reason: &str, lasts: Option<Duration>) {
        self.stop(turn, AccountState::Banned, Some(reason));
        if let Some(lasts) = lasts {
            self.wait_and_connect(turn, lasts);
        }
    }

    /// Asks the service to remove this device; replies when it has answered, at once when it cannot be asked.
    pub(in crate::account) fn log_out<C>(&mut self, turn: &mut Turn<'_, C>, token: u64) {
        let own = self.device.link.as_ref().map(|link| link.jid.clone());
        match own.filter(|_| self.connection.is_logged_in()) {
            Some(own) => {
                let remove = Node::new("remove-companion-device").attr("jid", own).attr("reason", "user_initiated");
                let iq = self.ask(turn, Purpose::Logout(token), "md", "set").child(remove);
                self.write(turn, iq);
            }
            None => self.logged_out(turn, token),
        }
    }

    pub(in crate::account) fn logged_out<C>(&mut self, turn: &mut Turn<'_, C>, token: u64) {
        self.stop(turn, AccountState::LoggedOut, Some("logged out by request"));
        turn.reply(token, Reply::Done);
    }

    pub(in crate::account) async fn tick<C: Children>(&mut self, turn: &mut Turn<'_, C>) -> Result<(), AccountError> {
        self.tick_linking(turn);
        for purpose in self.pending.expired(turn.steady) {
            self.unanswered(turn, purpose)?;
        }
        let now = turn.steady;
        match self.connection.phase {
            Phase::Waiting { until } if until <= now => self.connect(turn).await?,
            Phase::Paced { until } if until <= now => self.open_connection(turn).await?,
            Phase::Opening { deadline } if deadline <= now => {
                self.drop_connection(turn, Ending::Lost("connecting timed out".to_owned()));
            }
            Phase::Open { unanswered: Some(since), .. } if since.plus(DEAD_AFTER) <= now => {
                self.drop_connection(turn, Ending::Lost("the connection is dead: nothing comes".to_owned()));
            }
            Phase::Open { since, ping_at, unanswered } => {
                if ping_at <= now {
                    let ping_at = self.next_ping(now);
                    self.connection.phase = Phase::Open { since, ping_at, unanswered };
                    let id = self.pending.ask(Purpose::Ping, now);
                    let ping = Node::new("iq").attr("id", id).attr("xmlns", "w:p").attr("type", "get");
                    self.write(turn, ping.attr("to", Jid::service()));
                }
                self.tick_drain(turn)?;
                self.tick_uploads(turn).await?;
            }
            _ => {}
        }
        Ok(())
    }

    /// `<stream:error>`: how the service says that, and why, the stream ends.
    pub(in crate::account) async fn on_stream_error<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        node: &Node,
    ) -> Result<(), AccountError> {
        const REMOVED: &str = "the device was removed from the phone";
        const REPLACED: &str = "another connection took this device's place";
        if let Some(conflict) = node.find("conflict") {
            if conflict.is("type", "replaced") {
                self.stop(turn, AccountState::Replaced, Some(REPLACED));
            } else {
                self.stop(turn, AccountState::LoggedOut, Some(REMOVED));
            }
            return Ok(());
        }
        if node.find("ack").is_some() {
            tracing::warn!(account = %self.id, "the service misses an acknowledgement of ours");
            return Ok(());
        }
        match node.number("code") {
            // Normal after linking: the same socket cannot log in.
            Some(515) => {
                self.connection.attempts = 0;
                self.drop_connection(turn, Ending::Expected);
                self.connect(turn).await?;
            }
            Some(401 | 516) => self.stop(turn, AccountState::LoggedOut, Some(REMOVED)),
            Some(409) => self.stop(turn, AccountState::Replaced, Some(REPLACED)),
            Some(429) => self.drop_connection(turn, Ending::Slower("the service asks for fewer connections (429)")),
            Some(code) => self.drop_connection(turn, Ending::Lost(format!("the service ended the stream ({code})"))),
            None if node.find("xml-not-well-formed").is_some() => {
                let why = "the service did not understand a stanza of ours".to_owned();
                self.drop_connection(turn, Ending::Lost(why));
            }
            None => self.drop_connection(turn, Ending::Lost("the service ended the stream".to_owned())),
        }
        Ok(())
    }

    /// `<failure>`: the login is refused.
    pub(in crate::account) fn on_failure<C>(
        &mut self,
        turn: &mut Turn<'_, C>,
        node: &Node,
    ) -> Result<(), AccountError> {
        let reason = node.number("reason").ok_or(WireError::Missing { tag: "failure".into(), what: "reason" })?;
        let (state, why) = match reason {
            500 | 503 => {
                let why = format!("the service refused the login for now ({reason})");
                self.drop_connection(turn, Ending::Lost(why));
                return Ok(());
            }
            402 => {
                let lasts = node.number("expire").map(Duration::from_secs);
                self.banned(turn, ban_meaning(node.number("code")), lasts);
                return Ok(());
            }
            401 | 406 => (AccountState::LoggedOut, "the service no longer knows this device"),
            403 => (AccountState::Locked, "the account is locked"),
            405 => (AccountState::Outdated, "the client version is too old; set network.client_version"),
            400 => (AccountState::Stopped, "the service found the login malformed (400)"),
            409 => (AccountState::Outdated, "the service refused the client's version or name (409)"),
            413 | 414 => (AccountState::Stopped, "the service refused the account's token (413, 414)"),
            415 => (AccountState::Stopped, "the service does not know the account (415)"),
            418 => (AccountState::Stopped, "the service does not know this kind of client (418)"),
            501 => (AccountState::Stopped, "the service does not support this login (501)"),
            _ => (AccountState::Stopped, "the service refused the login"),
        };
        let why = if why.ends_with("login") { format!("{why} ({reason})") } else { why.to_owned() };
        self.stop(turn, state, Some(&why));
        Ok(())
    }
}

/// What the code of a temporary ban means (`wire-protocol.md` 1.7).
fn ban_meaning(code: Option<u64>) -> &'static str {
    match code {
        Some(101) => "temporarily banned (101): messages to too many people who do not have this number",
        Some(102) => "temporarily banned (102): blocked by too many people",
        Some(103) => "temporarily banned (103): too many groups with people who do not have this number",
        Some(104) => "temporarily banned (104): the same message to too many people",
        Some(106) => "temporarily banned (106): too many messages to a broadcast list",
        _ => "temporarily banned",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_back_off_is_fibonacci_up_to_a_quarter_of_an_hour() {
        let waits: Vec<u64> = (0..7).map(fibonacci_secs).collect();
        assert_eq!(waits, [1, 1, 2, 3, 5, 8, 13]);
        assert_eq!(fibonacci_secs(1000), 900);
    }
}
