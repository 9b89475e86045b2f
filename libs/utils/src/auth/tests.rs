use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::pkcs8::DecodePrivateKey;
use ed25519_dalek::{Signer, SigningKey};

use super::*;

struct Fixture {
    dir: tempfile::TempDir,
    pair: KeyPair,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let pair = generate_key_pair().unwrap();
        std::fs::write(dir.path().join("private.pem"), &pair.private_pem).unwrap();
        Fixture { dir, pair }
    }

    fn sign(&self, claims: &Claims) -> String {
        encode_from_key_file(claims, &self.dir.path().join("private.pem")).unwrap()
    }

    fn sign_raw(&self, header: &str, claims: &str) -> String {
        let key = SigningKey::from_pkcs8_pem(&self.pair.private_pem).unwrap();
        let signed =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = key.sign(signed.as_bytes()).to_bytes();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn auth(&self) -> JwtAuth {
        JwtAuth::from_public_key_pem(&self.pair.public_pem).unwrap()
    }
}

const HEADER: &str = r#"{"alg":"EdDSA"}"#;

#[test]
fn a_signed_token_is_accepted_with_its_claims() {
    let fixture = Fixture::new();
    let claims = Claims::new(Some(TenantId::generate()), Scope::Tenant);
    assert_eq!(fixture.auth().decode(&fixture.sign(&claims)).unwrap(), claims);
}

#[test]
fn a_token_of_another_key_is_refused() {
    let token = Fixture::new().sign(&Claims::new(None, Scope::Admin));
    assert!(matches!(Fixture::new().auth().decode(&token), Err(AuthError::Signature)));
}

#[test]
fn a_changed_token_is_refused() {
    let fixture = Fixture::new();
    let token = fixture.sign(&Claims::new(None, Scope::SafekeeperData));
    let forged = URL_SAFE_NO_PAD.encode(r#"{"scope":"admin"}"#);
    let mut parts: Vec<_> = token.split('.').collect();
    parts[1] = &forged;
    assert!(matches!(fixture.auth().decode(&parts.join(".")), Err(AuthError::Signature)));
}

#[test]
fn other_algorithms_are_refused() {
    let fixture = Fixture::new();
    let token = fixture.sign_raw(r#"{"alg":"none"}"#, r#"{"scope":"admin"}"#);
    assert!(matches!(fixture.auth().decode(&token), Err(AuthError::Algorithm(_))));
}

#[test]
fn an_expired_token_is_refused_after_the_leeway() {
    let fixture = Fixture::new();
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let token =
        |exp: u64| fixture.sign_raw(HEADER, &format!(r#"{{"scope":"pageserverapi","exp":{exp}}}"#));
    assert!(matches!(fixture.auth().decode(&token(now - 120)), Err(AuthError::Expired)));
    fixture.auth().decode(&token(now - 10)).unwrap();
    fixture.auth().decode(&token(now + 10)).unwrap();
}

#[test]
fn scopes_are_written_as_their_words() {
    let words = ["tenant", "pageserverapi", "safekeeperdata", "generations_api", "admin"];
    let scopes = [
        Scope::Tenant,
        Scope::PageServerApi,
        Scope::SafekeeperData,
        Scope::GenerationsApi,
        Scope::Admin,
    ];
    for (word, scope) in std::iter::zip(words, scopes) {
        assert_eq!(serde_json::to_string(&scope).unwrap(), format!("{word:?}"));
    }
}

#[test]
fn garbage_is_refused_without_a_panic() {
    let fixture = Fixture::new();
    for token in ["", ".", "..", "a.b", "a.b.c", "\u{1F418}.x.y"] {
        assert!(matches!(fixture.auth().decode(token), Err(AuthError::Malformed(_))), "{token:?}");
    }
    let token = fixture.sign_raw(HEADER, r#"{"scope":"unheard_of"}"#);
    assert!(matches!(fixture.auth().decode(&token), Err(AuthError::Malformed(_))));
}

#[test]
fn a_directory_gives_all_its_keys() {
    let (one, two) = (Fixture::new(), Fixture::new());
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(JwtAuth::from_key_path(dir.path()), Err(AuthError::NoKeys(_))));
    std::fs::write(dir.path().join("one.pem"), &one.pair.public_pem).unwrap();
    std::fs::write(dir.path().join("two.pem"), &two.pair.public_pem).unwrap();
    let auth = JwtAuth::from_key_path(dir.path()).unwrap();
    for fixture in [&one, &two] {
        auth.decode(&fixture.sign(&Claims::new(None, Scope::Admin))).unwrap();
    }
    std::fs::write(dir.path().join("three.pem"), "not a key").unwrap();
    assert!(matches!(JwtAuth::from_key_path(dir.path()), Err(AuthError::BadKey { .. })));
}

#[test]
fn shared_keys_can_be_replaced() {
    let (old, new) = (Fixture::new(), Fixture::new());
    let shared = SharedJwtAuth::new(old.auth());
    let token = new.sign(&Claims::new(None, Scope::Admin));
    assert!(shared.decode(&token).is_err());
    shared.clone().replace(new.auth());
    shared.decode(&token).unwrap();
}

proptest::proptest! {
    #[test]
    fn foreign_tokens_never_panic(
        header in "[ -~]{0,40}",
        claims in "[ -~]{0,40}",
        junk in "[A-Za-z0-9._=-]{0,120}",
    ) {
        let fixture = Fixture::new();
        let auth = fixture.auth();
        proptest::prop_assert!(auth.decode(&junk).is_err());
        // Well signed nonsense gets further.
        proptest::prop_assert!(auth.decode(&fixture.sign_raw(&header, &claims)).is_err());
        proptest::prop_assert!(auth.decode(&fixture.sign_raw(HEADER, &claims)).is_err());
    }
}
