//! The client's half: writing a request, checking the answer (RFC 6455 section 4.1).

use core::fmt;

use base64::engine::general_purpose::STANDARD;
use base64::Engine;

use super::super::limits;
use super::headers::{push_lines_latin1, push_value, read_extensions, with_header_room, HeaderMap};
use super::{accept, HandshakeError};

pub use super::{HandshakeLimits, HeadScanner};

/// What a request is made of. Nothing here may hold a control character.
#[derive(Clone, Copy, Debug)]
pub struct RequestParts<'a> {
    /// Request target: path and query, beginning with `/`.
    pub path: &'a str,
    /// Value of `Host`: the port is left out if it is the scheme's own.
    pub host: &'a str,
    /// 16 random bytes, of which the server shows that it read them.
    pub key: [u8; 16],
    /// Value of `Sec-WebSocket-Protocol`: subprotocols joined with commas.
    pub protocols: Option<&'a str>,
    /// Value of `Sec-WebSocket-Extensions`.
    pub extensions: Option<&'a str>,
    /// Further header lines, each with its CR LF.
    pub headers: &'a str,
}

/// Appends the whole request.
pub fn write_request(out: &mut Vec<u8>, parts: &RequestParts<'_>) {
    let mut encoded = [0; 24];
    let key = encode_key(parts.key, &mut encoded);
    out.extend_from_slice(b"GET ");
    push_value(out, parts.path);
    out.extend_from_slice(b" HTTP/1.1\r\nHost: ");
    push_value(out, parts.host);
    out.extend_from_slice(b"\r\n");
    push_lines_latin1(out, parts.headers);
    out.extend_from_slice(
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ",
    );
    out.extend_from_slice(key);
    out.extend_from_slice(b"\r\n");
    let lists = [
        ("Sec-WebSocket-Extensions: ", parts.extensions),
        ("Sec-WebSocket-Protocol: ", parts.protocols),
    ];
    for (name, value) in lists {
        if let Some(value) = value {
            out.extend_from_slice(name.as_bytes());
            push_value(out, value);
            out.extend_from_slice(b"\r\n");
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// Computes the `Sec-WebSocket-Accept` that answers a `Sec-WebSocket-Key`, both
/// in base64.
pub fn accept_for(key_base64: &[u8]) -> [u8; 28] {
    accept(key_base64)
}

/// Encodes a key as it stands in the header.
fn encode_key(key: [u8; 16], encoded: &mut [u8; 24]) -> &[u8] {
    // 16 bytes are 24 characters: the slice is never too short.
    let written = STANDARD.encode_slice(key, encoded);
    debug_assert_eq!(written.ok(), Some(encoded.len()));
    encoded
}

/// An answer that opens the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpgradeResponse {
    /// Always 101.
    pub status: u16,
    /// The subprotocol that the server chose.
    pub protocol: Option<String>,
    /// The server chose `permessage-deflate`; whoever offered it reads its parameters.
    pub has_extension: bool,
}

/// An answer that does not. Displays as `ws` words it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientHandshakeError {
    /// Another status than 101. One below 200 is provisional: the final answer
    /// follows it (RFC 9110 section 15.2).
    UnexpectedStatus(u16),
    /// `Connection` does not list `Upgrade`.
    InvalidConnectionHeader,
    /// `Upgrade` is missing, repeated or not `websocket`.
    InvalidUpgradeHeader,
    /// `Sec-WebSocket-Accept` does not answer the key.
    InvalidAcceptHeader,
    /// A subprotocol was chosen though none was offered.
    UnrequestedSubprotocol,
    /// A subprotocol was chosen that was not offered.
    InvalidSubprotocol,
    /// None of the offered subprotocols was chosen.
    NoSubprotocol,
    /// An extension was chosen though none was offered.
    UnrequestedExtensions,
    /// The extensions are not in their grammar.
    InvalidExtensionsHeader,
    /// An extension was chosen that was not offered.
    UnrequestedExtension,
    /// The bytes are no HTTP/1.1 response.
    Malformed,
    /// The head is above the limit of size or of lines.
    TooLarge,
}

impl ClientHandshakeError {
    /// Returns the code that Node's HTTP client gives for the same fault, if it
    /// is one of HTTP and not of the handshake.
    pub const fn code(self) -> Option<&'static str> {
        match self {
            Self::Malformed => Some("HPE_INVALID_CONSTANT"),
            Self::TooLarge => Some("HPE_HEADER_OVERFLOW"),
            _ => None,
        }
    }
}

impl fmt::Display for ClientHandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnexpectedStatus(status) => {
                return write!(f, "Unexpected server response: {status}")
            }
            Self::InvalidConnectionHeader => "Invalid Connection header",
            Self::InvalidUpgradeHeader => "Invalid Upgrade header",
            Self::InvalidAcceptHeader => "Invalid Sec-WebSocket-Accept header",
            Self::UnrequestedSubprotocol => "Server sent a subprotocol but none was requested",
            Self::InvalidSubprotocol => "Server sent an invalid subprotocol",
            Self::NoSubprotocol => "Server sent no subprotocol",
            Self::UnrequestedExtensions => {
                "Server sent a Sec-WebSocket-Extensions header but no extension was requested"
            }
            Self::InvalidExtensionsHeader => "Invalid Sec-WebSocket-Extensions header",
            Self::UnrequestedExtension => "Server indicated an extension that was not requested",
            Self::Malformed => "Parse Error: Expected HTTP/",
            Self::TooLarge => "Parse Error: Header overflow",
        })
    }
}

impl std::error::Error for ClientHandshakeError {}

/// What [`HeadScanner`] refuses in a response.
impl From<HandshakeError> for ClientHandshakeError {
    fn from(error: HandshakeError) -> Self {
        match error.status {
            431 => Self::TooLarge,
            _ => Self::Malformed,
        }
    }
}

/// Reads a whole head, as [`HeadScanner`] delimits it, and checks it against
/// what was asked for.
///
/// `offered_protocols` is the value that the request carried.
/// `offered_extensions` tells whether the request carried extensions.
pub fn parse_response(
    head: &[u8],
    key: [u8; 16],
    offered_protocols: Option<&str>,
    offered_extensions: bool,
) -> Result<UpgradeResponse, ClientHandshakeError> {
    let max = limits::DEFAULT_MAX_HEADERS_COUNT;
    let parsed = with_header_room(head, max, |head, room| {
        let mut response = httparse::Response::new(&mut []);
        let config = httparse::ParserConfig::default();
        let status = config.parse_response_with_uninit_headers(&mut response, head, room)?;
        let whole = status == httparse::Status::Complete(head.len());
        Ok(match (response.version, response.code) {
            (_, Some(code)) if whole && code != 101 => {
                Err(ClientHandshakeError::UnexpectedStatus(code))
            }
            (Some(1), Some(_)) if whole => check_response(
                HeaderMap(response.headers),
                key,
                offered_protocols,
                offered_extensions,
            ),
            _ => Err(ClientHandshakeError::Malformed),
        })
    });
    match parsed {
        Ok(result) => result,
        Err(httparse::Error::TooManyHeaders) => Err(ClientHandshakeError::TooLarge),
        Err(_) => Err(ClientHandshakeError::Malformed),
    }
}

/// Checks the header lines of a 101 by the numbered steps of section 4.1.
fn check_response(
    headers: HeaderMap<'_, '_>,
    key: [u8; 16],
    offered_protocols: Option<&str>,
    offered_extensions: bool,
) -> Result<UpgradeResponse, ClientHandshakeError> {
    // 2. Upgrade is "websocket", without regard to case.
    if !headers.only("upgrade").is_some_and(|value| value.eq_ignore_ascii_case(b"websocket")) {
        return Err(ClientHandshakeError::InvalidUpgradeHeader);
    }
    // 3. Connection lists "Upgrade", without regard to case.
    if !headers.lists("connection", b"upgrade") {
        return Err(ClientHandshakeError::InvalidConnectionHeader);
    }
    // 4. Sec-WebSocket-Accept answers the key.
    let mut encoded = [0; 24];
    let expected = accept(encode_key(key, &mut encoded));
    if headers.only("sec-websocket-accept") != Some(&expected) {
        return Err(ClientHandshakeError::InvalidAcceptHeader);
    }
    // 6. The subprotocol is one that was offered. `ws` asks for one as well.
    let protocol = check_protocol(headers, offered_protocols)?;
    // 5. Extensions are among those that were offered.
    let has_extension = headers.has("sec-websocket-extensions");
    if has_extension {
        check_extensions(headers, offered_extensions)?;
    }
    Ok(UpgradeResponse { status: 101, protocol, has_extension })
}

/// Returns the subprotocol that the server chose.
fn check_protocol(
    headers: HeaderMap<'_, '_>,
    offered: Option<&str>,
) -> Result<Option<String>, ClientHandshakeError> {
    let sent = headers.has("sec-websocket-protocol");
    match (offered, sent) {
        (None, false) => Ok(None),
        (None, true) => Err(ClientHandshakeError::UnrequestedSubprotocol),
        (Some(_), false) => Err(ClientHandshakeError::NoSubprotocol),
        (Some(offered), true) => {
            let chosen = headers.only("sec-websocket-protocol").unwrap_or_default();
            let mut names = offered.split(',').map(str::trim).filter(|name| !name.is_empty());
            match names.find(|name| name.as_bytes() == chosen) {
                Some(name) => Ok(Some(name.to_owned())),
                None => Err(ClientHandshakeError::InvalidSubprotocol),
            }
        }
    }
}

/// Accepts the one extension that a client offers, `permessage-deflate`, once.
/// Its parameters are the concern of whoever offered it.
fn check_extensions(headers: HeaderMap<'_, '_>, offered: bool) -> Result<(), ClientHandshakeError> {
    if !offered {
        return Err(ClientHandshakeError::UnrequestedExtensions);
    }
    let mut unknown = false;
    let mut count = 0_usize;
    let lines = headers.all("sec-websocket-extensions");
    read_extensions(lines, limits::MAX_OFFERED_EXTENSIONS, |name| {
        unknown |= name != b"permessage-deflate";
        count = count.saturating_add(1);
    })
    .map_err(|_| ClientHandshakeError::InvalidExtensionsHeader)?;
    match (unknown, count) {
        (true, _) => Err(ClientHandshakeError::UnrequestedExtension),
        (false, 1) => Ok(()),
        (false, _) => Err(ClientHandshakeError::InvalidExtensionsHeader),
    }
}
