//! Posts over loopback TCP, which stands in for the tunnel: every way in which a controller can answer.

use std::{future::Future, time::Duration};

use starling::{
    clock::{Clock, Now, Tick, UnixTime},
    dialect::Dialect,
    protocol::registration::SessionId,
    spool::{self, Limits, Number, disk::Store},
    upload::{
        self, Answer, Identity, Input, Output, Own, Post, Queue, Target, Uploader, Which,
        http::{self, PostError, Request},
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

const SID: &str = "fa0b28e5f26291ad4a41ceecffc73457cbb4180291f53abdcda5667357440a9f";
const STATUS: &str = "RESULT 9901 ongoing 1775483034 starla\n";
const LINE: &str = "RESULT { \"id\":\"1001\" }\n";

fn post() -> Post {
    Post {
        which: Which::Main,
        host: "127.0.0.1".to_owned(),
        target: Target(format!("/?PROBE_ID=1015186&SESSION_ID={SID}")),
        segments: vec![Number(1)],
        status: true,
        local_time: false,
        timeout: Duration::from_secs(20),
        session_id: SessionId::new(SID).expect("is one"),
    }
}

fn request(post: &Post) -> Request {
    let segments = [LINE.as_bytes().to_vec()];
    Request::new(post, STATUS, &segments, 1_775_483_034, Dialect::Reference)
}

/// Reads a whole request and gives its head and body.
async fn hear(stream: &mut TcpStream) -> (String, String) {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .rsplit_once("Content-Length: ")
                .expect("has a length")
                .1;
            let length = length
                .split("\r\n")
                .next()
                .and_then(|n| n.parse::<usize>().ok())
                .expect("a number");
            if body.len() == length {
                return (format!("{head}\r\n\r\n"), body.to_owned());
            }
        }
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).await.expect("reads");
        assert!(count > 0, "the whole request comes: {text}");
        bytes.extend_from_slice(&buffer[..count]);
    }
}

/// Makes one post; `serve` plays the controller on the connection.
async fn exchange<F: Future<Output = ()>>(
    request: &Request,
    serve: impl FnOnce(TcpStream) -> F,
) -> Answer {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
    let address = listener.local_addr().expect("has an address");
    let controller = async {
        let (stream, _) = listener.accept().await.expect("accepts");
        serve(stream).await;
    };
    let open = TcpStream::connect(address);
    tokio::join!(http::post(open, request, Clock::start()), controller).0
}

/// The answer to a controller that hears everything and then says this.
async fn told(answer: &str) -> Answer {
    exchange(&request(&post()), async |mut stream| {
        hear(&mut stream).await;
        stream.write_all(answer.as_bytes()).await.expect("writes");
    })
    .await
}

fn is_accepted(answer: &Answer) -> bool {
    matches!(answer, Answer::Heard { accepted: true, .. })
}

#[tokio::test]
async fn the_request_is_what_the_official_probe_sends() {
    let mut heard = (String::new(), String::new());
    let answer = exchange(&request(&post()), async |mut stream| {
        heard = hear(&mut stream).await;
        let ok = b"HTTP/1.1 200 \r\nContent-Length: 3\r\nConnection: close\r\n\r\nOK\n";
        stream.write_all(ok).await.expect("writes");
    })
    .await;
    assert!(is_accepted(&answer), "{answer:?}");
    let body = format!("P_TO_C_REPORT\n{STATUS}{LINE}\nSESSION_ID {SID}\n");
    let head = format!(
        "POST /?PROBE_ID=1015186&SESSION_ID={SID} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\
         User-Agent: httppost for atlas.ripe.net\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    assert_eq!(heard, (head, body));
}

#[test]
fn a_post_for_the_time_is_91_bytes() {
    let post = Post {
        which: Which::TimeSync,
        status: false,
        segments: Vec::new(),
        ..post()
    };
    let request = Request::new(&post, STATUS, &[], 0, Dialect::Reference);
    assert_eq!(request.body().len(), 91);
}

#[tokio::test]
async fn ok_in_any_framing_is_an_acknowledgement() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nOK\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nO\r\n2\r\nK\n\r\n0\r\n\r\n",
        "HTTP/1.0 204 \r\n\r\nOK\n",
    ] {
        // A status without a body by definition has none, whatever follows.
        let expected = !answer.contains("204");
        assert_eq!(is_accepted(&told(answer).await), expected, "{answer}");
    }
}

#[tokio::test]
async fn a_success_with_another_body_acknowledges_nothing() {
    let answer = told("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nERROR\n").await;
    assert!(
        matches!(
            answer,
            Answer::Heard {
                status: 200,
                accepted: false,
                ..
            }
        ),
        "{answer:?}"
    );
}

#[tokio::test]
async fn a_refusal_tells_its_status_and_when_to_come_back() {
    let answer =
        told("HTTP/1.1 429 Too Many Requests\r\nRetry-After: 120\r\nContent-Length: 0\r\n\r\n")
            .await;
    let Answer::Heard {
        status,
        accepted,
        retry_after,
        date,
    } = answer
    else {
        panic!("{answer:?}");
    };
    assert_eq!(
        (status, accepted, retry_after),
        (429, false, Some(Duration::from_secs(120)))
    );
    assert_eq!(date, None);
    let answer = told("HTTP/1.1 500 \r\nContent-Length: 2\r\n\r\nOK").await;
    assert!(
        matches!(
            answer,
            Answer::Heard {
                status: 500,
                accepted: false,
                ..
            }
        ),
        "{answer:?}"
    );
}

#[tokio::test]
async fn the_servers_date_comes_with_ours() {
    let answer = told(
        "HTTP/1.1 200 \r\nDate: Mon, 02 Jan 2006 15:04:05 GMT\r\nContent-Length: 3\r\n\r\nOK\n",
    )
    .await;
    let Answer::Heard {
        date: Some(date), ..
    } = answer
    else {
        panic!("{answer:?}");
    };
    assert_eq!(date.date, 1_136_214_245);
    assert!(date.local > UnixTime::from_secs(1_136_214_245));
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_none() {
    for answer in [
        "",
        "HTTP/1.1 200 OK\r\nContent-Le",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nO",
    ] {
        let answer = told(answer).await;
        assert!(matches!(answer, Answer::Failed(_)), "{answer:?}");
    }
}

#[tokio::test]
async fn what_is_no_http_is_no_answer() {
    let answer = told("SSH-2.0-OpenSSH_9.2\r\n\r\n").await;
    assert!(
        matches!(answer, Answer::Failed(PostError::BadAnswer(_))),
        "{answer:?}"
    );
}

#[tokio::test]
async fn a_controller_that_hangs_is_given_up() {
    let impatient = Post {
        timeout: Duration::from_millis(300),
        ..post()
    };
    for said in ["", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nO"] {
        let (done, waits) = tokio::sync::oneshot::channel::<()>();
        let (request, controller) = (request(&impatient), async move |mut stream: TcpStream| {
            hear(&mut stream).await;
            stream.write_all(said.as_bytes()).await.expect("writes");
            // Holds the connection open until the other side has gone.
            let _ = stream.read(&mut [0; 1]).await;
            drop(done);
        });
        let answer = exchange(&request, controller).await;
        assert!(
            matches!(answer, Answer::Failed(PostError::TimedOut { .. })),
            "{answer:?}"
        );
        assert!(waits.await.is_err());
    }
}

#[tokio::test]
async fn a_refusal_counts_that_comes_before_the_request_was_read() {
    let large = vec![LINE.repeat(200_000).into_bytes()];
    let request = Request::new(&post(), STATUS, &large, 0, Dialect::Reference);
    let answer = exchange(&request, async |mut stream| {
        let refusal = b"HTTP/1.1 429 \r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n";
        stream.write_all(refusal).await.expect("writes");
        // Nothing is read; the connection stands until the other side has gone.
        stream.readable().await.expect("stands");
    })
    .await;
    assert!(
        matches!(answer, Answer::Heard { status: 429, .. }),
        "{answer:?}"
    );
}

#[tokio::test]
async fn no_channel_is_no_answer() {
    let open = async { Err::<TcpStream, _>("not connected to a controller") };
    let answer = http::post(open, &request(&post()), Clock::start()).await;
    assert_eq!(
        answer,
        Answer::Failed(PostError::Open("not connected to a controller".to_owned()))
    );
}

/// Spool, uploader and posts together, as the agent joins them.
struct Agent {
    store: Store,
    uploader: Uploader,
    secs: u64,
    bodies: Vec<String>,
}

impl Agent {
    /// One post at the next slot, which the controller answers like this.
    async fn slot(&mut self, answer: &str) {
        self.secs += 60;
        let mut inputs = vec![Input::Deadline];
        while let Some(input) = inputs.pop() {
            let tick = Tick::from_secs(self.secs);
            let unix =
                UnixTime::from_secs(1_775_483_100 + i64::try_from(self.secs).expect("is small"));
            for output in self.uploader.handle(&Now::new(tick, unix, -1), input) {
                inputs.extend(self.perform(tick, output, answer).await);
            }
        }
    }

    async fn perform(&mut self, tick: Tick, output: Output, answer: &str) -> Option<Input> {
        match output {
            Output::Collect {
                queue: Queue::Periodic,
                enough,
            } => {
                let (sealed, _) = self.store.collect(tick, enough);
                Some(Input::Collected(Queue::Periodic, sealed))
            }
            Output::Collect { queue, .. } => Some(Input::Collected(queue, Vec::new())),
            Output::Post(post) => {
                let lines = post
                    .segments
                    .iter()
                    .map(|number| self.store.read(tick, *number).0);
                let lines: Vec<_> = lines.collect::<Option<_>>().expect("reads");
                let request = Request::new(&post, STATUS, &lines, 0, Dialect::Reference);
                let mut body = String::new();
                let heard = exchange(&request, async |mut stream| {
                    body = hear(&mut stream).await.1;
                    stream.write_all(answer.as_bytes()).await.expect("writes");
                })
                .await;
                self.bodies.push(body);
                Some(Input::Answered(post.which, heard))
            }
            Output::Uploaded(_, numbers) => {
                self.store.handle(tick, spool::Input::Uploaded(numbers));
                None
            }
            Output::Kept(_) => {
                self.store.handle(tick, spool::Input::Kept);
                None
            }
            _ => None,
        }
    }
}

#[tokio::test]
async fn results_stay_until_they_are_acknowledged_and_are_posted_again_as_they_were() {
    let dir = tempfile::tempdir().expect("a directory");
    let (store, _) = Store::open(dir.path(), Limits::default(), Tick::default()).expect("opens");
    let mut uploader = Uploader::new(Own::default(), 1);
    let start = Now::new(Tick::default(), UnixTime::from_secs(1_775_483_100), -1);
    let session_id = SessionId::new(SID).expect("is one");
    uploader.handle(
        &start,
        upload::Input::Session(Identity {
            probe_id: Some(1),
            session_id,
        }),
    );
    uploader.handle(&start, upload::Input::Tunnel(true));
    uploader.handle(&start, upload::Input::Collected(Queue::OneOff, Vec::new()));
    let mut agent = Agent {
        store,
        uploader,
        secs: 0,
        bodies: Vec::new(),
    };
    for index in 0..3 {
        let line = format!("RESULT {{ \"id\":\"{index}\" }}\n");
        agent
            .store
            .handle(Tick::default(), spool::Input::Append(line));
    }
    for failure in [
        "HTTP/1.1 500 \r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 \r\nContent-Length: 3\r\n\r\nO",
        "HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\nLATER",
    ] {
        agent.slot(failure).await;
        assert_eq!(agent.store.spool().stats().sealed, 1);
    }
    agent
        .slot("HTTP/1.1 200 \r\nContent-Length: 3\r\n\r\nOK\n")
        .await;
    assert_eq!(agent.store.spool().stats().sealed, 0);
    assert_eq!(agent.bodies.len(), 4);
    assert!(
        agent.bodies.iter().all(|body| *body == agent.bodies[0]),
        "{:?}",
        agent.bodies
    );
    let expected = "RESULT { \"id\":\"0\" }\nRESULT { \"id\":\"1\" }\nRESULT { \"id\":\"2\" }\n";
    assert!(agent.bodies[0].contains(expected));
}
