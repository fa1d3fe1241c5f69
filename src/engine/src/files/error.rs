//! Why an operation on a file failed, as a sentence for the administrator.

use std::fmt;

use wire::name::BadName;

/// Why an operation failed, or why its result is uncertain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilesError {
    /// There is no such file or directory.
    NotThere,
    /// A file or directory of the name exists already.
    Exists,
    /// The directory is not empty.
    NotEmpty,
    /// It is a directory; a file is needed.
    IsDirectory,
    /// It is no directory; one is needed.
    NotDirectory,
    /// It is not allowed.
    Forbidden(ForbiddenReason),
    /// The disk or the quota is full, or the rest is reserved for the phones' data.
    Full,
    /// The file would be larger than is allowed.
    TooLarge,
    /// The directory has more members than a listing may.
    TooMany,
    /// The offset to resume at lies beyond the end of the file.
    BeyondEnd,
    /// An upload of this file was broken off, and nothing of it can be resumed.
    BrokenOff,
    /// The file was changed by another session since the resumed upload began.
    Changed,
    /// The file is being changed by another session, too many uploads are under way, or the queue
    /// is full.
    Busy,
    /// The disk failed; the log says how.
    Io,
    /// The source and the destination lie on two file systems.
    CrossArea,
}

/// Why something is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForbiddenReason {
    /// The system does not let this process do it.
    System,
    /// The directory exists only in the tree, not on the disk.
    Virtual,
    /// It is one of the directories that files are served from.
    Root,
    /// It belongs to the server itself: the vault, keys, the log, users, access lists.
    Protected,
    /// The name is hidden from phones, and so from administrators.
    Hidden,
    /// No phone can ask for the name.
    Name(BadName),
    /// It is a pipe, a socket or a device, or a link that leads out of the data directories.
    Special,
    /// A directory cannot be moved into itself.
    IntoItself,
}

impl fmt::Display for FilesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FilesError::NotThere => "there is no such file or directory",
            FilesError::Exists => "there is a file or directory of this name already",
            FilesError::NotEmpty => {
                "the directory is not empty; it may hold hidden files or an upload under way"
            }
            FilesError::IsDirectory => "this is a directory; name a file",
            FilesError::NotDirectory => "this is no directory; name one",
            FilesError::Forbidden(why) => return why.fmt(f),
            FilesError::Full => {
                "the disk or the quota is full, or what is left is kept for the phones' data; \
                 make room and try again"
            }
            FilesError::TooLarge => "the file is larger than the configuration allows",
            FilesError::TooMany => {
                "the directory holds too much for one listing; list a part of it"
            }
            FilesError::BeyondEnd => {
                "the file ends before the place to go on at; send the whole file"
            }
            FilesError::BrokenOff => {
                "an upload of this file was broken off and nothing of it was kept; send the whole \
                 file"
            }
            FilesError::Changed => {
                "somebody else changed the file since this upload began; look at it and send the \
                 whole file"
            }
            FilesError::Busy => "the server or the file is busy just now; try again",
            FilesError::Io => "the disk failed; the server's log says how",
            FilesError::CrossArea => {
                "the two places lie on two disks; upload the file to the new one instead"
            }
        })
    }
}

impl fmt::Display for ForbiddenReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ForbiddenReason::System => {
                "the system does not allow it; give the user that Ringpost runs as the right to"
            }
            ForbiddenReason::Virtual => {
                "this directory only holds the data directories; change to one of them first"
            }
            ForbiddenReason::Root => {
                "this is a data directory of the configuration; it stays where it is"
            }
            ForbiddenReason::Protected => "this belongs to the server itself and is not for FTP",
            ForbiddenReason::Hidden => "files of such names are never served; choose another name",
            ForbiddenReason::Name(refused) => return refused.fmt(f),
            ForbiddenReason::Special => {
                "this is no regular file, or a link that leads out of the data directories"
            }
            ForbiddenReason::IntoItself => "a directory cannot be moved into itself",
        })
    }
}

impl std::error::Error for FilesError {}
