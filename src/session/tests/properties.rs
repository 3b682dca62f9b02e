//! What holds whatever happens.

use super::*;

/// What a stranger may do to a session.
#[derive(Clone, Debug)]
enum Happening {
    Connected,
    Answer(String),
    Lost(Failure),
    NotForwarded,
    Commanded,
    Uploaded(Upload),
    /// Seconds pass; deadlines come when they are due.
    Pass(u64),
    /// The wall clock jumps.
    Jump(i64),
    /// The process dies and starts again from what was saved.
    Restart,
}

fn happening() -> impl Strategy<Value = Happening> {
    let failure = prop_oneof![
        Just(unreachable()),
        Just(Failure::Denied {
            fingerprint: String::new()
        }),
        Just(Failure::Ssh("broken".into())),
        Just(Failure::Disconnected("gone".into())),
        Just(Failure::TimedOut {
            step: Step::Login,
            limit: Duration::from_secs(30)
        }),
    ];
    let answer = prop_oneof![
        Just(assignment(Some(3000))),
        Just(assignment(None)),
        Just(opened()),
        Just("OK\n".to_owned()),
        Just("WAIT\nTIMEOUT 500\n".to_owned()),
        Just("REFUSED\n".to_owned()),
        Just(String::new()),
        ".{0,40}",
    ];
    let upload = prop_oneof![
        Just(Upload::Accepted),
        Just(Upload::NotAccepted("it answers 500".to_owned())),
        Just(Upload::Unknown("it answers 403".to_owned())),
        (60_u64..=3600).prop_map(|secs| Upload::Held(Duration::from_secs(secs))),
    ];
    prop_oneof![
        3 => Just(Happening::Connected),
        6 => answer.prop_map(Happening::Answer),
        6 => failure.prop_map(Happening::Lost),
        1 => Just(Happening::NotForwarded),
        2 => Just(Happening::Commanded),
        4 => upload.prop_map(Happening::Uploaded),
        6 => (0_u64..700).prop_map(Happening::Pass),
        1 => (700_u64..40_000).prop_map(Happening::Pass),
        1 => (-100_000_000_i64..100_000_000).prop_map(Happening::Jump),
        1 => Just(Happening::Restart),
    ]
}

/// A driver that checks what must always hold.
struct Check {
    script: Script,
    under_way: Option<Wanted>,
    kept: bool,
    /// When registrations that reached a server were made, by the check's clock and by the wall clock.
    made: Vec<(Tick, i64)>,
    /// The process's own clock began at this time of the check's clock.
    born: Duration,
}

impl Check {
    fn new() -> Self {
        Self {
            script: Script::new(3),
            under_way: None,
            kept: false,
            made: Vec::new(),
            born: Duration::from_secs(1_000_000_000),
        }
    }

    fn tell(&mut self, input: Input) {
        if let (Some(Wanted::Register(..)), Input::Lost(failure)) = (&self.under_way, &input)
            && !failure.reached()
        {
            self.made.pop();
        }
        match (&self.under_way, &input) {
            (Some(Wanted::Keep(_)), Input::Connected) => self.kept = true,
            (Some(_), Input::Lost(_)) => self.under_way = None,
            // A byte on KEEP is followed by our own disconnect.
            (Some(Wanted::Register(..) | Wanted::Connect(_)), Input::Answered(_)) => {
                self.under_way = None;
            }
            _ => {}
        }
        for wanted in self.script.tell(input) {
            if wanted == Wanted::Disconnect {
                assert!(
                    self.under_way.take().is_some(),
                    "cut off what was not there"
                );
                continue;
            }
            assert_eq!(self.under_way, None, "two exchanges at once");
            if matches!(wanted, Wanted::Register(..)) {
                let now = Tick(self.script.tick.0 + self.born);
                self.made.push((now, self.script.now().unix().secs()));
                let hour = self
                    .made
                    .iter()
                    .filter(|(made, _)| now.since(*made) < Duration::from_secs(3600));
                assert!(hour.count() <= 20, "too many registrations in an hour");
            }
            self.kept = false;
            self.under_way = Some(wanted);
        }
        for event in &self.script.events {
            if let SessionEvent::Lost { retry, .. } = event {
                let within = secs(4..=360).contains(retry) || retry.is_zero();
                assert!(within, "a back-off of {retry:?}");
            }
        }
        if self.under_way.is_none() {
            self.kept = false;
            let deadline = self
                .script
                .session
                .deadline()
                .expect("nothing is under way, so something is due");
            let wait = deadline.since(self.script.tick);
            assert!(
                wait <= Duration::from_secs(3600),
                "waits {wait:?} without looking"
            );
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Connected
                if matches!(self.under_way, Some(Wanted::Keep(_))) && !self.kept =>
            {
                self.tell(Input::Connected);
            }
            Happening::Answer(text) if self.under_way.is_some() => {
                self.tell(Input::Answered(text.into_bytes()));
            }
            Happening::Lost(failure) if self.under_way.is_some() => self.tell(Input::Lost(failure)),
            Happening::NotForwarded if matches!(self.under_way, Some(Wanted::Keep(_))) => {
                self.tell(Input::NotForwarded);
            }
            Happening::Commanded if self.kept => self.tell(Input::Commanded),
            // Of an upload under way one may hear late.
            Happening::Uploaded(upload) => self.tell(Input::Uploaded(upload)),
            Happening::Pass(secs) => self.pass(secs),
            Happening::Jump(secs) => self.script.unix_offset += secs,
            Happening::Restart => self.restart(),
            _ => {}
        }
    }

    fn pass(&mut self, secs: u64) {
        let end = self.script.tick + Duration::from_secs(secs);
        while let Some(due) = self.script.session.deadline().filter(|due| *due <= end) {
            self.script.tick = self.script.tick.max(due);
            self.tell(Input::Deadline);
        }
        self.script.tick = end;
    }

    fn restart(&mut self) {
        let state = self.script.saved.clone().unwrap_or_default();
        let unix = self.script.now().unix().secs();
        self.born += self.script.tick.0;
        // After a restart the wall clock is all there is: set ahead, it cannot be told from a long rest.
        for (made, wall) in &mut self.made {
            let age = u64::try_from(unix.saturating_sub(*wall)).unwrap_or(0);
            *made = (*made).min(Tick(self.born) - Duration::from_secs(age));
        }
        let saved = self.script.saved.take();
        self.script = Script::from(settings(servers(3)), state, unix);
        self.script.saved = saved;
        self.under_way = None;
        self.kept = false;
        self.tell(Input::Deadline);
    }
}

proptest! {
    #[test]
    fn whatever_happens_one_exchange_at_a_time_twenty_registrations_an_hour_and_bounded_waits(
        happenings in prop::collection::vec(happening(), 0..200)
    ) {
        let mut check = Check::new();
        check.tell(Input::Deadline);
        for happening in happenings {
            check.happen(happening);
        }
    }

    /// Progress: from any state, once the servers behave, the session is kept within an hour and a bit.
    #[test]
    fn whatever_happened_a_world_in_order_is_joined_again(
        happenings in prop::collection::vec(happening(), 0..100)
    ) {
        let mut check = Check::new();
        check.tell(Input::Deadline);
        for happening in happenings {
            check.happen(happening);
        }
        let start = check.script.tick;
        while !check.kept {
            prop_assert!(check.script.tick.since(start) <= Duration::from_secs(2 * 3600), "no progress");
            match &check.under_way {
                Some(Wanted::Register(..)) => check.tell(Input::Answered(assignment(Some(3000)).into_bytes())),
                Some(Wanted::Connect(_)) => check.tell(Input::Answered(opened().into_bytes())),
                Some(Wanted::Keep(_)) => check.tell(Input::Connected),
                _ => check.pass(60),
            }
        }
    }
}
