//! A group of phones: what they ask for, when each gets power, and from where it asks.
//!
//! Decides; sends nothing and keeps no phone.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::Arc;

use crate::harness::fleet::Schedule;
use crate::harness::tally::Role;
use crate::spec::GroupArgs;
use phones::phone::boot::{Action, Plan, PlanStep};
use phones::phone::tftp::Client;
use phones::random::Random;

/// Addresses of a group that asks at a rate, unless it says otherwise.
const RATE_ADDRESSES: u32 = 64;
/// Most ports that a phone with sockets of its own goes through.
const OWN_PORTS_MAX: usize = 64;

/// A phone that gets power now.
pub(crate) struct Start {
    /// What it does.
    pub(crate) plan: Arc<Plan>,
    /// Number of its address.
    pub(crate) address: u32,
    /// Its first port.
    pub(crate) first_port: u32,
    /// How many ports it has.
    pub(crate) ports: u32,
}

/// One group.
pub(crate) struct Group {
    args: GroupArgs,
    client: Arc<Client>,
    steps: Vec<PlanStep>,
    /// The plan of every phone, where names hold no number of the phone.
    plan: Option<Arc<Plan>>,
    contents: Contents,
    first_address: u32,
    addresses: u32,
    ports: u32,
    lanes: u32,
    /// Free places of a group that asks at a rate.
    pool: VecDeque<(u32, u32)>,
}

/// Files as they must arrive, by name.
pub(crate) type Contents = Arc<HashMap<Arc<[u8]>, Arc<[u8]>>>;

impl Group {
    /// A group whose addresses start at number `first_address`.
    pub(crate) fn new(
        args: GroupArgs,
        contents: Contents,
        first_address: u32,
    ) -> Result<Group, String> {
        let client = Arc::new(args.client()?);
        let addresses = match (args.addresses, args.rate) {
            (0, None) => args.phones,
            (0, Some(_)) => RATE_ADDRESSES,
            (addresses, _) => addresses,
        };
        let steps = steps(&args);
        if steps.is_empty() {
            return Err(format!("{:?}: there is no file to ask for", args.label()));
        }
        let lanes = if args.rate.is_some() { 1 } else { args.phones.div_ceil(addresses.max(1)) };
        Ok(Group {
            client,
            steps,
            plan: None,
            contents,
            first_address,
            addresses: addresses.max(1),
            ports: 1,
            lanes: lanes.max(1),
            pool: VecDeque::new(),
            args,
        })
    }

    /// Addresses that the group uses.
    pub(crate) fn addresses(&self) -> u32 {
        self.addresses
    }

    /// Ports that each address needs where every transfer is to have a new one.
    pub(crate) fn ports_wanted(&self) -> u32 {
        let transfers = self.steps.len() * usize::from(self.args.attempts) * 2;
        transfers.min(OWN_PORTS_MAX) as u32 * self.lanes
    }

    /// Says how many ports each address has.
    pub(crate) fn set_ports(&mut self, ports: u32) -> Result<(), String> {
        if self.args.rate.is_some() {
            let addresses = self.first_address..self.first_address + self.addresses;
            let of = |port| addresses.clone().map(move |address| (address, port));
            self.pool = (0..ports).flat_map(of).collect();
            self.ports = 1;
        } else {
            self.ports = ports / self.lanes;
        }
        if self.ports == 0 {
            let label = self.args.label();
            return Err(format!("{label:?}: needs {} --ports or more --addresses", self.lanes));
        }
        let numbered = self.steps.iter().any(|step| step.name.contains(&b'{'));
        if !numbered && self.args.rate.is_none() {
            self.plan = Some(Arc::new(self.plan_of(self.steps.clone())));
        }
        Ok(())
    }

    /// When its phones get power.
    pub(crate) fn schedule(&self) -> Schedule {
        let (phones, ramp) = self.args.phones_within();
        Schedule {
            label: self.args.label(),
            role: Role::Load,
            phones,
            concurrent: phones,
            start: self.args.start,
            ramp,
        }
    }

    /// What phone number `number` does, or `None` if there is no place for it.
    pub(crate) fn start(&mut self, number: u32) -> Option<Start> {
        if self.args.rate.is_some() {
            let (address, first_port) = self.pool.pop_front()?;
            let step = self.steps.get(number as usize % self.steps.len())?.clone();
            let plan = Arc::new(self.plan_of(vec![step.numbered(number)]));
            return Some(Start { plan, address, first_port, ports: 1 });
        }
        let plan = match &self.plan {
            Some(plan) => Arc::clone(plan),
            None => {
                let steps = self.steps.iter().map(|step| step.clone().numbered(number)).collect();
                Arc::new(self.plan_of(steps))
            }
        };
        let address = self.first_address + number % self.addresses;
        let first_port = number / self.addresses * self.ports;
        Some(Start { plan, address, first_port, ports: self.ports })
    }

    /// A phone is through, and its place is free for another.
    pub(crate) fn give_back(&mut self, address: u32, first_port: u32) {
        if self.args.rate.is_some() {
            self.pool.push_back((address, first_port));
        }
    }

    /// The file as it must arrive, where that is known.
    pub(crate) fn content(&self, name: &[u8]) -> Option<&Arc<[u8]>> {
        self.contents.get(name)
    }

    fn plan_of(&self, steps: Vec<PlanStep>) -> Plan {
        Plan {
            client: Arc::clone(&self.client),
            steps,
            ports: self.ports as u16,
            attempts: self.args.attempts.max(1),
            pause: self.args.pause,
            dally: self.args.dally,
        }
    }
}

fn steps(args: &GroupArgs) -> Vec<PlanStep> {
    let fetches = args.files.iter().map(|name| {
        let bare = name.strip_suffix('?').unwrap_or(name);
        PlanStep { may_be_missing: bare.len() < name.len(), ..PlanStep::fetch(bare) }
    });
    let stores = args.put.iter().map(|name| {
        let mut random = Random::new(args.size as u64);
        let content: Arc<[u8]> = (0..args.size).map(|_| random.next_u64() as u8).collect();
        PlanStep { action: Action::Store(content), ..PlanStep::fetch(name) }
    });
    let once: Vec<PlanStep> = fetches.chain(stores).collect();
    let times = args.same_port.unwrap_or(1) * args.repeat;
    (0..times).flat_map(|_| once.iter().cloned()).collect()
}

/// Fills the number of a phone into a name.
trait Numbered {
    fn numbered(self, number: u32) -> Self;
}

impl Numbered for PlanStep {
    fn numbered(mut self, number: u32) -> PlanStep {
        if let Ok(name) = std::str::from_utf8(&self.name)
            && name.contains('{')
        {
            let mac = format!("00040d{number:06x}");
            let name = name.replace("{n}", &number.to_string()).replace("{mac}", &mac);
            self.name = name.into_bytes().into();
        }
        self
    }
}

/// Reads the files of all groups from `root`; what is not there is not checked.
pub(crate) fn contents(root: Option<&Path>, groups: &[GroupArgs]) -> Contents {
    let Some(root) = root else { return Contents::default() };
    let names = groups.iter().flat_map(|group| &group.files);
    let read = names.filter_map(|name| {
        let bare = name.strip_suffix('?').unwrap_or(name);
        let bytes = std::fs::read(root.join(bare.trim_start_matches('/'))).ok()?;
        Some((bare.as_bytes().into(), bytes.into()))
    });
    Arc::new(read.collect())
}
