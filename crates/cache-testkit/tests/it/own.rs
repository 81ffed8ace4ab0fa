//! The kit's own backends and origin.

use std::sync::Arc;

use cache_core::Backend;
use cache_testkit::{
    FaultyOrigin, MapBackend, MemoryOrigin, WaitingBackend,
    conformance::{backend, validator},
};

#[tokio::test]
async fn the_map_keeps_the_contract() {
    let suite = backend::Suite::new(backend::Capabilities::new().sweeps(), |_| async {
        Arc::new(MapBackend::new()) as Arc<dyn Backend>
    });
    println!("{}", backend::check(&suite).await.unwrap());
}

#[tokio::test]
async fn the_waiting_backend_keeps_the_contract_however_much_goes_wrong() {
    for spoiled in [0, 20, 128] {
        let can = backend::Capabilities::new().waits().sweeps();
        let can = if spoiled > 0 { can.fails() } else { can };
        let suite = backend::Suite::new(can, move |number| async move {
            Arc::new(WaitingBackend::new(MapBackend::new(), spoiled, number)) as Arc<dyn Backend>
        });
        println!("{}", backend::check(&suite).await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn both_do_on_several_threads() {
    for spoiled in [0, 64] {
        let can = backend::Capabilities::new().waits().fails().sweeps();
        let suite = backend::Suite::new(can, move |number| async move {
            Arc::new(WaitingBackend::new(MapBackend::new(), spoiled, number)) as Arc<dyn Backend>
        });
        backend::check(&suite).await.unwrap();
    }
}

#[tokio::test]
async fn the_origin_in_memory_keeps_the_contract() {
    let origin = Arc::new(MemoryOrigin::new());
    let suite = validator::Suite::of_origin(can(), origin.clone(), origin);
    println!("{}", validator::check(&suite).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn the_faulty_origin_without_faults_keeps_it_too() {
    let origin = Arc::new(FaultyOrigin::in_memory());
    let suite = validator::Suite::of_origin(can(), origin.clone(), origin.clone());
    println!("{}", validator::check(&suite).await.unwrap());
    let suite = validator::Suite::of_origin(
        can(),
        origin.clone(),
        Arc::new(validator::OwnWrites(origin.clone())),
    );
    println!("{}", validator::check(&suite).await.unwrap());
    let suite = validator::Suite::of_validator(can(), origin.clone(), origin);
    println!("{}", validator::check(&suite).await.unwrap());
}

fn can() -> validator::Capabilities {
    validator::Capabilities::new().puts_if_absent().puts_if_matches()
}
