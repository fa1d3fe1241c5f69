//! Tests of logins for served files: which file has the user, and what a repeated password costs.

use super::*;

/// Writes a users' file beside the vault's, with what Digest needs if a line has `digest`.
fn write_phones(guarded: &GuardedVault, lines: &[(&str, &str, bool)]) -> PathBuf {
    let path = guarded.bench.top.path().join("passwords.txt");
    let line = |(name, password, digest): &(&str, &str, bool)| {
        let hash = users::hash(&cheap(), password.as_bytes()).unwrap();
        let ha1 = Ha1::new(name, "Ringpost", password.as_bytes());
        let hash = if *digest { users::with_ha1(&hash, &ha1) } else { hash };
        format!("{name}:{hash}\n")
    };
    fs::write(&path, lines.iter().map(line).collect::<String>()).unwrap();
    path
}

fn login(guarded: &GuardedVault, users: &[&PathBuf], name: &str, password: &str) -> Login {
    Login {
        client: guarded.client,
        users: users.iter().map(|users| (*users).clone()).collect(),
        name: name.into(),
        secret: LoginSecret::Password(password.into()),
        cancel: CancelToken::default(),
    }
}

/// A client's response to a challenge.
fn respond(name: &str, password: &str, algorithm: &str) -> LoginSecret {
    let hex = |parts: &[&str]| {
        // The hash of user, realm and password is one of three parts, too.
        let [one, two, three] = parts else { unreachable!("three parts") };
        let ha1 = Ha1::new(one, two, three.as_bytes()).to_string();
        let place = if algorithm == "MD5" { 1 } else { 2 };
        ha1.split('$').nth(place).unwrap().to_owned()
    };
    let ha1 = hex(&[name, "Ringpost", password]);
    // H(method:uri) as H(a:b:c), for a target with a colon in it.
    let ha2 = hex(&["GET", "/a", "b"]);
    let response = hex(&[&ha1, "n", &format!("00000001:c:auth:{ha2}")]);
    let value = format!(
        "Digest username=\"{name}\", realm=\"Ringpost\", nonce=\"n\", uri=\"/a:b\", qop=auth, \
         nc=00000001, cnonce=\"c\", algorithm={algorithm}, response=\"{response}\""
    );
    LoginSecret::Digest(Box::new(digest(value.as_bytes()).unwrap().unwrap()), b"GET")
}

#[test]
fn a_login_says_in_which_file_the_user_is() {
    let guarded = GuardedVault::users("root=secret");
    let phones = write_phones(&guarded, &[("PlcmSpIp", "secret", false)]);
    let admins = guarded.users_path();
    let prove = |files: &[&PathBuf], name: &str, password: &str| {
        let login = login(&guarded, files, name, password);
        let first = guarded.authenticator.prove_login(&login, guarded.now);
        assert_eq!(
            guarded.authenticator.authorize_login(&login, guarded.now),
            Some(first),
            "it is remembered"
        );
        first
    };
    assert_eq!(prove(&[&admins, &phones], "root", "secret"), Ok(0));
    assert_eq!(prove(&[&admins, &phones], "PlcmSpIp", "secret"), Ok(1));
    assert_eq!(prove(&[&phones, &admins], "PlcmSpIp", "secret"), Ok(0));
    assert_eq!(prove(&[&admins], "PlcmSpIp", "secret"), Err(VaultError::Unauthorized));
    assert_eq!(prove(&[&admins, &phones], "nobody", "secret"), Err(VaultError::Unauthorized));
    assert_eq!(prove(&[&admins, &phones], "root", ""), Err(VaultError::Unauthorized));
}

#[test]
fn a_password_that_was_taken_out_of_its_file_opens_nothing_though_it_is_remembered() {
    let guarded = GuardedVault::users("");
    let phones = write_phones(&guarded, &[("ann", "old", true), ("ann", "new", true)]);
    let authorize = |secret: LoginSecret| {
        let login = Login { secret, ..login(&guarded, &[&phones], "ann", "") };
        guarded.authenticator.prove_login(&login, guarded.now)
    };
    let password = |text: &str| LoginSecret::Password(text.into());
    for text in ["old", "new"] {
        assert_eq!(authorize(password(text)), Ok(0), "both hold in the days of a change");
        assert_eq!(authorize(respond("ann", text, "MD5")), Ok(0));
    }
    let checked = guarded.checked();
    assert_eq!((authorize(password("old")), guarded.checked()), (Ok(0), checked));
    write_phones(&guarded, &[("ann", "new", true)]);
    assert_eq!(authorize(password("old")), Err(VaultError::Unauthorized));
    assert_eq!(authorize(respond("ann", "old", "SHA-256")), Err(VaultError::Unauthorized));
    assert_eq!(authorize(respond("ann", "new", "SHA-256")), Ok(0));
}

#[test]
fn a_response_is_checked_without_argon2_by_either_hash_and_for_its_own_user() {
    let guarded = GuardedVault::users("");
    let phones = write_phones(&guarded, &[("ann", "secret", true), ("bob", "secret", false)]);
    let authorize = |name: &str, secret: LoginSecret| {
        let login = Login { secret, ..login(&guarded, &[&phones], name, "") };
        guarded.authenticator.authorize_login(&login, guarded.now).expect("no argon2")
    };
    for algorithm in ["MD5", "SHA-256"] {
        assert_eq!(authorize("ann", respond("ann", "secret", algorithm)), Ok(0));
        assert_eq!(
            authorize("bob", respond("bob", "secret", algorithm)),
            Err(VaultError::Unauthorized)
        );
    }
    assert_eq!(guarded.checked(), 0);
}

#[test]
fn wrong_responses_make_their_user_wait_and_not_all_behind_the_address() {
    let mut guarded = GuardedVault::users("");
    let phones = write_phones(&guarded, &[("ann", "secret", true), ("bob", "secret", true)]);
    let authorize = |guarded: &GuardedVault, name: &str, password: &str| {
        let secret = respond(name, password, "MD5");
        let login = Login { secret, ..login(guarded, &[&phones], name, "") };
        guarded.authenticator.authorize_login(&login, guarded.now).expect("no argon2")
    };
    for _ in 0..6 {
        assert_eq!(authorize(&guarded, "ann", "wrong"), Err(VaultError::Unauthorized));
    }
    let wait = VaultError::SlowedDown(Duration::from_secs(1));
    assert_eq!(authorize(&guarded, "ann", "secret"), Err(wait));
    assert_eq!(authorize(&guarded, "bob", "secret"), Ok(0), "a neighbour behind the same NAT");
    guarded.now = guarded.now + Duration::from_secs(1);
    assert_eq!(authorize(&guarded, "ann", "secret"), Ok(0));
    // Phones that know the password do not pay for one that does not.
    for _ in 0..10 {
        assert_eq!(authorize(&guarded, "bob", "wrong"), Err(VaultError::Unauthorized));
        assert_eq!(authorize(&guarded, "bob", "secret"), Ok(0));
    }
    // A client that tries one name after another is slowed down as for any wrong secret.
    for name in ["c", "d", "e", "f"] {
        assert_eq!(authorize(&guarded, name, "x"), Err(VaultError::Unauthorized));
    }
    assert!(matches!(authorize(&guarded, "bob", "secret"), Err(VaultError::SlowedDown(_))));
}

#[test]
fn what_is_remembered_of_passwords_is_looked_at_again_after_two_weeks_at_most() {
    let mut guarded = GuardedVault::users("");
    let phones = write_phones(&guarded, &[("ann", "secret", false)]);
    let authorize = |guarded: &GuardedVault| {
        let login = login(guarded, &[&phones], "ann", "secret");
        guarded.authenticator.authorize_login(&login, guarded.now)
    };
    let first = login(&guarded, &[&phones], "ann", "secret");
    assert_eq!(guarded.authenticator.prove_login(&first, guarded.now), Ok(0));
    let day = Duration::from_secs(86_400);
    guarded.now = guarded.now + day * 6;
    assert_eq!(authorize(&guarded), Some(Ok(0)));
    guarded.now = guarded.now + day * 8;
    assert_eq!(authorize(&guarded), None);
}

#[test]
fn one_password_that_comes_many_times_at_once_is_hashed_once() {
    let guarded = GuardedVault::users("");
    let phones = write_phones(&guarded, &[("ann", "secret", false)]);
    let vault = Vault::new(cheap(), Arc::default()).unwrap();
    let (writer, _tasks) = crossbeam_channel::unbounded();
    let (secrets, unproven) = crossbeam_channel::bounded(2);
    let queues = Queues { writer: writer.clone(), secrets };
    let bring = |ticket: u64, password: &str| {
        let login = Box::new(login(&guarded, &[&phones], "ann", password));
        vault.handle_login(0, Ticket::made_up(ticket), login, &queues, guarded.now)
    };
    // Many requests with the same password take one of two slots.
    assert!((0..1_000).all(|ticket| bring(ticket, "secret").is_none()));
    assert!((1_000..1_500).all(|ticket| bring(ticket, "wrong").is_none()));
    let refused = bring(2_000, "other");
    assert!(matches!(refused, Some(StoreReply::Login { result: Err(VaultError::Busy), .. })));
    drop(queues);
    let replies = parking_lot::Mutex::new(Vec::new());
    let send_reply = |_, reply| replies.lock().push(reply);
    vault.run_secrets(&unproven, &writer, || guarded.now, send_reply);
    let results = replies.into_inner();
    let results: HashMap<_, _> = results
        .into_iter()
        .map(|reply| {
            let StoreReply::Login { ticket, result } = reply else { panic!("{reply:?}") };
            (ticket.number(), result)
        })
        .collect();
    assert_eq!(results.len(), 1_500);
    assert!((0..1_000).all(|ticket| results[&ticket] == Ok(0)));
    assert!((1_000..1_500).all(|ticket| results[&ticket] == Err(VaultError::Unauthorized)));
    let figures = vault.figures().secrets;
    assert_eq!((figures.checked, figures.slowed), (2, 0), "a password repeated guesses nothing");
}

/// A vault whose secrets are checked by the test itself.
struct SecretsBench {
    guarded: GuardedVault,
    phones: PathBuf,
    vault: Vault,
    queues: Option<Queues>,
    unproven: crossbeam_channel::Receiver<NeedsHash>,
}

impl SecretsBench {
    fn new() -> SecretsBench {
        let guarded = GuardedVault::users("");
        let phones = write_phones(&guarded, &[("ann", "secret", false)]);
        let vault = Vault::new(cheap(), Arc::default()).unwrap();
        let (writer, _) = crossbeam_channel::unbounded();
        let (secrets, unproven) = crossbeam_channel::bounded(100);
        SecretsBench { guarded, phones, vault, queues: Some(Queues { writer, secrets }), unproven }
    }

    fn bring(&self, ticket: u64, password: &str) -> CancelToken {
        let login = login(&self.guarded, &[&self.phones], "ann", password);
        let (cancel, queues) = (login.cancel.clone(), self.queues.as_ref().unwrap());
        let ticket = Ticket::made_up(ticket);
        let now = self.guarded.now;
        assert!(self.vault.handle_login(0, ticket, Box::new(login), queues, now).is_none());
        cancel
    }

    /// Checks all secrets, and returns the results in the order of the answers.
    fn check_all(&mut self) -> Vec<(u64, Result<usize, VaultError>)> {
        let Queues { writer, .. } = self.queues.take().unwrap();
        let answers = parking_lot::Mutex::new(Vec::new());
        let answer = |_, answer| {
            let StoreReply::Login { ticket, result } = answer else { panic!("{answer:?}") };
            answers.lock().push((ticket.number(), result));
        };
        self.vault.run_secrets(&self.unproven, &writer, || self.guarded.now, answer);
        answers.into_inner()
    }

    fn checked(&self) -> u64 {
        self.vault.figures().secrets.checked
    }
}

#[test]
fn the_password_of_a_client_that_has_left_is_not_computed() {
    let mut bench = SecretsBench::new();
    let left: Vec<_> = (0..50).map(|n| bench.bring(n, &format!("wrong {n}"))).collect();
    bench.bring(50, "secret");
    assert!(left.iter().all(CancelToken::cancel));
    let answers = bench.check_all();
    assert_eq!((answers.len(), bench.checked()), (51, 1), "each is answered, one was computed");
    assert_eq!(answers[50], (50, Ok(0)));
}

#[test]
fn a_login_is_proven_for_those_who_still_wait_for_it() {
    let mut bench = SecretsBench::new();
    let first = bench.bring(0, "secret");
    let second = bench.bring(1, "secret");
    bench.bring(2, "secret");
    bench.bring(3, "secret");
    assert!(first.cancel() && second.cancel());
    let answers = bench.check_all();
    let right = |ticket| answers.contains(&(ticket, Ok(0)));
    assert!(right(2) && right(3) && answers.len() == 4, "{answers:?}");
    assert_eq!(bench.checked(), 1);
}

#[test]
fn a_password_of_whom_nobody_knows_whether_he_left_is_checked_last() {
    let mut bench = SecretsBench::new();
    let (first, second) = (bench.bring(0, "wrong"), bench.bring(1, "other"));
    first.doubt();
    second.doubt();
    bench.bring(2, "secret");
    // The same as the second, by a client that is certainly there.
    bench.bring(3, "other");
    let answers = bench.check_all();
    let order: Vec<_> = answers.iter().map(|(ticket, _)| *ticket).collect();
    assert_eq!(order, [1, 3, 2, 0]);
    assert!(answers.contains(&(2, Ok(0))) && answers.contains(&(0, Err(VaultError::Unauthorized))));
}

#[test]
fn a_stop_ends_the_checks_after_the_one_that_runs() {
    let mut bench = SecretsBench::new();
    for ticket in 0..50 {
        bench.bring(ticket, &format!("wrong {ticket}"));
    }
    bench.bring(50, "wrong 1");
    bench.vault.stop();
    let answers = bench.check_all();
    assert_eq!((answers.len(), bench.checked()), (51, 0));
    assert!(answers.iter().all(|(_, result)| *result == Err(VaultError::Busy)));
}
