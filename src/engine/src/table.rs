//! The table of a worker's open transfers and connections, one per row.
//!
//! Knows nothing of what its rows hold. An id never finds a row that was freed and used again.
//!
//! Why not `slotmap`: sockets, tokens of `mio` and awaited ports are kept beside a table in plain
//! lists by row number, and a key of `slotmap` gives that number only in its opaque form for FFI.
//! Its rows are unions behind `unsafe`. These sixty lines are safe code and cost the same: one
//! comparison per look-up, and no allocation but for more rows.

/// A row of a table, and the generation of its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowId {
    /// The row; free again once its content has gone.
    pub row: u32,
    generation: u32,
}

impl RowId {
    /// An id that no table issued, for tests.
    #[doc(hidden)]
    #[must_use]
    pub const fn made_up(row: u32, generation: u32) -> RowId {
        RowId { row, generation }
    }

    pub(crate) fn number(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.row)
    }
}

/// Rows, each found by the id that it had when it was inserted.
#[derive(Debug)]
pub struct Table<T> {
    rows: Vec<TableRow<T>>,
    ids: RowIds,
}

#[derive(Debug)]
struct TableRow<T> {
    generation: u32,
    content: Option<T>,
}

/// The ids of a table, apart from the rows' content, so that a borrower of one row can reserve
/// another.
#[derive(Debug, Default)]
pub struct RowIds {
    /// The newest generation of each row.
    generations: Vec<u32>,
    free: Vec<u32>,
}

impl RowIds {
    /// Returns the id of a row for [`Table::fill`], which must follow.
    pub fn reserve(&mut self) -> RowId {
        let row = self.free.pop().unwrap_or_else(|| {
            self.generations.push(0);
            (self.generations.len() - 1) as u32
        });
        RowId { row, generation: self.generations[row as usize] }
    }

    fn release(&mut self, id: RowId) {
        self.generations[id.row as usize] = id.generation.wrapping_add(1);
        self.free.push(id.row);
    }
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table { rows: Vec::new(), ids: RowIds::default() }
    }
}

impl<T> Table<T> {
    /// Returns the number of open rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.generations.len() - self.ids.free.len()
    }

    /// Returns whether no row is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the row with this id, or `None` if it has gone.
    #[must_use]
    pub fn open(&self, id: RowId) -> Option<&T> {
        let row = self.rows.get(id.row as usize)?;
        row.content.as_ref().filter(|_| row.generation == id.generation)
    }

    /// Returns the row with this id to change it, or `None` if it has gone.
    pub fn open_mut(&mut self, id: RowId) -> Option<&mut T> {
        self.lend(id).map(|(content, _)| content)
    }

    /// Returns the row with this id to change it, beside the ids of new rows.
    pub fn lend(&mut self, id: RowId) -> Option<(&mut T, &mut RowIds)> {
        let row = self.rows.get_mut(id.row as usize)?;
        let content = row.content.as_mut().filter(|_| row.generation == id.generation)?;
        Some((content, &mut self.ids))
    }

    /// Adds a row.
    pub fn insert(&mut self, content: T) -> RowId {
        let id = self.ids.reserve();
        self.fill(id, content);
        id
    }

    /// Adds the row whose id was reserved.
    pub fn fill(&mut self, id: RowId, content: T) {
        let place = id.row as usize;
        while self.rows.len() <= place {
            self.rows.push(TableRow { generation: 0, content: None });
        }
        self.rows[place] = TableRow { generation: id.generation, content: Some(content) };
    }

    /// Removes a row. Returns `None` if it has gone already.
    pub fn remove(&mut self, id: RowId) -> Option<T> {
        let row =
            self.rows.get_mut(id.row as usize).filter(|row| row.generation == id.generation)?;
        let content = row.content.take()?;
        self.ids.release(id);
        Some(content)
    }

    /// Returns every open row, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (RowId, &T)> {
        self.rows.iter().enumerate().filter_map(|(row, place)| {
            let id = RowId { row: row as u32, generation: place.generation };
            place.content.as_ref().map(|content| (id, content))
        })
    }

    /// Returns the ids of every open row, in no order.
    pub fn ids(&self) -> impl Iterator<Item = RowId> {
        self.iter().map(|(id, _)| id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_is_used_again_is_not_taken_for_the_one_before() {
        let mut table = Table::default();
        let first = table.insert('a');
        assert_eq!(table.remove(first), Some('a'));
        let second = table.insert('b');
        assert_eq!(first.row, second.row);
        assert_eq!((table.open(first), table.open(second)), (None, Some(&'b')));
        assert_eq!((table.remove(first), table.len()), (None, 1));
    }

    #[test]
    fn a_row_can_be_had_while_another_one_is_lent() {
        let mut table = Table::default();
        let first = table.insert(1);
        let (content, ids) = table.lend(first).unwrap();
        *content += 1;
        let second = ids.reserve();
        table.fill(second, 7);
        assert_eq!((table.open(first), table.open(second), table.len()), (Some(&2), Some(&7), 2));
        table.remove(second);
        assert_eq!((table.open(second), table.len()), (None, 1));
    }

    #[test]
    fn rows_are_counted_and_listed_while_they_are_open() {
        let mut table = Table::default();
        assert!(table.is_empty());
        let ids = [table.insert('a'), table.insert('b'), table.insert('c')];
        table.remove(ids[1]);
        assert_eq!(table.ids().collect::<Vec<_>>(), [ids[0], ids[2]]);
        assert_eq!(table.iter().map(|(_, content)| *content).collect::<String>(), "ac");
        assert_eq!((table.len(), table.is_empty()), (2, false));
    }
}
