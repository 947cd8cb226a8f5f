//! Socket options that the standard library does not offer.

use std::{io, os::fd::AsRawFd, time::Duration};

/// Sets TCP keepalive and the longest time that sent bytes may stay unacknowledged, so that a peer that vanished
/// without a word is noticed in seconds and not in the kernel's default quarter of an hour.
pub fn limit_silence(socket: &impl AsRawFd, limit: Duration) -> io::Result<()> {
    let fd = socket.as_raw_fd();
    let ms = libc::c_int::try_from(limit.as_millis()).unwrap_or(libc::c_int::MAX);
    let probe_s = (ms / 4_000).max(1);
    set(fd, libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1)?;
    set(fd, libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, probe_s)?;
    set(fd, libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, probe_s)?;
    set(fd, libc::IPPROTO_TCP, libc::TCP_KEEPCNT, 3)?;
    set(fd, libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, ms)
}

/// Makes the closing of a socket a reset instead of an orderly end: what a crashed peer looks like.
pub fn reset_on_close(socket: &impl AsRawFd) -> io::Result<()> {
    set(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, libc::linger { l_onoff: 1, l_linger: 0 })
}

#[allow(unsafe_code)]
fn set<T: Copy>(fd: libc::c_int, level: libc::c_int, name: libc::c_int, value: T) -> io::Result<()> {
    // SAFETY: the pointer is to a live local of exactly the length given, and setsockopt only reads it. A stale `fd` is
    // impossible: the caller borrows the socket that owns it.
    let rc = unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), size_of::<T>() as libc::socklen_t) };
    if rc == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_takes_the_options_and_a_file_does_not() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
        let socket = std::net::TcpStream::connect(listener.local_addr().expect("bound")).expect("loopback");
        limit_silence(&socket, Duration::from_secs(10)).expect("options");
        assert!(limit_silence(&std::fs::File::open("/dev/null").expect("exists"), Duration::from_secs(10)).is_err());
    }
}
