//! The router: takes one input a turn, hands it to its feature, settles, and returns the changes to commit and the effects that follow.
//! It knows no capability.

use super::children::asks::Children;
use super::error::AccountError;
use super::features::{Command, Features};
use super::own_device::OwnDevice;
use super::retention::{ErasePage, Erased, Sweep};
use super::settings::Settings;
use super::turn::Turn;
use super::turn::context::Context;
use super::turn::counter::Counter;
use super::turn::effect::Effect;
use super::turn::feature::Ack;
use super::turn::idempotency::Once;
use super::turn::notice::Notice;
use super::turn::reply::ReplyTo;
use super::turn::requests::Response;
use super::turn::view_events::{QrShown, StateChanged};
use super::view::AccountView;
use crate::base::ids::{AccountId, Generation};
use crate::base::time::{Moment, Monotonic};
use crate::storage::{AccountStore, Changes};
use crate::wire::Node;
use rand::rngs::StdRng;
use std::sync::Arc;

/// The input of a turn.
#[derive(Debug)]
pub enum Input {
    /// A command, with its fingerprint where it came under an `Idempotency-Key`.
    Command(Box<Command>, Option<Once>),
    /// Remove expired records of the next page. Answers whether there are more pages.
    Sweep(ReplyTo<bool>),
    /// Erase the next page of a contact's records.
    Erase(Box<ErasePage>, ReplyTo<Erased>),
    /// The handshake is complete.
    Connected(Generation),
    Stanza(Generation, Box<Node>),
    /// A poison stanza: it is skipped.
    Poison(Generation, Box<Node>),
    Disconnected(Generation, String),
    /// A deadline has passed.
    Tick,
    /// Drop from memory what can be read again from the store.
    Rest,
}

/// One account's router.
pub struct Router {
    ctx: Context,
    features: Features,
    sweep: Sweep,
    /// The last published view.
    view: AccountView,
    /// When [`Input::Tick`] is due.
    deadline: Option<Monotonic>,
}

impl Router {
    /// Loads the account's records, except those of the children.
    pub fn load(
        id: AccountId,
        store: AccountStore,
        settings: Arc<Settings>,
        device: OwnDevice,
        rng: StdRng,
    ) -> Result<Self, AccountError> {
        let mut ctx = Context::new(id, store, settings, device, rng);
        ctx.renew_iq_ids();
        let features = Features::load(&ctx)?;
        let view = compute_view(&features, &ctx);
        Ok(Self { ctx, features, sweep: Sweep::default(), view, deadline: None })
    }

    pub fn view(&self) -> &AccountView {
        &self.view
    }

    /// When [`Input::Tick`] is due.
    pub fn deadline(&self) -> Option<Monotonic> {
        self.deadline
    }

    /// Takes one turn. Returns the changes to commit, and the effects that follow once they are durable.
    pub async fn turn(
        &mut self,
        input: Input,
        now: Moment,
        children: &mut dyn Children,
    ) -> Result<(Changes, Vec<Effect>), AccountError> {
        let Self { ctx, features, sweep, view, deadline } = self;
        let current = ctx.link.generation;
        let mut turn = Turn::new(now, ctx, children);
        match input {
            Input::Command(command, once) => run_command(features, &mut turn, *command, once).await?,
            Input::Sweep(reply) => {
                let more = sweep.next_page(features, &mut turn)?;
                turn.reply(&reply, Ok(more));
            }
            Input::Erase(page, reply) => {
                let erased = page.erase(features, &mut turn).await?;
                turn.reply(&reply, Ok(erased));
            }
            Input::Connected(generation) if generation == current => turn.announce(Notice::HandshakeDone),
            Input::Stanza(generation, node) if generation == current => {
                features.arrived(&mut turn, &node);
                stanza(features, &mut turn, &node).await?;
            }
            Input::Poison(generation, node) if generation == current => {
                tracing::error!(account = %turn.ctx.id, stanza = %node.tag, "stanza brought the account down twice, skipped");
                features.arrived(&mut turn, &node);
                turn.acknowledge(&node);
                turn.announce(Notice::Poison(node));
            }
            Input::Disconnected(generation, why) if generation == current => {
                turn.announce(Notice::ConnectionLost { why });
            }
            Input::Tick => features.tick(&mut turn).await?,
            Input::Rest => turn.rest().await?,
            // From an earlier connection.
            Input::Connected(_) | Input::Stanza(..) | Input::Poison(..) | Input::Disconnected(..) => {}
        }
        features.settle(&mut turn).await?;
        publish_view(features, &mut turn, view);
        let finished = turn.finish();
        *deadline = features.deadline(ctx);
        Ok(finished)
    }
}

async fn run_command(
    features: &mut Features,
    turn: &mut Turn<'_>,
    command: Command,
    once: Option<Once>,
) -> Result<(), AccountError> {
    let Some(once) = once else { return features.command(turn, command).await };
    if turn.begin_once(&once)? {
        features.command(turn, command).await?;
        turn.suspend_once(&once);
    }
    Ok(())
}

/// Dispatches a stanza. A malformed one is acknowledged and skipped, or the service would deliver it on every connection.
async fn stanza(features: &mut Features, turn: &mut Turn<'_>, node: &Node) -> Result<(), AccountError> {
    if node.tag == "iq" && (node.is("type", "result") || node.is("type", "error")) {
        return response(features, turn, node).await;
    }
    let ack = match features.stanza(turn, node).await {
        Ok(Some(ack)) => ack,
        Ok(None) => {
            turn.count(Counter::Unclaimed);
            tracing::debug!(account = %turn.ctx.id, stanza = %node.tag, kind = ?node.text("type"), "unclaimed stanza");
            Ack::Now
        }
        Err(AccountError::Stanza(error)) => {
            turn.count(if turn.has_touched() { Counter::HalfHandled } else { Counter::Malformed });
            tracing::warn!(account = %turn.ctx.id, stanza = %node.tag, %error, "malformed stanza skipped");
            Ack::Now
        }
        Err(error) => return Err(error),
    };
    let is_acknowledged = matches!(node.tag.as_ref(), "message" | "receipt" | "notification" | "call");
    if ack == Ack::Now && is_acknowledged {
        turn.acknowledge(node);
    }
    Ok(())
}

async fn response(features: &mut Features, turn: &mut Turn<'_>, node: &Node) -> Result<(), AccountError> {
    let id = node.text("id").unwrap_or_default();
    let response = if node.is("type", "result") {
        Response::Result(node)
    } else {
        Response::Refused(node.find("error").and_then(|error| error.number("code")).unwrap_or(0))
    };
    if !features.response(turn, &id, response).await? {
        // It came after its deadline, or answers nothing that we asked.
        turn.count(Counter::Unclaimed);
    }
    Ok(())
}

fn compute_view(features: &Features, ctx: &Context) -> AccountView {
    let mut view = AccountView::of(ctx.own());
    features.show(ctx, &mut view);
    view
}

/// Publishes a changed view, and its state and QR code as events.
fn publish_view(features: &Features, turn: &mut Turn<'_>, published: &mut AccountView) {
    let view = compute_view(features, turn.ctx);
    if view == *published {
        return;
    }
    if view.code != published.code
        && let Some(code) = &view.code
    {
        turn.event(&QrShown::of(code));
    }
    if (view.state, &view.reason) != (published.state, &published.reason) {
        turn.event(&StateChanged::of(&view));
    }
    *published = view.clone();
    turn.effect_first(Effect::View(Box::new(view)));
}
