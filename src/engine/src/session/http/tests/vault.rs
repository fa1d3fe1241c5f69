//! Users' data that phones store: who may read and write it, under which names, and how it is
//! served.

use std::path::PathBuf;
use std::sync::Arc;

use super::*;
use crate::catalog::OpenError;
use crate::session::{Failure, Refusal};
use crate::vault::request::{Auth, REALM, VaultOp, VaultPolicy, VaultRequest};

const ITEM: &str = "/2233_96xxdata.txt";

fn with_auth(auth: Auth) -> Bench {
    Bench::with(|policy| change(policy, |vault| vault.auth = auth))
}

fn change(policy: &mut Policy, change: impl FnOnce(&mut VaultPolicy)) {
    change(Arc::make_mut(policy.http.vault.as_mut().unwrap()));
}

/// Returns the request to the vault.
fn request(bench: &Bench) -> &VaultRequest {
    let StoreRequest::Vault { request, .. } = bench.first_request() else {
        panic!("{:?}", bench.first_request())
    };
    request
}

#[test]
fn a_user_finds_the_data_again_on_any_phone() {
    let mut bench = Bench::new();
    assert_eq!(bench.get(ITEM).status, 404);
    assert_eq!(bench.put(ITEM, b"SET NAME x\r\n").status, 201);
    bench.connect(OTHER);
    let reply = bench.get("/2233_96XXdata.txt");
    assert_eq!((reply.status, &*reply.body), (200, b"SET NAME x\r\n".as_slice()));
    assert_eq!(reply.field("content-type"), "text/plain");
    assert_eq!(bench.ask(&format!("DELETE {ITEM}")).status, 204);
    assert_eq!(bench.get(ITEM).status, 404);
    assert_eq!(bench.ask(&format!("DELETE {ITEM}")).status, 404);
}

#[test]
fn it_is_reached_beneath_its_prefixes_alone() {
    let mut bench = Bench::new();
    assert_eq!(bench.put("/backup/1_96xxdata.txt", b"x").status, 201);
    assert_eq!(bench.get("/Backup\\1_96xxdata.txt").body, b"x");
    assert_eq!(bench.get("/1_96xxdata.txt").body, b"x", "the same item under both");
    assert_eq!(bench.get("/other/1_96xxdata.txt").status, 404);
    assert_eq!(bench.put("/other/1_96xxdata.txt", b"x").status, 403);
    bench.connect(PHONE);
    assert_eq!(bench.ask("DELETE /other/1_96xxdata.txt").status, 405);
}

#[test]
fn it_is_reached_at_the_listeners_that_have_it_alone() {
    let mut bench = Bench::with(|policy| policy.http.listeners[0].vault = false);
    assert_eq!(bench.get(ITEM).status, 404);
    assert_eq!(bench.get("/3_96xxdata.txt").body.len(), 33, "a file is a file");
    assert_eq!(bench.put(ITEM, b"x").status, 403);
    bench.connect(PHONE);
    assert_eq!(bench.ask(&format!("DELETE {ITEM}")).status, 405);
    bench.id = bench.world.connect(PHONE.parse().unwrap(), true).unwrap();
    bench.heard = 0;
    assert_eq!(bench.put(ITEM, b"x").status, 201);
}

#[test]
fn a_user_without_data_of_his_own_gets_what_the_administrator_has_put_there() {
    let mut bench = Bench::new();
    let theirs = bench.get("/3_96xxdata.txt");
    assert_eq!((theirs.status, theirs.body.len()), (200, 33));
    assert_eq!(bench.ask("HEAD /3_96xxdata.txt").length(), 33);
    let none_match = format!("If-None-Match: {}", theirs.field("etag"));
    for request in ["GET /3_96xxdata.txt", "HEAD /3_96xxdata.txt"] {
        assert_eq!(bench.ask_with(request, &[&none_match]).status, 304);
        assert_eq!(bench.ask_with(request, &["If-Match: \"other\""]).status, 412);
    }
    let part = bench.ask_with("GET /3_96xxdata.txt", &["Range: bytes=30-"]);
    assert_eq!((part.status, &part.body[..]), (206, &theirs.body[30..]));
    bench.put("/3_96xxdata.txt", b"own");
    assert_eq!(bench.get("/3_96xxdata.txt").body, b"own");
}

#[test]
fn conditions_and_ranges_hold_for_the_newest_version() {
    let mut bench = Bench::new();
    bench.put(ITEM, b"0123456789");
    let tag = bench.get(ITEM).field("etag").to_owned();
    let none_match = format!("If-None-Match: {tag}");
    let get = format!("GET {ITEM}");
    assert_eq!(bench.ask_with(&get, &[&none_match]).status, 304);
    let part = bench.ask_with(&get, &["Range: bytes=2-4"]);
    assert_eq!((part.status, &*part.body), (206, b"234".as_slice()));
    assert_eq!(bench.ask_with(&get, &["Range: bytes=10-"]).status, 416);
    assert_eq!(bench.ask_with(&get, &["If-Match: \"x\""]).status, 412);
    let of_head = bench.ask(&format!("HEAD {ITEM}"));
    assert_eq!((of_head.status, of_head.length(), of_head.body.len()), (200, 10, 0));
    assert_eq!(bench.ask_with(&format!("HEAD {ITEM}"), &[&none_match]).status, 304);
    bench.put(ITEM, b"another");
    assert_eq!(bench.ask_with(&get, &[&none_match]).status, 200);
}

#[test]
fn where_nobody_is_known_nothing_has_to_be_shown() {
    let mut bench = Bench::new();
    bench.answers = false;
    bench.send(&head(&format!("GET {ITEM}"), &[]));
    let request = request(&bench);
    assert_eq!(
        (request.item.to_string(), request.credentials.basic.clone()),
        (ITEM[1..].to_owned(), None)
    );
    assert_eq!(request.client, PHONE.parse::<std::net::SocketAddr>().unwrap().ip());
    assert!(matches!(request.op, VaultOp::Fetch));
}

#[test]
fn whoever_shows_nothing_where_something_must_be_shown_is_challenged_before_the_body_comes() {
    for auth in [Auth::Users(PathBuf::new()), Auth::Pinned] {
        let mut bench = with_auth(auth);
        bench.answers = false;
        for request in [format!("GET {ITEM}"), format!("HEAD {ITEM}"), format!("DELETE {ITEM}")] {
            let reply = bench.ask(&request);
            let challenge = format!("Basic realm=\"{REALM}\"");
            assert_eq!((reply.status, reply.field("www-authenticate")), (401, &*challenge));
            assert!(bench.is_open() && bench.world.store_requests.is_empty());
        }
        let fields = ["Content-Length: 5", "Expect: 100-continue"];
        bench.send(&head(&format!("PUT {ITEM}"), &fields));
        assert_eq!(bench.one(false).status, 401);
        assert_eq!(bench.last().outcome, Outcome::Refused(Refusal::Unauthorized));
    }
}

#[test]
fn what_is_shown_reaches_the_vault() {
    let mut bench = with_auth(Auth::Pinned);
    bench.answers = false;
    // user:pass:word
    let field = "Authorization: basic dXNlcjpwYXNzOndvcmQ=";
    bench.send(&head(&format!("GET {ITEM}"), &[field]));
    let basic = Some((b"user".to_vec(), b"pass:word".to_vec()));
    assert_eq!(request(&bench).credentials.basic, basic);
    bench.answer(2);
    assert_eq!(bench.one(false).status, 401);
    for unreadable in ["Basic !", "Digest username=\"x\"", "Basic", "Bearer dXNlcjpwYXNz"] {
        let field = format!("Authorization: {unreadable}");
        bench.send(&head(&format!("GET {ITEM}"), &[&field]));
        assert_eq!(bench.one(false).status, 401, "{unreadable}");
        assert!(bench.world.store_requests.is_empty());
    }
}

#[test]
fn a_phone_with_a_wrong_secret_is_refused_before_its_body_is_invited() {
    let field = "Authorization: basic dXNlcjpwYXNzOndvcmQ=";
    let fields = ["Content-Length: 5", "Expect: 100-continue", field];
    let asking = || {
        let mut bench = with_auth(Auth::Pinned);
        bench.answers = false;
        bench.send(&head(&format!("PUT {ITEM}"), &fields));
        assert!(matches!(request(&bench).op, VaultOp::Check));
        assert_eq!(bench.raw(), b"", "not before the answer");
        bench
    };
    for (fault, status) in [(2, 401), (3, 429), (8, 503)] {
        let mut bench = asking();
        bench.answer(fault);
        assert_eq!(bench.one(false).status, status);
    }
    let mut bench = asking();
    bench.answer(0);
    assert_eq!(bench.raw(), b"HTTP/1.1 100 Continue\r\n\r\n");
    bench.send(b"hello");
    assert!(matches!(&request(&bench).op, VaultOp::Keep { bytes, .. } if bytes == b"hello"));
    bench.answer(0);
    assert_eq!(bench.statuses(), [201]);
    // One that does not wait for leave is not made to.
    let mut bench = with_auth(Auth::Pinned);
    bench.answers = false;
    bench.send(&head(&format!("PUT {ITEM}"), &["Content-Length: 5", field]));
    bench.send(b"hello");
    assert!(matches!(request(&bench).op, VaultOp::Keep { .. }));
}

#[test]
fn the_password_of_a_client_that_has_left_is_not_wanted_and_one_that_only_ends_its_side_is() {
    let field = "Authorization: basic dXNlcjpwYXNzOndvcmQ=";
    let mut bench = with_auth(Auth::Pinned);
    bench.answers = false;
    bench.send(&head(&format!("GET {ITEM}"), &[field]));
    let check = request(&bench).check.clone();
    let id = bench.id;
    bench.world.turn(|engine, turn| engine.handle_hangup(id, turn));
    assert!(check.is_doubtful() && !check.is_cancelled());
    bench.world.turn(|engine, turn| engine.handle_gone(id, turn));
    assert!(check.is_cancelled());
}

#[test]
fn a_certificate_counts_where_certificates_do() {
    let mut bench = with_auth(Auth::Certificate);
    let reply = bench.get(ITEM);
    assert_eq!((reply.status, reply.field("www-authenticate")), (403, ""));
    assert_eq!(bench.outcomes(), [Outcome::Refused(Refusal::CertificateNeeded)]);
    bench.secured(true);
    assert_eq!(bench.put(ITEM, b"x").status, 201);
    assert_eq!(bench.connect(OTHER).get(ITEM).status, 403, "it is this connection's alone");
}

#[test]
fn what_the_vault_refuses_says_why() {
    for (fault, status, outcome) in [
        (1, 404, Outcome::Refused(Refusal::NoSuchFile)),
        (2, 401, Outcome::Refused(Refusal::Unauthorized)),
        (3, 429, Outcome::Refused(Refusal::SlowedDown)),
        (4, 412, Outcome::Refused(Refusal::PreconditionFailed)),
        (5, 507, Outcome::Failed(Failure::Store(crate::catalog::StoreError::Full))),
        (6, 500, Outcome::Failed(Failure::Store(crate::catalog::StoreError::Io))),
        (7, 503, Outcome::Failed(Failure::Store(crate::catalog::StoreError::Busy))),
        (8, 503, Outcome::Failed(Failure::Store(crate::catalog::StoreError::Unavailable))),
    ] {
        for method in ["GET", "HEAD", "DELETE", "PUT"] {
            let mut bench = Bench::new();
            bench.answers = false;
            let fields: &[&str] = if method == "PUT" { &["Content-Length: 0"] } else { &[] };
            bench.send(&head(&format!("{method} {ITEM}"), fields));
            bench.answer(fault);
            let reply = bench.one(method == "HEAD");
            // What the disk refuses to read may be there a moment later.
            let (status, outcome) = match (fault, method) {
                (6, "GET" | "HEAD") => (503, Outcome::Failed(Failure::Open(OpenError::Io))),
                (_, _) => (status, outcome),
            };
            assert_eq!(reply.status, status, "{method}");
            assert_eq!(bench.last().outcome, outcome);
            let retry_after = if status == 429 { "3" } else { "1" };
            if matches!(status, 429 | 503) {
                assert_eq!(reply.field("retry-after"), retry_after);
            }
            assert!(bench.is_open());
        }
    }
}

#[test]
fn a_vault_that_a_reload_takes_away_is_no_reason_to_wait_for_ever() {
    let gone = |bench: &mut Bench| bench.world.reload(|policy| policy.http.vault = None);
    // While a body is received.
    let mut bench = Bench::new();
    bench.send(&head(&format!("PUT {ITEM}"), &["Content-Length: 5"]));
    gone(&mut bench);
    bench.send(b"hello");
    assert_eq!(bench.statuses(), [405]);
    // While waiting for a session slot.
    for method in ["GET", "DELETE"] {
        let mut bench = Bench::with(one_kept_place);
        bench.get("/a.txt");
        bench.connect(OTHER).send(&head(&format!("{method} {ITEM}"), &[]));
        assert_eq!(bench.world.admission.slots.waiting(), 1);
        gone(&mut bench);
        bench.world.reload(|policy| policy.slots.clients_max = 0);
        bench.wait(10);
        assert!(matches!(bench.statuses()[..], [404 | 405]), "{method}");
    }
}

#[test]
fn a_request_that_waits_is_read_by_the_limits_that_it_came_under() {
    let mut bench = Bench::new();
    bench.put(ITEM, b"0123456789");
    bench.answers = false;
    let fields: Vec<String> = (0..20).map(|number| format!("X-{number}: y")).collect();
    let fields: Vec<&str> = fields.iter().map(String::as_str).chain(["Range: bytes=3-4"]).collect();
    bench.send(&head(&format!("GET {ITEM}"), &fields));
    bench.world.reload(|policy| policy.http.limits.head_lines_max = 8);
    bench.answer(0);
    let reply = bench.one(false);
    assert_eq!((reply.status, &reply.body[..]), (206, &b"34"[..]));
}
