//! An explanation for people.

use std::fmt;

use leeboard_policy::origin::Origin;
use leeboard_policy::time::Span;

use super::{Answered, ChosenBy, ClusterTold, Edit, Explanation, OriginTold, Stretch, Tried};

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let request = &self.request;
        writeln!(f, "{} {}://{}{}", request.method, request.scheme, request.authority, request.path)?;
        row(f, "seed", &self.seed.to_string())?;
        self.way_to_the_rule(f)?;
        self.choices(f)?;
        if let Some(answer) = &self.answer {
            row(f, "answer", &told_answer(answer))?;
        }
        if let Some(cluster) = &self.cluster {
            self.cluster(f, cluster)?;
        }
        self.mirrors(f)?;
        self.changes(f)?;
        self.times(f)?;
        if let Some(definition) = &self.definition {
            row(f, "to define it", "add this, with its own address and port")?;
            writeln!(f, "---\n{}", definition.trim_end())?;
        }
        // Of addresses only those that concern this request.
        let shown = |note: &&String| {
            let endpoints = self.cluster.iter().flat_map(|cluster| &cluster.endpoints);
            let address = note.split(' ').next().unwrap_or_default();
            address.parse::<std::net::IpAddr>().is_err()
                || endpoints.into_iter().any(|endpoint| endpoint.address.starts_with(&format!("{address}:")))
        };
        self.notes.iter().filter(shown).try_for_each(|note| row(f, "note", note))
    }
}

impl Explanation {
    fn way_to_the_rule(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let came = &self.came;
        let from = match came.port_from {
            "connection" => "where the connection was going",
            "authority" => "from the authority",
            _ => "since none is given",
        };
        match came.host.is_empty() {
            true => row(f, "listener", &came.listener)?,
            false => row(f, "listener", &format!("{}, port {} {from}", came.listener, came.port))?,
        }
        match (&self.host, came.passes) {
            (Some(host), _) => {
                let (of, at) = (&host.origin.resource, at(&host.origin));
                row(f, "host", &format!("{}, by its domain {}, of {of}{at}", host.name, host.by))?
            }
            (None, Some(passes)) => {
                let claim = match self.definition {
                    Some(_) => format!("a VirtualService has rules for {}, but no service is defined", came.host),
                    None => format!("nobody claims {}", came.host),
                };
                let fate = if passes { ": it is sent where it asks to be" } else { ", and unknown hosts are refused" };
                row(f, "host", &format!("{claim}{fate}"))?
            }
            (None, None) => {}
        }
        for (index, (origin, why)) in self.unused.iter().enumerate() {
            row(f, if index == 0 { "not used" } else { "" }, &format!("{}{}: {why}", origin.resource, at(origin)))?;
        }
        let owner = self.host.as_ref().map_or("", |host| &*host.origin.resource);
        let mut absent = self.absent.iter().peekable();
        let mut first = "rules";
        for tried in &self.tried {
            while let Some(absent) = absent.next_if(|absent| absent.place <= tried.place) {
                row(f, take(&mut first), &told_absent(absent, owner))?;
            }
            row(f, take(&mut first), &told_rule(tried, owner))?;
        }
        for absent in absent.filter(|_| self.rule.is_none()) {
            row(f, take(&mut first), &told_absent(absent, owner))?;
        }
        match (&self.rule, self.tried.is_empty()) {
            (None, false) => row(f, "", "no rule matches"),
            (Some(rule), true) => row(f, "rule", &format!("{}{}", rule.name, at(&rule.origin))),
            (Some(_), false) | (None, true) => Ok(()),
        }
    }

    fn choices(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(action) = self.action.as_ref().filter(|action| !action.how.is_empty()) {
            row(f, "action", &format!("{}: {}", action.what, action.how))?;
        }
        for fault in &self.faults {
            let outcome = match fault.drawn {
                None => "drawn in each attempt".to_owned(),
                Some(drawn) => {
                    format!("drew {drawn}, {}", if fault.comes { "so it happens" } else { "so it does not" })
                }
            };
            row(f, "fault", &format!("{} {} for {} %: {outcome}", fault.what, fault.value, fault.percent))?;
        }
        if let Some(origin) = &self.origin {
            row(f, "origin", &told_origin(origin))?;
        }
        let Some(chosen) = &self.chosen else { return Ok(()) };
        let how = match &chosen.by {
            ChosenBy::Only => "the only one".to_owned(),
            ChosenBy::Draw(point, total) => format!("drew {point} of {total}"),
            ChosenBy::Key(key) => format!("kept for this {key}"),
        };
        for (place, (cluster, weight)) in chosen.among.iter().enumerate() {
            let mark = if place == chosen.place { '>' } else { ' ' };
            let how = if place == chosen.place { format!(": {how}") } else { String::new() };
            let weight = if chosen.among.len() > 1 { format!(", weight {weight}") } else { String::new() };
            let unknown = if place == chosen.place && self.cluster.is_none() { "; nobody defines it" } else { "" };
            row(f, if place == 0 { "destination" } else { "" }, &format!("{mark} {cluster}{weight}{how}{unknown}"))?;
        }
        Ok(())
    }

    fn cluster(&self, f: &mut fmt::Formatter<'_>, cluster: &ClusterTold) -> fmt::Result {
        row(f, "cluster", &format!("{}{}", cluster.name, at(&cluster.origin)))?;
        match (&cluster.policy, self.settings.is_empty()) {
            (Some(policy), true) => row(f, "settings", &format!("of {}{}", policy.resource, at(policy)))?,
            (None, true) => row(f, "settings", "Istio's defaults: no DestinationRule is in force")?,
            (_, false) => {}
        }
        for (index, setting) in self.settings.iter().enumerate() {
            let text =
                format!("{} of {}, {}{}", setting.block, setting.origin.resource, setting.part, at(&setting.origin));
            row(f, if index == 0 { "settings" } else { "" }, &text)?;
        }
        let mut first = "limits";
        for (limit, taken, most) in &cluster.limits {
            if let Some(most) = most {
                row(f, take(&mut first), &format!("{limit}: {taken} of {most} taken"))?;
            }
        }
        let hash = self.hash.as_ref().map_or_else(String::new, |(of, hash)| match hash {
            Some(hash) => format!("; hash {hash:016x}"),
            None => format!("; the request has no {of}, so it goes anywhere"),
        });
        let panics = if cluster.panics { "; so few are healthy that all are used" } else { "" };
        row(f, "balancer", &format!("{}{hash}{panics}", cluster.balancer))?;
        if cluster.endpoints.is_empty() {
            let none = match (&cluster.why_empty, &self.answer) {
                (Some(why), _) => format!("none: {why}"),
                (None, Some(_)) => "none".to_owned(),
                (None, None) => "wherever the caller was going".to_owned(),
            };
            return row(f, "endpoints", &none);
        }
        for (index, endpoint) in cluster.endpoints.iter().enumerate() {
            let mark = if endpoint.picked { '>' } else { ' ' };
            let mut text = format!("{mark} {} {}", endpoint.address, endpoint.labels);
            let level = endpoint.level.map_or("takes nothing".to_owned(), |level| format!("level {level}"));
            text += &format!(" weight {}, {level}, {} under way", endpoint.weight, endpoint.active);
            if endpoint.ejected {
                let back = endpoint.returns_in.map_or_else(String::new, |span| format!(", back in {}", short(span)));
                text += &format!(", ejected{back}");
            }
            row(f, if index == 0 { "endpoints" } else { "" }, &text)?;
        }
        Ok(())
    }

    fn mirrors(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for mirror in &self.mirrors {
            let outcome = if mirror.copied { "copied" } else { "not copied" };
            let text = format!("{} for {} %: drew {}, {outcome}", mirror.cluster, mirror.percent, mirror.drawn);
            row(f, "mirror", &text)?;
        }
        Ok(())
    }

    fn changes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(sent) = &self.sent {
            row(f, "sent", &format!("{} to {}", sent.path, sent.authority))?;
            for edit in &sent.edits {
                row(f, "", &told_edit(edit))?;
            }
        }
        for (index, edit) in self.response_edits.iter().enumerate() {
            row(f, if index == 0 { "answered" } else { "" }, &told_edit(edit))?;
        }
        Ok(())
    }

    fn times(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.timeline.is_empty() {
            return Ok(());
        }
        if let Some(retries) = &self.retries {
            let each = retries.per_try.map_or_else(String::new, |span| format!(", each try up to {}", short(span)));
            row(f, "retries", &format!("up to {} on {}{each}", retries.attempts, retries.on.join(",")))?;
        }
        for (index, stretch) in self.timeline.iter().enumerate() {
            row(f, if index == 0 { "timeline" } else { "" }, &told_stretch(stretch))?;
        }
        let overall = self.timeout.map_or_else(|| "no limit".to_owned(), short);
        row(f, "", &format!("overall {overall}"))?;
        match &self.at_worst {
            Some(answer) => row(f, "at worst", &told_answer(answer)),
            None => Ok(()),
        }
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, text: &str) -> fmt::Result {
    writeln!(f, "  {name:<12} {}", text.trim_end())
}

/// Where something is written, in brackets; nothing for what nobody wrote.
fn at(origin: &Origin) -> String {
    if origin.file.is_empty() {
        return String::new();
    }
    format!(" ({}:{}:{})", origin.file, origin.line, origin.column)
}

/// The name of the first row of several, and nothing after.
fn take<'n>(name: &mut &'n str) -> &'n str {
    std::mem::take(name)
}

/// A rule's place, name and origin; and the object that it is of, when that is a delegate of the host's `owner`.
fn told_name(tried: &Tried, owner: &str) -> String {
    let name = if tried.name.is_empty() { "(unnamed)" } else { &tried.name };
    let delegate = match &tried.root {
        Some(root) => format!(", of {} by the delegate{}", tried.origin.resource, at(root)),
        None if *owner != *tried.origin.resource && tried.origin.resource.starts_with("VirtualService ") => {
            format!(", of the delegate {}", tried.origin.resource)
        }
        None => String::new(),
    };
    format!("{name}{}{delegate}", at(&tried.origin))
}

fn told_rule(tried: &Tried, owner: &str) -> String {
    let (place, name) = (tried.place, told_name(tried, owner));
    if tried.part.is_none() && tried.holds.is_empty() {
        return format!("> {place} {name}: takes everything");
    }
    if tried.part.is_some() {
        return format!("  {place} {name}: {}", told_part(tried));
    }
    let held = |(part, wanted, is): &(String, String, Option<String>)| match is {
        Some(is) => format!("{part} is {is} ({wanted})"),
        None => format!("{part} is absent ({wanted})"),
    };
    let held: Vec<String> = tried.holds.iter().map(held).collect();
    format!("> {place} {name}: matches, since {}", held.join(", "))
}

fn told_absent(tried: &Tried, owner: &str) -> String {
    format!("  - {}: never for this caller, {}", told_name(tried, owner), told_part(tried))
}

/// What does not hold, and where it is written.
fn told_part(tried: &Tried) -> String {
    let part = tried.part.as_deref().unwrap_or_default();
    let at = tried.at.as_ref().map_or_else(String::new, at);
    let is = tried.is.as_ref().map_or_else(|| "is absent".to_owned(), |is| format!("is {is}"));
    format!("{part}{at} must be {}, {is}", tried.wanted)
}

fn told_origin(told: &OriginTold) -> String {
    let Some(origin) = &told.origin else {
        return "the request names none, so the rule's corsPolicy has nothing to say".into();
    };
    let may = if told.allowed { "may call" } else { "may not call: it is none of allowOrigins" };
    match (&told.preflight, told.answered) {
        (Some(method), true) => format!("{origin} {may}; its preflight for {method} is answered here"),
        (Some(method), false) => format!("{origin} {may}; its preflight for {method} is sent on"),
        (None, _) => format!("{origin} {may}"),
    }
}

fn told_edit(edit: &Edit) -> String {
    let by = if edit.of_destination { " (of the destination)" } else { "" };
    match edit.verb {
        "remove" => format!("remove {}{by}", edit.name),
        verb => format!("{verb} {}: {}{by}", edit.name, edit.value),
    }
}

fn told_stretch(stretch: &Stretch) -> String {
    let until = stretch.until.map_or_else(|| "no limit".to_owned(), short);
    match (stretch.attempt, stretch.at_most) {
        (Some(attempt), _) if stretch.what != "try" => {
            let ends = if stretch.ends.is_empty() { String::new() } else { format!("; ends: {}", stretch.ends) };
            format!("try {attempt} {} – {until}: {}{ends}", short(stretch.from), stretch.what)
        }
        (Some(attempt), _) => {
            let endpoint = stretch.endpoint.as_ref().map_or_else(String::new, |endpoint| format!(" at {endpoint}"));
            let ends = match stretch.ends.as_str() {
                "" => String::new(),
                failed if failed.starts_with("if ") => format!("; tried again {failed}"),
                ends => format!("; ends: {ends}"),
            };
            format!("try {attempt} {} – {until}{endpoint}{ends}", short(stretch.from))
        }
        (None, Some(at_most)) => {
            let took = stretch.until.map_or(Span(0), |until| Span(until.0 - stretch.from.0));
            format!("{} 0 – {}, here {}", stretch.what, short(at_most), short(took))
        }
        (None, None) => format!("{} {} – {until}", stretch.what, short(stretch.from)),
    }
}

fn told_answer(answer: &Answered) -> String {
    let location = answer.location.as_ref().map_or_else(String::new, |location| format!(", location {location}"));
    format!("{} {} ({}; {}){location}", answer.status, answer.flags, answer.details, answer.reason)
}

/// A length of time that a person takes in: milliseconds below a second, and no more than three decimals.
fn short(span: Span) -> String {
    let milliseconds = span.0 as f64 / 1e6;
    let text = |number: f64| {
        let text = format!("{number:.3}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    if milliseconds < 1_000.0 {
        format!("{}ms", text(milliseconds))
    } else {
        format!("{}s", text(milliseconds / 1_000.0))
    }
}
