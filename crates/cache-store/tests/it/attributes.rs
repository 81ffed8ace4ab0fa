use cache_core::ErrorKind;
use cache_store::{attributes_from_store, attributes_to_store};
use object_store::{Attribute, Attributes};
use proptest::prelude::*;

#[test]
fn attributes_have_the_names_of_their_headers() {
    let named = [
        (Attribute::CacheControl, "cache-control"),
        (Attribute::ContentDisposition, "content-disposition"),
        (Attribute::ContentEncoding, "content-encoding"),
        (Attribute::ContentLanguage, "content-language"),
        (Attribute::ContentType, "content-type"),
        (Attribute::StorageClass, "storage-class"),
        (Attribute::Metadata("Owner".into()), "metadata.Owner"),
        (Attribute::Metadata("".into()), "metadata."),
        (Attribute::Metadata("content-type".into()), "metadata.content-type"),
    ];
    for (attribute, name) in named {
        let theirs = Attributes::from_iter([(attribute, "value")]);
        let ours = attributes_from_store(&theirs);
        assert_eq!(ours.iter().collect::<Vec<_>>(), [(name, "value")]);
        assert_eq!(attributes_to_store(&ours).unwrap(), theirs);
    }
}

#[test]
fn a_name_that_no_store_knows_is_an_error() {
    for name in ["", "Content-Type", "etag", "metadata", "x-metadata.a"] {
        let ours = [(name, "value")].into_iter().collect();
        assert_eq!(
            attributes_to_store(&ours).unwrap_err().kind(),
            ErrorKind::Unsupported,
            "{name}"
        );
    }
}

fn attribute() -> impl Strategy<Value = Attribute> {
    prop_oneof![
        Just(Attribute::CacheControl),
        Just(Attribute::ContentDisposition),
        Just(Attribute::ContentEncoding),
        Just(Attribute::ContentLanguage),
        Just(Attribute::ContentType),
        Just(Attribute::StorageClass),
        ".{0,8}".prop_map(|name| Attribute::Metadata(name.into())),
    ]
}

proptest! {
    #[test]
    fn nothing_is_lost_there_and_back(attributes in prop::collection::vec((attribute(), ".{0,8}"), 0..8)) {
        let theirs: Attributes = attributes.into_iter().collect();
        prop_assert_eq!(attributes_to_store(&attributes_from_store(&theirs)).unwrap(), theirs);
    }
}
