//! The policy of one port and subset: which blocks of a DestinationRule are in force.

use super::policy::Rule;
use crate::resources::destination_rule::{
    ConnectionPool, LoadBalancer, OutlierDetection, PolicyBlocks, RetryBudget, Subset, TrafficPolicy,
};

/// The blocks in force; an absent one means the default.
#[derive(Clone, Copy, Default)]
pub(crate) struct Effective<'r> {
    pub(crate) load_balancer: Option<&'r LoadBalancer>,
    pub(crate) connection_pool: Option<&'r ConnectionPool>,
    pub(crate) outlier_detection: Option<&'r OutlierDetection>,
    pub(crate) retry_budget: Option<RetryBudget>,
}

impl<'r> Effective<'r> {
    /// Istio: a port's blocks replace the rule's, and inherit nothing; each block of the subset replaces the one so found;
    /// the blocks of the subset's port replace everything. A port has no retry budget of its own: the rule's is lost with it,
    /// the subset's is not.
    pub(crate) fn of(rule: Option<&Rule<'r>>, port: u16, subset: Option<&'r Subset>) -> Self {
        let top = rule.and_then(|rule| rule.policy);
        let mut blocks = match (top, port_level(top, port)) {
            (_, Some(port)) => Self::verbatim(port),
            (Some(policy), None) => Self { retry_budget: policy.retry_budget, ..Self::verbatim(&policy.blocks) },
            (None, None) => Self::default(),
        };
        let Some(own) = subset.and_then(|subset| subset.traffic_policy.as_ref()) else { return blocks };
        let retry_budget = own.retry_budget.or(blocks.retry_budget);
        if let Some(port) = port_level(Some(own), port) {
            return Self { retry_budget, ..Self::verbatim(port) };
        }
        let over = Self::verbatim(&own.blocks);
        blocks.load_balancer = over.load_balancer.or(blocks.load_balancer);
        blocks.connection_pool = over.connection_pool.or(blocks.connection_pool);
        blocks.retry_budget = retry_budget;
        blocks.outlier_detection = over.outlier_detection.or(blocks.outlier_detection);
        blocks
    }

    fn verbatim(blocks: &'r PolicyBlocks) -> Self {
        Self {
            load_balancer: blocks.load_balancer.as_ref(),
            connection_pool: blocks.connection_pool.as_ref(),
            outlier_detection: blocks.outlier_detection.as_ref(),
            retry_budget: None,
        }
    }
}

fn port_level(policy: Option<&TrafficPolicy>, port: u16) -> Option<&PolicyBlocks> {
    policy?.port_level.iter().find(|(number, _)| number.value == port).map(|(_, blocks)| blocks)
}
