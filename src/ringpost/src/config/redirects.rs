//! `[[redirect]]`: rows that send HTTP clients elsewhere, and warnings about them.

use toml::Spanned;

use super::file::from;
use super::read::{Findings, Section};
use super::rows::will_not_do;
use engine::policy::redirect::{BadRedirect, Redirect, RedirectStatus, is_loop};
use engine::policy::remap::{BadRemap, MatchOn};
use engine::policy::snapshot::Policy;

/// Reads a row.
pub(super) fn read(mut row: Section<'_, '_>, found: &mut Findings) -> Option<Redirect> {
    let pattern: Option<Spanned<String>> = row.need("pattern", "'^fw/(.*)$'", found);
    let target: Option<Spanned<String>> =
        row.need("target", "\"https://files.example.com/fw/$1\"", found);
    let from = from(&mut row, found);
    let on = row.take("match", found).unwrap_or(MatchOn::Name);
    let status = status(&mut row, found);
    let uploads: Option<Spanned<bool>> = row.take("uploads", found);
    row.finish(found);
    if let Some(said) = uploads.as_ref().filter(|said| *said.get_ref() && !status.keeps_method()) {
        let text = format!(
            "`uploads` is true, but clients make a GET of what is redirected by {}; write \
             status = 307, or 308 for good",
            status.code()
        );
        found.fault(said.span(), text);
    }
    let (pattern, target) = (pattern?, target?);
    match Redirect::new(pattern.get_ref(), target.get_ref()) {
        Ok(mut redirect) => {
            (redirect.from, redirect.on, redirect.status) = (from, on, status);
            redirect.uploads = uploads.is_some_and(Spanned::into_inner);
            Some(redirect)
        }
        Err(why) => {
            let of_pattern =
                matches!(why, BadRedirect::Row(BadRemap::Pattern(_) | BadRemap::LeadingSlash));
            let (key, at) = match of_pattern {
                true => ("pattern", pattern.span()),
                false => ("target", target.span()),
            };
            found.fault(at, will_not_do(key, &why));
            None
        }
    }
}

fn status(row: &mut Section<'_, '_>, found: &mut Findings) -> RedirectStatus {
    let Some(code) = row.take::<u64>("status", found) else { return RedirectStatus::Found };
    RedirectStatus::of_code(code).unwrap_or_else(|| {
        let text = format!("`status` is {code}; write 301, 302, 307 or 308");
        found.fault(row.place("status"), text);
        RedirectStatus::Found
    })
}

/// Warns of rows without effect, and of loops.
pub(super) fn validate(policy: &Policy, warnings: &mut Vec<String>) {
    let rows = &policy.routes.redirects;
    if !rows.is_empty() && policy.http.listeners.is_empty() {
        warnings.push(
            "[[redirect]] is for HTTP and HTTPS alone, and there is no [[http]] or [[https]]: \
             nobody is redirected"
                .into(),
        );
    }
    let is_own = |host: &str| {
        let name = host.parse::<std::net::SocketAddr>().ok();
        let name = name.or_else(|| format!("{host}:80").parse().ok());
        policy.http.listeners.iter().any(|listener| Some(listener.address) == name)
    };
    for row in rows {
        let shown = format!("[[redirect]] {:?}", row.pattern);
        if let Some(why) = row.never_matches() {
            warnings.push(format!(
                "{shown} can never match: it holds {why}; write match = \"request_uri\" to have \
                 it see what was asked for as it was asked for"
            ));
        }
        if is_loop(rows, row, is_own) {
            warnings.push(format!(
                "{shown} sends phones round in a circle: what `target` names is redirected again; \
                 write a pattern that does not match it"
            ));
        }
    }
}
