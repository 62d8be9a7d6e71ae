//! Why a TLS session has failed, in the words of Node and OpenSSL.

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible};

/// As of a connection that the peer has dropped.
const DISCONNECTED: &str = "ECONNRESET";

/// See the module's documentation.
#[derive(Clone, Debug)]
pub(crate) struct TlsFault {
    /// What happened.
    pub message: String,
    /// Node's code where it has one.
    pub code: &'static str,
}

impl TlsFault {
    /// Says what `error` is.
    pub(crate) fn new(error: &Error) -> Self {
        match error {
            Error::InvalidCertificate(error) => Self::certificate(error),
            _ => Self { message: error.to_string(), code: code_of(error) },
        }
    }

    /// The stream has ended before the session was ready.
    pub(super) fn disconnected(is_client: bool) -> Self {
        let message = match is_client {
            true => {
                "Client network socket disconnected before secure TLS connection was established"
            }
            false => "socket hang up",
        };
        Self { message: message.to_owned(), code: DISCONNECTED }
    }

    /// Whether the two ends did not get on, rather than one having gone away.
    pub(crate) fn is_of_tls(&self) -> bool {
        self.code != DISCONNECTED
    }

    fn certificate(error: &CertificateError) -> Self {
        let (code, message) = match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                ("CERT_HAS_EXPIRED", "certificate has expired")
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                ("CERT_NOT_YET_VALID", "certificate is not yet valid")
            }
            CertificateError::UnknownIssuer => {
                ("UNABLE_TO_GET_ISSUER_CERT_LOCALLY", "unable to get local issuer certificate")
            }
            CertificateError::Revoked => ("CERT_REVOKED", "certificate revoked"),
            CertificateError::BadSignature => {
                ("CERT_SIGNATURE_FAILURE", "certificate signature failure")
            }
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                ("INVALID_PURPOSE", "unsuitable certificate purpose")
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                (
                    "ERR_TLS_CERT_ALTNAME_INVALID",
                    "Hostname/IP does not match certificate's altnames",
                )
            }
            error => return Self { message: error.to_string(), code: "CERT_REJECTED" },
        };
        Self { message: message.to_owned(), code }
    }
}

fn code_of(error: &Error) -> &'static str {
    match error {
        Error::NoCertificatesPresented => "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE",
        Error::NoApplicationProtocol => "ERR_SSL_NO_APPLICATION_PROTOCOL",
        Error::DecryptError => "ERR_SSL_DECRYPTION_FAILED_OR_BAD_RECORD_MAC",
        Error::PeerSentOversizedRecord => "ERR_SSL_DATA_LENGTH_TOO_LONG",
        // What is no TLS at all, such as HTTP in the clear.
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => "ERR_SSL_HTTP_REQUEST",
        Error::InvalidMessage(InvalidMessage::UnknownProtocolVersion) => {
            "ERR_SSL_WRONG_VERSION_NUMBER"
        }
        Error::InvalidMessage(_) => "ERR_SSL_BAD_PACKET",
        Error::PeerIncompatible(
            PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::SupportedVersionsExtensionRequired
            // Clients have sent it from TLS 1.2 on.
            | PeerIncompatible::SignatureAlgorithmsExtensionRequired,
        ) => "ERR_SSL_UNSUPPORTED_PROTOCOL",
        Error::PeerIncompatible(
            PeerIncompatible::NoCipherSuitesInCommon
            | PeerIncompatible::NoKxGroupsInCommon
            | PeerIncompatible::NoSignatureSchemesInCommon,
        ) => "ERR_SSL_NO_SHARED_CIPHER",
        Error::AlertReceived(alert) => alert_code(*alert),
        _ => "EPROTO",
    }
}

fn alert_code(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::UnknownCA => "ERR_SSL_TLSV1_ALERT_UNKNOWN_CA",
        AlertDescription::BadCertificate => "ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE",
        AlertDescription::CertificateExpired => "ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED",
        AlertDescription::CertificateUnknown => "ERR_SSL_SSLV3_ALERT_CERTIFICATE_UNKNOWN",
        AlertDescription::CertificateRequired => "ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED",
        AlertDescription::HandshakeFailure => "ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE",
        AlertDescription::ProtocolVersion => "ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION",
        AlertDescription::DecryptError => "ERR_SSL_TLSV1_ALERT_DECRYPT_ERROR",
        AlertDescription::InternalError => "ERR_SSL_TLSV1_ALERT_INTERNAL_ERROR",
        _ => "EPROTO",
    }
}
