//! The sandbox network: `cargo bench --bench sandbox`. Messages of really connected devices (Noise, frames, stanzas), through the world
//! alone and through its sockets, with the clients in the same process; and the memory of phones and devices.

#[allow(dead_code)]
#[path = "../tests/shared/probe.rs"]
mod probe;

use futures_util::{SinkExt, StreamExt};
use probe::Probes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::{WebSocketStream, client_async};
use wharf::app::start_sandbox;
use wharf::base::secret::Secret;
use wharf::sandbox::serve::WorldHost;
use wharf::signal::{IdentityKeyPair, KeyPair, PublicKey, SignedPreKeyId, SignedPreKeyPair};
use wharf::wire::adv::verify_pairing;
use wharf::wire::payload::{ClientVersion, NoiseKeys, login, registration};
use wharf::wire::qr::QrCode;
use wharf::wire::transport::{ClientEvent, ClientTransport};
use wharf::wire::{Jid, Node};

const MESSAGES: usize = 50_000;
const DEVICES: usize = 1000;
/// Prekeys of an upload, as many as Baileys and WhatsApp Web upload.
const PREKEYS: u32 = 812;
const PAIRS: usize = 50;

fn number(at: usize) -> String {
    format!("1555{at:07}")
}

/// To the recipient's phone and device, and to one's own phone: what a client sends.
fn message(id: usize, to: &Jid, devices: &[Jid]) -> Node {
    let enc = || Node::new("enc").attr("v", "2").attr("type", "msg").bytes(vec![7; 200]);
    let participants = devices.iter().map(|device| Node::new("to").attr("jid", device).child(enc()));
    let message = Node::new("message").attr("to", to).attr("id", format!("3EB0{id:018X}")).attr("type", "text");
    message.child(Node::new("participants").children(participants))
}

fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).unwrap_or_default() / 1024.0
}

fn world() {
    let mut net = Probes::forgetful();
    let (a, b) = (net.linked(&number(1)), net.linked(&number(2)));
    net.clear();
    let (to, device) = (net.lid(b).bare(), net.lid(b));
    let begun = Instant::now();
    let mut got = 0;
    for id in 0..MESSAGES {
        net.send(a, message(id, &to, std::slice::from_ref(&device)));
        if id % 100 == 99 {
            net.settle();
            got += net.take(b, "message").len();
            net.clear();
        }
    }
    assert_eq!(got, MESSAGES, "all have arrived");
    let rate = MESSAGES as f64 / begun.elapsed().as_secs_f64();
    println!("through the world, one core, both clients on it: {rate:.0} messages/s (goal 5,000)");
}

fn weight() {
    let before = resident_mib();
    let begun = Instant::now();
    let mut net = Probes::forgetful();
    for at in 0..DEVICES {
        let device = net.linked(&number(at));
        net.upload_prekeys(device, PREKEYS);
        net.clear();
    }
    let weight = resident_mib() - before;
    println!(
        "{DEVICES} phones and {DEVICES} devices with {PREKEYS} prekeys each, their clients beside them: {weight:.0} MiB \
         (goal 1,024), linked in {:.1} s",
        begun.elapsed().as_secs_f64()
    );
}

/// A device with a socket.
struct Client {
    jid: Jid,
    link: ClientTransport,
    socket: WebSocketStream<TcpStream>,
}

struct Keys {
    noise: NoiseKeys,
    identity: IdentityKeyPair,
    adv_secret: Secret<32>,
}

async fn connect(
    url: &str,
    keys: &Keys,
    payload: Vec<u8>,
    rng: &mut StdRng,
) -> (ClientTransport, WebSocketStream<TcpStream>) {
    let address = url.trim_start_matches("ws://").split('/').next().unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut socket, _) = client_async(url, stream).await.unwrap();
    let mut link = ClientTransport::connect(keys.noise.clone(), payload, KeyPair::generate(rng), None).unwrap();
    socket.send(Frame::binary(link.take_output())).await.unwrap();
    (link, socket)
}

/// Reads until a stanza fits.
async fn expect(
    link: &mut ClientTransport,
    socket: &mut WebSocketStream<TcpStream>,
    fits: impl Fn(&Node) -> bool,
) -> Node {
    loop {
        let Some(Ok(Frame::Binary(bytes))) = socket.next().await else { panic!("the sandbox has closed") };
        let events = link.receive(&bytes).unwrap();
        let output = link.take_output();
        if !output.is_empty() {
            socket.send(Frame::binary(output)).await.unwrap();
        }
        for event in events {
            if let ClientEvent::Stanza(node) = event
                && fits(&node)
            {
                return node;
            }
        }
    }
}

async fn linked(url: &str, world: &WorldHost, root: PublicKey, number: String, seed: u64) -> Client {
    let mut rng = StdRng::seed_from_u64(seed);
    let keys = Keys {
        noise: NoiseKeys { ours: KeyPair::generate(&mut rng), root },
        identity: IdentityKeyPair::generate(&mut rng),
        adv_secret: Secret::generate(&mut rng),
    };
    let signed = SignedPreKeyPair::generate(SignedPreKeyId::FIRST, &keys.identity, &mut rng);
    let payload = registration(ClientVersion::DEFAULT, rng.next_u32() >> 1, &keys.identity.public(), &signed, "bench");
    let (mut link, mut socket) = connect(url, &keys, payload, &mut rng).await;
    let offer = expect(&mut link, &mut socket, |node| node.find("pair-device").is_some()).await;
    let reference = String::from_utf8_lossy(offer.find("pair-device").unwrap().nodes()[0].content_bytes()).into_owned();
    let (noise, identity) = (*keys.noise.ours.public(), keys.identity.public());
    let qr = QrCode { reference, noise, identity, adv_secret: keys.adv_secret.clone() }.to_text();
    let scan = move |world: &mut wharf::sandbox::world::World| {
        world.create_phone(&number, None).unwrap();
        world.scan(&number, &qr).unwrap();
    };
    world.with(scan).await.unwrap();
    let success = expect(&mut link, &mut socket, |node| node.find("pair-success").is_some()).await;
    let paired = success.find("pair-success").unwrap();
    let jid = paired.find("device").unwrap().jid("jid").unwrap();
    let container = paired.find("device-identity").unwrap().content_bytes();
    let verified = verify_pairing(container, &keys.adv_secret, &keys.identity.public()).unwrap();
    let signed = verified.self_sign(&keys.identity, &mut rng).unwrap();
    let sign = Node::new("pair-device-sign").child(Node::new("device-identity").bytes(signed));
    link.send(&Node::new("iq").attr("type", "result").attr("id", "1").child(sign)).unwrap();
    socket.send(Frame::binary(link.take_output())).await.unwrap();
    expect(&mut link, &mut socket, |node| node.tag == "stream:error").await;
    let payload = login(&jid, ClientVersion::DEFAULT, 1).unwrap();
    let (mut link, mut socket) = connect(url, &keys, payload, &mut rng).await;
    expect(&mut link, &mut socket, |node| node.find("offline").is_some()).await;
    Client { jid, link, socket }
}

/// Sends its share, a window at a time, and answers received messages. Ends when it has received as many.
async fn talk(mut client: Client, peer: Jid, share: usize, done: Arc<AtomicUsize>) {
    const WINDOW: usize = 20;
    let (mut sent, mut got, mut acknowledged) = (0, 0, 0);
    while got < share || acknowledged < share {
        while sent < share && sent < acknowledged + WINDOW {
            client.link.send(&message(sent, &peer.bare(), std::slice::from_ref(&peer))).unwrap();
            sent += 1;
        }
        let output = client.link.take_output();
        if !output.is_empty() {
            client.socket.send(Frame::binary(output)).await.unwrap();
        }
        let Some(Ok(Frame::Binary(bytes))) = client.socket.next().await else { panic!("the sandbox has closed") };
        for event in client.link.receive(&bytes).unwrap() {
            let ClientEvent::Stanza(node) = event else { continue };
            match node.tag.as_ref() {
                "message" => {
                    got += 1;
                    let receipt = Node::new("receipt").maybe("id", node.get("id").cloned());
                    client.link.send(&receipt.maybe("to", node.get("from").cloned())).unwrap();
                }
                "ack" if node.is("class", "message") => acknowledged += 1,
                "receipt" => {
                    let ack = Node::new("ack").attr("class", "receipt").maybe("id", node.get("id").cloned());
                    client.link.send(&ack.maybe("to", node.get("from").cloned())).unwrap();
                }
                _ => {}
            }
        }
    }
    done.fetch_add(got, Ordering::Relaxed);
    let output = client.link.take_output();
    let _ = client.socket.send(Frame::binary(output)).await;
}

async fn sockets() {
    let sandbox = start_sandbox("127.0.0.1:0").unwrap();
    let url = sandbox.ws_url();
    let root = sandbox.world.with(|world| *world.root_key()).await.unwrap();
    let mut clients = Vec::new();
    for at in 0..2 * PAIRS {
        clients.push(linked(&url, &sandbox.world, root, number(at), at as u64).await);
    }
    let peers: Vec<Jid> = (0..clients.len()).map(|at| clients[at ^ 1].jid.clone()).collect();
    let (done, begun) = (Arc::new(AtomicUsize::new(0)), Instant::now());
    let share = MESSAGES / clients.len();
    let talking = clients
        .into_iter()
        .zip(peers)
        .map(|(client, peer)| actix_web::rt::spawn(talk(client, peer, share, done.clone())));
    for one in talking.collect::<Vec<_>>() {
        one.await.unwrap();
    }
    let rate = done.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64();
    println!(
        "through sockets, {} devices, delivery receipts and acknowledgements beside: {rate:.0} messages/s (goal 3,000)",
        2 * PAIRS
    );
    sandbox.stop().await;
}

fn main() {
    world();
    weight();
    actix_web::rt::System::new().block_on(sockets());
}
