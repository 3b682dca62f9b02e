//! Where the session stands, in words an operator can act on; made from the session's events. Pure.

use crate::{
    clock::UnixTime,
    observe::{
        metrics::Step,
        status::{Session, SessionState, Trouble},
    },
    session::{Exchange, SessionEvent, interpreter::Change},
};

/// The longest name of a command told.
const MOST_WORDS: usize = 80;

/// Takes an event; whether the words changed.
pub(super) fn hear(session: &mut Session, event: &SessionEvent, now: UnixTime) -> bool {
    if let SessionEvent::Change(change) = event {
        session.last_command = Some(Trouble {
            time: now.secs(),
            words: command(change),
            times: 1,
        });
        return false;
    }
    let Some((state, next, advice)) = judge(session, event) else {
        return false;
    };
    if let SessionEvent::ControllerAssigned { host, port } = event {
        session.controller = Some(format!("{host} port {port}"));
    }
    let words = match event {
        // The reverse port means nothing to an operator.
        SessionEvent::Kept(identity) => match (identity.probe_id, &session.controller) {
            (Some(id), Some(controller)) => format!("connected as probe {id} to {controller}"),
            (Some(id), None) => format!("connected as probe {id}"),
            (None, _) => "connected".to_owned(),
        },
        // When the next attempt is made is told beside it.
        SessionEvent::Lost { .. } => {
            let words = event.to_string();
            let cause = words.rsplit_once("; trying again in ");
            cause.map_or(words.as_str(), |(cause, _)| cause).to_owned()
        }
        event => event.to_string(),
    };
    if session.state != state {
        session.since = now.secs();
    }
    session.state = state;
    session.next_attempt = next.map(|wait| (now + wait).secs());
    session.advice = advice;
    let is_news = session.words != words;
    session.words = words;
    is_news
}

/// What of an event is counted.
pub(super) fn step(event: &SessionEvent) -> Option<Step> {
    Some(match event {
        SessionEvent::Registering { .. } => Step::Registering,
        SessionEvent::Registered { .. } => Step::Registered,
        SessionEvent::Kept(_) => Step::Connected,
        SessionEvent::Useless { .. } => Step::Lost("keep"),
        SessionEvent::Lost { exchange, .. } => Step::Lost(match exchange {
            Exchange::Registration => "registration",
            Exchange::Init => "init",
            Exchange::Keep => "keep",
        }),
        _ => return None,
    })
}

type Judgement = (SessionState, Option<std::time::Duration>, Option<String>);

/// What an event means; `None` for what changes nothing.
fn judge(session: &Session, event: &SessionEvent) -> Option<Judgement> {
    Some(match event {
        SessionEvent::Registering { .. } => {
            // While waiting for approval each attempt is a part of the waiting.
            let state = match session.state {
                SessionState::WaitingForApproval => SessionState::WaitingForApproval,
                _ => SessionState::Registering,
            };
            (state, None, session.advice.clone())
        }
        SessionEvent::Registered { .. } => (SessionState::Registering, None, None),
        SessionEvent::WaitingForApproval { retry } => (
            SessionState::WaitingForApproval,
            Some(*retry),
            Some(
                "nothing to do here: whoever runs the network must approve this probe's key"
                    .to_owned(),
            ),
        ),
        SessionEvent::ToldToWait { wait, .. } => (SessionState::ToldToWait, Some(*wait), None),
        SessionEvent::RegistrationsSpent { wait } => (SessionState::ToldToWait, Some(*wait), None),
        SessionEvent::ControllerAssigned { .. } | SessionEvent::SessionOpened(_) => {
            (SessionState::Connecting, None, None)
        }
        SessionEvent::Kept(_) => (SessionState::Connected, None, None),
        // The failure's own words name the remedy.
        SessionEvent::Lost { retry, .. } => (SessionState::Failing, Some(*retry), None),
        SessionEvent::KickedOut => (SessionState::Registering, None, None),
        SessionEvent::Useless {
            complaint, retry, ..
        } => (
            SessionState::Failing,
            Some(*retry),
            Some(complaint.advice().to_owned()),
        ),
        SessionEvent::Change(_)
        | SessionEvent::ClockOff { .. }
        | SessionEvent::Doubted { .. }
        | SessionEvent::ForwardRefused { .. }
        | SessionEvent::ServerSkipped(_)
        | SessionEvent::Misread { .. }
        | SessionEvent::Marker(_) => return None,
    })
}

fn command(change: &Change) -> String {
    let words = match change {
        Change::Table { name, lines } => format!("table {name} of {} lines", lines.len()),
        Change::Add { .. } => "a line for the table of measurements".to_owned(),
        Change::OneOff { .. } | Change::Json { .. } => "a one-off".to_owned(),
    };
    words.chars().take(MOST_WORDS).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        protocol::registration::SessionId,
        session::{Complaint, Failure, Identity, Step},
    };

    fn at(secs: i64) -> UnixTime {
        UnixTime::from_secs(secs)
    }

    #[test]
    fn a_probe_comes_to_its_session() {
        let mut session = Session::default();
        let identity = Identity {
            probe_id: Some(1001),
            session_id: SessionId::new("5ec2e7").unwrap(),
            remote_port: 51234,
        };
        for (time, event, state, words) in [
            (
                1,
                SessionEvent::WaitingForApproval {
                    retry: Duration::from_secs(60),
                },
                SessionState::WaitingForApproval,
                "the key is known but not approved yet; asking again in 60 s",
            ),
            (
                2,
                SessionEvent::ControllerAssigned {
                    host: "c.example".to_owned(),
                    port: 443,
                },
                SessionState::Connecting,
                "controller c.example port 443 assigned",
            ),
            (
                3,
                SessionEvent::Kept(identity.clone()),
                SessionState::Connected,
                "connected as probe 1001 to c.example port 443",
            ),
        ] {
            assert!(hear(&mut session, &event, at(time)));
            assert_eq!((session.state, session.words.as_str()), (state, words));
            assert_eq!(session.since, time);
        }
        assert_eq!(session.advice, None);
        assert!(
            !hear(&mut session, &SessionEvent::Kept(identity), at(9)),
            "said already"
        );
        assert_eq!(session.since, 3);
        assert!(!serde_json::to_string(&session).unwrap().contains("5ec2e7"));
    }

    #[test]
    fn a_failure_tells_why_and_when_it_is_tried_again() {
        let mut session = Session::default();
        let lost = SessionEvent::Lost {
            exchange: Exchange::Registration,
            failure: Failure::NoServer,
            retry: Duration::from_secs(90),
        };
        assert!(hear(&mut session, &lost, at(100)));
        assert_eq!(session.state, SessionState::Failing);
        assert_eq!(session.next_attempt, Some(190));
        assert!(session.words.contains("configure one"), "{}", session.words);
    }

    #[test]
    fn a_connection_of_no_use_is_failing_and_says_what_to_do() {
        let mut session = Session::default();
        let useless = SessionEvent::Useless {
            complaint: Complaint::Unknown {
                why: "it answers 403".to_owned(),
            },
            step: Step::Reopen,
            retry: Duration::from_secs(5),
        };
        assert!(hear(&mut session, &useless, at(100)));
        assert_eq!(session.state, SessionState::Failing);
        assert_eq!(session.next_attempt, Some(105));
        assert_eq!(
            session.advice.as_deref(),
            Some("nothing to do here: results are kept for the new session")
        );
    }

    #[test]
    fn a_command_is_named_and_changes_nothing_else() {
        let mut session = Session::default();
        let change = SessionEvent::Change(Change::Table {
            name: "7".to_owned(),
            lines: vec![String::new(); 3],
        });
        assert!(!hear(&mut session, &change, at(5)));
        let command = session.last_command.unwrap();
        assert_eq!(
            (command.time, command.words.as_str()),
            (5, "table 7 of 3 lines")
        );
    }
}
