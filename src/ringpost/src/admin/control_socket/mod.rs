//! `control.sock` in `data_dir`: the connection from commands to the running server.
//!
//! A Unix socket only for the server's own user (and root). That user creates it, so that no other
//! user's file is ever touched. An earlier server's socket is replaced only if no process answers
//! there. A request is one line of JSON, and so is each part of the answer.

pub(crate) mod client;
mod error;
pub(crate) mod protocol;
pub(crate) mod server;
#[cfg(test)]
mod tests;

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

pub(crate) use error::ControlSocketError;

/// Its name in the data directory.
pub(crate) const NAME: &str = "control.sock";
/// Longest path of a Unix socket in bytes, without the NUL that ends it.
const PATH_BYTES_MAX: usize = 107;
/// Connections that wait to be accepted.
const BACKLOG: i32 = 16;
/// For the server's user alone.
const MODE: u32 = 0o600;

/// Returns the path of a data directory's socket.
#[must_use]
pub(crate) fn path(data_dir: &Path) -> PathBuf {
    data_dir.join(NAME)
}

/// The socket; its name is removed when it is dropped.
#[derive(Debug)]
pub(crate) struct ControlSocket {
    listener: Option<UnixListener>,
    path: PathBuf,
    /// Device and inode, so that a successor's socket is not removed.
    identity: Option<(u64, u64)>,
}

impl ControlSocket {
    /// Creates the socket of a data directory.
    ///
    /// # Errors
    /// The fault and its remedy.
    pub(crate) fn bind(data_dir: &Path) -> Result<Self, ControlSocketError> {
        let path = path(data_dir);
        check_length(&path)?;
        remove_stale(&path)?;
        let listener = listen(&path)
            .map_err(|cause| ControlSocketError::Make { path: path.clone(), cause })?;
        let identity = fs::symlink_metadata(&path).ok().map(|found| (found.dev(), found.ino()));
        Ok(ControlSocket { listener: Some(listener), path, identity })
    }

    /// Returns the listener, once.
    pub(crate) fn listener(&mut self) -> Option<UnixListener> {
        self.listener.take()
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let found = fs::symlink_metadata(&self.path).ok();
        let found = found.map(|found| (found.dev(), found.ino()));
        if found.is_some() && found == self.identity {
            // The next server replaces one that stays behind.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Rejects a path that no socket can have.
fn check_length(path: &Path) -> Result<(), ControlSocketError> {
    let bytes = path.as_os_str().as_bytes().len();
    if bytes <= PATH_BYTES_MAX {
        return Ok(());
    }
    Err(ControlSocketError::PathTooLong { path: path.to_owned(), bytes })
}

/// Removes a socket without listener, and nothing else.
fn remove_stale(path: &Path) -> Result<(), ControlSocketError> {
    match fs::symlink_metadata(path) {
        Err(_) => return Ok(()),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(ControlSocketError::NotASocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    match connect(path) {
        Err(fault) if fault.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)
            .map_err(|cause| ControlSocketError::Stale { path: path.to_owned(), cause }),
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(_) | Err(_) => Err(ControlSocketError::InUse(path.to_owned())),
    }
}

/// Connects without waiting.
fn connect(path: &Path) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&SockAddr::unix(path)?)?;
    socket.set_nonblocking(false)?;
    Ok(OwnedFd::from(socket).into())
}

/// Binds and listens; the file has its mode from the first moment on.
fn listen(path: &Path) -> io::Result<UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Linux gives the file the mode of the socket, so no client can connect before a chmod.
    let socket = File::from(OwnedFd::from(socket));
    socket.set_permissions(Permissions::from_mode(MODE))?;
    let socket = Socket::from(OwnedFd::from(socket));
    socket.bind(&SockAddr::unix(path)?)?;
    if fs::symlink_metadata(path)?.permissions().mode() & 0o777 != MODE {
        fs::set_permissions(path, Permissions::from_mode(MODE))?;
    }
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(OwnedFd::from(socket).into())
}
