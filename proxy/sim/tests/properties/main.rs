//! What must hold of every exchange, whatever the configuration, the endpoints and the luck: seeds are swept, and what
//! happened is compared with small models that know nothing of how the policy decides.

mod determinism;
mod ejections;
mod limits;
mod retries;
mod scene;
mod splits;
