//! The dialogue against transcripts of both kinds of probe, however their bytes are chunked.

use proptest::prelude::*;

use super::*;

const GREETING: &[u8] = b"\xff\xfd\x01\xff\xfd\x1f\xff\xfb\x01\xff\xfb\x03Atlas probe, see http://atlas.ripe.net/\r\n\r\n\
Probe 42 (host.example) login: ";
const PROMPT: &[u8] = b"\r\nPassword: ";
const SID: &str = "fa0b28e5f26291ad4a41ceecffc73457cbb4180291f53abdcda5667357440a9f";

fn at(millis: u64) -> Tick {
    Tick::from_millis(millis)
}

fn dialogue(lines: &[&str]) -> Dialogue {
    let lines = lines.iter().map(|&line| line.to_owned()).collect();
    Dialogue::new(at(0), SessionId::new(SID).unwrap(), Arc::new(lines))
}

fn send(text: &str) -> Vec<Say> {
    vec![Say::Send(text.as_bytes().to_vec())]
}

fn done(sent: usize, replies: &[(usize, Reply)], end: End) -> Vec<Say> {
    vec![Say::Done(Outcome {
        sent,
        replies: replies.to_vec(),
        end,
    })]
}

/// A dialogue that has sent its password.
fn logged_in(lines: &[&str]) -> Dialogue {
    let mut talk = dialogue(lines);
    assert_eq!(
        talk.handle(at(0), Heard::Bytes(GREETING)),
        send("C_TO_P_TEST_V1\n")
    );
    assert_eq!(talk.handle(at(0), Heard::Sent), []);
    assert_eq!(
        talk.handle(at(0), Heard::Bytes(PROMPT)),
        send(&format!("{SID}\n"))
    );
    assert_eq!(talk.handle(at(0), Heard::Sent), []);
    talk
}

#[test]
fn the_official_probe_says_nothing_to_the_password_and_ok_to_the_end() {
    let mut talk = logged_in(&[
        "CRONTAB /home/atlas/crons/7",
        "CRONLINE 240 0 1 NONE 0 evping",
    ]);
    assert_eq!(talk.deadline(), Some(at(250)));
    assert_eq!(
        talk.handle(at(250), Heard::Deadline),
        send("CRONTAB /home/atlas/crons/7\n")
    );
    assert_eq!(
        talk.handle(at(251), Heard::Sent),
        send("CRONLINE 240 0 1 NONE 0 evping\n")
    );
    assert_eq!(talk.handle(at(252), Heard::Sent), send("\n"));
    assert_eq!(talk.handle(at(253), Heard::Sent), []);
    assert_eq!(
        talk.handle(at(254), Heard::Bytes(b"OK\r\n\r\n")),
        done(2, &[], End::Acknowledged)
    );
    assert_eq!(talk.deadline(), None);
    assert_eq!(talk.handle(at(255), Heard::Closed), []);
}

#[test]
fn an_ok_to_the_password_starts_the_request_and_does_not_end_it() {
    let mut talk = logged_in(&["ONEOFF /home/atlas/crons/oneoff evping 192.0.2.1"]);
    let request = send("ONEOFF /home/atlas/crons/oneoff evping 192.0.2.1\n");
    assert_eq!(talk.handle(at(3), Heard::Bytes(b"OK\r\n\r\n")), request);
    assert_eq!(talk.handle(at(4), Heard::Sent), send("\n"));
    assert_eq!(
        talk.handle(at(5), Heard::Bytes(b"OK\r\n\r\n")),
        done(1, &[], End::Acknowledged)
    );
}

#[test]
fn an_ok_to_the_password_that_comes_late_does_not_end_the_request() {
    let mut talk = logged_in(&["REBOOT"]);
    assert_eq!(talk.handle(at(250), Heard::Deadline), send("REBOOT\n"));
    assert_eq!(talk.handle(at(260), Heard::Bytes(b"OK\r\n\r\n")), []);
    assert_eq!(talk.handle(at(261), Heard::Sent), send("\n"));
    assert_eq!(
        talk.handle(at(270), Heard::Bytes(b"OK\r\n\r\n")),
        done(1, &[], End::Acknowledged)
    );
}

#[test]
fn a_refused_password_ends_the_dialogue_at_once() {
    let mut talk = logged_in(&["REBOOT"]);
    assert_eq!(
        talk.handle(at(2), Heard::Bytes(b"BAD_PASSWORD\r\n\r\n")),
        done(0, &[], End::BadPassword)
    );
}

#[test]
fn replies_are_kept_with_the_number_of_lines_sent_by_then() {
    let mut talk = logged_in(&["CRONTAB /etc", "NONSENSE"]);
    assert_eq!(
        talk.handle(at(250), Heard::Deadline),
        send("CRONTAB /etc\n")
    );
    assert_eq!(talk.handle(at(251), Heard::Bytes(b"BAD_PATH\r\n\r\n")), []);
    assert_eq!(talk.handle(at(252), Heard::Sent), send("NONSENSE\n"));
    assert_eq!(talk.handle(at(253), Heard::Sent), send("\n"));
    let replies = [(1, Reply::BadPath), (2, Reply::BadCommand)];
    assert_eq!(
        talk.handle(at(254), Heard::Bytes(b"BAD_COMMAND\r\n\r\nOK\r\n\r\n")),
        done(2, &replies, End::Acknowledged)
    );
}

#[test]
fn silence_ends_each_stage_by_name() {
    let mut fresh = dialogue(&[]);
    assert_eq!(fresh.deadline(), Some(at(60_000)));
    assert_eq!(
        fresh.handle(at(60_000), Heard::Deadline),
        done(0, &[], End::TimedOut("the login prompt"))
    );
    let mut late = logged_in(&[]);
    assert_eq!(late.handle(at(250), Heard::Deadline), send("\n"));
    assert_eq!(
        late.handle(at(60_000), Heard::Deadline),
        done(0, &[], End::TimedOut("the request's OK"))
    );
}

#[test]
fn a_probe_that_closes_is_told_from_one_that_answers() {
    let mut talk = logged_in(&[]);
    talk.handle(at(250), Heard::Deadline);
    assert_eq!(
        talk.handle(at(300), Heard::Closed),
        done(0, &[], End::Closed("the request's OK"))
    );
}

#[test]
fn a_banner_without_end_is_cut_off() {
    let mut talk = dialogue(&[]);
    let said = talk.handle(at(0), Heard::Bytes(&[b'x'; 5000]));
    assert_eq!(said, done(0, &[], End::Nonsense("the login prompt")));
}

#[test]
fn an_answer_that_no_probe_gives_is_nonsense() {
    let mut talk = logged_in(&[]);
    let said = talk.handle(at(1), Heard::Bytes(b"Last login: never\r\n"));
    assert_eq!(said, done(0, &[], End::Nonsense("the request to be taken")));
    let mut flood = logged_in(&[]);
    let said = flood.handle(at(1), Heard::Bytes(&[b'x'; 200]));
    assert_eq!(said, done(0, &[], End::Nonsense("the request to be taken")));
}

#[test]
fn an_early_answer_waits_for_the_line_being_sent() {
    let mut talk = dialogue(&["A"]);
    // Everything at once, before anything was reported as sent: one Send is asked for at a time.
    assert_eq!(
        talk.handle(at(0), Heard::Bytes(GREETING)),
        send("C_TO_P_TEST_V1\n")
    );
    assert_eq!(talk.handle(at(0), Heard::Sent), []);
    assert_eq!(
        talk.handle(at(0), Heard::Bytes(PROMPT)),
        send(&format!("{SID}\n"))
    );
    assert_eq!(talk.handle(at(0), Heard::Bytes(b"OK\r\n\r\n")), []);
    assert_eq!(talk.handle(at(0), Heard::Sent), send("A\n"));
}

/// A probe that answers by the specification, one reply to what is sent, without the optional OK or with it.
fn play(cuts: &[usize], welcome: bool) -> (Vec<Vec<u8>>, Outcome) {
    let mut talk = dialogue(&["CRONTAB /home/atlas/crons/7", "ONEOFF x"]);
    let (mut sent, mut now) = (Vec::new(), 0);
    let mut cuts = cuts.iter().copied().cycle();
    let mut inbox = GREETING.to_vec();
    loop {
        let size = cuts.next().unwrap_or(1).clamp(1, inbox.len().max(1));
        let said = if inbox.is_empty() {
            now = talk
                .deadline()
                .expect("not over")
                .0
                .as_millis()
                .try_into()
                .unwrap();
            talk.handle(at(now), Heard::Deadline)
        } else {
            let piece: Vec<u8> = inbox.drain(..size).collect();
            talk.handle(at(now), Heard::Bytes(&piece))
        };
        let mut todo = std::collections::VecDeque::from(said);
        while let Some(say) = todo.pop_front() {
            match say {
                Say::Done(outcome) => return (sent, outcome),
                Say::Send(line) => {
                    inbox.extend_from_slice(match &line[..] {
                        b"C_TO_P_TEST_V1\n" => PROMPT,
                        b"\n" => b"OK\r\n\r\n",
                        line if line.starts_with(SID.as_bytes()) && welcome => b"OK\r\n\r\n",
                        b"ONEOFF x\n" => b"BAD_PATH\r\n\r\n",
                        _ => b"",
                    });
                    sent.push(line);
                    todo.extend(talk.handle(at(now), Heard::Sent));
                }
            }
        }
    }
}

#[test]
fn bytes_cut_at_every_boundary_make_the_same_dialogue() {
    let lines = [
        "C_TO_P_TEST_V1\n",
        &format!("{SID}\n"),
        "CRONTAB /home/atlas/crons/7\n",
        "ONEOFF x\n",
        "\n",
    ];
    let expected: Vec<Vec<u8>> = lines.iter().map(|line| line.as_bytes().to_vec()).collect();
    for welcome in [false, true] {
        for cut in 1..=GREETING.len() {
            let (sent, outcome) = play(&[cut], welcome);
            assert_eq!(sent, expected, "cut {cut} welcome {welcome}");
            assert_eq!(outcome.end, End::Acknowledged);
            assert_eq!(outcome.replies, [(2, Reply::BadPath)]);
        }
    }
}

#[test]
fn people_are_told_in_words_how_it_went() {
    let told = |sent, replies: &[(usize, Reply)], end| {
        let replies = replies.to_vec();
        Outcome { sent, replies, end }.to_string()
    };
    assert_eq!(told(9, &[], End::Acknowledged), "all taken");
    assert_eq!(
        told(9, &[(2, Reply::BadPath)], End::Acknowledged),
        "not all taken, BAD_PATH by line 2"
    );
    assert_eq!(
        told(
            9,
            &[(3, Reply::BadCommand); 8],
            End::Closed("the request's OK")
        ),
        "the probe closed instead of the request's OK, 9 lines sent, BAD_COMMAND by line 3, BAD_COMMAND by line 3, \
         BAD_COMMAND by line 3, BAD_COMMAND by line 3, BAD_COMMAND by line 3 and 3 more"
    );
    assert_eq!(
        told(0, &[], End::TimedOut("the login prompt")),
        "waited in vain for the login prompt, 0 lines sent"
    );
    assert_eq!(
        told(0, &[], End::Unreachable("gone".to_owned())),
        "the probe cannot be reached: gone"
    );
}

proptest! {
    #[test]
    fn how_bytes_are_chunked_never_matters(cuts in prop::collection::vec(1_usize..40, 1..50), welcome: bool) {
        prop_assert_eq!(play(&cuts, welcome), play(&[1], welcome));
    }

    #[test]
    fn no_bytes_keep_a_dialogue_from_ending(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..60)) {
        let mut talk = dialogue(&["A", "B"]);
        let mut over = false;
        for piece in &pieces {
            let said = talk.handle(at(1), Heard::Bytes(piece));
            over |= said.iter().any(|say| matches!(say, Say::Done(_)));
        }
        let said = talk.handle(at(60_000), Heard::Deadline);
        prop_assert_eq!(said.len(), usize::from(!over));
        prop_assert_eq!(talk.deadline(), None);
    }
}
