//! The limit of a Unix process (getrlimit(2)).

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the limit to the maximum for this process, and returns it: many systems start with 1,024,
/// for historical reasons, and allow far more.
pub(crate) fn raise() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return u64::MAX;
    };
    let raised = soft >= hard || setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
    if raised { hard } else { soft }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_the_system_allows_is_taken() {
        let taken = raise();
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap().0, taken);
        assert_eq!(raise(), taken);
    }
}
