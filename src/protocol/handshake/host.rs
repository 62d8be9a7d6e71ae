//! The host that a request is for, and the names that it is compared with (RFC 9110 section 7.2).
//!
//! A name is compared without regard to case, port and a trailing dot. What is not a name or an
//! IPv6 literal fits no [`Hostname`], whatever it ends with.

use core::fmt;
use core::net::Ipv6Addr;

/// Longest name that is looked at: the DNS has none that is longer (RFC 1035 section 2.3.4).
const MAX_NAME: usize = 255;

/// The name of a virtual host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hostname {
    /// One host: a name in lower case, or an IPv4 address.
    Name(Box<str>),
    /// All hosts below a domain: `.example.org` stands for `*.example.org`.
    Below(Box<str>),
    /// One host, by its IPv6 address.
    Literal(Ipv6Addr),
}

impl Hostname {
    /// Reads `example.org`, `*.example.org`, `[::1]` or `::1`.
    pub fn parse(text: &str) -> Option<Self> {
        let address = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if let Ok(address) = address.unwrap_or(text).parse() {
            return Some(Self::Literal(address));
        }
        let text = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        match text.strip_prefix('*') {
            Some(below) => {
                let name = below.strip_prefix('.')?;
                is_name(name.as_bytes()).then(|| Self::Below(below.into()))
            }
            None => is_name(text.as_bytes()).then(|| Self::Name(text.into())),
        }
    }

    /// Tells how well `host` fits: the higher, the better; nothing if it does not.
    pub fn rank(&self, host: &Host<'_>) -> Option<usize> {
        match (self, host) {
            (Self::Name(name), Host::Name(host)) => {
                host.eq_ignore_ascii_case(name.as_bytes()).then_some(usize::MAX)
            }
            (Self::Below(domain), Host::Name(host)) => {
                let at = host.len().checked_sub(domain.len()).filter(|at| *at > 0)?;
                let end = host.get(at..)?;
                end.eq_ignore_ascii_case(domain.as_bytes()).then_some(domain.len())
            }
            (Self::Literal(address), Host::Literal(host)) => {
                (address == host).then_some(usize::MAX)
            }
            _ => None,
        }
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Below(domain) => write!(f, "*{domain}"),
            Self::Literal(address) => write!(f, "[{address}]"),
        }
    }
}

/// A host as a peer has named it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host<'a> {
    /// A name, in whatever case, or an IPv4 address.
    Name(&'a [u8]),
    /// An IPv6 address.
    Literal(Ipv6Addr),
}

impl<'a> Host<'a> {
    /// Reads the value of a `Host` header, or the authority of a URI: a host and perhaps a port.
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        if let Some(rest) = value.strip_prefix(b"[") {
            let end = rest.iter().position(|byte| *byte == b']')?;
            let (address, rest) = rest.split_at(end);
            is_port(rest.strip_prefix(b"]")?).then_some(())?;
            return core::str::from_utf8(address).ok()?.parse().ok().map(Self::Literal);
        }
        let end = value.iter().position(|byte| *byte == b':').unwrap_or(value.len());
        let (name, port) = value.split_at(end);
        let name = name.strip_suffix(b".").unwrap_or(name);
        (is_port(port) && is_name(name)).then_some(Self::Name(name))
    }

    /// Finds the host that a request with this head is for. A request target with a host of its own
    /// decides, not the header (RFC 9112 section 3.2.2). The head need not be a valid one.
    pub fn of_request(head: &'a [u8]) -> Option<Self> {
        let mut lines = head.split(|byte| *byte == b'\n');
        let target = lines.next()?.split(|byte| *byte == b' ').nth(1)?;
        if !target.starts_with(b"/") {
            return Self::parse(authority(target)?);
        }
        let value = lines.find_map(|line| {
            let (name, value) = line.split_at_checked("host:".len())?;
            name.eq_ignore_ascii_case(b"host:").then_some(value)
        })?;
        Self::parse(value.trim_ascii())
    }
}

/// Finds the authority of a request target in absolute form: behind a scheme, and in front of the path.
pub(super) fn authority(target: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = target.split_at(target.iter().position(|byte| *byte == b':')?);
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    let is_scheme = scheme.first()?.is_ascii_alphabetic() && scheme.iter().all(allowed);
    let rest = rest.strip_prefix(b"://").filter(|_| is_scheme)?;
    rest.split(|byte| matches!(byte, b'/' | b'?' | b'#')).next()
}

/// Tells whether `text` is a name: labels of letters, digits, hyphens and underscores.
fn is_name(text: &[u8]) -> bool {
    text.len() <= MAX_NAME
        && text.split(|byte| *byte == b'.').all(|label| {
            let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            !label.is_empty() && label.iter().all(allowed)
        })
}

/// Tells whether `text` is nothing, or a colon and digits, if any (RFC 3986 section 3.2.3).
fn is_port(text: &[u8]) -> bool {
    text.strip_prefix(b":").unwrap_or(text).iter().all(u8::is_ascii_digit)
        && (text.is_empty() || text.starts_with(b":"))
}
