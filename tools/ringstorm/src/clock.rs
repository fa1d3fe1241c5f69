//! The clock of the run, and what the system says of CPU time and memory of a process.

use wire::time::Instant;

/// Reads a monotonic clock that starts at zero.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(std::time::Instant);

impl Clock {
    /// A clock that starts now.
    pub(crate) fn start() -> Clock {
        Clock(std::time::Instant::now())
    }

    /// The moment now.
    pub(crate) fn now(&self) -> Instant {
        Instant::from_micros(self.0.elapsed().as_micros() as u64)
    }
}

/// CPU time and memory of a process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// CPU time of all its threads, user and system, in seconds.
    pub(crate) cpu_seconds: f64,
    /// Most memory that it has had resident, in KiB.
    pub(crate) peak_kib: u64,
}

impl Usage {
    /// What was spent since an earlier look.
    pub(crate) fn since(self, before: Usage) -> Usage {
        Usage { cpu_seconds: self.cpu_seconds - before.cpu_seconds, ..self }
    }
}

/// What the system says of a process; `None` where it says nothing.
pub(crate) fn usage(process: &str) -> Option<Usage> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let after_name = stat.rsplit_once(')')?.1;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let peak_kib = peak.trim().trim_end_matches("kB").trim().parse().ok()?;
    // The kernel counts in hundredths of a second, independently of its own tick.
    Some(Usage { cpu_seconds: (user + system) / 100.0, peak_kib })
}
