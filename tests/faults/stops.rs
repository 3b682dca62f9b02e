//! The agent is asked to end: while all is well, and while controller and disk are not. With 200 runs under way.
//!
//! It promises to be gone within five seconds. The bench allows three times that, since the machine may be loaded, and
//! prints the longest.

use std::{fs, path::Path, time::Duration};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{
    proxy::Order,
    shim::Shim,
    targets::now,
    themes::fill,
    world::{UNDER_WAY, World},
};

/// What a loaded machine is given.
const BOUND: Duration = Duration::from_secs(15);
/// How long before the end answers may be lost where a disk that does not work is known to lose them.
const GIVEN_UP: Duration = Duration::from_secs(60);

/// Runs that are always under way: five requests, a second apart, begun again each second.
pub(crate) fn long_runs() -> impl Iterator<Item = String> {
    (0..200).map(|number| format!("evping -4 -c 5 -i 1000 -A {} 127.0.0.1", 1000 + number))
}

pub(crate) fn stops(mut world: World) -> World {
    let Some(library) = world.ground.shim.clone() else {
        return world;
    };
    let small = world.ground.folder.join("stops-disk");
    super::small_disk(&small);
    world.agent.data = small.join("data");
    let filler = small.join("filler");
    let shim = Shim::new(&library, world.agent.folder.join("shim"));
    world.agent.shim = Some(shim.clone());

    world.start();
    world.wait_for_upload();
    end(&mut world, "all is well", Signal::SIGTERM, UNDER_WAY);
    world.start();
    world.pass(50, 400);
    end(&mut world, "just started", Signal::SIGINT, UNDER_WAY);
    while_others_hang(&mut world);
    while_the_disk_is_slow(&mut world, &shim);
    while_the_disk_is_full(&mut world, &filler);
    as_process_1(&mut world);
    world
}

fn while_others_hang(world: &mut World) {
    world.controller.order(Order::Swallow);
    world.start();
    world.pass(2000, 3000);
    end(world, "the controller hangs", Signal::SIGTERM, UNDER_WAY);
    let _ = fs::remove_file(world.agent.data.join("session.json"));
    world.registration.order(Order::Swallow);
    world.start();
    world.pass(1000, 2000);
    end(world, "the registration hangs", Signal::SIGINT, UNDER_WAY);
    world.registration.order(Order::Carry);
    world.controller.order(Order::Carry);

    world.order("hang");
    world.start();
    world.wait_for_session();
    world.one_off();
    world.pass(2000, 3000);
    end(world, "a post hangs", Signal::SIGTERM, UNDER_WAY);
    world.network.order("over");
}

fn while_the_disk_is_slow(world: &mut World, shim: &Shim) {
    shim.disk(300);
    world.start();
    world.pass(4000, 5000);
    end(world, "the disk is slow", Signal::SIGTERM, UNDER_WAY);
    shim.disk(0);
    world.start();
    world.wait_for_upload();
    shim.disk(20_000);
    world.pass(2000, 3000);
    end(world, "the disk stands still", Signal::SIGTERM, GIVEN_UP);
    shim.disk(0);
}

fn while_the_disk_is_full(world: &mut World, filler: &Path) {
    world.start();
    world.wait_for_upload();
    fill(filler);
    world.pass(3000, 4000);
    end(world, "the disk is full", Signal::SIGTERM, UNDER_WAY);
    expect_last_words(world, false);
    let _ = fs::remove_file(filler);
    world.start();
    world.wait_for_upload();
    world.network.kill();
    fill(filler);
    world.pass(3000, 4000);
    end(world, "disk full, no controller", Signal::SIGTERM, GIVEN_UP);
    expect_last_words(world, true);
    let _ = fs::remove_file(filler);
    world.network.restart(true);
}

fn as_process_1(world: &mut World) {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        world.agent.by = ["unshare", "--pid", "--fork", "--kill-child"]
            .map(str::to_owned)
            .to_vec();
        world.start();
        world.wait_for_upload();
        end(world, "as process 1", signal, UNDER_WAY);
        world.agent.by.clear();
    }
}

/// Sends the signal and waits for the end, which must be a good one.
fn end(world: &mut World, name: &str, signal: Signal, under_way: Duration) {
    let Some(mut running) = world.running.take() else {
        return;
    };
    if running.has_ended() {
        world.ledger.wrong.push(format!(
            "{name}: the agent ended by itself:\n{}",
            world.agent.complaints()
        ));
    }
    let died = now();
    if world.agent.by.is_empty() {
        running.signal(signal);
    } else {
        // The first process of a namespace is known outside by another number.
        let children = format!("/proc/{0}/task/{0}/children", running.pid());
        let children = fs::read_to_string(children).unwrap_or_default();
        let child = children.trim().parse().expect("unshare has one child");
        kill(Pid::from_raw(child), signal).expect("it runs");
    }
    let (status, took) = running.wait();
    world.ledger.stopped(&world.agent.data, died, under_way);
    world.ledger.fault(format!("stopped while: {name}"));
    world.ledger.longest = world.ledger.longest.max(took);
    if !status.success() {
        world.ledger.wrong.push(format!(
            "{name}: {signal} led to {status}:\n{}",
            world.agent.complaints()
        ));
    }
    if took > BOUND {
        world
            .ledger
            .wrong
            .push(format!("{name}: it took {took:?} to end"));
    }
    println!("    stopped while {name}: {} ms", took.as_millis());
}

/// Whether the log ends by saying that results are lost, as it must where they are.
fn expect_last_words(world: &mut World, expected: bool) {
    let log = world.agent.log();
    let life = log.rfind("stopping").map_or("", |at| &log[at..]);
    if life.contains("results are lost") != expected {
        world.ledger.wrong.push(format!(
            "the last words should{} tell of lost results:\n{life}",
            if expected { "" } else { " not" }
        ));
    }
}
