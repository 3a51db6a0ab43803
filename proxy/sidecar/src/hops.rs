//! Fields that belong to one connection, and go no further than its other end. RFC 9110 §7.6.1.

use std::borrow::Cow;

use crate::fields::{Fields, Name, Names};

/// The names of such fields.
const HOP_BY_HOP: &[Name] =
    &[Name::Connection, Name::KeepAlive, Name::ProxyConnection, Name::TransferEncoding, Name::Upgrade, Name::Te];

/// Takes away what belongs to the connection.
pub(crate) fn strip_hop_by_hop(fields: &mut Fields) {
    strip(fields, const { Names::of(HOP_BY_HOP) });
}

/// What HTTP/2 may carry of these fields: it has no such names, but for a `TE` of `trailers`. A route may have set one.
pub(crate) fn without_hops(fields: &Fields) -> Cow<'_, Fields> {
    let te = fields.get(Name::Te).is_some_and(|te| te != b"trailers");
    if !te && !HOP_BY_HOP.iter().any(|name| *name != Name::Te && fields.has(*name)) {
        return Cow::Borrowed(fields);
    }
    let mut fields = fields.clone();
    strip_hop_by_hop(&mut fields);
    Cow::Owned(fields)
}

/// Takes these names away, what `Connection` names, and any `TE` but `trailers`.
pub(crate) fn strip(fields: &mut Fields, names: Names) {
    let trailers = fields.all(Name::Te).flat_map(|te| te.split(|byte| *byte == b',')).any(|coding| {
        let coding = coding.split(|byte| *byte == b';').next().unwrap_or(b"");
        coding.trim_ascii().eq_ignore_ascii_case(b"trailers")
    });
    if fields.has(Name::Connection) {
        let named = fields.all(Name::Connection).flat_map(|value| value.split(|byte| *byte == b','));
        let named: Vec<Vec<u8>> = named
            .map(<[u8]>::trim_ascii)
            .filter(|name| !matches!(Name::of(name), Name::Te | Name::ContentLength | Name::Host))
            .filter(|name| !name.eq_ignore_ascii_case(b"keep-alive") && !name.eq_ignore_ascii_case(b"close"))
            .map(<[u8]>::to_vec)
            .collect();
        named.iter().for_each(|name| fields.remove(name));
    }
    fields.drop_all(names);
    if trailers {
        fields.put(Name::Te, b"trailers");
    }
}
