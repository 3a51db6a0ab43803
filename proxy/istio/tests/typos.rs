//! One slip of the finger in each of 200 documents: how many are noticed, and how many of those where they were made.
//!
//! Slips are made in words that mean something to a reader of the configuration: keys, enum values, booleans, units of durations,
//! names of hosts, subsets, gateways and ports, and labels that select. A name that may be anything, a path, a text for people or
//! a digit of a number can be wrong only in its author's eyes, so none is made there.

use leeboard_istio::check::check;
use leeboard_istio::codes;
use leeboard_istio::compile::Site;
use leeboard_istio::diagnostic::Diagnostic;
use leeboard_istio::render;
use leeboard_istio::source::Source;

/// A small generator of its own, so that a failure can be repeated from its seed.
struct Luck(u64);

impl Luck {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n.max(1) as u64) as usize
    }

    fn one_of<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }
}

const SERVICES: [&str; 8] = ["cart", "catalog", "checkout", "orders", "payments", "reviews", "search", "shipping"];

/// A configuration of one service: its endpoints, its rule, and its routes, all of it right.
fn documents(luck: &mut Luck) -> String {
    let name = luck.one_of(&SERVICES);
    let other = SERVICES[(SERVICES.iter().position(|known| *known == name).expect("one of them") + 3) % 8];
    let balancer = luck.one_of(&["ROUND_ROBIN", "LEAST_REQUEST", "RANDOM"]);
    let scheme = luck.one_of(&["canary", "sourced", "split"]);
    let head = |kind: &str| {
        format!(
            "---\napiVersion: networking.istio.io/v1\nkind: {kind}\nmetadata:\n  name: {name}\n  namespace: shop\nspec:\n"
        )
    };
    let service = |name: &str, at: usize| {
        format!(
            "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata:\n  name: {name}\n  namespace: shop\nspec:\n  \
             hosts:\n  - {name}.shop.svc.cluster.local\n  location: MESH_INTERNAL\n  resolution: STATIC\n  ports:\n  - number: 8080\n    \
             name: http\n    protocol: HTTP\n  endpoints:\n  - address: 10.0.{at}.1\n    labels:\n      version: stable\n  - address: 10.0.{at}.2\n    \
             labels:\n      version: stable\n  - address: 10.0.{at}.3\n    labels:\n      version: canary\n"
        )
    };
    let rule = format!(
        "{}  host: {name}\n  trafficPolicy:\n    loadBalancer:\n      simple: {balancer}\n    connectionPool:\n      tcp:\n        maxConnections: {}\n        \
         connectTimeout: {}ms\n      http:\n        http1MaxPendingRequests: 100\n        maxRequestsPerConnection: 1000\n        idleTimeout: 30s\n    \
         outlierDetection:\n      consecutive5xxErrors: 5\n      interval: 10s\n      baseEjectionTime: 30s\n      maxEjectionPercent: 50\n  \
         subsets:\n  - name: stable\n    labels:\n      version: stable\n  - name: canary\n    labels:\n      version: canary\n",
        head("DestinationRule"),
        50 + luck.below(200),
        100 + luck.below(900),
    );
    let first = match scheme {
        "canary" => "  - match:\n    - headers:\n        user-agent:\n          prefix: Tester\n    route:\n    - destination:\n        host: @\n        subset: canary\n    timeout: 3s\n".to_owned(),
        "sourced" => "  - match:\n    - uri:\n        prefix: /api/\n      method:\n        exact: GET\n      ignoreUriCase: true\n    rewrite:\n      uri: /\n    route:\n    - destination:\n        host: @\n        subset: stable\n        port:\n          number: 8080\n    retries:\n      attempts: 2\n      perTryTimeout: 500ms\n      retryOn: 5xx,connect-failure\n    timeout: 2s\n".to_owned(),
        _ => format!("  - match:\n    - queryParams:\n        debug:\n          exact: \"1\"\n    fault:\n      delay:\n        fixedDelay: 1s\n        percentage:\n          value: 10\n    route:\n    - destination:\n        host: @\n        subset: canary\n    mirror:\n      host: {other}\n    mirrorPercentage:\n      value: 5\n    headers:\n      request:\n        set:\n          x-tested: \"yes\"\n"),
    };
    let routes = format!(
        "{}  hosts:\n  - {name}\n  http:\n{}  - route:\n    - destination:\n        host: {name}\n        subset: stable\n      weight: 90\n    - destination:\n        \
         host: {name}\n        subset: canary\n      weight: 10\n    timeout: 5s\n",
        head("VirtualService"),
        first.replace('@', name),
    );
    let more = match luck.below(4) {
        0 => gateway(name),
        1 => format!(
            "---\napiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata:\n  name: {name}\n  namespace: shop\nspec:\n  egress:\n  - hosts:\n    \
             - shop/{other}.shop.svc.cluster.local\n    - shop/{name}.shop.svc.cluster.local\n  outboundTrafficPolicy:\n    mode: REGISTRY_ONLY\n"
        ),
        2 => kubernetes(),
        _ => String::new(),
    };
    [service(name, 1), service(other, 2), rule, routes, more].concat()
}

/// A gateway, and the routes behind it.
fn gateway(name: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata:\n  name: front\n  namespace: shop\nspec:\n  selector:\n    istio: gateway\n  \
         servers:\n  - port:\n      number: 443\n      name: https\n      protocol: HTTPS\n    hosts:\n    - shop.example.com\n    tls:\n      \
         mode: SIMPLE\n      credentialName: shop\n      minProtocolVersion: TLSV1_2\n---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata:\n  \
         name: front\n  namespace: shop\nspec:\n  hosts:\n  - shop.example.com\n  gateways:\n  - front\n  http:\n  - route:\n    - destination:\n        \
         host: {name}\n        subset: stable\n        port:\n          number: 8080\n    corsPolicy:\n      allowMethods:\n      - GET\n      maxAge: 24h\n"
    )
}

/// A service as a cluster holds it.
fn kubernetes() -> String {
    "---\napiVersion: v1\nkind: Service\nmetadata:\n  name: stock\n  namespace: shop\nspec:\n  clusterIP: 10.9.9.9\n  selector:\n    app: stock\n  ports:\n  \
     - name: http\n    port: 80\n    targetPort: 8080\n---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: stock-1\n  namespace: shop\n  labels:\n    app: stock\n    \
     version: stable\nstatus:\n  podIP: 10.9.0.1\n---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata:\n  name: stock\n  namespace: shop\nspec:\n  \
     host: stock\n  trafficPolicy:\n    loadBalancer:\n      consistentHash:\n        httpCookie:\n          name: user\n          ttl: 1h\n  subsets:\n  - name: stable\n    \
     labels:\n      version: stable\n"
        .to_owned()
}

/// A word: its line and column from 1, and itself.
#[derive(Clone, Debug)]
struct Word {
    line: usize,
    column: usize,
    text: String,
}

/// Values that may be anything.
const FREE: [&str; 9] =
    ["name: ", "namespace: ", "address: ", "uri: ", "x-tested: ", "istio: ", "credentialName: ", "app: ", "podIP: "];

/// The words in which a slip is a mistake: every key, and values that are words of somebody's.
fn words(text: &str) -> Vec<Word> {
    let mut found = Vec::new();
    let lines: Vec<&str> = text.lines().collect();
    for (number, line) in lines.iter().enumerate().filter(|(_, line)| **line != "---") {
        let content = line.trim_start_matches([' ', '-']);
        let column = line.len() - content.len() + 1;
        let word = |column: usize, text: &str| Word { line: number + 1, column, text: text.to_owned() };
        let Some((key, value)) = content.split_once(':') else {
            found.push(word(column, content));
            continue;
        };
        // Query parameters and headers of one's own are called as one likes.
        if !matches!(key, "debug" | "x-tested" | "istio" | "app") {
            found.push(word(column, key));
        }
        let value = value.trim();
        let subset = key == "name" && lines.get(number + 1).is_some_and(|next| next.trim() == "labels:");
        let endpoint =
            key == "version" && lines[..number].iter().rev().nth(1).is_some_and(|line| line.contains("address:"));
        let free = FREE.iter().any(|free| content.starts_with(free)) && !subset;
        let letters = value.chars().filter(char::is_ascii_alphabetic).count();
        let prefix = matches!(key, "prefix" | "exact")
            && (value.starts_with('/') || value.starts_with('"') || value == "Tester");
        if letters > 0 && !free && !endpoint && !prefix {
            found.push(word(column + content.len() - value.len(), value));
        }
    }
    found
}

/// A slip: two letters swapped, one left out, doubled, or replaced by one beside it on the keyboard. `None` when it makes no other word.
fn slip(word: &str, luck: &mut Luck) -> Option<String> {
    const ROWS: [&str; 3] = ["qwertyuiop", "asdfghjkl", "zxcvbnm"];
    let letters: Vec<char> = word.chars().collect();
    let places: Vec<usize> = (0..letters.len()).filter(|at| letters[*at].is_ascii_alphabetic()).collect();
    let at = places[luck.below(places.len())];
    let mut slipped = letters.clone();
    match luck.below(4) {
        0 if at + 1 < letters.len() => slipped.swap(at, at + 1),
        1 => drop(slipped.remove(at)),
        2 => slipped.insert(at, letters[at]),
        _ => {
            let lower = letters[at].to_ascii_lowercase();
            let row = ROWS.iter().find(|row| row.contains(lower))?;
            let place = row.find(lower)?;
            let beside = row.chars().nth(if place == 0 { 1 } else { place - 1 })?;
            slipped[at] = if letters[at].is_ascii_uppercase() { beside.to_ascii_uppercase() } else { beside };
        }
    }
    let slipped: String = slipped.into_iter().collect();
    (slipped != word && !slipped.is_empty()).then_some(slipped)
}

/// The text with one slip in it, and the word it was made in.
fn slipped(text: &str, luck: &mut Luck) -> (String, Word, String) {
    let words = words(text);
    loop {
        let word = &words[luck.below(words.len())];
        let Some(new) = slip(&word.text, luck) else { continue };
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let line = &mut lines[word.line - 1];
        let start = word.column - 1;
        line.replace_range(start..start + word.text.len(), &new);
        return (lines.join("\n") + "\n", word.clone(), new);
    }
}

/// All complaints but those about what is not enforced yet, which is of no matter here.
fn found(sources: &[Source]) -> Vec<Diagnostic> {
    let mut found = check(sources, &Site::default()).diagnostics;
    found.retain(|diagnostic| diagnostic.code != codes::NOT_ENFORCED);
    found
}

#[test]
fn slips_of_the_finger_are_noticed_where_they_are_made() {
    const DOCUMENTS: usize = 200;
    let (mut noticed, mut in_place, mut told) = (0, 0, 0);
    let mut report = String::new();
    for seed in 1..=DOCUMENTS as u64 {
        let mut luck = Luck(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let good = documents(&mut luck);
        let before = found(&[Source::new("f.yaml", &*good)]);
        assert!(before.is_empty(), "{}\n{good}", render(&before, &[Source::new("f.yaml", &*good)], false));
        let (bad, word, new) = slipped(&good, &mut luck);
        let sources = [Source::new("f.yaml", &*bad)];
        let found = found(&sources);
        told += found.len();
        let here = found.iter().any(|d| {
            let (from, to) = (d.primary.column as usize, (d.primary.column + d.primary.len) as usize);
            d.primary.line as usize == word.line && from <= word.column + new.len() && word.column <= to
        });
        noticed += usize::from(!found.is_empty());
        in_place += usize::from(here);
        if !here || found.len() > 1 {
            report += &format!(
                "{seed}: `{}` became `{new}` in line {}\n{}\n",
                word.text,
                word.line,
                render(&found, &sources, false)
            );
        }
    }
    println!("{report}");
    println!("of {DOCUMENTS} slips {noticed} are noticed, {in_place} where they were made, by {told} complaints");
    assert!(noticed * 100 >= DOCUMENTS * 95, "{noticed} of {DOCUMENTS} slips are noticed\n{report}");
    assert!(in_place * 100 >= DOCUMENTS * 90, "{in_place} of {DOCUMENTS} carets are on the word\n{report}");
    // One mistake is one complaint, but for a few that have a real consequence elsewhere.
    assert!(told <= noticed + DOCUMENTS / 50, "{told} complaints about {noticed} slips\n{report}");
}
