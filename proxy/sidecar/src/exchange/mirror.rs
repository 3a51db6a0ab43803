//! Mirror requests: sent beside the primary request, never waited for; their responses are dropped.

use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::time::Duration;

use http::Version;
use leeboard_policy::cluster::Protocol;
use leeboard_policy::exchange::Exchange;
use leeboard_policy::live::Live;
use leeboard_policy::mirror::Copy;
use leeboard_policy::outlier::Score;
use leeboard_policy::verdict::Failure;

use super::ledger::side;
use crate::body::mirror::MirrorBody;
use crate::body::upload::Upload;
use crate::body::upstream::UpstreamBody;
use crate::drain::Side;
use crate::host::clock::duration;
use crate::request::head::RequestHead;
use crate::request::upstream::UpstreamRequest;
use crate::telemetry::MirrorOutcome;
use crate::telemetry::record::Reporter;
use crate::upstream::connection_request::ConnectionRequest;
use crate::worker::context::WorkerContext;

/// How much of a body a mirror may lag behind by before it is given up.
const LAG: usize = 1024 * 1024;
/// How long a copy may take when the route says nothing.
const TIMEOUT: Duration = Duration::from_secs(60);

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
            context.telemetry.mirror(&copy.cluster.name, MirrorOutcome::Dropped);
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
        let allowed = copy.timeout.map_or(TIMEOUT, duration);
        let given_up = body.as_ref().map(MirrorBody::given_up);
        let lost = async {
            match given_up {
                Some(given_up) => given_up.await,
                None => pending().await,
            }
        };
        let body = body.map_or(UpstreamBody::Empty, UpstreamBody::Copy);
        let sent = tokio::select! {
            biased;
            () = lost => Ok(Err(Failure::Overflow)),
            sent = tokio::time::timeout(allowed, self.exchange(&copy, live, head, grpc, body)) => sent,
        };
        let (outcome, score) = match sent {
            Ok(Ok(status)) => (MirrorOutcome::Answered, Some(Score::Status(status))),
            Ok(Err(Failure::Overflow)) => (MirrorOutcome::Dropped, None),
            Ok(Err(failure)) if failure.is_connect() => (MirrorOutcome::Failed, Some(Score::ConnectFailure)),
            Ok(Err(_)) => (MirrorOutcome::Failed, Some(Score::Reset)),
            Err(_) => (MirrorOutcome::Failed, Some(Score::Timeout)),
        };
        self.0.telemetry.mirror(&copy.cluster.name, outcome);
        if let Some(event) = score.and_then(|score| copy.ended(score, self.0.clock.now())) {
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
        let http2 = match spec.protocol {
            Protocol::Http1 => false,
            Protocol::Http2 => true,
            Protocol::Client => head.version == Version::HTTP_2,
        };
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
