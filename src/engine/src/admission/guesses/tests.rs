//! Boot traces of every make behind one address, and clients that guess.

use super::*;

/// What each make asks for when it boots, one phone after the other (`{mac}`, `{MAC}`, `{ext}`); a
/// name that begins with `+` exists.
const BOOTS: &[(&str, &[&str])] = &[
    (
        "Avaya 4620",
        &["+46xxupgrade.scr", "46xxsettings.scr", "+46xxsettings.txt", "{ext}_4620data.txt"],
    ),
    (
        "Avaya 9620",
        &["+96xxupgrade.txt", "+46xxsettings.txt", "mlf_german.xml", "{ext}_96xxdata.txt"],
    ),
    ("Avaya J100", &["+/J100Supgrade.txt", "+/46xxsettings.txt", "/{mac}.txt", "/{mac}.cfg"]),
    ("Avaya 9610", &["{ext}_9610data.txt", "9610data.txt"]),
    ("Avaya 1220", &["1220SIP.cfg", "SIP{MAC}.cfg"]),
    ("AudioCodes", &["/440HD.img", "/{MAC}.cfg"]),
    (
        "Cisco 7941",
        &[
            "CTLSEP{MAC}.tlv",
            "ITLSEP{MAC}.tlv",
            "ITLFile.tlv",
            "SEP{MAC}.cnf.xml",
            "SEP{MAC}.cnf.xml.sgn",
            "XMLDefault.cnf.xml",
            "/mk-sip.jar",
            "dialplan.xml",
            "g3-tones.xml",
        ],
    ),
    ("Cisco SPA", &["/spa504G.cfg", "/spa{mac}.cfg", "SEP{MAC}.cnf.xml", "ATA{MAC}.cnf.xml"]),
    (
        "Poly",
        &[
            "{mac}.cfg",
            "000000000000.cfg",
            "2345-12670-001.sip.ld",
            "{mac}-phone.cfg",
            "{mac}-web.cfg",
            "000000000000-license.cfg",
            "{mac}-license.cfg",
            "{mac}-directory.xml",
            "000000000000-directory.xml",
            "Leaf.jpg",
            "LeafEM.jpg",
        ],
    ),
    ("Yealink", &["/{mac}.boot", "/y000000000000.boot", "/y000000000044.cfg", "/{mac}.cfg"]),
    ("Grandstream", &["cfg{mac}", "cfg{mac}.xml", "cfggxp2130.xml", "cfg.xml"]),
    ("Snom", &["/snomD345.htm", "/snomD345-{MAC}.htm"]),
    ("Mitel", &["startup.cfg", "6865i.cfg", "{MAC}.cfg", "{MAC}.tuz", "MN_{MAC}.cfg"]),
    ("Panasonic", &["KX-HDV430.cfg", "Config{MAC}.cfg"]),
    ("Fanvil", &["f0X3shw1.100.cfg", "{mac}.cfg", "F0V00X200000.cfg"]),
    ("Gigaset", &["42/2/master.bin", "baselines.bin", "provisioning.xml", "{MAC}.xml"]),
    ("Digium", &["{mac}.cfg", "000000000000.cfg", "{mac}-contacts.xml", "{mac}-smartblf.cfg"]),
    ("Alcatel", &["lanpbx.cfg", "bin8068S-header", "startnoes-{mac}", "config.{mac}.xml"]),
];
const PHONES: u32 = 2_000;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A filter takes a few new names for old ones.
fn is_about(answered: u32, expected: u32) -> bool {
    (expected..=expected + 60).contains(&answered)
}

fn minutes(minutes: u64) -> Instant {
    Instant::from_millis(minutes * 60_000)
}

/// One address and its table.
struct Bench {
    guesses: Guesses,
    limits: GuessLimits,
    now: Instant,
    client: IpAddr,
    proven: bool,
}

impl Bench {
    fn new() -> Bench {
        let (guesses, limits) = (Guesses::new(7), GuessLimits::default());
        Bench { guesses, limits, now: minutes(1), client: ip("198.51.100.7"), proven: true }
    }

    fn lookup<'a>(&self, name: &'a str) -> Lookup<'a> {
        Lookup { client: self.client, proven: self.proven, name: name.as_bytes() }
    }

    fn miss(&mut self, name: &str) -> Verdict {
        let lookup = self.lookup(name);
        self.guesses.note_miss(lookup, &self.limits, self.now)
    }

    fn hit(&mut self, name: &str) -> Verdict {
        let lookup = self.lookup(name);
        self.guesses.note_hit(lookup, true, &self.limits, self.now)
    }

    fn step(&mut self, step: &str, phone: u32) -> Verdict {
        let mac = format!("000b82{phone:06x}");
        let name = step.replace("{mac}", &mac).replace("{MAC}", &mac.to_uppercase());
        let name = name.replace("{ext}", &format!("{}", 40_000 + phone));
        match name.strip_prefix('+') {
            Some(there) => self.hit(there),
            None => self.miss(&name),
        }
    }

    /// Returns how many guesses were answered, and how many stops were first ones.
    fn guess(&mut self, macs: std::ops::Range<u32>) -> (u32, u32) {
        let (mut answered, mut logged) = (0, 0);
        for mac in macs {
            match self.miss(&format!("SEP0004F2{mac:06X}.cnf.xml")) {
                Verdict::Free | Verdict::Delayed => answered += 1,
                Verdict::Stopped { first } => logged += u32::from(first),
            }
        }
        (answered, logged)
    }
}

#[test]
fn a_site_of_2000_phones_of_any_make_behind_one_address_is_never_slowed() {
    for (make, steps) in BOOTS {
        // All phones at once, each step before any takes the next; and one phone after the other.
        for at_once in [true, false] {
            let mut bench = Bench::new();
            // After a power cut, phones that find no call server start again and again.
            for round in 0..6 {
                bench.now = minutes(1 + round * 15);
                let all =
                    || (0..PHONES).flat_map(|phone| (0..steps.len()).map(move |s| (s, phone)));
                let mut order: Vec<_> = all().collect();
                if at_once {
                    order.sort_unstable();
                }
                for (step, phone) in order {
                    let verdict = bench.step(steps[step], phone);
                    assert_eq!(verdict, Verdict::Free, "{make}: {} of {phone}", steps[step]);
                }
            }
        }
    }
}

#[test]
fn nine_thousand_macs_are_stopped_behind_the_budget_and_told_once() {
    for proven in [true, false] {
        let mut bench = Bench { proven, ..Bench::new() };
        let (answered, logged) = bench.guess(0..9_000);
        assert!(is_about(answered, MISSES_MAX) && logged == 1, "{answered}");
        let (answered, logged) = bench.guess(9_000..18_000);
        assert!(is_about(answered, 0) && logged == 0, "{answered}");
        bench.now = minutes(62);
        let (answered, logged) = bench.guess(18_000..27_000);
        assert!(is_about(answered, MISSES_PER_HOUR * 61 / 60), "{answered}");
        assert_eq!(logged, 1, "logged again after an hour");
    }
}

#[test]
fn answers_come_late_before_they_stop() {
    let mut bench = Bench::new();
    let late =
        (0..9_000).filter(|mac| bench.miss(&format!("0004F2{mac:06X}.cfg")) == Verdict::Delayed);
    assert_eq!(late.count() as u32, MISSES_MAX / SLOW_PART);
}

#[test]
fn the_same_again_costs_nothing() {
    let mut bench = Bench::new();
    bench.guess(0..3_000);
    for _ in 0..5 {
        assert_eq!(bench.guess(0..3_000), (3_000, 0));
    }
    let verdict = bench.miss("/SEP0004F2000001.CNF.XML");
    assert_eq!(verdict, Verdict::Free, "another spelling is no other name");
    // The first few are counted again, because there is no filter for them yet.
    let left = MISSES_MAX - 3_000;
    assert!((left - FILTER_AFTER - 1..left + 60).contains(&bench.guess(3_000..9_000).0));
}

#[test]
fn fetching_a_common_file_between_guesses_buys_so_many_and_no_more() {
    let mut bench = Bench::new();
    let mut answered = 0;
    for mac in 0..100_000 {
        answered += bench.guess(mac..mac + 1).0;
        let _ = bench.hit("46xxsettings.txt");
    }
    // Names that a full filter takes for old ones are free, too.
    assert!(answered < MISSES_MAX * (EARNED_BUDGETS_MAX + 1) * 3 / 2, "{answered}");
}

#[test]
fn whoever_is_stopped_keeps_its_own_files_and_learns_of_no_other() {
    let mut bench = Bench::new();
    bench.guess(0..100);
    assert_eq!(bench.hit("SEP000B82000001.cnf.xml"), Verdict::Free);
    bench.guess(100..9_000);
    assert_eq!(bench.hit("SEP000B82000001.cnf.xml"), Verdict::Free);
    assert_eq!(bench.hit("sep000b82000001.cnf.xml"), Verdict::Free);
    bench.guess(9_000..9_100);
    assert!(matches!(bench.hit("SEP000B82000002.cnf.xml"), Verdict::Stopped { first: false }));
    assert!(matches!(bench.hit("41001_96xxdata.txt"), Verdict::Stopped { first: false }));
    assert_eq!(bench.hit("46xxsettings.txt"), Verdict::Free);
    assert_eq!(bench.hit("y000000000044.cfg"), Verdict::Free);
}

#[test]
fn what_was_served_before_the_first_miss_is_served_to_the_end() {
    let mut bench = Bench::new();
    for phone in 0..500 {
        bench.hit(&format!("000b82{phone:06x}.cfg"));
    }
    bench.guess(0..9_000);
    for phone in 0..500 {
        assert_eq!(bench.hit(&format!("000B82{phone:06X}.cfg")), Verdict::Free);
    }
    bench.client = ip("198.51.100.8");
    bench.guess(0..9_000);
    let other = bench.hit("000b82000001.cfg");
    assert!(matches!(other, Verdict::Stopped { .. }), "it was another's");
}

#[test]
fn a_64_and_both_spellings_of_ipv4_are_one_guesser() {
    for (one, other) in
        [("2001:db8::1", "2001:db8::ffff:2"), ("198.51.100.7", "::ffff:198.51.100.7")]
    {
        let mut bench = Bench { client: ip(one), ..Bench::new() };
        bench.guess(0..9_000);
        bench.client = ip(other);
        assert!(is_about(bench.guess(9_000..9_100).0, 0));
        bench.client = ip("2001:db8:0:1::1");
        assert_eq!(bench.guess(9_000..9_100).0, 100);
    }
}

#[test]
fn datagrams_in_the_name_of_a_site_do_not_stop_it_over_tcp() {
    let mut bench = Bench { proven: false, ..Bench::new() };
    assert!(is_about(bench.guess(0..9_000).0, MISSES_MAX));
    bench.proven = true;
    assert_eq!(bench.guess(9_000..9_100), (100, 0));
}

#[test]
fn trusted_networks_are_not_counted_and_zero_is_no_limit() {
    let mut bench = Bench::new();
    bench.limits.trusted = vec!["198.51.100.0/24".parse().unwrap()];
    assert_eq!(bench.guess(0..9_000), (9_000, 0));
    bench.limits = GuessLimits { misses_max: 0, ..GuessLimits::default() };
    assert_eq!(bench.guess(0..9_000), (9_000, 0));
    assert_eq!(bench.guesses.rows_used, 0);
}

#[test]
fn a_flood_of_addresses_wipes_no_guesser_out_and_grows_nothing() {
    let mut bench = Bench::new();
    bench.guess(0..9_000);
    for address in 0..200_000_u32 {
        bench.client = IpAddr::V4((0x0b00_0000 + address).into());
        bench.guess(address..address + 2);
    }
    bench.client = ip("198.51.100.7");
    assert!(is_about(bench.guess(10_000..10_100).0, 0));
    assert!(bench.guesses.rows_used <= ROWS && bench.guesses.filters.len() <= FILTERS_MAX);
}

#[test]
fn a_mac_is_found_in_every_spelling_of_the_field() {
    let mac =
        |name: &str| mac_of(name.as_bytes()).map(|mac| String::from_utf8(mac.into()).unwrap());
    for name in [
        "SEP000E08aabbcc.cnf.xml",
        "cfg000E08aabbcc",
        "spa000E08aabbcc.cfg",
        "ATA000E08aabbcc.cnf.xml",
        "snomD785-000E08aabbcc.htm",
        "a/b/000E08aabbcc-directory.xml",
    ] {
        assert_eq!(mac(name).as_deref(), Some("000E08aabbcc"), "{name}");
    }
    assert_eq!(mac("00:04:13:aa:bb:cc.xml").as_deref(), Some("00:04:13:aa:bb:cc"));
    assert_eq!(mac("spa-00-04-13-aa-bb-cc").as_deref(), Some("00-04-13-aa-bb-cc"));
    for common in
        ["y000000000044.cfg", "000000000000-license.cfg", "46xxsettings.txt", "g3-tones.xml"]
    {
        assert_eq!(mac(common), None, "{common}");
        assert!(!is_personal(common.as_bytes()), "{common}");
    }
    assert!(is_personal(b"4711_96xxdata.txt") && is_personal(b"backup/4711_4620data.txt"));
    let bench = Bench::new();
    let unit = |name: &[u8]| bench.guesses.unit(name);
    assert_eq!(unit(b"00:04:13:aa:bb:cc.xml"), unit(b"SEP000413AABBCC.cnf.xml"));
}

#[test]
fn bytes_of_any_kind_are_taken() {
    let alphabet = b"a0:-/\\\xff.";
    for length in 0..40 {
        for seed in 0..64_usize {
            let letter = |at: usize| alphabet[(at * (seed + 3) + seed) % alphabet.len()];
            let name: Vec<u8> = (0..length).map(letter).collect();
            let _ = (mac_of(&name), is_personal(&name));
        }
    }
}
