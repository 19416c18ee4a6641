//! A value that `rows` binds in a statement.

/// A value to bind.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    Int(Option<i64>),
    Text(Option<&'a str>),
    Blob(Option<&'a [u8]>),
}

macro_rules! value_from {
    ($($from:ty => $variant:ident),*) => {$(
        impl<'a> From<$from> for Value<'a> {
            fn from(value: $from) -> Self {
                Self::$variant(Some(value))
            }
        }
        impl<'a> From<Option<$from>> for Value<'a> {
            fn from(value: Option<$from>) -> Self {
                Self::$variant(value)
            }
        }
    )*};
}
value_from!(i64 => Int, &'a str => Text, &'a [u8] => Blob);

/// One function makes all rows of a statement, so a column has one type in all of them.
impl<'a> Value<'a> {
    pub(super) fn int(self) -> Option<i64> {
        match self {
            Self::Int(value) => value,
            other => unreachable!("{other:?} in a column of numbers"),
        }
    }

    pub(super) fn text(self) -> Option<&'a str> {
        match self {
            Self::Text(value) => value,
            other => unreachable!("{other:?} in a column of texts"),
        }
    }

    pub(super) fn blob(self) -> Option<&'a [u8]> {
        match self {
            Self::Blob(value) => value,
            other => unreachable!("{other:?} in a column of bytes"),
        }
    }
}
