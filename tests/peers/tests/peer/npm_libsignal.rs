//! One device that uses npm `libsignal` 6.0.0, in a separate process (`baileys/libsignal.mjs`).

use crate::libsignal::conversation::{End, Offer, Refusal, Sent};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use wharf::signal::{IdentityKey, PreKeyBundle, PreKeyId, PublicKey, SignedPreKeyId};

pub struct NodePeer {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl NodePeer {
    pub fn start() -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("baileys");
        assert!(folder.join("node_modules").is_dir(), "run `npm ci` in tests/peers/baileys first");
        let mut child = Command::new("node")
            .arg("libsignal.mjs")
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, stdin, stdout: BufReader::new(stdout) }
    }

    fn ask(&mut self, command: &str, mut arguments: Value) -> Value {
        arguments["command"] = json!(command);
        writeln!(self.stdin, "{arguments}").unwrap();
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        let answer: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(answer["error"], Value::Null, "{command}");
        answer
    }
}

impl Drop for NodePeer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn bytes(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl End for NodePeer {
    fn offer(&mut self) -> Offer {
        let offer = self.ask("offer", json!({}));
        let id = |value: &Value| u32::try_from(value.as_u64().unwrap()).unwrap();
        let key = |value: &Value| PublicKey::parse(&bytes(value), "key").unwrap();
        let (signed, one_time) = (&offer["signed"], &offer["one_time"]);
        Offer::Bundle(Box::new(PreKeyBundle {
            registration_id: id(&offer["registration_id"]),
            identity: IdentityKey(key(&offer["identity"])),
            signed_pre_key_id: SignedPreKeyId::new(id(&signed["id"])).unwrap(),
            signed_pre_key: key(&signed["key"]),
            signature: bytes(&signed["signature"]),
            one_time: Some((PreKeyId::new(id(&one_time["id"])).unwrap(), key(&one_time["key"]))),
        }))
    }

    fn take(&mut self, offer: &Offer) {
        let Offer::Bundle(bundle) = offer else { panic!("a bundle is expected") };
        let one_time = bundle.one_time.map(|(id, key)| json!({ "id": id.get(), "key": hex(&key.typed()) }));
        let signed = json!({
            "id": bundle.signed_pre_key_id.get(),
            "key": hex(&bundle.signed_pre_key.typed()),
            "signature": hex(&bundle.signature),
        });
        let identity = hex(&bundle.identity.0.typed());
        let registration_id = bundle.registration_id;
        let offer =
            json!({ "registration_id": registration_id, "identity": identity, "signed": signed, "one_time": one_time });
        self.ask("take", offer);
    }

    fn write(&mut self, text: &[u8]) -> Option<Sent> {
        let sent = self.ask("write", json!({ "text": hex(text) }));
        Some(Sent { bytes: bytes(&sent["bytes"]), is_prekey: sent["is_prekey"].as_bool().unwrap() })
    }

    fn read(&mut self, sent: &Sent) -> Result<Vec<u8>, Refusal> {
        let read = self.ask("read", json!({ "bytes": hex(&sent.bytes), "is_prekey": sent.is_prekey }));
        // Its one refusal for every reason is that no session fits.
        if read["refused"].is_null() { Ok(bytes(&read["text"])) } else { Err(Refusal::Invalid) }
    }

    fn archive(&mut self) {}
    fn snapshot(&mut self) {}
    fn restore(&mut self) {}
}
