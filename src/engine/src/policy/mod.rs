//! Who gets what: the one decision about every read, write and delete, of every protocol.
//!
//! Decides from memory alone; opens, locks and allocates nothing on the way to a file. Sessions
//! turn a [`Decision`] into the answers of their protocols. `ringpost explain` prints the [`Trace`]
//! of the same walk, so it always agrees with the server.

mod decision;
pub mod protect;
pub mod redirect;
pub mod remap;
mod request;
pub mod route;
pub mod snapshot;
mod template;
#[cfg(test)]
mod tests;
pub mod trace;

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use crate::catalog::{Catalog, Entry, RootId};
use crate::files::BadPath;
use crate::settings::ftp::FtpPolicy;
use crate::vault::names::Item;
use crate::vault::request::{Auth, Unknown};
use crate::vault::upload::OnExists;
pub use decision::{Action, Decision, Denial, VaultOwner};
use protect::Location;
use redirect::LOCATION_BYTES_MAX;
use remap::MatchOn;
pub use request::{NameError, Operation, Request, Resource};
use route::Unroutable;
use snapshot::{Policy, Snapshot};
use trace::{NoTrace, Trace, TraceStep};
use vendor;
use wire::http::target;
use wire::name::{BadName, FileName};

/// Decides about a request, and reports every step to the trace.
pub fn resolve<'a>(
    request: &Request<'_>,
    snapshot: &'a Snapshot,
    trace: &mut impl Trace,
) -> Decision<'a> {
    // An IPv4 phone may connect to an IPv6 socket. The code below sees one form of its address.
    let client = request.client.to_canonical();
    let (policy, catalog) = (&*snapshot.policy, &*snapshot.catalog);
    let (name, action) = Resolver { request, client, policy, catalog, trace }.resolve();
    Decision { client, name, action }
}

/// What a client may do with a name besides reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// A client may store it.
    pub write: bool,
    /// A client may delete it.
    pub delete: bool,
    /// A client may store it by POST.
    pub post: bool,
}

/// Returns what a client may do with the resource of a request besides reading it.
#[must_use]
pub fn allowed(request: &Request<'_>, snapshot: &Snapshot) -> Allowed {
    let action = |operation| {
        let request = Request { operation, ..*request };
        resolve(&request, snapshot, &mut NoTrace).action
    };
    let write = action(Operation::Write);
    let delete = action(Operation::Delete);
    Allowed {
        write: !matches!(write, Action::Refuse(_)),
        delete: !matches!(delete, Action::Refuse(_)),
        post: write.takes_post(),
    }
}

/// Returns the roots in which the file of a request is looked up, first match first.
#[must_use]
pub fn stack<'a>(request: &'a Request<'_>, policy: &'a Policy) -> Cow<'a, [RootId]> {
    let stack = request.resource.stack(policy);
    policy.routes.stack_for(request.client.to_canonical(), stack, &mut NoTrace)
}

/// How the server learns who uses a phone that wants a user's data by FTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identification {
    /// Not at all: the phone's network is trusted with every user's data.
    Trusted(ipnet::IpNet),
    /// It asks the phone by SNMP.
    AsksPhone,
    /// It cannot: no community is configured for the phone's address.
    NoCommunity,
}

/// Returns how the server learns who uses the phone at a canonical address.
#[must_use]
pub fn identification(ftp: &FtpPolicy, client: IpAddr) -> Identification {
    match ftp.trusted_networks.iter().find(|net| net.contains(&client)) {
        Some(net) => Identification::Trusted(*net),
        None if ftp.snmp.communities_for(client).next().is_none() => Identification::NoCommunity,
        None => Identification::AsksPhone,
    }
}

fn location(entry: Option<&Arc<Entry>>) -> Location {
    entry.map_or(Location::Unknown, |entry| Location::Root(entry.root))
}

/// One walk from a request to an action.
struct Resolver<'a, 'r, T> {
    request: &'r Request<'r>,
    client: IpAddr,
    policy: &'a Policy,
    catalog: &'a Catalog,
    trace: &'r mut T,
}

/// A requested name, and what the remap rows make of it.
struct Names<'n> {
    requested: &'n FileName,
    renamed: Result<Cow<'n, FileName>, Unroutable>,
}

impl<'a, T: Trace> Resolver<'a, '_, T> {
    fn resolve(mut self) -> (Option<FileName>, Action<'a>) {
        if let Some(action) = self.acme_challenge() {
            return (None, action);
        }
        let denied_by = self.denied_by();
        self.trace_limits();
        let by_uri = match denied_by {
            None => match self.redirect_of_uri() {
                Some(action) => return (None, action),
                None => self.name_of_uri(),
            },
            Some(_) => None,
        };
        let name = match by_uri {
            Some(Err(why)) => return (None, self.refuse_uri(why)),
            Some(Ok(name)) => Ok(name),
            None => self.request.resource.name(),
        };
        let name = match name {
            Ok(name) => name,
            Err(why) => {
                self.trace.step(|| TraceStep::BadName { why });
                let denial = denied_by.map_or(Denial::Name(why), Denial::AccessList);
                return (None, Action::Refuse(denial));
            }
        };
        self.trace.step(|| TraceStep::Named { name: &name });
        if let Some(list) = denied_by {
            return (Some(name), self.override_file(&name, list));
        }
        if let Some(action) = self.redirect_of_name(&name) {
            return (Some(name), action);
        }
        let action = match self.request.operation {
            Operation::Read => self.read(&name),
            Operation::Write => self.write(&name, false),
            Operation::Append => self.write(&name, true),
            Operation::Delete => self.delete(&name),
        };
        (Some(name), action)
    }

    /// Answers an ACME server, which may connect from any address, so that no access list applies.
    /// The spelling counts, because two tokens may differ in case alone.
    fn acme_challenge(&mut self) -> Option<Action<'a>> {
        let Resource::Http { listener, target } = self.request.resource else { return None };
        let (root, Operation::Read) = (listener.acme?, self.request.operation) else { return None };
        let token = target::acme_token(target)?;
        let stack = [root];
        let name = FileName::parse(token).ok();
        let found = name.as_ref().and_then(|name| self.catalog.find(&stack, name));
        let found = found.filter(|entry| entry.path.as_bytes() == token);
        let dir = self.catalog.roots.get(usize::from(root.0)).map(|root| &*root.dir);
        self.trace.step(|| TraceStep::AcmeChallenge { dir, found: found.is_some() });
        let may_be = || name.is_some_and(|name| self.catalog.may_have(&stack, &name));
        Some(match found {
            Some(entry) => Action::Serve(entry),
            None if may_be() => Action::Refuse(Denial::Unavailable),
            None => Action::Refuse(Denial::NotFound),
        })
    }

    /// Returns where a row that matches the raw request sends the client.
    fn redirect_of_uri(&mut self) -> Option<Action<'a>> {
        let Resource::Http { .. } = self.request.resource else { return None };
        if !self.policy.routes.redirects_request_uri() {
            return None;
        }
        self.redirect(MatchOn::RequestUri, &self.request.resource.uri())
    }

    /// Returns where a row that matches the name sends the client.
    fn redirect_of_name(&mut self, name: &FileName) -> Option<Action<'a>> {
        let Resource::Http { .. } = self.request.resource else { return None };
        if self.policy.routes.redirects.is_empty() {
            return None;
        }
        self.redirect(MatchOn::Name, name.spelling().as_bytes())
    }

    fn redirect(&mut self, on: MatchOn, requested: &[u8]) -> Option<Action<'a>> {
        let writes = self.request.operation != Operation::Read;
        let routes = &self.policy.routes;
        let to = routes.redirect(on, requested, (self.client, writes), self.trace)?;
        if to.location.len() > LOCATION_BYTES_MAX {
            let why = NameError::Name(BadName::TooLong);
            return Some(Action::Refuse(Denial::Name(why)));
        }
        Some(Action::Redirect(Box::new(to)))
    }

    /// Returns the name that a remap row makes of the raw request, or `None` if no row matches.
    fn name_of_uri(&mut self) -> Option<Result<FileName, Unroutable>> {
        let routes = &self.policy.routes;
        if !routes.sees_request_uri() {
            return None;
        }
        routes.name_of_uri(&self.request.resource.uri(), self.client, self.trace)
    }

    fn refuse_uri(&mut self, why: Unroutable) -> Action<'a> {
        let denial = match self.request.operation {
            Operation::Read => Denial::Remap(why),
            Operation::Write | Operation::Append | Operation::Delete => Denial::RemapOfUpload(why),
        };
        self.refuse_remapped(why, denial)
    }

    /// Returns the name of the access list that keeps the client out.
    fn denied_by(&mut self) -> Option<&'a str> {
        let protocol = self.request.resource.protocol();
        let list = self.policy.access.denied_by(protocol, self.client).map(|list| &*list.name);
        self.trace.step(|| match list {
            None => TraceStep::Permitted,
            Some(list) => TraceStep::Denied { list },
        });
        list
    }

    /// Traces the row of limits by which the client is served.
    fn trace_limits(&mut self) {
        if let Resource::Tftp { .. } = self.request.resource {
            let (tftp, client) = (&self.policy.tftp, self.client);
            self.trace.step(|| {
                let row = tftp.subnets.iter().find(|(net, _)| net.contains(&client));
                TraceStep::Limits { net: row.map(|(net, _)| net), limits: tftp.limits_for(client) }
            });
        }
    }

    /// Returns the file that keeps a client off the access list from asking again and again.
    fn override_file(&mut self, requested: &FileName, list: &'a str) -> Action<'a> {
        let denied = Action::Refuse(Denial::AccessList(list));
        if self.request.operation != Operation::Read {
            return denied;
        }
        let Some(name) = vendor::override_for(requested) else { return denied };
        let entry = self.catalog.find(self.request.resource.stack(self.policy), &name);
        self.trace.step(|| TraceStep::Override { name: &name, found: entry.is_some() });
        match entry {
            // A client that may not ask at all is not asked for a password.
            Some(entry) if self.protection([requested, &name], location(Some(entry))).is_some() => {
                denied
            }
            Some(entry) => Action::ServeOverride(entry),
            None => denied,
        }
    }

    fn read(&mut self, requested: &FileName) -> Action<'a> {
        if let Resource::Http { .. } = self.request.resource
            && let Some(ca) = self.policy.http.ca.as_ref().filter(|ca| ca.is_named(requested))
        {
            self.trace.step(|| TraceStep::CaCertificate);
            return Action::ServeCa(ca);
        }
        let names = self.rename(requested);
        if let Some(owner) = self.vault_owner(&names) {
            return self.read_vault(owner, &names);
        }
        let name = match names.renamed {
            Ok(name) => name,
            Err(why) => return self.refuse_remapped(why, Denial::Remap(why)),
        };
        let found = self.find(&name);
        if let Some(row) = self.protection([requested, &name], location(found)) {
            return Action::NeedsCredentials { row };
        }
        match found {
            Some(entry) => Action::Serve(entry),
            None if self.catalog.may_have(&stack(self.request, self.policy), &name) => {
                Action::Refuse(Denial::Unavailable)
            }
            None => Action::Refuse(Denial::NotFound),
        }
    }

    /// A user's data comes from the vault. Over HTTP, a file of the roots is sent if the user has
    /// none.
    fn read_vault(&mut self, owner: VaultOwner, names: &Names<'_>) -> Action<'a> {
        match self.request.resource {
            Resource::Http { .. } => {
                let fallback = match &names.renamed {
                    Ok(name) => self.find(name),
                    Err(_) => None,
                };
                match self.vault_protection(names, fallback) {
                    // The vault asks for a password of its own, not for that of the row.
                    Some(_) if self.vault_asks() => Action::Vault { owner, fallback: None },
                    Some(row) => Action::NeedsCredentials { row },
                    None => Action::Vault { owner, fallback },
                }
            }
            Resource::Ftp { .. } | Resource::Tftp { .. } => {
                match self.vault_protection(names, None) {
                    Some(row) => Action::NeedsCredentials { row },
                    None => self.identified(owner),
                }
            }
        }
    }

    /// Returns the `[[protect]]` row that covers a user's data.
    fn vault_protection(&mut self, names: &Names<'_>, file: Option<&Arc<Entry>>) -> Option<usize> {
        let renamed = names.renamed.as_deref().unwrap_or(names.requested);
        self.protection([names.requested, renamed], location(file))
    }

    /// Returns whether the vault asks for passwords of its own. A request carries only one
    /// password, so no row can ask for another.
    fn vault_asks(&self) -> bool {
        let Resource::Http { .. } = self.request.resource else { return false };
        match self.policy.http.vault.as_ref().map(|vault| &vault.auth) {
            Some(Auth::Users(_) | Auth::Pinned) => true,
            Some(Auth::Open | Auth::Certificate) | None => false,
        }
    }

    /// Decides about a request to change a user's data over HTTP.
    fn change_vault(&mut self, owner: VaultOwner, names: &Names<'_>) -> Action<'a> {
        match self.vault_protection(names, None) {
            Some(row) if !self.vault_asks() => Action::NeedsCredentials { row },
            Some(_) | None => Action::Vault { owner, fallback: None },
        }
    }

    /// Decides about a user's data by FTP, if the server can learn whose data it is.
    fn identified(&mut self, owner: VaultOwner) -> Action<'a> {
        let identification = identification(&self.policy.ftp, self.client);
        self.trace.step(|| TraceStep::Identification(identification));
        match (identification, &owner) {
            (Identification::Trusted(_), VaultOwner::LoggedIn(_)) => {
                Action::Refuse(Denial::ExtensionMissing)
            }
            (Identification::Trusted(_), VaultOwner::Named(_))
            | (Identification::AsksPhone | Identification::NoCommunity, _) => {
                Action::Vault { owner, fallback: None }
            }
        }
    }

    fn write(&mut self, requested: &FileName, append: bool) -> Action<'a> {
        let names = self.rename(requested);
        if let Some(owner) = self.vault_owner(&names) {
            return match self.request.resource {
                Resource::Http { .. } => self.change_vault(owner, &names),
                Resource::Ftp { .. } | Resource::Tftp { .. } if append => {
                    Action::Refuse(Denial::VaultAppend)
                }
                Resource::Ftp { .. } | Resource::Tftp { .. } => {
                    match self.vault_protection(&names, None) {
                        Some(row) => Action::NeedsCredentials { row },
                        None => self.identified(owner),
                    }
                }
            };
        }
        let name = match names.renamed {
            Ok(name) => name,
            Err(why) => return self.refuse_remapped(why, Denial::RemapOfUpload(why)),
        };
        let rule = self.policy.uploads.find(requested, &name, self.client);
        let location = rule.map_or(Location::Unknown, |rule| Location::Directory(rule.directory));
        if let Some(row) = self.protection([requested, &name], location) {
            return Action::NeedsCredentials { row };
        }
        if let Some(rule) = rule {
            self.trace.step(|| TraceStep::UploadRule { rule, name: &name });
            if std::str::from_utf8(name.as_bytes()).is_err() {
                let why = NameError::Path(BadPath::NotUtf8);
                self.trace.step(|| TraceStep::BadName { why });
                return Action::Refuse(Denial::Name(why));
            }
            if append && rule.on_exists != OnExists::Append {
                return Action::Refuse(Denial::NotAppendable);
            }
            return Action::Store { rule, name: Box::new(name.into_owned()) };
        }
        let vault = self.request.resource.vault(self.policy);
        match vault.map(|vault| &vault.unknown) {
            Some(&Unknown::Quarantine { directory, bytes_max }) => {
                self.trace.step(|| TraceStep::Quarantine { directory, bytes_max });
                Action::Quarantine { directory, bytes_max }
            }
            Some(Unknown::Refuse) | None => {
                self.trace.step(|| TraceStep::NoUploadRule);
                Action::Refuse(Denial::NoUploadRule)
            }
        }
    }

    fn delete(&mut self, requested: &FileName) -> Action<'a> {
        let names = self.rename(requested);
        match (self.vault_owner(&names), self.request.resource) {
            (Some(owner), Resource::Http { .. }) => return self.change_vault(owner, &names),
            (Some(_), Resource::Ftp { .. } | Resource::Tftp { .. }) => {
                return Action::Refuse(Denial::NotDeletable);
            }
            (None, _) => {}
        }
        let name = match names.renamed {
            Ok(name) => name,
            Err(why) => return self.refuse_remapped(why, Denial::RemapOfUpload(why)),
        };
        let Some(rule) = self.policy.uploads.find(requested, &name, self.client) else {
            return Action::Refuse(Denial::NotDeletable);
        };
        if !rule.delete || std::str::from_utf8(name.as_bytes()).is_err() {
            return Action::Refuse(Denial::NotDeletable);
        }
        let location = Location::Directory(rule.directory);
        if let Some(row) = self.protection([requested, &name], location) {
            return Action::NeedsCredentials { row };
        }
        self.trace.step(|| TraceStep::UploadRule { rule, name: &name });
        Action::Delete { rule, name: Box::new(name.into_owned()) }
    }

    fn rename<'n>(&mut self, requested: &'n FileName) -> Names<'n> {
        Names { requested, renamed: self.policy.routes.rename(requested, self.client, self.trace) }
    }

    fn refuse_remapped(&mut self, why: Unroutable, denial: Denial<'a>) -> Action<'a> {
        self.trace.step(|| TraceStep::RemapRefused(why));
        Action::Refuse(denial)
    }

    /// Returns whose data in the vault a request means: by the requested name, else by what the
    /// remap rows make of it.
    fn vault_owner(&mut self, names: &Names<'_>) -> Option<VaultOwner> {
        let vault = self.request.resource.vault(self.policy)?;
        let is_ftp = matches!(self.request.resource, Resource::Ftp { .. });
        let of = |name: &FileName| {
            if let Some(item) = Item::parse(name, &vault.prefixes) {
                return Some(VaultOwner::Named(item));
            }
            // Only over FTP does the server learn who is logged in at a phone.
            let family = is_ftp.then(|| Item::without_extension(name, &vault.prefixes)).flatten();
            family.map(VaultOwner::LoggedIn)
        };
        let renamed = || names.renamed.as_deref().ok().and_then(of);
        let owner = of(names.requested).or_else(renamed)?;
        self.trace.step(|| TraceStep::Vault { owner: &owner });
        Some(owner)
    }

    /// Returns the `[[protect]]` row whose password is still missing.
    fn protection(&mut self, names: [&FileName; 2], location: Location) -> Option<usize> {
        let rows = &self.policy.protections;
        if rows.0.is_empty() {
            return None;
        }
        let protocol = self.request.resource.protocol();
        let row = rows.find(names, location, protocol, self.client)?;
        let requirement = &*rows.0.get(row)?.requirement;
        let proven = self.request.proven.is_some_and(|proof| requirement.accepts(proof));
        self.trace.step(|| TraceStep::Protected { row, requirement, protocol, proven });
        (!proven).then_some(row)
    }

    /// Returns the file that the stacked roots have for a name.
    fn find(&mut self, name: &FileName) -> Option<&'a Arc<Entry>> {
        let stack = self.request.resource.stack(self.policy);
        let stack = self.policy.routes.stack_for(self.client, stack, self.trace);
        for id in stack.iter() {
            let Some(root) = self.catalog.roots.get(usize::from(id.0)) else { continue };
            let found = self.catalog.find(std::slice::from_ref(id), name);
            self.trace.step(|| TraceStep::Looked {
                root: *id,
                dir: &root.dir,
                name,
                file: found.map(|entry| &**entry),
            });
            if found.is_some() {
                return found;
            }
        }
        let catalog = self.catalog;
        self.trace.step(|| match catalog.may_have(&stack, name) {
            true => TraceStep::Unavailable { name },
            false => TraceStep::NotFound { name },
        });
        None
    }
}
