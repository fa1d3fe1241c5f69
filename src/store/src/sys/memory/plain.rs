//! Memory on systems where it cannot be a file: files are kept on the heap, or mapped.

use std::fs::File;
use std::io;

/// Would copy a file to immutable memory; not supported here.
///
/// # Errors
/// Always.
pub(crate) fn sealed_copy(_: &File, _bytes: usize) -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Would join memory into large pages; does nothing here.
pub(crate) fn collapse(_: &File, _bytes: usize) {}

/// Asks the system to populate a mapping, if it can.
pub(crate) fn fault_in(mapping: &memmap2::MmapRaw) {
    #[cfg(unix)]
    let _ = mapping.advise(memmap2::Advice::WillNeed);
    #[cfg(not(unix))]
    let _ = mapping;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_without_such_memory_says_so_and_maps_files_all_the_same() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(9_000).unwrap();
        let refused = sealed_copy(&file, 9_000).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::Unsupported);
        let mapping = memmap2::MmapOptions::new().len(9_000).map_raw_read_only(&file).unwrap();
        fault_in(&mapping);
        collapse(&file, 9_000);
        assert_eq!(mapping.len(), 9_000);
    }
}
