//! Restart of a sandbox without stored state: it has other keys and no accounts.

use crate::served::{Served, until};
use wharf::app::start_sandbox;

#[actix_web::test]
async fn root_of_a_restarted_sandbox_is_queried_again_when_its_certificate_is_refused() {
    let it = Served::start().await;
    it.client.linked("alice", "15550001111").await;
    let address = it.sandbox.address.to_string();
    it.sandbox.stop().await;
    let restarted = start_sandbox(&address).unwrap();
    until("the account learns that its device is unlinked", async || {
        (it.client.state("alice").await == "logged_out").then_some(())
    })
    .await;
    it.client.linked("bob", "15550002222").await;
    it.running.stop().await.unwrap();
    restarted.stop().await;
}
