//! The certificates of a server, and which of them a client is shown.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// A certificate with its chain and key, for each kind of key: a client is shown the first one whose
/// signatures it understands.
pub(super) type Identities = Vec<Arc<CertifiedKey>>;

/// The certificates of one listener: some by name, and those for everybody else. Names may come and
/// go while it runs.
pub(crate) struct Certificates {
    default: Identities,
    named: RwLock<HashMap<String, Identities>>,
    /// The name that was asked for last. The session that asks is the one that is taking bytes, and its
    /// pipe takes the name right after: rustls does not keep it.
    asked: Mutex<Option<Box<str>>>,
}

impl Certificates {
    pub(super) fn new(default: Identities) -> Self {
        Self { default, named: RwLock::default(), asked: Mutex::default() }
    }

    pub(super) fn default(&self) -> Identities {
        self.default.clone()
    }

    /// Shows `identities` to whom asks for `name`: a host name in lower case; one that begins with `*.`
    /// stands for all hosts below the rest, an empty one for all that no other fits.
    pub(super) fn insert(&self, name: &str, identities: Identities) {
        let mut named = self.named.write().unwrap_or_else(PoisonError::into_inner);
        named.insert(name.to_owned(), identities);
    }

    /// Forgets a name.
    pub(super) fn remove(&self, name: &str) {
        self.named.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// Takes over the names of `former`.
    pub(super) fn inherit(&self, former: &Self) {
        let names = former.named.read().unwrap_or_else(PoisonError::into_inner).clone();
        *self.named.write().unwrap_or_else(PoisonError::into_inner) = names;
    }

    /// Takes the name that the session that was served just now has asked for.
    pub(super) fn take_asked(&self) -> Option<Box<str>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn find(&self, name: &str) -> Option<Identities> {
        let named = self.named.read().unwrap_or_else(PoisonError::into_inner);
        if named.is_empty() {
            return None;
        }
        let mut below = name;
        let wildcard = || loop {
            below = below.split_once('.')?.1;
            if let Some(found) = named.get(&format!("*.{below}")) {
                return Some(found);
            }
        };
        named.get(name).or_else(wildcard).or_else(|| named.get("")).cloned()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let asked = hello.server_name().map(str::to_ascii_lowercase);
        let named = self.find(asked.as_deref().unwrap_or_default());
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = asked.map(Into::into);
        let identities = named.as_ref().unwrap_or(&self.default);
        let schemes = hello.signature_schemes();
        let understood =
            |identity: &&Arc<CertifiedKey>| identity.key.choose_scheme(schemes).is_some();
        // Without one that is understood the handshake fails, and says why.
        identities.iter().find(understood).or(identities.first()).cloned()
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificates")
    }
}
