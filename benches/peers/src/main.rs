//! `starling-bench-peers TARGET COUNT INTERVAL-MS`: pings with surge-ping as its own example does and prints one
//! round trip a line, in microseconds; `*` for a lost one.

use std::{env, net::IpAddr, time::Duration};

use surge_ping::{Client, Config, PingIdentifier, PingSequence};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let words: Vec<String> = env::args().skip(1).collect();
    let [target, count, interval] = &words[..] else {
        eprintln!("usage: starling-bench-peers TARGET COUNT INTERVAL-MS");
        std::process::exit(64);
    };
    let target: IpAddr = target.parse().expect("an address");
    let count: u16 = count.parse().expect("a number");
    let interval: u64 = interval.parse().expect("a number");
    let client = Client::new(&Config::default()).expect("a raw socket");
    let ident = PingIdentifier(u16::try_from(std::process::id() & 0xffff).expect("16 bits"));
    let mut pinger = client.pinger(target, ident).await;
    pinger.timeout(Duration::from_secs(1));
    let mut ticks = tokio::time::interval(Duration::from_millis(interval));
    for number in 0..count {
        ticks.tick().await;
        match pinger.ping(PingSequence(number), &[0; 56]).await {
            Ok((_, taken)) => println!("{:.3}", taken.as_secs_f64() * 1e6),
            Err(_) => println!("*"),
        }
    }
}
