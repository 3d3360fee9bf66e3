//! XEdDSA: signatures with Curve25519 keys (Signal's "The XEdDSA and VXEdDSA Signature Schemes", section 2;
//! `wire-protocol.md` 2.2). The sign bit of the Edwards public key travels in the top bit of the signature.

use super::keys::{PublicKey, SecretKey};
use curve25519_dalek::constants::ED25519_BASEPOINT_TABLE;
use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::montgomery::MontgomeryPoint;
use curve25519_dalek::scalar::{Scalar, clamp_integer};
use rand::CryptoRng;
use sha2::{Digest, Sha512};
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// Signs `message`; 64 random bytes are drawn from `rng`.
pub fn sign(secret: &SecretKey, message: &[u8], rng: &mut dyn CryptoRng) -> [u8; 64] {
    let mut random = [0; 64];
    rng.fill_bytes(&mut random);
    let signature = sign_with_nonce(secret, message, &random);
    random.zeroize();
    signature
}

/// Signs with given randomness, for known answers.
fn sign_with_nonce(secret: &SecretKey, message: &[u8], random: &[u8; 64]) -> [u8; 64] {
    let mut a = Scalar::from_bytes_mod_order(clamp_integer(*secret.expose()));
    let public = (&a * ED25519_BASEPOINT_TABLE).compress();
    let sign_bit = public.as_bytes()[31] & 0x80;

    let mut prefix = [0xff; 32];
    prefix[0] = 0xfe;
    let mut r = Scalar::from_hash(
        Sha512::new().chain_update(prefix).chain_update(secret.expose()).chain_update(message).chain_update(random),
    );
    let big_r = (&r * ED25519_BASEPOINT_TABLE).compress();
    let h = challenge(big_r.as_bytes(), public.as_bytes(), message);
    let s = r + h * a;
    a.zeroize();
    r.zeroize();

    let mut signature = [0; 64];
    signature[..32].copy_from_slice(big_r.as_bytes());
    signature[32..].copy_from_slice(s.as_bytes());
    signature[63] = (signature[63] & 0x7f) | sign_bit;
    signature
}

/// Whether `signature` over `message` is `public`'s. Anything malformed is simply not a signature.
#[must_use]
pub fn verify(public: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
    let Ok(signature) = <&[u8; 64]>::try_from(signature) else {
        return false;
    };
    let sign_bit = signature[63] >> 7;
    let Some(point) = MontgomeryPoint(*public.as_bytes()).to_edwards(sign_bit) else {
        return false;
    };
    let (big_r, tail) = signature.split_at(32);
    let mut s_bytes = [0; 32];
    s_bytes.copy_from_slice(tail);
    s_bytes[31] &= 0x7f;
    if s_bytes[31] & 0xe0 != 0 {
        return false;
    }
    let s = Scalar::from_bytes_mod_order(s_bytes);
    let h = challenge(big_r, point.compress().as_bytes(), message);
    let expected = EdwardsPoint::vartime_double_scalar_mul_basepoint(&h, &-point, &s).compress();
    expected.as_bytes().as_slice().ct_eq(big_r).into()
}

fn challenge(big_r: &[u8], public: &[u8; 32], message: &[u8]) -> Scalar {
    Scalar::from_hash(Sha512::new().chain_update(big_r).chain_update(public).chain_update(message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::testing::{bytes, vector_bytes, vectors};

    #[test]
    fn signatures_equal_the_known_answers_for_both_sign_bits() {
        let v = &vectors()["xeddsa"];
        let message = v["message_utf8"].as_str().unwrap().as_bytes();
        for case in [v, &v["other_sign_bit"]] {
            let secret = SecretKey::from_bytes(bytes(&case["private_clamped"]));
            assert_eq!(secret.public().as_bytes(), &bytes::<32>(&case["public_montgomery"]));
            let signature = sign_with_nonce(&secret, message, &bytes(&case["random64"]));
            assert_eq!(signature, bytes::<64>(&case["signature"]));
            assert!(verify(&secret.public(), message, &signature));
        }
    }

    #[test]
    fn libsignals_known_signature_verifies() {
        let v = &vectors()["xeddsa"];
        let public = PublicKey::from_bytes(bytes(&v["libsignal_kat_public_key"]));
        let message = vector_bytes(&v["libsignal_kat_message"]);
        assert!(verify(&public, &message, &vector_bytes(&v["libsignal_kat_signature"])));
    }

    #[test]
    fn altered_signatures_are_refused() {
        let v = &vectors()["xeddsa"];
        let public = PublicKey::from_bytes(bytes(&v["public_montgomery"]));
        let message = v["message_utf8"].as_str().unwrap().as_bytes();
        for (what, signature) in v["must_not_verify (public_montgomery, message_utf8)"].as_object().unwrap() {
            assert!(!verify(&public, message, &vector_bytes(signature)), "{what}");
        }
        assert!(!verify(&public, message, &[0; 63]), "a short signature");
    }
}
