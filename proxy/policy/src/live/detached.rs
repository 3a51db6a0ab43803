//! Live state as it is at a moment, on which something may be tried out without a trace in the original.

use alloc::sync::Arc;
use core::sync::atomic::Ordering::{Acquire, Relaxed};

use super::{ClusterState, Layout, Live, LiveCluster};
use crate::endpoints::Endpoint;

impl Live {
    /// The same configuration with a copy of its state: counts, ejections and cursors are as they are now, and what happens to
    /// the copy happens to nothing else.
    pub fn detached(&self) -> Live {
        let clusters = self.clusters.iter().map(|cluster| Arc::new(cluster.detached(self))).collect();
        Live { snapshot: self.snapshot.clone(), clusters }
    }
}

impl LiveCluster {
    fn detached(&self, live: &Live) -> Self {
        let copy = |endpoint: &Arc<Endpoint>| {
            Arc::new(Endpoint { spec: endpoint.spec.clone(), state: Arc::new(endpoint.state.detached()) })
        };
        let endpoints: alloc::vec::Vec<_> = self.endpoints.iter().map(copy).collect();
        let described = live.snapshot.cluster(self.id);
        Self {
            id: self.id,
            name: self.name.clone(),
            counts: Arc::new(self.counts.detached()),
            limits: self.limits,
            outlier: self.outlier.clone(),
            panic_percent: self.panic_percent,
            named: self.named,
            layout: Layout::new(described, live.snapshot.workload(), &endpoints, Some(&self.layout)),
            warmup: self.warmup,
            warm: self.warm,
            endpoints,
            state: Arc::new(self.state.detached()),
        }
    }
}

impl ClusterState {
    fn detached(&self) -> Self {
        Self {
            cursors: self.cursors.detached(),
            out: self.out.load(Acquire).into(),
            doubts: self.doubts.load(Relaxed).into(),
            swept: self.swept.load(Relaxed).into(),
            began: self.began.detached(),
            copies: Arc::new(self.copies.detached()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::cluster;
    use super::*;
    use crate::balance::Pick;
    use crate::cluster::{Balancer, Cluster, ClusterId, Outlier};
    use crate::dice::Dice;
    use crate::limits::Limit;
    use crate::live::Resolved;
    use crate::outlier::Score;
    use crate::snapshot::{Draft, Snapshot};
    use crate::time::Time;
    use alloc::vec;
    use alloc::vec::Vec;

    #[test]
    fn a_copy_is_as_the_original_was_and_leaves_it_alone() {
        let outlier = Some(Outlier { consecutive_5xx: 1, max_ejection_percent: 100, ..Outlier::default() });
        let shop = Cluster { outlier, ..cluster("shop", Balancer::RoundRobin, &[1, 1, 1]) };
        let snapshot = Arc::new(Snapshot::new(Draft { clusters: vec![shop], ..Draft::default() }));
        let live = Live::adopt(None, snapshot, &Resolved::new(), Time(0));
        let at = |live: &Live| live.cluster(ClusterId(0)).clone();
        let shop = at(&live);
        let turn = |cluster: &LiveCluster| {
            let (hash, tried, avoid_tried, leave_levels) = (None, &[][..], false, false);
            let ask = Pick { hash, tried, avoid_tried, leave_levels, dice: Dice(1), turn: 0, now: Time(1) };
            cluster.pick(&ask).map(|endpoint| endpoint.address().clone())
        };
        turn(&shop);
        let _slot = shop.take(Limit::Requests);
        let _active = shop.endpoints()[1].clone().enter();
        shop.score(&shop.endpoints()[2], Score::Status(500), Time(2));

        let copy = at(&live.detached());
        let told = |cluster: &LiveCluster| {
            let states = cluster.endpoints().iter().map(|e| (e.id(), e.active(), e.ejected(), e.ejections()));
            (cluster.counts.current(Limit::Requests), cluster.ejected(), states.collect::<Vec<_>>())
        };
        let before = told(&shop);
        assert_eq!(told(&copy), before);
        let turns: Vec<_> = (0..4).map(|_| turn(&copy)).collect();
        let _held = copy.take(Limit::Requests);
        copy.score(&copy.endpoints()[0], Score::Status(500), Time(3));
        let _entered = copy.endpoints()[0].clone().enter();
        assert_ne!(told(&copy), before);
        assert_eq!(told(&shop), before);
        assert_eq!((0..4).map(|_| turn(&shop)).collect::<Vec<_>>(), turns, "whose turn it is was not touched");
    }
}
