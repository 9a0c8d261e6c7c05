//! That the broker of the tests does what the tests take for granted.

use crate::kafka::{KafkaServer, Listener, Options, Permission};

#[test]
fn a_broker_keeps_its_data_over_a_kill() {
    let server = KafkaServer::start(&Options::secured());
    server.create_topic("kept", 2);
    server.allow("kept", Permission::Write);
    server.kill();
    assert!(std::net::TcpStream::connect(server.bootstrap()).is_err());
    server.start_again();
    server.suspend();
    server.resume();
    server.add_partitions("kept", 3);
    assert_eq!(server.consume_all("kept"), []);
    server.delete_topic("kept");
    assert!(std::net::TcpStream::connect(server.bootstrap_of(Listener::Scram)).is_ok());
    server.stop();
}
