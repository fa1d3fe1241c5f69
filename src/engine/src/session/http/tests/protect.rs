//! Files that are served only for a password: who is asked, which answers are accepted, and what
//! may happen while they are checked.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::admission::access::{List, NamedList, Range};
use crate::catalog::RootId;
use crate::policy::protect::{Protection, Requirement};
use crate::protocol::Protocol;
use crate::session::http::nonces::NONCE_LIFE;
use crate::session::{CredentialFault, Refusal};
use crate::vault::request::{Auth, Login, LoginSecret};
use crate::vault::upload::{OnExists, Rule};

fn row(pattern: &str, users: &str) -> Protection {
    let requirement = Requirement {
        users: users.into(),
        allowed: Vec::new(),
        basic: true,
        digest: true,
        sha256: true,
        realm: "Here".into(),
    };
    let mut row = Protection::new(pattern).unwrap();
    row.requirement = Arc::new(requirement);
    row
}

/// Makes a server that asks for a password for `a.txt` and for every `*.log`.
fn bench() -> Bench {
    Bench::with(|policy| {
        policy.protections.0 = vec![row("a.txt", "/one"), row("*.log", "/two")];
        policy.uploads.0 = vec![Rule::new("*.log", 0, 100_000, OnExists::Replace).unwrap()];
    })
}

fn basic(user: &str, password: &str) -> String {
    format!("Authorization: Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

fn get(path: &str, password: &str) -> Vec<u8> {
    head(&format!("GET {path}"), &[&basic("ann", password)])
}

/// Returns the login that is being checked.
fn login(request: &StoreRequest) -> &Login {
    let StoreRequest::Login { login, .. } = request else { panic!("{request:?}") };
    login
}

/// Returns the nonce of the newest challenge.
fn nonce(reply: &Reply) -> String {
    let challenge = reply.field("www-authenticate");
    challenge.split("nonce=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
}

/// Makes a client's credentials for a target. The model accepts every response.
fn digest(target: &str, nonce: &str, count: u32) -> String {
    format!(
        "Authorization: Digest username=\"ann\", realm=\"Here\", nonce=\"{nonce}\", \
         uri=\"{target}\", qop=auth, nc={count:08x}, cnonce=\"c\", algorithm=MD5, \
         response=\"00000000000000000000000000000000\", opaque=\"72696e67706f7374\""
    )
}

#[test]
fn a_protected_name_is_served_for_its_password_alone_whether_it_is_there_or_not() {
    let mut bench = bench();
    for path in ["/a.txt", "/A.TXT?x=1", "/none.log"] {
        assert_eq!(bench.get(path).status, 401, "{path}");
        assert_eq!(
            bench.last().outcome,
            Outcome::Refused(Refusal::Credentials(CredentialFault::Missing))
        );
    }
    assert_eq!(bench.get("/none.txt").status, 404);
    assert_eq!(bench.get("/b.bin").status, 200);
    let right = basic("ann", "secret");
    let reply = bench.ask_with("GET /a.txt", &[&right]);
    assert_eq!((reply.status, reply.body), (200, bench.bytes_of("a.txt")));
    assert_eq!(bench.last().user.as_deref(), Some(b"ann".as_slice()));
    assert_eq!(bench.ask_with("GET /none.log", &[&right]).status, 404);
    let wrong = bench.ask_with("GET /a.txt", &[&basic("ann", "other")]);
    assert_eq!(wrong.status, 401);
    assert_eq!(
        bench.last().outcome,
        Outcome::Refused(Refusal::Credentials(CredentialFault::Wrong))
    );
    assert_eq!(bench.last().user.as_deref(), Some(b"ann".as_slice()));
    let counters = &bench.world.counters;
    assert_eq!((counters.credentials_missing.value(), counters.credentials_wrong.value()), (3, 1));
}

#[test]
fn the_strongest_way_is_offered_first_and_none_that_the_row_does_not_have() {
    let offered = |has_basic: bool, has_digest: bool, has_sha256: bool| {
        let mut bench = bench();
        bench.world.reload(|policy| {
            let row = Arc::make_mut(&mut policy.protections.0[0].requirement);
            (row.basic, row.digest, row.sha256) = (has_basic, has_digest, has_sha256);
        });
        bench.send(&head("GET /a.txt", &[]));
        let raw = String::from_utf8(bench.raw()).unwrap();
        let lines = raw.lines().filter(|line| line.starts_with("WWW-Authenticate: "));
        let kind = |line: &str| {
            let scheme = line.split(' ').nth(1).unwrap().to_owned();
            let algorithm = line.split("algorithm=").nth(1).unwrap_or_default();
            scheme + " " + algorithm.split(',').next().unwrap()
        };
        let kinds = lines.map(kind).collect::<Vec<_>>().join("; ");
        let by_basic = bench.ask_with("GET /a.txt", &[&basic("ann", "secret")]).status;
        (kinds, by_basic)
    };
    assert_eq!(offered(true, true, true), ("Digest SHA-256; Digest MD5; Basic ".into(), 200));
    assert_eq!(offered(true, true, false), ("Digest MD5; Basic ".into(), 200));
    assert_eq!(offered(true, false, true), ("Basic ".into(), 200));
    assert_eq!(offered(false, true, true), ("Digest SHA-256; Digest MD5".into(), 401));
}

#[test]
fn heads_and_ranges_come_for_a_password_as_files_do_and_no_cache_keeps_them() {
    let mut bench = bench();
    let right = basic("ann", "secret");
    let reply = bench.ask_with("HEAD /a.txt", &[&right]);
    assert_eq!((reply.status, reply.field("content-length")), (200, "700"));
    let reply = bench.ask_with("GET /a.txt", &[&right, "Range: bytes=10-19"]);
    assert_eq!((reply.status, &*reply.body), (206, &bench.bytes_of("a.txt")[10..20]));
    assert_eq!(reply.field("cache-control"), "private, no-store");
    let tag = reply.field("etag");
    let reply = bench.ask_with("GET /a.txt", &[&right, &format!("If-None-Match: {tag}")]);
    assert_eq!(reply.status, 304);
    assert_eq!(bench.ask_with("HEAD /a.txt", &[]).status, 401);
}

#[test]
fn a_body_is_not_asked_for_before_the_password_is_right() {
    let mut bench = bench();
    let fields = ["Content-Length: 5", "Expect: 100-continue"];
    bench.send(&head("PUT /x.log", &fields));
    assert_eq!(bench.one(false).status, 401);
    bench.connect(OTHER);
    let wrong = basic("ann", "other");
    bench.send(&head("PUT /x.log", &[&fields[..], &[&wrong]].concat()));
    assert_eq!(bench.one(false).status, 401);
    bench.connect("10.0.0.3:1");
    bench.answers = false;
    let right = basic("ann", "secret");
    bench.send(&head("PUT /x.log", &[&fields[..], &[&right]].concat()));
    assert_eq!(bench.raw(), b"", "it is being checked");
    bench.answer(0);
    assert_eq!(bench.raw(), b"HTTP/1.1 100 Continue\r\n\r\n");
    bench.answers = true;
    bench.send(b"bytes");
    assert!(matches!(bench.one(false).status, 201 | 204));
}

#[test]
fn a_body_that_comes_while_the_password_is_checked_is_stored_whole() {
    let mut bench = bench();
    bench.answers = false;
    let head = head("PUT /x.log", &["Content-Length: 5", &basic("ann", "secret")]);
    bench.send(&[&head, b"bytesGET /b.bin HTTP/1.1\r\nHost: x\r\n\r\n".as_slice()].concat());
    bench.answer(0);
    let StoreRequest::Store { upload, .. } = bench.first_request() else {
        panic!("{:?}", bench.first_request())
    };
    assert_eq!(upload.bytes, b"bytes");
    bench.answers = true;
    bench.run_until_idle();
    let statuses = bench.statuses();
    assert!(matches!(statuses[..], [201 | 204, 200]), "{statuses:?}");
}

#[test]
fn requests_behind_one_that_waits_wait_as_well_and_each_has_its_own_password() {
    let mut bench = bench();
    bench.answers = false;
    let all = [get("/a.txt", "secret"), get("/a.txt", "other"), get("/b.bin", "any")].concat();
    bench.send(&all);
    assert_eq!(bench.raw(), b"");
    assert!(bench.world.store_requests.len() == 1 && login(bench.first_request()).name == b"ann");
    bench.answers = true;
    bench.run_until_idle();
    assert_eq!(bench.statuses(), [200, 401, 200]);
}

#[test]
fn a_phone_that_leaves_while_its_password_is_checked_leaves_nothing_behind() {
    let mut bench = bench();
    bench.answers = false;
    bench.send(&get("/a.txt", "secret"));
    let id = bench.id;
    bench.world.turn(|engine, turn| engine.handle_gone(id, turn));
    bench.world.turn(|engine, turn| engine.handle_closed(id, turn));
    bench.world.wires.remove(&id);
    let request = bench.world.store_requests.remove(0);
    let answer = crate::requests::StoreReply::Login { ticket: request.ticket(), result: Ok(0) };
    bench.world.turn(|engine, turn| engine.handle_store_reply(answer, turn));
    assert!(bench.world.store_requests.is_empty());
    assert_eq!(bench.world.engine.requests_open(), 0);
}

#[test]
fn a_row_that_changes_while_a_password_is_checked_asks_anew() {
    let mut bench = bench();
    bench.answers = false;
    bench.send(&get("/a.txt", "secret"));
    bench.world.reload(|policy| policy.protections.0[0] = row("a.txt", "/other"));
    bench.answer(0);
    assert_eq!(login(bench.first_request()).users, [std::path::PathBuf::from("/other")]);
    bench.answer(0);
    bench.answers = true;
    bench.run_until_idle();
    assert_eq!(bench.statuses(), [200]);
    // Another row before it changes nothing.
    bench.answers = false;
    bench.send(&get("/a.txt", "secret"));
    bench.world.reload(|policy| policy.protections.0.insert(0, row("b", "/b")));
    bench.answers = true;
    bench.run_until_idle();
    assert_eq!(bench.statuses(), [200]);
}

#[test]
fn who_guesses_waits_and_who_cannot_be_checked_comes_again() {
    let mut bench = bench();
    bench.answers = false;
    for (fault, status, refusal) in
        [(2, 429, Refusal::SlowedDown), (3, 503, Refusal::Credentials(CredentialFault::Unchecked))]
    {
        bench.send(&get("/a.txt", "secret"));
        bench.answer(fault);
        let reply = bench.one(false);
        assert_eq!(reply.status, status);
        assert!(!reply.field("retry-after").is_empty());
        assert_eq!(bench.last().outcome, Outcome::Refused(refusal));
    }
    // A full queue is reported at once.
    bench.send(&get("/a.txt", "secret"));
    let request = bench.world.store_requests.remove(0);
    bench.world.turn(|engine, turn| engine.handle_refused(request, turn));
    bench.world.run_until_idle();
    assert_eq!(bench.one(false).status, 503);
}

#[test]
fn a_right_password_of_another_user_is_not_one_that_the_row_asks_for() {
    let mut bench = bench();
    bench.world.reload(|policy| {
        let row = Arc::make_mut(&mut policy.protections.0[0].requirement);
        row.allowed = vec!["bob".into()];
    });
    assert_eq!(bench.ask_with("GET /a.txt", &[&basic("ann", "secret")]).status, 401);
    assert_eq!(
        bench.last().outcome,
        Outcome::Refused(Refusal::Credentials(CredentialFault::UserNotAllowed))
    );
    assert_eq!(bench.ask_with("GET /a.txt", &[&basic("bob", "secret")]).status, 200);
}

#[test]
fn a_digest_is_good_for_its_own_target_and_once() {
    let mut bench = bench();
    let nonce = nonce(&bench.get("/a.txt?mac=1"));
    let target = "/a.txt?mac=1";
    let request =
        |bench: &mut Bench, field: &str| bench.ask_with(&format!("GET {target}"), &[field]).status;
    assert_eq!(request(&mut bench, &digest("/a.txt", &nonce, 1)), 400, "without the query");
    assert_eq!(request(&mut bench, &digest("/b.bin?mac=1", &nonce, 1)), 400);
    assert_eq!(request(&mut bench, &digest(target, &nonce, 1)), 200);
    let again = bench.ask_with(&format!("GET {target}"), &[&digest(target, &nonce, 1)]);
    assert_eq!(again.status, 401);
    assert!(again.field("www-authenticate").ends_with("stale=true"), "it was used");
    assert_eq!(
        bench.last().outcome,
        Outcome::Refused(Refusal::Credentials(CredentialFault::Stale))
    );
    assert_eq!(request(&mut bench, &digest(target, &nonce, 2)), 200);
    assert_eq!(request(&mut bench, &digest("http://server/a.txt?mac=1", &nonce, 3)), 200);
}

#[test]
fn a_digest_is_checked_for_the_method_that_it_came_with() {
    let mut bench = bench();
    let nonce = nonce(&bench.get("/a.txt"));
    bench.answers = false;
    for (count, method) in [(1, "GET"), (2, "HEAD"), (3, "DELETE")] {
        let request = format!("{method} /a.txt");
        if method == "DELETE" {
            continue;
        }
        bench.send(&head(&request, &[&digest("/a.txt", &nonce, count)]));
        let LoginSecret::Digest(_, shown) = &login(bench.first_request()).secret else { panic!() };
        assert_eq!(*shown, method.as_bytes());
        bench.answers = true;
        bench.run_until_idle();
        bench.one(method == "HEAD");
        bench.answers = false;
    }
}

#[test]
fn a_nonce_of_another_client_or_of_long_ago_is_stale_and_a_forged_one_too() {
    let mut bench = bench();
    let nonce = nonce(&bench.get("/a.txt"));
    let stale = |bench: &mut Bench, nonce: &str| {
        let reply = bench.ask_with("GET /a.txt", &[&digest("/a.txt", nonce, 1)]);
        assert_eq!(reply.status, 401);
        reply.field("www-authenticate").ends_with("stale=true")
    };
    assert!(stale(bench.connect(OTHER), &nonce));
    assert!(stale(bench.connect(PHONE), &nonce.replace('0', "1")));
    assert!(stale(bench.connect(PHONE), "anything"));
    bench.world.now = bench.world.now + NONCE_LIFE;
    assert!(stale(bench.connect(PHONE), &nonce));
    // Another realm is no fault that a new nonce would mend.
    let fresh = self::nonce(&bench.connect(PHONE).get("/a.txt"));
    let other = digest("/a.txt", &fresh, 1).replace("Here", "There");
    let reply = bench.ask_with("GET /a.txt", &[&other]);
    assert_eq!(reply.status, 401);
    assert!(!reply.field("www-authenticate").contains("stale"));
}

#[test]
fn credentials_that_cannot_be_read_are_answered_with_a_challenge() {
    let mut bench = bench();
    for value in ["Basic !", "Digest username", "Digest x=y", "Bearer x", "Negotiate abc="] {
        let reply = bench.ask_with("GET /a.txt", &[&format!("Authorization: {value}")]);
        assert_eq!(reply.status, 401, "{value}");
        assert_eq!(
            bench.last().outcome,
            Outcome::Refused(Refusal::Credentials(CredentialFault::Unusable))
        );
    }
}

#[test]
fn a_row_for_a_network_asks_ipv4_phones_at_an_ipv6_socket_and_nobody_else() {
    let mut bench = bench();
    bench.world.reload(|policy| {
        policy.protections.0[0].from = vec!["10.0.0.0/24".parse().unwrap()];
    });
    assert_eq!(bench.get("/a.txt").status, 401);
    assert_eq!(bench.connect("[::ffff:10.0.0.9]:1").get("/a.txt").status, 401);
    let right = basic("ann", "secret");
    assert_eq!(bench.ask_with("GET /a.txt", &[&right]).status, 200);
    assert_eq!(bench.connect(OTHER).get("/a.txt").status, 200);
}

#[test]
fn a_protected_root_is_asked_for_whatever_the_name_and_its_uploads_too() {
    let mut bench = Bench::with(|policy| {
        let mut rows = Protection::of_roots(vec![RootId(0)]);
        (rows.requirement, rows.directories) = (row("x", "/one").requirement, vec![0]);
        policy.protections.0 = vec![rows];
        policy.uploads.0 = vec![Rule::new("*.log", 0, 100_000, OnExists::Replace).unwrap()];
    });
    assert_eq!(bench.get("/b.bin").status, 401);
    assert_eq!(bench.get("/none").status, 404);
    assert_eq!(bench.ask_with("GET /b.bin", &[&basic("ann", "secret")]).status, 200);
    assert_eq!(bench.put("/x.log", b"").status, 401);
}

#[test]
fn a_users_data_is_covered_unless_the_vault_asks_for_secrets_itself() {
    let item = "/2233_96xxdata.txt";
    let with = |auth: Auth| {
        Bench::with(|policy| {
            policy.protections.0 = vec![row("*_96xxdata.txt", "/one")];
            Arc::make_mut(policy.http.vault.as_mut().unwrap()).auth = auth;
        })
    };
    let mut open = with(Auth::Open);
    let (right, length) = (basic("ann", "secret"), "Content-Length: 1");
    assert_eq!(open.get(item).status, 401);
    assert_eq!(open.ask(&format!("DELETE {item}")).status, 401);
    assert_eq!(open.ask_with(&format!("GET {item}"), &[&right]).status, 404);
    open.send(&[head(&format!("PUT {item}"), &[&right, length]), b"x".to_vec()].concat());
    assert_eq!(open.one(false).status, 201);
    let mut pinned = with(Auth::Pinned);
    pinned.answers = false;
    pinned.send(&head(&format!("GET {item}"), &[&right]));
    assert!(
        matches!(pinned.first_request(), StoreRequest::Vault { .. }),
        "{:?}",
        pinned.first_request()
    );
    // The vault's own secret does not open a file of the roots.
    let mut file = with(Auth::Pinned);
    assert_eq!(file.ask_with("GET /3_96xxdata.txt", &[&right]).status, 404);
}

#[test]
fn a_client_off_the_access_list_is_not_given_a_protected_override_file() {
    let stranger = "11.0.0.1:7000";
    let mut bench = bench();
    bench.world.reload(|policy| {
        let list = List::new([Range::parse("10").unwrap()]);
        let list = NamedList { name: "list".into(), list };
        policy.access.limit(Protocol::Http, Arc::new(list));
    });
    assert_eq!(bench.connect(stranger).get("/46xxsettings.txt").status, 200);
    bench.world.reload(|policy| policy.protections.0.push(row("fxd_settings.txt", "/one")));
    assert_eq!(bench.connect(stranger).get("/46xxsettings.txt").status, 403);
}
