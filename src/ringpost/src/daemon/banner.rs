//! The banner of a start without a configuration, for a trial.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::Path;

use crate::daemon::sample;
use crate::observe::state::{DaemonState, Listening};

/// Prints the listeners, with a command to try for each protocol.
pub(crate) fn show(state: &DaemonState, made: bool, moved: &[String]) {
    let dir = fs::canonicalize(sample::DIR).unwrap_or_else(|_| sample::DIR.into());
    let mut text = text(&state.listeners, &dir, made);
    moved.iter().for_each(|sentence| text += &format!("note: {sentence}\n"));
    // Without standard error there is no reader.
    let _ = io::stderr().write_all(text.as_bytes());
}

fn text(listeners: &[Listening], dir: &Path, made: bool) -> String {
    let samples = if made { ", just made, with samples" } else { "" };
    let (version, shown) = (env!("CARGO_PKG_VERSION"), dir.display());
    let mut text = format!(
        "Ringpost {version}: no configuration was found, so this is a trial for this machine \
         alone.\n\x20 files   {shown}/common{samples}\n"
    );
    let mut tried = Vec::new();
    for Listening { protocol, address } in listeners {
        let (name, place) = match protocol.as_str() {
            "admin" => ("status", format!("http://{address}/")),
            "tftp" => ("TFTP", address.to_string()),
            "http" => ("HTTP", format!("http://{address}/")),
            "https" => ("HTTPS", format!("https://{address}/")),
            "ftp" => ("FTP", format!("ftp://{address}/")),
            "ftps" => ("FTPS", format!("ftps://{address}/")),
            other => (other, address.to_string()),
        };
        // Writing into a string does not fail.
        let _ = writeln!(text, "  {name:<7} {place}");
        if !tried.contains(&protocol) {
            tried.push(protocol);
            for command in commands(protocol, *address, dir) {
                let _ = writeln!(text, "          try: {command}");
            }
        }
    }
    text + "For phones: copy config/ringpost.toml to /etc/ringpost/, `ringpost check`, and \
            start again.\n"
}

/// Returns commands that show how a listener works.
fn commands(protocol: &str, address: SocketAddr, dir: &Path) -> Vec<String> {
    let dir = dir.display();
    match protocol {
        "admin" => vec![format!("curl http://{address}/status.json")],
        "tftp" => vec![format!("curl -s tftp://{address}/46xxsettings.txt")],
        "http" => vec![
            format!("curl http://{address}/46xxsettings.txt"),
            // Like a phone that backs up the settings of extension 4711's user.
            format!("echo CONTACTS=1 | curl -T - http://{address}/4711_96xxdata.txt"),
            format!("curl http://{address}/4711_96xxdata.txt"),
        ],
        "https" => {
            vec![format!("curl --cacert {dir}/certs/ca.pem https://{address}/46xxsettings.txt")]
        }
        "ftp" => vec![
            format!("curl ftp://{address}/46xxsettings.txt"),
            format!("echo CONTACTS=1 | curl -T - ftp://{address}/4711_4620data.txt"),
            format!(
                "lftp -c 'set ssl:ca-file {dir}/certs/ca.pem; open ftp://{address}; \
                 cat 4711_4620data.txt'"
            ),
        ],
        "ftps" => {
            vec![format!("curl --cacert {dir}/certs/ca.pem ftps://{address}/46xxsettings.txt")]
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_protocol_is_shown_with_a_command_and_no_command_twice() {
        let listening = |(protocol, address): (&str, &str)| Listening {
            protocol: protocol.into(),
            address: address.parse().unwrap(),
        };
        let listeners = [
            ("tftp", "127.0.0.1:6969"),
            ("tftp", "[::1]:6969"),
            ("http", "127.0.0.1:8080"),
            ("https", "127.0.0.1:8411"),
            ("ftp", "127.0.0.1:2121"),
            ("ftps", "127.0.0.1:2990"),
            ("admin", "127.0.0.1:6090"),
        ];
        let text = text(&listeners.map(listening), Path::new("/d"), true);
        let has = |line: &str| assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        has("  files   /d/common, just made, with samples");
        has("  TFTP    [::1]:6969");
        has("          try: curl -s tftp://127.0.0.1:6969/46xxsettings.txt");
        has("          try: curl http://127.0.0.1:8080/46xxsettings.txt");
        has("          try: curl --cacert /d/certs/ca.pem https://127.0.0.1:8411/46xxsettings.txt");
        has("  FTP     ftp://127.0.0.1:2121/");
        has("          try: curl ftp://127.0.0.1:2121/46xxsettings.txt");
        has("  FTPS    ftps://127.0.0.1:2990/");
        has("  status  http://127.0.0.1:6090/");
        assert_eq!(text.matches("try: curl -s tftp").count(), 1);
    }
}
