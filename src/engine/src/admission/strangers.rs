//! How many connections clients outside the access list have open.
//!
//! They are served override files or nothing. However many of them come, permitted clients find a
//! place. Counts only.

/// Strangers have one place of so many.
const SHARE: usize = 8;

/// The connections that strangers have open in one engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Strangers {
    open: usize,
}

impl Strangers {
    /// Takes one of `places` that all connections share, if strangers may have one more.
    #[must_use]
    pub fn take(&mut self, places: usize) -> bool {
        let has_room = self.open < (places / SHARE).max(1);
        self.open += usize::from(has_room);
        has_room
    }

    /// One that was taken is free again.
    pub fn give_back(&mut self) {
        debug_assert!(self.open > 0);
        self.open -= 1;
    }

    /// How many are taken.
    #[must_use]
    pub fn open(self) -> usize {
        self.open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_have_an_eighth_and_at_least_one_place() {
        let mut strangers = Strangers::default();
        assert!((0..2).all(|_| strangers.take(16)));
        assert!(!strangers.take(16));
        strangers.give_back();
        assert!(strangers.take(16));
        assert!(Strangers::default().take(1));
    }
}
