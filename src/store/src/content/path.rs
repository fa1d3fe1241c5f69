//! Paths beneath a root, as text: parts with `/` between them, and "" for the root itself.
//!
//! Compares and joins; never looks at a disk.

/// Returns whether a part of a path begins with a dot.
pub(crate) fn is_hidden(path: &str) -> bool {
    path.split('/').any(|part| part.starts_with('.'))
}

/// Returns whether a path is a directory or lies in it; everything lies in the root, which is "".
pub(crate) fn is_within(path: &str, dir: &str) -> bool {
    dir.is_empty()
        || path.strip_prefix(dir).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Returns the path under which a link to a directory shows another path.
pub(crate) fn alias(path: &str, link: &str, real: &str) -> Option<String> {
    if is_within(real, path) {
        return Some(link.to_owned());
    }
    let rest = path.strip_prefix(real)?;
    let rest = if real.is_empty() { rest } else { rest.strip_prefix('/')? };
    (!is_hidden(rest)).then(|| format!("{link}/{rest}"))
}

/// Joins a directory and a name; the root is "".
pub(crate) fn join(dir: &str, name: &str) -> String {
    if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") }
}

/// Returns whether a folded name is one of the classic's access lists, which are never served.
pub(crate) fn is_access_list(name: &[u8]) -> bool {
    let file = name.rsplit(|&byte| byte == b'/').next().unwrap_or(name);
    file == b"allow_ip.txt" || file.ends_with(b"_allow_ip.txt")
}
