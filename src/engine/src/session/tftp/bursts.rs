//! How many blocks of a window are sent together, before a pause in which a gap can be reported.
//!
//! A receiver acknowledges a whole window or a gap, and drops all that follows a gap (RFC 7440,
//! section 4), so blocks sent between a loss and its report are wasted. A burst is therefore a part
//! of what usually gets through between two losses. Counts blocks; knows no time.

/// Most blocks of the first burst: as many as a window has by default.
const FIRST_BLOCKS: u16 = 64;
/// Blocks of the shortest burst.
const BLOCKS_MIN: u16 = 2;
/// A burst is this part of a run. So one burst of so many meets a loss, and half of it is wasted.
const RUN_PARTS: u16 = 4;

/// The size of bursts, learned from losses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bursts {
    /// Blocks that got through since the last loss.
    run_blocks: u16,
    /// Blocks between two losses, smoothed; short runs count for more than long ones.
    usual_blocks: u16,
}

impl Default for Bursts {
    fn default() -> Self {
        Bursts { run_blocks: 0, usual_blocks: FIRST_BLOCKS * RUN_PARTS }
    }
}

impl Bursts {
    /// So many more blocks got through.
    pub(super) fn handle_progress(&mut self, blocks: u64) {
        let blocks = u16::try_from(blocks).unwrap_or(u16::MAX);
        self.run_blocks = self.run_blocks.saturating_add(blocks);
    }

    /// A block was lost after those that got through.
    pub(super) fn handle_loss(&mut self) {
        let (run, usual) = (self.run_blocks, self.usual_blocks);
        self.usual_blocks = if run < usual {
            usual / 4 + run / 4 * 3
        } else {
            usual.saturating_add((run - usual) / 8)
        };
        self.run_blocks = 0;
    }

    /// Returns the blocks of the next burst of a window of `window`.
    #[must_use]
    pub(super) fn blocks(&self, window: u16) -> u16 {
        // Only a run of twice the usual length shows a better line and not luck.
        let run = (self.run_blocks / 2).max(self.usual_blocks);
        (run / RUN_PARTS).max(BLOCKS_MIN).min(window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clean_line_gets_whole_windows() {
        let mut bursts = Bursts::default();
        for _ in 0..100 {
            assert_eq!(bursts.blocks(64), 64);
            bursts.handle_progress(64);
        }
        assert_eq!(bursts.blocks(4_096), 800);
    }

    #[test]
    fn a_burst_is_a_quarter_of_what_gets_through_between_losses() {
        let mut bursts = Bursts::default();
        for _ in 0..100 {
            bursts.handle_progress(30);
            bursts.handle_loss();
        }
        assert!((5..=8).contains(&bursts.blocks(64)), "{bursts:?}");
        bursts.handle_progress(600);
        assert_eq!(bursts.blocks(64), 64);
    }

    #[test]
    fn a_burst_has_more_than_one_block_and_no_more_than_the_window() {
        let mut bursts = Bursts::default();
        for _ in 0..100 {
            bursts.handle_loss();
        }
        assert_eq!(bursts.blocks(64), 2);
        assert_eq!(bursts.blocks(1), 1);
    }
}
