//! A phone against a server whose replies a test writes.

use super::*;
use wire::ftp::reply::Code;
use wire::time::Duration;

const T0: Instant = Instant::START;
const NAME: &str = "4620data.txt";
const PLACE: &str = "227 Entering Passive Mode (127,0,0,1,4,1)\r\n";
const _: () = assert!(size_of::<Phone>() <= 768, "ten thousand phones must stay cheap");

fn client() -> Client {
    Client::new([127, 0, 0, 1].into())
}

fn store(content: &[u8]) -> PlanStep {
    PlanStep { action: Action::Store(content.into()), ..PlanStep::fetch(NAME) }
}

fn fetch(expected: &[u8], presence: Presence) -> PlanStep {
    PlanStep { action: Action::Fetch(Some(expected.into())), presence, ..PlanStep::fetch(NAME) }
}

fn plan(client: Client, steps: Vec<PlanStep>) -> Plan {
    let (user, password) = ("anonymous".into(), "phone@".into());
    Plan { client: Arc::new(client), user, password, steps, stays: Duration::ZERO }
}

/// Makes a connected phone.
fn start(plan: Plan) -> Phone {
    let mut phone = Phone::new(Arc::new(plan), T0);
    phone.handle_timeout(T0);
    assert_eq!(phone.poll_connection_op(), Some(ConnectionOp::Connect));
    phone.handle_connected(T0);
    phone
}

/// Takes the waiting line.
fn line(phone: &mut Phone) -> String {
    let line = phone.poll_transmit().to_vec();
    phone.handle_sent(line.len(), T0);
    assert!(phone.poll_transmit().is_empty());
    String::from_utf8(line).unwrap()
}

/// Returns what the phone sends after this reply.
fn say(phone: &mut Phone, reply: &str) -> String {
    phone.handle_bytes(reply.as_bytes(), T0);
    line(phone)
}

/// Sends each reply and checks the phone's next line.
fn talk(phone: &mut Phone, rows: &[(&str, &str)]) {
    for (reply, line) in rows {
        assert_eq!(say(phone, &format!("{reply}\r\n")), format!("{line}\r\n"), "{reply}");
    }
}

fn log_in(phone: &mut Phone) {
    talk(phone, &[("220-Hello\r\n220 Ready", "USER anonymous"), ("331 Password", "PASS phone@")]);
    talk(phone, &[("230 In", "TYPE I")]);
}

/// Makes a phone in a session up to the reply to its STOR or RETR.
fn transferring(client: Client, step: PlanStep) -> Phone {
    let mut phone = start(plan(client, vec![step]));
    log_in(&mut phone);
    meet(&mut phone);
    phone
}

fn meet(phone: &mut Phone) {
    talk(phone, &[("200 Binary", "PASV")]);
    dial(phone);
}

fn dial(phone: &mut Phone) {
    assert_eq!(say(phone, PLACE), "");
    assert_eq!(
        phone.poll_connection_op(),
        Some(ConnectionOp::Dial("127.0.0.1:1025".parse().unwrap()))
    );
    phone.handle_data_opened(T0);
    let line = line(phone);
    assert!(line.ends_with(" 4620data.txt\r\n"), "{line}");
}

fn ending(phone: &mut Phone) -> Option<(Ending, bool)> {
    phone.poll_result().map(|result| (result.ending, result.is_good))
}

fn connection_ops(phone: &mut Phone) -> Vec<ConnectionOp> {
    std::iter::from_fn(|| phone.poll_connection_op()).collect()
}

#[test]
fn a_file_is_stored_once_the_server_has_said_that_it_begins() {
    let mut phone = transferring(client(), store(b"hello"));
    assert_eq!(phone.poll_data_transmit(), b"", "not before 150");
    say(&mut phone, "150 Go\r\n");
    assert_eq!(phone.poll_data_transmit(), b"hello");
    phone.handle_data_sent(2, T0);
    assert_eq!(phone.poll_data_transmit(), b"llo");
    assert_eq!(phone.poll_connection_op(), None);
    phone.handle_data_sent(3, T0);
    assert_eq!(phone.poll_connection_op(), Some(ConnectionOp::EndData));
    phone.handle_data_ended(Loss::Closed, T0);
    assert_eq!(ending(&mut phone), None, "not before 226");
    assert_eq!(say(&mut phone, "226 Kept\r\n"), "QUIT\r\n");
    let result = phone.poll_result().unwrap();
    assert_eq!((result.ending, result.is_good, result.tally.bytes_stored), (Ending::Done, true, 5));
    assert_eq!(phone.poll_connection_op(), Some(ConnectionOp::DropData));
    say(&mut phone, "221 Bye\r\n");
    assert_eq!(connection_ops(&mut phone), [ConnectionOp::HangUp]);
    assert!(phone.is_over() && !phone.is_lost());
}

#[test]
fn replies_are_read_however_they_are_cut() {
    let all = "220-a\r\n220 b\r\n230 in\r\n200 ok\r\n227 (127,0,0,1,4,1)\r\n";
    for cut in 1..all.len() {
        let mut phone = start(plan(client(), vec![store(b"")]));
        for part in all.as_bytes().chunks(cut) {
            phone.handle_bytes(part, T0);
        }
        assert_eq!(connection_ops(&mut phone).len(), 1, "{cut}");
    }
}

#[test]
fn a_file_of_nothing_is_stored_too() {
    let mut phone = transferring(client(), store(b""));
    say(&mut phone, "150 Go\r\n");
    assert_eq!(connection_ops(&mut phone), [ConnectionOp::EndData]);
    say(&mut phone, "226 Kept\r\n");
    assert_eq!(ending(&mut phone), Some((Ending::Done, true)));
}

#[test]
fn a_server_that_comes_to_the_phone_is_told_where() {
    for (meeting, place, words) in [
        (Meeting::Active, "127.0.0.7:1025", "PORT 127,0,0,7,4,1"),
        (Meeting::ExtendedActive, "127.0.0.7:1025", "EPRT |1|127.0.0.7|1025|"),
        (Meeting::Active, "[::1]:1025", "EPRT |2|::1|1025|"),
    ] {
        let client = Client { meeting, directory: b"sets"[..].into(), ..client() };
        let mut phone = start(plan(client, vec![fetch(b"hello", Presence::Must)]));
        log_in(&mut phone);
        talk(&mut phone, &[("200 Binary", "CWD sets")]);
        assert_eq!(say(&mut phone, "250 There\r\n"), "");
        assert_eq!(connection_ops(&mut phone), [ConnectionOp::Listen]);
        phone.handle_listening(place.parse().unwrap());
        assert_eq!(line(&mut phone), format!("{words}\r\n"));
        talk(&mut phone, &[("200 Port", "RETR 4620data.txt")]);
        phone.handle_data_opened(T0);
        assert!(phone.handle_data(b"hello", T0).is_some_and(|piece| piece.bytes == b"hello"));
        phone.handle_data_ended(Loss::Closed, T0);
        talk(&mut phone, &[("150 Go\r\n226 Sent", "QUIT")]);
        assert_eq!(ending(&mut phone), Some((Ending::Done, true)));
        assert_eq!(connection_ops(&mut phone), [ConnectionOp::DropData]);
    }
}

#[test]
fn with_epsv_the_server_is_where_it_was_and_a_place_that_is_none_is_a_fault() {
    let with = |meeting| Client { meeting, server: "::1".parse().unwrap(), ..client() };
    let six = |reply: &str, meeting| {
        let mut phone = start(plan(with(meeting), vec![store(b"x")]));
        log_in(&mut phone);
        say(&mut phone, "200 Binary\r\n");
        say(&mut phone, reply);
        (connection_ops(&mut phone).first().copied(), ending(&mut phone).map(|(ending, _)| ending))
    };
    let there = ConnectionOp::Dial("[::1]:6446".parse().unwrap());
    assert_eq!(six("229 Here (|||6446|)\r\n", Meeting::ExtendedPassive), (Some(there), None));
    for (reply, meeting) in [
        ("229 Here (|||0|)\r\n", Meeting::ExtendedPassive),
        ("229 Here\r\n", Meeting::ExtendedPassive),
        (PLACE, Meeting::ExtendedPassive),
        ("227 (127,0,0,1,256,1)\r\n", Meeting::Passive),
        ("227 (127,0,0,1,0,0)\r\n", Meeting::Passive),
        ("229 Here (|||6446|)\r\n", Meeting::Passive),
    ] {
        let fault = (Some(ConnectionOp::HangUp), Some(Ending::Fault(ServerFault::BadPlace)));
        assert_eq!(six(reply, meeting), fault, "{reply}");
    }
}

#[test]
fn tls_comes_before_the_name_and_protection_before_the_files() {
    let secured = [
        ("331 Password", "PASS phone@"),
        ("230 In", "PBSZ 0"),
        ("200 0", "PROT P"),
        ("200 Private", "TYPE I"),
        ("200 Binary", "PASV"),
    ];
    let explicit = Client { security: Security::Explicit, ..client() };
    let mut phone = start(plan(explicit, vec![store(b"x")]));
    talk(&mut phone, &[("220 Ready", "AUTH TLS")]);
    assert_eq!(say(&mut phone, "234 Begin\r\n331 slipped in\r\n"), "");
    assert_eq!(connection_ops(&mut phone), [ConnectionOp::Secure]);
    phone.handle_connected(T0);
    assert_eq!(line(&mut phone), "USER anonymous\r\n", "what came in clear is ignored");
    talk(&mut phone, &secured);
    assert!(phone.protects_data());

    let implicit = Client { security: Security::Implicit, ..client() };
    let mut phone = start(plan(implicit, vec![store(b"x")]));
    talk(&mut phone, &[("220 Ready", "USER anonymous")]);
    talk(&mut phone, &secured);

    let explicit = Client { security: Security::Explicit, ..client() };
    let mut phone = start(plan(explicit, vec![store(b"x")]));
    talk(&mut phone, &[("220 Ready", "AUTH TLS")]);
    talk(&mut phone, &[("502 Not here", "QUIT")]);
    assert_eq!(ending(&mut phone), Some((Ending::Refused(Code(502)), false)));
    assert!(phone.is_lost(), "a phone that wants TLS does not go on without");
}

#[test]
fn what_is_refused_for_the_moment_is_tried_again_after_a_pause() {
    for reply in ["450 Busy", "425 No connection"] {
        let mut phone = transferring(Client { waits: 1, ..client() }, store(b"x"));
        assert_eq!(say(&mut phone, &format!("{reply}\r\n")), "");
        assert_eq!(connection_ops(&mut phone), [ConnectionOp::DropData]);
        let refusal = phone.poll_refusal().unwrap();
        assert_eq!(refusal.text[..], reply.as_bytes()[4..]);
        let at = phone.poll_timeout().unwrap();
        assert_eq!(at, T0 + Duration::from_secs(1));
        phone.handle_timeout(at);
        assert_eq!(line(&mut phone), "PASV\r\n", "{reply}: over the same session");
        dial(&mut phone);
        talk(&mut phone, &[(reply, "QUIT")]);
        let result = phone.poll_result().unwrap();
        assert_eq!((result.tally.waits, result.is_good), (1, false));
        assert_eq!(result.ending, Ending::Refused(refusal.code));
        assert_eq!(result.began, T0);
    }
}

#[test]
fn after_421_the_phone_comes_back_over_a_new_connection() {
    let mut phone = start(plan(client(), vec![store(b"x")]));
    assert_eq!(say(&mut phone, "421 Too many\r\n"), "");
    assert_eq!(connection_ops(&mut phone), [ConnectionOp::HangUp]);
    phone.handle_lost(Loss::Closed, T0);
    assert_eq!(ending(&mut phone), None);
    let at = phone.poll_timeout().unwrap();
    phone.handle_timeout(at);
    assert_eq!(connection_ops(&mut phone), [ConnectionOp::Connect]);
    phone.handle_connected(at);
    log_in(&mut phone);
    meet(&mut phone);

    let mut phone = transferring(Client { waits: 0, ..client() }, store(b"x"));
    say(&mut phone, "421 Going down\r\n");
    assert_eq!(connection_ops(&mut phone), [ConnectionOp::HangUp]);
    assert_eq!(ending(&mut phone), Some((Ending::Refused(Code::CLOSING), false)));
    assert!(phone.is_over());
}

#[test]
fn a_session_that_closes_while_the_phone_waits_is_begun_anew() {
    let mut phone = transferring(client(), store(b"x"));
    say(&mut phone, "450 Busy\r\n");
    phone.handle_lost(Loss::Closed, T0);
    assert_eq!(ending(&mut phone), None);
    phone.handle_timeout(phone.poll_timeout().unwrap());
    assert_eq!(connection_ops(&mut phone), [ConnectionOp::HangUp, ConnectionOp::Connect]);
}

#[test]
fn nothing_stored_is_an_answer_and_a_refusal_where_there_must_be_one_is_right() {
    let hello = || fetch(b"hello", Presence::May);
    let with = |presence, step: PlanStep| PlanStep { presence, ..step };
    let rows = [
        (hello(), "550 Nothing", Ending::Refused(Code(550)), true),
        (hello(), "553 Not yours", Ending::Refused(Code(553)), false),
        (with(Presence::Must, hello()), "550 Nothing", Ending::Refused(Code(550)), false),
        (with(Presence::May, store(b"x")), "550 No", Ending::Refused(Code(550)), false),
        (with(Presence::MustNot, store(b"x")), "550 No", Ending::Refused(Code(550)), true),
        (with(Presence::MustNot, store(b"x")), "450 No", Ending::Refused(Code(450)), true),
    ];
    for (step, reply, expected, is_good) in rows {
        let mut phone = transferring(client(), step);
        talk(&mut phone, &[(reply, "QUIT")]);
        assert_eq!(ending(&mut phone), Some((expected, is_good)), "{reply}");
        assert_eq!(phone.is_lost(), !is_good);
    }
    let mut phone = transferring(client(), with(Presence::MustNot, store(b"")));
    talk(&mut phone, &[("150 Go\r\n226 Kept", "QUIT")]);
    assert_eq!(ending(&mut phone), Some((Ending::Fault(ServerFault::NotRefused), false)));
}

#[test]
fn a_file_is_right_when_every_byte_is_and_both_connections_say_that_it_is_over() {
    let rows: [(&[&[u8]], Ending); 5] = [
        (&[b"hel", b"lo"], Ending::Done),
        (&[b"hel", b"xo"], Ending::Fault(ServerFault::WrongBytes)),
        (&[b"hel"], Ending::Fault(ServerFault::WrongBytes)),
        (&[b"hello", b"!"], Ending::Fault(ServerFault::WrongBytes)),
        (&[], Ending::Fault(ServerFault::WrongBytes)),
    ];
    for (pieces, expected) in rows {
        for data_first in [true, false] {
            let mut phone = transferring(client(), fetch(b"hello", Presence::Must));
            say(&mut phone, "150 Go\r\n");
            let mut offset = 0;
            for bytes in pieces {
                let piece = phone.handle_data(bytes, T0).unwrap();
                assert_eq!((piece.offset, piece.bytes), (offset, *bytes));
                offset += bytes.len() as u64;
            }
            if data_first {
                phone.handle_data_ended(Loss::Closed, T0);
                say(&mut phone, "226 Sent\r\n");
            } else {
                say(&mut phone, "226 Sent\r\n");
                assert_eq!(ending(&mut phone), None, "the data may still be on its way");
                phone.handle_data_ended(Loss::Closed, T0);
            }
            assert_eq!(ending(&mut phone).map(|(ending, _)| ending), Some(expected));
        }
    }
}

#[test]
fn a_server_may_not_acknowledge_what_it_does_not_have() {
    let mut phone = transferring(client(), store(b"hello"));
    say(&mut phone, "150 Go\r\n");
    phone.handle_data_sent(4, T0);
    say(&mut phone, "226 Kept\r\n");
    assert_eq!(ending(&mut phone), Some((Ending::Fault(ServerFault::Premature), false)));

    let mut phone = transferring(client(), store(b"hello"));
    assert!(phone.handle_data(b"what?", T0).is_none());
    assert_eq!(ending(&mut phone), Some((Ending::Fault(ServerFault::Surplus), false)));
    assert_eq!(connection_ops(&mut phone), [ConnectionOp::HangUp]);
}

#[test]
fn a_data_connection_that_breaks_waits_for_the_reason_in_words() {
    let mut phone = transferring(client(), store(b"hello"));
    say(&mut phone, "150 Go\r\n");
    phone.handle_data_ended(Loss::Reset, T0);
    assert_eq!(phone.poll_data_transmit(), b"");
    assert_eq!(ending(&mut phone), None);
    talk(&mut phone, &[("552 Too large", "QUIT")]);
    assert_eq!(ending(&mut phone), Some((Ending::Refused(Code(552)), false)));

    let mut phone = transferring(client(), fetch(b"hello", Presence::Must));
    phone.handle_data_ended(Loss::Reset, T0);
    say(&mut phone, "150 Go\r\n226 Sent\r\n");
    assert_eq!(ending(&mut phone), Some((Ending::DataLost(Loss::Reset), false)));

    let mut phone = start(plan(client(), vec![store(b"x")]));
    log_in(&mut phone);
    talk(&mut phone, &[("200 Binary", "PASV")]);
    say(&mut phone, PLACE);
    phone.handle_data_ended(Loss::Unreachable, T0);
    let result = phone.poll_result().unwrap();
    assert_eq!(result.ending, Ending::DataLost(Loss::Unreachable));
    assert_eq!((result.tally.unreachable, result.tally.data_connects), (1, 1));
}

#[test]
fn silence_and_lost_connections_are_counted_apart_and_tried_again() {
    let client = Client { attempts: 2, timer: Duration::from_secs(5), ..client() };
    let mut phone = transferring(client, store(b"x"));
    let silent = phone.poll_timeout().unwrap();
    assert_eq!(silent, T0 + Duration::from_secs(5));
    phone.handle_timeout(silent);
    assert_eq!(connection_ops(&mut phone), [ConnectionOp::HangUp]);
    let again = phone.poll_timeout().unwrap();
    phone.handle_timeout(again);
    assert_eq!(connection_ops(&mut phone), [ConnectionOp::Connect]);
    phone.handle_lost(Loss::Unreachable, again);
    let result = phone.poll_result().unwrap();
    assert_eq!(result.ending, Ending::Lost(Loss::Unreachable));
    let tally = result.tally;
    assert_eq!((tally.timeouts, tally.unreachable, tally.again, tally.connects), (1, 1, 1, 2));
    assert_eq!(result.took, again - T0, "the time of both tries counts");
    assert_eq!(connection_ops(&mut phone), [ConnectionOp::HangUp]);
    assert!(phone.is_lost() && phone.is_over());
}

#[test]
fn a_phone_that_is_not_let_in_leaves() {
    let mut phone = start(plan(client(), vec![store(b"x")]));
    talk(&mut phone, &[("220 Ready", "USER anonymous"), ("331 Password", "PASS phone@")]);
    talk(&mut phone, &[("530 Not you", "QUIT")]);
    assert_eq!(ending(&mut phone), Some((Ending::Refused(Code(530)), false)));
    phone.handle_lost(Loss::Closed, T0);
    assert_eq!(connection_ops(&mut phone), [ConnectionOp::HangUp]);
    assert!(phone.is_over() && phone.is_lost());
}

#[test]
fn what_is_no_reply_or_no_answer_is_a_fault() {
    let endless = format!("220-{}", "x".repeat(REPLY_BYTES_MAX));
    for (text, fault) in [
        ("SSH-2.0-x\r\n", ServerFault::BadReply),
        (&endless, ServerFault::EndlessReply),
        ("331 Password\r\n", ServerFault::WrongReply),
        ("220 Ready\r\n150 Go\r\n", ServerFault::WrongReply),
    ] {
        let mut phone = start(plan(client(), vec![store(b"x")]));
        phone.handle_bytes(text.as_bytes(), T0);
        assert_eq!(ending(&mut phone), Some((Ending::Fault(fault), false)), "{fault:?}");
        assert_eq!(connection_ops(&mut phone), [ConnectionOp::HangUp]);
    }
}

#[test]
fn a_phone_that_stays_is_logged_in_until_its_time_or_the_servers() {
    for is_ended in [false, true] {
        let stays = Duration::from_secs(60);
        let mut phone = start(Plan { stays, ..plan(client(), Vec::new()) });
        log_in(&mut phone);
        assert_eq!(say(&mut phone, "200 Binary\r\n"), "");
        assert!(phone.is_staying());
        if is_ended {
            assert_eq!(say(&mut phone, "421 Idle\r\n"), "");
        } else {
            phone.handle_timeout(T0 + stays);
            assert_eq!(line(&mut phone), "QUIT\r\n");
            say(&mut phone, "221 Bye\r\n");
        }
        assert_eq!(connection_ops(&mut phone), [ConnectionOp::HangUp]);
        assert_eq!((phone.was_ended(), phone.is_over()), (is_ended, true));
        assert!(!phone.is_lost() && phone.poll_result().is_none());
    }
}

#[test]
fn several_files_go_over_one_session_each_with_a_data_connection_of_its_own() {
    let steps = vec![store(b"hello"), fetch(b"hello", Presence::May)];
    let mut phone = start(plan(client(), steps));
    log_in(&mut phone);
    meet(&mut phone);
    say(&mut phone, "150 Go\r\n");
    phone.handle_data_sent(5, T0);
    talk(&mut phone, &[("226 Kept", "PASV")]);
    assert_eq!(ending(&mut phone), Some((Ending::Done, true)));
    assert_eq!(connection_ops(&mut phone), [ConnectionOp::EndData, ConnectionOp::DropData]);
    dial(&mut phone);
    phone.handle_data(b"hello", T0);
    phone.handle_data_ended(Loss::Closed, T0);
    talk(&mut phone, &[("125 Here\r\n226 Sent", "QUIT")]);
    assert_eq!(ending(&mut phone), Some((Ending::Done, true)));
}
