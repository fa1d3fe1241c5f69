//! Where a process stays who it is.

use std::fs::File;
use std::io;
use std::path::Path;

/// Gives up what only another program could use: nothing here.
pub(crate) fn renounce() {}

/// A user and group that the server becomes: there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Account {}

impl Account {
    /// Looks them up.
    ///
    /// # Errors
    /// Always: this system has no such users.
    pub(crate) fn find(user: &str, _group: Option<&str>) -> Result<Self, String> {
        Err(refusal(user))
    }

    /// Its numbers.
    pub(crate) fn ids(&self) -> (u32, u32) {
        match *self {}
    }

    /// Makes it the owner of a directory.
    pub(crate) fn own(&self, _dir: &Path) -> io::Result<()> {
        match *self {}
    }

    /// Makes it the owner of an open file.
    pub(crate) fn own_open(&self, _file: &File) -> io::Result<()> {
        match *self {}
    }
}

/// The user that the server becomes: none.
///
/// # Errors
/// As [`check`].
pub(crate) fn account(user: Option<&str>, group: Option<&str>) -> Result<Option<Account>, String> {
    user.map_or(Ok(None), |user| check(user, group).map(|()| None))
}

/// Becomes `user`.
///
/// # Errors
/// Always: this system has no such users.
pub(crate) fn drop_to(user: &str, group: Option<&str>) -> Result<(), String> {
    check(user, group)
}

/// Whether there is such a user.
///
/// # Errors
/// Always: this system has no such users.
pub(crate) fn check(user: &str, _group: Option<&str>) -> Result<(), String> {
    Err(refusal(user))
}

fn refusal(user: &str) -> String {
    format!(
        "cannot become user `{user}`: this system has no such users; take `user` and `group` out \
         of the configuration, and start the service as whom it shall be"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_to_become_is_refused_with_the_mend_and_none_is_no_error() {
        let told = account(Some("phones"), None).unwrap_err();
        assert!(told.contains("take `user` and `group` out of the configuration"), "{told}");
        assert_eq!(account(None, None), Ok(None));
        assert!(drop_to("phones", None).is_err() && Account::find("phones", None).is_err());
    }
}
