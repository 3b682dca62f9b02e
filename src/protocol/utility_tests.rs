use proptest::prelude::*;

use super::*;

const MAIN: &str = "httppost -A 9015 --set-time 2 --delete-file --maxpostsize 9000000 --post-header /home/atlas/status/p_to_c_report_header --post-dir /home/atlas/data/out --post-footer /home/atlas/status/con_session_id.txt -O /home/atlas/data/new/main_sent.vol http://127.0.0.1:8080/?PROBE_ID=7&SESSION_ID=ab >> /home/atlas/data/new/main";
const TIMESYNC: &str = "httppost -A 9015 --set-time 2 --delete-file --maxpostsize 9000000 --post-header /home/atlas/status/p_to_c_report_header --post-footer /home/atlas/status/con_session_id.txt -O /home/atlas/data/new/main_sent.vol http://127.0.0.1:8080/?PROBE_ID=7&SESSION_ID=ab&SRC=timesync >> /home/atlas/data/new/main";

fn post(command: &str) -> HttpPost {
    match Task::of_main_table(command) {
        Ok(Task::HttpPost(post)) => post,
        other => panic!("{command}: {other:?}"),
    }
}

fn post_error(command: &str) -> OptionError {
    match Task::of_main_table(command) {
        Err(TaskError::Options(error)) => error,
        other => panic!("{command}: {other:?}"),
    }
}

#[test]
fn the_upload_that_production_asks_for() {
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        post(MAIN),
        HttpPost {
            id: some("9015"),
            set_time: Some(2),
            delete_file: true,
            max_post_size: 9_000_000,
            post_header: some("/home/atlas/status/p_to_c_report_header"),
            post_dir: some("/home/atlas/data/out"),
            post_file: None,
            post_footer: some("/home/atlas/status/con_session_id.txt"),
            local_time: false,
            timeout: None,
            output: some("/home/atlas/data/new/main_sent.vol"),
            host: "127.0.0.1".to_owned(),
            port: Some(8080),
            path_and_query: "/?PROBE_ID=7&SESSION_ID=ab".to_owned(),
            redirect: Some(Redirect {
                append: true,
                file: "/home/atlas/data/new/main".to_owned()
            }),
        }
    );
    assert_eq!(post(MAIN).purpose(), Purpose::Main);
    let timesync = post(TIMESYNC);
    assert_eq!(timesync.purpose(), Purpose::TimeSync);
    assert_eq!(
        timesync.path_and_query,
        "/?PROBE_ID=7&SESSION_ID=ab&SRC=timesync"
    );
}

#[test]
fn options_come_in_every_gnu_form() {
    let least = post("httppost http://host.example");
    assert_eq!(least.max_post_size, 1_000_000);
    assert_eq!((&*least.host, least.port), ("host.example", None));
    assert_eq!(least.path_and_query, "/");
    let all = post(
        "httppost --local-time --timeout=60 -A9015 http://[2001:db8::1]:80?a=b --post-fi f --max 5 --set-time 0",
    );
    assert!(all.local_time);
    assert_eq!(all.timeout, Some(60));
    assert_eq!(all.id.as_deref(), Some("9015"));
    assert_eq!((&*all.host, all.port), ("2001:db8::1", Some(80)));
    assert_eq!(all.path_and_query, "/?a=b");
    assert_eq!(all.post_file.as_deref(), Some("f"));
    assert_eq!(all.max_post_size, 5);
    assert_eq!(all.set_time, None);
    assert_eq!(all.purpose(), Purpose::Main);
    assert_eq!(post("httppost -- http://h/").host, "h");
}

#[test]
fn bad_uploads_are_refused_with_the_reason() {
    let unknown = |option: &str| OptionError::Unknown(option.to_owned());
    assert_eq!(post_error("httppost --frob http://h/"), unknown("--frob"));
    assert_eq!(post_error("httppost --post x http://h/"), unknown("--post"));
    assert_eq!(post_error("httppost -x http://h/"), unknown("-x"));
    assert_eq!(
        post_error("httppost http://h/ -A"),
        OptionError::Argument("-A".to_owned())
    );
    assert_eq!(
        post_error("httppost --delete-file=yes http://h/"),
        OptionError::Argument("--delete-file=yes".to_owned())
    );
    assert_eq!(
        post_error("httppost --maxpostsize 9MB http://h/"),
        OptionError::Number {
            option: "--maxpostsize",
            value: "9MB".to_owned()
        }
    );
    assert_eq!(
        post_error("httppost --set-time 99999999999 http://h/"),
        OptionError::Number {
            option: "--set-time",
            value: "99999999999".to_owned()
        }
    );
    assert_eq!(
        post_error("httppost"),
        OptionError::Operands {
            expected: 1,
            found: 0
        }
    );
    for url in [
        "https://h/",
        "h/",
        "http://",
        "http:///x",
        "http://h:0/",
        "http://h:99999/",
        "http://h:/",
        "http://[::1/",
        "http://[::1]x/",
        "'http://h/ HTTP/1.1'",
    ] {
        assert!(
            matches!(post_error(&format!("httppost {url}")), OptionError::Url(_)),
            "{url}"
        );
    }
}

#[test]
fn condmv_in_both_tables() {
    let marker = CondMv {
        text: Some("RESULT 9907 ongoing".to_owned()),
        force: false,
        interval: 60,
        from: "/home/atlas/data/new/7".to_owned(),
        to: "/home/atlas/data/out/7".to_owned(),
    };
    let command =
        r#"condmv -A "RESULT 9907 ongoing" /home/atlas/data/new/7 /home/atlas/data/out/7"#;
    assert_eq!(
        Task::of_measurement_table(command),
        Ok(Task::CondMv(marker.clone()))
    );
    assert_eq!(Task::of_main_table(command), Ok(Task::CondMv(marker)));
    let Ok(Task::CondMv(forced)) = Task::of_measurement_table("condmv -fi 300 a b") else {
        panic!()
    };
    assert!(forced.force);
    assert_eq!((forced.interval, forced.text), (300, None));
    for bad in [
        "condmv a",
        "condmv a b c",
        "condmv -i 0 a b",
        "condmv -x a b",
    ] {
        assert!(
            matches!(Task::of_measurement_table(bad), Err(TaskError::Options(_))),
            "{bad}"
        );
    }
}

#[test]
fn measurements_are_found_by_their_name_and_one_space() {
    assert_eq!(
        Task::of_measurement_table("evping -4 \"a b\""),
        Ok(Task::Measure(
            ["evping", "-4", "a b"].map(str::to_owned).to_vec()
        ))
    );
    let not_found = Err(TaskError::Words(WordsError::NotFound));
    for command in [
        "evping",
        "evping\t-4",
        "evpingx -4",
        "EVPING -4",
        "httppost http://h/",
        "reboot",
        "",
    ] {
        assert_eq!(Task::of_measurement_table(command), not_found, "{command}");
    }
    assert_eq!(
        Task::of_measurement_table("evping \"x"),
        Err(TaskError::Words(WordsError::Unterminated))
    );
    assert_eq!(Task::of_main_table("evping x"), not_found);
    assert_eq!(Task::of_main_table(""), not_found);
}

#[test]
fn utilities_that_nobody_needs_are_ignored_by_name() {
    for verb in ["rptaddrs", "buddyinfo", "dfrm", "conntrack"] {
        let ignored = Ok(Task::Ignored(verb.to_owned()));
        assert_eq!(Task::of_main_table(&format!("{verb} -A 9001")), ignored);
        assert_eq!(Task::of_measurement_table(&format!("{verb} x")), ignored);
    }
}

#[test]
fn one_offs_and_their_special_lines() {
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    assert_eq!(
        OneOff::parse("evping -6 -A \"222024177\" 2001:db8::1"),
        Ok(OneOff::Measure(words(&[
            "evping",
            "-6",
            "-A",
            "222024177",
            "2001:db8::1"
        ])))
    );
    // Longer than the official queue's 255 bytes.
    let long = format!("evping {}", "x".repeat(4000));
    assert!(matches!(OneOff::parse(&long), Ok(OneOff::Measure(_))));
    assert_eq!(OneOff::parse("post"), Ok(OneOff::Post));
    assert_eq!(
        OneOff::parse("barrier /home/atlas/data/new/b"),
        Ok(OneOff::Barrier("/home/atlas/data/new/b".to_owned()))
    );
    assert_eq!(
        OneOff::parse("reload_resolv_conf"),
        Ok(OneOff::ReloadResolvConf)
    );
    for bad in ["", "evping", "condmv a b", "poster"] {
        assert_eq!(OneOff::parse(bad), Err(WordsError::NotFound), "{bad}");
    }
}

proptest! {
    #[test]
    fn any_command_is_taken_or_refused(verb in "httppost |condmv |evping |", rest in "[ -~]{0,80}") {
        let command = verb + &rest;
        let _ = Task::of_main_table(&command);
        let _ = Task::of_measurement_table(&command);
        let _ = OneOff::parse(&command);
    }

    #[test]
    fn no_url_breaks_out_of_its_header_line(url in "http://\\PC{0,40}") {
        if let Ok((host, _, path)) = url_parts(&url) {
            let whole = host + &path;
            prop_assert!(!whole.contains(char::is_whitespace) && !whole.contains(char::is_control));
        }
    }
}
