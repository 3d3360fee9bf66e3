//! History from our own phone: parsed here and announced in pages to the other features.

use crate::account::error::AccountError;
use crate::account::turn::Turn;
use crate::account::turn::context::Context;
use crate::account::turn::feature::Feature;
use crate::account::turn::notice::Notice;
use crate::account::turn::requests::Requests;
use std::convert::Infallible;

/// This feature takes no commands.
#[derive(Debug)]
pub enum Command {}

#[derive(Debug, Default)]
pub(in crate::account) struct History {
    requests: Requests<Infallible>,
}

impl Feature for History {
    type Command = Command;
    type Request = Infallible;

    fn load(_: &Context) -> Result<Self, AccountError> {
        Ok(Self::default())
    }

    fn requests(&mut self) -> &mut Requests<Infallible> {
        &mut self.requests
    }

    async fn command(&mut self, _: &mut Turn<'_>, command: Command) -> Result<(), AccountError> {
        match command {}
    }

    async fn notice(&mut self, turn: &mut Turn<'_>, notice: &Notice) -> Result<(), AccountError> {
        if let Notice::HistoryReceived(history) = notice {
            match history.read() {
                Ok(Some(page)) => turn.announce(Notice::HistoryPage(Box::new(page))),
                // This part is on the media host.
                Ok(None) => {}
                Err(error) => tracing::warn!(account = %turn.ctx.id, %error, "malformed history skipped"),
            }
        }
        Ok(())
    }
}
