//! Opens regular files by a user's path, and rejects everything else: opening a pipe would wait
//! until some process writes into it.
//!
//! Never waits, and never opens anything but a regular file.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Opens a regular file with these options.
///
/// # Errors
/// The system's error, or that it is not a regular file.
pub fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let not_regular = || io::Error::other("it is no regular file");
    let opened = options.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path);
    let file = opened.map_err(|fault| match fault.raw_os_error() {
        // A pipe that no process reads, or a socket.
        Some(libc::ENXIO) => not_regular(),
        Some(_) | None => fault,
    })?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(not_regular()) }
}

/// Reads a whole text of at most `bytes_max` bytes.
///
/// # Errors
/// As [`open`], or that it is larger, or not UTF-8.
pub fn read_text(path: &Path, bytes_max: u64) -> io::Result<String> {
    let mut text = String::new();
    let file = open(path, OpenOptions::new().read(true))?;
    file.take(bytes_max + 1).read_to_string(&mut text)?;
    if text.len() as u64 > bytes_max {
        return Err(io::Error::other(format!("it is larger than {bytes_max} bytes")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_is_refused_at_once_and_a_file_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let (pipe, file) = (dir.path().join("pipe"), dir.path().join("file"));
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        std::fs::write(&file, "text").unwrap();
        for result in [
            read_text(&pipe, 9).map(drop),
            read_text(dir.path(), 9).map(drop),
            open(&pipe, OpenOptions::new().append(true).create(true)).map(drop),
        ] {
            assert_eq!(result.unwrap_err().to_string(), "it is no regular file");
        }
        assert_eq!(read_text(&file, 4).unwrap(), "text");
        assert!(read_text(&file, 3).unwrap_err().to_string().ends_with("larger than 3 bytes"));
    }
}
