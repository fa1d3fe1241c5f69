//! Storms from a seed: phones come and go, and each report is compared with the true figures.

use std::net::{IpAddr, Ipv4Addr};

use super::*;
use engine::admission::booting::{Booting, STORM_PHONES_MIN_DEFAULT};
use phones::random::Random;

/// One worker and the daemon's checks.
#[derive(Default)]
struct Site {
    boots: Booting,
    watch: StormWatch,
    overs: Vec<BootOver>,
    checked_ms: u64,
    events: Vec<StormEvent>,
}

/// A phone's boot: when it asks, when it is served, and whether that ended well.
#[derive(Clone, Copy)]
struct Phone {
    asks_ms: u64,
    ends_ms: u64,
    is_back: bool,
}

fn back(asks_ms: u64, ends_ms: u64) -> Phone {
    Phone { asks_ms, ends_ms, is_back: true }
}

fn ip(number: usize) -> IpAddr {
    Ipv4Addr::from_bits(0x0a00_0000 | number as u32).into()
}

impl Site {
    /// Lets these phones boot, until `until_ms`; the daemon checks once a second from `check_at`.
    fn run(phones: &[Phone], check_at: u64, until_ms: u64) -> Site {
        let mut site = Site::default();
        let mut happens: Vec<(u64, usize, bool)> = Vec::new();
        for (number, phone) in phones.iter().enumerate() {
            happens.push((phone.asks_ms, number, true));
            happens.push((phone.ends_ms, number, false));
        }
        happens.sort_unstable();
        site.checked_ms = check_at;
        for (at_ms, number, begins) in happens {
            site.check_until(at_ms);
            let now = Instant::from_millis(at_ms);
            match begins {
                true => site.boots.begin(ip(number), now, now),
                false => site.boots.end(ip(number), phones[number].is_back, now),
            }
        }
        site.check_until(until_ms);
        site
    }

    fn check_until(&mut self, at_ms: u64) {
        while self.checked_ms < at_ms {
            let now = Instant::from_millis(self.checked_ms);
            self.checked_ms += 1_000;
            while let Some(over) = self.boots.poll_over(now) {
                self.overs.push(over);
            }
            let check = Check {
                now,
                unix_s: 1_000_000 + now.as_micros() / 1_000_000,
                booting: self.boots.booting() as u64,
                begun: self.boots.begun(),
            };
            let event = self.watch.watch(check, &self.overs, STORM_PHONES_MIN_DEFAULT);
            self.overs.clear();
            self.events.extend(event);
        }
    }

    fn ended(&self) -> StormStatus {
        match self.events[..] {
            [StormEvent::Began { .. }, StormEvent::Ended(status)] => status,
            _ => panic!("{:?}", self.events),
        }
    }
}

#[test]
fn a_hundred_phones_are_no_storm_and_one_more_is() {
    for (count, events) in [(100, 0), (101, 2)] {
        let phones: Vec<Phone> = (0..count).map(|_| back(5_200, 6_000)).collect();
        let site = Site::run(&phones, 0, 60_000);
        assert_eq!(site.events.len(), events, "{count} phones");
        assert_eq!(site.watch.status().0, events as u64 / 2);
    }
}

#[test]
fn a_storm_is_told_with_its_begin_its_size_and_when_its_phones_were_back() {
    // Ten thousand at once, of which one is done each millisecond.
    let phones: Vec<Phone> = (1..=10_000).map(|done| back(70_300, 70_300 + done)).collect();
    let storm = Site::run(&phones, 17, 200_000).ended();
    assert_eq!((storm.phones, storm.peak, storm.back, storm.lost), (10_000, 10_000, 10_000, 0));
    assert_eq!(storm.began_unix_s, 1_000_070);
    assert!(!storm.is_active);
    for (told, right) in storm.back_after_s.into_iter().zip([5.0, 9.0, 9.9, 10.0]) {
        assert!((told.unwrap() - right).abs() <= 0.02, "{told:?} {right}");
    }
    assert!((storm.phone_seconds - 50_005.0).abs() < 1.0, "{}", storm.phone_seconds);
    assert!((19.0..=21.0).contains(&storm.seconds), "{}", storm.seconds);
    let text = storm.text();
    assert!(text.starts_with("10000 phones, 10000 at once, 50005 phone-seconds, 50 % back"));
    assert!(text.ends_with("100 % back after 10.0 s"), "{text}");
}

#[test]
fn phones_that_never_come_back_keep_the_last_shares_open_and_cost_until_the_storm_is_told() {
    let mut phones: Vec<Phone> = (0..980).map(|_| back(3_000, 4_000)).collect();
    phones.extend((0..20).map(|_| Phone { asks_ms: 3_000, ends_ms: 8_000, is_back: false }));
    let storm = Site::run(&phones, 0, 200_000).ended();
    assert_eq!((storm.phones, storm.back, storm.lost), (1_000, 980, 20));
    let [half, most, nearly, all] = storm.back_after_s;
    assert!(half == most && (half.unwrap() - 1.0).abs() < 0.01);
    assert_eq!((nearly, all), (None, None));
    // They count until what is known of the last phone, at the check 18 s after the start.
    assert!((storm.phone_seconds - (980.0 + 20.0 * 15.0)).abs() < 1.0, "{}", storm.phone_seconds);
    assert!(storm.text().ends_with("20 never came back"), "{}", storm.text());
}

#[test]
fn phones_of_every_day_do_not_count_to_a_storm() {
    // One every 200 ms for ten minutes; the storm comes at 300 s and lasts three seconds.
    let mut phones: Vec<Phone> = (0..3_000).map(|at| back(at * 200, at * 200 + 50)).collect();
    phones.extend((0..2_000).map(|at| back(300_100, 300_100 + at * 3 / 2)));
    let site = Site::run(&phones, 0, 700_000);
    let storm = site.ended();
    assert!((2_000..2_100).contains(&storm.phones), "{}", storm.phones);
    assert!((storm.back_after_s[0].unwrap() - 1.5).abs() < 0.2, "{storm:?}");
    assert_eq!(storm.began_unix_s, 1_000_300);
}

#[test]
fn one_phone_that_takes_for_ever_does_not_keep_a_storm_from_being_told() {
    let mut phones: Vec<Phone> = (0..500).map(|_| back(2_000, 3_000)).collect();
    phones.push(back(2_000, 500_000));
    let storm = Site::run(&phones, 0, 300_000).ended();
    assert_eq!((storm.phones, storm.back), (501, 500));
    assert_eq!(storm.back_after_s[3], None);
    assert!(storm.text().ends_with("1 still boot"), "{}", storm.text());
}

#[test]
fn a_second_wave_before_the_first_is_told_is_the_same_storm() {
    let mut phones: Vec<Phone> = (0..400).map(|_| back(2_000, 3_000)).collect();
    phones.extend((0..40).map(|_| back(2_000, 25_000)));
    phones.extend((0..400).map(|_| back(20_000, 21_000)));
    let storm = Site::run(&phones, 0, 300_000).ended();
    assert_eq!((storm.phones, storm.back, storm.peak), (840, 840, 440));
}

#[test]
fn what_is_told_of_any_storm_is_what_happened() {
    for seed in 0..30 {
        let mut random = Random::new(seed);
        let count = 150 + random.below(2_850) as usize;
        let ramp_ms = 1 + random.below(899);
        // All within two checks, so that all belong to the storm.
        let mut phone = |_| {
            let asks_ms = 10_050 + random.below(ramp_ms);
            let ends_ms = asks_ms + 10 + random.below(8_000);
            Phone { asks_ms, ends_ms, is_back: !random.chance(0.02) }
        };
        let phones: Vec<Phone> = (0..count).map(&mut phone).collect();
        let storm = Site::run(&phones, 0, 300_000).ended();
        let lost = phones.iter().filter(|phone| !phone.is_back).count() as u64;
        assert_eq!((storm.phones, storm.lost), (count as u64, lost), "seed {seed}");
        assert_eq!(storm.back, count as u64 - lost, "seed {seed}");
        let first = phones.iter().map(|phone| phone.asks_ms).min().unwrap();
        let mut ends: Vec<u64> =
            phones.iter().filter(|phone| phone.is_back).map(|phone| phone.ends_ms).collect();
        ends.sort_unstable();
        for (share, told) in SHARES.into_iter().zip(storm.back_after_s) {
            let right = ends.get((count * share as usize).div_ceil(100) - 1);
            let right = right.map(|end| (end - first) as f64 / 1e3);
            let differ = told.zip(right).map(|(told, right)| (told - right).abs());
            assert_eq!(told.is_some(), right.is_some(), "seed {seed}, {share} %");
            assert!(
                differ.is_none_or(|differ| differ < 0.03),
                "seed {seed}, {share} %: {differ:?}"
            );
        }
    }
}

#[test]
fn a_status_can_be_written_and_read_and_every_age_has_its_end() {
    let ages = by_age([1, 2, 3, 4, 5, 6]);
    assert_eq!(ages.iter().map(|age| age.phones).sum::<u64>(), 21);
    assert_eq!((ages[0].below_s, ages[5].below_s), (Some(1), None));
    let phones: Vec<Phone> = (0..500).map(|_| back(2_000, 3_000)).collect();
    let storm = Some(Site::run(&phones, 0, 60_000).ended());
    let status = PhonesStatus { storm, by_age: ages, ..PhonesStatus::default() };
    let json = serde_json::to_string(&status).unwrap();
    assert_eq!(serde_json::from_str::<PhonesStatus>(&json).unwrap(), status);
}
