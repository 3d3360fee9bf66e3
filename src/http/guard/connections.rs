//! Connections, counted by remote address: one address cannot take them all.

use actix_web::dev::Extensions;
use actix_web::rt::net::TcpStream;
use std::any::Any;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

/// The connections of each address.
#[derive(Clone, Debug)]
pub(in crate::http) struct Connections {
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
    most: usize,
}

/// One open connection; it is counted until it is dropped.
#[derive(Debug)]
pub(in crate::http) struct Connection {
    /// The address that the client has reached.
    pub(in crate::http) local: SocketAddr,
    /// The address has more connections than it may.
    pub(in crate::http) is_beyond: bool,
    remote: IpAddr,
    all: Connections,
}

impl Connections {
    pub(in crate::http) fn new(most: usize) -> Self {
        Self { open: Arc::default(), most }
    }

    /// Notes a new connection in its own data.
    pub(in crate::http) fn on_connect(&self, io: &dyn Any, data: &mut Extensions) {
        let stream = io.downcast_ref::<TcpStream>();
        let ends = stream.and_then(|stream| Some((stream.local_addr().ok()?, stream.peer_addr().ok()?)));
        if let Some((local, remote)) = ends {
            data.insert(self.open(local, remote.ip()));
        }
    }

    fn open(&self, local: SocketAddr, remote: IpAddr) -> Connection {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(remote).or_default();
        *count += 1;
        Connection { local, is_beyond: *count > self.most, remote, all: self.clone() }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut open = self.all.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.remote) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.remote);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_beyond_the_limit_of_their_address_are_marked_until_others_end() {
        let (all, local) = (Connections::new(2), SocketAddr::from(([127, 0, 0, 1], 8080)));
        let open = |last: u8| all.open(local, IpAddr::from([10, 0, 0, last]));
        let first = open(1);
        let others = [open(1), open(1), open(2)];
        assert_eq!(others.each_ref().map(|it| it.is_beyond), [false, true, false]);
        drop(first);
        drop(others);
        assert!(all.open.lock().unwrap().is_empty());
        assert!(!open(1).is_beyond);
    }
}
