//! The head of a request, as a phone writes it.

use super::client::{Action, Plan};

/// Writes the request of a step into `out`, replacing its content. `tags` are those of earlier
/// steps.
pub(super) fn write(
    out: &mut Vec<u8>,
    plan: &Plan,
    number: usize,
    tags: &[(usize, Box<[u8]>)],
    shows_secret: bool,
) {
    let Some(step) = plan.steps.get(number) else { return };
    let client = &plan.client;
    let method = match step.action {
        Action::Fetch | Action::Revalidate | Action::FetchHeader { .. } => "GET ",
        Action::Store(_) => "PUT ",
        Action::Remove => "DELETE ",
    };
    out.clear();
    out.extend_from_slice(method.as_bytes());
    out.extend_from_slice(&step.path);
    for part in [" HTTP/1.1\r\nHost: ", &client.host, "\r\nUser-Agent: ", &client.user_agent] {
        out.extend_from_slice(part.as_bytes());
    }
    if client.closes {
        out.extend_from_slice(b"\r\nConnection: close");
    }
    if let Some(secret) = plan.secret.as_ref().filter(|_| shows_secret) {
        out.extend_from_slice(b"\r\nAuthorization: ");
        out.extend_from_slice(secret.authorization.as_bytes());
    }
    match &step.action {
        Action::FetchHeader { bytes, asks_range: true } => {
            let last = bytes.saturating_sub(1);
            out.extend_from_slice(format!("\r\nRange: bytes=0-{last}").as_bytes());
        }
        Action::Revalidate => {
            let is_of = |of: usize| plan.steps.get(of).is_some_and(|it| it.path == step.path);
            if let Some((_, tag)) = tags.iter().rev().find(|(of, _)| is_of(*of)) {
                out.extend_from_slice(b"\r\nIf-None-Match: ");
                out.extend_from_slice(tag);
            }
        }
        Action::Store(content) => {
            out.extend_from_slice(format!("\r\nContent-Length: {}", content.len()).as_bytes());
        }
        Action::Fetch | Action::FetchHeader { asks_range: false, .. } | Action::Remove => {}
    }
    out.extend_from_slice(b"\r\n\r\n");
}
