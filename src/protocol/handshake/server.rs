//! The server's half: reading a request, answering it (RFC 6455 section 4.2).

use super::headers::{
    count_protocols, push_lines, push_value, read_extensions, with_header_room, HeaderMap,
};
use super::host::authority;
use super::{accept, is_key};

pub use super::{HandshakeError, HandshakeLimits, HeadScanner};

/// A request that may be answered with 101.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpgradeRequest {
    /// Value of the response's `Sec-WebSocket-Accept`: base64 of SHA-1.
    pub accept: [u8; 28],
    /// Protocol version: 13, or 8 of the draft that differs in header names only.
    pub version: u8,
    /// The client offers subprotocols: tokens, none twice.
    pub has_protocols: bool,
    /// The client offers extensions, by their grammar.
    pub has_extensions: bool,
}

/// Reads a whole head, as [`HeadScanner`] delimits it, and checks it.
///
/// What is no upgrade at all gets 426, what is a wrong one 400, in the order in
/// which `ws` behind Node's HTTP server looks at it.
pub fn parse_request(
    head: &[u8],
    limits: &HandshakeLimits,
) -> Result<UpgradeRequest, HandshakeError> {
    if head.len() > limits.max_header_size {
        return Err(HandshakeError::TOO_LARGE);
    }
    let parsed = with_header_room(head, limits.max_headers_count, |head, room| {
        let mut request = httparse::Request::new(&mut []);
        let status = request.parse_with_uninit_headers(head, room)?;
        // A head that ends before or behind its first empty line is no head.
        let whole = status == httparse::Status::Complete(head.len());
        Ok(match (request.version, request.method, request.path) {
            (Some(1), Some(method), Some(target)) if whole && is_target(target) => {
                check_request(method, HeaderMap(request.headers), limits)
                    .map_err(|error| HandshakeError { is_request: true, ..error })
            }
            _ => Err(HandshakeError::BAD_REQUEST),
        })
    });
    match parsed {
        Ok(result) => result,
        Err(httparse::Error::TooManyHeaders) => Err(HandshakeError::TOO_MANY_LINES),
        Err(_) => Err(HandshakeError::BAD_REQUEST),
    }
}

/// Tells whether a head, which need not be a valid one, asks for an upgrade to a WebSocket.
pub fn asks_for_websocket(head: &[u8]) -> bool {
    head.split(|byte| *byte == b'\n').any(|line| {
        let Some((name, value)) = line.split_at_checked("upgrade:".len()) else { return false };
        name.eq_ignore_ascii_case(b"upgrade:")
            && value
                .split(|byte| *byte == b',')
                .any(|token| token.trim_ascii().eq_ignore_ascii_case(b"websocket"))
    })
}

/// Returns the request target of a head, which need not be a whole or valid one; empty if there is none.
pub fn target_of(head: &[u8]) -> &str {
    let target = head.split(u8::is_ascii_whitespace).nth(1);
    let target = target.and_then(|target| core::str::from_utf8(target).ok());
    target.filter(|target| is_target(target)).unwrap_or_default()
}

/// Tells whether a request target is a path or an absolute URI, in the
/// characters that RFC 3986 allows; a fragment is not sent (section 3).
fn is_target(target: &str) -> bool {
    let has_host = || authority(target.as_bytes()).is_some_and(|authority| !authority.is_empty());
    let is_form = target.starts_with('/') || has_host();
    is_form && target.bytes().all(|byte| matches!(byte, b'!'..=b'~') && byte != b'#')
}

/// Checks the header lines of a well-formed request.
fn check_request(
    method: &str,
    headers: HeaderMap<'_, '_>,
    limits: &HandshakeLimits,
) -> Result<UpgradeRequest, HandshakeError> {
    if !headers.only("host").is_some_and(is_host) {
        return Err(HandshakeError::BAD_REQUEST);
    }
    if !headers.has("upgrade") || !headers.lists("connection", b"upgrade") {
        return Err(HandshakeError {
            // RFC 9110 sections 7.8 and 15.5.22: 426 names the protocol that
            // is wanted, and `Connection` names that header.
            headers: "Upgrade: websocket\r\nConnection: Upgrade\r\n",
            ..HandshakeError::new(426, "Upgrade Required")
        });
    }
    if method != "GET" {
        return Err(HandshakeError {
            headers: "Allow: GET\r\n",
            ..HandshakeError::new(405, "Invalid HTTP method")
        });
    }
    // The bytes of a body would be read as frames here and as a request by
    // whoever stands before us.
    let announces_body = headers.all("content-length").any(|value| value != b"0");
    if announces_body || headers.has("transfer-encoding") {
        return Err(HandshakeError::BAD_REQUEST);
    }
    if !headers.only("upgrade").is_some_and(|value| value.eq_ignore_ascii_case(b"websocket")) {
        return Err(HandshakeError::new(400, "Invalid Upgrade header"));
    }
    let Some(key) = headers.only("sec-websocket-key").filter(|value| is_key(value)) else {
        return Err(HandshakeError::new(400, "Missing or invalid Sec-WebSocket-Key header"));
    };
    let version = match headers.only("sec-websocket-version") {
        Some(b"13") => 13,
        Some(b"8") => 8,
        _ => {
            return Err(HandshakeError {
                // Section 4.4: the versions that would be understood.
                headers: "Sec-WebSocket-Version: 13, 8\r\n",
                ..HandshakeError::new(400, "Missing or invalid Sec-WebSocket-Version header")
            });
        }
    };

    let protocols = headers.all("sec-websocket-protocol");
    let protocols = count_protocols(protocols, limits.max_protocols)
        .map_err(|_| HandshakeError::new(400, "Invalid Sec-WebSocket-Protocol header"))?;

    let has_extensions = headers.has("sec-websocket-extensions");
    if has_extensions {
        let lines = headers.all("sec-websocket-extensions");
        read_extensions(lines, limits.max_extensions, |_| {}).map_err(|_| {
            HandshakeError::new(400, "Invalid or unacceptable Sec-WebSocket-Extensions header")
        })?;
    }

    Ok(UpgradeRequest {
        accept: accept(key),
        version,
        has_protocols: protocols > 0,
        has_extensions,
    })
}

/// Tells whether a `Host` value has only the characters of a host and port
/// (RFC 3986 section 3.2), and at least one.
fn is_host(value: &[u8]) -> bool {
    let allowed = |byte: &u8| match byte {
        b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => true,
        // unreserved, percent-encoding, port and brackets, sub-delims
        b'-' | b'.' | b'_' | b'~' | b'%' | b':' | b'[' | b']' => true,
        b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' => true,
        _ => false,
    };
    !value.is_empty() && value.iter().all(allowed)
}

/// Appends the response that opens the connection (section 4.2.2, step 5).
///
/// `extra_headers` are whole lines, see
/// [`are_header_lines`](super::headers::are_header_lines); `protocol` is one of
/// those that were offered.
pub fn write_response(
    out: &mut Vec<u8>,
    accept: &[u8; 28],
    protocol: Option<&str>,
    extra_headers: &str,
) {
    out.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\n\
          Upgrade: websocket\r\n\
          Connection: Upgrade\r\n\
          Sec-WebSocket-Accept: ",
    );
    out.extend_from_slice(accept);
    out.extend_from_slice(b"\r\n");
    if let Some(protocol) = protocol {
        out.extend_from_slice(b"Sec-WebSocket-Protocol: ");
        push_value(out, protocol);
        out.extend_from_slice(b"\r\n");
    }
    push_lines(out, extra_headers);
    out.extend_from_slice(b"\r\n");
}

/// Appends a response that refuses the upgrade. The connection is to be closed
/// behind it.
///
/// An empty `body` becomes the status's own phrase. `extra_headers` are whole
/// lines; one of them may replace `Content-Type`.
pub fn write_rejection(out: &mut Vec<u8>, status: u16, body: &str, extra_headers: &str) {
    let phrase = reason_phrase(status);
    let body = if body.is_empty() { phrase } else { body };
    push_value(out, &format!("HTTP/1.1 {status} {phrase}"));
    out.extend_from_slice(b"\r\nConnection: close\r\n");
    if !has_line(extra_headers, "content-type") {
        out.extend_from_slice(b"Content-Type: text/html\r\n");
    }
    if !has_line(extra_headers, "content-length") {
        out.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
    }
    push_lines(out, extra_headers);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body.as_bytes());
}

/// Tells whether one of `lines` is called `name`.
fn has_line(lines: &str, name: &str) -> bool {
    let names = lines.split("\r\n").filter_map(|line| line.split(':').next());
    names.into_iter().any(|other| other.eq_ignore_ascii_case(name))
}

/// Returns the phrase of a status (RFC 9110 section 15); empty if it is not one
/// that refuses an upgrade, which the grammar allows.
pub fn reason_phrase(status: u16) -> &'static str {
    match status {
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Payload Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        418 => "I'm a Teapot",
        421 => "Misdirected Request",
        422 => "Unprocessable Entity",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        511 => "Network Authentication Required",
        _ => "",
    }
}
