//! Systems on which a process keeps its user.

use std::error::Error;
use std::fs::File;
use std::path::Path;
use std::{fmt, io};

/// Would drop privileges; does nothing here.
pub(crate) fn renounce() {}

/// The server cannot become its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PrivilegeError {
    user: String,
}

impl fmt::Display for PrivilegeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot become user `{}`: this system has no such users; take `user` and `group` out \
             of the configuration, and start the service as whom it shall be",
            self.user
        )
    }
}

impl Error for PrivilegeError {}

/// The account that the server becomes: there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Account {}

impl Account {
    /// Looks them up.
    ///
    /// # Errors
    /// Always: this system has no such users.
    pub(crate) fn find(user: &str, _group: Option<&str>) -> Result<Self, PrivilegeError> {
        Err(PrivilegeError { user: user.to_owned() })
    }

    /// Returns the numeric ids.
    pub(crate) fn ids(&self) -> (u32, u32) {
        match *self {}
    }

    /// Makes the account the owner of a directory.
    pub(crate) fn own(&self, _dir: &Path) -> io::Result<()> {
        match *self {}
    }

    /// Makes the account the owner of an open file.
    pub(crate) fn own_open(&self, _file: &File) -> io::Result<()> {
        match *self {}
    }
}

/// Returns the account that the server becomes: none.
///
/// # Errors
/// As [`check`].
pub(crate) fn account(
    user: Option<&str>,
    group: Option<&str>,
) -> Result<Option<Account>, PrivilegeError> {
    user.map_or(Ok(None), |user| check(user, group).map(|()| None))
}

/// Becomes `user`.
///
/// # Errors
/// Always: this system has no such users.
pub(crate) fn drop_to(user: &str, group: Option<&str>) -> Result<(), PrivilegeError> {
    check(user, group)
}

/// Checks that the user exists.
///
/// # Errors
/// Always: this system has no such users.
pub(crate) fn check(user: &str, _group: Option<&str>) -> Result<(), PrivilegeError> {
    Err(PrivilegeError { user: user.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_to_become_is_refused_with_the_mend_and_none_is_no_error() {
        let message = account(Some("phones"), None).unwrap_err().to_string();
        assert!(message.contains("take `user` and `group` out of the configuration"), "{message}");
        assert_eq!(account(None, None), Ok(None));
        assert!(drop_to("phones", None).is_err() && Account::find("phones", None).is_err());
    }
}
