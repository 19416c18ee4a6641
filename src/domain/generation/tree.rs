//! A JSON value as a tree over its text, read once: the time grows with the length alone, however
//! deep the value is nested.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// A value. Texts borrow from the JSON.
#[derive(Debug)]
pub(super) enum Tree<'a> {
    Object(BTreeMap<Cow<'a, str>, Self>),
    List(Vec<Self>),
    String(Cow<'a, str>),
    /// A number, `true`, `false` or `null`, as it is written.
    Other(&'a str),
}

/// Why a text is no tree.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoTree {
    /// The path of the first member that its object has already, such as `x.a`. Positions in lists
    /// are not in it.
    Repeated(String),
    /// It is not JSON, or is nested deeper than `json::DEPTH_MAX`.
    Malformed,
}

impl<'a> Tree<'a> {
    /// `depth_max` bounds the recursion.
    pub(super) fn parse(text: &'a str, depth_max: usize) -> Result<Self, NoTree> {
        let mut reader = Reader {
            text,
            at: 0,
            path: Vec::new(),
        };
        reader.value(depth_max)
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    path: Vec<Cow<'a, str>>,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth_left: usize) -> Result<Tree<'a>, NoTree> {
        match self.peek()? {
            b'{' => self.object(depth_left.checked_sub(1).ok_or(NoTree::Malformed)?),
            b'[' => self.list(depth_left.checked_sub(1).ok_or(NoTree::Malformed)?),
            b'"' => Ok(Tree::String(self.string()?)),
            _ => self.other(),
        }
    }

    fn object(&mut self, depth_left: usize) -> Result<Tree<'a>, NoTree> {
        let mut members = BTreeMap::new();
        self.expect(b'{')?;
        if self.takes(b'}')? {
            return Ok(Tree::Object(members));
        }
        loop {
            let name = self.string()?;
            self.expect(b':')?;
            self.path.push(name.clone());
            match members.entry(name) {
                Entry::Occupied(_) => return Err(NoTree::Repeated(self.path.join("."))),
                Entry::Vacant(place) => {
                    place.insert(self.value(depth_left)?);
                }
            }
            self.path.pop();
            if self.takes(b'}')? {
                return Ok(Tree::Object(members));
            }
            self.expect(b',')?;
        }
    }

    fn list(&mut self, depth_left: usize) -> Result<Tree<'a>, NoTree> {
        let mut values = Vec::new();
        self.expect(b'[')?;
        if self.takes(b']')? {
            return Ok(Tree::List(values));
        }
        loop {
            values.push(self.value(depth_left)?);
            if self.takes(b']')? {
                return Ok(Tree::List(values));
            }
            self.expect(b',')?;
        }
    }

    fn string(&mut self) -> Result<Cow<'a, str>, NoTree> {
        self.expect(b'"')?;
        let start = self.at;
        let bytes = self.text.as_bytes();
        loop {
            match bytes.get(self.at).ok_or(NoTree::Malformed)? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        let inside = self.text.get(start..self.at).ok_or(NoTree::Malformed)?;
        self.at += 1;
        if !inside.contains('\\') {
            return Ok(Cow::Borrowed(inside));
        }
        let quoted = &self.text[start - 1..self.at];
        let decoded: String = serde_json::from_str(quoted).map_err(|_| NoTree::Malformed)?;
        Ok(Cow::Owned(decoded))
    }

    fn other(&mut self) -> Result<Tree<'a>, NoTree> {
        let rest = &self.text[self.at..];
        let ends = |c: char| matches!(c, ',' | ']' | '}') || c.is_ascii_whitespace();
        let length = rest.find(ends).unwrap_or(rest.len());
        if length == 0 {
            return Err(NoTree::Malformed);
        }
        self.at += length;
        Ok(Tree::Other(&rest[..length]))
    }

    /// The next byte that is no white space.
    fn peek(&mut self) -> Result<u8, NoTree> {
        let rest = &self.text.as_bytes()[self.at.min(self.text.len())..];
        let blank = rest.iter().take_while(|byte| byte.is_ascii_whitespace());
        self.at += blank.count();
        let next = self.text.as_bytes().get(self.at);
        next.copied().ok_or(NoTree::Malformed)
    }

    fn expect(&mut self, wanted: u8) -> Result<(), NoTree> {
        if self.takes(wanted)? {
            return Ok(());
        }
        Err(NoTree::Malformed)
    }

    fn takes(&mut self, wanted: u8) -> Result<bool, NoTree> {
        let is_next = self.peek()? == wanted;
        self.at += usize::from(is_next);
        Ok(is_next)
    }
}
