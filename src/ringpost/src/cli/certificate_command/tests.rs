//! Tests of every command in a directory of its own, with OpenSSL's opinion of the result.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use time::OffsetDateTime;

use super::*;
use crate::certificates::Certificates;
use crate::config::parse_for_tests;

const NOW: i64 = 1_800_000_000;

fn settings(dir: &Path) -> Settings {
    let mut settings = parse_for_tests("[[https]]\nlisten = [\"127.0.0.1:411\"]\n");
    settings.ca.dir = dir.to_owned();
    settings.secured[0].certificate = dir.join("server.pem");
    settings.secured[0].key = dir.join("server.key");
    settings
}

fn started(dir: &Path) -> (Settings, Certificates) {
    let settings = settings(dir);
    let mut certificates = Certificates::read(&settings).unwrap();
    certificates.make(NOW).unwrap();
    (settings, certificates)
}

fn done(command: &CertificateCommand, settings: &Settings) -> CommandOutput {
    execute(command, None, settings, NOW).unwrap()
}

fn refused(command: &CertificateCommand, settings: &Settings) -> String {
    execute(command, None, settings, NOW).unwrap_err().to_string()
}

fn text(done: &CommandOutput) -> &str {
    std::str::from_utf8(&done.out).unwrap()
}

fn import(chain: &Path) -> CertificateCommand {
    CertificateCommand::Import { chain: chain.to_owned(), key: None, any_name: false }
}

/// A CA and an issuing CA below it.
struct Company {
    root: CertifiedIssuer<'static, KeyPair>,
    issuing: CertifiedIssuer<'static, KeyPair>,
}

impl Company {
    fn new() -> Company {
        let params = |name: &str| {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params
        };
        let key = || KeyPair::generate().unwrap();
        let root = CertifiedIssuer::self_signed(params("company root"), key()).unwrap();
        let issuing = CertifiedIssuer::signed_by(params("company"), key(), &root).unwrap();
        Company { root, issuing }
    }

    /// Signs a request; `change` may alter the certificate.
    fn sign(&self, request: &[u8], change: impl FnOnce(&mut CertificateParams)) -> String {
        let text = std::str::from_utf8(request).unwrap();
        let mut request = CertificateSigningRequestParams::from_pem(text).unwrap();
        change(&mut request.params);
        request.signed_by(&self.issuing).unwrap().pem()
    }
}

fn openssl(arguments: &[&str]) -> Option<(bool, String)> {
    let run = Command::new("openssl").args(arguments).output().ok()?;
    let said = String::from_utf8_lossy(&run.stdout) + String::from_utf8_lossy(&run.stderr);
    Some((run.status.success(), said.into_owned()))
}

#[test]
fn show_tells_names_dates_kinds_and_who_can_trust_it() {
    let dir = tempfile::tempdir().unwrap();
    let before = done(&CertificateCommand::Show, &settings(dir.path()));
    assert!(text(&before).contains("not made yet"), "{}", text(&before));
    let (settings, certificates) = started(dir.path());
    let shown = done(&CertificateCommand::Show, &settings);
    let report = certificates.report(NOW);
    let facts = report[0].pairs.iter();
    let expected = facts.flat_map(|facts| [&facts.key, &facts.fingerprint, &facts.issuer]);
    for word in expected.map(String::as_str).chain([
        "127.0.0.1:411",
        "localhost",
        "(760 days left)",
        "96xx",
        "TRUSTCERTS",
    ]) {
        assert!(text(&shown).contains(word), "{word} in\n{}", text(&shown));
    }
    assert!(!text(&shown).contains("PRIVATE"));
    let file = dir.path().join("server.pem").display().to_string();
    if let Some((true, said)) =
        openssl(&["x509", "-in", &file, "-noout", "-sha256", "-fingerprint"])
    {
        let fingerprint = said.trim().rsplit('=').next().unwrap();
        assert!(text(&shown).contains(fingerprint), "{fingerprint}");
    }
    fs::write(dir.path().join("server.key"), "nonsense").unwrap();
    assert!(text(&done(&CertificateCommand::Show, &settings)).contains("not usable"));
}

#[test]
fn renew_makes_a_new_pair_that_a_running_server_takes_up() {
    let dir = tempfile::tempdir().unwrap();
    let (settings, mut certificates) = started(dir.path());
    certificates.refresh(NOW);
    let before = certificates.report(NOW);
    assert!(done(&CertificateCommand::Renew, &settings).advice.contains("takes it up"));
    assert!(certificates.refresh(NOW + 1).changed);
    let after = certificates.report(NOW);
    assert!(after[0].fault.is_none() && after[0].renewed_by_itself);
    assert!(after[0].pairs.iter().zip(&before[0].pairs).all(|(new, old)| new != old));
}

#[test]
fn renew_leaves_what_another_ca_issued_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (settings, _) = started(dir.path());
    let key = KeyPair::generate().unwrap();
    let pem = CertificateParams::new(vec!["a".into()]).unwrap().self_signed(&key).unwrap().pem();
    fs::write(dir.path().join("server.pem"), &pem).unwrap();
    let message = refused(&CertificateCommand::Renew, &settings);
    assert!(message.contains("was not issued by the server's own CA") && message.contains("csr"));
    assert_eq!(fs::read_to_string(dir.path().join("server.pem")).unwrap(), pem);
}

#[test]
fn export_gives_phones_the_ca_and_the_line_to_set() {
    let dir = tempfile::tempdir().unwrap();
    let export = |der, file| CertificateCommand::Export { der, file };
    let none = refused(&export(false, None), &settings(dir.path()));
    assert!(none.contains("has made no CA of its own"), "{none}");
    let (mut settings, _) = started(dir.path());
    let given = done(&export(false, None), &settings);
    assert_eq!(given.out, fs::read(dir.path().join("ca.pem")).unwrap().as_slice());
    assert!(given.advice.contains("SET TRUSTCERTS \"ca.pem\""), "{}", given.advice);
    let file = dir.path().join("ca.der");
    done(&export(true, Some(file.clone())), &settings);
    let der = fs::read(&file).unwrap();
    assert_eq!(der, *ca_certificate(&settings.ca).unwrap());
    settings.ca.serve_as = Some(b"certs/mine.pem"[..].into());
    assert!(done(&export(false, None), &settings).advice.contains("\"certs/mine.pem\""));
    let both = [given.out.clone(), given.out].concat();
    fs::write(dir.path().join("ca.pem"), both).unwrap();
    assert!(refused(&export(true, None), &settings).contains("leave --der out"));
}

#[test]
fn a_request_becomes_a_certificate_in_use_whatever_the_order_of_the_chain() {
    let dir = tempfile::tempdir().unwrap();
    let (settings, mut certificates) = started(dir.path());
    certificates.refresh(NOW);
    let before = certificates.report(NOW);
    let requested = done(&CertificateCommand::Request { file: None }, &settings);
    assert!(text(&requested).starts_with("-----BEGIN CERTIFICATE REQUEST-----"));
    let next = dir.path().join("server.key.next");
    assert_eq!(fs::metadata(&next).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!certificates.refresh(NOW + 1).changed, "what is in use stays so");
    assert!(
        refused(&CertificateCommand::Request { file: None }, &settings).contains("made before")
    );
    let file = dir.path().join("request.csr");
    fs::write(&file, &requested.out).unwrap();
    let shown = file.display().to_string();
    if let Some((is_valid, said)) = openssl(&["req", "-in", &shown, "-noout", "-text", "-verify"]) {
        let names = ["IP Address:127.0.0.1", "DNS:localhost", "Public-Key: (2048 bit)"];
        assert!(is_valid && names.iter().all(|name| said.contains(name)), "{said}");
    }
    let company = Company::new();
    let leaf = company.sign(&requested.out, |_| {});
    let other = Company::new().root.pem();
    let chain = dir.path().join("chain.pem");
    fs::write(&chain, [company.root.pem(), other, company.issuing.pem(), leaf].concat()).unwrap();
    let imported = done(&import(&chain), &settings);
    assert!(imported.advice.contains("2 certificates"), "{}", imported.advice);
    assert!(imported.advice.contains("company root"), "{}", imported.advice);
    assert!(!next.exists());
    assert!(certificates.refresh(NOW + 2).changed);
    let after = certificates.report(NOW);
    // The own P-256 pair beside it is no longer served: phones that trust the company would refuse
    // it.
    assert_eq!((after[0].pairs.len(), &after[0].fault), (1, &None));
    assert!(!after[0].renewed_by_itself && after[0].pairs[0].issuer.contains("company"));
    let (root, shown) = (dir.path().join("root.pem"), dir.path().join("server.pem"));
    fs::write(&root, company.root.pem()).unwrap();
    let [root, shown] = [root, shown].map(|path| path.display().to_string());
    let verify = ["verify", "-CAfile", &root, "-untrusted", &shown, &shown];
    if let Some((is_valid, said)) = openssl(&verify) {
        assert!(is_valid, "{said}");
    }
    let previous = fs::read(dir.path().join("server.pem.previous")).unwrap();
    let previous = pair::facts(&pair::chain(&previous).unwrap()[0]).unwrap();
    assert_eq!(previous, before[0].pairs[1]);
}

#[test]
fn a_renewed_certificate_for_the_key_in_use_needs_no_key() {
    let dir = tempfile::tempdir().unwrap();
    let (settings, _) = started(dir.path());
    let key = fs::read_to_string(dir.path().join("server.key")).unwrap();
    let pair = KeyPair::from_pem(&key).unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".into()]).unwrap();
    let chain = dir.path().join("chain.pem");
    fs::write(&chain, params.signed_by(&pair, &Company::new().issuing).unwrap().pem()).unwrap();
    done(&import(&chain), &settings);
    assert_eq!(fs::read_to_string(dir.path().join("server.key")).unwrap(), key);
    assert_eq!(Certificates::read(&settings).unwrap().report(NOW)[0].fault, None);
}

#[test]
fn what_phones_would_refuse_is_not_imported() {
    let dir = tempfile::tempdir().unwrap();
    let (settings, _) = started(dir.path());
    let before = fs::read(dir.path().join("server.pem")).unwrap();
    let request = done(&CertificateCommand::Request { file: None }, &settings).out;
    let company = Company::new();
    let chain = dir.path().join("chain.pem");
    let at = |unix_s| OffsetDateTime::from_unix_timestamp(unix_s).unwrap();
    let message = |change: &dyn Fn(&mut CertificateParams)| {
        fs::write(&chain, company.sign(&request, change)).unwrap();
        refused(&import(&chain), &settings)
    };
    let expired = message(&|params| params.not_after = at(NOW - 1));
    assert!(expired.contains("expired on 2027-01-15; ask its issuer"), "{expired}");
    let early = message(&|params| params.not_before = at(NOW + 5 * DAY_S));
    assert!(early.contains("does not hold before 2027-01-20"), "{early}");
    let client = message(&|params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    assert!(client.contains("is not meant for servers"), "{client}");
    let elsewhere = |params: &mut CertificateParams| {
        params.subject_alt_names =
            vec![rcgen::SanType::DnsName("other.example".try_into().unwrap())];
    };
    let named = message(&elsewhere);
    assert!(named.contains("other.example") && named.contains("--any-name"), "{named}");
    let stranger = Company::new().root.pem();
    fs::write(&chain, &stranger).unwrap();
    let message = refused(&import(&chain), &settings);
    assert!(
        message.contains("no certificate in") && message.contains("server.key.next or"),
        "{message}"
    );
    let key = dir.path().join("absent.key");
    let named =
        CertificateCommand::Import { chain: chain.clone(), key: Some(key), any_name: false };
    assert!(refused(&named, &settings).contains("absent.key does not exist"));
    fs::write(&chain, &stranger[..stranger.len() / 2]).unwrap();
    assert!(refused(&import(&chain), &settings).contains("cut short"));
    assert_eq!(fs::read(dir.path().join("server.pem")).unwrap(), before);
    assert!(!dir.path().join("server.pem.previous").exists());
    // Unless the administrator insists.
    fs::write(&chain, company.sign(&request, elsewhere)).unwrap();
    done(&CertificateCommand::Import { chain, key: None, any_name: true }, &settings);
}

#[test]
fn a_star_stands_for_one_label() {
    let facts = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        pair::facts(params.self_signed(&key).unwrap().der()).unwrap()
    };
    let names = |name: &str| Names { dns: vec![name.into()], addresses: Vec::new() };
    assert!(names_any_of(&facts("*.example.org"), &names("phones.example.org")));
    assert!(!names_any_of(&facts("*.example.org"), &names("a.phones.example.org")));
    assert!(!names_any_of(&facts("*.example.org"), &names("example.org")));
    assert!(names_any_of(&facts("Phones.Example.org"), &names("phones.example.org")));
    assert!(!names_any_of(&facts("localhost"), &names("localhost")), "says nothing");
}

#[test]
fn where_there_are_several_one_has_to_be_meant() {
    let dir = tempfile::tempdir().unwrap();
    let (mut settings, _) = started(dir.path());
    let mut other = settings.secured[0].clone();
    other.listen = vec!["127.0.0.1:443".parse().unwrap()];
    settings.secured.push(other.clone());
    assert!(select_row(&settings, None).is_ok(), "the same files twice are one");
    other.certificate = dir.path().join("other.pem");
    other.key = dir.path().join("other.key");
    settings.secured[1] = other;
    let message = refused(&CertificateCommand::Request { file: None }, &settings);
    assert!(
        message.contains("say which with --listener") && message.contains("127.0.0.1:443"),
        "{message}"
    );
    let listener = |text: &str| Some(text.parse().unwrap());
    let chosen_at = |text| select_row(&settings, listener(text));
    assert_eq!(chosen_at("127.0.0.1:443").unwrap().key, dir.path().join("other.key"));
    assert!(
        chosen_at("127.0.0.1:1").unwrap_err().to_string().contains("nobody listens with TLS on")
    );
    settings.secured.clear();
    assert!(refused(&CertificateCommand::Show, &settings).contains("has no [[https]]"));
}
