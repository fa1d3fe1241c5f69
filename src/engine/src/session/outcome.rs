//! How a transfer ended and why, as two words for metrics and for the field `reason` of the log.
//!
//! A closed table, so that no peer can create a label. Counts and writes nothing.

use super::snmp::IdentityError;
use super::{Abort, CredentialFault, DataFault, Failure, Handshake, Outcome, Refusal, Stall};
use crate::catalog::{OpenError, StoreError};
use crate::files::FilesError;
use crate::protocol::Protocol;
use wire::http::request::Malformed;
use wire::name::BadName;

macro_rules! labels {
    ($($name:ident $outcome:literal $reason:literal: $pattern:pat,)+) => {
        /// An outcome without the parts that differ from peer to peer.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "the words say it")]
        pub enum Label { $($name,)+ }

        impl Label {
            /// All labels, in the order of their numbers.
            pub const ALL: &[Label] = &[$(Label::$name,)+];

            /// Returns how it ended, in one word.
            #[must_use]
            pub fn outcome(self) -> &'static str {
                match self { $(Label::$name => $outcome,)+ }
            }

            /// Returns why, in `snake_case`; empty if all went well.
            #[must_use]
            pub fn reason(self) -> &'static str {
                match self { $(Label::$name => $reason,)+ }
            }
        }

        impl Outcome {
            /// Returns the label of an outcome.
            #[must_use]
            pub fn label(self) -> Label {
                match self { $($pattern => Label::$name,)+ }
            }
        }
    };
}

labels! {
    Done "done" "": Outcome::Done,
    Unacknowledged "done" "last_ack_missing": Outcome::DoneUnacknowledged,

    OptionsProbe "aborted" "options_probe": Outcome::Aborted(Abort::OptionsProbe),
    HeaderRead "aborted" "header_read": Outcome::Aborted(Abort::HeaderRead),
    ByPhone "aborted" "error_from_phone": Outcome::Aborted(Abort::ByPhone(_)),
    Disconnected "aborted" "disconnected": Outcome::Aborted(Abort::Disconnected),
    Asked "aborted" "abor": Outcome::Aborted(Abort::Asked),
    Superseded "superseded" "asked_again": Outcome::Superseded,
    TimedOut "timed_out" "silent": Outcome::TimedOut,
    Unread "timed_out" "acknowledged_nothing": Outcome::Stalled(Stall::Unread),
    ReadSlowly "timed_out" "acknowledged_too_slowly": Outcome::Stalled(Stall::ReadSlowly),
    Unsent "timed_out" "sent_nothing": Outcome::Stalled(Stall::Unsent),
    SentSlowly "timed_out" "sent_too_slowly": Outcome::Stalled(Stall::SentSlowly),
    GivenUp "timed_out" "given_up_by_system": Outcome::Stalled(Stall::GivenUp),

    Malformed "refused" "malformed": Outcome::Refused(Refusal::Malformed),
    RequestTooLong "refused" "request_too_long": Outcome::Refused(Refusal::RequestTooLong),
    SizeDiffers "refused" "size_differs": Outcome::Refused(Refusal::SizeDiffers),
    NameEmpty "refused" "name_empty": Outcome::Refused(Refusal::BadName(BadName::Empty)),
    NameTooLong "refused" "name_too_long": Outcome::Refused(Refusal::BadName(BadName::TooLong)),
    NameControl "refused" "name_control_byte":
        Outcome::Refused(Refusal::BadName(BadName::Control(_))),
    NameParent "refused" "name_parent": Outcome::Refused(Refusal::BadName(BadName::Parent)),
    NameHidden "refused" "name_hidden": Outcome::Refused(Refusal::BadName(BadName::Hidden)),
    NameColon "refused" "name_colon": Outcome::Refused(Refusal::BadName(BadName::Colon)),
    NameDevice "refused" "name_device": Outcome::Refused(Refusal::BadName(BadName::Device)),
    NameTrailingDot "refused" "name_trailing_dot_or_blank":
        Outcome::Refused(Refusal::BadName(BadName::TrailingDotOrBlank)),
    NameDirectory "refused" "name_directory":
        Outcome::Refused(Refusal::BadName(BadName::Directory)),
    BadEscape "refused" "bad_escape": Outcome::Refused(Refusal::BadEscape),
    BadPath "refused" "bad_path": Outcome::Refused(Refusal::BadPath(_)),
    NoSuchFile "refused" "no_such_file": Outcome::Refused(Refusal::NoSuchFile),
    Unavailable "refused" "root_unreadable": Outcome::Refused(Refusal::Unavailable),
    TooManyMisses "refused" "too_many_misses":
        Outcome::Refused(Refusal::TooManyMisses { first: _ }),
    AccessDenied "refused" "access_denied": Outcome::Refused(Refusal::AccessDenied),
    UploadNotAllowed "refused" "upload_not_allowed": Outcome::Refused(Refusal::UploadNotAllowed),
    UploadTooLarge "refused" "upload_too_large": Outcome::Refused(Refusal::UploadTooLarge),
    ModeUnknown "refused" "mode_unknown": Outcome::Refused(Refusal::ModeUnknown),
    NoSlot "refused" "no_slot": Outcome::Refused(Refusal::NoSlot),
    TooManyTransfers "refused" "too_many_transfers": Outcome::Refused(Refusal::TooManyTransfers),
    Stopping "refused" "stopping": Outcome::Refused(Refusal::Stopping),
    MethodNotAllowed "refused" "method_not_allowed": Outcome::Refused(Refusal::MethodNotAllowed),
    NotImplemented "refused" "method_unknown": Outcome::Refused(Refusal::NotImplemented),
    HeadTooLarge "refused" "head_too_large":
        Outcome::Refused(Refusal::BadRequest(Malformed::HeadTooLarge | Malformed::TooManyLines)),
    TlsToHttp "refused" "tls_to_http_port":
        Outcome::Refused(Refusal::BadRequest(Malformed::TlsHello)),
    BadRequest "refused" "bad_request": Outcome::Refused(Refusal::BadRequest(
        Malformed::BadRequest(_)
            | Malformed::TargetTooLong
            | Malformed::VersionUnknown
            | Malformed::TransferCodingUnknown
    )),
    Multipart "refused" "multipart": Outcome::Refused(Refusal::Multipart),
    Coded "refused" "content_coding": Outcome::Refused(Refusal::Coded),
    Misdirected "refused" "misdirected": Outcome::Refused(Refusal::Misdirected),
    BodyMemory "refused" "body_memory": Outcome::Refused(Refusal::BodyMemory),
    BodyMemoryShare "refused" "body_memory_of_address": Outcome::Refused(Refusal::BodyMemoryShare),
    UploadMemory "refused" "upload_memory": Outcome::Refused(Refusal::UploadMemory),
    LengthRequired "refused" "length_required": Outcome::Refused(Refusal::LengthRequired),
    Range "refused" "range_not_satisfiable": Outcome::Refused(Refusal::RangeNotSatisfiable),
    Precondition "refused" "precondition_failed": Outcome::Refused(Refusal::PreconditionFailed),
    Expectation "refused" "expectation_unknown": Outcome::Refused(Refusal::ExpectationUnknown),
    Unauthorized "refused" "unauthorized": Outcome::Refused(Refusal::Unauthorized),
    CredentialsMissing "refused" "credentials_missing":
        Outcome::Refused(Refusal::Credentials(CredentialFault::Missing)),
    CredentialsUnusable "refused" "credentials_unusable":
        Outcome::Refused(Refusal::Credentials(CredentialFault::Unusable)),
    CredentialsWrong "refused" "wrong_password":
        Outcome::Refused(Refusal::Credentials(CredentialFault::Wrong)),
    UserNotAllowed "refused" "user_not_allowed":
        Outcome::Refused(Refusal::Credentials(CredentialFault::UserNotAllowed)),
    ChallengeStale "refused" "challenge_stale":
        Outcome::Refused(Refusal::Credentials(CredentialFault::Stale)),
    CredentialsUnchecked "refused" "credentials_unchecked":
        Outcome::Refused(Refusal::Credentials(CredentialFault::Unchecked)),
    PasswordOverTftp "refused" "password_over_tftp":
        Outcome::Refused(Refusal::Credentials(CredentialFault::OverTftp)),
    CertificateNeeded "refused" "certificate_needed":
        Outcome::Refused(Refusal::CertificateNeeded),
    SlowedDown "refused" "too_many_wrong_secrets": Outcome::Refused(Refusal::SlowedDown),
    VaultBound "refused" "vault_bound": Outcome::Refused(Refusal::VaultBound),
    TooSlow "refused" "too_slow": Outcome::Refused(Refusal::TooSlow),
    TooManyConnections "refused" "too_many_connections":
        Outcome::Refused(Refusal::TooManyConnections),
    TooManyStrangers "refused" "too_many_strangers":
        Outcome::Refused(Refusal::TooManyStrangers),

    TlsUntrusted "refused" "tls_server_untrusted":
        Outcome::Refused(Refusal::Handshake(Handshake::Untrusted)),
    TlsCertificateRefused "refused" "tls_server_certificate_refused":
        Outcome::Refused(Refusal::Handshake(Handshake::CertificateRefused)),
    TlsNoVersion "refused" "tls_no_shared_version":
        Outcome::Refused(Refusal::Handshake(Handshake::NoSharedVersion)),
    TlsNoSuite "refused" "tls_no_shared_suite":
        Outcome::Refused(Refusal::Handshake(Handshake::NoSharedSuite)),
    TlsPlain "refused" "http_to_tls_port":
        Outcome::Refused(Refusal::Handshake(Handshake::PlainRequest)),
    TlsNotTls "refused" "not_tls": Outcome::Refused(Refusal::Handshake(Handshake::NotTls)),
    ClientCertificateNone "refused" "client_certificate_missing":
        Outcome::Refused(Refusal::Handshake(Handshake::NoClientCertificate)),
    ClientCertificateExpired "refused" "client_certificate_expired":
        Outcome::Refused(Refusal::Handshake(Handshake::ExpiredClientCertificate)),
    ClientCertificateRevoked "refused" "client_certificate_revoked":
        Outcome::Refused(Refusal::Handshake(Handshake::RevokedClientCertificate)),
    ClientCertificateStrange "refused" "client_certificate_unknown_ca":
        Outcome::Refused(Refusal::Handshake(Handshake::StrangeClientCertificate)),
    ClientCertificateV1 "refused" "client_certificate_v1":
        Outcome::Refused(Refusal::Handshake(Handshake::Version1ClientCertificate)),
    ClientCertificateSha1 "refused" "client_certificate_sha1":
        Outcome::Refused(Refusal::Handshake(Handshake::Sha1ClientCertificate)),
    ClientCertificateShort "refused" "client_certificate_short_key":
        Outcome::Refused(Refusal::Handshake(Handshake::ShortKeyClientCertificate)),
    ClientCertificateUsage "refused" "client_certificate_wrong_usage":
        Outcome::Refused(Refusal::Handshake(Handshake::WrongUsageClientCertificate)),
    ClientCertificateBad "refused" "client_certificate_bad":
        Outcome::Refused(Refusal::Handshake(Handshake::BadClientCertificate)),
    TlsTooSlow "refused" "tls_too_slow":
        Outcome::Refused(Refusal::Handshake(Handshake::TooSlow)),
    TlsAbandoned "refused" "tls_abandoned":
        Outcome::Refused(Refusal::Handshake(Handshake::Abandoned)),
    TlsFailed "refused" "tls_failed": Outcome::Refused(Refusal::Handshake(Handshake::Failed)),

    SnmpSilent "refused" "snmp_silent":
        Outcome::Refused(Refusal::Unidentified(IdentityError::Silent)),
    SnmpStranger "refused" "snmp_not_a_phone":
        Outcome::Refused(Refusal::Unidentified(IdentityError::Stranger)),
    SnmpRefused "refused" "snmp_refused":
        Outcome::Refused(Refusal::Unidentified(IdentityError::Refused(_))),
    SnmpTooMany "refused" "snmp_too_many":
        Outcome::Refused(Refusal::Unidentified(IdentityError::TooMany)),
    SnmpNoCommunity "refused" "snmp_no_community":
        Outcome::Refused(Refusal::Unidentified(IdentityError::NoCommunity)),
    NobodyLoggedIn "refused" "nobody_logged_in": Outcome::Refused(Refusal::NobodyLoggedIn),
    NoMiddle "refused" "rest_not_possible": Outcome::Refused(Refusal::NoMiddle),
    ExtensionUnnamable "refused" "extension_unnamable":
        Outcome::Refused(Refusal::ExtensionUnnamable),
    OtherExtension "refused" "other_extension": Outcome::Refused(Refusal::OtherExtension),
    ExtensionMissing "refused" "extension_missing": Outcome::Refused(Refusal::ExtensionMissing),

    DataNeverCame "refused" "data_never_came": Outcome::Refused(Refusal::DataConnection(
        DataFault::NeverCame(_) | DataFault::NetworkNeverComes(_)
    )),
    DataNotReached "refused" "data_not_reached":
        Outcome::Refused(Refusal::DataConnection(DataFault::NotReached(_))),
    DataNoPort "refused" "data_no_port": Outcome::Refused(Refusal::DataConnection(
        DataFault::NoPort
            | DataFault::AddressPorts
            | DataFault::StrangerPort
            | DataFault::StrangersPorts
            | DataFault::NoSocket
    )),
    DataLost "refused" "data_lost":
        Outcome::Refused(Refusal::DataConnection(DataFault::Lost)),
    DataHandshake "refused" "data_tls_failed":
        Outcome::Refused(Refusal::DataConnection(DataFault::Handshake(_))),
    DataElsewhere "refused" "data_of_somebody_else": Outcome::Refused(Refusal::DataConnection(
        DataFault::OtherSession | DataFault::Elsewhere(_)
    )),

    FilesNotThere "refused" "path_not_there":
        Outcome::Refused(Refusal::Files(FilesError::NotThere)),
    FilesExists "refused" "path_exists": Outcome::Refused(Refusal::Files(FilesError::Exists)),
    FilesNotEmpty "refused" "directory_not_empty":
        Outcome::Refused(Refusal::Files(FilesError::NotEmpty)),
    FilesKind "refused" "path_of_other_kind":
        Outcome::Refused(Refusal::Files(FilesError::IsDirectory | FilesError::NotDirectory)),
    FilesForbidden "refused" "path_forbidden":
        Outcome::Refused(Refusal::Files(FilesError::Forbidden(_))),
    FilesFull "refused" "disk_full": Outcome::Refused(Refusal::Files(FilesError::Full)),
    FilesTooLarge "refused" "file_too_large":
        Outcome::Refused(Refusal::Files(FilesError::TooLarge)),
    FilesTooMany "refused" "directory_too_large":
        Outcome::Refused(Refusal::Files(FilesError::TooMany)),
    FilesBeyondEnd "refused" "beyond_end": Outcome::Refused(Refusal::Files(FilesError::BeyondEnd)),
    FilesBrokenOff "refused" "upload_broken_off":
        Outcome::Refused(Refusal::Files(FilesError::BrokenOff)),
    FilesChanged "refused" "file_changed": Outcome::Refused(Refusal::Files(FilesError::Changed)),
    FilesBusy "refused" "file_busy": Outcome::Refused(Refusal::Files(FilesError::Busy)),
    FilesIo "refused" "disk_failed": Outcome::Refused(Refusal::Files(FilesError::Io)),
    FilesCrossArea "refused" "other_disk": Outcome::Refused(Refusal::Files(FilesError::CrossArea)),
    ConflictExists "refused" "file_exists":
        Outcome::Refused(Refusal::Conflict(StoreError::Exists)),
    Conflict "refused" "conflict": Outcome::Refused(Refusal::Conflict(
        StoreError::Full
            | StoreError::TotalMax
            | StoreError::Reserve
            | StoreError::NotAFile
            | StoreError::NotThere
            | StoreError::Precondition
            | StoreError::Forbidden
            | StoreError::Io
            | StoreError::Busy
            | StoreError::NoMemory
            | StoreError::TooManyAside
            | StoreError::NoDescriptor
            | StoreError::Unavailable
    )),
    SizeOfText "refused" "size_of_text": Outcome::Refused(Refusal::SizeOfText),
    SizeOfVault "refused" "size_of_vault": Outcome::Refused(Refusal::SizeOfVault),
    AdministratorsOnly "refused" "administrators_only":
        Outcome::Refused(Refusal::AdministratorsOnly),
    ForeignHttp "refused" "http_to_ftp_port": Outcome::Refused(Refusal::ForeignHttp),
    ForeignTls "refused" "tls_to_ftp_port": Outcome::Refused(Refusal::ForeignTls),

    OpenGone "failed" "file_gone": Outcome::Failed(Failure::Open(OpenError::Gone)),
    OpenForbidden "failed" "file_unreadable": Outcome::Failed(Failure::Open(OpenError::Forbidden)),
    OpenNotServable "failed" "file_not_regular":
        Outcome::Failed(Failure::Open(OpenError::NotServable)),
    OpenUnavailable "failed" "disk_silent": Outcome::Failed(
        Failure::Open(OpenError::Unavailable) | Failure::Store(StoreError::Unavailable)
    ),
    OpenBeingWritten "failed" "file_being_written":
        Outcome::Failed(Failure::Open(OpenError::BeingWritten)),
    OpenTooLarge "failed" "file_too_large":
        Outcome::Failed(Failure::Open(OpenError::TooLarge)),
    DiskFailed "failed" "disk_failed": Outcome::Failed(
        Failure::Open(OpenError::Io) | Failure::Store(StoreError::Io)
    ),
    DisksBusy "failed" "disks_busy": Outcome::Failed(
        Failure::Open(OpenError::Busy) | Failure::Store(StoreError::Busy)
    ),
    StoreFull "failed" "disk_full": Outcome::Failed(Failure::Store(StoreError::Full)),
    StoreTotalMax "failed" "vault_total_max":
        Outcome::Failed(Failure::Store(StoreError::TotalMax)),
    StoreReserve "failed" "vault_reserve": Outcome::Failed(Failure::Store(StoreError::Reserve)),
    StoreExists "failed" "file_exists": Outcome::Failed(Failure::Store(StoreError::Exists)),
    StoreNotAFile "failed" "path_of_other_kind":
        Outcome::Failed(Failure::Store(StoreError::NotAFile)),
    StoreNotThere "failed" "file_not_there":
        Outcome::Failed(Failure::Store(StoreError::NotThere)),
    StorePrecondition "failed" "file_changed_meanwhile":
        Outcome::Failed(Failure::Store(StoreError::Precondition)),
    StoreForbidden "failed" "directory_not_writable":
        Outcome::Failed(Failure::Store(StoreError::Forbidden)),
    StoreNoMemory "failed" "upload_memory": Outcome::Failed(Failure::Store(StoreError::NoMemory)),
    StoreTooManyAside "failed" "too_many_large_uploads":
        Outcome::Failed(Failure::Store(StoreError::TooManyAside)),
    StoreNoDescriptor "failed" "no_descriptor":
        Outcome::Failed(Failure::Store(StoreError::NoDescriptor)),
    FileChanged "failed" "file_changed": Outcome::Failed(Failure::FileChanged),
    SendRefused "failed" "send_refused": Outcome::Failed(Failure::SendRefused),
    Stopped "failed" "stopped": Outcome::Failed(Failure::Stopped),
}

impl Label {
    /// How many there are.
    pub const COUNT: usize = Label::ALL.len();

    /// Returns whether it is shown before it has ever happened: an alarm on the first event needs a
    /// series that was at zero before.
    #[must_use]
    pub fn is_always_shown(self) -> bool {
        self == Label::Done || self == Label::TimedOut || self.outcome() == "failed"
    }
}

impl Outcome {
    /// Makes the outcome of an upload that could not be stored. If an existing file is in the way,
    /// that is the client's fault, not the server's.
    #[must_use]
    pub fn of_store(fault: StoreError) -> Outcome {
        match fault {
            StoreError::NotThere => Outcome::Refused(Refusal::NoSuchFile),
            StoreError::Exists | StoreError::NotAFile | StoreError::Precondition => {
                Outcome::Refused(Refusal::Conflict(fault))
            }
            StoreError::Full
            | StoreError::TotalMax
            | StoreError::Reserve
            | StoreError::Forbidden
            | StoreError::Io
            | StoreError::Busy
            | StoreError::NoMemory
            | StoreError::TooManyAside
            | StoreError::NoDescriptor
            | StoreError::Unavailable => Outcome::Failed(Failure::Store(fault)),
        }
    }
}

impl Protocol {
    /// All protocols, in the order of their numbers.
    pub const ALL: [Protocol; 4] = [Protocol::Tftp, Protocol::Http, Protocol::Https, Protocol::Ftp];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_labels_have_the_same_words_and_their_numbers_are_their_places() {
        for (place, label) in Label::ALL.iter().enumerate() {
            assert_eq!(*label as usize, place);
            let words = |label: &Label| (label.outcome(), label.reason());
            let same = Label::ALL.iter().filter(|other| words(other) == words(label));
            assert_eq!(same.count(), 1, "{label:?}");
        }
        for (place, protocol) in Protocol::ALL.iter().enumerate() {
            assert_eq!(*protocol as usize, place);
        }
    }

    #[test]
    fn every_reason_is_a_word_in_snake_case_and_only_done_needs_none() {
        for label in Label::ALL {
            let reason = label.reason();
            assert_eq!(reason.is_empty(), *label == Label::Done, "{label:?}");
            let is_snake = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            assert!(reason.chars().all(is_snake), "{reason}");
        }
    }
}
