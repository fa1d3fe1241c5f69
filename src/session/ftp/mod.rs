//! FTP for phones and their administrators.

pub mod limits;
