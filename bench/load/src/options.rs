//! The command line of the load generator.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::client::Target;
use crate::deflate::Takeover;
use crate::frames::{Kind, Shape};
use crate::secure::Security;

/// What the load generator prints for a command line it does not understand.
pub const USAGE: &str = "\
usage: load --port P --pid PID [options]
  --host ADDRESS       IPv4 loopback address of the server (127.0.0.1)
  --pid PID            the server's process, whose processor time and memory are read
  --mode echo          keep D messages in flight on each of N connections
         paced         send R messages a second whatever comes back, over N connections
         broadcast     one message at a time, which the server sends to all N connections
         churn         open, echo once, close; N at a time
         idle          open N connections and hold them
  --connections N      (64)
  --depth D            messages in flight per connection, echo only (1)
  --size B             bytes of payload per message (20)
  --text, --binary, --non-ascii, --json
                       kind of message; --non-ascii is text of 1 to 4 byte characters (--binary)
  --fragments F        frames per message (1)
  --deflate no-takeover, --deflate takeover
                       permessage-deflate in both directions, without or with context
  --tls resume, --tls full
                       TLS 1.3 with TLS_AES_128_GCM_SHA256 and X25519; sessions are resumed, or every
                       handshake is a full one
  --repeat T           copies that the server sends of each message (1)
  --rate R             messages a second of all connections together, paced only
  --flood D            one connection more, with D messages in flight, paced only (0)
  --once               echo only: no warm-up, and no more than the first D messages
  --warmup SECONDS     before anything is counted (0.5)
  --seconds SECONDS    the measured window, or how long idle waits before it looks (2)
  --check-every N      compare each n-th reply above 4 KiB whole, the others in part (16)
  --touch              idle only: echo one message on each connection first
  --core N             run on this core only
Prints one line of JSON. Ends with status 1 after a wrong reply or a lost connection.";

/// What to do to the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Messages in flight all the time.
    Echo,
    /// Messages at a fixed rate.
    Paced,
    /// Messages from one, for all.
    Broadcast,
    /// A connection per message.
    Churn,
    /// Connections without messages.
    Idle,
}

/// The whole command line, checked.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the server listens.
    pub target: Target,
    /// The server's process.
    pub pid: u32,
    /// What to do.
    pub mode: Mode,
    /// Connections at a time.
    pub connections: usize,
    /// Messages in flight per connection.
    pub depth: usize,
    /// What the messages are like.
    pub shape: Shape,
    /// Messages a second.
    pub rate: f64,
    /// Messages in flight on one more connection.
    pub flood: usize,
    /// Whether nothing is sent but the first messages.
    pub once: bool,
    /// Time before anything is counted.
    pub warmup: Duration,
    /// The measured window.
    pub window: Duration,
    /// One in so many large replies is compared whole.
    pub check_every: u64,
    /// Whether idle connections speak once.
    pub touch: bool,
    /// The core to run on.
    pub core: Option<usize>,
}

impl Options {
    /// Reads the arguments that follow the program's name.
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Options {
            target: Target { host: Ipv4Addr::LOCALHOST, port: 0, deflate: None, security: None },
            pid: 0,
            mode: Mode::Echo,
            connections: 64,
            depth: 1,
            shape: Shape { kind: Kind::Binary, size: 20, fragments: 1, deflate: None, repeat: 1 },
            rate: 0.0,
            flood: 0,
            once: false,
            warmup: Duration::from_millis(500),
            window: Duration::from_secs(2),
            check_every: 16,
            touch: false,
            core: None,
        };
        while let Some(name) = arguments.next() {
            match name.as_str() {
                "--text" => options.shape.kind = Kind::Text,
                "--binary" => options.shape.kind = Kind::Binary,
                "--non-ascii" => options.shape.kind = Kind::NonAscii,
                "--json" => options.shape.kind = Kind::Json,
                "--once" => options.once = true,
                "--touch" => options.touch = true,
                _ => {
                    let value = arguments.next().ok_or_else(|| format!("{name} wants a value"))?;
                    options
                        .set(&name, &value)
                        .ok_or_else(|| format!("{name} {value}: not understood"))?;
                }
            }
        }
        options.checked()
    }

    fn set(&mut self, name: &str, value: &str) -> Option<()> {
        match name {
            "--host" => self.target.host = value.parse().ok()?,
            "--port" => self.target.port = value.parse().ok()?,
            "--pid" => self.pid = value.parse().ok()?,
            "--mode" => {
                self.mode = match value {
                    "echo" => Mode::Echo,
                    "paced" => Mode::Paced,
                    "broadcast" => Mode::Broadcast,
                    "churn" => Mode::Churn,
                    "idle" => Mode::Idle,
                    _ => return None,
                }
            }
            "--connections" => self.connections = value.parse().ok()?,
            "--depth" => self.depth = value.parse().ok()?,
            "--size" => self.shape.size = value.parse().ok()?,
            "--fragments" => self.shape.fragments = value.parse().ok()?,
            "--repeat" => self.shape.repeat = value.parse().ok()?,
            "--deflate" => {
                let takeover = match value {
                    "no-takeover" => Takeover::No,
                    "takeover" => Takeover::Yes,
                    _ => return None,
                };
                self.shape.deflate = Some(takeover);
                self.target.deflate = Some(takeover);
            }
            "--tls" => {
                let resumes = match value {
                    "resume" => true,
                    "full" => false,
                    _ => return None,
                };
                self.target.security = Some(Security::new(resumes).ok()?);
            }
            "--rate" => self.rate = value.parse().ok()?,
            "--flood" => self.flood = value.parse().ok()?,
            "--warmup" => self.warmup = seconds(value)?,
            "--seconds" => self.window = seconds(value)?,
            "--check-every" => self.check_every = value.parse().ok()?,
            "--core" => self.core = Some(value.parse().ok()?),
            _ => return None,
        }
        Some(())
    }

    fn checked(self) -> Result<Self, String> {
        if !self.target.host.is_loopback() {
            return Err("--host must be a loopback address".into());
        }
        if self.target.port == 0 || self.pid == 0 {
            return Err("--port and --pid are needed".into());
        }
        if self.connections == 0 || self.depth == 0 || self.check_every == 0 {
            return Err("--connections, --depth and --check-every start at 1".into());
        }
        if self.shape.fragments == 0 || self.shape.repeat == 0 {
            return Err("--fragments and --repeat start at 1".into());
        }
        let paced = self.mode == Mode::Paced;
        if paced && !(self.rate > 0.0 && self.rate <= MOST_PER_SECOND) {
            return Err(format!("--rate is above 0 and at most {MOST_PER_SECOND}"));
        }
        Ok(self)
    }
}

/// A message each microsecond is more than one core can send.
const MOST_PER_SECOND: f64 = 1e6;

fn seconds(value: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(value.parse().ok()?).ok()
}
