//! What probes and strangers do: they connect, register, ask for a session, forward a port and post.

use starling::{
    controller::{
        ProbeKey,
        messages::{Answer, ConnectionId, Exec, Input, Post, Response, Role},
        registry::Known,
    },
    protocol::{
        post::{BODY_HEADER, PostBody, body_footer},
        registration::{self, InitAnswer, InitVerdict, Verdict},
    },
    result::Received,
};

use super::{
    super::{Bytes, is_read_as},
    Stage, assigned, key,
};

impl Stage {
    pub(super) fn join(&mut self, bytes: &mut Bytes<'_>) {
        let role = bytes.of(&[Role::Registration, Role::Controller, Role::Both]);
        let (ticket, key) = (self.ticket(), key(bytes.byte()));
        let offered = Input::Offered {
            ticket,
            role,
            key: key.clone(),
        };
        if self.ask(ticket, offered) == Answer::Admitted(true) {
            self.numbers += 1;
            let connection = ConnectionId(self.numbers);
            self.connected.insert(connection, key.clone());
            self.tell(Input::Joined {
                connection,
                role,
                key,
            });
        }
    }

    pub(super) fn leave(&mut self, bytes: &mut Bytes<'_>) {
        let connection = self.connection(bytes);
        self.connected.remove(&connection);
        self.talks.remove(&connection);
        self.tell(Input::Left { connection });
    }

    pub(super) fn register(&mut self, bytes: &mut Bytes<'_>) {
        let (ticket, connection) = (self.ticket(), self.connection(bytes));
        let stdin = match bytes.byte() % 4 {
            0 => bytes.chunk().to_vec(),
            _ => b"P_TO_R_INIT\nTOKEN_SPECS fluffy 1000 5120 debian/12/x86_64\nREASON_FOR_REGISTRATION NEW\n"
                .to_vec(),
        };
        let good = registration::Request::parse(&stdin).is_ok();
        let Answer::Exec(exec) = self.ask(
            ticket,
            Input::Register {
                ticket,
                connection,
                stdin,
            },
        ) else {
            unreachable!("another answer than asked for");
        };
        assert!(exec.stdout.len() < 16 << 10);
        let answer = registration::Answer::parse(exec.stdout.as_bytes());
        // What a client says in its block does not come back as an assignment.
        if let Verdict::Ok {
            controller: Some(controller),
            ..
        } = answer.verdict
        {
            assert!(good && controller == assigned());
            let key = self.connected.get(&connection).expect("somebody asks");
            let known = self.known_by(key);
            assert_eq!(answer.probe_id, known.map(|known| known.id.0));
        }
    }

    pub(super) fn init(&mut self, bytes: &mut Bytes<'_>) {
        let (ticket, connection) = (self.ticket(), self.connection(bytes));
        let Answer::Exec(Exec { stdout, .. }) =
            self.ask(ticket, Input::Init { ticket, connection })
        else {
            unreachable!("another answer than asked for");
        };
        if let InitVerdict::Ok {
            remote_port: Some(port),
            session_id: Some(id),
        } = InitAnswer::parse(stdout.as_bytes()).verdict
        {
            let key = self.connected.get(&connection).expect("somebody asks");
            let known = self.known_by(key);
            let known = known.expect("a session is for a probe that is known");
            assert_eq!(known.port, port);
            let taken = self
                .probes
                .values()
                .any(|(_, _, other)| other == id.as_str());
            assert!(!taken, "a session that is another's");
            let probe = (known.id.0, port, id.as_str().to_owned());
            self.probes.insert(key.clone(), probe);
        }
    }

    pub(super) fn forward(&mut self, bytes: &mut Bytes<'_>) {
        let (ticket, connection) = (self.ticket(), self.connection(bytes));
        let form = bytes.byte();
        let own = self.own(connection).map_or(0, |(_, port, _)| port);
        let (address, port) = match form % 4 {
            0 => ("0.0.0.0", own.into()),
            1 => ("localhost", bytes.long()),
            _ => ("localhost", own.into()),
        };
        let answer = self.ask(
            ticket,
            Input::Forward {
                ticket,
                connection,
                address: address.to_owned(),
                port,
            },
        );
        if answer == Answer::Forwarded(true) {
            assert_eq!(address, "localhost");
            let key = self.connected.get(&connection).expect("somebody asks");
            let known = self.known_by(key);
            assert_eq!(known.map(|known| u32::from(known.port)), Some(port));
        }
    }

    /// What the client on a connection was told.
    fn own(&self, connection: ConnectionId) -> Option<(u32, u16, String)> {
        self.probes.get(self.connected.get(&connection)?).cloned()
    }

    pub(super) fn post(&mut self, bytes: &mut Bytes<'_>) {
        let (ticket, connection) = (self.ticket(), self.connection(bytes));
        let (id, _, session) = self.own(connection).unwrap_or((1, 1, "00".to_owned()));
        let form = bytes.byte();
        let source = ["", "&SRC=oneoff", "&SRC=timesync", "&SRC="][usize::from(form & 3)];
        let body = body(form & 4 == 0, &session, bytes);
        let target = if form & 8 == 0 {
            format!("/?PROBE_ID={id}&SESSION_ID={session}{source}")
        } else {
            String::from_utf8_lossy(bytes.chunk()).into_owned()
        };
        let method = if form & 0x70 == 0x70 { "GET" } else { "POST" }.to_owned();
        let lines = good_lines(&body);
        let post = Post {
            method,
            target,
            body,
        };
        let input = Input::Posted {
            ticket,
            connection,
            post,
        };
        let sender = self.connected.get(&connection).cloned();
        let mut answers = self.perform(input);
        match answers.remove(&ticket) {
            Some(answer) => self.answered(sender.as_ref(), &lines, &answer),
            None => {
                assert!(
                    self.pending.contains_key(&ticket),
                    "a post without an answer"
                );
                let sender = sender.expect("nothing is stored for nobody");
                self.storing.insert(ticket, (sender, lines));
            }
        }
        assert!(answers.is_empty());
    }

    fn known_by(&self, key: &ProbeKey) -> Option<&Known> {
        self.known.iter().find(|known| known.key == *key)
    }

    /// What is acknowledged is on the disk, whoever brought it there.
    pub(super) fn answered(&self, sender: Option<&ProbeKey>, lines: &[String], answer: &Answer) {
        let Answer::Respond(response) = answer else {
            unreachable!("another answer than asked for");
        };
        if response.status != 0 {
            is_read_as(
                &Response {
                    date_offset: 0,
                    ..response.clone()
                },
                self.unix,
            );
        }
        if response.status != 200 || response.body.trim() != "OK" {
            return;
        }
        let known = sender.and_then(|key| self.known_by(key));
        let probe = known.expect("a probe posts").id;
        for line in lines {
            let there = self.durable.contains(&(probe, line.clone()));
            assert!(there, "acknowledged and not stored: {line}");
        }
    }
}

/// A body as probes make them, or any bytes at all.
fn body(is_formed: bool, session: &str, bytes: &mut Bytes<'_>) -> Vec<u8> {
    if !is_formed {
        return bytes.chunk().to_vec();
    }
    let text = String::from_utf8_lossy(bytes.chunk()).into_owned();
    let lines = text.replace(['\r', '\0'], "\n");
    let mut body = BODY_HEADER.to_owned();
    for line in lines.lines() {
        // Short for what a fuzzer would have to find out.
        body += &match line.strip_prefix('=') {
            Some(rest) => {
                format!("RESULT {{ \"id\":\"{rest}\", \"result\":[{{\"rtt\":1.5}}] }}\n")
            }
            None => format!("{line}\n"),
        };
    }
    body += &body_footer(session);
    body.into_bytes()
}

/// The lines of a body that are results.
fn good_lines(body: &[u8]) -> Vec<String> {
    let body = PostBody::parse(body).ok();
    let lines = body.iter().flat_map(|body| body.lines.iter());
    lines
        .filter(|line| Received::parse(line).is_ok())
        .map(|line| (*line).to_owned())
        .collect()
}
