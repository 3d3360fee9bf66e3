//! Binary XML nodes as values. Attributes are typed, JID or text: nothing is guessed from an `@` in a string.

use super::WireError;
use super::jid::Jid;
use std::borrow::Cow;
use std::fmt;

/// An attribute's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Text(Cow<'static, str>),
    Jid(Jid),
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(text.into())
    }
}
impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}
impl From<Cow<'static, str>> for Value {
    fn from(text: Cow<'static, str>) -> Self {
        Self::Text(text)
    }
}
impl From<Jid> for Value {
    fn from(jid: Jid) -> Self {
        Self::Jid(jid)
    }
}
impl From<&Jid> for Value {
    fn from(jid: &Jid) -> Self {
        Self::Jid(jid.clone())
    }
}
impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Text(number.to_string().into())
    }
}
impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Self::Text(number.to_string().into())
    }
}

/// The content of a node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Content {
    #[default]
    None,
    Nodes(Vec<Node>),
    Bytes(Vec<u8>),
    Text(String),
}

/// A node: tag, attributes, content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub tag: Cow<'static, str>,
    pub attrs: Vec<(Cow<'static, str>, Value)>,
    pub content: Content,
}

impl Node {
    pub fn new(tag: impl Into<Cow<'static, str>>) -> Self {
        Self { tag: tag.into(), attrs: Vec::new(), content: Content::None }
    }

    #[must_use]
    pub fn attr(mut self, key: impl Into<Cow<'static, str>>, value: impl Into<Value>) -> Self {
        self.attrs.push((key.into(), value.into()));
        self
    }

    /// Adds the attribute when there is a value.
    #[must_use]
    pub fn maybe(self, key: &'static str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.attr(key, value),
            None => self,
        }
    }

    #[must_use]
    pub fn children(mut self, nodes: impl IntoIterator<Item = Self>) -> Self {
        match &mut self.content {
            Content::Nodes(list) => list.extend(nodes),
            other => *other = Content::Nodes(nodes.into_iter().collect()),
        }
        self
    }

    #[must_use]
    pub fn child(self, node: Self) -> Self {
        self.children([node])
    }

    #[must_use]
    pub fn bytes(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.content = Content::Bytes(bytes.into());
        self
    }

    pub fn get(&self, key: &str) -> Option<&Value> {
        self.attrs.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    pub fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// The attribute as text, JIDs printed.
    pub fn text(&self, key: &str) -> Option<Cow<'_, str>> {
        self.get(key).map(|value| match value {
            Value::Text(text) => Cow::Borrowed(text.as_ref()),
            Value::Jid(jid) => Cow::Owned(jid.to_string()),
        })
    }

    pub fn is(&self, key: &str, expected: &str) -> bool {
        self.text(key).as_deref() == Some(expected)
    }

    /// The attribute as a JID; a text is parsed.
    pub fn jid(&self, key: &str) -> Option<Jid> {
        match self.get(key)? {
            Value::Jid(jid) => Some(jid.clone()),
            Value::Text(text) => Jid::parse(text).ok(),
        }
    }

    pub fn number(&self, key: &str) -> Option<u64> {
        self.text(key)?.parse().ok()
    }

    pub fn require_text(&self, key: &'static str) -> Result<Cow<'_, str>, WireError> {
        self.text(key).ok_or_else(|| self.missing(key))
    }

    pub fn require_jid(&self, key: &'static str) -> Result<Jid, WireError> {
        self.jid(key).ok_or_else(|| self.missing(key))
    }

    pub fn require_child(&self, tag: &'static str) -> Result<&Self, WireError> {
        self.find(tag).ok_or_else(|| self.missing(tag))
    }

    /// The content as exactly `N` bytes.
    pub fn array<const N: usize>(&self, what: &'static str) -> Result<[u8; N], WireError> {
        self.content_bytes().try_into().map_err(|_| WireError::Malformed { what })
    }

    fn missing(&self, what: &'static str) -> WireError {
        WireError::Missing { tag: self.tag.to_string(), what }
    }

    /// The child nodes; none when the content is something else.
    pub fn nodes(&self) -> &[Self] {
        match &self.content {
            Content::Nodes(nodes) => nodes,
            _ => &[],
        }
    }

    pub fn find(&self, tag: &str) -> Option<&Self> {
        self.nodes().iter().find(|node| node.tag == tag)
    }

    pub fn all<'a>(&'a self, tag: &'a str) -> impl Iterator<Item = &'a Self> {
        self.nodes().iter().filter(move |node| node.tag == tag)
    }

    /// The content as bytes, whether it came as bytes or as text; empty when there is none.
    pub fn content_bytes(&self) -> &[u8] {
        match &self.content {
            Content::Bytes(bytes) => bytes,
            Content::Text(text) => text.as_bytes(),
            _ => &[],
        }
    }
}

/// An XML-like form for people. Content bytes are shown by length only: they may be plaintext or keys.
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}", self.tag)?;
        for (key, value) in &self.attrs {
            match value {
                Value::Text(text) => write!(f, " {key}={text:?}")?,
                Value::Jid(jid) => write!(f, " {key}=\"{jid}\"")?,
            }
        }
        match &self.content {
            Content::None => f.write_str("/>"),
            Content::Nodes(nodes) => {
                f.write_str(">")?;
                for node in nodes {
                    write!(f, "{node}")?;
                }
                write!(f, "</{}>", self.tag)
            }
            Content::Bytes(bytes) => write!(f, ">[{} bytes]</{}>", bytes.len(), self.tag),
            Content::Text(text) => write!(f, ">[{} characters]</{}>", text.chars().count(), self.tag),
        }
    }
}
