//! The same bytes in other pieces: the responses must not depend on how the network splits the
//! bytes.

use super::World;
use super::operations::policy;
use crate::session::Outcome;
use crate::session::model::compare_cuts;
use crate::settings::http::StreamLimits;

const FILES: &[(&str, u64)] = &[("a", 700), ("empty", 0), ("firmware", 70_000)];

/// The replies to some bytes, and the logged requests.
type Received = (Vec<u8>, Vec<(Option<u16>, Outcome)>);

/// Gives bytes to a connection in one piece, one by one, and in pieces of all sizes, and compares
/// the replies. Unit tests and the fuzz target both call it.
///
/// # Panics
/// If a split makes a difference.
#[doc(hidden)]
pub fn check_cuts(bytes: &[u8]) {
    compare_cuts(bytes, |pieces| describe(&replies(bytes, pieces)));
}

/// Formats the result, to show a difference.
fn describe((replies, outcomes): &Received) -> String {
    format!("{outcomes:?}\n{}", replies.escape_ascii())
}

fn replies(bytes: &[u8], pieces: &mut dyn Iterator<Item = usize>) -> Received {
    let mut policy = policy();
    policy.http.limits = StreamLimits {
        head_bytes_max: 2_000,
        head_lines_max: 16,
        body_memory_bytes_max: 3_000,
        lone_lf: bytes.len() % 2 == 1,
        ..StreamLimits::default()
    };
    let mut world = World::new(policy);
    world.publish(FILES.iter().copied());
    let Some(id) = world.connect(([10, 0, 0, 1], 1_000).into(), false) else {
        return Received::default();
    };
    let mut rest = bytes;
    while !rest.is_empty() {
        let count = pieces.next().unwrap_or(usize::MAX).min(rest.len());
        let (piece, behind) = rest.split_at(count);
        world.send(id, piece);
        reply_all(&mut world);
        rest = behind;
    }
    world.end(id);
    reply_all(&mut world);
    world.check();
    world.run_out();
    let outcomes = world.records.iter().map(|record| (record.status, record.outcome)).collect();
    let out = world.past.pop().map(|(_, wire)| wire.out);
    (out.unwrap_or_default(), outcomes)
}

fn reply_all(world: &mut World) {
    while !world.store_requests.is_empty() {
        let request = world.store_requests.remove(0);
        world.answer(request, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cut_makes_a_difference() {
        for bytes in [
            b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n".as_slice(),
            b"HEAD /firmware HTTP/1.1\r\nHost: x\r\n\r\nGET /firmware HTTP/1.0\r\n\r\n",
            b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /none HTTP/1.1\r\nHost: x\r\n\r\nGET /emp",
            b"PUT /1_96xxdata.txt HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello\
              GET /1_96xxdata.txt HTTP/1.1\r\nHost: x\r\n\r\n",
            b"PUT /1_96xxdata.txt HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\
              Expect: 100-continue\r\n\r\n5\r\nhello\r\n0\r\n\r\n\
              GET /a HTTP/1.1\r\nHost: x\r\n\r\n",
            b"PUT /1_96xxdata.txt HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n\
              5\r\nhel",
            b"PUT /a.log HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\nhello",
            b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhelloGET /a HTTP/1.0\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"GET /a\r\nHost: x\r\n\r\n",
            b"GET /a HTTP/1.1\nHost: x\n\n",
            b"Ghttp://x/a 1.0-\xba\xe8\0\n\nGET /a HTTP/1.0\r\n\r\n",
            b"\x80\n\x01\x03\x00\x00\x00",
            b"GET\r\n\r\n",
            b"\n\n",
        ] {
            check_cuts(bytes);
            check_cuts(&[bytes, b"\r"].concat());
            check_cuts(&[bytes, b"\r\n"].concat());
        }
    }
}
