//! Groups of phones that speak FTP: what each one does, when it begins, and what must come of it.
//!
//! Decides; opens nothing but the file of what was acknowledged.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use phones::phone::ftp::{Action, Client, Meeting, Plan, PlanStep, Presence, Security};

use crate::agents::{AgentAnswer, Manners};
use crate::harness::fleet::Schedule;
use crate::harness::tally::Role;
use crate::spec::{Command, GroupArgs};
use crate::target::Protocol;
use crate::tftp::group::{Contents, contents};
use crate::vault::{self, Expected, Version};

/// The user that phones log in as by default.
const ANONYMOUS: (&str, &str) = ("anonymous", "phone@");

/// What one phone does.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    /// Its session.
    pub(crate) plan: Arc<Plan>,
    /// What must come of each step.
    pub(crate) expected: Arc<[Expected]>,
    /// The number of its address.
    pub(crate) address: u32,
}

/// What the phones of a group do.
#[derive(Clone, Debug)]
enum Job {
    /// They stay logged in.
    Stay,
    /// They read these files.
    Get(Vec<String>),
    /// They store versions: their size, how many all phones store, and the numbers in use.
    Save { bytes: usize, saves: u32, used: Arc<BTreeMap<String, Version>> },
    /// They read what is stored, if anything is.
    Restore,
    /// They read what must be there.
    Verify(Vec<Version>),
}

/// One group.
#[derive(Clone, Debug)]
pub(crate) struct FtpGroup {
    /// When its phones begin.
    pub(crate) schedule: Schedule,
    /// Number of its first loopback address, and how many it has.
    addresses: (u32, u32),
    job: Job,
    client: Arc<Client>,
    login: (String, String),
    restores: bool,
    with_extension: bool,
    data_name: String,
    first_extension: u32,
    seed: u64,
    /// How the phones answer who they are, where a server that asks must refuse some.
    manners: Option<Manners>,
    contents: Contents,
    shared: Option<Arc<Plan>>,
    hold: Duration,
    repeat: usize,
}

/// The groups of a command line: idle sessions, and phones that want something.
pub(crate) fn groups(command: &Command) -> Result<Vec<FtpGroup>, String> {
    if !command.groups.is_empty() {
        return Err("over FTP there is one group of phones: --group has no meaning".to_owned());
    }
    if command.group.put.is_some() || command.web.boot.is_some() || command.web.slow > 0 {
        return Err("--put, --boot and --slow have no meaning over FTP: name a --save, a \
                    --restore, a --get, --idle or --verify"
            .to_owned());
    }
    let mut all = Vec::new();
    let mut addresses = 0;
    if command.web.idle > 0 {
        let mut group = FtpGroup::new(command, Job::Stay, command.web.idle, addresses)?;
        let idle = &mut group.schedule;
        idle.label = format!("{} idle sessions", idle.phones);
        (idle.role, idle.ramp, idle.start) = (Role::Idle, Duration::ZERO, Duration::ZERO);
        addresses = group.addresses.1;
        all.push(group);
    }
    if let Some((job, phones)) = job(command)? {
        let mut group = FtpGroup::new(command, job, phones, addresses)?;
        group.schedule.label = group.label();
        all.push(group);
    }
    for group in &mut all {
        group.shared = group.shared();
    }
    match all.is_empty() {
        true => {
            Err("nothing to do: name a --save, a --restore, a --get, --idle or --verify".into())
        }
        false => Ok(all),
    }
}

/// What the phones do, and how many there are.
fn job(command: &Command) -> Result<Option<(Job, u32)>, String> {
    let (ftp, web, args) = (&command.ftp, &command.web, &command.group);
    if let Some(path) = &web.verify {
        let newest: Vec<Version> = vault::newest(path)?.into_values().collect();
        if newest.is_empty() {
            return Err(format!("{}: nothing was acknowledged in it", path.display()));
        }
        let phones = newest.len() as u32;
        return Ok(Some((Job::Verify(newest), phones)));
    }
    let (phones, _) = args.phones_within();
    let names: Vec<String> = args.files.iter().chain(&ftp.get).cloned().collect();
    Ok(match (ftp.save, names.is_empty()) {
        (Some(_), false) => return Err("--get and --save are for two runs".to_owned()),
        (Some(bytes), true) => {
            let known = web.acknowledged.as_deref().map(vault::newest).transpose()?;
            let saves = if web.puts == 0 { phones } else { web.puts };
            let used = Arc::new(known.unwrap_or_default());
            Some((Job::Save { bytes, saves, used }, phones.min(saves)))
        }
        (None, false) => Some((Job::Get(names), phones)),
        (None, true) if ftp.restore => Some((Job::Restore, phones)),
        (None, true) => None,
    })
}

impl FtpGroup {
    fn new(
        command: &Command,
        job: Job,
        phones: u32,
        first_address: u32,
    ) -> Result<FtpGroup, String> {
        let (ftp, web, args) = (&command.ftp, &command.web, &command.group);
        let login = match &web.secret {
            None => (ANONYMOUS.0.to_owned(), ANONYMOUS.1.to_owned()),
            Some(pair) => {
                let (user, password) =
                    pair.split_once(':').ok_or("--secret is a USER:PASSWORD".to_owned())?;
                (user.to_owned(), password.to_owned())
            }
        };
        let concurrent = match (&job, ftp.concurrent) {
            (Job::Stay, _) | (_, None) => phones,
            (_, Some(count)) => count.clamp(1, phones.max(1)),
        };
        // Sessions that follow each other on one place are those of one phone.
        let own = if let Job::Get(_) = job { concurrent } else { phones };
        let addresses = if args.addresses == 0 { own } else { args.addresses };
        let names = match &job {
            Job::Get(names) => names.clone(),
            Job::Stay | Job::Save { .. } | Job::Restore | Job::Verify(_) => Vec::new(),
        };
        let files = GroupArgs { files: names, ..args.clone() };
        let manners = Manners::new(ftp, web.first_extension, command.seed)?;
        Ok(FtpGroup {
            schedule: Schedule {
                label: String::new(),
                role: Role::Load,
                phones,
                concurrent,
                start: args.start,
                ramp: args.phones_within().1,
            },
            addresses: (first_address, addresses.max(1)),
            job,
            client: Arc::new(client(command)?),
            manners: manners.filter(|_| web.secret.is_none()),
            login,
            restores: ftp.restore,
            with_extension: ftp.with_extension,
            data_name: ftp.data_name.clone(),
            first_extension: web.first_extension,
            seed: command.seed,
            contents: contents(command.root.as_deref(), &[files]),
            shared: None,
            hold: web.hold,
            repeat: args.repeat.max(1),
        })
    }

    fn label(&self) -> String {
        let Schedule { phones, concurrent, .. } = self.schedule;
        let label = match &self.job {
            Job::Stay => format!("{phones} idle sessions"),
            Job::Get(names) => format!("{phones} sessions, RETR {}", names.join(" ")),
            Job::Save { bytes, saves, .. } if self.restores => {
                format!("{phones} phones, {saves} STORs of {bytes} B, each read again")
            }
            Job::Save { bytes, saves, .. } => {
                format!("{phones} phones, {saves} STORs of {bytes} B")
            }
            Job::Restore => format!("{phones} phones, RETR {}", self.data_name),
            Job::Verify(_) => format!("{phones} extensions verified"),
        };
        let at_a_time = format!(", {concurrent} at a time");
        label + if concurrent < phones { &at_a_time } else { "" }
    }

    /// What all phones do, where that is the same for each.
    fn shared(&self) -> Option<Arc<Plan>> {
        let is_same = match &self.job {
            Job::Stay => true,
            Job::Get(names) => names.iter().all(|name| !name.contains('{')),
            Job::Save { .. } | Job::Restore | Job::Verify(_) => false,
        };
        let has_number = self.login.0.contains('{') || self.login.1.contains('{');
        (is_same && !has_number).then(|| self.start(0).plan)
    }

    /// What a phone does.
    pub(crate) fn start(&self, number: u32) -> Start {
        let (first, count) = self.addresses;
        let mut address = first + number % count;
        if let Some(plan) = &self.shared {
            return Start { plan: Arc::clone(plan), expected: [].into(), address };
        }
        let extension = self.first_extension.saturating_add(address);
        let (steps, expected): (Vec<PlanStep>, Vec<Expected>) = match &self.job {
            Job::Stay => (Vec::new(), Vec::new()),
            Job::Get(names) => {
                let once =
                    || names.iter().map(|name| (self.fetch(name, number), Expected::Unknown));
                (0..self.repeat).flat_map(|_| once()).unzip()
            }
            Job::Save { bytes, saves, used } => {
                let more = u32::from(number < saves % self.schedule.phones.max(1));
                let version = self.version(extension, *bytes);
                let before = used.get(&version.path).map_or(0, |version| version.number);
                let numbers = before + 1..=before + saves / self.schedule.phones.max(1) + more;
                let each = numbers.map(|number| Version { number, ..version.clone() });
                each.flat_map(|version| self.life(version, address)).unzip()
            }
            // Version 0 was never stored: any that was is newer.
            Job::Restore => [self.restore(self.version(extension, 0), address)].into_iter().unzip(),
            Job::Verify(newest) => {
                let version = newest.get(number as usize);
                let read = |version: &Version| {
                    let extension: u32 = version.extension.parse().unwrap_or(extension);
                    address = extension.saturating_sub(self.first_extension);
                    let step = PlanStep::fetch(&self.spelled(&version.extension));
                    (step, Expected::Newest(version.clone()))
                };
                version.map(read).into_iter().unzip()
            }
        };
        let login = (self.filled(&self.login.0, number), self.filled(&self.login.1, number));
        let plan = Plan {
            client: Arc::clone(&self.client),
            user: login.0.into(),
            password: login.1.into(),
            steps,
            stays: if self.schedule.role == Role::Idle { self.hold } else { Duration::ZERO },
        };
        Start { plan: Arc::new(plan), expected: expected.into(), address }
    }

    fn fetch(&self, name: &str, number: u32) -> PlanStep {
        let bare = name.strip_suffix('?').unwrap_or(name);
        let presence = if bare.len() < name.len() { Presence::May } else { Presence::Must };
        let expected = self.contents.get(bare.as_bytes()).map(Arc::clone);
        let name = self.filled(bare, number);
        PlanStep { action: Action::Fetch(expected), presence, ..PlanStep::fetch(&name) }
    }

    fn filled(&self, text: &str, number: u32) -> String {
        let address = self.addresses.0 + number % self.addresses.1;
        text.replace("{n}", &number.to_string())
            .replace("{mac}", &format!("00040d{address:06x}"))
            .replace("{ext}", &self.first_extension.saturating_add(address).to_string())
    }

    /// The name of a phone's data as the phone spells it.
    fn spelled(&self, extension: &str) -> String {
        match self.with_extension {
            true => format!("{extension}_{}", self.data_name),
            false => self.data_name.clone(),
        }
    }

    fn version(&self, extension: u32, bytes: usize) -> Version {
        let extension = extension.to_string();
        // As it is kept, however the phone spells it.
        let path = format!("{extension}_{}", self.data_name);
        Version { extension, path, number: 0, bytes, seed: self.seed }
    }

    /// What a phone tells about itself.
    fn answer(&self, address: u32) -> AgentAnswer {
        self.manners.as_ref().map_or(AgentAnswer::Right, |manners| manners.answer(address))
    }

    /// It is stored, and where that is asked for read again.
    fn life(&self, version: Version, address: u32) -> Vec<(PlanStep, Expected)> {
        let content: Arc<[u8]> = version.content().into();
        let step = PlanStep::fetch(&self.spelled(&version.extension));
        let store = PlanStep { action: Action::Store(Arc::clone(&content)), ..step.clone() };
        let read = PlanStep { action: Action::Fetch(Some(content)), ..step };
        let mut steps = vec![match self.answer(address) {
            AgentAnswer::Right => (store, Expected::Stored(version)),
            // Under whose name it is kept is not for this phone to say.
            AgentAnswer::Wrong if !self.with_extension => (store, Expected::Unknown),
            AgentAnswer::Wrong | AgentAnswer::Silent => (refused(store), Expected::Unknown),
        }];
        if self.restores && self.answer(address) == AgentAnswer::Right {
            steps.push((read, Expected::Unknown));
        }
        steps
    }

    fn restore(&self, version: Version, address: u32) -> (PlanStep, Expected) {
        let step = PlanStep::fetch(&self.spelled(&version.extension));
        let may = PlanStep { presence: Presence::May, ..step.clone() };
        match self.answer(address) {
            AgentAnswer::Right => (may, Expected::Newest(version)),
            AgentAnswer::Wrong if !self.with_extension => (may, Expected::Unknown),
            AgentAnswer::Wrong | AgentAnswer::Silent => (refused(step), Expected::Unknown),
        }
    }
}

fn refused(step: PlanStep) -> PlanStep {
    PlanStep { presence: Presence::MustNot, ..step }
}

fn client(command: &Command) -> Result<Client, String> {
    let (ftp, args, server) = (&command.ftp, &command.group, command.server().ip());
    let mut client = Client::new(server);
    let is_extended = ftp.extended || server.is_ipv6();
    client.meeting = match (ftp.active, is_extended) {
        (false, false) => Meeting::Passive,
        (false, true) => Meeting::ExtendedPassive,
        (true, false) => Meeting::Active,
        (true, true) => Meeting::ExtendedActive,
    };
    client.security = match (command.protocol()?, ftp.ftp_tls) {
        (Protocol::Ftps, false) => Security::Implicit,
        (Protocol::Ftps, true) => {
            return Err("--ftp-tls is for ftp:// URLs; ftps:// is secured already".to_owned());
        }
        (_, true) => Security::Explicit,
        (_, false) => Security::Clear,
    };
    client.directory = command.prefix().trim_matches('/').as_bytes().into();
    client.timer = args.timer.unwrap_or(client.timer);
    client.attempts = args.attempts.max(1);
    client.waits = args.tries;
    client.again_after = ftp.again_after;
    Ok(client)
}
