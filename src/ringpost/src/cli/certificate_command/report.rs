//! The output of `ringpost certificate`, as text and as JSON.

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::error::CertificateCommandError;
use super::{CertificateCommand, CommandOutput, DAY_S, listeners, pairs};
use crate::certificates::{Facts, authority, ca_certificate, pair, second};
use crate::config::{Settings, TlsSettings};
use crate::daemon::exit::Failure;

/// Describes the certificates.
pub(super) fn show(
    settings: &Settings,
    now_unix_s: i64,
) -> Result<CommandOutput, CertificateCommandError> {
    let mut text = String::new();
    for row in pairs(settings)? {
        let listen: Vec<_> = listeners(settings, row).iter().map(ToString::to_string).collect();
        text += &format!("{} for {}\n", row.certificate.display(), listen.join(", "));
        let second = second(row);
        let alone = !second.0.exists();
        for (certificate, key) in [(&row.certificate, &row.key), (&second.0, &second.1)] {
            if !certificate.exists() {
                if certificate == &row.certificate {
                    text += "  not made yet; the server makes it when it starts\n";
                }
                continue;
            }
            match pair::Pair::read(certificate, key) {
                Ok(pair) => text += &described(&pair.facts, trust(&pair.facts, alone), now_unix_s),
                Err(why) => text += &format!("  not usable: {why}\n"),
            }
        }
    }
    let path = authority::certificate_in(&settings.ca.dir);
    if let Some(ca) = ca_certificate(&settings.ca) {
        let facts = pair::facts(&ca).map_err(|why| why.of(&path))?;
        let trust = "phones whose TRUSTCERTS names it; give it to them with: ringpost certificate \
                     export";
        text += &format!(
            "{} is the server's own CA\n{}",
            path.display(),
            described(&facts, trust, now_unix_s)
        );
    }
    Ok(CommandOutput { out: text.into_bytes(), advice: String::new() })
}

fn described(facts: &Facts, trust: &str, now_unix_s: i64) -> String {
    let days = (facts.not_after_unix_s - now_unix_s).div_euclid(DAY_S);
    let left = match days {
        0.. => format!("{days} days left"),
        ..0 => "expired".into(),
    };
    let names = match facts.names.as_slice() {
        [] => String::new(),
        names => format!("    names        {}\n", names.join(", ")),
    };
    format!(
        "  {}\n    subject      {}\n    issuer       {}\n{names}\
         \x20   holds        {} to {} ({left})\n\
         \x20   SHA-256      {}\n    trusted by   {trust}\n",
        facts.key,
        facts.subject,
        facts.issuer,
        date(facts.not_before_unix_s),
        date(facts.not_after_unix_s),
        facts.fingerprint,
    )
}

/// Describes which phones can use it.
fn trust(facts: &Facts, alone: bool) -> &'static str {
    match (facts.key.starts_with("RSA"), alone) {
        (true, _) => {
            "phones that trust the issuer and speak TLS 1.2, the 96xx among them (RSA with SHA-256)"
        }
        (false, true) => {
            "phones that trust the issuer and offer ECDSA; there is none for those that do not: \
             old phones cannot connect"
        }
        (false, false) => {
            "phones that trust the issuer and offer ECDSA; the others are shown the one with RSA"
        }
    }
}

pub(super) fn date(unix_s: i64) -> String {
    OffsetDateTime::from_unix_timestamp(unix_s)
        .map_or_else(|_| unix_s.to_string(), |at| at.date().to_string())
}

/// Returns the certificates, or another command's result, as JSON.
pub(super) fn json(
    command: &CertificateCommand,
    settings: Option<&Settings>,
    done: &Result<CommandOutput, Failure>,
    now_unix_s: i64,
) -> Value {
    match (command, settings, done) {
        (CertificateCommand::Show, Some(settings), Ok(_)) => certificates(settings, now_unix_s),
        (_, _, Ok(done)) => json!({
            "done": true,
            "text": String::from_utf8_lossy(&done.out),
            "advice": done.advice,
        }),
        (_, _, Err(failure)) => json!({ "done": false, "text": failure.text }),
    }
}

fn certificates(settings: &Settings, now_unix_s: i64) -> Value {
    let rows = pairs(settings).unwrap_or_default();
    let rows: Vec<_> = rows.iter().map(|row| of_row(settings, row, now_unix_s)).collect();
    let ca = ca_certificate(&settings.ca).and_then(|ca| pair::facts(&ca).ok()).map(|facts| {
        let mut facts = of_facts(&facts, now_unix_s);
        facts["file"] = json!(authority::certificate_in(&settings.ca.dir));
        facts
    });
    json!({ "certificates": rows, "ca": ca })
}

fn of_row(settings: &Settings, row: &TlsSettings, now_unix_s: i64) -> Value {
    let second = second(row);
    let files = [(&row.certificate, &row.key), (&second.0, &second.1)];
    let there = files.into_iter().filter(|(certificate, _)| certificate.exists());
    let pairs: Vec<_> = there
        .map(|(certificate, key)| match pair::Pair::read(certificate, key) {
            Ok(pair) => of_facts(&pair.facts, now_unix_s),
            Err(why) => json!({ "fault": why.to_string() }),
        })
        .collect();
    json!({ "file": row.certificate, "listen": listeners(settings, row), "pairs": pairs })
}

fn of_facts(facts: &Facts, now_unix_s: i64) -> Value {
    let mut value = serde_json::to_value(facts).unwrap_or_default();
    value["days_left"] = json!((facts.not_after_unix_s - now_unix_s).div_euclid(DAY_S));
    value
}
