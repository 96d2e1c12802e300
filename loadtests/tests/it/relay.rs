use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use headgate_loadtests::relay;

/// A relay on a thread of its own, which ends with the test's process.
fn start(to: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { relay::serve(tokio::net::TcpListener::from_std(listener).unwrap(), to).await })
    });
    address
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

#[test]
fn bytes_pass_both_ways_and_so_does_an_end() {
    let far = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = start(far.local_addr().unwrap());
    let (mut near, mut other) = (connect(address), connect(address));
    let (mut of_near, _) = far.accept().unwrap();
    let (mut of_other, _) = far.accept().unwrap();
    near.write_all(b"one").unwrap();
    other.write_all(b"two").unwrap();
    let mut bytes = [0; 3];
    of_near.read_exact(&mut bytes).unwrap();
    let (near_first, expected) = (&bytes == b"one", [*b"one", *b"two"]);
    assert!(expected.contains(&bytes));
    of_other.read_exact(&mut bytes).unwrap();
    assert_eq!(bytes, expected[usize::from(near_first)], "each has a connection of its own");
    of_near.write_all(b"back").unwrap();
    of_near.shutdown(Shutdown::Write).unwrap();
    let mut all = Vec::new();
    if near_first { &mut near } else { &mut other }.read_to_end(&mut all).unwrap();
    assert_eq!(all, b"back");
}

#[test]
fn where_nobody_listens_the_caller_is_hung_up_on() {
    let nowhere = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut near = connect(start(nowhere));
    assert!(matches!(near.read(&mut [0]), Ok(0) | Err(_)));
}
