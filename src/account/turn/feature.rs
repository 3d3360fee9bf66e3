//! A feature: one capability of the account, with its own state, requests and records.

use super::context::Context;
use super::current::Turn;
use super::notice::Notice;
use super::requests::{Requests, Response};
use crate::account::error::AccountError;
use crate::account::settings::Retention;
use crate::account::view::AccountView;
use crate::base::counts::Counts;
use crate::base::time::{Monotonic, Timestamp};
use crate::storage::{Kind, owner};
use crate::wire::{Jid, Node};
use std::fmt::Debug;

/// A shape of stanzas that a feature claims. The most specific route wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::account) struct Route {
    tag: &'static str,
    kind: Option<&'static str>,
    child: Option<&'static str>,
}

impl Route {
    pub(in crate::account) const fn tag(tag: &'static str) -> Self {
        Self { tag, kind: None, child: None }
    }

    pub(in crate::account) const fn kind(tag: &'static str, kind: &'static str) -> Self {
        Self { tag, kind: Some(kind), child: None }
    }

    /// `kind` is the stanza's `type`, empty where it has none.
    pub(in crate::account) const fn child(tag: &'static str, kind: &'static str, child: &'static str) -> Self {
        Self { tag, kind: if kind.is_empty() { None } else { Some(kind) }, child: Some(child) }
    }

    /// How specific the route is for this stanza; `None` when it does not match.
    pub(in crate::account) fn matches(&self, node: &Node) -> Option<u8> {
        let fits = node.tag == self.tag
            && self.kind.is_none_or(|kind| node.is("type", kind))
            && self.child.is_none_or(|child| node.find(child).is_some());
        fits.then(|| u8::from(self.kind.is_some()) + u8::from(self.child.is_some()))
    }
}

/// Selects who acknowledges a stanza.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::account) enum Ack {
    /// The frame acknowledges it after the feature returns.
    Now,
    /// The feature acknowledges it.
    Own,
}

/// A kind of records for retention and erasure.
pub(in crate::account) type AgingKind = Kind<owner::Retention>;

pub(in crate::account) trait Feature: Sized {
    type Command: Debug;
    /// `Infallible` where the feature asks the service nothing.
    type Request: Debug;
    const ROUTES: &'static [Route] = &[];
    /// Kinds of its records that retention and erasure read.
    const AGING: &'static [AgingKind] = &[];

    /// Types of the events that it makes (`api.md`, "Events").
    const EVENTS: &'static [&'static str] = &[];

    fn load(ctx: &Context) -> Result<Self, AccountError>;

    fn requests(&mut self) -> &mut Requests<Self::Request>;

    async fn command(&mut self, turn: &mut Turn<'_>, command: Self::Command) -> Result<(), AccountError>;

    /// Handles the response to a request. After a malformed result (`AccountError::Stanza`) it is called again with
    /// [`Response::Missing`].
    async fn response(&mut self, _: &mut Turn<'_>, _: &Self::Request, _: Response<'_>) -> Result<(), AccountError> {
        Ok(())
    }

    /// Sees every stanza before it is routed.
    fn arrived(&mut self, _: &mut Turn<'_>, _: &Node) {}

    /// Handles a stanza of [`ROUTES`](Self::ROUTES). Parses first and changes afterwards: a malformed stanza changes nothing.
    async fn stanza(&mut self, _: &mut Turn<'_>, _: &Node) -> Result<Ack, AccountError> {
        Ok(Ack::Now)
    }

    async fn notice(&mut self, _: &mut Turn<'_>, _: &Notice) -> Result<(), AccountError> {
        Ok(())
    }

    /// Called after a deadline of any feature has passed.
    async fn tick(&mut self, _: &mut Turn<'_>) -> Result<(), AccountError> {
        Ok(())
    }

    /// Called after the input and its notices, until no notice is left.
    async fn settle(&mut self, _: &mut Turn<'_>) -> Result<(), AccountError> {
        Ok(())
    }

    fn deadline(&self, _: &Context) -> Option<Monotonic> {
        None
    }

    fn show(&self, _: &Context, _: &mut AccountView) {}

    /// When a record of [`AGING`](Self::AGING) may be removed; `None` while it is needed.
    fn expires(&self, _: AgingKind, _: &[u8], _: &Retention) -> Result<Option<Timestamp>, AccountError> {
        Ok(None)
    }

    /// The name in counts of a record of [`AGING`](Self::AGING) that is about this contact; `None` when it is about others.
    fn concerns(&self, _: AgingKind, _: &[u8], _: &[String]) -> Result<Option<&'static str>, AccountError> {
        Ok(None)
    }

    /// Erases a contact's records outside those of [`AGING`](Self::AGING).
    async fn erase(&mut self, _: &mut Turn<'_>, _: &[Jid], _: &mut Counts) -> Result<(), AccountError> {
        Ok(())
    }
}
