//! The steps of FTP phones when it is their turn, and how they are counted.
//!
//! Drives the machines of `phones::phone::ftp` over real connections.

use std::io;

use mio::Registry;
use mio::event::Event;
use phones::phone::ftp::{Ending, FileResult, Refusal};
use wire::time::{Duration, Instant};

use super::World;
use super::caller::{Caller, SOCKETS};
use crate::connection::Scratch;
use crate::harness::fleet::{Begin, Caller as _, Context, Driver, Schedule};
use crate::harness::run::Connected;
use crate::harness::tally::{Count, GroupTally, Reason, Role};
use crate::http::lost;
use crate::vault::Register;

/// Things that one phone does before the others have their turn.
const STEPS_MAX: usize = 256;
/// Most refusals in different words that are counted apart.
const WORDS_MAX: usize = 32;

/// The phones.
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
        let (world, now) = (self.world, context.now);
        for _ in 0..STEPS_MAX {
            let place = (&self.registry, id);
            caller.carry(world, place, &mut self.scratch, context.run, now);
            caller.record_results(&mut self.register, context);
            let Some(op) = caller.phone.poll_connection_op() else { break };
            caller.execute(op, world, place, context.run, now);
            caller.record_results(&mut self.register, context);
        }
    }

    fn end(&mut self, mut caller: Caller, context: &mut Context<'_>) {
        caller.hang_up();
        let (has_failed, end) = (caller.has_failed(), context.since());
        let tally = &mut context.run.groups[caller.group];
        tally.phone(context.now - caller.due(), end, !has_failed);
        match (caller.role, has_failed, caller.phone.was_ended()) {
            (Role::Idle | Role::Slow, false, true) => tally.add(Count::Ended, 1_u64),
            (Role::Idle | Role::Slow, false, false) => tally.add(Count::Stayed, 1_u64),
            (Role::Load, _, _) | (Role::Idle | Role::Slow, true, _) => {}
        }
    }
}

impl Connected for Phones<'_> {
    const SOCKETS: usize = SOCKETS;

    fn handle_ready(caller: &mut Caller, event: &Event) {
        caller.handle_ready(event);
    }

    fn register(&mut self, now: Instant, is_end: bool) -> io::Result<()> {
        self.register.as_mut().map_or(Ok(()), |register| register.keep(now, is_end))
    }
}

/// The server refused something, for the moment or for good.
pub(crate) fn refused(group: &mut GroupTally, refusal: &Refusal) {
    let words = same_words(&String::from_utf8_lossy(&refusal.text));
    let words = format!("{} {words}", refusal.code.0);
    let refusals = &group[Reason::Refusals];
    let is_known = refusals.contains_key(&words) || refusals.len() < WORDS_MAX;
    group.because(Reason::Refusals, if is_known { words } else { "in other words".to_owned() });
}

/// A file ended; `wrong` is the fault of its bytes, if they have one.
pub(crate) fn file(
    group: &mut GroupTally,
    result: &FileResult,
    wrong: Option<&str>,
    end: Duration,
) {
    let tally = &result.tally;
    group.add(Count::Bytes, tally.bytes_read);
    group.add(Count::BytesStored, tally.bytes_stored);
    for (count, times) in [
        (Count::Answers, tally.replies),
        (Count::Unreachable, tally.unreachable),
        (Count::Resets, tally.resets),
        (Count::Timeouts, tally.timeouts),
        (Count::Again, tally.again),
        (Count::Waits, tally.waits),
        (Count::Unasked, tally.unasked),
    ] {
        group.add(count, times);
    }
    match wrong {
        None if result.is_good => group.file(result.took, end),
        None => group.fail(words(result.ending)),
        Some(wrong) => group.fail(wrong.to_owned()),
    }
}

/// Words that differ in numbers alone are the same: those of a thousand phones.
fn same_words(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match (letter.is_ascii_digit(), letter.is_control(), out.ends_with('#')) {
            (true, _, true) => {}
            (true, _, false) => out.push('#'),
            (false, true, _) => out.push(' '),
            (false, false, _) => out.push(letter),
        }
    }
    out
}

/// An ending in words.
fn words(ending: Ending) -> String {
    match ending {
        Ending::Done => "done".to_owned(),
        Ending::Refused(code) => format!("refused ({})", code.0),
        Ending::Lost(loss) => lost(loss).to_owned(),
        Ending::DataLost(loss) => format!("data connection {}", lost(loss)),
        Ending::TimedOut => "timed out".to_owned(),
        Ending::Fault(fault) => fault.words().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_that_differ_in_numbers_alone_are_counted_together_and_kinds_have_a_limit() {
        let mut tally = GroupTally::new(String::new(), Role::Load);
        let mut refuse = |text: &str| {
            let code = wire::ftp::reply::Code(550);
            refused(&mut tally, &Refusal { code, text: text.as_bytes().into() });
        };
        refuse("127.0.0.9 is 2001's, not 2002's");
        refuse("127.0.1.12 is 31's, not 2003's");
        let letters = 'a'..='z';
        for (one, other) in letters.clone().flat_map(|one| letters.clone().map(move |it| (one, it)))
        {
            refuse(&format!("{one}{other}"));
        }
        let refusals = &tally[Reason::Refusals];
        assert_eq!(refusals.get("550 #.#.#.# is #'s, not #'s"), Some(&2));
        assert_eq!(refusals.len(), WORDS_MAX + 1);
        assert_eq!(refusals.values().sum::<u64>(), 2 + 26 * 26);
    }
}
