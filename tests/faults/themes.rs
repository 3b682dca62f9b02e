//! What happens to a probe, a theme for each world.

use std::{fs, io::Write as _, path::Path};

use nix::sys::signal::Signal;
use rand::RngExt as _;

use super::{
    proxy::{Order, Place, Way},
    shim::Shim,
    world::{Ground, World, open_segment},
};

/// Cards of which each is drawn once before any is drawn again, so that short runs play every fault too.
struct Deck<T> {
    all: Vec<T>,
    left: Vec<T>,
}

impl<T: Clone> Deck<T> {
    const fn new(all: Vec<T>) -> Self {
        Self {
            all,
            left: Vec::new(),
        }
    }

    fn draw(&mut self, world: &mut World) -> T {
        if self.left.is_empty() {
            self.left.clone_from(&self.all);
        }
        let at = world.random.random_range(0..self.left.len());
        self.left.swap_remove(at)
    }
}

/// Agent and controller die, at any moment: also while they start, one without the other, both at once.
pub(crate) fn deaths(mut world: World) -> World {
    let mut deck = Deck::new(vec![0, 1, 2, 3, 4, 4, 5, 6, 7]);
    world.start();
    world.wait_for_upload();
    while world.goes_on() {
        match deck.draw(&mut world) {
            0..3 => {
                world.kill();
                tear(&mut world);
                world.start();
            }
            3 => {
                // Dies again while it recovers.
                for _ in 0..3 {
                    world.kill();
                    world.start();
                    world.pass(10, 400);
                }
            }
            4 => {
                world.network.kill();
                world.ledger.fault("controller killed");
                world.pass(0, 1500);
                revive(&mut world);
            }
            5 => {
                world.kill();
                revive(&mut world);
                world.ledger.fault("controller killed");
                world.start();
            }
            6 => world.renew(),
            _ => {
                if let Some(running) = &world.running {
                    running.signal(Signal::SIGSTOP);
                }
                world.pass(500, 2500);
                if let Some(running) = &world.running {
                    running.signal(Signal::SIGCONT);
                }
                world.ledger.fault("agent suspended");
            }
        }
        world.one_off();
        world.pass(300, 4000);
    }
    world
}

fn revive(world: &mut World) {
    // The program itself, and sometimes its twin that takes orders.
    let faulty = world.chance(40);
    world.network.restart(faulty);
}

/// A line half written, as a power cut would leave it: nobody may ever post it.
fn tear(world: &mut World) {
    if !world.chance(50) {
        return;
    }
    if let Some(open) = open_segment(&world.agent.data) {
        let torn = b"RESULT { \"id\" : \"29999\" , \"fw\":5120, \"mver\": \"2.6.4\", \"time\" : 17";
        let file = fs::OpenOptions::new().append(true).open(open);
        if file.and_then(|mut file| file.write_all(torn)).is_ok() {
            world.ledger.fault("line torn");
        }
    }
}

/// Registrations and INITs are cut in every part of an SSH connection, and meet servers that are none.
pub(crate) fn cut_registrations(mut world: World) -> World {
    world.start();
    world.wait_for_upload();
    let mut orders = cuts(&places(&[16, 300], &[1, 2, 3, 4, 5, 6, 7, 8]));
    orders.extend([Order::Garbage, Order::Refuse, Order::Swallow]);
    let mut deck = Deck::new(orders);
    while world.goes_on() {
        let order = deck.draw(&mut world);
        // Both wires have the same turns; which of them cuts first is left to chance.
        if world.chance(50) {
            world.registration.order(order);
        } else {
            world.controller.order(order);
        }
        world.stop();
        let _ = fs::remove_file(world.agent.data.join("session.json"));
        world.start();
        world.pass(800, 1500);
        count(&mut world, order);
        world.registration.order(Order::Carry);
        world.controller.order(Order::Carry);
        world.kill();
        world.start();
        world.pass(400, 1200);
    }
    world
}

/// A session that stands is cut: in its beginnings, in a command, in head, body and answer of a post.
pub(crate) fn cut_sessions(mut world: World) -> World {
    world.start();
    world.wait_for_upload();
    let mut orders = cuts(&places(&[10, 300], &[1, 3, 4, 6, 8, 10, 14, 20]));
    for turn in 1..9 {
        // Opening the channel, head, body and answer, and what comes between two posts.
        orders.extend([0, 30, 900].map(|bytes| Order::Cut {
            place: Place::TurnFromNow(turn, bytes),
            reset: turn % 2 == 0,
        }));
    }
    orders.extend([Order::SwallowAnswers, Order::SwallowAnswers, Order::Swallow]);
    let mut deck = Deck::new(orders);
    while world.goes_on() {
        let order = deck.draw(&mut world);
        let from_now = matches!(
            order,
            Order::Cut {
                place: Place::TurnFromNow(..),
                ..
            } | Order::SwallowAnswers
        );
        world.controller.order(order);
        if !from_now {
            world.renew();
        }
        world.one_off();
        world.pass(1000, 2200);
        count(&mut world, order);
        world.controller.order(Order::Carry);
        world.renew();
        world.pass(500, 1500);
    }
    world
}

/// Places of every class: both banners, both key exchanges, and these turns.
fn places(bytes: &[usize], turns: &[usize]) -> Vec<Place> {
    let mut places = Vec::new();
    for way in [Way::Up, Way::Down] {
        places.push(Place::Banner(way, 0));
        places.push(Place::Banner(way, 9));
        places.extend(bytes.iter().map(|after| Place::Exchange(way, *after)));
    }
    for turn in turns {
        places.push(Place::Turn(*turn, 0));
        places.push(Place::Turn(*turn, 20));
    }
    places
}

/// Cuts at these places, by FIN and by RST in turn.
fn cuts(places: &[Place]) -> Vec<Order> {
    let numbered = places.iter().enumerate();
    numbered
        .map(|(number, place)| Order::Cut {
            place: *place,
            reset: number % 2 == 0,
        })
        .collect()
}

/// Notes a fault of a wire that took place.
fn count(world: &mut World, order: Order) {
    let done = world.registration.take_cuts() + world.controller.take_cuts();
    let name = match order {
        Order::Cut { place, .. } if done > 0 => match place {
            Place::Banner(..) => "cut in a banner",
            Place::Exchange(..) => "cut in a key exchange",
            Place::Turn(1..=4, _) => "cut in authentication",
            Place::Turn(..) => "cut in command or answer",
            Place::TurnFromNow(..) => "cut in a post",
        },
        Order::Cut { .. } | Order::Carry => return,
        Order::Swallow => "half-open",
        Order::SwallowAnswers => "answers lost on the way",
        Order::Garbage => "not an SSH server",
        Order::Refuse => "closed at once",
    };
    world.ledger.fault(name);
}

/// The controller answers with what it should not.
pub(crate) fn answers(mut world: World) -> World {
    let mut orders = Deck::new(vec![
        "status 500",
        "status 503",
        "status 404",
        "status 302",
        "status 100",
        "too-many 1",
        "too-many",
        "hang",
        "close",
        "lose-answer",
        "wrong-body",
        "no-line-feed",
        "chunked",
        "date-off 7200",
        "date-off -7200",
        "delay 1500",
        "kick",
        "drop",
        "lose-answer",
    ]);
    let mut starts = Deck::new(vec![
        "exec-wait",
        "exec-refused",
        "exec-plain",
        "exec-silent",
        "exec-status",
        "exec-garbage",
        "logins",
    ]);
    world.start();
    world.wait_for_upload();
    while world.goes_on() {
        if world.chance(30) {
            let order = starts.draw(&mut world);
            world.order(order);
            let _ = fs::remove_file(world.agent.data.join("session.json"));
            world.kill();
            world.start();
        } else {
            // A one-off would take the fault for itself: its post goes out at once.
            if world.chance(30) {
                world.one_off();
            }
            for _ in 0..world.random.random_range(1..4) {
                let order = orders.draw(&mut world);
                world.order(order);
            }
        }
        world.pass(1500, 2500);
        world.network.order("over");
        let _ = fs::remove_file(world.agent.data.join("session.json"));
        world.renew();
        world.pass(1000, 2500);
    }
    world
}

/// The disk is full, or cannot be written. While it is, lines are in memory: nobody is killed then.
pub(crate) fn disk(mut world: World, small: &Path) -> World {
    world.agent.data = small.join("data");
    let filler = small.join("filler");
    let mut deck = Deck::new(vec![
        (true, false),
        (true, true),
        (false, false),
        (false, true),
    ]);
    world.start();
    world.wait_for_upload();
    while world.goes_on() {
        let (full, away) = deck.draw(&mut world);
        if away {
            world.network.kill();
            world.ledger.fault("controller killed");
        }
        let spool = world.agent.data.join("spool");
        if full {
            fill(&filler);
            world.ledger.fault("disk full");
        } else if read_only(&spool, true) {
            world.ledger.fault("disk read-only");
        } else {
            println!("NOT TESTED: a read-only disk, for this host allows no such mount");
        }
        world.pass(2000, 5000);
        if full {
            let _ = fs::remove_file(&filler);
        } else {
            read_only(&spool, false);
        }
        if away {
            world.network.restart(true);
        }
        // A disk that refused is tried again within ten seconds.
        world.pass(11_000, 12_000);
        world.renew();
        world.wait_for_upload();
    }
    world
}

/// Takes all there is.
pub(crate) fn fill(filler: &Path) {
    let file = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(filler);
    let Ok(mut file) = file else { return };
    for size in [1 << 16, 1 << 12, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}

/// Lays a mount over a directory that refuses every change, or takes it away again. (The file system itself could
/// not be made read-only while the agent holds its lock.)
fn read_only(folder: &Path, yes: bool) -> bool {
    let mount = |words: &[&str]| {
        let done = std::process::Command::new(words[0])
            .args(&words[1..])
            .arg(folder)
            .output();
        done.is_ok_and(|output| output.status.success())
    };
    let place = folder.to_str().expect("temporary paths are UTF-8");
    if yes {
        mount(&["mount", "--bind", place]) && mount(&["mount", "-o", "remount,bind,ro"])
    } else {
        mount(&["umount", "--lazy"])
    }
}

/// The wall clock jumps, by seconds, hours and years, forwards and back.
pub(crate) fn clock(mut world: World, ground: &Ground) -> World {
    let Some(library) = &ground.shim else {
        return world;
    };
    let shim = Shim::new(library, world.agent.folder.join("shim"));
    world.agent.shim = Some(shim.clone());
    let mut steps = Deck::new(vec![
        -1,
        5,
        -12,
        60,
        -60,
        3600,
        -3600,
        86_400,
        -86_400,
        40_000_000,
        -900_000_000,
    ]);
    world.start();
    world.wait_for_upload();
    while world.goes_on() {
        let step = steps.draw(&mut world);
        shim.clock(step);
        world.ledger.fault("clock set");
        world.pass(1500, 3000);
        if world.chance(40) {
            world.renew();
        }
        if world.chance(70) {
            shim.clock(0);
            world.ledger.fault("clock set");
        }
        world.pass(1500, 3000);
    }
    shim.clock(0);
    world
}
