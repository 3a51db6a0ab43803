//! The policy of one port and subset: which blocks of a DestinationRule are in force.

use super::policy::Rule;
use crate::resources::destination_rule::{
    ClientTls, ConnectionPool, LoadBalancer, OutlierDetection, PolicyBlocks, ProxyProtocol, RetryBudget, Subset,
    TrafficPolicy, Tunnel,
};

/// The blocks in force; an absent one means the default.
#[derive(Clone, Copy, Default)]
pub(crate) struct Effective<'r> {
    pub(crate) load_balancer: Option<&'r LoadBalancer>,
    pub(crate) connection_pool: Option<&'r ConnectionPool>,
    pub(crate) outlier_detection: Option<&'r OutlierDetection>,
    pub(crate) retry_budget: Option<RetryBudget>,
    pub(crate) tls: Option<&'r ClientTls>,
    pub(crate) tunnel: Option<&'r Tunnel>,
    pub(crate) proxy_protocol: Option<ProxyProtocol>,
}

impl<'r> Effective<'r> {
    /// Istio: a port's blocks replace the rule's, and inherit nothing; each block of the subset replaces the one so found;
    /// the blocks of the subset's port replace everything. A port has no retry budget, tunnel or PROXY header of its own: the
    /// rule's are lost with it, the subset's are not.
    pub(crate) fn of(rule: Option<&Rule<'r>>, port: u16, subset: Option<&'r Subset>) -> Self {
        let top = rule.and_then(|rule| rule.policy);
        let mut blocks = match (top, port_level(top, port)) {
            (_, Some(port)) => Self::verbatim(port),
            (Some(policy), None) => Self::verbatim(&policy.blocks).with_unported(policy, &Self::default()),
            (None, None) => Self::default(),
        };
        let Some(own) = subset.and_then(|subset| subset.traffic_policy.as_ref()) else { return blocks };
        if let Some(port) = port_level(Some(own), port) {
            return Self::verbatim(port).with_unported(own, &blocks);
        }
        let over = Self::verbatim(&own.blocks);
        blocks.load_balancer = over.load_balancer.or(blocks.load_balancer);
        blocks.connection_pool = over.connection_pool.or(blocks.connection_pool);
        blocks.outlier_detection = over.outlier_detection.or(blocks.outlier_detection);
        blocks.tls = over.tls.or(blocks.tls);
        blocks.with_unported(own, &blocks)
    }

    /// Adds the blocks that a port cannot have: a policy's own, or else those below it.
    fn with_unported(self, own: &'r TrafficPolicy, below: &Self) -> Self {
        Self {
            retry_budget: own.retry_budget.or(below.retry_budget),
            tunnel: own.tunnel.as_deref().or(below.tunnel),
            proxy_protocol: own.proxy_protocol.or(below.proxy_protocol),
            ..self
        }
    }

    fn verbatim(blocks: &'r PolicyBlocks) -> Self {
        Self {
            load_balancer: blocks.load_balancer.as_deref(),
            connection_pool: blocks.connection_pool.as_deref(),
            outlier_detection: blocks.outlier_detection.as_deref(),
            tls: blocks.tls.as_deref(),
            ..Self::default()
        }
    }
}

fn port_level(policy: Option<&TrafficPolicy>, port: u16) -> Option<&PolicyBlocks> {
    policy?.port_level.iter().find(|(number, _)| number.value == port).map(|(_, blocks)| blocks)
}
