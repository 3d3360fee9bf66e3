//! Project Wycheproof's vectors against the primitives as this layer calls them, and RFC 7748's own.

use super::keys::{PublicKey, SecretKey};
use super::message_key::{hkdf_expand, hmac_sha256};
use super::sender_key::GroupMessageKey;
use wycheproof::TestResult;

#[test]
fn x25519_agrees_and_refuses_every_low_order_point() {
    let set = wycheproof::xdh::TestSet::load(wycheproof::xdh::TestName::X25519).unwrap();
    let (mut agreed, mut refused) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let Ok(public) = <[u8; 32]>::try_from(test.public_key.as_slice()) else { continue };
        let secret = SecretKey::from_bytes(test.private_key.as_slice().try_into().unwrap());
        match secret.agree(&PublicKey::from_bytes(public)) {
            Ok(shared) => {
                assert_eq!(shared.expose().as_slice(), test.shared_secret.as_slice(), "test {}", test.tc_id);
                agreed += 1;
            }
            Err(_) => {
                assert!(test.shared_secret.iter().all(|byte| *byte == 0), "test {}", test.tc_id);
                refused += 1;
            }
        }
    }
    assert_eq!((agreed + refused, refused), (518, 31));
}

#[test]
fn hkdf_sha256_derives_as_expected() {
    let set = wycheproof::hkdf::TestSet::load(wycheproof::hkdf::TestName::HkdfSha256).unwrap();
    let mut checked = 0;
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        // Longer outputs than 255 blocks do not occur here: every caller asks for a fixed length.
        if test.result == TestResult::Valid {
            let mut okm = vec![0; test.size];
            hkdf_expand(Some(&test.salt), &test.ikm, &test.info, &mut okm);
            assert_eq!(okm.as_slice(), test.okm.as_slice(), "test {}", test.tc_id);
            checked += 1;
        }
    }
    assert!(checked > 80, "{checked}");
}

#[test]
fn hmac_sha256_authenticates_with_the_keys_that_occur_here() {
    let set = wycheproof::mac::TestSet::load(wycheproof::mac::TestName::HmacSha256).unwrap();
    let mut checked = 0;
    for group in &set.test_groups {
        for test in &group.tests {
            let Ok(key) = <[u8; 32]>::try_from(test.key.as_slice()) else { continue };
            let tag = hmac_sha256(&key, &[&test.msg]);
            let matches = tag[..group.tag_size / 8] == test.tag[..];
            assert_eq!(matches, test.result == TestResult::Valid, "test {}", test.tc_id);
            checked += 1;
        }
    }
    assert!(checked > 50, "{checked}");
}

#[test]
fn aes_256_cbc_decrypts_and_refuses_bad_padding() {
    let set = wycheproof::cipher::TestSet::load(wycheproof::cipher::TestName::AesCbcPkcs5).unwrap();
    let mut checked = 0;
    for test in set.test_groups.iter().filter(|group| group.key_size == 256).flat_map(|group| &group.tests) {
        let key =
            || GroupMessageKey::new(test.nonce.as_slice().try_into().unwrap(), test.key.as_slice().try_into().unwrap());
        let (mut plaintext, mut ciphertext) = (Vec::new(), Vec::new());
        let opened = key().open(&test.ct, &mut plaintext);
        assert_eq!(opened.is_ok(), test.result == TestResult::Valid, "test {}", test.tc_id);
        if opened.is_ok() {
            assert_eq!(plaintext.as_slice(), test.pt.as_slice(), "test {}", test.tc_id);
            key().seal(&test.pt, &mut ciphertext);
            assert_eq!(ciphertext, test.ct.as_slice(), "test {}", test.tc_id);
        }
        checked += 1;
    }
    assert_eq!(checked, 72);
}

/// RFC 7748, section 6.1.
#[test]
fn x25519_equals_the_key_exchange_of_rfc_7748() {
    let secret = |text| SecretKey::from_bytes(hex::decode(text).unwrap().try_into().unwrap());
    let alice = secret("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
    let bob = secret("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
    let (at_alice, at_bob) = (alice.agree(&bob.public()).unwrap(), bob.agree(&alice.public()).unwrap());
    let hex_of = |bytes: &[u8; 32]| hex::encode(bytes);
    let public = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a";
    assert_eq!(hex_of(alice.public().as_bytes()), public);
    let public = "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f";
    assert_eq!(hex_of(bob.public().as_bytes()), public);
    let shared = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742";
    assert_eq!((hex_of(at_alice.expose()).as_str(), hex_of(at_bob.expose()).as_str()), (shared, shared));
}

/// RFC 7748, section 5.2: the first test vector, and one round of the iterated one.
#[test]
fn x25519_equals_the_scalar_multiplications_of_rfc_7748() {
    for (scalar, u, expected) in [
        (
            "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
            "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
            "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
        ),
        (
            "0900000000000000000000000000000000000000000000000000000000000000",
            "0900000000000000000000000000000000000000000000000000000000000000",
            "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079",
        ),
    ] {
        let bytes = |text| <[u8; 32]>::try_from(hex::decode(text).unwrap()).unwrap();
        let shared = SecretKey::from_bytes(bytes(scalar)).agree(&PublicKey::from_bytes(bytes(u))).unwrap();
        assert_eq!(hex::encode(shared.expose()), expected);
    }
}
