//! What a server or a client of TLS is configured with: certificates, trust, versions.

use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::{ring, CryptoProvider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    ServerConfig, SignatureScheme, SupportedProtocolVersion,
};

use super::certificates::{Certificates, Identities};
use super::fault::TlsFault;
use super::session::Session;

/// A certificate with its chain, in PEM, and its key, in PKCS#8.
pub(crate) struct Identity {
    /// The certificate and the intermediates behind it.
    pub chain: Vec<u8>,
    /// The private key, DER.
    pub key: Vec<u8>,
}

/// The versions of TLS to speak: 0x0303 is 1.2, 0x0304 is 1.3.
#[derive(Clone, Copy)]
pub(crate) struct Versions {
    /// The lowest.
    pub min: u16,
    /// The highest.
    pub max: u16,
}

/// How a server asks for certificates.
pub(crate) struct ClientTrust {
    /// Authorities, in PEM.
    pub roots: Vec<Vec<u8>>,
    /// Whether who shows none, or none that is trusted, is turned away.
    pub is_required: bool,
}

/// What a server is made of.
pub(crate) struct ServerOptions {
    /// The certificates for whom no name says otherwise.
    pub identities: Vec<Identity>,
    /// Present if clients are asked for a certificate.
    pub client_trust: Option<ClientTrust>,
    /// Protocols to speak, in this order of preference.
    pub alpn: Vec<Vec<u8>>,
    /// The versions.
    pub versions: Versions,
    /// Whether sessions may be resumed.
    pub tickets: bool,
    /// Whether all but the certificate is as it is by default.
    pub is_plain: bool,
}

/// What a client is made of.
pub(crate) struct ClientOptions {
    /// Authorities, in PEM.
    pub roots: Vec<Vec<u8>>,
    /// Whether all of them have to be understood: those of the user, not the usual ones.
    pub is_strict: bool,
    /// The certificate to show when asked.
    pub identity: Option<Identity>,
    /// Protocols to offer.
    pub alpn: Vec<Vec<u8>>,
    /// The versions.
    pub versions: Versions,
    /// Whether a server that is not trusted is turned away.
    pub rejects_unauthorized: bool,
}

/// A server's configuration, shared by its connections.
pub(crate) struct ServerSecurity {
    config: Arc<ServerConfig>,
    certificates: Arc<Certificates>,
    is_plain: bool,
    /// Present if clients are asked for a certificate.
    verifier: Option<Arc<dyn ClientCertVerifier>>,
}

/// A client's configuration.
pub(crate) struct ClientSecurity {
    config: Arc<ClientConfig>,
    verifier: Arc<dyn ServerCertVerifier>,
}

/// Who decides whether the peer is trusted.
pub(crate) enum Judge {
    /// Of a server: its certificates, and who judges those of clients, if they are asked for.
    Server(Arc<Certificates>, Option<Arc<dyn ClientCertVerifier>>),
    /// Of a client, and the name of its server.
    Client(Arc<dyn ServerCertVerifier>, ServerName<'static>),
}

impl ServerSecurity {
    /// Reads the options.
    pub(crate) fn new(options: ServerOptions) -> Result<Self, Error> {
        let certificates = Arc::new(Certificates::new(identities(options.identities)?));
        let versions = versions(options.versions)?;
        let builder =
            ServerConfig::builder_with_provider(provider()).with_protocol_versions(&versions)?;
        let (builder, verifier) = match options.client_trust {
            None => (builder.with_no_client_auth(), None),
            Some(trust) => {
                let roots = Arc::new(roots(&trust.roots, false)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider())
                    .build()
                    .map_err(|error| Error::General(error.to_string()))?;
                let chosen: Arc<dyn ClientCertVerifier> = match trust.is_required {
                    true => Arc::clone(&verifier),
                    false => Arc::new(AnyClient(Arc::clone(&verifier))),
                };
                (builder.with_client_cert_verifier(chosen), Some(verifier))
            }
        };
        let resolver = Arc::clone(&certificates);
        let mut config = builder.with_cert_resolver(resolver);
        config.alpn_protocols = options.alpn;
        // Sessions are kept by the clients: nothing grows here.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        if options.tickets {
            config.ticketer = ring::Ticketer::new()?;
        } else {
            config.send_tls13_tickets = 0;
        }
        Ok(Self { config: Arc::new(config), certificates, is_plain: options.is_plain, verifier })
    }

    /// Whether nothing but the certificate was asked for.
    pub(crate) fn is_plain(&self) -> bool {
        self.is_plain
    }

    /// Shows the certificates of `other` to whom asks for `name`; an empty name stands for all that no
    /// other fits.
    pub(crate) fn share(&self, name: &str, other: &Self) {
        self.certificates.insert(name, other.certificates.default());
    }

    /// Forgets a name.
    pub(crate) fn forget(&self, name: &str) {
        self.certificates.remove(name);
    }

    /// Takes over the names of the configuration that this one takes the place of.
    pub(crate) fn inherit(&self, former: &Self) {
        self.certificates.inherit(&former.certificates);
    }

    /// Shows other certificates to whom asks for `name`, which may begin with `*.`.
    pub(crate) fn set_name(&self, name: &str, chosen: Vec<Identity>) -> Result<(), Error> {
        self.certificates.insert(&name.to_ascii_lowercase(), identities(chosen)?);
        Ok(())
    }

    /// Begins a session with a client.
    pub(crate) fn accept(&self) -> Result<(Session, Judge), Error> {
        Ok((
            Session::server(&self.config)?,
            Judge::Server(Arc::clone(&self.certificates), self.verifier.clone()),
        ))
    }
}

impl ClientSecurity {
    /// Reads the options.
    pub(crate) fn new(options: ClientOptions) -> Result<Self, Error> {
        let versions = versions(options.versions)?;
        let roots = Arc::new(roots(&options.roots, options.is_strict)?);
        let verifier: Arc<dyn ServerCertVerifier> =
            WebPkiServerVerifier::builder_with_provider(roots, provider())
                .build()
                .map_err(|error| Error::General(error.to_string()))?;
        let chosen: Arc<dyn ServerCertVerifier> = match options.rejects_unauthorized {
            true => Arc::clone(&verifier),
            false => Arc::new(AnyServer(Arc::clone(&verifier))),
        };
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&versions)?
            .dangerous()
            .with_custom_certificate_verifier(chosen);
        let mut config = match options.identity {
            None => builder.with_no_client_auth(),
            Some(Identity { chain, key }) => {
                builder.with_client_auth_cert(certificates(&chain)?, private_key(key))?
            }
        };
        config.alpn_protocols = options.alpn;
        Ok(Self { config: Arc::new(config), verifier })
    }

    /// Begins a session with the server `name`, a host name or an address.
    pub(crate) fn connect(&self, name: &str) -> Result<(Session, Judge), Error> {
        let name = ServerName::try_from(name).map_err(|_| Error::UnsupportedNameType)?.to_owned();
        let session = Session::client(&self.config, name.clone())?;
        Ok((session, Judge::Client(Arc::clone(&self.verifier), name)))
    }
}

impl Judge {
    /// Takes the name that a client has asked for.
    pub(super) fn take_asked(&self) -> Option<Box<str>> {
        match self {
            Self::Server(certificates, _) => certificates.take_asked(),
            Self::Client(..) => None,
        }
    }

    /// Says whether who has shown `chain` is to be trusted, and if not, why. Where nothing is asked for,
    /// nobody is, without a reason.
    pub(super) fn judge(&self, chain: &[CertificateDer<'_>]) -> Result<(), Option<TlsFault>> {
        let now = UnixTime::now();
        let Some((end_entity, intermediates)) = chain.split_first() else {
            return Err(None);
        };
        let outcome = match self {
            Self::Server(_, None) => return Err(None),
            Self::Server(_, Some(verifier)) => {
                verifier.verify_client_cert(end_entity, intermediates, now).map(drop)
            }
            Self::Client(verifier, name) => {
                verifier.verify_server_cert(end_entity, intermediates, name, &[], now).map(drop)
            }
        };
        outcome.map_err(|error| Some(TlsFault::new(&error)))
    }
}

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(ring::default_provider())))
}

fn versions(wanted: Versions) -> Result<Vec<&'static SupportedProtocolVersion>, Error> {
    let known = [&rustls::version::TLS13, &rustls::version::TLS12];
    let versions: Vec<_> = known
        .into_iter()
        .filter(|known| (wanted.min..=wanted.max).contains(&u16::from(known.version)))
        .collect();
    match versions.is_empty() {
        true => Err(Error::General("no version of TLS is left".to_owned())),
        false => Ok(versions),
    }
}

fn identities(given: Vec<Identity>) -> Result<Identities, Error> {
    let read = |Identity { chain, key }| {
        let chain = certificates(&chain)?;
        CertifiedKey::from_der(chain, private_key(key), &provider()).map(Arc::new)
    };
    given.into_iter().map(read).collect()
}

fn private_key(der: Vec<u8>) -> PrivateKeyDer<'static> {
    PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))
}

fn roots(pem: &[Vec<u8>], is_strict: bool) -> Result<RootCertStore, Error> {
    let mut store = RootCertStore::empty();
    for each in pem {
        for certificate in certificates(each)? {
            let added = store.add(certificate);
            if is_strict {
                added?;
            }
        }
    }
    Ok(store)
}

/// Takes every certificate; whether it is trusted can be asked later.
#[derive(Debug)]
struct AnyClient(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for AnyClient {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Takes every certificate; whether it is trusted can be asked later.
#[derive(Debug)]
struct AnyServer(Arc<dyn ServerCertVerifier>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
