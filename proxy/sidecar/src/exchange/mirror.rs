//! Mirror requests: sent beside the primary request, never waited for; their responses are dropped.

use std::future::{pending, poll_fn};
use std::rc::Rc;

use leeboard_policy::exchange::Exchange;
use leeboard_policy::live::Live;
use leeboard_policy::mirror::{Copy, End, Fate};
use leeboard_policy::request::Head;
use leeboard_policy::verdict::Failure;

use super::ledger::side;
use crate::body::mirror::MirrorBody;
use crate::body::upload::Upload;
use crate::body::upstream::UpstreamBody;
use crate::drain::Side;
use crate::host::clock::duration;
use crate::request::head::RequestHead;
use crate::request::upstream::UpstreamRequest;
use crate::telemetry::record::Reporter;
use crate::upstream::connection_request::ConnectionRequest;
use crate::worker::context::WorkerContext;

/// How much of a body a mirror may lag behind by before it is given up.
const LAG: usize = 1024 * 1024;

/// Sends the copies that the policy has drawn.
pub(crate) fn send(
    context: &Rc<WorkerContext>,
    exchange: &Exchange,
    reporter: Reporter,
    head: &RequestHead,
    upload: Option<&Upload>,
) {
    for copy in exchange.copies() {
        if copy.endpoint.is_none() {
            context.telemetry.mirror(&copy.cluster.name, Fate::Dropped);
            continue;
        }
        let body = upload.map(|upload| upload.copy(LAG));
        let sending = Sending(context.clone(), side(reporter));
        let (live, mut head, grpc) = (exchange.live().clone(), head.clone(), exchange.is_grpc());
        context.introduce(&mut head, live.snapshot().cluster(copy.cluster.id), reporter);
        tokio::task::spawn_local(async move { sending.run(copy, &live, &head, grpc, body).await });
    }
}

/// A copy under way.
struct Sending(Rc<WorkerContext>, Side);

impl Sending {
    async fn run(self, copy: Copy, live: &Live, head: &RequestHead, grpc: bool, body: Option<MirrorBody>) {
        let allowed = duration(copy.allowed());
        let given_up = body.as_ref().map(MirrorBody::given_up);
        let lost = async {
            match given_up {
                Some(given_up) => given_up.await,
                None => pending().await,
            }
        };
        let body = body.map_or(UpstreamBody::Empty, UpstreamBody::Copy);
        let end = tokio::select! {
            biased;
            () = lost => End::Behind,
            sent = tokio::time::timeout(allowed, self.exchange(&copy, live, head, grpc, body)) => match sent {
                Ok(Ok(status)) => End::Answered(status),
                Ok(Err(failure)) => End::Failed(failure),
                Err(_) => End::TimedOut,
            },
        };
        let (fate, event) = copy.ended(end, self.0.clock.now());
        self.0.telemetry.mirror(&copy.cluster.name, fate);
        if let Some(event) = event {
            self.0.outlier(&event);
        }
    }

    async fn exchange(
        &self,
        copy: &Copy,
        live: &Live,
        head: &RequestHead,
        grpc: bool,
        body: UpstreamBody,
    ) -> Result<u16, Failure> {
        let context = &self.0;
        let Some(endpoint) = &copy.endpoint else { return Err(Failure::Overflow) };
        let spec = live.snapshot().cluster(copy.cluster.id);
        let http2 = spec.protocol.speaks_http2(head.is_http2());
        let settings = &spec.connection;
        let wanted = ConnectionRequest {
            cluster: &copy.cluster,
            settings,
            endpoint,
            http2,
            bare: false,
            fresh: false,
            passing: false,
            upstream_connections: &context.shared.upstream_connections,
            budget: None,
            own_addresses: (&context.shared.own_addresses, self.1),
            now: context.clock.now(),
            ping_after: context.shared.settings.ping_after,
            worker: context.telemetry.worker(),
            heads: context.shared.settings.endpoint_heads(),
            send_buffer: &context.send_buffer,
        };
        let mut lease = context.pool.acquire(&wanted, &context.telemetry).await.map_err(|error| error.failure)?;
        let departure = UpstreamRequest { head, number: Some(1), expected: copy.timeout, grpc, expects: false };
        let answered = lease.send(&departure, body, None).await.map_err(|unanswered| unanswered.failure)?;
        while let Some(frame) = poll_fn(|cx| lease.poll_frame(cx)).await {
            frame?;
        }
        lease.give_back(context.clock.now(), None);
        Ok(answered.status)
    }
}
