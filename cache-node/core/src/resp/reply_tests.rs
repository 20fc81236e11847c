use super::super::{Protocol, Writer};
use super::*;
use proptest::prelude::*;

fn write(reply: &Reply, w: &mut Writer) {
    match reply {
        Reply::Simple(text) => w.simple(text),
        Reply::Error(text) => w.error(text),
        Reply::Integer(value) => w.integer(*value),
        Reply::Bulk(bytes) => w.bulk(bytes),
        Reply::Null => w.null(),
        Reply::Double(value) => w.double(*value),
        Reply::Boolean(value) => w.boolean(*value),
        Reply::Verbatim(format, bytes) => w.verbatim(format, bytes),
        Reply::BigNumber(digits) => w.raw(format!("({digits}\r\n").as_bytes()),
        Reply::Array(items) => {
            w.array(items.len());
            items.iter().for_each(|item| write(item, w));
        }
        Reply::Set(items) => {
            w.set(items.len());
            items.iter().for_each(|item| write(item, w));
        }
        Reply::Push(items) => {
            w.push(items.len());
            items.iter().for_each(|item| write(item, w));
        }
        Reply::Map(pairs) => {
            w.map(pairs.len());
            pairs.iter().for_each(|(key, value)| {
                write(key, w);
                write(value, w);
            });
        }
    }
}

fn replies() -> impl Strategy<Value = Reply> {
    let leaf = prop_oneof![
        "[a-z ]{0,20}".prop_map(Reply::Simple),
        "ERR [a-z ]{0,20}".prop_map(Reply::Error),
        any::<i64>().prop_map(Reply::Integer),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Reply::Bulk),
        Just(Reply::Null),
        (-1e9..1e9f64).prop_map(Reply::Double),
        any::<bool>().prop_map(Reply::Boolean),
        prop::collection::vec(any::<u8>(), 0..20)
            .prop_map(|bytes| Reply::Verbatim("txt".into(), bytes)),
        "[1-9][0-9]{20,30}".prop_map(Reply::BigNumber),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Reply::Array),
            prop::collection::vec(inner.clone(), 0..6).prop_map(Reply::Set),
            prop::collection::vec(inner.clone(), 0..6).prop_map(Reply::Push),
            prop::collection::vec((inner.clone(), inner), 0..4).prop_map(Reply::Map),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(reply in replies(), tail in prop::collection::vec(any::<u8>(), 0..9)) {
        let mut bytes = Vec::new();
        write(&reply, &mut Writer::new(&mut bytes, Protocol::Resp3));
        let whole = bytes.len();
        bytes.extend(tail);
        prop_assert_eq!(Reply::parse(&bytes), Ok(Some((reply, whole))));
        prop_assert_eq!(reply_len(&bytes), Ok(Some(whole)));
        let mut scan = ReplyScan::default();
        for len in 0..whole {
            prop_assert_eq!(Reply::parse(&bytes[..len]), Ok(None));
            prop_assert_eq!(reply_len(&bytes[..len]), Ok(None));
            prop_assert_eq!(scan.advance(&bytes[..len]), Ok(None));
        }
        prop_assert_eq!(scan.advance(&bytes), Ok(Some(whole)));
    }

    #[test]
    fn random_bytes_are_an_error_or_incomplete_and_never_a_panic(
        bytes in prop::collection::vec(
            prop_oneof![any::<u8>(), Just(b'*'), Just(b'\r'), Just(b'\n'), Just(b'$'), Just(b'1')],
            0..200),
    ) {
        let _ = Reply::parse(&bytes);
        let _ = reply_len(&bytes);
        let _ = array_elements(&bytes);
    }
}

#[test]
fn an_array_falls_into_its_raw_elements() {
    let reply = b"*3\r\n$1\r\na\r\n$-1\r\n*1\r\n:5\r\n";
    let elements = array_elements(reply).unwrap();
    assert_eq!(elements.as_slice(), [&b"$1\r\na\r\n"[..], b"$-1\r\n", b"*1\r\n:5\r\n"]);
    assert_eq!(array_elements(b":1\r\n"), None);
    assert_eq!(array_elements(b"*2\r\n:1\r\n"), None);
    assert_eq!(array_elements(b"*1\r\n:1\r\n:2\r\n"), None);
}

#[test]
fn s2_a_reply_nested_without_end_is_refused_and_not_followed() {
    let deep = b"*1\r\n".repeat(100_000);
    assert!(Reply::parse(&deep).is_err());
    assert_eq!(reply_len(&deep), Ok(None));
}

#[test]
fn an_attribute_belongs_to_the_reply_behind_it() {
    let bytes = b"|1\r\n+key\r\n:1\r\n+OK\r\n";
    assert_eq!(Reply::parse(bytes), Ok(Some((Reply::Simple("OK".into()), bytes.len()))));
    assert_eq!(reply_len(bytes), Ok(Some(bytes.len())));
}
