use std::time::Duration;

use cache_core::ErrorKind;
use cache_store::{EtagValidatorBuilder, ValidatorStrength};

use crate::{builder, stored};

#[tokio::test]
async fn a_setting_of_zero_is_an_error() {
    let store = stored("body").await;
    let settings: [fn(EtagValidatorBuilder) -> EtagValidatorBuilder; 4] = [
        |builder| builder.origin_timeout(Duration::ZERO),
        |builder| builder.max_object_size(0),
        |builder| builder.max_in_flight_bytes(0),
        |builder| builder.validator_strength(ValidatorStrength::Timestamp(Duration::ZERO)),
    ];
    for set in settings {
        assert_eq!(set(builder(&store)).build().unwrap_err().kind(), ErrorKind::Config);
    }
    assert_eq!(store.count(), 0);
}

#[tokio::test]
async fn absurd_settings_work() {
    let store = stored("body").await;
    let origin = builder(&store)
        .origin_timeout(Duration::MAX)
        .max_object_size(u64::MAX)
        .max_in_flight_bytes(u64::MAX)
        .validator_strength(ValidatorStrength::Timestamp(Duration::MAX))
        .build()
        .unwrap();
    assert_eq!(crate::fetch(&origin, None).await.body(), "body");
}

#[tokio::test]
async fn a_validator_shows_its_store_by_name_and_its_settings() {
    let store = stored("a body that is not shown").await;
    let shown = format!("{:?} {:?}", builder(&store), builder(&store).build().unwrap());
    assert!(
        shown.contains("InMemory") && shown.contains("30s") && shown.contains("Strong"),
        "{shown}"
    );
    assert!(!shown.contains("not shown"));
}
