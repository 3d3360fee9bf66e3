//! The list of features. A macro makes the struct that holds them, the commands and the dispatch from it.
//!
//! Notices are delivered, and `settle` is called, in the order of the list.

use super::error::AccountError;
use super::settings::Retention;
use super::turn::Turn;
use super::turn::context::Context;
use super::turn::feature::{Ack, AgingKind, Feature};
use super::turn::requests::Response;
use super::turn::view_events;
use super::view::AccountView;
use crate::base::counts::Counts;
use crate::base::time::{Monotonic, Timestamp};
use crate::wire::{Jid, Node};

/// The type of every event that an account makes, sorted.
pub fn event_types() -> Vec<&'static str> {
    let mut types: Vec<_> = Features::event_types().chain(view_events::TYPES).collect();
    types.sort_unstable();
    types
}

/// Rounds of notices and `settle` within one turn.
const MAX_ROUNDS: usize = 16;

macro_rules! features {
    ($($room:ident :: $feature:ident),* $(,)?) => {
        pub(in crate::account) struct Features {
            $($room: super::$room::$feature,)*
        }

/// A command of an account.
        #[derive(Debug)]
        pub enum Command {
            $($feature(super::$room::Command),)*
        }

        $(impl From<super::$room::Command> for Command {
            fn from(command: super::$room::Command) -> Self {
                Self::$feature(command)
            }
        })*

        impl Features {
            pub(in crate::account) fn load(ctx: &Context) -> Result<Self, AccountError> {
                Ok(Self { $($room: super::$room::$feature::load(ctx)?,)* })
            }

            pub(in crate::account) async fn command(&mut self, turn: &mut Turn<'_>, command: Command) -> Result<(), AccountError> {
                match command {
                    $(Command::$feature(command) => self.$room.command(turn, command).await,)*
                }
            }

            pub(in crate::account) fn arrived(&mut self, turn: &mut Turn<'_>, node: &Node) {
                $(self.$room.arrived(turn, node);)*
            }

            /// Gives the stanza to the feature with the most specific route; `None` when no feature claims it.
            pub(in crate::account) async fn stanza(&mut self, turn: &mut Turn<'_>, node: &Node) -> Result<Option<Ack>, AccountError> {
                let mut best = (0, None);
                $(for route in super::$room::$feature::ROUTES {
                    if let Some(rank) = route.matches(node) && (best.1.is_none() || rank > best.0) {
                        best = (rank, Some(stringify!($room)));
                    }
                })*
                $(if best.1 == Some(stringify!($room)) {
                    return self.$room.stanza(turn, node).await.map(Some);
                })*
                Ok(None)
            }

            /// Gives a response to the feature that sent the request. False when its id is unknown.
            pub(in crate::account) async fn response(&mut self, turn: &mut Turn<'_>, id: &str, response: Response<'_>) -> Result<bool, AccountError> {
                $(if let Some(request) = self.$room.requests().take(id) {
                    if let Response::Refused(code) = response {
                        tracing::warn!(account = %turn.ctx.id, feature = stringify!($room), code, "request refused by the service");
                    }
                    match self.$room.response(turn, &request, response).await {
// Whatever waits for the response must be resumed.
                        Err(AccountError::Stanza(error)) => {
                            tracing::warn!(account = %turn.ctx.id, feature = stringify!($room), %error, "malformed response");
                            self.$room.response(turn, &request, Response::Missing).await?;
                        }
                        other => other?,
                    }
                    return Ok(true);
                })*
                Ok(false)
            }

            /// A deadline has passed: expired requests first, then every feature's own.
            pub(in crate::account) async fn tick(&mut self, turn: &mut Turn<'_>) -> Result<(), AccountError> {
                $(while let Some(request) = self.$room.requests().take_expired(turn.steady) {
                    self.$room.response(turn, &request, Response::Missing).await?;
                    self.hand_round(turn).await?;
                })*
                $(self.$room.tick(turn).await?;
                self.hand_round(turn).await?;)*
                Ok(())
            }

            /// Hands the announced notices to every feature, and those that they announce meanwhile.
            async fn hand_round(&mut self, turn: &mut Turn<'_>) -> Result<(), AccountError> {
                for _ in 0..MAX_ROUNDS {
                    let round = turn.take_notices();
                    if round.is_empty() {
                        return Ok(());
                    }
                    for notice in &round {
                        $(self.$room.notice(turn, notice).await?;)*
                    }
                }
                Err(AccountError::Unsettled { rounds: MAX_ROUNDS })
            }

            async fn settle_each(&mut self, turn: &mut Turn<'_>) -> Result<(), AccountError> {
                $(self.$room.settle(turn).await?;)*
                Ok(())
            }

            pub(in crate::account) fn deadline(&mut self, ctx: &Context) -> Option<Monotonic> {
                let deadlines = [$(self.$room.deadline(ctx), self.$room.requests().deadline(),)*];
                deadlines.into_iter().flatten().min()
            }

            pub(in crate::account) fn show(&self, ctx: &Context, view: &mut AccountView) {
                $(self.$room.show(ctx, view);)*
            }

            pub(in crate::account) fn aging() -> impl Iterator<Item = AgingKind> {
                let kinds: [&[AgingKind]; _] = [$(super::$room::$feature::AGING,)*];
                kinds.into_iter().flatten().copied()
            }

            pub(in crate::account) fn event_types() -> impl Iterator<Item = &'static str> {
                let types: [&[&'static str]; _] = [$(super::$room::$feature::EVENTS,)*];
                types.into_iter().flatten().copied()
            }

            pub(in crate::account) fn expires(&self, kind: AgingKind, value: &[u8], limits: &Retention) -> Result<Option<Timestamp>, AccountError> {
                $(if super::$room::$feature::AGING.contains(&kind) {
                    return self.$room.expires(kind, value, limits);
                })*
                Ok(None)
            }

            pub(in crate::account) fn concerns(&self, kind: AgingKind, value: &[u8], names: &[String]) -> Result<Option<&'static str>, AccountError> {
                $(if super::$room::$feature::AGING.contains(&kind) {
                    return self.$room.concerns(kind, value, names);
                })*
                Ok(None)
            }

            pub(in crate::account) async fn erase(&mut self, turn: &mut Turn<'_>, contact: &[Jid], counts: &mut Counts) -> Result<(), AccountError> {
                $(self.$room.erase(turn, contact, counts).await?;)*
                Ok(())
            }
        }
    };
}

features! {
    connection::Connection,
    linking::Linking,
    directory::Directory,
    prekeys::PreKeyUploads,
    groups::Groups,
    privacy::Privacy,
    messages::Messages,
    history::History,
    restore::Restore,
    calls::Calls,
}

impl Features {
    /// Delivers notices and settles every feature, until no notice is left.
    pub(in crate::account) async fn settle(&mut self, turn: &mut Turn<'_>) -> Result<(), AccountError> {
        for _ in 0..MAX_ROUNDS {
            self.hand_round(turn).await?;
            self.settle_each(turn).await?;
            if !turn.has_notices() {
                return Ok(());
            }
        }
        Err(AccountError::Unsettled { rounds: MAX_ROUNDS })
    }
}
