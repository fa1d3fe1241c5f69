//! Users, groups and capabilities of a Unix system.

use std::fs::File;
use std::io;
use std::os::unix::fs::fchown;
use std::path::Path;

use caps::{CapSet, clear};
use nix::sys::prctl;
use nix::unistd::{Gid, Group, Uid, User, chown, getgid, getuid, setgid, setgroups, setuid};

/// Gives up what only another program could use: nothing that this process starts, should it ever
/// be made to, gains a privilege by a set-user-id bit or by file capabilities. To be called before
/// the first thread is started, for threads inherit it and are not changed afterwards.
pub(crate) fn renounce() {
    // A kernel that knows neither leaves things as they were.
    let _ = prctl::set_no_new_privs();
    // Without CAP_SETPCAP the set is the service manager's to keep small.
    let _ = clear(None, CapSet::Bounding);
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
    /// # Errors
    /// Who does not exist, and how to make them.
    pub(crate) fn find(user: &str, group: Option<&str>) -> Result<Self, String> {
        let (uid, own_gid) = user_ids(user)?;
        let gid = group.map_or(Ok(own_gid), group_id)?;
        Ok(Account { uid, gid })
    }

    /// Its numbers.
    pub(crate) fn ids(&self) -> (u32, u32) {
        (self.uid.as_raw(), self.gid.as_raw())
    }

    /// Makes it the owner of a directory.
    pub(crate) fn own(&self, dir: &Path) -> io::Result<()> {
        Ok(chown(dir, Some(self.uid), Some(self.gid))?)
    }

    /// Makes it the owner of an open file.
    pub(crate) fn own_open(&self, file: &File) -> io::Result<()> {
        fchown(file, Some(self.uid.as_raw()), Some(self.gid.as_raw()))
    }
}

/// The user that the server becomes; `None` if it stays who it is.
///
/// # Errors
/// As [`Account::find`].
pub(crate) fn account(user: Option<&str>, group: Option<&str>) -> Result<Option<Account>, String> {
    let Some(user) = user.filter(|_| Uid::effective().is_root()) else {
        return Ok(None);
    };
    Account::find(user, group).map(Some)
}

/// Becomes `user`, with `group` or else the user's own group and no other.
///
/// # Errors
/// Why not, and what to do.
pub(crate) fn drop_to(user: &str, group: Option<&str>) -> Result<(), String> {
    let Account { uid, gid } = Account::find(user, group)?;
    if getuid() == uid && getgid() == gid {
        return Ok(());
    }
    if !Uid::effective().is_root() {
        return Err(format!(
            "cannot become user `{user}`: only root can; start as root, or take `user` and `group` \
             out of the configuration"
        ));
    }
    let failed = |what: &str, fault: nix::Error| {
        format!("cannot become user `{user}`: the system refuses {what} ({})", fault.desc())
    };
    setgroups(&[gid]).map_err(|fault| failed("setgroups", fault))?;
    setgid(gid).map_err(|fault| failed("setgid", fault))?;
    setuid(uid).map_err(|fault| failed("setuid", fault))?;
    // If this worked, privileges could be taken back, and so could whoever takes this process over.
    if !uid.is_root() && setuid(Uid::from_raw(0)).is_ok() {
        return Err(format!("cannot become user `{user}` for good: root can be taken back"));
    }
    Ok(())
}

/// Whether there are such a user and such a group.
///
/// # Errors
/// What is missing, and how to make it.
pub(crate) fn check(user: &str, group: Option<&str>) -> Result<(), String> {
    user_ids(user)?;
    group.map_or(Ok(()), |group| group_id(group).map(drop))
}

fn user_ids(user: &str) -> Result<(Uid, Gid), String> {
    match User::from_name(user) {
        Ok(Some(found)) => Ok((found.uid, found.gid)),
        Ok(None) => Err(format!(
            "there is no user `{user}`; make it with: useradd --system --no-create-home {user}"
        )),
        Err(fault) => Err(format!("cannot look up user `{user}`: {}", fault.desc())),
    }
}

fn group_id(group: &str) -> Result<Gid, String> {
    match Group::from_name(group) {
        Ok(Some(found)) => Ok(found.gid),
        Ok(None) => {
            Err(format!("there is no group `{group}`; make it with: groupadd --system {group}"))
        }
        Err(fault) => Err(format!("cannot look up group `{group}`: {}", fault.desc())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_or_group_that_does_not_exist_is_told_how_to_make_it() {
        let told = drop_to("nobody-by-this-name", None).unwrap_err();
        assert!(told.contains("useradd --system --no-create-home nobody-by-this-name"), "{told}");
        let told = drop_to("root", Some("no-such-group")).unwrap_err();
        assert!(told.contains("groupadd --system no-such-group"), "{told}");
    }

    #[test]
    fn to_be_the_user_already_is_enough() {
        let me = User::from_uid(getuid()).unwrap().unwrap();
        if me.gid == getgid() {
            assert_eq!(drop_to(&me.name, None), Ok(()));
        }
    }
}
