//! The status as a plain page for people: no script, nothing loaded from other servers.

use std::fmt::{self, Write};

use crate::observe::health::HealthState;
use crate::observe::state::{FtpStatus, Status, StreamStatus};
use crate::observe::storm::PhonesStatus;
use crate::observe::{human_format, limits_status};

/// The browsers' refresh interval, in seconds.
const REFRESH_S: u32 = 5;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:60em;\
    padding:0 1em;color:#222;background:#fff}h1{font-size:1.4em}\
    h2{font-size:1.1em;margin-top:1.6em}table{border-collapse:collapse}\
    th,td{padding:.2em 1em .2em 0;text-align:left}th{border-bottom:1px solid #999}\
    td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}.bad{color:#a00;font-weight:bold}\
    .note{color:#850}\
    @media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}.bad{color:#f77}\
    .note{color:#eb5}}";

/// Renders the page.
pub(super) fn render(status: &Status) -> String {
    let mut page = String::new();
    // Writing into a string does not fail.
    let _ = write_page(&mut page, status);
    page
}

fn write_page(page: &mut String, status: &Status) -> fmt::Result {
    let state = status.health.state;
    let class = match state {
        HealthState::Serving => "",
        HealthState::Degraded | HealthState::Draining => " class=\"note\"",
        HealthState::Failing => " class=\"bad\"",
    };
    write!(
        page,
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta http-equiv=\"refresh\" content=\"{REFRESH_S}\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>Ringpost</title>\
         <style>{STYLE}</style><h1>Ringpost {}: <span{class}>{state}</span></h1>\
         <p>Up {}, process {}. \
         As data: <a href=\"/status.json\">status.json</a>, <a href=\"/metrics\">metrics</a>.</p>",
        Escaped(&status.version),
        human_format::span(status.uptime_s),
        status.pid,
    )?;
    health(page, status)?;
    reload(page, status)?;
    let outcomes = &status.outcomes;
    table(
        page,
        "Transfers since the start",
        &["done", "ended by the phone", "fell silent", "refused", "failed here", "stored", "sent"],
        &[vec![
            outcomes.done.to_string(),
            outcomes.aborted.to_string(),
            outcomes.timed_out.to_string(),
            outcomes.refused.to_string(),
            outcomes.failed.to_string(),
            outcomes.stored.to_string(),
            human_format::bytes(outcomes.sent_bytes),
        ]],
    )?;
    phones(page, &status.phones)?;
    streams(page, &status.streams)?;
    ftp(page, &status.ftp)?;
    let workers = status.workers.iter().enumerate().map(|(number, worker)| {
        vec![
            number.to_string(),
            worker.transfers_open.to_string(),
            worker.transfers_half_open.to_string(),
            worker.slots_used.to_string(),
            worker.queue_waiting.to_string(),
            worker.kernel_drops.to_string(),
            worker.turns.to_string(),
            format!("{} ms", worker.last_turn_age_ms),
        ]
    });
    let heads =
        ["worker", "open", "half-open", "slots", "waiting", "kernel drops", "turns", "last turn"];
    table(page, "Workers", &heads, &workers.collect::<Vec<_>>())?;
    let roots = status.roots.iter().map(|root| {
        vec![root.dir.clone(), root.files.to_string(), human_format::bytes(root.heap_bytes)]
    });
    table(page, "Directories", &["directory", "files", "in memory"], &roots.collect::<Vec<_>>())?;
    certificates(page, status)?;
    let listeners = status.listeners.iter();
    let listeners =
        listeners.map(|listener| vec![listener.protocol.clone(), listener.address.to_string()]);
    table(page, "Listeners", &["protocol", "address"], &listeners.collect::<Vec<_>>())
}

fn phones(page: &mut String, phones: &PhonesStatus) -> fmt::Result {
    let row = [phones.booting, phones.waiting, phones.back, phones.lost].map(|n| n.to_string());
    table(page, "Phones", &["booting", "waiting", "back", "lost"], &[row.to_vec()])?;
    match &phones.storm {
        Some(storm) => {
            let heading = if storm.is_active { "A storm goes on" } else { "The last storm" };
            write!(page, "<p>{heading}: {}.</p>", storm.text())
        }
        None => Ok(()),
    }
}

fn certificates(page: &mut String, status: &Status) -> fmt::Result {
    for certificate in &status.certificates {
        if let Some(fault) = &certificate.fault {
            write!(page, "<p class=\"bad\">{}</p>", Escaped(fault))?;
        }
        if certificate.days_left < 0 {
            let file = Escaped(&certificate.file);
            write!(page, "<p class=\"bad\">{file} has expired: phones refuse it.</p>")?;
        }
    }
    let rows = status.certificates.iter().flat_map(|certificate| {
        certificate.pairs.iter().map(|pair| {
            let listen: Vec<_> = certificate.listen.iter().map(ToString::to_string).collect();
            vec![
                pair.subject.clone(),
                pair.issuer.clone(),
                pair.key.clone(),
                certificate.days_left.to_string(),
                listen.join(" "),
                certificate.speaks.clone(),
            ]
        })
    });
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        return Ok(());
    }
    let heads = ["subject", "issuer", "key", "days left", "listeners", "speak"];
    table(page, "Certificates", &heads, &rows)
}

/// Writes the faults that keep phones from being served, and then the warnings.
fn health(page: &mut String, status: &Status) -> fmt::Result {
    let class = if status.healthy { "note" } else { "bad" };
    for reason in &status.health.reasons {
        write!(page, "<p class=\"{class}\">{}</p>", Escaped(reason))?;
    }
    let most = status.limits.clients_max;
    let used: u64 = status.workers.iter().map(|worker| worker.slots_used).sum();
    let waiting: u64 = status.workers.iter().map(|worker| worker.queue_waiting).sum();
    let lent: u64 = status.workers.iter().map(|worker| worker.slots_lent).sum();
    if most > 0 {
        write!(
            page,
            "<p>{used} of {most} places taken, {waiting} requests wait for one, \
             {lent} idle phones have lent theirs.</p>"
        )?;
    }
    let reached = limits_status::reached(&status.figures);
    if !reached.is_empty() {
        page.write_str("<h2>Limits reached since the start</h2><ul>")?;
        for limit in &reached {
            write!(page, "<li>{}</li>", Escaped(limit))?;
        }
        page.write_str("</ul>")?;
    }
    if status.warnings.is_empty() {
        return Ok(());
    }
    page.write_str("<h2>Worth a look</h2><ul>")?;
    for warning in &status.warnings {
        write!(page, "<li>{}</li>", Escaped(warning))?;
    }
    page.write_str("</ul>")
}

fn reload(page: &mut String, status: &Status) -> fmt::Result {
    if let Some(reload) = &status.reload {
        let class = if reload.taken { "" } else { " class=\"bad\"" };
        write!(page, "<p{class}>Last reload:")?;
        for line in reload.message.lines().chain(reload.changes.iter().map(String::as_str)) {
            write!(page, " {}<br>", Escaped(line))?;
        }
        page.write_str("</p>")?;
    }
    if !status.needs_restart.is_empty() {
        let keys = status.needs_restart.join(", ");
        let keys = Escaped(&keys);
        write!(page, "<p class=\"note\">A restart is needed for {keys}.</p>")?;
    }
    Ok(())
}

fn ftp(page: &mut String, ftp: &FtpStatus) -> fmt::Result {
    if ftp.commands == 0 && ftp.sessions_open == 0 {
        return Ok(());
    }
    let figures = [
        ("sessions open", ftp.sessions_open),
        ("log-ins", ftp.logins),
        ("failed", ftp.logins_failed),
        ("commands", ftp.commands),
        ("bad", ftp.bad_commands),
        ("data connections", ftp.data_connections),
        ("failed", ftp.data_failed),
        ("other hosts", ftp.bounces),
    ];
    let row = figures.map(|(_, figure)| figure.to_string()).to_vec();
    table(page, "FTP", &figures.map(|(name, _)| name), &[row])
}

fn streams(page: &mut String, streams: &StreamStatus) -> fmt::Result {
    let heads = [
        "connections open",
        "of all",
        "refused",
        "no descriptor",
        "idle",
        "too slow",
        "received",
        "sent",
    ];
    let cells = vec![
        streams.open.to_string(),
        streams.connections.to_string(),
        streams.refused.to_string(),
        streams.no_descriptor.to_string(),
        streams.idle_closed.to_string(),
        streams.too_slow.to_string(),
        human_format::bytes(streams.received_bytes),
        human_format::bytes(streams.sent_bytes),
    ];
    table(page, "Connections since the start", &heads, &[cells])?;
    let heads =
        ["requests", "malformed", "2xx", "3xx", "4xx", "5xx", "bodies held", "bodies refused"];
    let cells = vec![
        streams.requests.to_string(),
        streams.malformed.to_string(),
        streams.answers_2xx.to_string(),
        streams.answers_3xx.to_string(),
        streams.answers_4xx.to_string(),
        streams.answers_5xx.to_string(),
        human_format::bytes(streams.bodies_held_bytes),
        streams.bodies_refused.to_string(),
    ];
    table(page, "HTTP requests and answers", &heads, &[cells])?;
    let cells = [streams.handshakes_full, streams.handshakes_resumed, streams.handshakes_failed];
    let cells = vec![cells.map(|count| count.to_string()).to_vec()];
    table(page, "TLS handshakes", &["full", "resumed", "failed"], &cells)
}

fn table(page: &mut String, title: &str, heads: &[&str], rows: &[Vec<String>]) -> fmt::Result {
    write!(page, "<h2>{title}</h2><table><tr>")?;
    for head in heads {
        write!(page, "<th>{head}</th>")?;
    }
    for row in rows {
        page.write_str("<tr>")?;
        for cell in row {
            let class =
                if cell.starts_with(|c: char| c.is_ascii_digit()) { " class=\"n\"" } else { "" };
            write!(page, "<td{class}>{}</td>", Escaped(cell))?;
        }
    }
    page.write_str("</table>")
}

/// Text that a browser shows as it is.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                other if other.is_control() => write!(f, "{}", other.escape_default())?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}
