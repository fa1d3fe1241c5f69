//! Groups of phones that speak HTTP: what each one does, when it gets power, and what must arrive.
//!
//! Decides; opens nothing but the file of what the vault acknowledged.

use std::sync::Arc;
use std::time::Duration;

use phones::phone::http::{Action, Client, Pace, Plan, PlanStep, Presence, Secret};

use crate::harness::fleet::Schedule;
use crate::harness::tally::Role;
use crate::spec::{Command, GroupArgs, number};
use crate::tftp::group::{Contents, contents};
use crate::vault::{self, Expected, Version};

/// Bytes of firmware that say its version.
const HEADER_BYTES: u64 = 512;
/// Longest time over which slow connections are opened.
const SLOW_RAMP_MAX: Duration = Duration::from_secs(1);
/// Receive buffer of a phone that reads slowly.
const SLOW_RECEIVE_BYTES: usize = 4 << 10;

/// What one phone does.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    /// Its steps.
    pub(crate) plan: Arc<Plan>,
    /// What must come of each.
    pub(crate) expected: Arc<[Expected]>,
}

/// Where the steps of a group's phones come from.
#[derive(Clone, Debug)]
enum Source {
    /// Files and uploads, the names with a number of the phone in them or not.
    Files(Vec<PlanStep>),
    /// Requests at a rate: each phone asks for one of them.
    OneOf(Vec<PlanStep>),
    /// Versions for the vault: their size, how many all phones store, and the numbers in use.
    Puts { bytes: usize, puts: u32, used: Arc<std::collections::BTreeMap<String, Version>> },
    /// Versions that must be there.
    Verify(Vec<Version>),
    /// The vault's whole life.
    Vault { bytes: usize },
}

/// One group.
#[derive(Clone, Debug)]
pub(crate) struct HttpGroup {
    /// When its phones get power.
    pub(crate) schedule: Schedule,
    /// Number of its first loopback address.
    pub(crate) first_address: u32,
    /// How many it has.
    pub(crate) addresses: u32,
    /// How long its connections stay, where the phones are slow or idle.
    pub(crate) hold: Duration,
    /// Receive buffer, where it is small.
    pub(crate) receive_bytes: Option<usize>,
    client: Arc<Client>,
    source: Source,
    contents: Contents,
    shared: Option<Start>,
    prefix: String,
    family: String,
    first_extension: u32,
    seed: u64,
    secret: Option<(String, String, bool)>,
    pause: Duration,
    repeat: usize,
}

/// The groups of a command line.
pub(crate) fn groups(command: &Command) -> Result<Vec<HttpGroup>, String> {
    let web = &command.web;
    let mut args = command.groups()?;
    if web.boot.is_some() || web.verify.is_some() {
        args = vec![command.group.clone()];
    }
    let contents = contents_of(command, &args)?;
    let mut all = Vec::new();
    for role in [Role::Idle, Role::Slow] {
        let phones = if role == Role::Idle { web.idle } else { web.slow };
        if phones > 0 {
            all.push(crowd(command, role, phones, &contents)?);
        }
    }
    for args in args {
        let group = HttpGroup::new(command, args, &contents)?;
        if group.schedule.phones > 0 {
            all.push(group);
        }
    }
    let mut addresses = 0;
    for group in &mut all {
        group.first_address = addresses;
        addresses += group.addresses;
        group.shared = group.shared();
    }
    match all.is_empty() {
        true => Err("nothing to do: name a --file, a --boot, a --put or --verify".to_owned()),
        false => Ok(all),
    }
}

fn contents_of(command: &Command, args: &[GroupArgs]) -> Result<Contents, String> {
    let mut args = args.to_vec();
    if let Some(boot) = &command.web.boot {
        for group in &mut args {
            group.files = boot_names(boot, &command.web.firmware)?;
        }
    }
    for file in args.iter_mut().flat_map(|group| &mut group.files) {
        *file = file.trim_start_matches('/').to_owned();
    }
    Ok(contents(command.root.as_deref(), &args))
}

/// The names that a boot goes through; those that may be missing end in `?`.
fn boot_names(boot: &str, firmware: &str) -> Result<Vec<String>, String> {
    let names: &[&str] = match boot {
        "avaya9600" => &["96xxupgrade.txt", "46xxsettings.txt", "{mac}.txt?", firmware],
        "audiocodes" => &[firmware, "{mac}.cfg?", "46xxsettings.txt?"],
        "vault" => &[],
        unknown => {
            return Err(format!("there is no --boot {unknown:?}: avaya9600, audiocodes, vault"));
        }
    };
    Ok(names.iter().map(|name| (*name).to_owned()).collect())
}

/// Slow or idle connections.
fn crowd(
    command: &Command,
    role: Role,
    phones: u32,
    contents: &Contents,
) -> Result<HttpGroup, String> {
    let web = &command.web;
    let slow_put = web.slow_put.filter(|_| role == Role::Slow);
    let mut args = command.group.clone();
    (args.phones, args.rate, args.put) = (phones, None, None);
    (args.repeat, args.same_port) = (1, None);
    args.files.truncate(1);
    (args.ramp, args.start, args.kind) = (Duration::ZERO, Duration::ZERO, "plain".to_owned());
    let source = match slow_put {
        Some(bytes) => Source::Puts { bytes, puts: phones, used: Arc::default() },
        None if args.files.is_empty() => {
            return Err("--slow and --idle need a --file to ask for".to_owned());
        }
        None => Source::Files(steps(&args, command.prefix())?),
    };
    let mut group = HttpGroup::with(command, args, contents, source)?;
    group.schedule.role = role;
    let mut client = (*group.client).clone();
    if role == Role::Idle {
        group.schedule.label = format!("{phones} idle connections");
    } else {
        if web.slow_rate <= 0.0 || !web.slow_rate.is_finite() {
            return Err("--slow-rate must be more than nothing".to_owned());
        }
        let every = Duration::from_secs_f64(1.0 / web.slow_rate);
        // Apart, or all their bytes would come in one burst and wait for each other in this tool.
        group.schedule.ramp = every.min(SLOW_RAMP_MAX);
        client.timer = web.hold.max(every * 2);
        let (word, pace) = match (slow_put, web.slow_read) {
            (Some(_), _) => ("store", Pace::SlowToStore(every)),
            (None, true) => ("read", Pace::SlowToRead(every)),
            (None, false) => ("ask", Pace::SlowToAsk(every)),
        };
        group.schedule.label = format!("{phones} slow to {word}");
        client.pace = pace;
        group.receive_bytes = web.slow_read.then_some(SLOW_RECEIVE_BYTES);
    }
    group.client = Arc::new(client);
    Ok(group)
}

impl HttpGroup {
    fn new(command: &Command, args: GroupArgs, contents: &Contents) -> Result<HttpGroup, String> {
        let web = &command.web;
        if let Some(path) = &web.verify {
            let newest: Vec<Version> = vault::newest(path)?.into_values().collect();
            if newest.is_empty() {
                return Err(format!("{}: nothing was acknowledged in it", path.display()));
            }
            let phones = newest.len() as u32;
            let args = GroupArgs { phones, rate: None, ..args };
            let mut group = HttpGroup::with(command, args, contents, Source::Verify(newest))?;
            group.schedule.label = format!("{phones} extensions verified");
            return Ok(group);
        }
        if let Some(boot) = web.boot.clone() {
            let files = boot_names(&boot, &web.firmware)?;
            let label = format!("{} phones, boot {boot}", args.phones);
            let put = if boot == "vault" { None } else { args.put.clone() };
            let args = GroupArgs { files, put, ..args };
            let source = if boot == "vault" {
                Source::Vault { bytes: args.size }
            } else {
                let mut steps = steps(&args, command.prefix())?;
                if let Some(first) = steps.first_mut().filter(|_| boot == "audiocodes") {
                    first.action = Action::FetchHeader { bytes: HEADER_BYTES, asks_range: false };
                }
                Source::Files(steps)
            };
            let mut group = HttpGroup::with(command, args, contents, source)?;
            group.schedule.label = label;
            return Ok(group);
        }
        if web.puts > 0 {
            let size = args.put.as_deref().unwrap_or_default();
            let bytes = number(size).map_err(|_| "--puts needs a size: --put BYTES".to_owned())?;
            let known = web.acknowledged.as_deref().map(vault::newest).transpose()?;
            let used = Arc::new(known.unwrap_or_default());
            let phones = args.phones.min(web.puts);
            let source = Source::Puts { bytes, puts: web.puts, used };
            let args = GroupArgs { phones, ..args };
            let mut group = HttpGroup::with(command, args, contents, source)?;
            group.schedule.label = format!("{phones} phones, {} PUTs of {bytes} B", web.puts);
            return Ok(group);
        }
        let steps = steps(&args, command.prefix())?;
        let source = if args.rate.is_some() { Source::OneOf(steps) } else { Source::Files(steps) };
        HttpGroup::with(command, args, contents, source)
    }

    fn with(
        command: &Command,
        args: GroupArgs,
        contents: &Contents,
        source: Source,
    ) -> Result<HttpGroup, String> {
        let label = args.label();
        let alien = args.blksize.is_some()
            || args.windowsize.is_some()
            || args.timeout_option.is_some()
            || args.same_port.is_some()
            || args.tsize;
        if alien {
            return Err(format!(
                "{label:?}: blksize, windowsize, timeout-option, tsize and same-port are TFTP's"
            ));
        }
        let mut client = Client::new(&command.server().to_string());
        client.timer = args.timer.unwrap_or(client.timer);
        client.attempts = args.attempts.max(1);
        client.waits = args.tries;
        client.closes = args.kind.split('+').any(|kind| kind == "close");
        let (phones, ramp) = args.phones_within();
        let secret = match &command.web.secret {
            None => None,
            Some(pair) => {
                let (user, password) =
                    pair.split_once(':').ok_or("--secret is a USER:PASSWORD".to_owned())?;
                Some((user.to_owned(), password.to_owned(), !command.web.challenged))
            }
        };
        Ok(HttpGroup {
            schedule: Schedule {
                label,
                role: Role::Load,
                phones,
                concurrent: phones,
                start: args.start,
                ramp,
            },
            first_address: 0,
            addresses: if args.addresses == 0 { phones } else { args.addresses },
            hold: command.web.hold,
            receive_bytes: None,
            client: Arc::new(client),
            source,
            contents: Arc::clone(contents),
            shared: None,
            prefix: command.prefix().to_owned(),
            family: command.web.family.clone(),
            first_extension: command.web.first_extension,
            seed: command.seed,
            secret,
            pause: args.pause,
            repeat: args.repeat,
        })
    }

    /// The number of a phone's address.
    pub(crate) fn address(&self, number: u32) -> u32 {
        self.first_address + number % self.addresses.max(1)
    }

    /// What a phone does.
    pub(crate) fn start(&self, number: u32) -> Start {
        self.shared.clone().unwrap_or_else(|| self.made(number))
    }

    /// What all phones do, where that is the same for each.
    fn shared(&self) -> Option<Start> {
        let Source::Files(steps) = &self.source else { return None };
        let has_number = |text: &str| text.contains('{');
        let secret = self.secret.as_ref();
        let numbered = steps.iter().any(|step| step.path.contains(&b'{'))
            || secret.is_some_and(|(user, password, _)| has_number(user) || has_number(password));
        (!numbered).then(|| self.made(0))
    }

    fn made(&self, number: u32) -> Start {
        let (steps, expected): (Vec<PlanStep>, Vec<Expected>) = match &self.source {
            Source::Files(steps) => {
                let once = || steps.iter().map(|step| self.fetch(step, number));
                (0..self.repeat.max(1)).flat_map(|_| once()).unzip()
            }
            Source::OneOf(steps) => {
                let step = steps.get(number as usize % steps.len().max(1));
                step.map(|step| self.fetch(step, number)).into_iter().unzip()
            }
            Source::Puts { bytes, puts, used } => {
                let more = u32::from(number < puts % self.schedule.phones);
                let version = self.version(number, *bytes);
                let before = used.get(&version.path).map_or(0, |version| version.number);
                let numbers = before + 1..=before + puts / self.schedule.phones + more;
                numbers.map(|number| store(Version { number, ..version.clone() })).unzip()
            }
            Source::Verify(newest) => {
                let version = newest.get(number as usize);
                version
                    .map(|it| (PlanStep::fetch(&it.path), Expected::Newest(it.clone())))
                    .into_iter()
                    .unzip()
            }
            Source::Vault { bytes } => {
                let version = Version { number: 1, ..self.version(number, *bytes) };
                life(version).into_iter().unzip()
            }
        };
        let client = Arc::clone(&self.client);
        let fill = |text: &str| self.filled(text, number);
        let secret = self.secret.as_ref().map(|(user, password, shows_at_once)| {
            Secret::basic(&fill(user), &fill(password), *shows_at_once)
        });
        let stays = if self.schedule.role == Role::Idle { self.hold } else { Duration::ZERO };
        let pause = self.pause;
        let plan = Plan { client, secret, steps, pause, stays };
        Start { plan: Arc::new(plan), expected: expected.into() }
    }

    fn fetch(&self, step: &PlanStep, number: u32) -> (PlanStep, Expected) {
        let mut step = step.clone();
        let name = step.path.get(self.prefix.len()..).unwrap_or_default();
        let content = self.contents.get(name).map(Arc::clone);
        if step.path.contains(&b'{')
            && let Ok(path) = std::str::from_utf8(&step.path)
        {
            step.path = self.filled(path, number).into_bytes().into();
        }
        let expected = match (&step.action, content) {
            (Action::Store(_) | Action::Remove, _) | (_, None) => Expected::Unknown,
            (_, Some(content)) => Expected::Bytes(content),
        };
        (step, expected)
    }

    fn filled(&self, text: &str, number: u32) -> String {
        text.replace("{n}", &number.to_string())
            .replace("{mac}", &format!("00040d{number:06x}"))
            .replace("{ext}", &(self.first_extension + number).to_string())
    }

    fn version(&self, number: u32, bytes: usize) -> Version {
        let extension = (self.first_extension + number).to_string();
        let path = format!("{}{extension}_{}.txt", self.prefix, self.family);
        Version { extension, path, number: 0, bytes, seed: self.seed }
    }
}

fn store(version: Version) -> (PlanStep, Expected) {
    let action = Action::Store(version.content().into());
    (PlanStep { action, ..PlanStep::fetch(&version.path) }, Expected::Stored(version))
}

/// Nothing is there, it is stored, read, removed, and nothing is there.
fn life(version: Version) -> [(PlanStep, Expected); 5] {
    let fetch = PlanStep::fetch(&version.path);
    let absent = PlanStep { presence: Presence::MustNot, ..fetch.clone() };
    let remove = PlanStep { action: Action::Remove, ..fetch.clone() };
    [
        (absent.clone(), Expected::Unknown),
        store(version.clone()),
        (fetch, Expected::Newest(version)),
        (remove, Expected::Unknown),
        (absent, Expected::Unknown),
    ]
}

fn steps(args: &GroupArgs, prefix: &str) -> Result<Vec<PlanStep>, String> {
    let mut action = Action::Fetch;
    for kind in args.kind.split('+') {
        match kind {
            "plain" | "close" => {}
            "header" => action = Action::FetchHeader { bytes: HEADER_BYTES, asks_range: true },
            "drop" => action = Action::FetchHeader { bytes: HEADER_BYTES, asks_range: false },
            "revalidate" => action = Action::Revalidate,
            unknown => {
                return Err(format!("there is no kind {unknown:?} over HTTP"));
            }
        }
    }
    let path = |name: &str| format!("{prefix}{}", name.trim_start_matches('/'));
    let fetches = args.files.iter().map(|name| {
        let bare = name.strip_suffix('?').unwrap_or(name);
        let may = bare.len() < name.len();
        let presence = if may { Presence::May } else { Presence::Must };
        PlanStep { presence, action: action.clone(), ..PlanStep::fetch(&path(bare)) }
    });
    let stores = args.put.iter().map(|name| {
        let content = Version {
            extension: name.clone(),
            path: name.clone(),
            number: 0,
            bytes: args.size,
            seed: args.size as u64,
        };
        let action = Action::Store(content.content().into());
        PlanStep { action, ..PlanStep::fetch(&path(name)) }
    });
    let all: Vec<PlanStep> = fetches.chain(stores).collect();
    if all.is_empty() {
        return Err(format!("{:?}: there is no file to ask for", args.label()));
    }
    Ok(all)
}
