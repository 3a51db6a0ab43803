//! DNS against a scripted server.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA};
use hickory_resolver::proto::rr::{RData, Record, RecordType};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use super::*;
use crate::dns::on_demand::{MOST_REMEMBERED, OnDemandNames, answer};

/// What the server says to a question.
#[derive(Clone, Debug)]
enum Reply {
    Addresses(u32, Vec<IpAddr>),
    NoSuchName,
    Failure,
}

fn addresses(ttl: u32, list: &[&str]) -> Reply {
    Reply::Addresses(ttl, list.iter().map(|a| a.parse().unwrap()).collect())
}

type Script = Arc<Mutex<BTreeMap<&'static str, Reply>>>;

struct Server {
    address: SocketAddr,
    script: Script,
    task: JoinHandle<()>,
}

impl Server {
    /// Answers A and AAAA questions by the script, and everything that is not in it with NXDOMAIN.
    async fn start(script: &[(&'static str, Reply)]) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let script: Script = Arc::new(Mutex::new(script.iter().cloned().collect()));
        let told = script.clone();
        let task = tokio::spawn(async move {
            let mut buffer = [0; 1500];
            loop {
                let (size, caller) = socket.recv_from(&mut buffer).await.unwrap();
                let question = Message::from_vec(&buffer[..size]).unwrap();
                let reply = reply(&question, &told.lock().unwrap());
                socket.send_to(&reply.to_vec().unwrap(), caller).await.unwrap();
            }
        });
        Self { address, script, task }
    }

    fn say(&self, name: &'static str, reply: Reply) {
        self.script.lock().unwrap().insert(name, reply);
    }

    fn resolver(&self) -> Resolver {
        Resolver::new(Some(self.address), None).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn reply(question: &Message, script: &BTreeMap<&'static str, Reply>) -> Message {
    let query = question.queries[0].clone();
    let mut reply = Message::response(question.metadata.id, OpCode::Query);
    reply.add_query(query.clone());
    let name = query.name().to_string().to_lowercase();
    match script.get(name.trim_end_matches('.')) {
        Some(Reply::Addresses(ttl, list)) => {
            for address in list {
                let data = match (query.query_type(), address) {
                    (RecordType::A, IpAddr::V4(v4)) => RData::A(A(*v4)),
                    (RecordType::AAAA, IpAddr::V6(v6)) => RData::AAAA(AAAA(*v6)),
                    _ => continue,
                };
                reply.add_answer(Record::from_rdata(query.name().clone(), *ttl, data));
            }
        }
        Some(Reply::NoSuchName) | None => reply.metadata.response_code = ResponseCode::NXDomain,
        Some(Reply::Failure) => reply.metadata.response_code = ResponseCode::ServFail,
    }
    reply
}

fn ips(list: &[&str]) -> Vec<IpAddr> {
    list.iter().map(|a| a.parse().unwrap()).collect()
}

#[tokio::test]
async fn answers_and_failures() {
    let server = Server::start(&[
        ("four.test", addresses(30, &["10.0.0.2", "10.0.0.1"])),
        ("both.test", addresses(30, &["fd00::1", "10.0.0.1"])),
        ("six.test", addresses(30, &["fd00::1"])),
        ("none.test", addresses(30, &[])),
        ("gone.test", Reply::NoSuchName),
        ("sick.test", Reply::Failure),
        ("hasty.test", addresses(0, &["10.0.0.3"])),
        ("lasting.test", addresses(86_400, &["10.0.0.3"])),
    ])
    .await;
    let resolver = server.resolver();
    type Row<'a> = (&'a str, Option<(&'a [&'a str], u64)>);
    let table: [Row<'_>; 11] = [
        ("four.test", Some((&["10.0.0.2", "10.0.0.1"], 30))),
        ("both.test", Some((&["10.0.0.1"], 30))),
        ("six.test", Some((&["fd00::1"], 30))),
        ("none.test", Some((&[], 5))),
        ("gone.test", Some((&[], 5))),
        ("sick.test", None),
        ("hasty.test", Some((&["10.0.0.3"], 1))),
        ("lasting.test", Some((&["10.0.0.3"], 300))),
        ("192.0.2.7", Some((&["192.0.2.7"], 300))),
        ("[::1]", Some((&["::1"], 300))),
        ("not a name..", None),
    ];
    for (name, expected) in table {
        let answer = resolver.ask(name).await.ok();
        let expected = expected.map(|(list, ttl)| DnsAnswer { addresses: ips(list), ttl: Span::from_secs(ttl) });
        assert_eq!(answer, expected, "{name}");
    }
}

#[tokio::test]
async fn the_hosts_file_comes_first() {
    let server = Server::start(&[("localhost", addresses(30, &["10.9.9.9"]))]).await;
    let answer = server.resolver().ask("localhost").await.unwrap();
    assert!(answer.addresses.iter().all(IpAddr::is_loopback), "{answer:?}");
}

fn nothing_doubted() -> mpsc::Receiver<IpAddr> {
    mpsc::channel(1).1
}

fn names_of(list: &[(&str, bool)]) -> Vec<Wanted> {
    list.iter().map(|(name, ordered)| Wanted { name: (*name).into(), ordered: *ordered }).collect()
}

async fn resolved(updates: &mut mpsc::Receiver<Update>) -> (String, Vec<IpAddr>) {
    loop {
        match updates.recv().await.unwrap() {
            Update::Resolved { name, addresses, .. } => return (name.to_string(), addresses),
            Update::Settled | Update::Unresolved { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn the_store_hears_of_each_change_and_of_new_names() {
    let server = Server::start(&[
        ("a.test", addresses(0, &["10.0.0.2", "10.0.0.1"])),
        ("b.test", addresses(60, &["10.0.1.2", "10.0.1.1"])),
    ])
    .await;
    let (wanted, watching) = watch::channel(names_of(&[("a.test", false)]));
    let (sender, mut updates) = mpsc::channel(8);
    let task = tokio::spawn(keep_fresh(server.resolver(), Clock::start(), watching, nothing_doubted(), sender));
    // In order of the addresses, whatever the server's order.
    assert_eq!(resolved(&mut updates).await, ("a.test".into(), ips(&["10.0.0.1", "10.0.0.2"])));
    // The first address of this one matters.
    wanted.send_replace(names_of(&[("a.test", false), ("b.test", true)]));
    assert_eq!(resolved(&mut updates).await, ("b.test".into(), ips(&["10.0.1.2", "10.0.1.1"])));
    // After its TTL the name is asked for again.
    server.say("a.test", addresses(0, &["10.0.0.9"]));
    assert_eq!(resolved(&mut updates).await, ("a.test".into(), ips(&["10.0.0.9"])));
    server.say("a.test", Reply::NoSuchName);
    assert_eq!(resolved(&mut updates).await, ("a.test".into(), vec![]));
    task.abort();
}

#[tokio::test]
async fn the_first_names_settle_whether_answered_or_not() {
    let server = Server::start(&[("a.test", addresses(60, &["10.0.0.1"])), ("sick.test", Reply::Failure)]).await;
    for list in [&[][..], &[("a.test", false)], &[("a.test", false), ("sick.test", false)]] {
        let (_wanted, watching) = watch::channel(names_of(list));
        let (sender, mut updates) = mpsc::channel(8);
        let task = tokio::spawn(keep_fresh(server.resolver(), Clock::start(), watching, nothing_doubted(), sender));
        while !matches!(updates.recv().await.unwrap(), Update::Settled) {}
        task.abort();
    }
}

#[test]
fn failures_keep_what_is_known_and_pause_longer_each_time() {
    let mut names = BTreeMap::new();
    let name: Arc<str> = "a.test".into();
    want(&mut names, &[Wanted { name: name.clone(), ordered: false }], Time(0));
    let news = |list: &[&str]| Some(Update::Resolved { name: "a.test".into(), addresses: ips(list), asked: Time(0) });
    let good = |list: &[&str]| Ok(DnsAnswer { addresses: ips(list), ttl: Span::from_secs(5) });
    assert_eq!(hear(&mut names, &name, good(&["10.0.0.1"]), Time(0)), news(&["10.0.0.1"]));
    assert_eq!(names[&name].due, Time(0) + Span::from_secs(5));
    for pause in [500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000] {
        assert_eq!(hear(&mut names, &name, Err("no server".into()), Time(0)), None);
        assert_eq!(names[&name].due, Time(0) + Span::from_millis(pause));
    }
    assert_eq!(hear(&mut names, &name, good(&["10.0.0.1"]), Time(0)), None, "nothing new");
    assert_eq!(hear(&mut names, &name, Err("no server".into()), Time(0)), None);
    assert_eq!(names[&name].due, Time(0) + Span::from_millis(500), "it begins anew");
    want(&mut names, &[], Time(0));
    assert_eq!(hear(&mut names, &name, good(&["10.0.0.2"]), Time(0)), None, "nobody wants it any more");
    want(&mut names, &[Wanted { name: name.clone(), ordered: false }], Time(0));
    let unresolved = Some(Update::Unresolved { name: name.clone() });
    assert_eq!(hear(&mut names, &name, Err("no server".into()), Time(0)), unresolved, "the first failure is news");
    assert_eq!(hear(&mut names, &name, Err("no server".into()), Time(0)), None);
}

#[tokio::test]
async fn callers_names_are_remembered_for_their_ttl() {
    let server = Server::start(&[("a.test", addresses(60, &["10.0.0.1"])), ("sick.test", Reply::Failure)]).await;
    let (names, questions) = OnDemandNames::new(Clock::start());
    let task = tokio::spawn(answer(names.clone(), server.resolver(), questions));
    let (one, two) = tokio::join!(names.resolve("a.test"), names.resolve("a.test"));
    assert_eq!((&*one.unwrap(), &*two.unwrap()), (&*ips(&["10.0.0.1"]), &*ips(&["10.0.0.1"])));
    server.say("a.test", addresses(60, &["10.0.0.2"]));
    assert_eq!(&*names.resolve("a.test").await.unwrap(), &*ips(&["10.0.0.1"]), "still remembered");
    assert!(names.resolve("sick.test").await.is_err());
    server.say("sick.test", addresses(60, &["10.0.0.3"]));
    assert_eq!(&*names.resolve("sick.test").await.unwrap(), &*ips(&["10.0.0.3"]), "failures are not remembered");
    task.abort();
}

#[tokio::test]
async fn memory_of_callers_names_is_bounded() {
    let (names, _questions) = OnDemandNames::new(Clock::start());
    let found = DnsAnswer { addresses: ips(&["10.0.0.1"]), ttl: Span::from_secs(60) };
    for i in 0..MOST_REMEMBERED + 10 {
        names.remember(&format!("n{i}.test").into(), &found);
    }
    assert_eq!(names.known.lock().unwrap().len(), MOST_REMEMBERED);
}

#[tokio::test]
async fn too_many_questions_at_once_are_refused() {
    let (names, _never_answered) = OnDemandNames::new(Clock::start());
    let mut asked: JoinSet<_> = (0..MOST_ASKED)
        .map(|i| {
            let names = names.clone();
            async move { names.resolve(&format!("n{i}.test")).await }
        })
        .collect();
    while names.questions.capacity() > 0 {
        tokio::task::yield_now().await;
    }
    assert!(names.resolve("one-more.test").await.is_err());
    asked.abort_all();
}

#[tokio::test]
async fn no_answer_is_believed_for_long_inside_a_cluster() {
    let names = ["web.demo.svc.cluster.local", "web.demo.svc", "web", "web.test"];
    let half_a_minute: Vec<_> = names.iter().map(|name| (*name, addresses(30, &["10.0.0.1"]))).collect();
    let server = Server::start(&half_a_minute).await;
    for (name, usual) in names.into_iter().zip([5, 5, 5, 30]) {
        for (most, expected) in [(None, usual), (Some(20), 20), (Some(60), 30), (Some(0), 1)] {
            let resolver = Resolver::new(Some(server.address), most.map(Span::from_secs)).unwrap();
            let name = if name.contains('.') { name.to_owned() } else { format!("{name}.") };
            assert_eq!(resolver.ask(&name).await.unwrap().ttl, Span::from_secs(expected), "{name} at most {most:?}");
        }
    }
    let resolver = Resolver::new(Some(server.address), None).unwrap();
    assert_eq!(
        resolver.ask("gone.demo.svc.cluster.local").await.unwrap().ttl,
        Span::from_secs(5),
        "that there is none"
    );
}

/// Steps of the names `a.test` and, as far as the first address counts, `b.test`, at milliseconds.
struct Story {
    names: BTreeMap<Arc<str>, Kept>,
}

impl Story {
    fn new() -> Self {
        let mut names = BTreeMap::new();
        want(&mut names, &names_of(&[("a.test", false), ("b.test", true)]), Time(0));
        Self { names }
    }

    fn at(ms: u64) -> Time {
        Time(0) + Span::from_millis(ms)
    }

    /// Asks for all that is due, as [`ask_due`] does.
    fn ask(&mut self, ms: u64) -> Vec<&'static str> {
        let mut asked = Vec::new();
        for name in ["a.test", "b.test"] {
            let kept = self.names.get_mut(name).unwrap();
            if !kept.asking && kept.due <= Self::at(ms) {
                (kept.asking, kept.asked) = (true, Some(Self::at(ms)));
                asked.push(name);
            }
        }
        asked
    }

    fn answer(&mut self, name: &str, ms: u64, list: &[&str]) -> Option<Update> {
        let answer = DnsAnswer { addresses: ips(list), ttl: Span::from_secs(30) };
        hear(&mut self.names, &name.into(), Ok(answer), Self::at(ms))
    }

    fn doubt(&mut self, address: &str, ms: u64, jitter: u64) -> Vec<Update> {
        doubt(&mut self.names, address.parse().unwrap(), Self::at(ms), Span::from_millis(jitter))
    }
}

fn told(name: &str, list: &[&str], asked: u64) -> Update {
    Update::Resolved { name: name.into(), addresses: ips(list), asked: Story::at(asked) }
}

#[test]
fn what_is_doubted_is_asked_about_at_once_but_not_again_and_again() {
    let mut story = Story::new();
    assert_eq!(story.ask(0), ["a.test", "b.test"]);
    assert_eq!(
        story.answer("a.test", 5, &["10.0.0.1", "10.0.0.2"]),
        Some(told("a.test", &["10.0.0.1", "10.0.0.2"], 0))
    );
    assert_eq!(story.answer("b.test", 5, &["10.0.9.1"]), Some(told("b.test", &["10.0.9.1"], 0)));
    assert!(story.ask(20_000).is_empty(), "half a minute is believed");

    assert_eq!(story.doubt("10.0.0.1", 20_000, 70), []);
    assert!(story.ask(20_069).is_empty(), "all who were refused do not ask at once");
    assert_eq!(story.ask(20_070), ["a.test"]);
    // The same again is news, for it was doubted.
    let same = told("a.test", &["10.0.0.1", "10.0.0.2"], 20_070);
    assert_eq!(story.answer("a.test", 20_075, &["10.0.0.2", "10.0.0.1"]), Some(same));

    assert_eq!(story.doubt("10.0.0.1", 20_100, 0), []);
    assert!(story.ask(20_319).is_empty(), "the last answer brought nothing new: twice the pause");
    assert_eq!(story.ask(20_320), ["a.test"]);
    assert_eq!(story.doubt("10.0.0.1", 20_330, 0), []);
    assert_eq!(story.answer("a.test", 20_340, &["10.0.0.1", "10.0.0.2"]), None, "it was asked before the doubt");
    assert!(story.ask(20_819).is_empty());
    assert_eq!(story.ask(20_820), ["a.test"], "so it is asked once more");
    assert_eq!(story.answer("a.test", 20_825, &["10.0.0.2"]), Some(told("a.test", &["10.0.0.2"], 20_820)));
    assert_eq!(story.doubt("10.0.0.1", 20_830, 0), [], "nobody names it any more");
    assert_eq!(story.doubt("10.0.0.2", 20_840, 0), []);
    assert_eq!(story.ask(20_945), ["a.test"], "what was new counts no more as vain");
    for ms in [21_000, 22_000, 23_000, 24_000, 25_000, 26_000] {
        story.answer("a.test", ms, &["10.0.0.2"]);
        story.doubt("10.0.0.2", ms + 1, 0);
        story.ask(ms + 999);
    }
    story.answer("a.test", 27_000, &["10.0.0.2"]);
    story.doubt("10.0.0.2", 27_001, 0);
    assert!(story.ask(27_900).is_empty(), "but no pause is longer than a second");
    assert_eq!(story.ask(27_999), ["a.test"]);
}

#[test]
fn where_the_first_address_counts_a_doubted_one_goes_last() {
    let mut story = Story::new();
    story.ask(0);
    story.answer("b.test", 5, &["10.0.9.1", "10.0.9.2"]);
    assert_eq!(story.doubt("10.0.9.2", 100, 0), [], "it is not the first");
    assert_eq!(story.doubt("10.0.9.1", 100, 0), [told("b.test", &["10.0.9.2", "10.0.9.1"], 0)]);
    assert_eq!(story.ask(125), ["b.test"]);
    let named = told("b.test", &["10.0.9.1", "10.0.9.2"], 125);
    assert_eq!(story.answer("b.test", 130, &["10.0.9.1", "10.0.9.2"]), Some(named));
}

#[tokio::test(start_paused = true)]
async fn an_address_of_a_callers_name_that_refuses_goes_last_and_its_name_is_asked_for_again() {
    let clock = Clock::start();
    let (names, _questions) = OnDemandNames::new(clock);
    let found = DnsAnswer { addresses: ips(&["10.0.0.1", "10.0.0.2"]), ttl: Span::from_secs(60) };
    names.remember(&"a.test".into(), &found);
    names.doubt("10.0.0.1".parse().unwrap());
    assert_eq!(&*names.resolve("a.test").await.unwrap(), &*ips(&["10.0.0.2", "10.0.0.1"]));
    clock.until(clock.now() + Span::from_secs(1)).await;
    let asks = names.resolve("a.test");
    assert!(tokio::time::timeout(Duration::from_secs(5), asks).await.is_err(), "it waits for a new answer");
}
