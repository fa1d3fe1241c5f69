//! Parsed users' files, read again after they change.
//!
//! Reads at most [`USERS_BYTES_MAX`]; never writes one.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::super::regular;
use super::super::users::Users;
use super::Authenticator;
use crate::version::VersionExt as _;
use engine::catalog::blob::Version;

/// A users' file that changed less than this before it was read is read again.
const SETTLED: Duration = Duration::from_secs(2);
/// Users' files that are remembered.
const USERS_FILES_MAX: usize = 32;
/// Largest users' file, in bytes.
pub const USERS_BYTES_MAX: u64 = 64 << 20;

/// A users' file and its parsed content.
#[derive(Clone, Debug)]
pub(super) struct UsersFile {
    path: PathBuf,
    version: Version,
    /// Whether a change since then must show in its times.
    settled: bool,
    users: Arc<Users>,
}

impl Authenticator {
    /// Returns the current users' file; reads it again if it has changed.
    pub(super) fn users(&self, path: &Path) -> Arc<Users> {
        let known = self.lock().users.iter().find(|known| known.path == path).cloned();
        let version = match std::fs::metadata(path) {
            Ok(meta) => Version::of(&meta),
            Err(why) => {
                self.log.error(&why, "read the users' file", path);
                return Arc::default();
            }
        };
        let is_same = |known: &UsersFile| known.settled && known.version == version;
        if let Some(known) = known.as_ref().filter(|known| is_same(known)) {
            return Arc::clone(&known.users);
        }
        let now = SystemTime::now();
        let text = match read_users(path, version) {
            Ok(text) => text,
            Err(why) => {
                self.log.error(&why, "read the users' file", path);
                return Arc::default();
            }
        };
        let (users, bad) = Users::parse(&text);
        if known.is_none_or(|known| known.version != version) {
            for bad in bad {
                tracing::error!("{}, {bad}", path.display());
            }
        }
        let users = Arc::new(users);
        let settled = is_settled(version, now);
        let read = UsersFile { path: path.to_path_buf(), version, settled, users: users.clone() };
        let mut state = self.lock();
        state.users.retain(|known| known.path != path);
        if state.users.len() >= USERS_FILES_MAX {
            state.users.remove(0);
        }
        state.users.push(read);
        users
    }
}

fn read_users(path: &Path, version: Version) -> io::Result<String> {
    if version.bytes > USERS_BYTES_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    regular::read_text(path, USERS_BYTES_MAX)
}

/// Returns whether a file had not changed for a while.
fn is_settled(version: Version, now: SystemTime) -> bool {
    let changed_ns = version.changed_ns.max(version.modified_ns);
    let now_ns = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    i128::from(changed_ns) + (SETTLED.as_nanos() as i128) < now_ns as i128
}
