//! The objects of a configuration, near the user's text: host names unexpanded, defaults not filled in.

pub mod destination_rule;
pub mod gateway;
pub mod kubernetes;
pub mod mesh_config;
pub mod service_entry;
pub mod sidecar;
pub mod virtual_service;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use leeboard_policy::origin::Origin;

use crate::source::Spot;

pub use destination_rule::DestinationRule;
pub use gateway::Gateway;
pub use kubernetes::{EndpointSlice, Endpoints, Pod, Service};
pub use mesh_config::MeshConfig;
pub use service_entry::{ServiceEntry, WorkloadEntry};
pub use sidecar::Sidecar;
pub use virtual_service::VirtualService;

/// Labels, selectors and annotations.
pub type Labels = BTreeMap<Arc<str>, Arc<str>>;

/// All objects of a configuration, each kind in order of appearance.
#[derive(Clone, Debug, Default)]
pub struct Resources {
    /// Istio: how requests are routed.
    pub virtual_services: Vec<Arc<VirtualService>>,
    /// Istio: what happens to requests once routed.
    pub destination_rules: Vec<Arc<DestinationRule>>,
    /// Istio: services beyond those of Kubernetes.
    pub service_entries: Vec<Arc<ServiceEntry>>,
    /// Istio: workloads beyond pods.
    pub workload_entries: Vec<Arc<WorkloadEntry>>,
    /// Istio: load balancers at the edge.
    pub gateways: Vec<Arc<Gateway>>,
    /// Istio: what a proxy sees of the mesh.
    pub sidecars: Vec<Arc<Sidecar>>,
    /// Kubernetes services.
    pub services: Vec<Arc<Service>>,
    /// Kubernetes endpoints, the older kind.
    pub endpoints: Vec<Arc<Endpoints>>,
    /// Kubernetes endpoint slices.
    pub endpoint_slices: Vec<Arc<EndpointSlice>>,
    /// Kubernetes pods.
    pub pods: Vec<Arc<Pod>>,
    /// Istio: settings of the whole mesh.
    pub mesh: Option<Arc<MeshConfig>>,
}

/// The kinds that are read.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// networking.istio.io
    VirtualService,
    /// networking.istio.io
    DestinationRule,
    /// networking.istio.io
    ServiceEntry,
    /// networking.istio.io
    WorkloadEntry,
    /// networking.istio.io
    Gateway,
    /// networking.istio.io
    Sidecar,
    /// v1
    Service,
    /// v1
    Endpoints,
    /// discovery.k8s.io/v1
    EndpointSlice,
    /// v1
    Pod,
    /// Settings of the mesh; Istio has them in a file of their own, without a group.
    MeshConfig,
}

impl Kind {
    /// All kinds, in order.
    pub const ALL: [Kind; 11] = [
        Kind::VirtualService,
        Kind::DestinationRule,
        Kind::ServiceEntry,
        Kind::WorkloadEntry,
        Kind::Gateway,
        Kind::Sidecar,
        Kind::Service,
        Kind::Endpoints,
        Kind::EndpointSlice,
        Kind::Pod,
        Kind::MeshConfig,
    ];

    /// Whether it is of networking.istio.io; the others are Kubernetes' own.
    pub fn is_istio(self) -> bool {
        self <= Kind::Sidecar
    }

    /// The word in `kind:`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::VirtualService => "VirtualService",
            Kind::DestinationRule => "DestinationRule",
            Kind::ServiceEntry => "ServiceEntry",
            Kind::WorkloadEntry => "WorkloadEntry",
            Kind::Gateway => "Gateway",
            Kind::Sidecar => "Sidecar",
            Kind::Service => "Service",
            Kind::Endpoints => "Endpoints",
            Kind::EndpointSlice => "EndpointSlice",
            Kind::Pod => "Pod",
            Kind::MeshConfig => "MeshConfig",
        }
    }
}

/// What an object is called.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ObjectId {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name; empty when it was not legible.
    pub name: Arc<str>,
}

impl fmt::Display for ObjectId {
    /// `VirtualService demo/reviews`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind.name(), self.namespace, self.name)
    }
}

/// What every object has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Meta {
    /// Kind, namespace (`default` when it is not written) and name.
    pub id: ObjectId,
    /// `metadata.labels`.
    pub labels: Labels,
    /// `metadata.annotations`.
    pub annotations: Labels,
    /// When it was made: the older of two objects has the smaller value.
    pub created: Created,
    /// `VirtualService demo/reviews`, for origins and diagnostics.
    pub resource: Arc<str>,
    /// Where the object's name is written.
    pub spot: Spot,
    /// What its document says, as a number: the same wherever the document stands.
    pub fingerprint: u64,
}

impl Meta {
    /// The namespace.
    pub fn namespace(&self) -> &Arc<str> {
        &self.id.namespace
    }

    /// The name.
    pub fn name(&self) -> &Arc<str> {
        &self.id.name
    }

    /// A rule of this object that is written at `spot`.
    pub fn origin(&self, spot: &Spot) -> Origin {
        spot.origin(&self.resource)
    }
}

/// The age of an object. Those without a time stamp, as files usually are, come first, in order of appearance.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Created {
    /// `metadata.creationTimestamp` in RFC 3339, UTC.
    pub stamp: Option<Arc<str>>,
    /// The number of the object in the order that files were given.
    pub order: u32,
}

macro_rules! kinds {
    ($($list:ident)*) => {
        impl Resources {
            /// How many objects there are.
            pub(crate) fn len(&self) -> usize {
                [$(self.$list.len(),)* usize::from(self.mesh.is_some())].iter().sum()
            }

            /// Whether there is no object at all.
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// Adds the objects of another configuration behind these.
            pub(crate) fn append(&mut self, more: &Resources) {
                $(self.$list.extend(more.$list.iter().cloned());)*
                self.mesh = self.mesh.take().or_else(|| more.mesh.clone());
            }

            /// Leaves out the objects that are not to stay.
            pub fn retain(&mut self, mut stays: impl FnMut(&Meta) -> bool) {
                $(self.$list.retain(|object| stays(&object.meta));)*
                self.mesh = self.mesh.take().filter(|mesh| mesh.meta.as_ref().is_none_or(&mut stays));
            }

            /// Puts objects back to what they were in `previous`, in the places that they have now; one that was not there is
            /// left out.
            pub fn put_back(&mut self, previous: &Resources, which: &BTreeSet<ObjectId>) {
                let is_one = |meta: &Meta| which.contains(&meta.id);
                $(
                    let now = self.$list.iter().map(|object| &object.meta).filter(|meta| is_one(meta));
                    let places: BTreeMap<ObjectId, u32> =
                        now.map(|meta| (meta.id.clone(), meta.created.order)).collect();
                    self.$list.retain(|object| !is_one(&object.meta));
                    for object in previous.$list.iter().filter(|object| is_one(&object.meta)) {
                        let mut object = object.clone();
                        if let Some(place) = places.get(&object.meta.id) {
                            Arc::make_mut(&mut object).meta.created.order = *place;
                        }
                        self.$list.push(object);
                    }
                    self.$list.sort_by_key(|object| object.meta.created.order);
                )*
                if which.iter().any(|id| id.kind == Kind::MeshConfig) {
                    self.mesh = previous.mesh.clone();
                }
            }

            /// Shows every object's envelope, but for the settings of the mesh.
            pub fn each<'r>(&'r self, mut see: impl FnMut(&'r Meta)) {
                $(self.$list.iter().for_each(|object| see(&object.meta));)*
            }
        }
    };
}

kinds!(virtual_services destination_rules service_entries workload_entries gateways sidecars services endpoints endpoint_slices pods);
