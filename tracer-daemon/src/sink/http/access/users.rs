use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use ring::{
    hmac::{self, HMAC_SHA256},
    rand::SystemRandom,
};
use tokio::{sync::Semaphore, task::spawn_blocking};

/// Who may read, and whose password has been right before.
pub(in super::super) struct Users {
    hashes: BTreeMap<String, String>,
    /// Of each user the last password that was right, under a key that only this process has.
    known: Mutex<HashMap<String, hmac::Tag>>,
    key: hmac::Key,
    /// bcrypt is slow on purpose: guessing takes one CPU at most.
    turn: Arc<Semaphore>,
}

impl Users {
    pub(super) fn new(hashes: BTreeMap<String, String>) -> Self {
        Self {
            hashes,
            known: Mutex::default(),
            key: random_key(),
            turn: Arc::new(Semaphore::new(1)),
        }
    }

    /// Whether the value of an `Authorization` header is that of a user.
    pub(in super::super) async fn admit(self: &Arc<Self>, authorization: Option<&[u8]>) -> bool {
        let Some((user, password)) = authorization.and_then(credentials) else {
            return false;
        };
        if self.is_known(&user, &password) {
            return true;
        }
        let Ok(turn) = Arc::clone(&self.turn).acquire_owned().await else { return false };
        // Whoever had the turn before may have had the same password.
        if self.is_known(&user, &password) {
            return true;
        }
        let users = Arc::clone(self);
        // Goes to its end also when nobody waits for it any more: the next time it is known.
        let verified = spawn_blocking(move || {
            let _turn = turn;
            users.verify(user, &password)
        });
        verified.await.unwrap_or(false)
    }

    fn is_known(&self, user: &str, password: &str) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same =
            |tag: &hmac::Tag| hmac::verify(&self.key, password.as_bytes(), tag.as_ref()).is_ok();
        known.get(user).is_some_and(is_same)
    }

    /// A user that does not exist takes as long as one that does.
    fn verify(&self, user: String, password: &str) -> bool {
        let hash = self.hashes.get(&user);
        let compared = hash.or_else(|| self.hashes.values().next());
        let is_right = compared
            .is_some_and(|compared| bcrypt::verify(password, compared).unwrap_or(false))
            && hash.is_some();
        if is_right {
            let tag = hmac::sign(&self.key, password.as_bytes());
            self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(user, tag);
        }
        is_right
    }
}

/// Without random numbers from the kernel, TLS could not be spoken either.
fn random_key() -> hmac::Key {
    hmac::Key::generate(HMAC_SHA256, &SystemRandom::new()).expect("random numbers")
}

/// `Basic` and the user's name, a colon, the password, in base64.
fn credentials(authorization: &[u8]) -> Option<(String, String)> {
    let (scheme, encoded) = str::from_utf8(authorization).ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let plain = String::from_utf8(BASE64_STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = plain.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(plain: &str) -> Vec<u8> {
        format!("Basic {}", BASE64_STANDARD.encode(plain)).into_bytes()
    }

    fn users() -> Arc<Users> {
        let hash = |password| bcrypt::hash(password, 4).expect("hashed");
        let hashes = [("ann", hash("se:cret")), ("bob", hash("other"))];
        Arc::new(Users::new(hashes.map(|(user, hash)| (user.to_owned(), hash)).into()))
    }

    #[tokio::test]
    async fn only_users_with_their_own_password() {
        let users = users();
        for (plain, truth) in [
            ("ann:se:cret", true),
            ("bob:other", true),
            ("ann:other", false),
            ("bob:se:cret", false),
            ("eve:se:cret", false),
            ("eve:other", false),
            (":se:cret", false),
            ("ann", false),
            ("", false),
        ] {
            for round in ["at first", "again"] {
                assert_eq!(users.admit(Some(&basic(plain))).await, truth, "{plain} {round}");
            }
        }
        assert_eq!(
            users.known.lock().expect("nobody panicked").len(),
            2,
            "wrong ones are not kept"
        );
        for other in [&b"Basic"[..], b"Basic ?", b"Bearer YW5uOnNlOmNyZXQ=", b"\xff \xff", b""] {
            assert!(!users.admit(Some(other)).await, "{other:?}");
        }
        assert!(!users.admit(None).await);
        assert!(users.admit(Some(b"basic YW5uOnNlOmNyZXQ=")).await, "the scheme in any case");
    }

    #[tokio::test]
    async fn what_was_right_is_known_until_it_changes() {
        let users = users();
        let right = basic("ann:se:cret");
        assert!(users.admit(Some(&right)).await);
        assert!(users.is_known("ann", "se:cret"));
        assert!(!users.is_known("ann", "other") && !users.is_known("bob", "other"));
        // Nobody else's turn has to come for somebody who is known.
        let _turn = Arc::clone(&users.turn).acquire_owned().await.expect("free");
        assert!(users.admit(Some(&right)).await);
    }
}
