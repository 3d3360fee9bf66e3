//! X3DH key agreement (Signal's "The X3DH Key Agreement Protocol", section 3.3; `wire-protocol.md` 2.2):
//! `32×FF ‖ DH(IKa,SPKb) ‖ DH(EKa,IKb) ‖ DH(EKa,SPKb) [‖ DH(EKa,OPKb)]` → HKDF("WhisperText", 96) = root, chain, unused.

use super::SignalError;
use super::chain_key::ChainKey;
use super::keys::{IdentityKey, IdentityKeyPair, KeyPair, PreparedPublicKey, PublicKey, agree_all};
use super::message_key::hkdf_expand;
use super::root_key::{RootKey, split};
use crate::base::secret::Secret;
use zeroize::{Zeroize, Zeroizing};

/// The first root key and the chain of the responder's signed prekey.
pub(super) struct Agreement {
    pub(super) root: RootKey,
    pub(super) chain: ChainKey,
}

/// The initiator's side ("Alice"), and the agreement of its first `ratchet` key with the signed prekey.
pub(super) fn initiate(
    ours: &IdentityKeyPair,
    (base, ratchet): (&KeyPair, &KeyPair),
    their_identity: &PreparedPublicKey,
    their_signed_prekey: &PreparedPublicKey,
    their_one_time_prekey: Option<&PublicKey>,
) -> Result<(Agreement, Secret<32>), SignalError> {
    let one = (ours.secret(), their_signed_prekey);
    let two = (base.secret(), their_identity);
    let three = (base.secret(), their_signed_prekey);
    let turn = (ratchet.secret(), their_signed_prekey);
    match their_one_time_prekey {
        None => {
            let [one, two, three, turn] = agree_all([one, two, three, turn])?;
            Ok((derive(&one, &two, &three, None), turn))
        }
        Some(key) => {
            let key = PreparedPublicKey::new(key);
            let [one, two, three, four, turn] = agree_all([one, two, three, (base.secret(), &key), turn])?;
            Ok((derive(&one, &two, &three, Some(&four)), turn))
        }
    }
}

/// The responder's side ("Bob").
pub(super) fn respond(
    ours: &IdentityKeyPair,
    signed_prekey: &KeyPair,
    one_time_prekey: Option<&KeyPair>,
    their_identity: &IdentityKey,
    their_base: &PublicKey,
) -> Result<Agreement, SignalError> {
    let (identity, base) = (PreparedPublicKey::new(&their_identity.0), PreparedPublicKey::new(their_base));
    let one = (signed_prekey.secret(), &identity);
    let two = (ours.secret(), &base);
    let three = (signed_prekey.secret(), &base);
    match one_time_prekey {
        None => {
            let [one, two, three] = agree_all([one, two, three])?;
            Ok(derive(&one, &two, &three, None))
        }
        Some(pair) => {
            let [one, two, three, four] = agree_all([one, two, three, (pair.secret(), &base)])?;
            Ok(derive(&one, &two, &three, Some(&four)))
        }
    }
}

fn derive(dh1: &Secret<32>, dh2: &Secret<32>, dh3: &Secret<32>, dh4: Option<&Secret<32>>) -> Agreement {
    let mut ikm = Zeroizing::new([0xff; 160]);
    for (i, dh) in [dh1, dh2, dh3].into_iter().chain(dh4).enumerate() {
        let start = 32 * (i + 1);
        ikm[start..start + 32].copy_from_slice(dh.expose());
    }
    let used = if dh4.is_some() { 160 } else { 128 };
    let mut okm = [0; 96];
    hkdf_expand(None, &ikm[..used], b"WhisperText", &mut okm);
    let mut halves = [0; 64];
    halves.copy_from_slice(&okm[..64]);
    let (root, chain) = split(&halves);
    okm.zeroize();
    halves.zeroize();
    Agreement { root: RootKey::new(root), chain: ChainKey::message(chain, 0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::testing::{bytes, pair, vectors};

    #[test]
    fn both_sides_agree_on_the_known_answer_with_and_without_a_one_time_prekey() {
        let v = &vectors()["double_ratchet"];
        let alice = IdentityKeyPair(pair(&v["alice_identity_priv"]));
        let bob = IdentityKeyPair(pair(&v["bob_identity_priv"]));
        let (signed, one_time) = (pair(&v["bob_signed_prekey_priv"]), pair(&v["bob_one_time_prekey_priv"]));
        let base = pair(&v["alice_base_priv"]);
        let prepared = [signed.public(), bob.0.public()].map(PreparedPublicKey::new);
        let ratchet = pair(&v["alice_ratchet_priv"]);
        for (expected, one_time) in [(v, Some(&one_time)), (&v["without_one_time_prekey"], None)] {
            let public = one_time.map(KeyPair::public);
            let (by_alice, turn) = initiate(&alice, (&base, &ratchet), &prepared[1], &prepared[0], public).unwrap();
            assert_eq!(turn, ratchet.secret().agree(signed.public()).unwrap());
            let by_bob = respond(&bob, &signed, one_time, &alice.public(), base.public()).unwrap();
            for agreement in [by_alice, by_bob] {
                assert_eq!(agreement.root.key().expose(), &bytes::<32>(&expected["x3dh_root"]));
                assert_eq!(agreement.chain.key().expose(), &bytes::<32>(&expected["x3dh_chain"]));
            }
        }
    }
}
