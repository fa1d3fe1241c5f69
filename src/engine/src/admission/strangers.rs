//! How many connections clients outside the access list have open.
//!
//! Strangers get an override file or a refusal. Permitted clients find a free connection however
//! many strangers connect. Counts only.

/// Strangers may use one connection in so many.
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

    /// Frees one that was taken.
    pub fn give_back(&mut self) {
        debug_assert!(self.open > 0);
        self.open -= 1;
    }

    /// Returns how many are taken.
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
