//! The primitives under the envelope against Wycheproof, with the number of cases asserted, so that a
//! changed file or a filter that skips everything fails.

use aes_gcm::aead::AeadInOut as _;
use aes_gcm::{Aes256Gcm, KeyInit as _};
use hkdf::Hkdf;
use sha2::Sha256;
use wycheproof::{TestResult, aead, hkdf as hkdf_vectors};

#[test]
fn aes_256_gcm_agrees_with_wycheproof() {
    let set = aead::TestSet::load(aead::TestName::AesGcm).unwrap();
    let groups = set
        .test_groups
        .iter()
        .filter(|group| (group.key_size, group.nonce_size, group.tag_size) == (256, 96, 128));
    let (mut valid, mut invalid) = (0, 0);
    for test in groups.flat_map(|group| &group.tests) {
        let cipher = Aes256Gcm::new_from_slice(&test.key).unwrap();
        let nonce = test.nonce.as_slice().try_into().unwrap();
        let tag = test.tag.as_slice().try_into().unwrap();
        let mut buffer = test.ct.to_vec();
        let opened =
            cipher.decrypt_inout_detached(nonce, &test.aad, buffer.as_mut_slice().into(), tag);
        match test.result {
            TestResult::Valid => {
                assert!(opened.is_ok(), "case {}", test.tc_id);
                assert_eq!(buffer, test.pt.as_slice(), "case {}", test.tc_id);
                let tag = cipher
                    .encrypt_inout_detached(nonce, &test.aad, buffer.as_mut_slice().into())
                    .unwrap();
                assert_eq!(buffer, test.ct.as_slice(), "case {}", test.tc_id);
                assert_eq!(tag.as_slice(), test.tag.as_slice(), "case {}", test.tc_id);
                valid += 1;
            }
            TestResult::Invalid => {
                assert!(opened.is_err(), "case {}", test.tc_id);
                assert_eq!(
                    buffer,
                    test.ct.as_slice(),
                    "plaintext released by {}",
                    test.tc_id
                );
                invalid += 1;
            }
            TestResult::Acceptable => panic!("case {} became acceptable", test.tc_id),
        }
    }
    assert_eq!((valid, invalid, valid + invalid), (39, 27, 66));
}

#[test]
fn hkdf_sha_256_agrees_with_wycheproof() {
    let set = hkdf_vectors::TestSet::load(hkdf_vectors::TestName::HkdfSha256).unwrap();
    let mut run = 0;
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let mut okm = vec![0; test.size];
        let expanded =
            Hkdf::<Sha256>::new(Some(&test.salt), &test.ikm).expand(&test.info, &mut okm);
        match test.result {
            TestResult::Valid => assert!(expanded.is_ok() && okm == test.okm.as_slice()),
            TestResult::Invalid => assert!(expanded.is_err(), "case {}", test.tc_id),
            TestResult::Acceptable => panic!("case {} became acceptable", test.tc_id),
        }
        run += 1;
    }
    assert_eq!(run, 86);
}
