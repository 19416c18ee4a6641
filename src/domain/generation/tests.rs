//! Tests which bodies are accepted, member by member.

use serde_json::{Value, json};

use super::*;

/// A body with a valid prompt, in which `member` has the JSON text `value`.
fn body(member: &str, value: &str) -> String {
    let mut members = vec![("model", "\"z-image-turbo\""), ("prompt", "\"a cute cat\"")];
    members.retain(|(name, _)| *name != member);
    members.push((member, value));
    let members: Vec<String> = members
        .iter()
        .map(|(name, value)| format!("\"{name}\":{value}"))
        .collect();
    format!("{{{}}}", members.join(","))
}

fn parse(body: &str) -> Result<Generation, InvalidRequest> {
    Generation::parse(Kind::Image, body.as_bytes(), false)
}

/// The body that EvoLink receives for `body`.
fn sent(body: &str) -> Value {
    let generation = parse(body).unwrap_or_else(|error| panic!("{body}: {error}"));
    serde_json::from_slice(&generation.to_evolink(Some("https://us.example/callbacks/t"))).unwrap()
}

fn assert_refused(body: &str, param: &str) {
    let error = parse(body).expect_err(body);
    assert_eq!(error.param.as_deref(), Some(param), "{body}");
    assert!(error.message.contains(&format!("`{param}`")), "{error}");
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

#[test]
fn table_p_prompts_that_are_accepted_reach_evolink_unchanged() {
    let family = "👨‍👩‍👧‍👦";
    assert_eq!(family.chars().count(), 7);
    let prompts = [
        "a".repeat(2000),
        "é".repeat(2000),
        "e\u{301}".repeat(1000),
        "😀".repeat(2000),
        family.repeat(285),
        "{{7*7}}".to_owned(),
        "'; DROP TABLE".to_owned(),
        "<img onerror>".to_owned(),
        "$(id)".to_owned(),
        " two spaces, then a line\n".to_owned(),
        "\u{feff}\u{202e}\u{1}".to_owned(),
    ];
    for prompt in prompts {
        assert_eq!(sent(&body("prompt", &quoted(&prompt)))["prompt"], prompt);
    }
    let escaped = format!("\"{}\"", r"\ud83d\ude00".repeat(2000));
    assert_eq!(sent(&body("prompt", &escaped))["prompt"], "😀".repeat(2000));
}

#[test]
fn table_p_prompts_that_are_refused() {
    let family = "👨‍👩‍👧‍👦".repeat(286);
    for prompt in [
        &"a".repeat(2001),
        &family,
        "",
        " ",
        "\n",
        "\u{3000}\u{85}",
        "a\0b",
    ] {
        assert_refused(&body("prompt", &quoted(prompt)), "prompt");
    }
    for value in ["null", "7", "[]", "{}", "true", "[\"a\"]"] {
        assert_refused(&body("prompt", value), "prompt");
    }
    assert_refused(r#"{"model":"z-image-turbo"}"#, "prompt");
}

#[test]
fn table_z_sizes_are_nine_ratios_or_two_sides_within_bounds() {
    let good = [
        "1:1",
        "2:3",
        "3:2",
        "3:4",
        "4:3",
        "9:16",
        "16:9",
        "1:2",
        "2:1",
        "376x376",
        "1536x1536",
        "376x1536",
        "1024x768",
    ];
    for size in good {
        assert_eq!(sent(&body("size", &quoted(size)))["size"], size);
    }
    let bad = [
        "375x376",
        "376x1537",
        "1536x375",
        "0x0",
        "1024X768",
        "1024×768",
        "1024*768",
        "1024 x 768",
        " 1024x768",
        "1024x768\n",
        "16:10",
        "21:9",
        "5:4",
        "2:2",
        "4:2",
        "",
        "x",
        "1024",
        "1024x",
        "1024x768x1",
        "+1024x768",
        "-1024x768",
        "01024x768",
        "0400x400",
        "99999999999999999999x400",
        "１０２４x768",
        "1024x768.0",
        "auto",
    ];
    for size in bad {
        assert_refused(&body("size", &quoted(size)), "size");
    }
    for value in ["1024", "[]", "{}", "true", "[\"1:1\"]"] {
        assert_refused(&body("size", value), "size");
    }
}

#[test]
fn table_n_seeds_are_integers_and_nothing_is_converted() {
    for seed in [1, 12345, 2_147_483_647] {
        assert_eq!(sent(&body("seed", &seed.to_string()))["seed"], seed);
    }
    let bad = [
        "0",
        "-1",
        "-2147483648",
        "2147483648",
        "1.0",
        "1e3",
        "1E0",
        "-0",
        "1.5",
        "\"12\"",
        "true",
        "[]",
        "{}",
        "18446744073709551617",
    ];
    for seed in bad {
        assert_refused(&body("seed", seed), "seed");
    }
}

#[test]
fn table_n_null_is_absent_and_absent_is_not_sent() {
    let text = r#"{"model":"z-image-turbo","prompt":"p","seed":null,"size":null,"nsfw_check":null,"callback_url":null}"#;
    let expected = json!({
        "model": "z-image-turbo", "prompt": "p", "callback_url": "https://us.example/callbacks/t",
    });
    assert_eq!(sent(text), expected);
}

#[test]
fn table_n_a_model_is_a_name_and_only_the_documented_one_has_a_table() {
    let long = quoted(&"m".repeat(129));
    for model in ["null", "7", "\"\"", "[]", "\"a\\u0000\"", long.as_str()] {
        assert_refused(&body("model", model), "model");
    }
    assert_refused(r#"{"prompt":"p"}"#, "model");
    let longest = quoted(&"m".repeat(128));
    for model in [
        "\"Z-IMAGE-TURBO\"",
        "\" z-image-turbo\"",
        "\"gpt-4o-image\"",
        longest.as_str(),
    ] {
        let other = format!(r#"{{"model":{model},"prompt":7,"size":"any"}}"#);
        assert_eq!(sent(&other)["prompt"], 7, "{model}");
    }
    let video = Generation::parse(Kind::Video, br#"{"model":"z-image-turbo"}"#, false);
    assert_eq!(
        video.unwrap().model,
        "z-image-turbo",
        "the table is of the image route"
    );
}

#[test]
fn table_n_nsfw_check_is_a_boolean() {
    assert_eq!(sent(&body("nsfw_check", "true"))["nsfw_check"], true);
    assert_eq!(sent(&body("nsfw_check", "false"))["nsfw_check"], false);
    for value in ["0", "1", "\"true\"", "[]", "{}"] {
        assert_refused(&body("nsfw_check", value), "nsfw_check");
    }
}

#[test]
fn table_n_the_apps_own_callback_url_is_kept_from_evolink() {
    let text = body("callback_url", "\"http://10.0.0.1:8000/hook\"");
    let own = parse(&text).unwrap().callback_url;
    assert_eq!(own.as_deref(), Some("http://10.0.0.1:8000/hook"));
    assert_eq!(
        sent(&text)["callback_url"],
        "https://us.example/callbacks/t"
    );
    let long = format!("\"https://h/{}\"", "a".repeat(2048));
    for value in [
        "7",
        "\"\"",
        "\"/hook\"",
        "\"ftp://h/\"",
        "\"mailto:a@h\"",
        "\" https://h/\"",
        "\"https://h/\\n\"",
        "\"https:\\\\\\\\h/\"",
        &long,
    ] {
        assert_refused(&body("callback_url", value), "callback_url");
    }
}

#[test]
fn table_n_unknown_fields_are_refused_by_name_or_passed_on_as_they_came() {
    for name in ["n", "quality", "Prompt", "sed"] {
        assert_refused(&body(name, "1"), name);
        assert_refused(&body(name, "null"), name);
    }
    let text = r#"{"model":"z-image-turbo","x":{"k":[1.50, 1e400]},"prompt":"p"}"#;
    let generation = Generation::parse(Kind::Image, text.as_bytes(), true).unwrap();
    assert_eq!(
        generation.to_evolink(Some("https://us.example/")),
        r#"{"model":"z-image-turbo","prompt":"p","callback_url":"https://us.example/","x":{"k":[1.50, 1e400]}}"#
    );
}

#[test]
fn a_body_that_is_not_one_object_is_refused_without_param() {
    let bodies: [&[u8]; 6] = [
        b"",
        b"[]",
        b"null",
        b"{\"model\":",
        b"{\"prompt\":\"\xff\"}",
        br#"{"prompt":"\ud83d"}"#,
    ];
    for body in bodies {
        assert_eq!(
            Generation::parse(Kind::Image, body, true)
                .unwrap_err()
                .param,
            None
        );
    }
}

/// Two readers may take different ones, and one fingerprint would stand for two requests.
#[test]
fn a_member_that_occurs_twice_is_refused_by_name_at_any_depth() {
    for (members, param) in [
        (r#""prompt":"b""#, "prompt"),
        (r#""callback_url":null,"callback_url":null"#, "callback_url"),
        (r#""x":1,"x":1"#, "x"),
        (r#""x":{"a":1,"a":2}"#, "x.a"),
        (r#""x":{"a":1,"\u0061":2}"#, "x.a"),
        (
            r#""x":{"b":[{"c":1},1e400,[{"a":"}","b":1,"a":2}]]}"#,
            "x.b.a",
        ),
    ] {
        let text = format!(r#"{{"model":"z-image-turbo","prompt":"p",{members}}}"#);
        let error = Generation::parse(Kind::Image, text.as_bytes(), true).unwrap_err();
        assert_eq!(error.param.as_deref(), Some(param), "{text}");
        assert_eq!(
            error.message,
            format!("`{param}` occurs twice in the request")
        );
    }
    let text = r#"{"model":"z-image-turbo","prompt":"p","x":{"a":{"a":[{"a":1},{"a":2}]}},"a":"{\"a\":1,\"a\":2}"}"#;
    Generation::parse(Kind::Image, text.as_bytes(), true).unwrap();
    // As deep as can be read, and deeper: the bound is the same as without repetition.
    let nested = |depth: usize| {
        let (open, close) = (r#"{"k":"#.repeat(depth), "}".repeat(depth));
        let x = format!(r#"{open}{{"a":1,"a":2}}{close}"#);
        let text = format!(r#"{{"model":"z-image-turbo","prompt":"p","x":{x}}}"#);
        Generation::parse(Kind::Image, text.as_bytes(), true).unwrap_err()
    };
    assert!(nested(98).param.unwrap().starts_with("x.k.k.k."));
    assert!(nested(99).message.contains("deep"));
}

#[test]
fn a_message_names_the_field_the_bound_and_what_was_given() {
    let message = |member: &str, value: &str| parse(&body(member, value)).unwrap_err().message;
    assert_eq!(
        message("size", "\"375x376\""),
        "`size` must be one of 1:1, 2:3, 3:2, 3:4, 4:3, 9:16, 16:9, 1:2, 2:1 or WxH with each side 376 to 1536 pixels; got \"375x376\""
    );
    assert_eq!(
        message("seed", "1.0"),
        "`seed` must be an integer from 1 to 2147483647; got 1.0"
    );
    assert_eq!(
        message("model", "null"),
        "`model` must be a string of 1 to 128 characters; it is missing"
    );
    assert_eq!(
        message("prompt", &quoted(&"a".repeat(2001))),
        "`prompt` must have at most 2000 characters (Unicode scalar values); got 2001"
    );
}

#[test]
fn a_message_repeats_little_of_what_was_given_and_nothing_that_disturbs_a_terminal() {
    let nasty = format!("\u{1b}[31m\u{202e}\r\n{}", "x".repeat(5000));
    for text in [
        body("size", &quoted(&nasty)),
        body("model", &quoted(&nasty)),
        body(&nasty.replace(['\u{1b}', '\r', '\n'], "\u{202e}"), "1"),
        body("seed", &format!("[{}]", quoted(&nasty))),
    ] {
        let error = parse(&text).unwrap_err();
        let param = error.param.unwrap();
        assert!(error.message.chars().count() < 300, "{}", error.message);
        for shown in [param, error.message] {
            assert!(!shown.contains(|c: char| c.is_control() || c == '\u{202e}'));
        }
    }
}

#[test]
fn a_prompt_is_not_in_what_is_printed_for_debugging() {
    let generation = parse(&body("prompt", "\"a secret wish\"")).unwrap();
    assert!(!format!("{generation:?}").contains("wish"));
}

/// Some readers of JSON fold the case of names, as Unicode does.
#[test]
fn another_spelling_of_a_known_member_is_refused_for_every_model() {
    for name in [
        "Model",
        "Callback_URL",
        "callbac\u{212a}_url",
        "PROMPT",
        "\u{17f}ize",
    ] {
        let body = body(name, "\"x\"");
        let refused = Generation::parse(Kind::Image, body.as_bytes(), true);
        assert_eq!(refused.expect_err(&body).param.as_deref(), Some(name));
    }
    for (name, is_refused) in [
        ("Callback_URL", true),
        ("callbac\u{212a}_url", true),
        ("Size", false),
    ] {
        let body = json!({"model": "any", name: "x"}).to_string();
        let parsed = Generation::parse(Kind::Video, body.as_bytes(), false);
        assert_eq!(parsed.is_err(), is_refused, "{name}");
    }
}

#[test]
fn a_member_that_occurs_twice_is_found_at_any_depth_and_a_name_in_another_object_is_not() {
    let nested = |depth: usize, inside: &str| {
        let (open, close) = (r#"{"a":["#.repeat(depth), "]}".repeat(depth));
        format!(r#"{{"model":"m","x":{open}{inside}{close}}}"#)
    };
    let parse = |body: &str| Generation::parse(Kind::Video, body.as_bytes(), false);
    for depth in [0, 1, 10] {
        let twice = nested(depth, r#"{"k":1e999,"\u006b" : "\\\"}"}"#);
        let path = format!("x{}.k", ".a".repeat(depth));
        assert_eq!(parse(&twice).expect_err(&twice).param, Some(path));
        let once = nested(depth, r#"{"k":{"k":[]},"j":"\"k\":1,","l":{}}"#);
        parse(&once)
            .unwrap_or_else(|error| panic!("{once}: {error}"))
            .fingerprint();
    }
}
