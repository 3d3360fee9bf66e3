//! The account's one connection: connect, keep alive, reconnect with back-off (`wire-protocol.md` 1.7).

use super::ending::DisconnectReason;
use crate::account::error::AccountError;
use crate::account::turn::Turn;
use crate::account::turn::context::Context;
use crate::account::turn::effect::Effect;
use crate::account::turn::notice::Notice;
use crate::account::view::{AccountState, AccountView};
use crate::base::backoff::fibonacci;
use crate::base::time::{Monotonic, Timestamp};
use crate::storage::kind;
use crate::wire::payload::{NoiseKeys, login, registration};
use rand::RngExt;
use std::time::Duration;

/// How long a connection attempt may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(40);
/// A socket without inbound traffic this long after the first unanswered stanza is dead.
const DEAD_AFTER: Duration = Duration::from_secs(20);
/// Only a connection that lived this long resets the back-off.
const STABLE_AFTER: Duration = Duration::from_secs(30);
const MAX_BACKOFF: Duration = Duration::from_secs(900);
/// A connection without inbound traffic for this long is pinged, at the earliest.
const PING_AFTER: Duration = Duration::from_secs(15);
/// Steps of the back-off that are skipped when the service asks for fewer connections.
const SLOWER_STEPS: u32 = 5;

const STARTED: &[u8] = b"\x01started";
const STOPPED: &[u8] = b"\x01stopped";
const LOGGED_OUT: &[u8] = b"\x01logged out";

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    #[default]
    Idle,
    /// Handshake, then login, until the deadline.
    Connecting {
        deadline: Monotonic,
    },
    Open {
        since: Monotonic,
        ping_at: Monotonic,
    },
    /// Waiting for the back-off.
    Waiting {
        until: Monotonic,
    },
    /// Waiting for a place in the process's connect rate.
    RateLimited {
        until: Monotonic,
    },
}

/// The action that a tick requires.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    /// An open connection: watch it, and ping where due.
    Watch {
        ping: bool,
    },
}

#[derive(Debug, Default)]
pub(super) struct Lifecycle {
    phase: Phase,
    attempts: u32,
    state: AccountState,
    reason: Option<String>,
    next_attempt_at: Option<Timestamp>,
    /// The last connection was dropped as unresponsive; cleared by the next inbound traffic.
    unresponsive: bool,
}

impl Lifecycle {
    pub(super) fn is_wanted(&self) -> bool {
        self.phase != Phase::Idle
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open { .. })
    }

    pub(super) fn is_logged_out(&self) -> bool {
        self.state == AccountState::LoggedOut
    }

    pub(super) fn show(&self, view: &mut AccountView) {
        view.state = self.state;
        view.reason = self.reason.clone();
        view.next_attempt_at = self.next_attempt_at;
    }

    pub(super) fn deadline(&self, ctx: &Context) -> Option<Monotonic> {
        match self.phase {
            Phase::Idle => None,
            Phase::Connecting { deadline } => Some(deadline),
            Phase::Open { ping_at, .. } => {
                let dead_at = ctx.link.unanswered.map(|since| since.plus(DEAD_AFTER));
                Some(dead_at.map_or(ping_at, |dead_at| dead_at.min(ping_at)))
            }
            Phase::Waiting { until } | Phase::RateLimited { until } => Some(until),
        }
    }

    /// Restores the desired state that was stored before the restart.
    pub(super) async fn resume(&mut self, turn: &mut Turn<'_>) -> Result<(), AccountError> {
        match turn.get(kind::DESIRED_STATE, b"")?.as_deref() {
            Some(STARTED) if turn.own().is_some() => self.connect(turn).await?,
            Some(LOGGED_OUT) => {
                self.state = AccountState::LoggedOut;
                turn.ctx.link.logged_out = true;
            }
            Some(_) => self.state = AccountState::Stopped,
            None => {}
        }
        Ok(())
    }

    pub(super) async fn start(&mut self, turn: &mut Turn<'_>) -> Result<(), AccountError> {
        turn.put(kind::DESIRED_STATE, "", STARTED);
        if self.is_wanted() { Ok(()) } else { self.connect(turn).await }
    }

    pub(super) fn stop_by_request(&mut self, turn: &mut Turn<'_>) {
        turn.put(kind::DESIRED_STATE, "", STOPPED);
        self.stop(turn, AccountState::Stopped, None);
    }

    /// Connects: to log in when linked, to be linked otherwise. The connect rate may delay it.
    pub(super) async fn connect(&mut self, turn: &mut Turn<'_>) -> Result<(), AccountError> {
        self.state = match (turn.own(), self.attempts) {
            (None, _) => AccountState::Linking,
            (Some(_), _) if self.unresponsive => AccountState::Unresponsive,
            (Some(_), 0) => AccountState::Connecting,
            (Some(_), _) => AccountState::Reconnecting,
        };
        let wait = turn.ctx.settings.connect_rate.reserve(turn.steady);
        if wait > Duration::ZERO {
            self.phase = Phase::RateLimited { until: turn.steady.plus(wait) };
            return Ok(());
        }
        self.open(turn).await
    }

    async fn open(&mut self, turn: &mut Turn<'_>) -> Result<(), AccountError> {
        let version = turn.ctx.settings.version.get();
        let payload = match turn.own() {
            Some(own) => login(&own.jid, version, turn.ctx.device.login_counter)
                .map_err(|_| AccountError::Record { what: "device" })?,
            None => {
                let signed = turn.prekeys(|keys| keys.current_signed()).await?;
                let (local, name) = (&turn.ctx.device.local, &turn.ctx.settings.device_name);
                registration(version, local.registration_id, &local.identity.public(), &signed, name)
            }
        };
        if !self.unresponsive {
            self.reason = None;
        }
        self.next_attempt_at = None;
        self.phase = Phase::Connecting { deadline: turn.steady.plus(CONNECT_TIMEOUT) };
        turn.ctx.link.generation = turn.ctx.link.generation.next();
        turn.ctx.link.online = false;
        turn.ctx.link.unanswered = None;
        turn.ctx.renew_iq_ids();
        turn.effect(Effect::Connect {
            generation: turn.ctx.link.generation,
            keys: NoiseKeys { ours: turn.ctx.device.noise.clone(), root: turn.ctx.settings.root_key },
            payload,
            routing_info: turn.ctx.device.routing_info.clone(),
        });
        Ok(())
    }

    /// The handshake is complete; the service sends the next stanza.
    pub(super) fn handshake_done(&mut self, turn: &mut Turn<'_>) {
        let ping_at = next_ping(turn);
        self.phase = Phase::Open { since: turn.steady, ping_at };
    }

    /// Inbound traffic proves that the socket lives.
    pub(super) fn on_traffic(&mut self, turn: &mut Turn<'_>) {
        if let Phase::Open { ping_at, .. } = &mut self.phase {
            turn.ctx.link.unanswered = None;
            *ping_at = (*ping_at).max(turn.steady.plus(PING_AFTER));
        }
    }

    /// A stanza that only a responsive service sends.
    pub(super) fn on_stanza(&mut self, turn: &Turn<'_>) {
        if self.state == AccountState::Unresponsive && turn.is_online() {
            self.state = AccountState::Online;
            self.reason = None;
        }
        self.unresponsive = false;
    }

    /// The login is finished. An unresponsive account stays so until the first inbound stanza.
    pub(super) fn come_online(&mut self, turn: &mut Turn<'_>) {
        turn.ctx.link.online = true;
        if !self.unresponsive {
            self.state = AccountState::Online;
            self.reason = None;
        }
    }

    pub(super) fn set_unresponsive(&mut self) {
        self.unresponsive = true;
    }

    pub(super) fn reset_backoff(&mut self) {
        self.attempts = 0;
    }

    /// Closes the connection for good, with a state and a reason.
    pub(super) fn stop(&mut self, turn: &mut Turn<'_>, state: AccountState, reason: Option<&str>) {
        self.close(turn);
        turn.ctx.link.logged_out = state == AccountState::LoggedOut;
        if turn.ctx.link.logged_out {
            turn.put(kind::DESIRED_STATE, "", LOGGED_OUT);
        }
        self.phase = Phase::Idle;
        self.attempts = 0;
        self.unresponsive = false;
        self.state = state;
        self.reason = reason.map(str::to_owned);
        self.next_attempt_at = None;
    }

    /// Closes the connection and schedules a reconnect: immediately when the service asked for it, otherwise after the back-off.
    pub(super) fn reconnect(&mut self, turn: &mut Turn<'_>, why: DisconnectReason) {
        if let Phase::Open { since, .. } = self.phase
            && since.plus(STABLE_AFTER) <= turn.steady
        {
            self.attempts = 0;
        }
        if let DisconnectReason::Slower(_) = why {
            self.attempts = self.attempts.saturating_add(SLOWER_STEPS);
        }
        let wait = if why == DisconnectReason::Expected {
            Duration::ZERO
        } else {
            let backoff = fibonacci(self.attempts, MAX_BACKOFF);
            self.attempts = self.attempts.saturating_add(1);
            Duration::from_millis(backoff.as_secs() * turn.ctx.rng.random_range(900..=1100))
        };
        self.close(turn);
        self.wait(turn, wait);
        self.state = if self.unresponsive { AccountState::Unresponsive } else { AccountState::Reconnecting };
        self.reason = match why {
            DisconnectReason::Lost(why) => Some(why),
            DisconnectReason::Slower(why) | DisconnectReason::Unresponsive(why) => Some(why.to_owned()),
            DisconnectReason::Expected => None,
        };
    }

    /// Stays disconnected until a ban is over, or until the next start when its end is unknown.
    pub(super) fn ban(&mut self, turn: &mut Turn<'_>, reason: &str, lasts: Option<Duration>) {
        self.stop(turn, AccountState::Banned, Some(reason));
        if let Some(lasts) = lasts {
            self.wait(turn, lasts);
        }
    }

    fn wait(&mut self, turn: &Turn<'_>, wait: Duration) {
        self.phase = Phase::Waiting { until: turn.steady.plus(wait) };
        self.next_attempt_at = Some(turn.now.plus(wait));
    }

    /// Closes the connection and clears all per-connection state.
    fn close(&mut self, turn: &mut Turn<'_>) {
        if matches!(self.phase, Phase::Connecting { .. } | Phase::Open { .. }) {
            turn.effect(Effect::Disconnect(turn.ctx.link.generation));
        }
        turn.ctx.link.generation = turn.ctx.link.generation.next();
        turn.ctx.link.online = false;
        turn.ctx.link.unanswered = None;
        turn.announce(Notice::Disconnected);
    }

    pub(super) async fn tick(&mut self, turn: &mut Turn<'_>) -> Result<Due, AccountError> {
        let (now, unanswered) = (turn.steady, turn.ctx.link.unanswered);
        match self.phase {
            Phase::Waiting { until } if until <= now => self.connect(turn).await?,
            Phase::RateLimited { until } if until <= now => self.open(turn).await?,
            Phase::Connecting { deadline } if deadline <= now => {
                self.reconnect(turn, DisconnectReason::Lost("connecting timed out".to_owned()));
            }
            Phase::Open { .. } if unanswered.is_some_and(|since| since.plus(DEAD_AFTER) <= now) => {
                self.reconnect(turn, DisconnectReason::Lost("the connection is dead: no traffic".to_owned()));
            }
            Phase::Open { since, ping_at } => {
                let ping = ping_at <= now;
                if ping {
                    self.phase = Phase::Open { since, ping_at: next_ping(turn) };
                }
                return Ok(Due::Watch { ping });
            }
            _ => {}
        }
        Ok(Due::Nothing)
    }
}

fn next_ping(turn: &mut Turn<'_>) -> Monotonic {
    turn.steady.plus(Duration::from_millis(turn.ctx.rng.random_range(15_000..30_000)))
}
