//! The state of clusters as plain values, for pages and gauges.

use std::time::{Duration, SystemTime};

use leeboard_policy::cluster::{Cluster, EndpointSpec};
use leeboard_policy::limits::Limit;
use leeboard_policy::live::{Live, LiveCluster};
use leeboard_policy::time::Time;

/// A cluster at one moment.
#[derive(Debug)]
pub(super) struct ClusterStatus<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) limits: [LimitStatus; 4],
    pub(super) endpoints: Vec<EndpointStatus<'a>>,
}

/// A limit at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct LimitStatus {
    pub(super) name: &'static str,
    /// `None` is no limit.
    pub(super) most: Option<u32>,
    pub(super) taken: u32,
    /// Times nobody was let in.
    pub(super) overflows: u64,
}

impl LimitStatus {
    /// How many places are left; `None` without a limit.
    pub(super) fn remaining(self) -> Option<u32> {
        self.most.map(|most| most.saturating_sub(self.taken))
    }
}

/// An endpoint at one moment.
#[derive(Debug)]
pub(super) struct EndpointStatus<'a> {
    pub(super) spec: &'a EndpointSpec,
    /// 0 is the nearest; `None` when where it is gives it no traffic.
    pub(super) level: Option<u32>,
    pub(super) active: u32,
    pub(super) ejected: bool,
    /// When it may return, if it is ejected.
    pub(super) returns: Option<SystemTime>,
    pub(super) ejections: u32,
}

impl EndpointStatus<'_> {
    /// Its weight, which is 0 when where it is gives it no traffic.
    pub(super) fn weight(&self) -> u32 {
        self.level.map_or(0, |_| self.spec.weight)
    }
}

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) time: Time,
    pub(super) wall: SystemTime,
}

impl Moment {
    fn wall_of(self, time: Time) -> SystemTime {
        let (ahead, behind) = (time - self.time, self.time - time);
        self.wall + Duration::from_nanos(ahead.0) - Duration::from_nanos(behind.0)
    }
}

/// All clusters, in order.
pub(super) fn clusters(live: &Live, now: Moment) -> impl Iterator<Item = ClusterStatus<'_>> {
    live.snapshot().clusters().iter().zip(live.clusters()).map(move |(cluster, live)| of(cluster, live, now))
}

fn of<'a>(cluster: &'a Cluster, live: &'a LiveCluster, now: Moment) -> ClusterStatus<'a> {
    let endpoints = live.endpoints().iter().enumerate().map(|(index, endpoint)| EndpointStatus {
        spec: &endpoint.spec,
        level: live.level(index),
        active: endpoint.active(),
        ejected: endpoint.ejected(),
        returns: live.returns(endpoint).map(|time| now.wall_of(time)),
        ejections: endpoint.ejections(),
    });
    let limits = Limit::ALL.map(|limit| LimitStatus {
        name: name(limit),
        most: match limit {
            Limit::Retries => live.most_retries(now.time),
            _ => live.limits().most(limit),
        },
        taken: live.counts.current(limit),
        overflows: live.counts.overflows(limit),
    });
    ClusterStatus { cluster, limits, endpoints: endpoints.collect() }
}

fn name(limit: Limit) -> &'static str {
    match limit {
        Limit::Connections => "connections",
        Limit::Pending => "pending",
        Limit::Requests => "requests",
        Limit::Retries => "retries",
    }
}
