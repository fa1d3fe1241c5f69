//! Tests of which requests are permitted, which are not, and what that costs.

mod logins;

use std::collections::HashMap;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use argon2::{Argon2, Params};

use super::super::auth::{Authenticator, Authorization, Verified};
use super::super::ha1::Ha1;
use super::super::secrets::NeedsHash;
use super::super::store::{Job, Outcome};
use super::super::threads::{Queues, Vault};
use super::super::users;
use super::{Bench, item};
use engine::cancel::CancelToken;
use engine::requests::StoreReply;
use engine::ticket::Ticket;
use engine::vault::names::Item;
use engine::vault::request::{
    Auth, Credentials, Login, LoginSecret, Precondition, VaultError, VaultOp, VaultRequest,
};
use wire::http::authorization::digest;
use wire::time::{Duration, Instant};

/// Costs next to nothing.
fn cheap() -> Argon2<'static> {
    Argon2::from(Params::new(8, 1, 1, None).unwrap())
}

/// A vault with an authenticator.
struct GuardedVault {
    bench: Bench,
    authenticator: Authenticator,
    client: IpAddr,
    now: Instant,
}

impl GuardedVault {
    fn new(auth: impl Fn(&Bench) -> Auth) -> Self {
        let mut bench = Bench::new();
        bench.policy.auth = auth(&bench);
        let authenticator = Authenticator::new(cheap()).unwrap();
        GuardedVault { bench, authenticator, client: [10, 0, 0, 1].into(), now: Instant::START }
    }

    fn pinned() -> Self {
        GuardedVault::new(|_| Auth::Pinned)
    }

    fn users(lines: &str) -> Self {
        let guarded = GuardedVault::new(|bench| Auth::Users(bench.top.path().join("users.txt")));
        guarded.write_users(lines);
        guarded
    }

    fn users_path(&self) -> PathBuf {
        self.bench.top.path().join("users.txt")
    }

    /// `name=password:extensions` for each line.
    fn write_users(&self, lines: &str) {
        let hashed = lines.lines().map(|line| {
            let (name, rest) = line.split_once('=').unwrap();
            let (password, extensions) = rest.split_once(':').unwrap_or((rest, ""));
            let hash = users::hash(&cheap(), password.as_bytes()).unwrap();
            format!("{name}:{hash}:{extensions}\n")
        });
        fs::write(self.users_path(), hashed.collect::<String>()).unwrap();
    }

    fn request(&self, item: &Item, secret: &str, op: VaultOp) -> VaultRequest {
        let basic = secret.split_once(':').map(|(user, word)| (user.into(), word.into()));
        VaultRequest {
            client: self.client,
            credentials: Credentials { basic, ..Credentials::default() },
            ..self.bench.request(item, op)
        }
    }

    fn pass(&self, request: &VaultRequest) -> Result<Verified, VaultError> {
        match self.authenticator.authorize(request, self.now) {
            Authorization::Permitted => Ok(Verified::Known),
            Authorization::Denied(denied) => Err(denied),
            Authorization::NeedsHash => self.authenticator.prove(request, self.now),
        }
    }

    fn execute(&mut self, extension: &str, secret: &str, op: VaultOp) -> Result<(), VaultError> {
        let request = self.request(&item(extension), secret, op);
        let hash = match self.pass(&request)? {
            Verified::Known => None,
            Verified::ToPin(hash) => Some(hash),
        };
        let outcome = self.bench.writer.run(&[Job::Vault(&request, hash.as_deref())]).remove(0);
        let Outcome::Vault(result) = outcome else { unreachable!("a request was asked for") };
        if hash.is_some() {
            self.authenticator.pinned(&request, result.is_ok());
        }
        result.map(drop)
    }

    fn put(&mut self, extension: &str, secret: &str) -> Result<(), VaultError> {
        self.execute(extension, secret, put())
    }

    fn get(&mut self, extension: &str, secret: &str) -> Result<(), VaultError> {
        self.execute(extension, secret, VaultOp::Fetch)
    }

    fn checked(&self) -> u64 {
        self.authenticator.figures().checked
    }
}

fn put() -> VaultOp {
    VaultOp::Keep { bytes: b"data".to_vec(), precondition: Precondition::None, cancel: None }
}

const DENIED: Result<(), VaultError> = Err(VaultError::Unauthorized);

#[test]
fn a_certificate_opens_what_asks_for_one() {
    let guarded = GuardedVault::new(|_| Auth::Certificate);
    let mut request = guarded.request(&item("1"), "any:thing", VaultOp::Fetch);
    assert_eq!(guarded.pass(&request), Err(VaultError::Unauthorized));
    request.credentials.certificate = true;
    assert_eq!(guarded.pass(&request), Ok(Verified::Known));
}

#[test]
fn a_user_reaches_the_extensions_of_the_line_and_no_others() {
    let mut guarded = GuardedVault::users("4711=a\nann=b:1,2\nboss=c:*");
    assert_eq!(guarded.put("4711", "4711:a"), Ok(()));
    assert_eq!(guarded.put("4712", "4711:a"), DENIED);
    assert_eq!(guarded.put("1", "ann:b"), Ok(()));
    assert_eq!(guarded.put("ann", "ann:b"), DENIED);
    assert_eq!(guarded.get("4711", "boss:c"), Ok(()));
    guarded.client = [10, 0, 0, 2].into();
    assert_eq!(guarded.get("4711", "4711:b"), DENIED);
    assert_eq!(guarded.get("4711", ""), DENIED);
    assert_eq!(guarded.get("4711", "4711:"), DENIED);
    assert_eq!(guarded.get("4711", ":a"), DENIED);
}

#[test]
fn names_that_nobody_has_cost_as_much_each() {
    let mut guarded = GuardedVault::users("4711=a");
    for (name, checked) in [("eve", 1), ("mallory", 2), ("4711", 3), ("eve", 3)] {
        assert_eq!(guarded.get("4711", &format!("{name}:guess")), DENIED);
        assert_eq!(guarded.checked(), checked, "{name}");
    }
}

#[test]
fn a_secret_that_was_right_once_costs_nothing_again() {
    let mut guarded = GuardedVault::users("ann=b:*");
    for extension in 0..50 {
        assert_eq!(guarded.put(&extension.to_string(), "ann:b"), Ok(()));
    }
    assert_eq!(guarded.checked(), 1);
}

#[test]
fn an_unknown_user_costs_as_much_as_a_wrong_password() {
    let mut guarded = GuardedVault::users("ann=b:*");
    assert_eq!(guarded.get("1", "ann:x"), DENIED);
    assert_eq!(guarded.checked(), 1);
    assert_eq!(guarded.get("1", "nobody:x"), DENIED);
    assert_eq!(guarded.checked(), 2);
}

#[test]
fn a_changed_users_file_holds_at_once() {
    let mut guarded = GuardedVault::users("ann=b:*");
    assert_eq!(guarded.put("1", "ann:b"), Ok(()));
    guarded.write_users("ann=c:*");
    assert_eq!(guarded.put("1", "ann:b"), DENIED);
    assert_eq!(guarded.put("1", "ann:c"), Ok(()));
    fs::remove_file(guarded.users_path()).unwrap();
    assert_eq!(guarded.put("1", "ann:c"), DENIED);
    guarded.write_users("ann=c");
    assert_eq!(guarded.put("1", "ann:c"), DENIED, "what the user reaches has changed");
}

#[test]
fn the_first_secret_that_stores_something_is_compared_ever_after() {
    let mut guarded = GuardedVault::pinned();
    assert_eq!(guarded.put("1", "10.9.9.9:123"), Ok(()));
    assert_eq!(guarded.put("1", "10.9.9.9:123"), Ok(()));
    assert_eq!(guarded.put("1", "10.9.9.9:124"), DENIED);
    assert_eq!(guarded.get("1", "10.9.9.8:123"), DENIED, "the call server is part of it");
    assert_eq!(guarded.get("1", "10.9.9.91:23"), DENIED);
    assert_eq!(guarded.get("1", ""), DENIED);
    // A restart forgets digests but no pins.
    guarded.authenticator = Authenticator::new(cheap()).unwrap();
    guarded.bench.restart();
    assert_eq!(guarded.get("1", "10.9.9.9:123"), Ok(()));
    assert_eq!(guarded.get("1", "10.9.9.9:124"), DENIED);
    let secret = fs::read_to_string(guarded.bench.policy.dir.join("1/secret")).unwrap();
    assert!(secret.starts_with("$argon2id$") && !secret.contains("123"));
}

#[test]
fn asking_for_what_is_not_there_pins_nothing() {
    let mut guarded = GuardedVault::pinned();
    assert_eq!(guarded.get("1", "a:guess"), Err(VaultError::NotThere));
    let forget = VaultOp::Forget { precondition: Precondition::None };
    assert_eq!(guarded.execute("1", "a:guess", forget), Err(VaultError::NotThere));
    assert_eq!(guarded.checked(), 0, "and costs nothing");
    assert_eq!(guarded.put("1", "a:right"), Ok(()));
    assert_eq!(guarded.get("1", "a:guess"), DENIED);
}

#[test]
fn the_first_secret_that_obtains_older_data_is_pinned() {
    let mut guarded = GuardedVault::pinned();
    guarded.bench.keep(&item("1"), "from open days").unwrap();
    assert_eq!(guarded.get("1", "a:first"), Ok(()));
    assert_eq!(guarded.get("1", "a:second"), DENIED);
    assert_eq!(guarded.authenticator.figures().pinned, 1);
}

#[test]
fn a_store_that_failed_pins_nothing() {
    let mut guarded = GuardedVault::pinned();
    let demanding =
        VaultOp::Keep { bytes: b"x".to_vec(), precondition: Precondition::Exists, cancel: None };
    assert_eq!(guarded.execute("1", "a:first", demanding), Err(VaultError::Precondition));
    assert_eq!(guarded.put("1", "a:second"), Ok(()));
    assert_eq!(guarded.put("1", "a:first"), DENIED);
}

#[test]
fn of_two_first_secrets_at_once_one_is_pinned_and_the_other_refused() {
    let mut guarded = GuardedVault::pinned();
    let [one, same, other] =
        ["a:one", "a:one", "a:other"].map(|secret| guarded.request(&item("1"), secret, put()));
    let Ok(Verified::ToPin(hash)) = guarded.pass(&one) else { panic!("it is the first") };
    assert_eq!(guarded.pass(&same), Ok(Verified::ToPin(hash.clone())), "with the same hash");
    assert_eq!(guarded.pass(&other), Err(VaultError::Unauthorized));
    let jobs = [Job::Vault(&one, Some(&hash)), Job::Vault(&same, Some(&hash))];
    for outcome in guarded.bench.writer.run(&jobs) {
        assert!(matches!(outcome, Outcome::Vault(Ok(_))));
    }
    guarded.authenticator.pinned(&one, true);
    guarded.authenticator.pinned(&same, true);
    assert_eq!(guarded.pass(&other), Err(VaultError::Unauthorized));
    assert_eq!(guarded.pass(&one), Ok(Verified::Known));
}

#[test]
fn a_secret_pinned_by_another_process_meanwhile_is_not_replaced() {
    let mut guarded = GuardedVault::pinned();
    let request = guarded.request(&item("1"), "a:late", put());
    let Ok(Verified::ToPin(hash)) = guarded.pass(&request) else { panic!("it is the first") };
    let early = guarded.request(&item("1"), "a:early", put());
    guarded.bench.writer.run(&[Job::Vault(&early, Some("another hash"))]);
    let outcome = guarded.bench.writer.run(&[Job::Vault(&request, Some(&hash))]).remove(0);
    assert!(matches!(outcome, Outcome::Vault(Err(VaultError::Busy))));
    assert_eq!(guarded.bench.names(&item("1")).len(), 1);
}

#[test]
fn guessing_is_slowed_down_for_the_address_and_nobody_else() {
    let mut guarded = GuardedVault::pinned();
    guarded.put("1", "a:right").unwrap();
    for guess in 0..6 {
        assert_eq!(guarded.get("1", &format!("a:{guess}")), DENIED);
    }
    let slowed = Err(VaultError::SlowedDown(Duration::from_secs(1)));
    let checked = guarded.checked();
    assert_eq!(guarded.get("1", "a:6"), slowed);
    assert_eq!(guarded.get("1", "a:right"), slowed, "or else guessing would go on");
    assert_eq!(guarded.checked(), checked);
    assert_eq!(guarded.authenticator.figures().slowed, 2);
    guarded.client = [10, 0, 0, 2].into();
    assert_eq!(guarded.get("1", "a:right"), Ok(()));
    guarded.client = [10, 0, 0, 1].into();
    guarded.now = Instant::from_millis(1_000);
    assert_eq!(guarded.get("1", "a:right"), Ok(()));
}

#[test]
fn a_phone_that_repeats_its_old_secret_is_no_guesser() {
    let mut guarded = GuardedVault::pinned();
    guarded.put("1", "a:right").unwrap();
    for _ in 0..100 {
        assert_eq!(guarded.get("1", "a:old"), DENIED);
    }
    assert_eq!(guarded.get("1", "a:right"), Ok(()), "nor does it slow its neighbours down");
    assert!(guarded.checked() <= 2);
    assert_eq!(guarded.authenticator.figures().refused, 100);
}

#[test]
fn no_secret_fits_another_extension() {
    let mut guarded = GuardedVault::pinned();
    guarded.put("1", "a:one").unwrap();
    guarded.put("2", "a:two").unwrap();
    assert_eq!(guarded.get("2", "a:one"), DENIED);
    assert_eq!(guarded.get("1", "a:two"), DENIED);
    assert_eq!(guarded.get("1", "a:one"), Ok(()));
}

#[test]
fn a_broken_pin_lets_nobody_in() {
    let mut guarded = GuardedVault::pinned();
    guarded.put("1", "a:one").unwrap();
    let pin = guarded.bench.policy.dir.join("1/secret");
    for broken in ["", "a:one", "$argon2id$v=19$"] {
        fs::write(&pin, broken).unwrap();
        assert_eq!(guarded.get("1", "a:one"), DENIED, "{broken:?}");
    }
    fs::remove_file(&pin).unwrap();
    fs::create_dir(&pin).unwrap();
    assert_eq!(guarded.get("1", "a:one"), Err(VaultError::Io));
}

#[test]
fn what_is_remembered_is_bounded() {
    let guarded = Arc::new(GuardedVault::pinned());
    let requests: Vec<_> =
        (0..100).map(|number| guarded.request(&item(&number.to_string()), "a:b", put())).collect();
    for request in &requests {
        let Ok(Verified::ToPin(_)) = guarded.pass(request) else { panic!("it is the first") };
        guarded.authenticator.pinned(request, false);
    }
    assert_eq!(guarded.authenticator.pinning(), 0);
}

#[test]
fn two_passwords_of_a_user_hold_at_once_and_one_whose_day_is_over_does_not() {
    let mut guarded = GuardedVault::users("ann=old:4711\nann=new:4711\n");
    assert_eq!(guarded.execute("4711", "ann:old", keeping()), Ok(()));
    assert_eq!(guarded.execute("4711", "ann:new", keeping()), Ok(()));
    assert_eq!(guarded.execute("4711", "ann:wrong", keeping()), Err(VaultError::Unauthorized));
    let text = fs::read_to_string(guarded.users_path()).unwrap();
    let over = text.replacen(":4711\n", ":4711:2020-01-01\n", 1);
    fs::write(guarded.users_path(), over).unwrap();
    assert_eq!(guarded.execute("4711", "ann:old", keeping()), Err(VaultError::Unauthorized));
    assert_eq!(guarded.execute("4711", "ann:new", keeping()), Ok(()));
}

fn keeping() -> VaultOp {
    VaultOp::Keep { bytes: b"x".to_vec(), precondition: Precondition::None, cancel: None }
}

#[test]
fn whoever_invents_extensions_pins_no_more_of_them_than_an_hour_allows() {
    let mut guarded = GuardedVault::pinned();
    guarded.bench.policy.bounds.new_max = 2;
    for number in 0..2 {
        assert_eq!(guarded.execute(&number.to_string(), "a:x", keeping()), Ok(()));
    }
    for refused in 1..=3 {
        assert!(matches!(guarded.execute("2", "a:x", keeping()), Err(VaultError::TooMuch(_))));
        assert_eq!(guarded.authenticator.pins_refused(), refused);
    }
    assert_eq!(
        guarded.execute("1", "a:x", keeping()),
        Ok(()),
        "a secret that is known still holds"
    );
}

#[test]
fn a_check_before_the_body_pins_nothing_and_tells_a_wrong_secret() {
    let mut guarded = GuardedVault::pinned();
    let check = |guarded: &GuardedVault, secret: &str| {
        guarded.pass(&guarded.request(&item("1"), secret, VaultOp::Check))
    };
    assert_eq!(check(&guarded, "a:one"), Ok(Verified::Known), "it may be the first");
    assert_eq!(guarded.authenticator.pinning(), 0);
    guarded.put("1", "a:two").unwrap();
    assert_eq!(check(&guarded, "a:one"), Err(VaultError::Unauthorized));
    assert_eq!(check(&guarded, "a:two"), Ok(Verified::Known));
}
