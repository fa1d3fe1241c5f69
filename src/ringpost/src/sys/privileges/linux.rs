//! Users, groups and capabilities on Linux.

use std::error::Error;
use std::fs::File;
use std::os::unix::fs::fchown;
use std::path::Path;
use std::{fmt, io};

use caps::{CapSet, clear};
use nix::sys::prctl;
use nix::unistd::{Gid, Group, Uid, User, chown, getgid, getuid, setgid, setgroups, setuid};

/// Drops what only another program could use: nothing that this process might ever start gains a
/// privilege by a set-user-id bit or by file capabilities. Call it before the first thread starts,
/// because threads inherit it and are not changed afterwards.
pub(crate) fn renounce() {
    // An old kernel without either leaves things as they were.
    let _ = prctl::set_no_new_privs();
    // Without CAP_SETPCAP the service manager must limit the set.
    let _ = clear(None, CapSet::Bounding);
}

/// Why the server cannot become its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PrivilegeError {
    /// No user has this name.
    NoUser(String),
    /// No group has this name.
    NoGroup(String),
    /// The system cannot look up the user.
    UserLookup { user: String, cause: nix::Error },
    /// The system cannot look up the group.
    GroupLookup { group: String, cause: nix::Error },
    /// Only root can become another user.
    NotRoot { user: String },
    /// The system rejects one of the calls.
    Refused { user: String, call: &'static str, cause: nix::Error },
    /// Dropped privileges could be regained.
    NotForGood { user: String },
}

impl fmt::Display for PrivilegeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PrivilegeError::NoUser(user) => write!(
                f,
                "there is no user `{user}`; make it with: useradd --system --no-create-home {user}"
            ),
            PrivilegeError::NoGroup(group) => {
                write!(f, "there is no group `{group}`; make it with: groupadd --system {group}")
            }
            PrivilegeError::UserLookup { user, cause } => {
                write!(f, "cannot look up user `{user}`: {}", cause.desc())
            }
            PrivilegeError::GroupLookup { group, cause } => {
                write!(f, "cannot look up group `{group}`: {}", cause.desc())
            }
            PrivilegeError::NotRoot { user } => write!(
                f,
                "cannot become user `{user}`: only root can; start as root, or take `user` and \
                 `group` out of the configuration"
            ),
            PrivilegeError::Refused { user, call, cause } => write!(
                f,
                "cannot become user `{user}`: the system refuses {call} ({})",
                cause.desc()
            ),
            PrivilegeError::NotForGood { user } => {
                write!(f, "cannot become user `{user}` for good: root can be taken back")
            }
        }
    }
}

impl Error for PrivilegeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            PrivilegeError::UserLookup { cause, .. }
            | PrivilegeError::GroupLookup { cause, .. }
            | PrivilegeError::Refused { cause, .. } => Some(cause),
            PrivilegeError::NoUser(_)
            | PrivilegeError::NoGroup(_)
            | PrivilegeError::NotRoot { .. }
            | PrivilegeError::NotForGood { .. } => None,
        }
    }
}

/// The user and group that the server becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    uid: Uid,
    gid: Gid,
}

impl Account {
    /// Looks them up.
    ///
    /// # Errors The user or group that does not exist, and how to create it.
    pub(crate) fn find(user: &str, group: Option<&str>) -> Result<Self, PrivilegeError> {
        let (uid, own_gid) = user_ids(user)?;
        let gid = group.map_or(Ok(own_gid), group_id)?;
        Ok(Account { uid, gid })
    }

    /// Returns the numeric ids.
    pub(crate) fn ids(&self) -> (u32, u32) {
        (self.uid.as_raw(), self.gid.as_raw())
    }

    /// Makes the account the owner of a directory.
    pub(crate) fn own(&self, dir: &Path) -> io::Result<()> {
        Ok(chown(dir, Some(self.uid), Some(self.gid))?)
    }

    /// Makes the account the owner of an open file.
    pub(crate) fn own_open(&self, file: &File) -> io::Result<()> {
        fchown(file, Some(self.uid.as_raw()), Some(self.gid.as_raw()))
    }
}

/// Returns the account that the server becomes, or `None` if it keeps its user.
///
/// # Errors
/// As [`Account::find`].
pub(crate) fn account(
    user: Option<&str>,
    group: Option<&str>,
) -> Result<Option<Account>, PrivilegeError> {
    let Some(user) = user.filter(|_| Uid::effective().is_root()) else {
        return Ok(None);
    };
    Account::find(user, group).map(Some)
}

/// Becomes `user`, with `group` or otherwise the user's own group and no other.
///
/// # Errors The fault and its remedy.
pub(crate) fn drop_to(user: &str, group: Option<&str>) -> Result<(), PrivilegeError> {
    let Account { uid, gid } = Account::find(user, group)?;
    if getuid() == uid && getgid() == gid {
        return Ok(());
    }
    if !Uid::effective().is_root() {
        return Err(PrivilegeError::NotRoot { user: user.to_owned() });
    }
    let refused = |call| {
        let user = user.to_owned();
        move |cause| PrivilegeError::Refused { user, call, cause }
    };
    setgroups(&[gid]).map_err(refused("setgroups"))?;
    setgid(gid).map_err(refused("setgid"))?;
    setuid(uid).map_err(refused("setuid"))?;
    // If this worked, an attacker in this process could regain root as well.
    if !uid.is_root() && setuid(Uid::from_raw(0)).is_ok() {
        return Err(PrivilegeError::NotForGood { user: user.to_owned() });
    }
    Ok(())
}

/// Checks that the user and the group exist.
///
/// # Errors The one that is missing, and how to create it.
pub(crate) fn check(user: &str, group: Option<&str>) -> Result<(), PrivilegeError> {
    user_ids(user)?;
    group.map_or(Ok(()), |group| group_id(group).map(drop))
}

fn user_ids(user: &str) -> Result<(Uid, Gid), PrivilegeError> {
    match User::from_name(user) {
        Ok(Some(found)) => Ok((found.uid, found.gid)),
        Ok(None) => Err(PrivilegeError::NoUser(user.to_owned())),
        Err(cause) => Err(PrivilegeError::UserLookup { user: user.to_owned(), cause }),
    }
}

fn group_id(group: &str) -> Result<Gid, PrivilegeError> {
    match Group::from_name(group) {
        Ok(Some(found)) => Ok(found.gid),
        Ok(None) => Err(PrivilegeError::NoGroup(group.to_owned())),
        Err(cause) => Err(PrivilegeError::GroupLookup { group: group.to_owned(), cause }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_or_group_that_does_not_exist_is_told_how_to_make_it() {
        let message = drop_to("nobody-by-this-name", None).unwrap_err().to_string();
        assert!(
            message.contains("useradd --system --no-create-home nobody-by-this-name"),
            "{message}"
        );
        let message = drop_to("root", Some("no-such-group")).unwrap_err().to_string();
        assert!(message.contains("groupadd --system no-such-group"), "{message}");
    }

    #[test]
    fn to_be_the_user_already_is_enough() {
        let me = User::from_uid(getuid()).unwrap().unwrap();
        if me.gid == getgid() {
            assert_eq!(drop_to(&me.name, None), Ok(()));
        }
    }
}
