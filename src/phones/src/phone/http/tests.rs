//! A phone against responses that a test writes.

use super::*;

const T0: Instant = Instant::START;
const _: () = assert!(size_of::<Phone>() <= 768, "ten thousand phones must stay cheap");

fn client() -> Client {
    Client::new("s")
}

fn phone_of(client: Client, steps: Vec<PlanStep>) -> Phone {
    let plan = Plan {
        client: Arc::new(client),
        secret: None,
        steps,
        pause: Duration::ZERO,
        stays: Duration::ZERO,
    };
    start(plan)
}

fn start(plan: Plan) -> Phone {
    let mut phone = Phone::new(Arc::new(plan), T0);
    phone.handle_timeout(T0);
    assert_eq!(phone.poll_connection_op(), Some(ConnectionOp::Connect));
    phone.handle_connected(T0);
    phone
}

/// Takes everything that waits to be sent, as one text.
fn asked(phone: &mut Phone, now: Instant) -> String {
    let [head, body] = phone.poll_transmit();
    let all = [head, body].concat();
    phone.handle_sent(all.len(), now);
    String::from_utf8(all).unwrap()
}

/// Gives the phone a response in pieces of `cut` bytes and returns what it read.
fn answer(phone: &mut Phone, text: &[u8], cut: usize, now: Instant) -> Vec<u8> {
    let mut read = Vec::new();
    for part in text.chunks(cut) {
        let mut rest = part;
        while !rest.is_empty() {
            let (used, piece) = phone.handle_bytes(rest, now);
            assert!(used > 0 && used <= rest.len());
            if let Some(piece) = piece {
                assert_eq!(piece.offset, read.len() as u64);
                read.extend_from_slice(piece.bytes);
            }
            rest = &rest[used..];
        }
    }
    read
}

fn with(action: Action, presence: Presence) -> PlanStep {
    PlanStep { action, presence, ..PlanStep::fetch("/a") }
}

#[test]
fn files_come_one_after_the_other_over_one_connection_however_the_answers_are_cut() {
    let plain = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    let chunked =
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                    2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n";
    for cut in 1..60 {
        let mut phone = phone_of(client(), vec![PlanStep::fetch("/a"), PlanStep::fetch("/b")]);
        for (path, text) in [("GET /a HTTP/1.1\r\n", &plain[..]), ("GET /b ", &chunked[..])] {
            assert!(asked(&mut phone, T0).starts_with(path), "{cut}");
            assert_eq!(answer(&mut phone, text, cut, T0), b"hello", "{cut}");
            let result = phone.poll_result().unwrap();
            assert!(result.is_good && result.tally.bytes == 5 && result.status == 200);
        }
        assert!(phone.has_booted_or_failed() && !phone.is_lost());
        assert_eq!(phone.poll_connection_op(), Some(ConnectionOp::Close));
        assert!(phone.is_over() && phone.poll_connection_op().is_none());
    }
}

#[test]
fn an_answer_without_a_length_ends_with_its_connection() {
    let mut phone = phone_of(client(), vec![PlanStep::fetch("/a"), PlanStep::fetch("/b")]);
    answer(&mut phone, b"HTTP/1.1 200 OK\r\n\r\nhello", 99, T0);
    assert!(phone.poll_result().is_none());
    phone.handle_lost(Loss::Closed, T0);
    assert!(phone.poll_result().is_some_and(|result| result.is_good));
    assert_eq!(phone.poll_connection_op(), Some(ConnectionOp::Connect));
}

#[test]
fn an_answer_cut_short_by_a_close_or_a_reset_is_no_file() {
    for loss in [Loss::Closed, Loss::Reset] {
        let mut phone = phone_of(client(), vec![PlanStep::fetch("/a")]);
        answer(&mut phone, b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello", 99, T0);
        phone.handle_lost(loss, T0);
        let result = phone.poll_result().unwrap();
        assert_eq!((result.ending, result.is_good), (Ending::Lost(loss), false));
        assert_eq!(result.tally.resets, u32::from(loss == Loss::Reset));
        assert!(phone.is_lost() && phone.is_over());
    }
}

#[test]
fn a_kept_connection_that_was_closed_meanwhile_is_opened_again_and_a_fresh_one_is_not() {
    let mut phone = phone_of(client(), vec![PlanStep::fetch("/a"), PlanStep::fetch("/b")]);
    asked(&mut phone, T0);
    answer(&mut phone, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 99, T0);
    phone.poll_result();
    phone.handle_lost(Loss::Closed, T0);
    assert_eq!(phone.poll_connection_op(), Some(ConnectionOp::Connect));
    phone.handle_connected(T0);
    assert!(asked(&mut phone, T0).starts_with("GET /b "));
    phone.handle_lost(Loss::Closed, T0);
    let result = phone.poll_result().unwrap();
    assert_eq!((result.tally.reopened, result.is_good), (1, false));
}

#[test]
fn connection_close_is_obeyed_on_both_sides() {
    let mut phone = phone_of(client(), vec![PlanStep::fetch("/a"), PlanStep::fetch("/b")]);
    answer(
        &mut phone,
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        99,
        T0,
    );
    assert_eq!(
        (phone.poll_connection_op(), phone.poll_connection_op()),
        (Some(ConnectionOp::Close), Some(ConnectionOp::Connect))
    );
    let mut phone = phone_of(
        Client { closes: true, ..client() },
        vec![PlanStep::fetch("/a"), PlanStep::fetch("/b")],
    );
    assert!(asked(&mut phone, T0).contains("\r\nConnection: close\r\n"));
    answer(&mut phone, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 99, T0);
    assert_eq!(
        (phone.poll_connection_op(), phone.poll_connection_op()),
        (Some(ConnectionOp::Close), Some(ConnectionOp::Connect))
    );
}

#[test]
fn a_missing_file_ends_the_boot_unless_it_may_or_must_be_missing() {
    let missing = b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope";
    let there = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhere";
    let rows = [
        (Presence::Must, &missing[..], Ending::Refused(404), false),
        (Presence::May, &missing[..], Ending::Refused(404), true),
        (Presence::MustNot, &missing[..], Ending::Refused(404), true),
        (Presence::May, &there[..], Ending::Done, true),
        (Presence::MustNot, &there[..], Ending::Fault(ServerFault::Present), false),
    ];
    for (presence, text, ending, is_good) in rows {
        let mut phone = phone_of(client(), vec![with(Action::Fetch, presence)]);
        let read = answer(&mut phone, text, 7, T0);
        assert_eq!(read.is_empty(), text == missing, "the body of a 404 is no file");
        let result = phone.poll_result().unwrap();
        assert_eq!((result.ending, result.is_good), (ending, is_good), "{presence:?}");
    }
}

#[test]
fn a_phone_told_to_come_back_later_does_so_as_often_as_it_is_patient() {
    let busy = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 3\r\nContent-Length: 0\r\n\r\n";
    let mut phone = phone_of(Client { waits: 1, ..client() }, vec![PlanStep::fetch("/a")]);
    asked(&mut phone, T0);
    answer(&mut phone, busy, 99, T0);
    let at = phone.poll_timeout().unwrap();
    assert_eq!(at, T0 + Duration::from_secs(3));
    phone.handle_timeout(at);
    assert_eq!(phone.poll_connection_op(), None, "the connection is kept");
    assert!(asked(&mut phone, at).starts_with("GET /a "));
    answer(&mut phone, busy, 99, at);
    let result = phone.poll_result().unwrap();
    assert_eq!((result.ending, result.is_good), (Ending::Refused(503), false));
    assert_eq!((result.took, result.tally.waits), (Duration::from_secs(3), 1));
}

#[test]
fn the_header_of_firmware_is_read_and_the_connection_dropped() {
    for (asks_range, text) in [
        (true, "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-3/9\r\nContent-Length: 4"),
        (false, "HTTP/1.1 200 OK\r\nContent-Length: 9"),
        (true, "HTTP/1.1 200 OK\r\nContent-Length: 9"),
    ] {
        let step = with(Action::FetchHeader { bytes: 4, asks_range }, Presence::Must);
        let mut phone = phone_of(client(), vec![step]);
        assert_eq!(asked(&mut phone, T0).contains("\r\nRange: bytes=0-3\r\n"), asks_range);
        let body = if text.contains("206") { "abcd" } else { "abcdefghi" };
        let read = answer(&mut phone, format!("{text}\r\n\r\n{body}").as_bytes(), 99, T0);
        assert_eq!(read, b"abcd");
        assert!(phone.poll_result().is_some_and(|it| it.is_good && it.ending == Ending::Left));
        assert_eq!(phone.poll_connection_op(), Some(ConnectionOp::Close));
    }
}

#[test]
fn a_part_that_was_not_asked_for_is_a_fault() {
    let part = "HTTP/1.1 206 Partial Content\r\nContent-Length: 4\r\nContent-Range: bytes ";
    for (step, range) in [
        (PlanStep::fetch("/a"), "0-3/9"),
        (with(Action::FetchHeader { bytes: 4, asks_range: true }, Presence::Must), "1-4/9"),
        (with(Action::FetchHeader { bytes: 2, asks_range: true }, Presence::Must), "0-3/9"),
    ] {
        let mut phone = phone_of(client(), vec![step]);
        answer(&mut phone, format!("{part}{range}\r\n\r\n").as_bytes(), 999, T0);
        let ending = phone.poll_result().map(|result| result.ending);
        assert_eq!(ending, Some(Ending::Fault(ServerFault::WrongRange)), "{range}");
    }
}

#[test]
fn a_tag_is_shown_again_and_304_is_good_only_where_it_was_asked_for() {
    let first = b"HTTP/1.1 200 OK\r\nETag: \"v1\"\r\nContent-Length: 1\r\n\r\nx";
    let unchanged = b"HTTP/1.1 304 Not Modified\r\nETag: \"v1\"\r\nContent-Length: 1\r\n\r\n";
    let again = with(Action::Revalidate, Presence::Must);
    let mut phone = phone_of(client(), vec![PlanStep::fetch("/a"), again.clone()]);
    asked(&mut phone, T0);
    answer(&mut phone, first, 99, T0);
    phone.poll_result();
    assert!(asked(&mut phone, T0).contains("\r\nIf-None-Match: \"v1\"\r\n"));
    answer(&mut phone, unchanged, 99, T0);
    assert!(phone.poll_result().is_some_and(|it| it.is_good && it.ending == Ending::Unchanged));

    let mut phone = phone_of(client(), vec![PlanStep::fetch("/a")]);
    answer(&mut phone, unchanged, 99, T0);
    assert!(phone.poll_result().is_some_and(|it| !it.is_good));
}

#[test]
fn what_is_stored_follows_its_head_and_an_early_refusal_ends_the_connection() {
    let store = with(Action::Store(b"some bytes".as_slice().into()), Presence::Must);
    let mut phone = phone_of(client(), vec![store.clone(), with(Action::Remove, Presence::Must)]);
    let text = asked(&mut phone, T0);
    assert!(text.starts_with("PUT /a ") && text.ends_with("Content-Length: 10\r\n\r\nsome bytes"));
    answer(&mut phone, b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n", 99, T0);
    assert!(phone.poll_result().is_some_and(|it| it.is_good && it.status == 201));
    assert!(asked(&mut phone, T0).starts_with("DELETE /a "));
    answer(&mut phone, b"HTTP/1.1 204 No Content\r\n\r\n", 99, T0);
    assert!(phone.poll_result().is_some_and(|it| it.is_good));

    let mut phone = phone_of(client(), vec![store]);
    phone.handle_sent(20, T0);
    answer(&mut phone, b"HTTP/1.1 413 Large\r\nContent-Length: 0\r\n\r\n", 99, T0);
    assert!(phone.poll_result().is_some_and(|it| it.ending == Ending::Refused(413)));
    assert_eq!(phone.poll_connection_op(), Some(ConnectionOp::Close));
}

#[test]
fn a_secret_is_shown_at_once_or_when_it_is_asked_for() {
    let challenge = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n";
    for at_once in [true, false] {
        let plan = Plan {
            client: Arc::new(client()),
            secret: Some(Secret::basic("10.1.1.1", "1234", at_once)),
            steps: vec![PlanStep::fetch("/a")],
            pause: Duration::ZERO,
            stays: Duration::ZERO,
        };
        let mut phone = start(plan);
        let line = "\r\nAuthorization: Basic MTAuMS4xLjE6MTIzNA==\r\n";
        assert_eq!(asked(&mut phone, T0).contains(line), at_once);
        answer(&mut phone, challenge, 99, T0);
        if !at_once {
            assert!(phone.poll_result().is_none());
            assert!(asked(&mut phone, T0).contains(line));
            answer(&mut phone, challenge, 99, T0);
        }
        let ending = phone.poll_result().map(|result| result.ending);
        assert_eq!(ending, Some(Ending::Refused(401)), "a wrong one is not shown for ever");
    }
}

#[test]
fn silence_and_refused_connections_are_counted_apart_and_tried_again() {
    let client = Client { attempts: 2, timer: Duration::from_secs(5), ..client() };
    let mut phone = phone_of(client, vec![PlanStep::fetch("/a")]);
    asked(&mut phone, T0);
    let silent = phone.poll_timeout().unwrap();
    assert_eq!(silent, T0 + Duration::from_secs(5));
    phone.handle_timeout(silent);
    assert_eq!(phone.poll_connection_op(), Some(ConnectionOp::Close));
    let again = phone.poll_timeout().unwrap();
    phone.handle_timeout(again);
    assert_eq!(phone.poll_connection_op(), Some(ConnectionOp::Connect));
    phone.handle_lost(Loss::Unreachable, again);
    let result = phone.poll_result().unwrap();
    assert_eq!(result.ending, Ending::Lost(Loss::Unreachable));
    assert_eq!((result.tally.timeouts, result.tally.unreachable), (1, 1));
    assert_eq!(result.took, again - T0, "the time of both tries counts");
    assert!(phone.is_lost());
}

#[test]
fn a_server_that_breaks_rules_is_found_out() {
    let endless = [&b"HTTP/1.1 200 OK\r\nX: "[..], &[b'y'; HEAD_BYTES_MAX]].concat();
    for (text, fault) in [
        (&b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxy"[..], ServerFault::Surplus),
        (b"HTTP/1.1 304 Not\r\nContent-Length: 1\r\n\r\nx", ServerFault::Surplus),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
            ServerFault::BadHead,
        ),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n", ServerFault::BadChunk),
        (b"what?\r\n\r\n", ServerFault::BadHead),
        (&endless, ServerFault::EndlessHead),
    ] {
        let mut phone = phone_of(client(), vec![PlanStep::fetch("/a")]);
        answer(&mut phone, text, 999, T0);
        let ending = phone.poll_result().map(|result| result.ending);
        assert_eq!(ending, Some(Ending::Fault(fault)));
    }
}

#[test]
fn the_end_of_a_connection_that_the_phone_hung_up_on_is_no_loss() {
    let client = Client { closes: true, ..client() };
    let mut phone = phone_of(client, vec![PlanStep::fetch("/a"), PlanStep::fetch("/b")]);
    asked(&mut phone, T0);
    answer(&mut phone, b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", 99, T0);
    assert!(phone.poll_result().is_some_and(|result| result.is_good));
    phone.handle_lost(Loss::Closed, T0);
    assert_eq!((phone.poll_connection_op(), phone.is_lost()), (Some(ConnectionOp::Connect), false));
    phone.handle_lost(Loss::Closed, T0);
    assert!(phone.is_lost(), "the next one's end is");
}

#[test]
fn a_slow_phone_writes_or_reads_a_byte_at_a_time() {
    let second = Duration::from_secs(1);
    let slow = Client { pace: Pace::SlowToAsk(second), ..client() };
    let mut phone = phone_of(slow, vec![PlanStep::fetch("/a")]);
    let mut now = T0;
    for letter in ["G", "E", "T"] {
        phone.handle_timeout(now);
        assert_eq!(asked(&mut phone, now), letter);
        assert_eq!(asked(&mut phone, now), "");
        assert_eq!(phone.poll_timeout(), Some(now + second));
        now = now + second;
    }
    answer(&mut phone, b"HTTP/1.1 408 Timeout\r\nContent-Length: 0\r\n\r\n", 99, now);
    assert!(phone.poll_result().is_some_and(|it| it.ending == Ending::Refused(408)));

    let slow = Client { pace: Pace::SlowToStore(second), ..client() };
    let mut phone = phone_of(slow, vec![with(Action::Store(b"xy"[..].into()), Presence::Must)]);
    assert!(asked(&mut phone, T0).ends_with("\r\n\r\n"), "the head, and nothing of the body");
    for (at, letter) in [(T0, "x"), (T0 + second, "y"), (T0 + second * 2, "")] {
        phone.handle_timeout(at);
        assert_eq!(asked(&mut phone, at), letter);
        assert_eq!(asked(&mut phone, at), "");
    }

    let slow = Client { pace: Pace::SlowToRead(second), ..client() };
    let mut phone = phone_of(slow, vec![PlanStep::fetch("/a")]);
    assert!(asked(&mut phone, T0).ends_with("\r\n\r\n"));
    assert_eq!(phone.may_read(), Some(0));
    phone.handle_timeout(T0);
    assert_eq!(phone.may_read(), Some(1));
    phone.handle_read(1, T0);
    answer(&mut phone, b"H", 1, T0);
    assert_eq!((phone.may_read(), phone.poll_timeout()), (Some(0), Some(T0 + second)));
}

#[test]
fn a_phone_that_stays_holds_its_connection_and_closes_it_in_its_time() {
    let plan = Plan {
        client: Arc::new(client()),
        secret: None,
        steps: vec![PlanStep::fetch("/a")],
        pause: Duration::ZERO,
        stays: Duration::from_secs(60),
    };
    for is_closed in [false, true] {
        let mut phone = start(plan.clone());
        asked(&mut phone, T0);
        answer(&mut phone, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 99, T0);
        assert!(phone.is_staying() && phone.poll_connection_op().is_none());
        if is_closed {
            phone.handle_lost(Loss::Closed, T0);
        } else {
            phone.handle_timeout(phone.poll_timeout().unwrap());
            assert_eq!(phone.poll_connection_op(), Some(ConnectionOp::Close));
        }
        assert!(phone.is_over() && !phone.is_lost());
    }
}
