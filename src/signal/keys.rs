//! Curve25519 keys (RFC 7748): ours hold a secret, theirs are only public, and the types keep the sides apart.
//!
//! Invariant: a shared secret is never all zero: a low-order public key is refused (RFC 7748 section 6.1).

use super::SignalError;
use crate::base::secret::Secret;
use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::montgomery::MontgomeryPoint;
use rand::CryptoRng;
use std::fmt;
use subtle::ConstantTimeEq;
use x25519_dalek::{PublicKey as DalekPublic, StaticSecret};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// The type byte before a public key in Signal's own messages (`wire-protocol.md` 2.1).
pub const KEY_TYPE: u8 = 0x05;

/// A public key: 32 bytes, the Montgomery u-coordinate.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads 32 raw bytes, or 33 with the type byte 5 before them. X25519 ignores the highest bit (RFC 7748 section 5), and no
    /// key that was computed has it: with it set, one key would have two spellings, and a message that names it could be
    /// taken for another.
    pub fn parse(bytes: &[u8], what: &'static str) -> Result<Self, SignalError> {
        let raw = match bytes {
            [KEY_TYPE, raw @ ..] if raw.len() == 32 => raw,
            raw => raw,
        };
        match <[u8; 32]>::try_from(raw) {
            Ok(raw) if raw[31] & 0x80 == 0 => Ok(Self(raw)),
            _ => Err(SignalError::InvalidKey { what }),
        }
    }

    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 33-byte form of Signal's messages: the type byte, then the key.
    pub fn typed(&self) -> [u8; 33] {
        let mut out = [KEY_TYPE; 33];
        out[1..].copy_from_slice(&self.0);
        out
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", hex::encode(self.0))
    }
}

/// A secret scalar: 32 clamped bytes, wiped on drop.
#[derive(Clone, ZeroizeOnDrop)]
pub struct SecretKey(StaticSecret);

impl SecretKey {
    pub fn generate(rng: &mut dyn CryptoRng) -> Self {
        let mut bytes = [0; 32];
        rng.fill_bytes(&mut bytes);
        Self::from_bytes(curve25519_dalek::scalar::clamp_integer(bytes))
    }

    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(StaticSecret::from(bytes))
    }

    pub fn parse(bytes: &[u8], what: &'static str) -> Result<Self, SignalError> {
        bytes.try_into().map(Self::from_bytes).map_err(|_| SignalError::InvalidKey { what })
    }

    pub fn expose(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    pub fn public(&self) -> PublicKey {
        PublicKey(DalekPublic::from(&self.0).to_bytes())
    }

    /// X25519. Fails for a low-order `theirs`.
    ///
    /// Computed on the birationally equivalent Edwards curve, where it is faster than by the ladder; a point that is not on
    /// that curve but on its twist goes by the ladder.
    pub fn agree(&self, theirs: &PublicKey) -> Result<Secret<32>, SignalError> {
        self.agree_prepared(&PreparedPublicKey::new(theirs))
    }

    /// The same, with a key that is used more than once.
    pub fn agree_prepared(&self, theirs: &PreparedPublicKey) -> Result<Secret<32>, SignalError> {
        match &theirs.point {
            Some(point) => {
                let product = Zeroizing::new(point.mul_clamped(*self.0.as_bytes()));
                contributory(product.to_montgomery().to_bytes())
            }
            None => contributory(self.0.diffie_hellman(&DalekPublic::from(theirs.key.0)).to_bytes()),
        }
    }

    /// The public half of this key, and its agreement with `theirs`: the two share the cost of leaving the Edwards curve.
    pub(super) fn publish_and_agree(self, theirs: &PreparedPublicKey) -> Result<(KeyPair, Secret<32>), SignalError> {
        let Some(point) = &theirs.point else {
            let shared = self.agree_prepared(theirs)?;
            return Ok((KeyPair::from_secret(self), shared));
        };
        let bytes = *self.0.as_bytes();
        let products = Zeroizing::new([EdwardsPoint::mul_base_clamped(bytes), point.mul_clamped(bytes)]);
        let [public, shared] = leave_edwards(&products);
        Ok((KeyPair { secret: self, public: PublicKey(public) }, contributory(shared)?))
    }
}

/// Several agreements at the price of one return from the Edwards curve.
pub(super) fn agree_all<const N: usize>(
    pairs: [(&SecretKey, &PreparedPublicKey); N],
) -> Result<[Secret<32>; N], SignalError> {
    let mut products = Zeroizing::new([EdwardsPoint::default(); N]);
    for (product, (ours, theirs)) in products.iter_mut().zip(pairs) {
        if let Some(point) = &theirs.point {
            *product = point.mul_clamped(*ours.0.as_bytes());
        }
    }
    let mut shared = leave_edwards(&products).map(Secret::new);
    for (shared, (ours, theirs)) in shared.iter_mut().zip(pairs) {
        *shared = match theirs.point {
            Some(_) => contributory(*shared.expose())?,
            None => ours.agree_prepared(theirs)?,
        };
    }
    Ok(shared)
}

/// Montgomery's trick: one field inversion for all the points.
fn leave_edwards<const N: usize>(points: &[EdwardsPoint; N]) -> [[u8; 32]; N] {
    let left = Zeroizing::new(EdwardsPoint::to_montgomery_batch(points));
    let mut out = [[0; 32]; N];
    for (out, left) in out.iter_mut().zip(left.iter()) {
        *out = left.to_bytes();
    }
    out
}

/// RFC 7748 section 6.1: an all-zero result is refused.
fn contributory(mut shared: [u8; 32]) -> Result<Secret<32>, SignalError> {
    let secret = Secret::new(shared);
    shared.zeroize();
    if secret.expose().ct_eq(&[0; 32]).into() {
        return Err(SignalError::InvalidKey { what: "peer's public key" });
    }
    Ok(secret)
}

/// A peer's key, carried over to the Edwards curve once for several agreements.
#[derive(Clone, Debug)]
pub struct PreparedPublicKey {
    key: PublicKey,
    /// The point with sign 0; `None` for a key on the twist.
    point: Option<EdwardsPoint>,
}

impl PreparedPublicKey {
    pub fn new(key: &PublicKey) -> Self {
        Self { key: *key, point: MontgomeryPoint(key.0).to_edwards(0) }
    }

    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    pub(super) fn point(&self) -> Option<&EdwardsPoint> {
        self.point.as_ref()
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(…)")
    }
}

/// A secret key with its public half.
#[derive(Clone, Debug)]
pub struct KeyPair {
    secret: SecretKey,
    public: PublicKey,
}

impl KeyPair {
    pub fn generate(rng: &mut dyn CryptoRng) -> Self {
        Self::from_secret(SecretKey::generate(rng))
    }

    pub fn from_secret(secret: SecretKey) -> Self {
        let public = secret.public();
        Self { secret, public }
    }

    /// Rebuilds a stored pair.
    pub(super) fn from_stored(secret: SecretKey, public: PublicKey) -> Self {
        Self { secret, public }
    }

    pub fn secret(&self) -> &SecretKey {
        &self.secret
    }

    pub fn public(&self) -> &PublicKey {
        &self.public
    }
}

/// A peer's long-term identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IdentityKey(pub PublicKey);

/// Our long-term identity.
#[derive(Clone, Debug)]
pub struct IdentityKeyPair(pub KeyPair);

impl IdentityKeyPair {
    pub fn generate(rng: &mut dyn CryptoRng) -> Self {
        Self(KeyPair::generate(rng))
    }

    pub fn public(&self) -> IdentityKey {
        IdentityKey(*self.0.public())
    }

    pub fn secret(&self) -> &SecretKey {
        self.0.secret()
    }

    /// Signs `message` with XEdDSA; 64 bytes.
    pub fn sign(&self, message: &[u8], rng: &mut dyn CryptoRng) -> [u8; 64] {
        super::xeddsa::sign(self.secret(), message, rng)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_low_order_public_key_is_refused() {
        let ours = SecretKey::from_bytes([0x44; 32]);
        let mut one = [0; 32];
        one[0] = 1;
        for point in [[0; 32], one] {
            let result = ours.agree(&PublicKey::from_bytes(point));
            assert_eq!(result.err(), Some(SignalError::InvalidKey { what: "peer's public key" }));
        }
    }

    /// On the curve, on its twist, of low order, and not canonical: both ways must agree on all of them.
    #[test]
    fn agreement_by_edwards_equals_the_ladder() {
        use crate::signal::testing::rng;
        let mut rng = rng(1);
        let mut on_curve = 0;
        let special = (0..=30u8).flat_map(|low| [[low; 1].to_vec(), [0xed + (low & 0x12)].to_vec()]).map(|start| {
            let mut point = if start[0] >= 0xe0 { [0xff; 32] } else { [0; 32] };
            point[0] = start[0];
            point
        });
        let random = std::iter::repeat_with(|| *Secret::<32>::generate(&mut rng).expose()).take(400);
        for point in special.chain(random.collect::<Vec<_>>()) {
            let secret = SecretKey::from_bytes(point.map(|byte| byte.wrapping_mul(7).wrapping_add(3)));
            let ladder = secret.0.diffie_hellman(&DalekPublic::from(point));
            let theirs = PreparedPublicKey::new(&PublicKey::from_bytes(point));
            on_curve += usize::from(theirs.point.is_some());
            let expected = ladder.was_contributory().then(|| ladder.to_bytes());
            let bytes = |shared: &Secret<32>| *shared.expose();
            assert_eq!(secret.agree_prepared(&theirs).ok().map(|shared| bytes(&shared)), expected, "{point:?}");
            let other = SecretKey::from_bytes([0x51; 32]);
            let all = agree_all([(&secret, &theirs), (&other, &theirs)]).ok();
            assert_eq!(all.map(|all| bytes(&all[0])), expected, "{point:?}");
            let published = secret.clone().publish_and_agree(&theirs).ok();
            assert_eq!(published.as_ref().map(|(_, shared)| bytes(shared)), expected, "{point:?}");
            assert!(published.is_none_or(|(pair, _)| *pair.public() == secret.public()));
        }
        assert!((150..350).contains(&on_curve), "both ways were taken: {on_curve}");
    }

    #[test]
    fn a_secret_key_is_not_printed() {
        assert_eq!(format!("{:?}", SecretKey::from_bytes([1; 32])), "SecretKey(…)");
    }
}
