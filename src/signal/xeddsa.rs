//! XEdDSA: signatures with Curve25519 keys (Signal's "The XEdDSA and VXEdDSA Signature Schemes", section 2;
//! `wire-protocol.md` 2.2). The sign bit of the Edwards public key travels in the top bit of the signature.

use super::keys::{PreparedPublicKey, PublicKey, SecretKey};
use curve25519_dalek::constants::ED25519_BASEPOINT_TABLE;
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::{Scalar, clamp_integer};
use rand::CryptoRng;
use sha2::{Digest, Sha512};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A secret key prepared for signing: keep it where one key signs often.
#[derive(Clone)]
pub struct Signer {
    secret: SecretKey,
    scalar: Zeroizing<Scalar>,
    public: CompressedEdwardsY,
}

impl Signer {
    pub fn new(secret: &SecretKey) -> Self {
        let scalar = Zeroizing::new(Scalar::from_bytes_mod_order(clamp_integer(*secret.expose())));
        let public = (&*scalar * ED25519_BASEPOINT_TABLE).compress();
        Self { secret: secret.clone(), scalar, public }
    }

    /// Signs `message`; 64 random bytes are drawn from `rng`.
    pub fn sign(&self, message: &[u8], rng: &mut dyn CryptoRng) -> [u8; 64] {
        let mut random = Zeroizing::new([0; 64]);
        rng.fill_bytes(&mut *random);
        self.sign_with_nonce(message, &random)
    }

    /// Signs with given randomness, for known answers.
    fn sign_with_nonce(&self, message: &[u8], random: &[u8; 64]) -> [u8; 64] {
        let mut prefix = [0xff; 32];
        prefix[0] = 0xfe;
        let nonce = Sha512::new().chain_update(prefix).chain_update(self.secret.expose());
        let r = Zeroizing::new(Scalar::from_hash(nonce.chain_update(message).chain_update(random)));
        let big_r = (&*r * ED25519_BASEPOINT_TABLE).compress();
        let h = challenge(big_r.as_bytes(), self.public.as_bytes(), message);
        let s = *r + h * *self.scalar;

        let mut signature = [0; 64];
        signature[..32].copy_from_slice(big_r.as_bytes());
        signature[32..].copy_from_slice(s.as_bytes());
        signature[63] = (signature[63] & 0x7f) | (self.public.as_bytes()[31] & 0x80);
        signature
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer(…)")
    }
}

/// A public key prepared for verification: keep it where one key is verified often.
#[derive(Clone, Debug)]
pub struct Verifier {
    key: PublicKey,
    /// The point with sign 0, and its negative: the signature says which of the two it is. `None` is off the curve, or of low
    /// order: under such a key anyone can forge a signature.
    points: Option<[(EdwardsPoint, CompressedEdwardsY); 2]>,
}

impl Verifier {
    pub fn new(key: &PublicKey) -> Self {
        Self::prepared(&PreparedPublicKey::new(key))
    }

    /// The same, with a key that is on the Edwards curve already.
    pub fn prepared(key: &PreparedPublicKey) -> Self {
        let points = key.point().filter(|point| !point.is_small_order()).map(|&point| {
            let (positive, negative) = (point.compress(), -point);
            // The negative has the same y and the other sign; a point that is its own negative has x = 0, of sign 0.
            let mut flipped = positive;
            flipped.0[31] ^= if point == negative { 0 } else { 0x80 };
            [(point, positive), (negative, flipped)]
        });
        Self { key: *key.key(), points }
    }

    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Whether `signature` over `message` is this key's. Anything malformed is simply not a signature, and so is an `s` that is
    /// not reduced: with it a signature would have a second spelling (RFC 8032 section 5.1.7).
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        let (Ok(signature), Some(points)) = (<&[u8; 64]>::try_from(signature), &self.points) else {
            return false;
        };
        let sign = usize::from(signature[63] >> 7);
        let (big_r, tail) = signature.split_at(32);
        let mut s_bytes = [0; 32];
        s_bytes.copy_from_slice(tail);
        s_bytes[31] &= 0x7f;
        let Some(s) = Scalar::from_canonical_bytes(s_bytes).into_option() else { return false };
        let h = challenge(big_r, points[sign].1.as_bytes(), message);
        let expected = EdwardsPoint::vartime_double_scalar_mul_basepoint(&h, &points[1 - sign].0, &s).compress();
        expected.as_bytes().as_slice().ct_eq(big_r).into()
    }
}

/// Signs once. See [`Signer::sign`].
pub fn sign(secret: &SecretKey, message: &[u8], rng: &mut dyn CryptoRng) -> [u8; 64] {
    Signer::new(secret).sign(message, rng)
}

/// Verifies once. See [`Verifier::verify`].
#[must_use]
pub fn verify(public: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
    Verifier::new(public).verify(message, signature)
}

fn challenge(big_r: &[u8], public: &[u8; 32], message: &[u8]) -> Scalar {
    Scalar::from_hash(Sha512::new().chain_update(big_r).chain_update(public).chain_update(message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::testing::{bytes, vector_bytes, vectors};
    use curve25519_dalek::constants::EIGHT_TORSION;

    #[test]
    fn signatures_equal_the_known_answers_for_both_sign_bits() {
        let v = &vectors()["xeddsa"];
        let message = v["message_utf8"].as_str().unwrap().as_bytes();
        for case in [v, &v["other_sign_bit"]] {
            let secret = SecretKey::from_bytes(bytes(&case["private_clamped"]));
            assert_eq!(secret.public().as_bytes(), &bytes::<32>(&case["public_montgomery"]));
            let signature = Signer::new(&secret).sign_with_nonce(message, &bytes(&case["random64"]));
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
    fn the_negative_of_a_point_is_compressed_by_its_sign_alone() {
        for byte in 0..40 {
            let Some(points) = Verifier::new(&PublicKey::from_bytes([byte; 32])).points else { continue };
            for (point, compressed) in points {
                assert_eq!(point.compress(), compressed, "{byte}");
            }
        }
    }

    /// The keys whose points have order 1, 2, 4 or 8, their unreduced spellings included (RFC 7748 section 7; "May the Fourth").
    fn low_order_keys() -> Vec<PublicKey> {
        let mut keys: Vec<[u8; 32]> = EIGHT_TORSION.iter().map(|point| point.to_montgomery().to_bytes()).collect();
        // p - 1, p and p + 1.
        keys.extend([0xec, 0xed, 0xee].map(|low| {
            let mut key = [0xff; 32];
            (key[0], key[31]) = (low, 0x7f);
            key
        }));
        keys.into_iter().map(PublicKey::from_bytes).collect()
    }

    #[test]
    fn signatures_under_keys_of_low_order_are_refused() {
        for key in low_order_keys() {
            for torsion in EIGHT_TORSION {
                for sign in [0, 0x80] {
                    let s = Scalar::from(7u8);
                    let mut signature = [0; 64];
                    signature[..32].copy_from_slice((ED25519_BASEPOINT_TABLE * &s + torsion).compress().as_bytes());
                    signature[32..].copy_from_slice(s.as_bytes());
                    signature[63] |= sign;
                    assert!(!verify(&key, b"forged", &signature), "{key:?}");
                }
            }
        }
    }

    #[test]
    fn a_signature_has_one_spelling() {
        let v = &vectors()["xeddsa"];
        let public = PublicKey::from_bytes(bytes(&v["public_montgomery"]));
        let message = v["message_utf8"].as_str().unwrap().as_bytes();
        let (_, unreduced) = v.as_object().unwrap().iter().find(|(name, _)| name.starts_with("s_plus_L")).unwrap();
        assert!(!verify(&public, message, &vector_bytes(unreduced)));
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
