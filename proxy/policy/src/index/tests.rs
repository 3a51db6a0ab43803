//! The index against trying one route after the other.

use super::*;
use crate::dice::{Dice, Purpose};
use crate::expression::Expression;
use crate::headers::HeaderOps;
use crate::origin::Origin;
use crate::pattern::{HeaderMatch, QueryMatch};
use crate::request::tests::Sketch;
use crate::route::{Action, Direct};
use alloc::format;
use alloc::string::String;

/// A table or request that is made up, always the same for a seed.
struct Fancy {
    dice: Dice,
    turn: u32,
}

impl Fancy {
    fn below(&mut self, bound: u64) -> u64 {
        self.turn += 1;
        self.dice.below(Purpose::Balance, self.turn, bound)
    }

    fn any<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    /// A path of few letters, so that many are alike.
    fn path(&mut self) -> String {
        let segments = self.below(4);
        let mut path: String = (0..segments).map(|_| format!("/{}", self.any(&["a", "ab", "b", "A"]))).collect();
        if path.is_empty() || self.below(4) == 0 {
            path.push('/');
        }
        path
    }

    fn pattern(&mut self) -> Pattern {
        match self.below(6) {
            0 => Pattern::Present,
            1 => Pattern::Prefix(self.any(&["x", "y"]).into()),
            2 => Pattern::Regex(Expression::whole(self.any(&["x.*", "[xy]"])).expect("compiles")),
            _ => Pattern::Exact(self.any(&["x", "y", "xy", "z", ""]).into()),
        }
    }

    fn headers(&mut self) -> Vec<HeaderMatch> {
        let names = [&[][..], &["h"], &["h", "i"], &["host"]];
        self.any(&names).iter().map(|name| HeaderMatch { name: (*name).into(), value: self.pattern() }).collect()
    }

    fn route(&mut self) -> Route {
        let regexes = ["/a.*", "/ab?", "/a|/b", "/(a|b)/.*", ".*", "/a/[ab]+", "/a+b*", "/b{0,1}"];
        let path = match self.below(8) {
            0 => PathMatch::Any,
            1 => PathMatch::Regex(Expression::whole(self.any(&regexes)).expect("compiles")),
            2 => PathMatch::ExactIgnoreCase(self.path().into()),
            3 => PathMatch::PrefixIgnoreCase(self.path().into()),
            4 | 5 => PathMatch::Exact(self.path().into()),
            _ => PathMatch::Prefix(self.path().into()),
        };
        let seldom = |fancy: &mut Self| (fancy.below(4) == 0).then(|| fancy.pattern());
        let methods = ["GET", "PUT"].map(|method| Pattern::Exact(method.into()));
        let when = Match {
            path,
            method: (self.below(4) == 0).then(|| methods[self.below(2) as usize].clone().into()),
            scheme: None,
            authority: seldom(self).map(Box::new),
            headers: self.headers(),
            without_headers: if self.below(8) == 0 { self.headers() } else { Vec::new() },
            query: seldom(self).map(|value| QueryMatch { name: "q".into(), value }).into_iter().collect(),
        };
        let direct = Direct { status: 200, body: [][..].into(), response_headers: HeaderOps::default() };
        Route {
            name: "".into(),
            origin: Origin::built_in(),
            when,
            cors: None,
            action: Action::Direct(Box::new(direct)),
        }
    }

    fn request(&mut self) -> Sketch {
        let query = self.any(&["", "?q=x", "?q=y&q=x", "?p=1&q"]);
        let mut head = Sketch::get(self.any(&["x", "y"]), &(self.path() + query));
        head.method = self.any(&["GET", "PUT", "POST"]).into();
        for _ in 0..self.below(4) {
            head = head.with(self.any(&["h", "i"]), self.any(&["x", "y", "xy", "z", ""]));
        }
        head
    }
}

#[test]
fn the_index_finds_what_trying_all_in_order_finds() {
    let (mut found, mut missed) = (0, 0);
    for (table, dice) in Dice(7).sequence(100).into_iter().enumerate() {
        let mut fancy = Fancy { dice, turn: 0 };
        let count = [1, 3, 10, 40, 200][table % 5];
        let routes: Vec<_> = (0..count).map(|_| fancy.route()).collect();
        let index = Index::new(&routes);
        for _ in 0..100 {
            let head = fancy.request();
            let asked = Asked::of(&head);
            let first = routes.iter().position(|route| route.when.holds(&asked));
            assert_eq!(index.find(&routes, &asked), first, "{head:?} in {:#?}", first.map(|at| &routes[at].when));
            if first.is_some() { found += 1 } else { missed += 1 }
        }
    }
    assert!(found > 1_000 && missed > 1_000, "both happen: {found} {missed}");
}

#[test]
fn a_long_list_of_one_kind_is_told_apart() {
    let header = |n: usize| HeaderMatch { name: "h".into(), value: Pattern::Exact(format!("{n}").into()) };
    let kinds: [(&str, fn(usize) -> Match); 5] = [
        ("exact", |n| Match { path: PathMatch::Exact(format!("/{n}").into()), ..Match::default() }),
        ("prefix", |n| Match { path: PathMatch::Prefix(format!("/{n}/").into()), ..Match::default() }),
        ("regex", |n| Match {
            path: PathMatch::Regex(Expression::whole(&format!("/{n}/.+")).expect("compiles")),
            ..Match::default()
        }),
        ("query", |n| {
            let value = Pattern::Exact(format!("{n}").into());
            Match { query: Vec::from([QueryMatch { name: "q".into(), value }]), ..Match::default() }
        }),
        ("authority", |n| Match { authority: Some(Pattern::Exact(format!("{n}").into()).into()), ..Match::default() }),
    ];
    let route = |when| {
        let direct = Direct { status: 200, body: [][..].into(), response_headers: HeaderOps::default() };
        Route {
            name: "".into(),
            origin: Origin::built_in(),
            when,
            cors: None,
            action: Action::Direct(Box::new(direct)),
        }
    };
    let most = |routes: Vec<Route>| Index::new(&routes).groups.iter().map(|group| group.rest.len()).max().unwrap_or(1);
    for (kind, when) in kinds {
        assert!(most((0..200).map(|n| route(when(n))).collect()) <= FEW, "{kind}");
    }
    let with_header = |n| Match { headers: Vec::from([header(n)]), ..Match::default() };
    assert!(most((0..200).map(|n| route(with_header(n))).collect()) <= FEW, "header");
}

#[test]
fn what_expressions_begin_with() {
    for (expression, start) in [
        ("/v1/.*", "/v1/"),
        ("/a+b", "/a"),
        ("/ab*", "/a"),
        ("/ab?c", "/a"),
        ("/ab{2}", "/a"),
        ("/a|/b", ""),
        ("(?i)/a", ""),
        (".*", ""),
        ("*", ""),
        ("/plain", "/plain"),
        (r"/a\.b", "/a"),
        ("/{id}", ""),
        ("/ab(?i)*", "/a"),
        (r"/ab\Q\E*", "/a"),
        ("/ab(c)", "/ab"),
    ] {
        assert_eq!(literal_start(expression), start, "{expression}");
    }
}
