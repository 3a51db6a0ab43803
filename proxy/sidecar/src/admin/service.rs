//! The service that answers requests for pages: it finds the page, calls it, and turns a panic into 500.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Request, Response, StatusCode};

use super::page::{Content, PageRequest, PageResponse};
use super::table::PAGES;
use super::{AdminState, Scope};

/// The pages of a scope.
#[derive(Clone)]
pub(super) struct Pages {
    pub(super) state: Arc<AdminState>,
    pub(super) scope: Scope,
}

impl Pages {
    /// Answers a request. A page that panics is one page that does not answer.
    pub(super) fn answer<B>(&self, request: &Request<B>) -> Response<Content> {
        let ask = PageRequest::of(request, self.scope, &self.state.names, PAGES);
        let path = request.uri().path();
        let reply = catch_unwind(AssertUnwindSafe(|| self.reply(path, &ask))).unwrap_or_else(|_| {
            tracing::error!(path, "an admin page panicked");
            (PageResponse::refusal(StatusCode::INTERNAL_SERVER_ERROR, "this page is broken; the log says more\n"), None)
        });
        response(reply)
    }

    /// An answer, and what is allowed when the method is not.
    fn reply(&self, path: &str, ask: &PageRequest) -> (PageResponse, Option<&'static str>) {
        if let Some(why) = &ask.refused {
            return (PageResponse::refusal(StatusCode::FORBIDDEN, format!("{why}\n")), None);
        }
        let path = if path.len() > 1 { path.trim_end_matches('/') } else { path };
        let Some(page) = PAGES.iter().find(|page| page.path == path && page.scopes.contains(&self.scope)) else {
            return (PageResponse::refusal(StatusCode::NOT_FOUND, self.overview()), None);
        };
        if !page.methods.allow(&ask.method) {
            let text = format!("{path} takes {}\n", page.methods.names());
            return (PageResponse::refusal(StatusCode::METHOD_NOT_ALLOWED, text), Some(page.methods.names()));
        }
        ((page.answer)(&self.state, ask), None)
    }

    fn overview(&self) -> String {
        let mut text = String::from("no such page; there are:\n");
        for page in PAGES.iter().filter(|page| page.scopes.contains(&self.scope)) {
            text += &format!("  {}: {}\n", page.path, page.about);
        }
        text
    }
}

fn response((reply, allow): (PageResponse, Option<&'static str>)) -> Response<Content> {
    let mut response = Response::new(reply.content);
    *response.status_mut() = reply.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, max-age=0"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(allow) = allow {
        headers.insert(ALLOW, HeaderValue::from_static(allow));
    }
    response
}
