//! Connecting, staying alive, coming back (`wire-protocol.md` 1.7).

use super::Children;
use super::error::AccountError;
use super::iq::{Pending, Purpose};
use super::router::{Effect, Reply, Router, Turn};
use super::view::AccountState;
use crate::base::ids::{Generation, random_hex};
use crate::base::time::Timestamp;
use crate::wire::payload::{NoiseKeys, login, registration};
use crate::wire::{Jid, Node, WireError};
use rand::RngExt;
use std::time::Duration;

/// A connection that gets no further than this after it was asked for is given up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(40);
/// How long after a ping silence means a dead socket.
const DEAD_AFTER: Duration = Duration::from_secs(20);
/// Only a connection that lived this long resets the back-off.
const STABLE_AFTER: Duration = Duration::from_secs(30);
const MAX_BACKOFF_SECS: u64 = 900;

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    #[default]
    Idle,
    /// The link was asked for; the handshake, then the login are under way until the deadline.
    Opening {
        deadline: Timestamp,
    },
    Open {
        since: Timestamp,
        ping_at: Timestamp,
        pinged: Option<Timestamp>,
    },
    /// Waiting to try again.
    Waiting {
        until: Timestamp,
    },
}

/// The state of the account's one connection.
#[derive(Debug, Default)]
pub(super) struct Connection {
    pub(super) generation: Generation,
    phase: Phase,
    attempts: u32,
    /// Set when the service said how the stream ends: the close that follows is then no surprise.
    pub(super) reconnect_at_once: bool,
}

impl Connection {
    pub(super) fn is_wanted(&self) -> bool {
        self.phase != Phase::Idle
    }

    pub(super) fn heard(&mut self, now: Timestamp) {
        if let Phase::Open { ping_at, pinged, .. } = &mut self.phase {
            *pinged = None;
            *ping_at = (*ping_at).max(now.plus(Duration::from_secs(15)));
        }
    }

    pub(super) fn deadline(&self) -> Option<Timestamp> {
        match self.phase {
            Phase::Idle => None,
            Phase::Opening { deadline } => Some(deadline),
            Phase::Open { ping_at, pinged: None, .. } => Some(ping_at),
            Phase::Open { pinged: Some(at), .. } => Some(at.plus(DEAD_AFTER)),
            Phase::Waiting { until } => Some(until),
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
    /// Asks for a connection: to log in when linked, to be linked otherwise.
    pub(super) async fn connect<C: Children>(&mut self, turn: &mut Turn<'_, C>) -> Result<(), AccountError> {
        let version = self.settings.version;
        let payload = match &self.device.link {
            Some(link) => {
                self.view.state = match self.connection.attempts {
                    0 => AccountState::Connecting,
                    _ => AccountState::Reconnecting,
                };
                login(&link.jid, version, self.device.login_counter)?
            }
            None => {
                self.view.state = AccountState::Linking;
                let signed = turn.children.prekeys(|keys| keys.current_signed()).await??;
                let local = &self.device.local;
                let identity = local.identity.public();
                registration(version, local.registration_id, &identity, &signed, &self.settings.device_name)
            }
        };
        self.view.reason = None;
        self.view.next_attempt_at = None;
        self.connection.generation = self.connection.generation.next();
        self.connection.phase = Phase::Opening { deadline: turn.now.plus(CONNECT_TIMEOUT) };
        self.connection.reconnect_at_once = false;
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
    pub(super) fn connected<C>(&mut self, turn: &Turn<'_, C>) {
        let ping_at = self.next_ping(turn.now);
        self.connection.phase = Phase::Open { since: turn.now, ping_at, pinged: None };
    }

    fn next_ping(&mut self, now: Timestamp) -> Timestamp {
        now.plus(Duration::from_millis(self.rng.random_range(15_000..30_000)))
    }

    /// Ends the connection for good, with a state and a reason.
    pub(super) fn stop<C>(&mut self, turn: &mut Turn<'_, C>, state: AccountState, reason: Option<&str>) {
        if self.connection.is_wanted() {
            turn.effects.push(Effect::Disconnect(self.connection.generation));
        }
        self.connection.generation = self.connection.generation.next();
        self.connection.phase = Phase::Idle;
        self.connection.attempts = 0;
        self.linking = None;
        self.outbox.disconnected();
        self.view.code = None;
        self.view.state = state;
        self.view.reason = reason.map(str::to_owned);
        self.view.next_attempt_at = None;
    }

    /// The connection is gone: come back, at once where the service asked for it, else after a while.
    pub(super) fn disconnected<C>(&mut self, turn: &mut Turn<'_, C>, why: &str) {
        if let Phase::Open { since, .. } = self.connection.phase
            && since.plus(STABLE_AFTER) <= turn.now
        {
            self.connection.attempts = 0;
        }
        let wait = if std::mem::take(&mut self.connection.reconnect_at_once) {
            Duration::ZERO
        } else {
            let secs = fibonacci_secs(self.connection.attempts);
            self.connection.attempts = self.connection.attempts.saturating_add(1);
            Duration::from_millis(secs * self.rng.random_range(900..=1100))
        };
        let until = turn.now.plus(wait);
        self.connection.generation = self.connection.generation.next();
        self.connection.phase = Phase::Waiting { until };
        self.linking = None;
        self.outbox.disconnected();
        self.view.code = None;
        self.view.state = AccountState::Reconnecting;
        self.view.reason = Some(why.to_owned());
        self.view.next_attempt_at = Some(until);
    }

    /// Asks the service to remove this device; replies when it has answered, at once when it cannot be asked.
    pub(super) fn log_out<C>(&mut self, turn: &mut Turn<'_, C>, token: u64) {
        let own = self.device.link.as_ref().map(|link| link.jid.clone());
        match own.filter(|_| self.view.state == AccountState::Online) {
            Some(own) => {
                let remove = Node::new("remove-companion-device").attr("jid", own).attr("reason", "user_initiated");
                let iq = self.ask(turn, Purpose::Logout(token), "md", "set").child(remove);
                self.write(turn, iq);
            }
            None => self.logged_out(turn, token),
        }
    }

    pub(super) fn logged_out<C>(&mut self, turn: &mut Turn<'_, C>, token: u64) {
        self.stop(turn, AccountState::LoggedOut, Some("logged out by request"));
        turn.reply(token, Reply::Done);
    }

    pub(super) async fn tick<C: Children>(&mut self, turn: &mut Turn<'_, C>) -> Result<(), AccountError> {
        self.tick_linking(turn);
        for purpose in self.pending.expired(turn.now) {
            self.unanswered(turn, purpose)?;
        }
        match self.connection.phase {
            Phase::Waiting { until } if until <= turn.now => self.connect(turn).await?,
            Phase::Opening { deadline } if deadline <= turn.now => self.drop_connection(turn, "connecting timed out"),
            Phase::Open { since, ping_at, pinged: None } if ping_at <= turn.now => {
                let ping_at = self.next_ping(turn.now);
                self.connection.phase = Phase::Open { since, ping_at, pinged: Some(turn.now) };
                let id = self.pending.ask(Purpose::Ping, turn.now);
                let ping =
                    Node::new("iq").attr("id", id).attr("xmlns", "w:p").attr("type", "get").attr("to", Jid::service());
                self.write(turn, ping);
            }
            Phase::Open { pinged: Some(at), .. } if at.plus(DEAD_AFTER) <= turn.now => {
                self.drop_connection(turn, "the connection is dead: no answer to a ping");
            }
            _ => {}
        }
        Ok(())
    }

    fn drop_connection<C>(&mut self, turn: &mut Turn<'_, C>, why: &str) {
        turn.effects.push(Effect::Disconnect(self.connection.generation));
        self.disconnected(turn, why);
    }

    /// `<stream:error>`: how the service says that, and why, the stream ends.
    pub(super) async fn on_stream_error<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        node: &Node,
    ) -> Result<(), AccountError> {
        if let Some(conflict) = node.find("conflict") {
            if conflict.is("type", "replaced") {
                self.stop(turn, AccountState::Replaced, Some("another connection took this device's place"));
            } else {
                self.stop(turn, AccountState::LoggedOut, Some("the device was removed from the phone"));
            }
            return Ok(());
        }
        match node.number("code") {
            // Normal after linking: the same socket cannot log in.
            Some(515) => {
                turn.effects.push(Effect::Disconnect(self.connection.generation));
                self.connection.attempts = 0;
                self.connect(turn).await?;
            }
            Some(401 | 516) => self.stop(turn, AccountState::LoggedOut, Some("the device was removed from the phone")),
            Some(409) => self.stop(turn, AccountState::Replaced, Some("another connection took this device's place")),
            Some(429) => {
                self.connection.attempts = self.connection.attempts.saturating_add(5);
                self.drop_connection(turn, "the service asks for fewer connections (429)");
            }
            Some(code) => self.drop_connection(turn, &format!("the service ended the stream ({code})")),
            None => self.drop_connection(turn, "the service ended the stream"),
        }
        Ok(())
    }

    /// `<failure>`: the login is refused.
    pub(super) fn on_failure<C>(&mut self, turn: &mut Turn<'_, C>, node: &Node) -> Result<(), AccountError> {
        let reason = node.number("reason").ok_or(WireError::Missing { tag: "failure".into(), what: "reason" })?;
        match reason {
            401 | 406 => self.stop(turn, AccountState::LoggedOut, Some("the service no longer knows this device")),
            402 => self.stop(turn, AccountState::Banned, Some("the account is temporarily banned")),
            403 => self.stop(turn, AccountState::Locked, Some("the account is locked")),
            405 => self.stop(
                turn,
                AccountState::Outdated,
                Some("the client version is too old; set network.client_version"),
            ),
            500 | 503 => self.drop_connection(turn, &format!("the service refused the login for now ({reason})")),
            other => self.stop(turn, AccountState::Stopped, Some(&format!("the service refused the login ({other})"))),
        }
        Ok(())
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
