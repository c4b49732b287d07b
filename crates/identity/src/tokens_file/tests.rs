//! Promises of the tokens file.

use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::read_token;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("metadata").permissions().mode() & 0o777
}

#[test]
fn issued_tokens_are_private_and_stand_for_their_principals() {
    let folder = tempfile::tempdir().expect("folder");
    let path = issue_tokens(folder.path(), &suite_tokens()).expect("issued");
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(&folder.path().join("tokens")), 0o700);
    let tokens = StaticTokens::read(&path).expect("read");
    for spec in suite_tokens() {
        let file = folder.path().join("tokens").join(&spec.name);
        assert_eq!(mode(&file), 0o600);
        let raw = read_token(&file).expect("token");
        assert_eq!(*tokens.verify(raw.expose()).expect("known"), spec.principal);
        let hashes = fs::read_to_string(&path).expect("file");
        assert!(
            !hashes.contains(raw.expose()),
            "the file must not hold a raw token"
        );
    }
}

#[test]
fn issuing_again_keeps_the_tokens() {
    let folder = tempfile::tempdir().expect("folder");
    issue_tokens(folder.path(), &suite_tokens()).expect("issued");
    let file = folder.path().join("tokens/operator");
    let before = fs::read_to_string(&file).expect("token");
    issue_tokens(folder.path(), &suite_tokens()).expect("issued again");
    assert_eq!(fs::read_to_string(&file).expect("token"), before);
}

#[test]
fn an_unknown_token_stands_for_nobody() {
    let tokens = StaticTokens::from_plain([("one", Principal::with_role("a", Role::Caller))]);
    for token in ["", "on", "One", "one ", "oneone"] {
        assert_eq!(
            tokens.verify(token).expect_err("denied"),
            Denial::TokenInvalid,
            "{token:?}"
        );
    }
    let nobody = StaticTokens::from_plain([]);
    assert_eq!(
        nobody.verify("one").expect_err("denied"),
        Denial::TokenInvalid
    );
}

#[test]
fn debug_shows_no_hash() {
    let tokens = StaticTokens::from_plain([("one", Principal::with_role("ada", Role::Caller))]);
    assert_eq!(format!("{tokens:?}"), r#"["ada"]"#);
}

#[test]
fn the_suites_own_services_get_no_claims() {
    for spec in suite_tokens() {
        let claims = spec.principal.claims.len();
        let expected = match spec.name.as_str() {
            "operator" | "caller" | "viewer" => 3,
            _ => 0,
        };
        assert_eq!(claims, expected, "{}", spec.name);
    }
}

#[test]
fn a_file_with_a_mistake_is_refused_and_the_entry_named() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("tokens.json");
    let hash = "00".repeat(32);
    let entry = |roles: &str, claims: &str, hash: &str| {
        format!(
            r#"{{"tokens":[{{"sha256":"{hash}","subject":"ada","roles":{roles},"claims":{claims}}}]}}"#
        )
    };
    let mistakes = [
        (entry(r#"["root"]"#, "[]", &hash), "there is no role 'root'"),
        (
            entry("[]", r#"[{"scope":"users/*","verbs":[]}]"#, &hash),
            "scope 'users/*'",
        ),
        (
            entry("[]", r#"[{"scope":"users/-","verbs":["-"]}]"#, &hash),
            "there is no verb '-'",
        ),
        (entry("[]", "[]", "abc"), "64 hexadecimal digits"),
        (entry("[]", "[]", &"zz".repeat(32)), "64 hexadecimal digits"),
    ];
    for (content, expected) in mistakes {
        fs::write(&path, &content).expect("written");
        let error = StaticTokens::read(&path).expect_err("refused").to_string();
        assert!(
            error.contains("entry ada") && error.contains(expected),
            "{error}"
        );
    }
    fs::write(&path, r#"{"tokens":[],"more":1}"#).expect("written");
    assert!(matches!(
        StaticTokens::read(&path),
        Err(TokensFileError::Json { .. })
    ));
    fs::write(
        &path,
        entry(
            r#"["caller"]"#,
            r#"[{"scope":"users/-","verbs":["use"]}]"#,
            &hash,
        ),
    )
    .expect("written");
    assert!(StaticTokens::read(&path).is_ok());
}
