//! Report of a failed decryption: every state that was tried, without a secret (`signal-protocol.txt`, "Session state
//! corruption").

use super::keys::PublicKey;
use super::message::SignalMessage;
use super::ratchet::SessionState;
use super::session::Session;
use std::fmt;

/// The decryption attempts for one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecryptionReport {
    pub ratchet_key: PublicKey,
    pub counter: u32,
    /// The current state first, then the archived ones, newest first.
    pub states: Vec<StateReport>,
}

/// One state of the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateReport {
    /// `None` is the current one.
    pub archived: Option<usize>,
    pub base_key: PublicKey,
    /// Whether the peer has answered in it.
    pub confirmed: bool,
    pub chains: Vec<ChainReport>,
}

/// One receiver chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainReport {
    pub ratchet_key: PublicKey,
    /// The counter of the next message.
    pub index: u32,
    /// Skipped message keys that are kept.
    pub skipped: usize,
}

impl Session {
    /// Reports on a message that [`decrypt`](Session::decrypt) refused.
    pub fn report(&self, message: &SignalMessage) -> DecryptionReport {
        let current = self.current.iter().map(|state| (None, state));
        let archived = self.archived.iter().enumerate().map(|(place, state)| (Some(place), &**state));
        DecryptionReport {
            ratchet_key: *message.ratchet_key(),
            counter: message.counter(),
            states: current.chain(archived).map(|(place, state)| state_report(place, state)).collect(),
        }
    }
}

fn state_report(archived: Option<usize>, state: &SessionState) -> StateReport {
    let chains = state.receivers.iter().map(|chain| ChainReport {
        ratchet_key: chain.ratchet_key,
        index: chain.window.chain.index(),
        skipped: chain.window.skipped.len(),
    });
    StateReport { archived, base_key: state.base_key, confirmed: state.pending.is_none(), chains: chains.collect() }
}

/// The first eight hex digits of a public key: enough to tell chains apart.
struct Short<'a>(&'a PublicKey);

impl fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0.as_bytes()[..4]))
    }
}

impl fmt::Display for DecryptionReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "message {} of chain {}; {} states tried",
            self.counter,
            Short(&self.ratchet_key),
            self.states.len()
        )?;
        for state in &self.states {
            match state.archived {
                None => write!(f, "; current")?,
                Some(place) => write!(f, "; archived {place}")?,
            }
            write!(f, " {}{}", Short(&state.base_key), if state.confirmed { "" } else { " (unconfirmed)" })?;
            for chain in &state.chains {
                write!(f, ", chain {} at {} ({} skipped)", Short(&chain.ratchet_key), chain.index, chain.skipped)?;
            }
        }
        Ok(())
    }
}
