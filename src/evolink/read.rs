//! What is read of EvoLink for apps.

/// One read.
#[derive(Clone, Copy, Debug)]
pub struct Read<'a> {
    /// The segments of its path.
    pub path: &'a [&'a str],
    pub query: Option<&'a str>,
    /// Whether EvoLink is sent our key. Public data is read without one.
    pub with_key: bool,
}
