//! MeshConfig: settings of the whole mesh, which change defaults.

use std::sync::Arc;

use leeboard_policy::time::Span;

use super::Meta;
use super::destination_rule::{ConnectionPool, LocalityLb, OutlierDetection, TcpKeepalive};
use super::sidecar::OutboundTrafficPolicy;
use super::virtual_service::Retries;

/// Istio: MeshConfig, as far as it concerns a proxy. `None` and empty are Istio's own defaults.
#[derive(Clone, Debug, Default)]
pub struct MeshConfig {
    /// `connectTimeout`: 10 s.
    pub connect_timeout: Option<Span>,
    /// `outboundTrafficPolicy.mode`: unknown hosts are called.
    pub outbound_traffic_policy: Option<OutboundTrafficPolicy>,
    /// `localityLbSetting`: localities count, without rules.
    pub locality: Option<Box<LocalityLb>>,
    /// `h2UpgradePolicy: UPGRADE`.
    pub h2_upgrade: bool,
    /// `defaultHttpRetryPolicy`, for routes that say nothing of retries.
    pub retries: Option<Retries>,
    /// `defaultInboundHttpRetryPolicy`, of which attempts, conditions and back-off count.
    pub inbound_retries: Option<Retries>,
    /// `defaultTrafficPolicy.connectionPool`, for services whose policy has none.
    pub connection_pool: Option<Box<ConnectionPool>>,
    /// `defaultTrafficPolicy.outlierDetection`, for services whose policy has none.
    pub outlier_detection: Option<Box<OutlierDetection>>,
    /// `tcpKeepalive`: none. A policy's own fields go before.
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// `defaultServiceExportTo`, for services that do not say who sees them.
    pub service_export_to: Vec<Arc<str>>,
    /// `defaultVirtualServiceExportTo`.
    pub virtual_service_export_to: Vec<Arc<str>>,
    /// `defaultDestinationRuleExportTo`.
    pub destination_rule_export_to: Vec<Arc<str>>,
    /// `rootNamespace`: `istio-system`.
    pub root_namespace: Option<Arc<str>>,
    /// `enableAutoMtls`: connections are secured where both sides can.
    pub auto_mtls: Option<bool>,
    /// `accessLogFile`: where the access log goes; empty is nowhere.
    pub access_log_file: Option<Arc<str>>,
    /// `accessLogEncoding`: whether its lines are JSON.
    pub access_log_json: Option<bool>,
    /// `defaultConfig.gatewayTopology.numTrustedProxies`: none before the caller.
    pub trusted_proxies: u32,
    /// What its document is called, when it has one.
    pub meta: Option<Meta>,
}
