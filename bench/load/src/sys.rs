//! The system calls that `std` does not offer, each behind a safe function.
//!
//! Invariant S1: every pointer handed to the kernel is to a live local or a slice, and the length
//! that goes with it is that object's own length.

use std::ffi::CString;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Turns the `-1` of a system call into the error of the calling thread.
fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Readable, or the peer has gone.
pub const READABLE: u32 = libc::EPOLLIN as u32;
/// Writable.
pub const WRITABLE: u32 = libc::EPOLLOUT as u32;

/// One readiness report: which events, for which token.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Event(libc::epoll_event);

impl Event {
    /// A report of nothing, to fill a buffer with.
    pub const NONE: Event = Event(libc::epoll_event { events: 0, u64: 0 });

    /// Returns the token that the descriptor was registered with.
    pub fn token(&self) -> usize {
        self.0.u64 as usize
    }

    /// Tells whether a read would not block (data, end of stream or an error).
    pub fn is_readable(&self) -> bool {
        self.0.events & (libc::EPOLLIN | libc::EPOLLHUP | libc::EPOLLERR) as u32 != 0
    }

    /// Tells whether a write would not block.
    pub fn is_writable(&self) -> bool {
        self.0.events & libc::EPOLLOUT as u32 != 0
    }
}

/// A level-triggered epoll instance.
pub struct Poll(OwnedFd);

impl Poll {
    /// Creates an instance that watches nothing yet.
    pub fn new() -> io::Result<Self> {
        // SAFETY: the call takes no pointer.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: `fd` was returned by the call above and nothing else owns it.
        Ok(Poll(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    fn control(
        &self,
        operation: libc::c_int,
        fd: RawFd,
        interest: u32,
        token: usize,
    ) -> io::Result<()> {
        let mut event = libc::epoll_event { events: interest, u64: token as u64 };
        // SAFETY: S1, `event` is a live local.
        check(unsafe { libc::epoll_ctl(self.0.as_raw_fd(), operation, fd, &mut event) })?;
        Ok(())
    }

    /// Starts watching `fd`.
    pub fn add(&self, fd: &impl AsRawFd, interest: u32, token: usize) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd.as_raw_fd(), interest, token)
    }

    /// Changes what `fd` is watched for.
    pub fn modify(&self, fd: &impl AsRawFd, interest: u32, token: usize) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd.as_raw_fd(), interest, token)
    }

    /// Waits for at most `timeout_ms` (-1: for ever) and returns what is ready.
    pub fn wait<'a>(&self, events: &'a mut [Event], timeout_ms: i32) -> io::Result<&'a [Event]> {
        let buffer = events.as_mut_ptr().cast::<libc::epoll_event>();
        let capacity = events.len() as libc::c_int;
        // SAFETY: S1, and `Event` is a transparent wrapper of `epoll_event`.
        match check(unsafe { libc::epoll_wait(self.0.as_raw_fd(), buffer, capacity, timeout_ms) }) {
            Ok(count) => Ok(&events[..count as usize]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(&[]),
            Err(error) => Err(error),
        }
    }
}

fn socket_address(address: SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(*address.ip()).to_be() },
        sin_zero: [0; 8],
    }
}

/// Connects from `source` to `target`, blocking.
///
/// The kernel picks the port when it knows the target (`IP_BIND_ADDRESS_NO_PORT`), so each source
/// address has the whole range of ports to itself.
pub fn connect_from(source: Ipv4Addr, target: SocketAddrV4) -> io::Result<TcpStream> {
    // SAFETY: the call takes no pointer.
    let fd =
        check(unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: `fd` was returned by the call above and nothing else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let on: libc::c_int = 1;
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: S1, `on` is a live local of `length` bytes.
    check(unsafe {
        libc::setsockopt(
            fd,
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            length,
        )
    })?;
    let length = size_of::<libc::sockaddr_in>() as libc::socklen_t;
    let local = socket_address(SocketAddrV4::new(source, 0));
    // SAFETY: S1, `local` is a live local of `length` bytes.
    check(unsafe { libc::bind(fd, (&raw const local).cast(), length) })?;
    let remote = socket_address(target);
    // SAFETY: S1, `remote` is a live local of `length` bytes.
    check(unsafe { libc::connect(fd, (&raw const remote).cast(), length) })?;
    Ok(TcpStream::from(socket))
}

/// Pins the calling thread, and the threads and processes it starts later, to one core.
pub fn pin_to_core(core: usize) -> io::Result<()> {
    if core >= libc::CPU_SETSIZE as usize {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: all zeros is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `core` is below CPU_SETSIZE, checked above.
    unsafe { libc::CPU_SET(core, &mut set) };
    // SAFETY: S1, `set` is a live local.
    check(unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) })?;
    Ok(())
}

/// Raises the soft limit of open descriptors to the hard limit and returns it.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: S1, `limit` is a live local.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) })?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: S1, `limit` is a live local.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) })?;
    Ok(limit.rlim_cur)
}

/// Has the kernel end this process when the one that started it ends; it survives `exec`.
pub fn die_with_parent() -> io::Result<()> {
    // SAFETY: the option takes a number and no pointer.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) })?;
    Ok(())
}

/// Asks process `pid` to collect its garbage (the servers of the benchmark do so on SIGUSR2).
pub fn request_collection(pid: u32) -> io::Result<()> {
    // SAFETY: the call takes no pointer.
    check(unsafe { libc::kill(pid as libc::pid_t, libc::SIGUSR2) })?;
    Ok(())
}

/// Has this process ignore SIGUSR2, whose default would end it.
pub fn ignore_collection_requests() {
    // SAFETY: SIG_IGN runs no handler.
    unsafe { libc::signal(libc::SIGUSR2, libc::SIG_IGN) };
}

/// Moves this process into a network of its own, in which only the loopback exists.
///
/// Without the right to do so as it is, the process becomes root of a user namespace of its own
/// first. The calling process must have one thread.
pub fn enter_own_network() -> io::Result<()> {
    // SAFETY: the calls take no pointer.
    let (user, group) = (unsafe { libc::geteuid() }, unsafe { libc::getegid() });
    // SAFETY: the call takes no pointer.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } == -1 {
        // SAFETY: the call takes no pointer.
        check(unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNET) })?;
        std::fs::write("/proc/self/setgroups", "deny")?;
        std::fs::write("/proc/self/uid_map", format!("0 {user} 1"))?;
        std::fs::write("/proc/self/gid_map", format!("0 {group} 1"))?;
    }
    bring_loopback_up()
}

fn bring_loopback_up() -> io::Result<()> {
    // SAFETY: the call takes no pointer.
    let fd =
        check(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: `fd` was returned by the call above and nothing else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: all zeros is a valid `ifreq`: no name, no flags.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (target, byte) in request.ifr_name.iter_mut().zip(b"lo") {
        *target = *byte as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: S1, `request` is a live local of the type that SIOCSIFFLAGS reads.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &mut request) })?;
    Ok(())
}

/// Replaces this process by `command`, searched for in PATH. Returns only to report a failure.
pub fn replace_process(command: &[CString]) -> io::Error {
    let Some(program) = command.first() else {
        return io::ErrorKind::InvalidInput.into();
    };
    let mut arguments: Vec<*const libc::c_char> =
        command.iter().map(|part| part.as_ptr()).collect();
    arguments.push(std::ptr::null());
    // SAFETY: both point to live strings that end in NUL, and the list ends in a null pointer.
    unsafe { libc::execvp(program.as_ptr(), arguments.as_ptr()) };
    io::Error::last_os_error()
}
