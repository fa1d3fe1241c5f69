//! Explains where an upload of the name would be stored, and whether the phone could read it back.

use std::path::Path;

use super::{Recorder, Walk};
use engine::policy::trace::NoTrace;
use engine::policy::{self, Action, Denial, Operation, Request, Resource, VaultOwner};
use engine::vault::upload::OnExists;
use wire::name::FileName;

impl Walk<'_> {
    /// Explains the decision about a request to store; returns its keyword.
    pub(super) fn upload(
        &self,
        request: &Request<'_>,
        recorder: &mut Recorder<'_>,
    ) -> &'static str {
        let request = Request { operation: Operation::Write, ..*request };
        let decision = policy::resolve(&request, self.snapshot, &mut NoTrace);
        let label = match request.resource {
            Resource::Tftp { .. } | Resource::Http { .. } => "put",
            Resource::Ftp { .. } => "store",
        };
        let text = match &decision.action {
            Action::Vault { owner: VaultOwner::Named(_), .. } => match request.resource {
                Resource::Http { .. } => "kept as a new version of it in the vault".to_owned(),
                Resource::Ftp { .. } | Resource::Tftp { .. } => {
                    "kept as a new version of it, on the same terms".to_owned()
                }
            },
            Action::Vault { owner: VaultOwner::LoggedIn(_), .. } => {
                "kept as a new version of it, on the same terms".to_owned()
            }
            Action::Store { rule, name } => {
                let dir = self.settings.upload_dir(rule.directory);
                let shown = dir.map_or("nowhere".into(), |dir| dir.display().to_string());
                let other_name = decision.name.is_some_and(|requested| requested != **name);
                let other_name = if other_name { format!(" as {name}") } else { String::new() };
                let (pattern, bytes_max) = (&rule.pattern, rule.bytes_max);
                let beyond = match rule.on_exists {
                    OnExists::Append => " at most, beyond which its oldest lines go",
                    OnExists::Replace | OnExists::Keep => "",
                };
                let back = dir.and_then(|dir| self.read_back(&request, dir, name));
                let back = back.map_or(String::new(), |why| format!("; {why}"));
                let row = format!("row {pattern:?} of [[upload]]");
                format!("{row}: {shown}{other_name}, {bytes_max} bytes{beyond}{back}")
            }
            Action::Quarantine { directory, bytes_max } => {
                let dir = self.settings.upload_dir(*directory);
                let dir = dir.map_or("nowhere".into(), |dir| dir.display().to_string());
                format!("nobody knows the name, so quarantine: {dir}, {bytes_max} bytes")
            }
            Action::Refuse(Denial::AccessList(_)) => return "refuse",
            Action::Refuse(why) => format!("refused: {why}"),
            Action::NeedsCredentials { row } => {
                format!("row {} of [[protect]] asks for a password", row + 1)
            }
            Action::Redirect(to) => {
                let (code, location) = (to.status.code(), to.location.escape_ascii());
                format!("sent to {location} ({code})")
            }
            // Never decided for a request to store.
            Action::Serve(_)
            | Action::ServeOverride(_)
            | Action::ServeCa(_)
            | Action::Delete { .. } => return "refuse",
        };
        recorder.tell(label, text);
        decision.action.word()
    }

    /// Explains if a name may be deleted; returns the decision's keyword.
    pub(super) fn delete(
        &self,
        request: &Request<'_>,
        recorder: &mut Recorder<'_>,
    ) -> &'static str {
        if let Resource::Tftp { .. } = request.resource {
            return "refuse";
        }
        let request = Request { operation: Operation::Delete, ..*request };
        let decision = policy::resolve(&request, self.snapshot, &mut NoTrace);
        let word = decision.action.word();
        match decision.action {
            Action::Delete { rule, name } => {
                let dir = self.settings.upload_dir(rule.directory);
                let dir = dir.map_or("nowhere".into(), |dir| dir.display().to_string());
                let pattern = &rule.pattern;
                recorder
                    .tell("delete", format_args!("row {pattern:?} of [[upload]]: {name} in {dir}"));
            }
            Action::Redirect(to) => {
                let (code, location) = (to.status.code(), to.location.escape_ascii());
                recorder.tell("delete", format_args!("sent to {location} ({code})"));
            }
            // The vault has its own words, and nothing else is ever deleted.
            Action::Vault { .. }
            | Action::NeedsCredentials { .. }
            | Action::Refuse(_)
            | Action::Serve(_)
            | Action::ServeOverride(_)
            | Action::ServeCa(_)
            | Action::Store { .. }
            | Action::Quarantine { .. } => {}
        }
        word
    }

    /// Returns why a phone cannot read back what it stores, or `None` if it can.
    fn read_back(&self, request: &Request<'_>, dir: &Path, name: &FileName) -> Option<String> {
        let catalog = &self.snapshot.catalog;
        let stack = policy::stack(request, &self.snapshot.policy);
        for id in stack.iter() {
            let Some(root) = catalog.roots.get(usize::from(id.0)) else { continue };
            if is_same(&root.dir, dir) {
                return None;
            }
            if let Some(entry) = catalog.find(std::slice::from_ref(id), name) {
                let (root, path) = (root.dir.display(), &entry.path);
                return Some(format!(
                    "it is not what is read back: {root}/{path} comes first, in an earlier root"
                ));
            }
        }
        Some("it is not read back: no root of this listener is that directory".to_owned())
    }
}

/// Returns whether both are one directory.
fn is_same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    one == other || real(one) == real(other)
}
