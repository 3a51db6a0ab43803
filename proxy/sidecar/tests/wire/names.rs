//! Addresses that DNS names and nobody answers at.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinHandle;

use crate::config::{document, policy};
use crate::endpoint::{Endpoint, Gate};
use crate::message::{Wire, get};
use crate::patience::until;
use crate::program::Leeboard;

/// A DNS server that says of every name that it is this machine, for five minutes. It answers the first question about a name
/// at once and further ones when its gate is open.
struct Dns {
    address: SocketAddr,
    questions: Arc<AtomicUsize>,
    again: Gate,
    task: JoinHandle<()>,
}

impl Dns {
    async fn start() -> Self {
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let (address, questions, again) = (socket.local_addr().unwrap(), Arc::<AtomicUsize>::default(), Gate::closed());
        let (count, gate) = (questions.clone(), again.clone());
        let task = tokio::spawn(async move {
            let mut known = std::collections::BTreeSet::new();
            let mut later = tokio::task::JoinSet::new();
            let mut buffer = [0; 1500];
            loop {
                let (size, caller) = socket.recv_from(&mut buffer).await.unwrap();
                let question = buffer[..size].to_vec();
                count.fetch_add(1, Ordering::SeqCst);
                let first = known.insert(question[12..end_of_question(&question)].to_vec());
                let (socket, gate) = (socket.clone(), gate.clone());
                later.spawn(async move {
                    if !first {
                        gate.wait().await;
                    }
                    let _ = socket.send_to(&answer(&question), caller).await;
                });
            }
        });
        Self { address, questions, again, task }
    }

    fn questions(&self) -> usize {
        self.questions.load(Ordering::SeqCst)
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Where the one question of a message ends. RFC 1035 §4.1.2.
fn end_of_question(message: &[u8]) -> usize {
    let mut at = 12;
    while message[at] != 0 {
        at += 1 + usize::from(message[at]);
    }
    at + 5
}

/// RFC 1035 §4.1: the question again, and for an A question one record of it.
fn answer(question: &[u8]) -> Vec<u8> {
    let end = end_of_question(question);
    let mut message = question[..end].to_vec();
    let four = question[end - 4..end - 2] == [0, 1];
    message[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, u8::from(four), 0, 0, 0, 0]);
    if four {
        message.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 44, 0, 4]);
        message.extend_from_slice(&Ipv4Addr::LOCALHOST.octets());
    }
    message
}

#[tokio::test]
async fn an_address_that_refuses_is_asked_about_again_and_goes_last_until_it_is_named_again() {
    let (dns, good) = (Dns::start().await, Endpoint::named("good").await);
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let spec = format!(
        "{{hosts: [shop.test], location: MESH_INTERNAL, resolution: DNS, ports: [{{number: 80, name: main, protocol: HTTP}}], \
         endpoints: [{{address: gone.test, ports: {{main: {}}}}}, {{address: good.test, ports: {{main: {}}}}}]}}",
        nobody.port(),
        good.address.port()
    );
    let config =
        document("ServiceEntry", "shop", &spec) + &policy("shop.test", "{loadBalancer: {simple: ROUND_ROBIN}}");
    let leeboard = Leeboard::with(&config, &["--dns", &dns.address.to_string()]).await;
    let before = dns.questions();
    let again = || good.seen().iter().filter(|a| a.message.header("x-envoy-attempt-count") == Some("2")).count();
    let ask = async || {
        let mut wire = Wire::to(leeboard.port("outbound")).await;
        wire.send(get("/", "")).await.unwrap();
        assert_eq!(wire.response().await.unwrap().status(), 200);
    };
    for _ in 0..20 {
        ask().await;
    }
    assert_eq!(again(), 1, "who has refused once is not asked again");
    until("DNS is asked again, long before its answer is old", || async { dns.questions() > before }).await;
    for _ in 0..20 {
        ask().await;
    }
    assert_eq!(again(), 1, "as long as DNS has not named it again");
    dns.again.open();
    until("it is named again, and tried", || async {
        ask().await;
        again() > 1
    })
    .await;
}
