//! Checks certificates before anything is served, for `ringpost check`.
//!
//! Only reads; makes, renews and applies nothing.

use std::fs::File;
use std::io;
use std::path::Path;

use super::error::CertificateErrors;
use super::row::{CertificateRow, second};
use super::{expiries, located};
use crate::config::Settings;

/// Checks the files of every `[[https]]` and of `[ftp]`, and returns warnings.
///
/// # Errors
/// Every fault that would stop `ringpost serve`, each with the configuration's line and
/// the remedy.
pub(crate) fn validate(
    settings: &Settings,
    now_unix_s: i64,
) -> Result<Vec<String>, CertificateErrors> {
    let (mut warnings, mut errors, mut read) = (Vec::new(), Vec::new(), Vec::new());
    for settings_row in &settings.secured {
        let mut row = CertificateRow::new(settings_row.clone());
        let line = settings_row.line;
        let located = |message: &str| located(&settings.file, line, &message);
        if row.is_to_be_made() {
            errors.extend(row.read_phones().err().map(|why| (line, why)));
            continue;
        }
        let keys = [settings_row.key.clone(), second(settings_row).1];
        match row.read(None) {
            Ok(()) => {
                warnings.extend(row.fault.as_deref().map(located));
                read.push(row);
            }
            Err(_) if keys.iter().any(|key| is_hidden(key)) => warnings.push(located(&format!(
                "this user cannot read {}, so whether it can be served is not known; check as \
                 root, or as the user that Ringpost runs as",
                settings_row.key.display()
            ))),
            Err(why) if row.is_half_renewed(&settings.ca) => warnings.push(located(&format!(
                "{why}; the next start makes both anew, and puts the key aside"
            ))),
            Err(why) => errors.push((line, why)),
        }
    }
    warnings.extend(expiries(&read, now_unix_s));
    CertificateErrors::of(&settings.file, errors).map(|()| warnings)
}

fn is_hidden(path: &Path) -> bool {
    File::open(path).is_err_and(|fault| fault.kind() == io::ErrorKind::PermissionDenied)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;
    use crate::certificates::Certificates;
    use crate::config::{ClientAuth, parse_for_tests};

    const NOW: i64 = 1_800_000_000;
    const DAY_S: i64 = 86_400;

    fn settings(dir: &Path) -> Settings {
        let mut settings =
            parse_for_tests("[[https]]\nlisten = [\"127.0.0.1:411\"]\nroot = [\"https\"]\n");
        settings.ca.dir = dir.to_owned();
        settings.secured[0].certificate = dir.join("server.pem");
        settings.secured[0].key = dir.join("server.key");
        settings
    }

    #[test]
    fn what_is_not_there_yet_is_no_mistake_and_is_not_made() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(validate(&settings(dir.path()), NOW).unwrap(), Vec::<String>::new());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_phones_are_judged_by_is_read_though_the_certificate_is_still_to_be_made() {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = settings(dir.path());
        let ca = dir.path().join("phones.pem");
        fs::write(&ca, "no certificate").unwrap();
        settings.secured[0].client_ca = Some(ca);
        for (client_auth, is_bad) in
            [(ClientAuth::Off, false), (ClientAuth::Optional, true), (ClientAuth::Required, true)]
        {
            settings.secured[0].client_auth = client_auth;
            let message =
                validate(&settings, NOW).err().map_or(String::new(), |why| why.to_string());
            assert_eq!(message.contains(":1: `client_ca` "), is_bad, "{message}");
            let begun = Certificates::read(&settings).and_then(|mut row| row.make(NOW));
            assert_eq!(begun.is_err(), is_bad, "what check says is what serve does");
        }
    }

    #[test]
    fn what_a_start_would_stop_at_is_told_before_it() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path());
        Certificates::read(&settings).unwrap().make(NOW).unwrap();
        assert_eq!(validate(&settings, NOW).unwrap(), Vec::<String>::new());
        fs::write(&settings.secured[0].certificate, "nonsense").unwrap();
        let message = validate(&settings, NOW).unwrap_err().to_string();
        assert!(message.starts_with("/test/ringpost.toml:1: ") && message.contains("in PEM form"));
    }

    #[test]
    fn a_certificate_of_version_1_is_as_good_as_another() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path());
        let [key, request, certificate] =
            ["server.key", "a.csr", "server.pem"].map(|name| dir.path().join(name));
        let openssl = |arguments: &str, places: &[&Path]| {
            let places = places.iter().zip(["-out", "-in", "-signkey", "-keyout"]);
            let places = places.filter(|(path, _)| !path.as_os_str().is_empty());
            let mut command = Command::new("openssl");
            command.args(arguments.split(' '));
            for (path, option) in places {
                command.arg(option).arg(path);
            }
            command.output()
        };
        let none = Path::new("");
        let asks = "req -new -newkey rsa:2048 -nodes -subj /CN=old";
        if openssl(asks, &[&request, none, none, &key]).is_err() {
            // OpenSSL is not installed, and nothing else here makes certificates of that version.
            return;
        }
        openssl("x509 -req -days 9999", &[&certificate, &request, &key]).unwrap();
        assert_eq!(validate(&settings, NOW).unwrap(), Vec::<String>::new());
        Certificates::read(&settings).unwrap().make(NOW).unwrap();
    }

    #[test]
    fn a_certificate_that_expires_soon_or_has_expired_is_worth_a_look() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path());
        let mut made = Certificates::read(&settings).unwrap();
        made.make(NOW).unwrap();
        let days = made.report(NOW)[0].days_left;
        let message = |day: i64| validate(&settings, NOW + day * DAY_S).unwrap().join(" ");
        assert_eq!(message(days - 31), "");
        assert!(message(days - 3).contains("expires in 3 days"), "{}", message(days - 3));
        assert!(message(days + 2).contains("has expired"), "{}", message(days + 2));
    }

    #[test]
    fn a_key_that_belongs_to_no_certificate_of_the_own_ca_is_told_and_later_put_aside() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path());
        let mut running = Certificates::read(&settings).unwrap();
        running.make(NOW).unwrap();
        let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
        fs::write(&settings.secured[0].key, &key).unwrap();
        assert!(validate(&settings, NOW).unwrap()[0].contains("puts the key aside"));
        // The certificate is about to be brought, too.
        running.take(&settings, NOW).unwrap();
        assert_eq!(fs::read_to_string(&settings.secured[0].key).unwrap(), key);
        assert!(running.report(NOW)[0].fault.is_some());
        Certificates::read(&settings).unwrap().make(NOW).unwrap();
        let aside = dir.path().join("server.key.aside");
        assert_eq!(fs::read_to_string(aside).unwrap(), key);
        assert_ne!(fs::read_to_string(&settings.secured[0].key).unwrap(), key);
    }
}
