use super::*;

fn answer(text: &str) -> (Whose, Reply) {
    match read(text).unwrap_or_else(|what| panic!("{text}: {what:?}")).pop() {
        Some(Incoming::Answer { to, reply }) => (to, reply),
        other => panic!("{text}: {other:?}"),
    }
}

fn result(raw: &str) -> Reply {
    Reply::Result(raw.to_owned())
}

#[test]
fn results_and_errors_are_cut_out_as_they_were_sent() {
    let got = answer(r#"{"jsonrpc":"2.0","id":7, "result": { "z":1.00,"a":"\u0041" } }"#);
    assert_eq!(got, (Whose::Request(7), result(r#"{ "z":1.00,"a":"\u0041" }"#)));

    let got = answer(r#"{"id":8,"error":{"code":-32602,"message":"no","x":1e2}}"#);
    let error = Reply::Error(r#"{"code":-32602,"message":"no","x":1e2}"#.into());
    assert_eq!(got, (Whose::Request(8), error));
}

#[test]
fn an_id_is_ours_however_it_is_spelled() {
    for id in ["7", "7.0", "7e0", "\"7\"", "\"7.0\"", "\"\\u0037\"", " 7 "] {
        assert_eq!(answer(&format!("{{\"id\":{id},\"result\":1}}")).0, Whose::Request(7), "{id}");
    }
    for id in ["7.5", "-7", "\"seven\"", "true", "[7]", "\"\"", "NaN"] {
        assert_eq!(answer(&format!("{{\"id\":{id},\"result\":1}}")).0, Whose::Nobody, "{id}");
    }
    for text in [r#"{"id":null,"result":1}"#, r#"{"result":1}"#] {
        assert_eq!(answer(text).0, Whose::Unsaid, "{text}");
    }
}

#[test]
fn what_clients_read_is_read_and_passes_as_its_bytes() {
    for raw in [
        r#"{"a":1,"a":2}"#,
        r#"{"t":"\ud800"}"#,
        r#"{"n": NaN,"i":[-Infinity]}"#,
        &format!("{}{}", "[".repeat(3000), "]".repeat(3000)),
    ] {
        for (before, after) in [("", ""), ("\u{feff}", "\r"), (" \t", " \r\n")] {
            for message in [
                format!("{{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{raw}}}"),
                format!("{{\"result\" : {raw} ,\"id\":7, \"error\":null}}"),
                format!("{{\"id\":7,\"method\":null,\"result\":{raw},\"error\":{{}}}}"),
                format!("{{\"id\":1,\"id\":7,\"result\":{raw}}}"),
            ] {
                let got = answer(&format!("{before}{message}{after}"));
                assert_eq!(got, (Whose::Request(7), result(raw)), "{message:.80}");
            }
        }
    }
}

#[test]
fn an_error_tells_more_than_a_result_that_says_nothing() {
    let error = r#"{"code":-1,"message":"no"}"#;
    for result in ["", "\"result\":null,", "\"result\":{},"] {
        let got = answer(&format!("{{\"id\":7,{result}\"error\":{error}}}"));
        assert_eq!(got, (Whose::Request(7), Reply::Error(error.into())), "{result}");
    }
    let plain = Reply::Error(r#"{"code":-32603,"message":"boom"}"#.into());
    assert_eq!(answer(r#"{"id":7,"error":"boom"}"#).1, plain);
    assert_eq!(answer(r#"{"id":7,"result":null,"error":null}"#).1, result("null"));
}

#[test]
fn bytes_that_no_text_may_have_do_not_lose_an_answer() {
    let got = read_bytes(b"{\"id\":7,\"result\":\"a\xff\0b\"}").unwrap();

    let reply = result("\"a\u{fffd}\\u0000b\"");
    assert_eq!(got, [Incoming::Answer { to: Whose::Request(7), reply }]);
}

#[test]
fn requests_and_notifications_are_told_from_answers() {
    let request = r#"{"id":7,"method":"ping","params":null,"result":null,"error":null}"#;
    let want = Incoming::Request { id: "7".into(), method: "ping".into(), params: None };
    assert_eq!(read(request), Ok(vec![want]));
    let want = Notification { method: "n".into(), params: Some("{}".into()) };
    let notification = r#"{"id":null,"method":"n","params":{}}"#;
    assert_eq!(read(notification), Ok(vec![Incoming::Notification(want)]));
}

#[test]
fn a_batch_is_read_around_its_noise() {
    let batch = r#"[{"id":7,"result":{"a":1,"a":2}},5,{"method":"n"}]"#;

    assert_eq!(read(batch).unwrap().len(), 2);
    assert!(read("[5]").unwrap_err().noise);
    assert_eq!(read(r#"[{"id":7},{"method":"n"}]"#).unwrap_err().id, Some(7));
}

#[test]
fn text_that_is_no_json_is_noise_of_nobody() {
    for text in ["Server listening on stdio", "", "\"id\":7", "7", "[1,2]x"] {
        let found = read(text).unwrap_err();
        assert_eq!((found.id, found.noise), (None, true), "{text}");
    }
}

#[test]
fn an_answer_that_breaks_off_or_says_nothing_names_its_request() {
    for text in
        [r#"{"id":7}"#, r#"{"id":"7","result":{"a":"#, r#"{"jsonrpc":"2.0","id":7,"result":{]}}"#]
    {
        let found = read(text).unwrap_err();
        assert_eq!((found.id, found.noise), (Some(7), false), "{text}");
    }
}

#[test]
fn a_ping_is_answered_and_everything_else_declined() {
    assert_eq!(answer_to("\"a\"", "ping"), r#"{"jsonrpc":"2.0","id":"a","result":{}}"#);
    assert!(answer_to("1", "sampling/createMessage").contains("\"code\":-32601"));
}

#[test]
fn foreign_text_is_made_harmless_and_short() {
    assert_eq!(printable("a\u{1b}[31m\u{202e}b"), "a\\u{1b}[31m\\u{202e}b");
    assert_eq!(printable(&"x".repeat(MAX_QUOTE + 1)).chars().count(), MAX_QUOTE + 1);
}
