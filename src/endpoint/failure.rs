//! Why a connection or a listener failed, in the words that JavaScript shows.

use std::net::SocketAddr;

use crate::protocol::ProtocolError;
use crate::transport::{TlsFault, UvError};

/// Which class of error JavaScript makes of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FailureKind {
    /// `Error`.
    Error,
    /// `RangeError`.
    RangeError,
    /// `AggregateError`, with one error for each address that was tried.
    AggregateError,
}

/// One error, as Node and `ws` describe theirs.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    /// The class.
    pub kind: FailureKind,
    /// The message.
    pub message: String,
    /// The stable code.
    pub code: Option<String>,
    /// The system's error number, negative as in Node.
    pub errno: Option<i32>,
    /// The system call that failed.
    pub syscall: Option<&'static str>,
    /// The address or host name.
    pub address: Option<String>,
    /// The port.
    pub port: Option<u16>,
    /// For `AggregateError`.
    pub errors: Vec<Failure>,
    /// Whether TLS is what failed: another implementation may come to another result.
    pub is_of_tls: bool,
}

impl Failure {
    /// A plain error.
    pub(crate) fn new(message: impl Into<String>, code: Option<&str>) -> Self {
        Self {
            kind: FailureKind::Error,
            message: message.into(),
            code: code.map(str::to_owned),
            errno: None,
            syscall: None,
            address: None,
            port: None,
            errors: Vec::new(),
            is_of_tls: false,
        }
    }

    /// A session of TLS failed.
    pub(crate) fn tls(fault: &TlsFault) -> Self {
        Self { is_of_tls: fault.is_of_tls(), ..Self::new(fault.message.as_str(), Some(fault.code)) }
    }

    /// The context ended under a connection that was not open yet.
    pub(crate) fn context_closed() -> Self {
        Self::new(
            "The context was closed before the connection was established",
            Some("ERR_UVWS_CONTEXT_CLOSED"),
        )
    }

    /// No key could be had, for a handshake or a frame.
    pub(super) fn random() -> Self {
        Self::new("The system's random generator failed", Some("ERR_UVWS_RANDOM"))
    }

    /// It is a fault of ours.
    pub(super) fn panic() -> Self {
        Self::new("A callback of the connection has panicked", Some("ERR_UVWS_PANIC"))
    }

    /// The peer is silent.
    pub(super) fn heartbeat() -> Self {
        Self::new("The peer has not answered a PING", Some("ERR_UVWS_HEARTBEAT_TIMEOUT"))
    }

    /// More waits for the peer than may.
    pub(super) fn backpressure() -> Self {
        Self::new("The peer takes too little of what is sent", Some("ERR_UVWS_BACKPRESSURE"))
    }

    /// Too much memory is in use, and most of it by this connection.
    pub(super) fn memory_budget() -> Self {
        Self::new("The memory budget is exceeded", Some("ERR_UVWS_MEMORY_BUDGET"))
    }

    /// The peer broke the protocol.
    pub(crate) fn protocol(error: &ProtocolError) -> Self {
        let kind = match error.is_range_error() {
            true => FailureKind::RangeError,
            false => FailureKind::Error,
        };
        let errno = error.errno();
        Self { kind, errno, ..Self::new(error.to_string(), Some(error.code())) }
    }

    /// A connect attempt failed.
    pub(crate) fn connect(error: UvError, address: &SocketAddr) -> Self {
        let name = error.name();
        Self {
            message: format!("connect {name} {}:{}", address.ip(), address.port()),
            ..Self::system(error, &name, "connect", address)
        }
    }

    /// A listener could not listen.
    pub(crate) fn listen(error: UvError, address: &SocketAddr) -> Self {
        let name = error.name();
        let text = error.message();
        Self {
            message: format!("listen {name}: {text} {}:{}", address.ip(), address.port()),
            ..Self::system(error, &name, "listen", address)
        }
    }

    fn system(error: UvError, name: &str, syscall: &'static str, address: &SocketAddr) -> Self {
        Self {
            errno: Some(error.errno()),
            syscall: Some(syscall),
            address: Some(address.ip().to_string()),
            port: Some(address.port()),
            ..Self::new("", Some(name))
        }
    }

    /// A host name did not resolve.
    pub(crate) fn lookup(error: UvError, host: &str) -> Self {
        // Node calls the two ways in which a name does not exist by one name.
        let name = match error.name().as_str() {
            "EAI_NONAME" | "EAI_NODATA" => "ENOTFOUND".to_owned(),
            name => name.to_owned(),
        };
        Self {
            errno: Some(error.errno()),
            syscall: Some("getaddrinfo"),
            address: Some(host.to_owned()),
            ..Self::new(format!("getaddrinfo {name} {host}"), Some(&name))
        }
    }

    /// Every address failed.
    pub(crate) fn all(mut errors: Vec<Self>) -> Self {
        if errors.len() == 1 {
            if let Some(only) = errors.pop() {
                return only;
            }
        }
        let code = errors.first().and_then(|first| first.code.clone());
        Self { kind: FailureKind::AggregateError, errors, ..Self::new("", code.as_deref()) }
    }

    /// The peer ended the stream before it answered.
    pub(crate) fn hang_up() -> Self {
        Self::new("socket hang up", Some("ECONNRESET"))
    }

    /// A stream failed in `syscall`: `read` or `write`.
    pub(crate) fn stream(error: UvError, syscall: &'static str) -> Self {
        let name = error.name();
        Self {
            errno: Some(error.errno()),
            syscall: Some(syscall),
            ..Self::new(format!("{syscall} {name}"), Some(&name))
        }
    }
}
