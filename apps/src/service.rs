//! Which services there are: their names, ports and usual misbehaviour.

/// The services of this crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Keeps users; tells `event-publisher` of new ones.
    User,
    /// Keeps orders; asks `user-service` who the user is and tells `event-publisher` of new and changed orders.
    Order,
    /// What the outside sees: users and orders under `/api/v1`.
    Gateway,
    /// Stands for someone else's service: fails every second call.
    External,
    /// Keeps events and calls the webhooks of those who subscribed to them.
    Publisher,
    /// Makes notifications of events.
    Notification,
    /// Promises stock to orders.
    Inventory,
}

impl Service {
    /// All of them, in the order of their ports.
    pub const ALL: [Service; 7] = [
        Service::User,
        Service::Order,
        Service::External,
        Service::Notification,
        Service::Inventory,
        Service::Publisher,
        Service::Gateway,
    ];

    /// The name: the argument of the binary, and the host others call.
    pub fn name(self) -> &'static str {
        match self {
            Service::User => "user-service",
            Service::Order => "order-service",
            Service::Gateway => "api-gateway",
            Service::External => "external-service",
            Service::Publisher => "event-publisher",
            Service::Notification => "notification-service",
            Service::Inventory => "inventory-service",
        }
    }

    /// The service with this name.
    pub fn by_name(name: &str) -> Option<Service> {
        Service::ALL.into_iter().find(|service| service.name() == name)
    }

    /// The port it listens on when `PORT` does not say otherwise, and under which others call it.
    pub fn port(self) -> u16 {
        match self {
            Service::User => 5000,
            Service::Order => 5001,
            Service::External => 5002,
            Service::Notification => 5003,
            Service::Inventory => 5004,
            Service::Publisher => 5005,
            Service::Gateway => 8080,
        }
    }

    /// `FAIL_PERCENT` when it is not set.
    pub fn usual_fail_percent(self) -> f64 {
        if self == Service::External { 50.0 } else { 0.0 }
    }
}
