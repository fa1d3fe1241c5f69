//! Becoming an ordinary user once the ports are bound.

use nix::unistd::{Gid, Group, Uid, User, getgid, getuid, setgid, setgroups, setuid};

/// Becomes `user`, with `group` or else the user's own group and no other.
///
/// # Errors
/// Why not, and what to do.
pub(super) fn drop_to(user: &str, group: Option<&str>) -> Result<(), String> {
    let (uid, own_gid) = user_ids(user)?;
    let gid = group.map_or(Ok(own_gid), group_id)?;
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
