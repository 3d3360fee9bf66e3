//! One client's WebSocket.

use super::host::WorldHost;
use crate::sandbox::world::ConnectionId;
use actix_web::{Error, HttpRequest, HttpResponse, web};
use actix_ws::Message;
use futures_util::StreamExt;
use tokio::sync::mpsc;

const MAX_FRAME: usize = 16 * 1024 * 1024;

pub(super) async fn accept(
    request: HttpRequest,
    body: web::Payload,
    host: web::Data<WorldHost>,
) -> Result<HttpResponse, Error> {
    let (response, session, messages) = actix_ws::handle(&request, body)?;
    let (id, output) = host.connect();
    let messages = messages.max_frame_size(MAX_FRAME);
    actix_web::rt::spawn(relay(id, host.get_ref().clone(), session, messages, output));
    Ok(response)
}

async fn relay(
    id: ConnectionId,
    host: WorldHost,
    mut session: actix_ws::Session,
    mut messages: actix_ws::MessageStream,
    mut output: mpsc::UnboundedReceiver<Vec<u8>>,
) {
    loop {
        tokio::select! {
            bytes = output.recv() => match bytes {
                Some(bytes) => {
                    if session.binary(bytes).await.is_err() {
                        break;
                    }
                }
                None => break,
            },
            message = messages.next() => match message {
                Some(Ok(Message::Binary(bytes))) => host.received(id, bytes.to_vec()),
                Some(Ok(Message::Ping(bytes))) => {
                    if session.pong(&bytes).await.is_err() {
                        break;
                    }
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => break,
                Some(Ok(_)) => {}
            },
        }
    }
    host.closed(id);
    // The other side may have closed first.
    let _ = session.close(None).await;
}
