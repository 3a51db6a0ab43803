//! `retries`: Istio's words to a policy.

use leeboard_policy::retry::{RetryOn, RetryPolicy};

use crate::resources::MeshConfig;
use crate::resources::virtual_service::Retries;

/// What a route's `retries` mean; `hashes` says that its only destination is chosen by a consistent hash.
///
/// Istio: absent is the default policy and no attempts are none at all. Conditions that are not written are the default's.
/// Endpoints already tried are avoided unless that is turned off, or not asked for and the hash decides.
pub(crate) fn policy(written: Option<&Retries>, hashes: bool) -> Option<RetryPolicy> {
    let default = RetryPolicy::istio_default();
    let Some(written) = written else { return Some(RetryPolicy { avoid_tried: !hashes, ..default }) };
    if written.attempts == 0 {
        return None;
    }
    let (on, status_codes) = match &written.retry_on {
        None => (default.on, default.status_codes),
        Some(tokens) => conditions(tokens.iter().map(|token| token.trim())),
    };
    Some(RetryPolicy {
        attempts: written.attempts,
        per_try_timeout: written.per_try_timeout,
        on,
        status_codes,
        backoff: written.backoff.unwrap_or(default.backoff),
        avoid_tried: written.ignore_previous_hosts.unwrap_or(!hashes),
        leave_levels: written.remote_localities.unwrap_or(false),
    })
}

/// Istio: a number is a status to retry, and brings `retriable-status-codes` with it.
fn conditions<'t>(tokens: impl Iterator<Item = &'t str>) -> (RetryOn, Vec<u16>) {
    let mut on = RetryOn::default();
    let mut codes = Vec::new();
    for token in tokens {
        match (RetryOn::token(token), token.parse()) {
            (Some(condition), _) => on = on.with(condition),
            (None, Ok(code)) => {
                on = on.with(RetryOn::STATUS_CODES);
                codes.push(code);
            }
            // The reader of the document has complained already.
            (None, Err(_)) => {}
        }
    }
    (on, codes)
}

impl MeshConfig {
    /// What is tried again on a route: what it says itself, else what the mesh says.
    pub(crate) fn retries<'r>(&'r self, written: Option<&'r Retries>) -> Option<&'r Retries> {
        written.or(self.retries.as_ref())
    }

    /// What is tried again on the way to the application. Istio: of the mesh's policy attempts, conditions and back-off count.
    pub(crate) fn inbound_retries(&self) -> Option<RetryPolicy> {
        let default = RetryPolicy::istio_inbound();
        let Some(written) = &self.inbound_retries else { return Some(default) };
        let wanted = policy(Some(written), false)?;
        let (on, status_codes) = match written.retry_on {
            Some(_) => (wanted.on, wanted.status_codes),
            None => (default.on, default.status_codes),
        };
        Some(RetryPolicy { attempts: wanted.attempts, backoff: wanted.backoff, on, status_codes, ..default })
    }
}

#[cfg(test)]
mod tests {
    use leeboard_policy::time::Span;

    use super::*;

    fn retries(attempts: u32, on: Option<&[&str]>, ignore: Option<bool>) -> Retries {
        Retries {
            attempts,
            per_try_timeout: Some(Span::from_millis(70)),
            retry_on: on.map(|tokens| tokens.iter().map(|token| (*token).into()).collect()),
            backoff: None,
            ignore_previous_hosts: ignore,
            remote_localities: None,
        }
    }

    #[test]
    fn absent_is_the_default_and_zero_is_none() {
        assert_eq!(policy(None, false), Some(RetryPolicy::istio_default()));
        assert_eq!(policy(Some(&retries(0, None, None)), false), None);
    }

    #[test]
    fn conditions_are_tokens_and_numbers() {
        let default = RetryPolicy::istio_default().on;
        for (written, on, codes) in [
            (None, default, &[][..]),
            (Some(&["5xx"][..]), RetryOn::SERVER_ERROR, &[]),
            (Some(&["5xx", " reset"]), RetryOn::SERVER_ERROR.with(RetryOn::RESET), &[]),
            (Some(&["503"]), RetryOn::STATUS_CODES, &[503]),
            (Some(&["503", "retriable-status-codes", "429"]), RetryOn::STATUS_CODES, &[503, 429]),
        ] {
            let policy = policy(Some(&retries(3, written, None)), false).expect("attempts are above zero");
            assert_eq!((policy.on, &policy.status_codes[..]), (on, codes), "{written:?}");
            assert_eq!((policy.attempts, policy.per_try_timeout), (3, Some(Span::from_millis(70))));
        }
    }

    #[test]
    fn levels_are_left_when_asked_to() {
        for (written, leaves) in [(None, false), (Some(false), false), (Some(true), true)] {
            let retries = Retries { remote_localities: written, ..retries(1, None, None) };
            assert_eq!(policy(Some(&retries), false).map(|policy| policy.leave_levels), Some(leaves), "{written:?}");
        }
    }

    #[test]
    fn a_hash_keeps_its_endpoint() {
        for (ignore, hashes, expected) in [
            (None, false, true),
            (None, true, false),
            (Some(true), true, true),
            (Some(true), false, true),
            (Some(false), false, false),
        ] {
            let policy = policy(Some(&retries(1, None, ignore)), hashes).expect("attempts are above zero");
            assert_eq!(policy.avoid_tried, expected, "{ignore:?} {hashes}");
        }
        assert!(!policy(None, true).expect("the default retries").avoid_tried);
    }
}
