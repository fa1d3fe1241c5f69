//! The steps of HTTP phones when it is their turn, and how they are counted.
//!
//! Drives the machines of `phones::phone::http` over real connections.

use std::io;

use mio::Registry;
use mio::event::Event;
use phones::phone::http::{ConnectionOp, Ending, FileResult, Loss};
use wire::time::{Duration, Instant};

use super::World;
use super::caller::Caller;
use crate::connection::Scratch;
use crate::harness::fleet::{Begin, Caller as _, Context, Driver, Schedule};
use crate::harness::run::Connected;
use crate::harness::tally::{Count, GroupTally, Reason, Role, Time};
use crate::vault::Register;

/// Things that one phone does before the others have their turn.
const STEPS_MAX: usize = 256;

/// The phones of one thread.
pub(crate) struct Phones<'w> {
    world: &'w World,
    registry: Registry,
    register: Option<Register>,
    scratch: Scratch,
}

impl<'w> Phones<'w> {
    /// Phones whose sockets are waited for there.
    pub(crate) fn new(
        world: &'w World,
        registry: Registry,
        register: Option<Register>,
    ) -> Phones<'w> {
        Phones { world, registry, register, scratch: Scratch::new() }
    }
}

impl Driver for Phones<'_> {
    type Caller = Caller;

    fn schedules(&self) -> Vec<Schedule> {
        self.world.groups.iter().map(|group| group.schedule.clone()).collect()
    }

    fn begin(&mut self, begin: Begin) -> Option<Caller> {
        Some(Caller::new(&self.world.groups[begin.group], begin))
    }

    fn serve(&mut self, caller: &mut Caller, id: u32, context: &mut Context<'_>) {
        for _ in 0..STEPS_MAX {
            let tally = &mut context.run.groups[caller.group];
            if let Err(trouble) = caller.carry(&mut self.scratch, tally, context.now) {
                caller.lose(trouble, context.run, context.now);
            }
            caller.record_results(&mut self.register, context);
            match caller.phone.poll_connection_op() {
                Some(ConnectionOp::Close) => caller.close(),
                Some(ConnectionOp::Connect) => {
                    let opened = caller.open(self.world, (&self.registry, id), context.now);
                    if let Err(trouble) = opened {
                        caller.lose(trouble, context.run, context.now);
                    }
                }
                None => break,
            }
        }
    }

    fn end(&mut self, mut caller: Caller, context: &mut Context<'_>) {
        caller.close();
        if caller.role != Role::Load && !caller.was_ended && !caller.has_failed() {
            context.run.groups[caller.group].add(Count::Stayed, 1_u64);
        }
    }
}

impl Connected for Phones<'_> {
    const SOCKETS: usize = 1;

    fn handle_ready(caller: &mut Caller, event: &Event) {
        caller.handle_ready(event);
    }

    fn register(&mut self, now: Instant, is_end: bool) -> io::Result<()> {
        self.register.as_mut().map_or(Ok(()), |register| register.keep(now, is_end))
    }
}

/// What a phone counted while it dealt with a file.
pub(crate) fn count(group: &mut GroupTally, result: &FileResult) {
    let tally = &result.tally;
    group.add(Count::Bytes, tally.bytes);
    for (count, times) in [
        (Count::Answers, tally.answers),
        (Count::Connects, tally.connects),
        (Count::Unreachable, tally.unreachable),
        (Count::Resets, tally.resets),
        (Count::Timeouts, tally.timeouts),
        (Count::Reopened, tally.reopened),
        (Count::Waits, tally.waits),
        (Count::Unasked, tally.unasked),
    ] {
        group.add(count, times);
    }
}

/// A file ended; `wrong` is the fault of its bytes, if they have one.
pub(crate) fn file(
    group: &mut GroupTally,
    result: &FileResult,
    wrong: Option<&str>,
    end: Duration,
) {
    count(group, result);
    match wrong {
        None if result.is_good => group.file(result.took, end),
        None => group.fail(words(result.ending)),
        Some(wrong) => group.fail(wrong.to_owned()),
    }
}

/// The server ended a slow or an idle connection that lived this long.
pub(crate) fn ended(group: &mut GroupTally, ending: Ending, lived: Duration) {
    group.took(Time::Lived, lived);
    group.because(Reason::Endings, words(ending));
}

/// An ending in words.
fn words(ending: Ending) -> String {
    match ending {
        Ending::Done => "done".to_owned(),
        Ending::Unchanged => "unchanged".to_owned(),
        Ending::Left => "left".to_owned(),
        Ending::Refused(status) => format!("status {status}"),
        Ending::Lost(loss) => lost(loss).to_owned(),
        Ending::ConnectTimedOut => "connect timed out".to_owned(),
        Ending::TimedOut => "timed out".to_owned(),
        Ending::Fault(fault) => fault.words().to_owned(),
    }
}

/// How a connection was lost, in words.
pub(crate) fn lost(loss: Loss) -> &'static str {
    match loss {
        Loss::Closed => "closed",
        Loss::Reset => "reset",
        Loss::Unreachable => "not reached",
        Loss::Unsecured => "not secured",
    }
}
