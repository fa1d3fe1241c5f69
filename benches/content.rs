//! The content store's work for the data path and the watch: names found, missed and changed in a
//! root of 200,000 files.

use std::hint::black_box;
use std::net::IpAddr;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use engine::catalog::blob::Version;
use engine::catalog::index::Index;
use engine::catalog::{Catalog, Entry, Root, RootId};
use engine::policy::remap::Remap;
use engine::policy::route::Routes;
use engine::policy::snapshot::{Policy, Snapshot};
use engine::policy::trace::NoTrace;
use engine::policy::{self, Action, Operation, Request, Resource};
use wire::name::FileName;

const FILES: u32 = 200_000;
const STACK: &[RootId] = &[RootId(0), RootId(1)];

fn asked(n: u32) -> Vec<u8> {
    format!("/SEP{n:012X}.cnf.xml").into_bytes()
}

fn root(id: u16, files: u32) -> Arc<Root> {
    let entries = (0..files).filter_map(|n| {
        let name = FileName::parse(&asked(n)).ok()?;
        let path = String::from_utf8_lossy(name.as_bytes());
        let entry = Arc::new(Entry::new(RootId(id), &path, Version::default()));
        Some((name.as_bytes().into(), entry))
    });
    Arc::new(Root { entries: entries.collect(), ..Root::default() })
}

fn find(c: &mut Criterion) {
    let catalog = Catalog { roots: vec![root(0, 10), root(1, FILES)] };
    let mut n = 0;
    let mut find = |first: u32| {
        n = (n + 7_919) % FILES;
        let name = FileName::parse(&asked(first + n)).ok()?;
        catalog.find(STACK, &name).map(|entry| entry.root)
    };
    c.bench_function("content/find/hit", |b| b.iter(|| black_box(find(0))));
    c.bench_function("content/find/miss", |b| b.iter(|| black_box(find(FILES))));
}

fn change(c: &mut Criterion) {
    let original: Index = root(0, FILES).entries.clone();
    let entry = Arc::new(Entry::new(RootId(0), "x", Version::default()));
    c.bench_function("content/index/publish-one-change", |b| {
        b.iter(|| {
            let mut index = original.clone();
            index.insert(b"sep000000000007.cnf.xml", Arc::clone(&entry));
            black_box(index)
        });
    });
}

fn resolve(c: &mut Criterion) {
    let client = IpAddr::from([10, 1, 2, 3]);
    let remaps: Vec<_> = (0..10)
        .filter_map(|n| Remap::new(&format!(r"^model{n}-(.*)\.cfg$"), "models/$1.cfg").ok())
        .collect();
    let rows = Routes { remaps, ..Routes::default() };
    for (case, routes) in [("no-rows", Routes::default()), ("ten-remaps", rows)] {
        let name = FileName::parse(b"46xxsettings.txt");
        c.bench_function(&format!("content/resolve/{case}"), |b| {
            b.iter(|| {
                let name = name.as_ref().ok()?;
                let renamed = routes.rename(black_box(name), client, &mut NoTrace).ok()?;
                let stack = routes.stack_for(client, STACK, &mut NoTrace);
                Some(black_box(renamed).as_bytes().len() + black_box(stack).len())
            });
        });
    }
}

/// The whole decision about a read by TFTP, from the bytes of the name to the entry.
fn decide(c: &mut Criterion) {
    let mut policy = Policy::default();
    policy.tftp.stack = STACK.to_vec();
    let catalog = Arc::new(Catalog { roots: vec![root(0, 10), root(1, FILES)] });
    let snapshot = Snapshot { policy: Arc::new(policy), catalog };
    let name = asked(4_711);
    let request = Request {
        client: IpAddr::from([10, 1, 2, 3]),
        resource: Resource::Tftp { name: &name },
        operation: Operation::Read,
        proven: None,
    };
    c.bench_function("policy/resolve/read", |b| {
        b.iter(|| {
            let decision = policy::resolve(black_box(&request), &snapshot, &mut NoTrace);
            matches!(decision.action, Action::Serve(_))
        });
    });
}

criterion_group!(benches, find, change, resolve, decide);
criterion_main!(benches);
