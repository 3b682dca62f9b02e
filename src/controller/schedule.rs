//! What is handed out: the configuration's measurements as the lines of a request (`controller-protocol` sections
//! 4.6, 5.1, 11.2).

use super::{
    config::{Measurement, OUTPUT_OPTION, Upload},
    identity::ProbeId,
};
use crate::protocol::{
    command::Command,
    crontab::{CronLine, Distribution},
    post::path_and_query,
    registration::SessionId,
};

/// Far enough in the future; the value that production sends.
const NO_END: i64 = 2_000_000_000;

/// The whole table of one probe in one session: uploads in `main`, measurements in `7`. `now` in Unix seconds.
#[must_use]
pub fn table(
    upload: &Upload,
    measurements: &[Measurement],
    probe: ProbeId,
    session: &SessionId,
    now: i64,
) -> Vec<String> {
    let end = NO_END.max(now.saturating_add(366 * 86_400));
    let mut lines = vec![crontab("main")];
    lines.extend(uploads(upload, probe, session, end).iter().map(cronline));
    lines.push(crontab("7"));
    for measurement in measurements
        .iter()
        .filter(|measurement| measurement.is_for(probe.0))
    {
        lines.push(cronline(&measurement_line(measurement, end)));
    }
    lines.push(cronline(&marker_line("9907", "7", upload.interval, end)));
    lines
}

/// The line of a one-off.
#[must_use]
pub fn one_off(command: &str) -> String {
    Command::OneOff {
        file: "oneoff".to_owned(),
        command: command.to_owned(),
    }
    .render()
}

fn crontab(table: &str) -> String {
    Command::Crontab {
        table: table.to_owned(),
    }
    .render()
}

fn cronline(line: &CronLine) -> String {
    Command::Cronline {
        text: line.to_string(),
    }
    .render()
}

/// The two posts and the marker of `main`. Probes are phased by their number so that they do not all post at once.
fn uploads(upload: &Upload, probe: ProbeId, session: &SessionId, end: i64) -> [CronLine; 3] {
    let post = |interval: u64, results: &str, source: Option<&str>| {
        let query = path_and_query(probe.0, session.as_str(), source);
        CronLine {
            interval: u32::try_from(interval).unwrap_or(u32::MAX),
            start: i64::try_from(u64::from(probe.0) % interval.max(1)).unwrap_or(0),
            end: Some(end),
            distribution: distribution(upload.spread()),
            command: format!(
                "httppost -A 9015 --set-time 2 --delete-file --maxpostsize 9000000 --post-header \
                 /home/atlas/status/p_to_c_report_header{results} --post-footer \
                 /home/atlas/status/con_session_id.txt -O /home/atlas/data/new/main_sent.vol \
                 http://127.0.0.1:8080{query} >> /home/atlas/data/new/main"
            ),
        }
    };
    [
        post(upload.interval, " --post-dir /home/atlas/data/out", None),
        post(upload.timesync_interval, "", Some("timesync")),
        marker_line("9901", "main", upload.interval, end),
    ]
}

/// The `condmv` that moves results to where uploads find them, and says so. Its suffix counts periods of 60 s, so
/// that shorter upload intervals need a finer one.
fn marker_line(id: &str, file: &str, upload_interval: u64, end: i64) -> CronLine {
    let interval = upload_interval.clamp(1, 60);
    let finer = if file == "7" && interval < 60 {
        format!(" -i {interval}")
    } else {
        String::new()
    };
    CronLine {
        interval: u32::try_from(interval).unwrap_or(60),
        start: 0,
        end: Some(end),
        distribution: Distribution::None,
        command: format!(
            "condmv -A \"RESULT {id} ongoing\"{finer} /home/atlas/data/new/{file} /home/atlas/data/out/{file}"
        ),
    }
}

fn measurement_line(measurement: &Measurement, end: i64) -> CronLine {
    CronLine {
        interval: u32::try_from(measurement.interval).unwrap_or(u32::MAX),
        start: i64::try_from(measurement.start).unwrap_or(i64::MAX),
        end: Some(
            measurement
                .end
                .map_or(end, |end| i64::try_from(end).unwrap_or(i64::MAX)),
        ),
        distribution: distribution(measurement.spread),
        command: with_output(&measurement.command),
    }
}

const fn distribution(spread: u32) -> Distribution {
    match spread {
        0 => Distribution::None,
        spread => Distribution::Uniform(spread),
    }
}

fn with_output(command: &str) -> String {
    if command
        .split_ascii_whitespace()
        .any(|word| word.starts_with("-O"))
    {
        return command.to_owned();
    }
    match command.split_once(char::is_whitespace) {
        Some((verb, rest)) => format!("{verb}{OUTPUT_OPTION} {rest}"),
        None => format!("{command}{OUTPUT_OPTION}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ping(probes: Option<Vec<u32>>) -> Measurement {
        Measurement {
            command: "evping -4 -c 3 -A 1001 198.51.100.2".to_owned(),
            interval: 240,
            start: 7,
            end: None,
            spread: 3,
            probes,
        }
    }

    fn lines(interval: u64, measurements: &[Measurement]) -> Vec<String> {
        let upload = Upload {
            interval,
            ..Upload::default()
        };
        let session = SessionId::new("ab12").unwrap();
        table(&upload, measurements, ProbeId(12), &session, 1_700_000_000)
    }

    #[test]
    fn the_table_is_the_one_that_production_sends() {
        let expected = [
            "CRONTAB /home/atlas/crons/main",
            "CRONLINE 60 12 2000000000 UNIFORM 20 httppost -A 9015 --set-time 2 --delete-file --maxpostsize 9000000 \
             --post-header /home/atlas/status/p_to_c_report_header --post-dir /home/atlas/data/out --post-footer \
             /home/atlas/status/con_session_id.txt -O /home/atlas/data/new/main_sent.vol \
             http://127.0.0.1:8080/?PROBE_ID=12&SESSION_ID=ab12 >> /home/atlas/data/new/main",
            "CRONLINE 900 12 2000000000 UNIFORM 20 httppost -A 9015 --set-time 2 --delete-file --maxpostsize 9000000 \
             --post-header /home/atlas/status/p_to_c_report_header --post-footer \
             /home/atlas/status/con_session_id.txt -O /home/atlas/data/new/main_sent.vol \
             http://127.0.0.1:8080/?PROBE_ID=12&SESSION_ID=ab12&SRC=timesync >> /home/atlas/data/new/main",
            "CRONLINE 60 0 2000000000 NONE 0 condmv -A \"RESULT 9901 ongoing\" /home/atlas/data/new/main \
             /home/atlas/data/out/main",
            "CRONTAB /home/atlas/crons/7",
            "CRONLINE 240 7 2000000000 UNIFORM 3 evping -O /home/atlas/data/new/7 -4 -c 3 -A 1001 198.51.100.2",
            "CRONLINE 60 0 2000000000 NONE 0 condmv -A \"RESULT 9907 ongoing\" /home/atlas/data/new/7 \
             /home/atlas/data/out/7",
        ];
        assert_eq!(lines(60, &[ping(None)]), expected);
    }

    #[test]
    fn a_short_upload_interval_is_short_for_the_markers_too() {
        let lines = lines(3, &[]);
        assert!(lines[1].starts_with("CRONLINE 3 0 2000000000 UNIFORM 1 httppost "));
        assert!(
            lines[5]
                .contains("CRONLINE 3 0 2000000000 NONE 0 condmv -A \"RESULT 9907 ongoing\" -i 3 ")
        );
    }

    #[test]
    fn a_measurement_of_other_probes_is_left_out() {
        let mine = lines(60, &[ping(Some(vec![12, 13]))]);
        let others = lines(60, &[ping(Some(vec![13]))]);
        assert_eq!((mine.len(), others.len()), (7, 6));
    }

    #[test]
    fn a_command_with_an_output_file_keeps_it() {
        let with = "evping -A 1 -O /home/atlas/data/new/8 192.0.2.1";
        assert_eq!(with_output(with), with);
    }

    #[test]
    fn a_one_off_goes_to_the_queue() {
        assert_eq!(
            one_off("evping -6 -c 3 -A \"222024177\" 2001:db8::1"),
            "ONEOFF /home/atlas/crons/oneoff evping -6 -c 3 -A \"222024177\" 2001:db8::1"
        );
    }
}
