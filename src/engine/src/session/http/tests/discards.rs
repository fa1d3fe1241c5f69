//! The server reads refused uploads on, within bounds, so that the client receives the refusal.

use super::*;

#[test]
fn a_refused_upload_is_read_on_within_bounds_of_bytes_and_of_time() {
    let mut bench = Bench::with(|policy| {
        policy.http.limits.discard_bytes_max = 2_000_000;
        policy.http.limits.discard_timeout = Duration::from_secs(30);
    });
    bench.send(&head("PUT /a.exe", &["Content-Length: 9000000"]));
    assert_eq!(bench.one(false).status, 403);
    // As slow as it likes, as long as something comes.
    for _ in 0..7 {
        bench.wait(4_000);
        bench.send(&[b'x'; 100_000]);
        assert!(bench.is_open());
    }
    bench.wait(2_100);
    assert!(!bench.is_open(), "half a minute is enough");
    bench.connect(PHONE).send(&head("PUT /a.exe", &["Content-Length: 9000000"]));
    bench.send(&vec![b'x'; 2_000_000]);
    assert!(bench.is_open());
    bench.send(b"x");
    assert!(!bench.is_open(), "and so are two megabytes");
    assert_eq!(bench.world.counters.http_discards_cut.value(), 2);
}

#[test]
fn a_refused_upload_whose_end_is_known_is_read_on_whatever_the_refusal_is() {
    let length = "Content-Length: 9000000";
    let long = format!("PUT /{}.log", "a".repeat(300));
    let cases = [
        (head("PUT /%99.log", &[length]), 400),
        (head("PUT /../a.log", &[length]), 400),
        (head("PUT /a.log", &[length, "Host: again"]), 400),
        (head("PUT /a.log", &[length, "Content-Range: bytes 0-1/9000000"]), 400),
        (head("PUT /a.log HTTP/1.1", &["Transfer-Encoding: chunked"]), 400),
        (head("PUT /a.log", &[length, "Content-Encoding: gzip"]), 415),
        (head("PUT https://server/a.log", &[length]), 421),
        (head(&long, &[length]), 414),
    ];
    for (head, status) in cases {
        let mut bench = Bench::new();
        bench.send(&head);
        assert_eq!(bench.one(false).status, status, "{}", head.escape_ascii());
        for _ in 0..7 {
            bench.wait(4_000);
            bench.send(&[b'x'; 100_000]);
            assert!(bench.is_open(), "{}", head.escape_ascii());
        }
        bench.wait(2_100);
        assert!(!bench.is_open(), "{}", head.escape_ascii());
    }
}

#[test]
fn what_has_no_end_that_is_known_is_read_on_for_a_little_only() {
    let both = ["Content-Length: 9000000", "Transfer-Encoding: chunked"];
    for head in [b"NO REQUEST AT ALL\r\n\r\n".to_vec(), head("PUT /a.log", &both)] {
        let mut bench = Bench::new();
        bench.send(&head);
        bench.send(&[b'x'; 200_000]);
        assert!(bench.is_open());
        bench.send(&[b'x'; 100_000]);
        assert!(!bench.is_open());
    }
}
