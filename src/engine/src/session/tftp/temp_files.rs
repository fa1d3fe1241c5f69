//! How many uploads have a temporary file, which takes a descriptor and room on the disk.
//!
//! Counts only.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::address::AddressKey;

/// One address has at most one of so many.
const SHARE: usize = 8;

/// The uploads of a worker that have a temporary file.
#[derive(Debug, Default)]
pub(super) struct TempFiles {
    open: usize,
    by_address: HashMap<AddressKey, usize>,
}

impl TempFiles {
    /// Takes one of `most`, if there is one left for the client.
    pub(super) fn take(&mut self, client: IpAddr, most: usize) -> bool {
        let here = self.by_address.get(&client.into()).copied().unwrap_or_default();
        let has_room = self.open < most && here < (most / SHARE).max(1);
        if has_room {
            self.open += 1;
            self.by_address.insert(client.into(), here + 1);
        }
        has_room
    }

    /// Frees one that was taken.
    pub(super) fn give_back(&mut self, client: IpAddr) {
        let Some(here) = self.by_address.get_mut(&client.into()) else { return };
        self.open -= 1;
        *here -= 1;
        if *here == 0 {
            self.by_address.remove(&client.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_never_has_more_than_its_share() {
        let mut aside = TempFiles::default();
        let [one, other] = ["10.0.0.1", "::ffff:10.0.0.2"].map(|ip| ip.parse().unwrap());
        assert!((0..2).all(|_| aside.take(one, 16)));
        assert!(!aside.take(one, 16));
        assert!(aside.take(other, 16));
        assert!(!aside.take(other, 3), "all together");
        aside.give_back(one);
        assert!(aside.take(one, 16));
        (0..2).for_each(|_| aside.give_back(one));
        aside.give_back(other);
        assert_eq!((aside.open, aside.by_address.len()), (0, 0));
    }
}
