//! TLS, as a client that offers one version, one cipher suite and one group.
//!
//! So every server is measured with the same: TLS 1.3 (RFC 8446), TLS_AES_128_GCM_SHA256, X25519. A
//! server that cannot do that fails. Nothing is verified: the certificate was made for this run.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, ClientConnection, Resumption};
use rustls::crypto::ring::{cipher_suite, default_provider, kx_group};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, HandshakeKind, SignatureScheme};

use crate::client::SOURCES;

/// Sessions that are kept: rustls has at most eight of each name.
const SESSIONS: usize = 8 * SOURCES;
/// One read takes at most so much from the socket.
const WIRE: usize = 64 * 1024;

/// What connections have in common.
#[derive(Clone, Debug)]
pub struct Security(Arc<ClientConfig>);

impl Security {
    /// With `resumes`, a connection goes on with the session of an earlier one, as browsers do.
    pub fn new(resumes: bool) -> Result<Self, Error> {
        let provider = CryptoProvider {
            cipher_suites: vec![cipher_suite::TLS13_AES_128_GCM_SHA256],
            kx_groups: vec![kx_group::X25519],
            ..default_provider()
        };
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody))
            .with_no_client_auth();
        config.resumption = match resumes {
            true => Resumption::in_memory_sessions(SESSIONS),
            false => Resumption::disabled(),
        };
        Ok(Security(Arc::new(config)))
    }

    /// Begins a session over a socket that is connected. Sessions are kept by name: each client asks
    /// for one of its own, so that no one takes another's.
    pub fn wrap(&self, socket: TcpStream, client: usize) -> io::Result<Secure> {
        let name = format!("{client}.localhost");
        let name = ServerName::try_from(name).map_err(io::Error::other)?;
        let session = ClientConnection::new(Arc::clone(&self.0), name).map_err(io::Error::other)?;
        Ok(Secure { session, socket, wire: vec![0; WIRE].into_boxed_slice(), begin: 0, end: 0 })
    }
}

/// A connection of TLS. The handshake is made by the first reads and writes.
pub struct Secure {
    session: ClientConnection,
    socket: TcpStream,
    /// What was read from the socket; from `begin` to `end` the session has not had it.
    wire: Box<[u8]>,
    begin: usize,
    end: usize,
}

impl Secure {
    pub(crate) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// A read has not brought all that was on the socket.
    pub(crate) fn holds_some(&self) -> bool {
        self.begin < self.end
    }

    pub(crate) fn is_resumed(&self) -> bool {
        self.session.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    fn send(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            self.session.write_tls(&mut self.socket)?;
        }
        Ok(())
    }
}

impl Read for Secure {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.session.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // The stream has ended without a close_notify.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                outcome => return outcome,
            }
            if self.begin == self.end {
                self.end = self.socket.read(&mut self.wire)?;
                self.begin = 0;
            }
            let mut rest = &self.wire[self.begin..self.end];
            self.session.read_tls(&mut rest)?;
            self.begin = self.end - rest.len();
            let was_handshaking = self.session.is_handshaking();
            self.session.process_new_packets().map_err(io::Error::other)?;
            if was_handshaking {
                self.send()?;
            }
        }
    }
}

impl Write for Secure {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send()?;
        let count = self.session.writer().write(bytes)?;
        match self.send() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(count),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}

/// Takes every server for the right one.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
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
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
