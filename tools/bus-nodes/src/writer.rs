//! Writes ascending numbers.

use std::{sync::Arc, time::Duration};

use bus_nodes::{Command, Line, Setup, Writer, clock};
use cache_facade::{Announcement, Change, ChangeBus, ObjectCache, cache_core::Key};
use tokio::{
    sync::{mpsc::UnboundedReceiver, watch},
    time::timeout,
};

use crate::{faulty::Recorded, say, say_stats};

pub(crate) async fn run(
    setup: &Setup,
    role: &Writer,
    mut commands: UnboundedReceiver<Command>,
) -> Result<(), String> {
    let bus = crate::bus(setup, None)?;
    let (acknowledged, puts) = watch::channel(0);
    let recorded = Recorded::new(Arc::clone(&bus), role.abort_at, puts);
    let cache = crate::cache(setup, Arc::new(recorded))?.build().map_err(|e| e.to_string())?;
    let mut value = role.first;
    let mut next = commands.recv().await;
    while let Some(command) = next {
        next = match command {
            Command::Write(rounds) => {
                for _ in 0..rounds {
                    write(&cache, &setup.keys, &mut value, &acknowledged).await;
                }
                say(&Line::Done);
                commands.recv().await
            }
            Command::WriteEach(millis) => loop {
                write(&cache, &setup.keys, &mut value, &acknowledged).await;
                // The next command ends the pause.
                let pause = Duration::from_millis(millis);
                if let Ok(command) = timeout(pause, commands.recv()).await {
                    break command;
                }
            },
            Command::Flood(messages) => {
                flood(setup, &*bus, messages).await?;
                say(&Line::Done);
                commands.recv().await
            }
        };
    }
    say_stats(cache.bus_stats());
    Ok(())
}

/// Writes each key once.
async fn write(cache: &ObjectCache, keys: &[String], next: &mut u64, puts: &watch::Sender<u64>) {
    let value = *next;
    *next += 1;
    for key in keys {
        say(&Line::Sending { key: key.clone(), value, at: clock::now() });
        match cache.put(key, value.to_string()).await {
            Ok(version) => {
                let at = clock::now();
                say(&Line::Acknowledged { key: key.clone(), value, e_tag: version.e_tag, at });
                puts.send_modify(|puts| *puts += 1);
            }
            Err(error) => say(&Line::Failed(format!("put {key} {value}: {error}"))),
        }
    }
}

/// Announces changes of other keys, as a cache that writes much does.
async fn flood(setup: &Setup, bus: &dyn ChangeBus, messages: u64) -> Result<(), String> {
    let namespace = crate::namespace(setup);
    let node = namespace.bits().rotate_left(1);
    for seq in 1..=messages {
        // Long, so that they do not fit into the buffers between a server and its client.
        let name = format!("flood/{seq:01000}");
        let key = Key::parse(&name).map_err(|error| error.to_string())?;
        let change = Change::Key { key, e_tag: Some("\"flood\"".into()) };
        let sent = bus.announce(&Announcement { namespace, node, seq, change }).await;
        if let Err(error) = sent {
            say(&Line::Failed(format!("announce {seq} of a flood: {error}")));
        }
    }
    Ok(())
}
