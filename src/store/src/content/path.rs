//! Paths beneath a root, as text: parts with `/` between them, and "" for the root itself.
//!
//! Compares and joins; never looks at a disk.

/// Whether a part of a path begins with a dot.
pub(crate) fn is_hidden(path: &str) -> bool {
    path.split('/').any(|part| part.starts_with('.'))
}

/// Whether a path is a directory or lies in it; everything lies in the root, which is "".
pub(crate) fn is_within(path: &str, dir: &str) -> bool {
    dir.is_empty()
        || path.strip_prefix(dir).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What a path is called that is reached through a link to a directory.
pub(crate) fn alias(path: &str, link: &str, real: &str) -> Option<String> {
    if is_within(real, path) {
        return Some(link.to_owned());
    }
    let rest = path.strip_prefix(real)?;
    let rest = if real.is_empty() { rest } else { rest.strip_prefix('/')? };
    (!is_hidden(rest)).then(|| format!("{link}/{rest}"))
}

/// A path in a directory; the root is "".
pub(crate) fn join(dir: &str, name: &str) -> String {
    if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") }
}

/// Whether a folded name is that of one of the classic's access lists, which are nobody's business.
pub(crate) fn is_access_list(name: &[u8]) -> bool {
    let file = name.rsplit(|&byte| byte == b'/').next().unwrap_or(name);
    file == b"allow_ip.txt" || file.ends_with(b"_allow_ip.txt")
}
