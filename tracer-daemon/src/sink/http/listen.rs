//! Where requests come in.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use listenfd::ListenFd;

use crate::humanize::escaped;

/// A socket cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address is not to be had.
    #[error("cannot listen on {address}: {why}; {}", remedy(why))]
    Address {
        /// As it was given.
        address: String,
        /// The kernel's reason.
        why: io::Error,
    },
    /// What the service manager hands over is no such socket.
    #[error(
        "socket {number} of LISTEN_FDS cannot be used: {why}; let the unit have ListenStream=ADDRESS:PORT"
    )]
    Inherited {
        /// Counted from 1.
        number: usize,
        /// What it is instead.
        why: io::Error,
    },
}

/// Listens on `address`, as in `127.0.0.1:9435` or `[::1]:9435`.
///
/// # Errors
/// When it is no address of this machine, or is taken.
pub fn bind(address: &str) -> Result<TcpListener, ListenError> {
    let listener = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    listener.map_err(|why| ListenError::Address { address: escaped(address), why })
}

/// Sockets that the service manager has opened (`LISTEN_FDS`), mostly none.
///
/// # Errors
/// When one of them is no TCP socket.
pub fn inherited() -> Result<Vec<TcpListener>, ListenError> {
    let mut handed = ListenFd::from_env();
    let mut take = |index| {
        let listener = handed.take_tcp_listener(index)?;
        if let Some(listener) = &listener {
            listener.set_nonblocking(true)?;
        }
        io::Result::Ok(listener)
    };
    (0..)
        .map_while(|index| {
            take(index).map_err(|why| ListenError::Inherited { number: index + 1, why }).transpose()
        })
        .collect()
}

/// The addresses, with the ports that were really taken.
pub fn addresses(listeners: &[TcpListener]) -> io::Result<Vec<SocketAddr>> {
    listeners.iter().map(TcpListener::local_addr).collect()
}

fn remedy(why: &io::Error) -> &'static str {
    match why.kind() {
        io::ErrorKind::AddrInUse => "stop what listens there, or choose another port",
        io::ErrorKind::AddrNotAvailable => "choose an address of this machine, or 0.0.0.0 for all",
        io::ErrorKind::PermissionDenied => "choose a port from 1024 up",
        _ => "give it as ADDRESS:PORT, for example 127.0.0.1:9435",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_one_line_with_a_remedy() {
        let first = bind("127.0.0.1:0").expect("a free port");
        let address = first.local_addr().expect("bound").to_string();
        let error = bind(&address).expect_err("in use").to_string();
        assert!(error.starts_with(&format!("cannot listen on {address}: ")), "{error}");
        assert!(error.ends_with("choose another port"), "{error}");
        let error = bind("no\nwhere").expect_err("no address").to_string();
        assert!(error.contains("ADDRESS:PORT") && !error.contains('\n'), "{error}");
    }
}
