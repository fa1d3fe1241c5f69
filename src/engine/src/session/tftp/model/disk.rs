//! The answers of the loader's threads in a model.
//!
//! Keeps no bytes of files: the content of a file follows from its size.

use std::sync::Arc;

use super::{World, bytes_of};
use crate::catalog::blob::{Blob, Version};
use crate::catalog::{Entry, OpenError, StoreError, Stored};
use crate::requests::{StoreReply, StoreRequest};
use crate::vault::upload::{PartDone, PartOp, Spool};

impl World {
    /// Answers a question; `fault` 0 is success, others are the faults in their order.
    pub(in crate::session::tftp) fn answer(&mut self, request: StoreRequest, fault: u8) {
        let reply = match request {
            StoreRequest::Open { ticket, entry, form } => {
                let result = match fault {
                    0 => Ok(blob_of(&entry)),
                    1 => Err(OpenError::Gone),
                    2 => Err(OpenError::Forbidden),
                    3 => Err(OpenError::BeingWritten),
                    4 => Err(OpenError::TooLarge),
                    5.. => Err(OpenError::Busy),
                };
                if let Ok(blob) = &result {
                    entry.keep(form, Some(Arc::clone(blob)));
                }
                StoreReply::Opened { ticket, result }
            }
            StoreRequest::Verify { ticket, .. } => {
                StoreReply::Verified { ticket, unchanged: fault == 0 }
            }
            StoreRequest::Upload { ticket, op, .. } => {
                let result = match (store_fault(fault), op) {
                    (Some(fault), _) => Err(fault),
                    (None, PartOp::Find { .. }) => Ok(PartDone::Found(self.is_found)),
                    (None, PartOp::Forget { .. }) => Ok(PartDone::Forgotten),
                    (None, PartOp::Write { spool, bytes }) => {
                        let mut spool = spool.unwrap_or_else(Spool::in_memory);
                        spool.extend(&bytes);
                        Ok(PartDone::Written { spool, room: Vec::new() })
                    }
                };
                StoreReply::Upload { ticket, result }
            }
            StoreRequest::Store { ticket, .. } => {
                let stored = Stored { new: true, version: Version::default() };
                let result = store_fault(fault).map_or(Ok(stored), Err);
                StoreReply::Stored { ticket, result }
            }
            StoreRequest::Delete { .. } | StoreRequest::Read { .. } => return,
            StoreRequest::Vault { .. }
            | StoreRequest::Files { .. }
            | StoreRequest::Login { .. } => return,
        };
        self.turn(|engine, turn| engine.handle_store_reply(reply, turn));
        self.run_until_idle();
    }
}

fn store_fault(fault: u8) -> Option<StoreError> {
    match fault {
        0 => None,
        1 => Some(StoreError::Full),
        2 => Some(StoreError::Exists),
        3 => Some(StoreError::Forbidden),
        4 => Some(StoreError::Io),
        5.. => Some(StoreError::Busy),
    }
}

fn blob_of(entry: &Entry) -> Arc<Blob> {
    Arc::new(Blob::heap(bytes_of(entry.version.bytes).into(), entry.version))
}
