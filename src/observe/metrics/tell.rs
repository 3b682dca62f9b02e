//! The page of metrics: every name, unit and word of help in one place. Pure.

use super::{
    Counts, Metrics, Step, Traffic,
    text::{Kind, Text},
};
use crate::observe::{
    process::Process,
    status::{Report, SessionState},
};

/// What is told besides what was counted.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// How the agent stands.
    pub report: &'a Report,
    /// What the kernel says of the process.
    pub process: Process,
    /// What went to the network.
    pub traffic: Traffic,
}

/// The whole page.
#[must_use]
pub fn tell(metrics: &Metrics, page: &Page<'_>) -> String {
    let mut text = Text::default();
    agent(&mut text, page.report);
    session(&mut text, page.report);
    schedule(&mut text, page.report);
    spool(&mut text, page.report);
    tee(&mut text, page.report);
    network(&mut text, page.traffic);
    {
        let counts = metrics.counts();
        steps(&mut text, &counts);
        runs(&mut text, &counts);
        uploads(&mut text, &counts);
        measurements(&mut text, &counts);
    }
    process(&mut text, page.report, page.process);
    text.finish()
}

fn agent(text: &mut Text, report: &Report) {
    text.metric("starling_build_info", Kind::Gauge, "The program; always 1.")
        .sample(
            &[
                ("version", &report.version),
                ("arch", std::env::consts::ARCH),
            ],
            1,
        );
    if let Some(id) = report.probe_id {
        text.metric(
            "starling_probe_info",
            Kind::Gauge,
            "The probe's number, once a registration server told it; always 1.",
        )
        .sample(&[("probe", &id.to_string())], 1);
    }
    text.gauge(
        "starling_live",
        "Whether main loop and disk make progress.",
        Some(u8::from(report.health.live)),
    );
    text.gauge(
        "starling_ready",
        "Whether the session stands and an upload was accepted lately.",
        Some(u8::from(report.health.ready)),
    );
    text.gauge(
        "starling_clock_confirmed_timestamp_seconds",
        "When a controller last confirmed the wall clock.",
        report.clock.confirmed,
    );
    let mut family = text.metric(
        "starling_address_family_available",
        Kind::Gauge,
        "Whether there is a route to the internet.",
    );
    family.sample(&[("family", "ipv4")], u8::from(report.host.ipv4));
    family.sample(&[("family", "ipv6")], u8::from(report.host.ipv6));
    drop(family);
    text.gauge(
        "starling_raw_sockets_available",
        "Whether raw sockets can be opened: without them there is no TCP traceroute, and ping only by ping sockets.",
        Some(u8::from(report.host.raw_sockets)),
    );
}

fn session(text: &mut Text, report: &Report) {
    let session = &report.session;
    text.gauge(
        "starling_session_up",
        "Whether the session with the controller stands.",
        Some(u8::from(session.state == SessionState::Connected)),
    );
    let mut states = text.metric(
        "starling_session_state",
        Kind::Gauge,
        "Where the session stands: 1 for the state it is in.",
    );
    for state in SessionState::ALL {
        states.sample(&[("state", state.name())], u8::from(state == session.state));
    }
    drop(states);
    text.gauge(
        "starling_session_state_since_timestamp_seconds",
        "Since when the session stands there.",
        Some(session.since).filter(|since| *since > 0),
    );
    text.gauge(
        "starling_session_last_command_timestamp_seconds",
        "When the controller last sent a command.",
        session.last_command.as_ref().map(|command| command.time),
    );
}

fn steps(text: &mut Text, counts: &Counts) {
    let count = |step| counts.steps.get(&step).copied().unwrap_or(0);
    text.counter(
        "starling_registration_attempts_total",
        "Registrations asked for.",
        count(Step::Registering),
    );
    text.counter(
        "starling_registrations_total",
        "Registrations that were answered with OK.",
        count(Step::Registered),
    );
    text.counter(
        "starling_session_connects_total",
        "Sessions that came to stand; all but the first are reconnects.",
        count(Step::Connected),
    );
    let mut lost = text.metric(
        "starling_session_failures_total",
        Kind::Counter,
        "Exchanges with registration servers and controllers that came to nothing, sessions lost included.",
    );
    for (step, count) in &counts.steps {
        if let Step::Lost(exchange) = step {
            lost.sample(&[("exchange", exchange)], count);
        }
    }
}

fn schedule(text: &mut Text, report: &Report) {
    // A main loop that does not answer tells nothing of its jobs.
    let Some(jobs) = &report.jobs else { return };
    let mut scheduled = text.metric(
        "starling_jobs",
        Kind::Gauge,
        "Jobs on the schedule, by type.",
    );
    for job in jobs {
        let kind = ("type", job.kind.as_str());
        scheduled.sample(&[kind, ("schedule", "periodic")], job.scheduled);
        scheduled.sample(&[kind, ("schedule", "oneoff")], job.one_offs);
    }
    drop(scheduled);
    let mut running = text.metric("starling_runs_in_progress", Kind::Gauge, "Runs under way.");
    for job in jobs {
        running.sample(&[("type", &job.kind)], job.running);
    }
}

fn spool(text: &mut Text, report: &Report) {
    let queues = [
        ("periodic", &report.results.periodic),
        ("oneoff", &report.results.one_offs),
    ];
    let mut each =
        |name, kind, help, value: &dyn Fn(&crate::observe::status::Queue) -> Option<i64>| {
            let mut metric = text.metric(name, kind, help);
            for (name, queue) in queues {
                if let Some(value) = value(queue) {
                    metric.sample(&[("queue", name)], value);
                }
            }
        };
    let whole = |number: u64| i64::try_from(number).ok();
    each(
        "starling_spool_results",
        Kind::Gauge,
        "Result lines that wait for upload.",
        &|queue| whole(queue.lines),
    );
    each(
        "starling_spool_bytes",
        Kind::Gauge,
        "Bytes of disk that waiting results take.",
        &|queue| whole(queue.bytes),
    );
    each(
        "starling_spool_memory_bytes",
        Kind::Gauge,
        "Bytes of results held in memory because the disk refuses them.",
        &|queue| i64::try_from(queue.held).ok(),
    );
    each(
        "starling_spool_oldest_age_seconds",
        Kind::Gauge,
        "For how long the oldest file of results has been waiting; 0 if none does.",
        &|queue| {
            let age = queue.oldest.map_or(0, |oldest| report.time - oldest);
            Some(age.max(0))
        },
    );
    each(
        "starling_results_dropped_total",
        Kind::Counter,
        "Result lines lost before a controller had them.",
        &|queue| whole(queue.dropped),
    );
    each(
        "starling_spool_disk_refuses",
        Kind::Gauge,
        "Whether the disk takes no results.",
        &|queue| Some(i64::from(queue.disk_refuses.is_some())),
    );
}

fn tee(text: &mut Text, report: &Report) {
    let Some(tee) = &report.tee else { return };
    text.counter(
        "starling_tee_results_total",
        "Results copied for local use.",
        tee.lines,
    );
    text.counter(
        "starling_tee_dropped_total",
        "Results not copied for local use; the controller gets them all the same.",
        tee.dropped,
    );
}

fn network(text: &mut Text, traffic: Traffic) {
    text.counter(
        "starling_packets_sent_total",
        "Packets that measurements sent on datagram and raw sockets.",
        traffic.sent,
    );
    text.counter(
        "starling_connections_total",
        "TCP connections that measurements began.",
        traffic.connections,
    );
    let mut refused = text.metric(
        "starling_packets_refused_total",
        Kind::Counter,
        "Packets, sockets and connections that were not made: by the address policy, the cap on packets a second, or the \
         cap on sockets.",
    );
    for (reason, count) in [
        ("address", traffic.refused_addresses),
        ("rate", traffic.refused_packets),
        ("sockets", traffic.refused_sockets),
    ] {
        refused.sample(&[("reason", reason)], count);
    }
}

fn runs(text: &mut Text, counts: &Counts) {
    let mut runs = text.metric(
        "starling_runs_total",
        Kind::Counter,
        "Runs that ended, by type and whether the target answered.",
    );
    for ((kind, outcome), count) in &counts.runs {
        runs.sample(&[("type", kind), ("outcome", outcome)], count);
    }
    drop(runs);
    let mut skipped = text.metric(
        "starling_runs_skipped_total",
        Kind::Counter,
        "Runs that were not made: the one before was still going on, too many were, or the clock was set.",
    );
    for ((kind, reason), count) in &counts.skipped {
        skipped.sample(&[("type", kind), ("reason", reason)], count);
    }
    drop(skipped);
    text.metric(
        "starling_schedule_lateness_seconds",
        Kind::Histogram,
        "How late runs started.",
    )
    .histogram(&[], &counts.lateness);
    let mut results = text.metric(
        "starling_results_total",
        Kind::Counter,
        "Result lines made, reports of the probe on itself included.",
    );
    for (queue, count) in &counts.results {
        results.sample(&[("queue", queue)], count);
    }
}

fn uploads(text: &mut Text, counts: &Counts) {
    let mut posts = text.metric(
        "starling_uploads_total",
        Kind::Counter,
        "Posts to the controller that were accepted.",
    );
    for ((post, outcome), count) in &counts.posts {
        if *outcome == super::ACCEPTED {
            posts.sample(&[("post", post)], count);
        }
    }
    drop(posts);
    let mut failures = text.metric(
        "starling_upload_failures_total",
        Kind::Counter,
        "Posts to the controller that were not accepted, by cause; their results stay.",
    );
    for ((post, outcome), count) in &counts.posts {
        if *outcome != super::ACCEPTED {
            failures.sample(&[("post", post), ("cause", outcome)], count);
        }
    }
    drop(failures);
    let mut times = text.metric(
        "starling_upload_duration_seconds",
        Kind::Histogram,
        "How long posts took, accepted or not.",
    );
    for (post, histogram) in &counts.post_times {
        times.histogram(&[("post", post)], histogram);
    }
}

fn measurements(text: &mut Text, counts: &Counts) {
    let all = &counts.measurements;
    let mut each = |name,
                    kind,
                    help: &str,
                    write: &dyn Fn(
        &mut super::text::Metric<'_>,
        super::text::Labels<'_>,
        &super::series::Series,
    )| {
        let mut metric = text.metric(name, kind, help);
        for ((id, kind), series) in &all.series {
            write(&mut metric, &[("measurement", id), ("type", kind)], series);
        }
    };
    each(
        "starling_measurement_requests_total",
        Kind::Counter,
        "Requests of a measurement: echo requests, queries, handshakes, pages; a whole traceroute is one.",
        &|metric, labels, series| metric.sample(labels, series.requests),
    );
    each(
        "starling_measurement_requests_unanswered_total",
        Kind::Counter,
        "Requests of a measurement without an answer from its target.",
        &|metric, labels, series| metric.sample(labels, series.requests - series.answered),
    );
    each(
        "starling_measurement_rtt_seconds",
        Kind::Summary,
        "Round-trip times of a measurement.",
        &|metric, labels, series| metric.summary(labels, series.answered, series.rtt_sum),
    );
    each(
        "starling_measurement_last_rtt_seconds",
        Kind::Gauge,
        "The shortest round trip of a measurement's latest run that had one.",
        &|metric, labels, series| {
            if let Some(rtt) = series.last_rtt {
                metric.sample(labels, rtt);
            }
        },
    );
    each(
        "starling_measurement_last_run_timestamp_seconds",
        Kind::Gauge,
        "When a measurement's latest run ended.",
        &|metric, labels, series| metric.sample(labels, series.last_run),
    );
    text.counter(
        "starling_measurement_runs_untold_total",
        "Runs of measurements that are not told apart: there are more of them than the configuration lets be shown.",
        all.untold,
    );
}

/// Names that all programs share.
fn process(text: &mut Text, report: &Report, process: Process) {
    let uptime = i64::try_from(report.uptime).unwrap_or(0);
    text.gauge(
        "process_start_time_seconds",
        "When the process started.",
        Some(report.time - uptime),
    );
    if let Some(cpu) = process.cpu {
        text.counter(
            "process_cpu_seconds_total",
            "Processor time, user and system.",
            cpu.as_secs_f64(),
        );
    }
    for (name, help, value) in [
        (
            "process_resident_memory_bytes",
            "Memory that the process takes.",
            process.resident,
        ),
        (
            "process_virtual_memory_bytes",
            "Address space of the process.",
            process.virtual_memory,
        ),
        ("process_open_fds", "Open descriptors.", process.descriptors),
        (
            "process_max_fds",
            "Descriptors that the process may have.",
            process.descriptors_most,
        ),
        ("process_threads", "Threads.", process.threads),
    ] {
        text.gauge(name, help, value);
    }
}
