//! Dialogues with the uploader.

mod clock;
mod duties;
mod leaving;
mod one_offs;
mod properties;
mod results;
mod told;

use std::time::Duration;

use proptest::prelude::*;

use super::{
    Answer, Duty, Identity, Input, Output, Own, Post, Queue, ServerDate, Slots, Target, Uploader,
    Which, duty::Order, http::PostError,
};
use crate::{
    clock::{Now, Tick, UnixTime},
    protocol::{crontab::CronLine, registration::SessionId},
    spool::{Number, Sealed},
};

/// The Unix time of tick 0: a multiple of 900.
const EPOCH: i64 = 1_775_483_100;
const SID: &str = "fa0b28e5f26291ad4a41ceecffc73457cbb4180291f53abdcda5667357440a9f";

fn at(secs: u64) -> Now {
    let unix = UnixTime::from_secs(EPOCH + i64::try_from(secs).unwrap());
    Now::new(Tick::from_secs(secs), unix, -1)
}

fn identity() -> Identity {
    Identity {
        probe_id: Some(1_015_186),
        session_id: SessionId::new(SID).unwrap(),
    }
}

fn sealed(number: u64, len: u64) -> Sealed {
    Sealed {
        number: Number(number),
        len,
        lines: 1,
    }
}

fn slots(interval: u32, start: i64) -> Slots {
    Slots {
        interval,
        start,
        end: Some(2_000_000_000),
        spread: 0,
    }
}

fn order(which: Which) -> Order {
    let source = if which == Which::TimeSync {
        "&SRC=timesync"
    } else {
        ""
    };
    Order {
        which,
        host: "127.0.0.1".to_owned(),
        target: Target(format!("/?PROBE_ID=1015186&SESSION_ID={SID}{source}")),
        id: "9015".to_owned(),
        set_time: Some(2),
        max_post_size: 9_000_000,
        local_time: false,
        timeout: Duration::from_secs(300),
    }
}

fn duty(which: Which, slots: Slots) -> Duty {
    Duty::Post {
        slots,
        order: order(which),
    }
}

/// Connected at second 0, with a line for results every minute at second 12, and nothing left over.
fn connected() -> Uploader {
    let mut uploader = Uploader::new(Own::default(), 1);
    uploader.handle(&at(0), Input::Session(identity()));
    uploader.handle(
        &at(0),
        Input::Duties(vec![duty(Which::Main, slots(60, 12))]),
    );
    uploader.handle(&at(0), Input::Tunnel(true));
    uploader.handle(&at(0), Input::Collected(Queue::OneOff, Vec::new()));
    uploader
}

fn collects(outputs: &[Output], wanted: Queue) -> bool {
    outputs
        .iter()
        .any(|output| matches!(output, Output::Collect { queue, .. } if *queue == wanted))
}

fn post(outputs: &[Output]) -> Option<&Post> {
    outputs.iter().find_map(|output| match output {
        Output::Post(post) => Some(post),
        _ => None,
    })
}

/// What is done, without what is only told.
fn deeds(outputs: Vec<Output>) -> Vec<Output> {
    let is_deed = |output: &Output| {
        !matches!(
            output,
            Output::Told(_) | Output::Failing(_) | Output::Works | Output::ClockOff(_)
        )
    };
    outputs.into_iter().filter(is_deed).collect()
}

fn accepted() -> Answer {
    Answer::Heard {
        status: 200,
        accepted: true,
        retry_after: None,
        date: None,
    }
}

fn refused(status: u16, retry_after: Option<u64>) -> Answer {
    Answer::Heard {
        status,
        accepted: false,
        retry_after: retry_after.map(Duration::from_secs),
        date: None,
    }
}

fn failed() -> Answer {
    Answer::Failed(PostError::Broken("reset".to_owned()))
}

/// Runs the main post that is due now, up to its answer.
fn main_post(
    uploader: &mut Uploader,
    secs: u64,
    segments: Vec<Sealed>,
    answer: Answer,
) -> Vec<Output> {
    assert!(
        collects(
            &uploader.handle(&at(secs), Input::Deadline),
            Queue::Periodic
        ),
        "due at {secs}"
    );
    let outputs = uploader.handle(&at(secs), Input::Collected(Queue::Periodic, segments));
    assert_eq!(post(&outputs).map(|post| post.which), Some(Which::Main));
    uploader.handle(&at(secs), Input::Answered(Which::Main, answer))
}
